"""Wrong calls in every face: what is of no array's kind, or of another's, is named, and so is every wrong setting."""

import nearfield as nf
import pytest

numpy = pytest.importorskip("numpy")

NAMES = ("query", "key", "value", "additional_keys", "additional_values", "key_mask", "key_weights", "bias")
FACES = ("torch", "numpy", "jax")
ARRAYS = {"torch": "torch.Tensor", "numpy": "numpy.ndarray", "jax": "jax.Array"}


def made(face, array):
    """The numpy array as one of the face."""
    if face == "torch":
        return pytest.importorskip("torch").from_numpy(array.copy())
    if face == "jax":
        return pytest.importorskip("jax").numpy.asarray(array)
    return array


def ones(face, *shape, dtype="float32"):
    return made(face, numpy.ones(shape, dtype))


def callers(face):
    """Everything that takes the arguments of attend."""
    found = {"attend": nf.attend, "explain": nf.explain}
    if face == "numpy":
        found["vjp"] = nf.numpy.vjp
    if face == "jax":
        pytest.importorskip("jax")
        found["jax.attend"] = nf.jax.attend
    return found


def check(face, change, error, message):
    """All of the face's functions refuse the call in these words."""
    x = ones(face, 1, 6, 2, 4)
    arguments = {"pattern": nf.Neighborhood(3), "query": x, "key": x, "value": x, **change}
    for name, function in callers(face).items():
        with pytest.raises(error, match=message) as raised:
            function(**arguments)
        assert error is TypeError or isinstance(raised.value, nf.ArgumentError), name


class Strange:
    """No array."""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("face", FACES)
def test_what_is_no_array_is_named(face, name):
    for wrong, kind in ((7, "int"), ([1.0], "list"), ("a", "str"), (Strange(), r"test_wrong_calls\.Strange")):
        check(face, {name: wrong}, TypeError, rf"^{name}: is a {kind}: must be a (torch|numpy|jax)\.")
    if name in NAMES[:3]:
        check(face, {name: None}, TypeError, rf"^{name}: is None: must be a (torch|numpy|jax)\.")


