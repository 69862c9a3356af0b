"""Patterns as values, and their wrong arguments."""

import copy
import dataclasses
import itertools
import pickle

import nearfield as nf
import pytest
from nearfield import Neighborhood


def test_patterns_are_values():
    a = Neighborhood((3, 5), dilation=2, boundary=("wrap", "clamp"))
    b = Neighborhood([3, 5], dilation=2, boundary=["wrap", "clamp"])
    assert a == b and hash(a) == hash(b) and len({a, b}) == 1
    assert a != Neighborhood((3, 5), dilation=2)
    for copied in (pickle.loads(pickle.dumps(a)), copy.deepcopy(a), copy.copy(a), eval(repr(a))):
        assert copied == a
    assert repr(a) == "Neighborhood(kernel_size=(3, 5), dilation=2, boundary=('wrap', 'clamp'))"
    assert repr(Neighborhood(7)) == "Neighborhood(kernel_size=7)"
    with pytest.raises(AttributeError):
        a.kernel_size = 3


def test_integers_of_other_libraries_are_integers():
    numpy = pytest.importorskip("numpy")
    assert Neighborhood(numpy.int64(3), is_causal=numpy.bool_(True)) == Neighborhood(3, is_causal=True)


OTHERS = (
    nf.Slide((7, 9), dilation=2),
    nf.Window((7, 8), shift=(0, 4)),
    nf.HilbertWindow(8, order="morton"),
    nf.HilbertShiftedWindow(8, is_causal=True),
    nf.HilbertSlide(49, stride=4, dilation=2),
    nf.HilbertNeighborhood(49, order="row_major"),
)
SHOWN = (
    "Slide(width=(7, 9), dilation=2)",
    "Window(size=(7, 8), shift=(0, 4))",
    "HilbertWindow(size=8, order='morton')",
    "HilbertShiftedWindow(size=8, is_causal=True)",
    "HilbertSlide(width=49, dilation=2, stride=4)",
    "HilbertNeighborhood(width=49, order='row_major')",
)


@pytest.mark.parametrize(("pattern", "shown"), list(zip(OTHERS, SHOWN, strict=True)), ids=SHOWN)
def test_windows_and_curves_are_values(pattern, shown):
    assert repr(pattern) == shown
    for copied in (pickle.loads(pickle.dumps(pattern)), copy.deepcopy(pattern), eval(shown, dict(vars(nf)))):
        assert copied == pattern and hash(copied) == hash(pattern) and len({copied, pattern}) == 1
    first = "width" if hasattr(pattern, "width") else "size"
    assert dataclasses.replace(pattern, **{first: 10}) != pattern
    with pytest.raises(dataclasses.FrozenInstanceError):
        pattern.order = "hilbert"


def test_patterns_of_different_kinds_differ():
    made = [nf.HilbertWindow(3), nf.HilbertShiftedWindow(3), nf.HilbertSlide(3), nf.HilbertNeighborhood(3)]
    made += [nf.Window(3), nf.Slide(3), nf.Neighborhood(3)]
    assert len(set(made)) == len(made)
    assert all(a != b for a, b in itertools.combinations(made, 2))


def test_ranks():
    assert nf.Window((3, 4)).rank() == nf.Slide((3, 4)).rank() == 2
    for pattern in (nf.Window(3), nf.Slide(3), nf.HilbertWindow(3), nf.HilbertSlide(3)):
        assert pattern.rank() is None


