"""Patterns as values, and their wrong arguments."""

import copy
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
