"""Patterns on the sphere as values, and what is refused, in which words."""

import copy
import dataclasses
import itertools
import math
import pickle
import struct

import nearfield as nf
import pytest
from nearfield.patterns import _words

DOWN = nf.SphereNeighborhood((5, 8), nf.SphereGrid(9, 16, "lobatto"), cutoff=0.5)
SHOWN = {
    "SphereGrid(nlat=5, nlon=8)": nf.SphereGrid(5, 8),
    "SphereGrid(nlat=1, nlon=8, latitudes='legendre-gauss')": nf.SphereGrid(1, 8, "legendre-gauss"),
    "SphereNeighborhood(grid=SphereGrid(nlat=5, nlon=8), "
    "key_grid=SphereGrid(nlat=9, nlon=16, latitudes='lobatto'), cutoff=0.5)": DOWN,
    "SphereNeighborhood(grid=SphereGrid(nlat=5, nlon=8), tolerance=0.0)": nf.SphereNeighborhood((5, 8), tolerance=0),
    "SphereGlobal(grid=SphereGrid(nlat=5, nlon=8))": nf.SphereGlobal((5, 8)),
}


@pytest.mark.parametrize("shown", SHOWN)
def test_patterns_and_grids_are_values(shown):
    value = SHOWN[shown]
    assert repr(value) == shown
    for copied in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value), eval(shown, dict(vars(nf)))):
        assert copied == value and hash(copied) == hash(value) and len({copied, value}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.nlat = 3


def test_settings_tell_patterns_apart():
    grid, other = nf.SphereGrid(5, 8), nf.SphereGrid(5, 8, "lobatto")
    made = [nf.SphereGlobal(grid), nf.SphereGlobal(other), nf.SphereGlobal(grid, other), nf.SphereNeighborhood(grid)]
    made += [nf.SphereNeighborhood(grid, cutoff=1), nf.SphereNeighborhood(grid, cutoff=1, tolerance=0), grid, other]
    assert len(set(made)) == len(made) and all(a != b for a, b in itertools.combinations(made, 2))
    assert dataclasses.replace(DOWN, cutoff=None) == nf.SphereNeighborhood(DOWN.grid, DOWN.key_grid)


def test_what_is_left_out_has_a_meaning():
    assert nf.SphereNeighborhood([5, 8]) == nf.SphereNeighborhood(nf.SphereGrid(5, 8), (5, 8))
    assert nf.SphereNeighborhood((5, 8)).key_grid == nf.SphereGrid(5, 8) and DOWN.rank() == 2
    for grid, keys, step in (((5, 8), (9, 16), 4), ((9, 16), (5, 8), 4), ((9, 8), (5, 8), 8)):
        assert nf.SphereNeighborhood(grid, keys).distance == math.pi / step
    assert DOWN.distance == 0.5


def test_doubles_are_handed_on_as_their_bits():
    for x in (0.0, 5e-324, 1e-310, 2.0**-1022, 0.1, 1.0, 2.0, math.pi, 1.7976931348623157e308, math.inf):
        assert _words._bits(x) == struct.unpack("q", struct.pack("d", x))[0]
    assert nf.SphereNeighborhood((5, 8), tolerance=-0.0).words(2)[9] == 0


LATITUDES = "must be one of 'equiangular', 'legendre-gauss', 'lobatto', 'equiangular-trapezoidal'"
WRONG = [
    (lambda: nf.SphereGrid(5.5, 8), "nlat=5.5: must be an integer"),
    (lambda: nf.SphereGrid(5, True), "nlon=True: must be an integer"),
    (lambda: nf.SphereGrid(1, 8), "nlat=1: must be at least 2 on a grid of latitudes 'equiangular'"),
    (
        lambda: nf.SphereGrid(0, 8, "legendre-gauss"),
        "nlat=0: must be at least 1 on a grid of latitudes 'legendre-gauss'",
    ),
    (lambda: nf.SphereGrid(16385, 8), "nlat=16385: must be at most 16384"),
    (lambda: nf.SphereGrid(5, 0), "nlon=0: must be at least 1"),
    (lambda: nf.SphereGrid(5, 1 << 21), "nlon=2097152: must be at most 1048576"),
    (lambda: nf.SphereGrid(5, 8, "gauss"), f"latitudes='gauss': {LATITUDES}; did you mean 'legendre-gauss'?"),
    (
        lambda: nf.SphereGrid(5, 8, "Equi_Angular"),
        f"latitudes='Equi_Angular': {LATITUDES}; did you mean 'equiangular'?",
    ),
    (lambda: nf.SphereGrid(5, 8, "healpix"), f"latitudes='healpix': {LATITUDES}"),
    (lambda: nf.SphereGrid(5, 8, 1), f"latitudes=1: {LATITUDES}"),
    (lambda: nf.SphereNeighborhood(5), "grid=5: must be a SphereGrid or (nlat, nlon)"),
    (lambda: nf.SphereGlobal((5, 8), (9, 8, 3)), "key_grid=(9, 8, 3): must be a SphereGrid or (nlat, nlon)"),
    (lambda: nf.SphereGlobal((5, "8")), "grid[1]='8': must be an integer"),
    (
        lambda: nf.SphereGlobal((5, 8), (1, 8)),
        "key_grid.nlat=1: must be at least 2 on a grid of latitudes 'equiangular'",
    ),
    (lambda: nf.SphereNeighborhood((5, 0)), "grid.nlon=0: must be at least 1"),
    (
        lambda: nf.SphereNeighborhood((5, 8), (9, 12)),
        "key_grid.nlon=12: must divide grid.nlon=8 or be a multiple of it",
    ),
    (
        lambda: nf.SphereGlobal((5, 8), nf.SphereGrid(1, 8, "legendre-gauss")),
        "key_grid.nlat=1: must be at least 2 where keys are on it",
    ),
    (
        lambda: nf.SphereNeighborhood(nf.SphereGrid(1, 8, "legendre-gauss"), cutoff=1),
        "grid.nlat=1: must be at least 2 where keys are on it",
    ),
    (
        lambda: nf.SphereNeighborhood(nf.SphereGrid(1, 8, "legendre-gauss"), (5, 8)),
        "cutoff=None: must be given where grid.nlat=1, which has no step of latitude",
    ),
    (lambda: nf.SphereNeighborhood((5, 8), cutoff=0), "cutoff=0.0: must be above 0"),
    (lambda: nf.SphereNeighborhood((5, 8), cutoff=-1), "cutoff=-1.0: must be above 0"),
    (lambda: nf.SphereNeighborhood((5, 8), cutoff=math.nan), "cutoff=nan: must be above 0"),
    (lambda: nf.SphereNeighborhood((5, 8), cutoff="1"), "cutoff='1': must be a number"),
    (lambda: nf.SphereNeighborhood((5, 8), tolerance=-0.1), "tolerance=-0.1: must be at least 0"),
    (lambda: nf.SphereNeighborhood((5, 8), tolerance=math.nan), "tolerance=nan: must be at least 0"),
]


@pytest.mark.parametrize(("make", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_wrong_settings(make, message):
    with pytest.raises((nf.ArgumentError, TypeError)) as error:
        make()
    assert str(error.value) == message


def test_what_is_no_setting():
    with pytest.raises(TypeError, match="positional"):
        nf.SphereNeighborhood((5, 8), (5, 8), 0.5)


def arrays():
    numpy = pytest.importorskip("numpy")
    return [numpy.ones((2, *grid, 1, 4)) for grid in ((5, 8), (9, 16), (9, 16))]


REFUSED = [
    ({"query": (2, 9, 16, 1, 4)}, "query: has a grid of 9x16: must have the pattern's 5x8"),
    ({"key": (2, 5, 8, 1, 4)}, "key.sizes[1]=5 (axis 0): must be 9, as the pattern says"),
    ({"value": (2, 9, 8, 1, 4)}, "value.sizes[2]=8 (axis 1): must be 16, as the pattern says"),
    ({"key_mask": (2, 5, 8)}, "key_mask.sizes[1]=5 (axis 0): must be 9, as the pattern says"),
    ({"key_weights": (5, 8)}, "key_weights.sizes[0]=5 (axis 0): must be 9, as the pattern says"),
    ({"key_weights": (2, 9, 8)}, "key_weights.sizes[2]=8 (axis 1): must be 16, as the pattern says"),
    (
        {"bias": (1, 9, 15)},
        "bias: must be None on the sphere, where no two latitudes have the same offsets: key_weights serve",
    ),
]


@pytest.mark.parametrize(("shapes", "message"), REFUSED, ids=[message[:30] for _, message in REFUSED])
def test_tensors_of_other_grids(shapes, message):
    import numpy

    given = dict(zip(("query", "key", "value"), arrays(), strict=True))
    given |= {name: numpy.ones(shape, bool if name == "key_mask" else float) for name, shape in shapes.items()}
    for call in (nf.attend, nf.explain, nf.numpy.vjp):
        with pytest.raises(nf.ArgumentError) as error:
            call(DOWN, **given)
        assert str(error.value) == message


def test_grids_of_other_ranks():
    q, k, v = arrays()
    for call in (nf.attend, nf.explain, nf.numpy.vjp):
        with pytest.raises(nf.ArgumentError) as error:
            call(nf.SphereGlobal((5, 8)), q[:, 0], k, v)
        assert str(error.value) == "grid=SphereGrid(nlat=5, nlon=8): has 2 axes, but the call's grid has 1 axis"


def test_geometry_of_other_grids():
    arrays()  # needs numpy
    with pytest.raises(nf.ArgumentError) as error:
        nf.geometry.windows(DOWN, (9, 16))
    assert str(error.value) == "query: has a grid of 9x16: must have the pattern's 5x8"
    with pytest.raises(nf.ArgumentError) as error:
        nf.geometry.plan_steps(DOWN, (5, 8), (2, 4), (1, 4))
    assert str(error.value) == "tile[0]=2: must be 1 on the sphere: tiles are of queries of one latitude"
    for pattern in (DOWN, nf.SphereGlobal((5, 8))):
        with pytest.raises(nf.ArgumentError) as error:
            nf.bias_extents(pattern, (5, 8))
        name = type(pattern).__name__
        assert str(error.value) == (
            f"pattern: is a {name}: must be another: no bias is possible on the sphere, key_weights serve"
        )