def test_a_slide_is_a_neighborhood_that_is_cut():
    for width in range(1, 9):
        settings = {"stride": min(width, 2), "dilation": 2, "is_causal": (True, False)}
        expected = Neighborhood(2 * (width // 2) + 1, **settings, boundary="cut")
        assert nf.Slide(width, **settings).words(2) == expected.words(2)


def test_a_run_has_as_many_tokens_as_a_window_of_that_side():
    for rank in (1, 2, 3):
        assert nf.HilbertWindow(5).words(rank)[3] == 5**rank
        assert nf.HilbertShiftedWindow(5).words(rank)[3:5] == (5**rank, 5**rank // 2)


def test_settings_after_the_first_are_keywords():
    for pattern in (nf.HilbertWindow, nf.HilbertShiftedWindow, nf.HilbertSlide, nf.HilbertNeighborhood):
        with pytest.raises(TypeError, match="positional"):
            pattern(3, 2)


@pytest.mark.parametrize("pattern", [nf.HilbertWindow, nf.HilbertShiftedWindow])
def test_a_run_larger_than_anything_is_the_whole_grid(pattern):
    numpy = pytest.importorskip("numpy")
    x = numpy.random.default_rng(0).standard_normal((1, 3, 2, 2, 1, 4))
    everything = nf.attend(nf.Neighborhood(9), x, x, x)
    for size in (1 << 20, 1 << 40):
        assert abs(nf.attend(pattern(size), x, x, x) - everything).max() <= 1e-12
    assert abs(nf.attend(nf.Window(1 << 40), x, x, x) - everything).max() <= 1e-12


MADE = [
    (nf.Window, {"size": 2.5}, TypeError, "size=2.5: must be an integer or a sequence of integers"),
    (nf.Window, {"size": 3, "shift": "a"}, TypeError, "shift='a': must be an integer or a sequence of integers"),
    (
        nf.Window,
        {"size": (3, 3), "shift": (1, 1, 1)},
        nf.ArgumentError,
        "shift=(1, 1, 1): must have as many values as size, which has 2",
    ),
    (nf.Slide, {"width": ()}, nf.ArgumentError, "width=(): must have 1 to 3 values, one for each axis"),
    *(
        (pattern, {name: wrong}, TypeError, f"{name}={wrong!r}: must be an integer")
        for pattern, name in (
            (nf.HilbertWindow, "size"),
            (nf.HilbertShiftedWindow, "size"),
            (nf.HilbertSlide, "width"),
            (nf.HilbertNeighborhood, "width"),
        )
        for wrong in (2.5, True, "3", (3, 3), None)
    ),
    (nf.HilbertWindow, {"size": 3, "dilation": 1.5}, TypeError, "dilation=1.5: must be an integer"),
    (nf.HilbertSlide, {"width": 3, "stride": (1, 1)}, TypeError, "stride=(1, 1): must be an integer"),
    (nf.HilbertWindow, {"size": 3, "is_causal": 1}, TypeError, "is_causal=1: must be True or False"),
    *(
        (
            nf.HilbertWindow,
            {"size": 3, "order": wrong},
            nf.ArgumentError,
            f"order={wrong!r}: must be one of 'hilbert', 'morton', 'serpentine', 'row_major'",
        )
        for wrong in ("peano", 1, None, b"hilbert")
    ),
]


@pytest.mark.parametrize(("pattern", "arguments", "error", "message"), MADE)
def test_wrong_settings_of_windows_and_curves(pattern, arguments, error, message):
    with pytest.raises(error) as raised:
        pattern(**arguments)
    assert str(raised.value) == message


BROKEN = [
    (nf.Window(0), "size[0]=0: must be at least 1"),
    (nf.Window((3, -2)), "size[1]=-2: must be at least 1"),
    (nf.Window(3, 3), "shift[0]=3: must be below size[0]=3"),
    (nf.Window(3, (0, -1)), "shift[1]=-1: must be at least 0"),
    (nf.Window((3, 3, 3)), "size=(3, 3, 3): has 3 values, but the grid has 2 axes"),
    (nf.Window((1 << 40) + 1), "size[0]=1099511627777: must be at most 2^40"),
    (nf.Slide(0), "width[0]=0: must be at least 1"),
    (nf.Slide(3, stride=(3, 4)), "stride[1]=4: must be at most width[1]=3"),
    (nf.Slide(3, dilation=0), "dilation[0]=0: must be at least 1"),
    (nf.Slide(1 << 40), "width[0]=1099511627776: must be below 2^40"),
    *((kind(0), "size=0: must be at least 1") for kind in (nf.HilbertWindow, nf.HilbertShiftedWindow)),
    (nf.HilbertWindow(-3), "size=-3: must be at least 1"),
    (nf.HilbertWindow((1 << 40) + 1), "size=1099511627777: must be at most 2^40"),
    *((kind(0), "width=0: must be at least 1") for kind in (nf.HilbertSlide, nf.HilbertNeighborhood)),
    (nf.HilbertSlide((1 << 40) + 1), "width=1099511627777: must be at most 2^40"),
    (nf.HilbertSlide(9, stride=10), "stride=10: must be at most width=9"),
    (nf.HilbertNeighborhood(9, stride=0), "stride=0: must be at least 1"),
    (nf.HilbertNeighborhood(9, dilation=0), "dilation=0: must be at least 1"),
]


@pytest.mark.parametrize(("pattern", "message"), BROKEN, ids=lambda each: repr(each)[:40])
def test_broken_rules_are_named_with_the_users_words(pattern, message):
    numpy = pytest.importorskip("numpy")
    x = numpy.ones((1, 4, 5, 1, 2))
    for call in (nf.attend, nf.explain, nf.numpy.vjp):
        with pytest.raises(nf.ArgumentError) as error:
            call(pattern, x, x, x)
        assert str(error.value) == message


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (nf.Window((3, 4)), "bias.sizes[2]=5 (axis 1): must be 7, 2*size[1]-1"),
        (nf.Slide(6), "bias.sizes[1]=5 (axis 0): must be 13, 2*kernel_size[0]-1"),
        (nf.HilbertNeighborhood(30), "bias.sizes[1]=5 (axis 0): must be 7, 2*extents[0]-1 of nearfield.bias_extents"),
    ],
)
def test_a_bias_of_other_extents_is_named(pattern, message):
    numpy = pytest.importorskip("numpy")
    x = numpy.ones((1, 4, 5, 1, 2))
    with pytest.raises(nf.ArgumentError) as error:
        nf.attend(pattern, x, x, x, bias=numpy.zeros((1, 5, 5)))
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kernel_size": 2.5}, TypeError, r"kernel_size=2\.5: must be an integer"),
        ({"kernel_size": True}, TypeError, r"kernel_size=True: must be an integer"),
        ({"kernel_size": (3, "5")}, TypeError, r"kernel_size\[1\]='5': must be an integer"),
        ({"kernel_size": ()}, nf.ArgumentError, r"kernel_size=\(\): must have 1 to 3 values"),
        ({"kernel_size": (1, 2, 3, 4)}, nf.ArgumentError, r"kernel_size=\(1, 2, 3, 4\): must have 1 to 3 values"),
        ({"kernel_size": (3, 3), "dilation": (1, 2, 3)}, nf.ArgumentError, r"dilation=\(1, 2, 3\): must have as many"),
        ({"kernel_size": 3, "is_causal": 1}, TypeError, r"is_causal=1: must be True or False"),
        ({"kernel_size": 3, "boundary": "mirror"}, nf.ArgumentError, r"boundary='mirror': must be one of 'clamp'"),
        ({"kernel_size": 1 << 70}, nf.ArgumentError, r"kernel_size=1180591620717411303424: must be below 2\*\*62"),
    ],
)
def test_wrong_arguments_say_what_is_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        Neighborhood(**arguments)