@pytest.mark.parametrize("name", NAMES[1:])
@pytest.mark.parametrize("face", FACES)
def test_the_odd_one_out_is_named(face, name):
    for other in set(FACES) - {face}:
        if (face, other) == ("jax", "numpy"):  # JAX takes numpy's arrays as its own
            continue
        expected = rf"^{name}: is a {ARRAYS[other]}: must be a {ARRAYS[face]}.*, as query is"
        check(face, {name: ones(other, 1, 6, 2, 4)}, TypeError, expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("face", FACES)
def test_masked_arrays_are_refused_because_their_mask_would_be_ignored(face, name):
    masked = numpy.ma.masked_array(numpy.ones((1, 6, 2, 4), "float32"), mask=True)
    check(face, {name: masked}, TypeError, rf"^{name}: is a numpy.ma.MaskedArray, whose mask says nothing here")


@pytest.mark.parametrize("face", FACES)
def test_shapes_and_dtypes(face):
    short = ones(face, 1, 2, 2, 4)
    for change, error, message in (
        ({"query": ones(face)}, ValueError, r"^query: shape \(\): has 0 dimensions, must be \(batch, \*grid"),
        ({"query": ones(face, *[1] * 7)}, ValueError, r"^query: shape .*: has 7 dimensions"),
        ({"key": ones(face)}, ValueError, r"^key\.rank=0: must be 4"),
        ({"value": ones(face)}, ValueError, r"^value(\.rank=0|: shape \(\)): must be"),
        ({"additional_keys": ones(face), "additional_values": short}, ValueError, r"^additional_keys\.rank=0"),
        ({"additional_keys": short, "additional_values": ones(face)}, ValueError, r"^additional_values\.rank=0"),
        ({"additional_keys": short}, ValueError, r"^additional_values: must not be None: .* come together"),
        ({"additional_values": short}, ValueError, r"^additional_keys: must not be None: .* come together"),
        ({"bias": ones(face, *[1] * 7)}, ValueError, r"^bias: shape .*: has more than 6 dimensions"),
        ({"key_mask": ones(face, 1, 6, dtype="int32")}, TypeError, r"^key_mask: dtype .*int32: must be bool$"),
        ({"key_mask": ones(face, 1, 6, dtype="uint8")}, TypeError, r"^key_mask: dtype .*uint8: must be bool$"),
        ({"key_weights": ones(face, 6, dtype="int32")}, TypeError, r"^key_weights: dtype .*int32: must be float64"),
        ({"key_weights": ones(face, 6, dtype="bool")}, TypeError, r"^key_weights: dtype .*bool: must be float64"),
        ({"query": ones(face, 1, 6, 2, 4, dtype="bool")}, TypeError, r"^query: dtype .*bool: must be float64"),
    ):
        check(face, change, error, message)


SETTINGS = [
    *(({"pattern": each}, TypeError, r"^pattern: is a .*: must be a nearfield pattern") for each in (7, None, (3,))),
    ({"pattern": nf.Neighborhood}, TypeError, r"^pattern: is the class Neighborhood: must be a nearfield pattern"),
    *(
        ({name: each}, TypeError, rf"^{name}=.*: must be a number$")
        for name in ("scale", "softcap")
        for each in ("a", "2.5", b"2", True, [1.0], 1j, numpy.ones(3), Strange())
    ),
    *(({name: 10**400}, ValueError, rf"^{name}=1000.*: must be finite$") for name in ("scale", "softcap")),
    ({"scale": float("nan")}, ValueError, r"^scale=nan: must be finite"),
    ({"softcap": -1}, ValueError, r"^softcap=-1: must be finite and at least 0"),
    ({"softcap": None}, TypeError, r"^softcap=None: must be a number"),
    *(
        ({name: each}, ValueError, rf"^{name}=.*: must be one of '")
        for name in ("engine", "isa", "kernel", "precision")
        for each in ("gpu", 7, None, ["auto"], b"auto", numpy.ones((2, 2)), Strange())
    ),
    *(
        ({"num_threads": each}, TypeError, r"^num_threads=.*: must be an integer")
        for each in (1.5, True, "2", None, [1])
    ),
    *(({"num_threads": each}, ValueError, r"^num_threads=.*: must be 0 .* to 2\*\*31 - 1") for each in (-1, 1 << 40)),
]


@pytest.mark.parametrize("face", FACES)
def test_settings(face):
    for change, error, message in SETTINGS:
        check(face, change, error, message)


@pytest.mark.parametrize("face", FACES)
def test_flags(face):
    x = ones(face, 1, 6, 2, 4)
    for wrong in ("yes", 1, None, x):
        for function in callers(face).values():
            flag = "backward" if function is nf.explain else "return_lse"
            with pytest.raises(TypeError, match=rf"^{flag}=.*: must be True or False"):
                function(nf.Neighborhood(3), x, x, x, **{flag: wrong})


@pytest.mark.parametrize("face", FACES)
def test_windows(face):
    x = ones(face, 1, 6, 2, 4)
    for name in ("kernel_size", "stride", "dilation"):
        for wrong in (2.5, None, "a", b"ab", {3}, numpy.array([3, 3]), Strange()):
            with pytest.raises(TypeError, match=rf"^{name}=.*: must be an integer or a sequence of integers$"):
                nf.na1d(x, x, x, **{"kernel_size": 3, name: wrong})
    for wrong in ("mirror", 0, None, b"clamp", numpy.ones(2)):
        with pytest.raises(nf.ArgumentError, match=r"^boundary=.*: must be one of 'clamp'"):
            nf.na1d(x, x, x, 3, boundary=wrong)


@pytest.mark.parametrize("face", FACES)
def test_merging(face):
    other = "torch" if face == "numpy" else "numpy"
    strange = ones("torch" if face == "jax" else other, 1, 6, 2, 4)
    o, s = ones(face, 1, 6, 2, 4), ones(face, 1, 6, 2)
    for outs, logsumexps, error, message in (
        (None, None, TypeError, r"^outs=None: must be a sequence of arrays"),
        ([None], [None], TypeError, r"^outs\[0\]: is None: must be a torch.Tensor, numpy.ndarray or jax.Array"),
        ([o], [None], TypeError, rf"^logsumexps\[0\]: is None: must be a {ARRAYS[face]}"),
        ([o, None], [s, s], TypeError, rf"^outs\[1\]: is None: must be a {ARRAYS[face]}"),
        ([o, strange], [s, s], TypeError, rf"^outs\[1\]: is a .*: must be a {ARRAYS[face]}.*, as outs\[0\] is"),
        ([o, o[:, :5]], [s, s], ValueError, r"^outs\[1\]: shape \(1, 5, 2, 4\): must be \(1, 6, 2, 4\), as outs\[0\]"),
        ([o], [o], ValueError, r"^logsumexps\[0\]: shape \(1, 6, 2, 4\): must be \(1, 6, 2\): outs\[0\] without"),
        ([s], [s], ValueError, r"^outs\[0\]: shape \(1, 6, 2\): must be \(batch, \*grid, heads, head_dim_v\)"),
        ([ones(face)], [ones(face)], ValueError, r"^outs\[0\]: shape \(\): must be \(batch"),
        ([ones(face, 1, 6, 2, 4, dtype="int32")], [s], TypeError, r"^outs\[0\]: dtype .*int32: must be float64"),
        (
            [o],
            [ones(face, 1, 6, 2, dtype="float16")],
            ValueError,
            r"^logsumexps\[0\]: dtype .*float16: must be float32",
        ),
    ):
        with pytest.raises(error, match=message):
            nf.merge(outs, logsumexps)


def test_pullbacks():
    x = ones("numpy", 1, 6, 2, 4)
    _, pullback = nf.numpy.vjp(nf.Neighborhood(3), x, x, x)
    for arguments, error, message in (
        (([1],), TypeError, r"^dout: is a list: must be a numpy.ndarray"),
        ((numpy.ma.masked_array(x),), TypeError, r"^dout: is a numpy.ma.MaskedArray"),
        ((x, [1]), TypeError, r"^dlogsumexp: is a list: must be a numpy.ndarray"),
        ((x, 7), TypeError, r"^dlogsumexp: is a int: must be a numpy.ndarray"),
        ((x, x), ValueError, r"^dlogsumexp\.rank=4: must be 3"),
        ((x, None, "query"), TypeError, r"^wanted='query': must be names among query, key"),
        ((x, None, 7), TypeError, r"^wanted=7: must be names among query, key"),
        ((x, None, ([1],)), ValueError, r"^wanted=\(\[1\],\): must be among query, key"),
    ):
        with pytest.raises(error, match=message):
            pullback(*arguments)


def test_a_pullback_reads_any_dlogsumexp():
    x = numpy.random.default_rng(0).standard_normal((1, 6, 2, 4)).astype("float32")
    _, pullback = nf.numpy.vjp(nf.Neighborhood(3), x, x, x)
    plain = x[..., 0].copy()
    # Five bytes from one element to the next.
    packed = numpy.zeros(plain.shape, [("odd", "i1"), ("value", "f4")])
    packed["value"] = plain
    for strange in (packed["value"], numpy.asfortranarray(plain)):
        for found, expected in zip(pullback(x, strange), pullback(x, plain), strict=True):
            assert found is None or (found == expected).all()
