"""Attention on the sphere with numpy arrays, forward and backward, and its geometry: against the definition."""

import math

import nearfield as nf
import numpy as np
import pytest
from definition_sphere import Grid
from sphere_problems import LATITUDES, check, defined, draw, draw_pattern


def run(problem, cast=lambda array: array):
    arrays = {name: each if each.dtype == bool else cast(each) for name, each in problem.arrays.items()}
    (out, lse), pullback = nf.numpy.vjp(problem.pattern, **arrays, **problem.numbers, return_lse=True)
    random = np.random.default_rng(0)
    dout, dlse = (random.standard_normal(each.shape).astype(each.dtype) for each in (out, lse))
    found = {name: each for name, each in pullback(dout, dlse)._asdict().items() if each is not None}
    return [each.astype(np.float64) for each in (out, lse)], found, dout, dlse


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_values_and_gradients_are_the_definitions(dtype):
    for seed in range(30):
        problem = draw(seed, dtype)
        (out, lse), gradients, dout, dlse = run(problem, lambda array: array.astype(dtype))
        check(problem, dtype, out, lse, gradients, dout, dlse)


@pytest.mark.parametrize("latitudes", LATITUDES)
@pytest.mark.parametrize("nlat", [2, 3, 9, 64])
def test_latitudes_and_areas(latitudes, nlat):
    grid, known = nf.SphereGrid(nlat, 12, latitudes), Grid(nlat, 12, latitudes)
    assert grid.colatitudes.dtype == grid.area_weights.dtype == np.float64
    assert np.abs(grid.colatitudes - known.circles()[0]).max() <= 1e-13
    assert np.abs(grid.area_weights / known.areas() - 1).max() <= 1e-11
    assert abs(12 * grid.area_weights.sum() - 4 * math.pi) <= 1e-13
    grid.colatitudes[:] = 0  # a copy
    assert grid.colatitudes[-1] > 1


def test_one_latitude_is_the_equator():
    grid = nf.SphereGrid(1, 6, "legendre-gauss")
    assert abs(grid.colatitudes[0] - math.pi / 2) <= 1e-15 and abs(6 * grid.area_weights[0] - 4 * math.pi) <= 1e-14


def test_windows_are_what_lies_within_the_distance():
    for seed in range(40):
        pattern = draw_pattern(np.random.default_rng(seed))
        grid, keys = ((each.nlat, each.nlon) for each in (pattern.grid, pattern.key_grid))
        seen = defined(pattern).seen.reshape(math.prod(grid), math.prod(keys))
        found = nf.geometry.windows(pattern, grid)
        assert found.keys.shape == (len(seen), math.prod(nf.geometry.window_slots(pattern, grid)))
        assert found.keys.shape[1] >= seen.sum(1).max(), pattern
        assert (found.bias_index == -1).all()
        for row, expected in zip(found.keys, seen, strict=True):
            assert sorted(row[row >= 0]) == np.flatnonzero(expected).tolist(), pattern
        some = nf.geometry.windows(pattern, grid, 1, 1).keys
        assert (some == found.keys[1:2]).all()


def test_steps_of_a_plan_have_every_pair_once():
    for seed in range(20):
        pattern = draw_pattern(np.random.default_rng(seed))
        grid = (pattern.grid.nlat, pattern.grid.nlon)
        steps = nf.geometry.plan_steps(pattern, grid, (1, 4), (1, 4))
        assert steps["pairs"].sum() == defined(pattern).seen.sum(), pattern


def test_block_pairs_have_queries_and_keys_of_their_own_grids():
    pattern = nf.SphereNeighborhood((5, 8), (9, 16), cutoff=0.6)
    pairs = nf.geometry.block_pairs(pattern, (5, 8), 16)
    seen = defined(pattern).seen.reshape(40, 144)
    assert pairs.shape == (3, 9)
    for i, j in np.ndindex(3, 9):
        assert pairs[i, j] == seen[16 * i : 16 * (i + 1), 16 * j : 16 * (j + 1)].sum()


def test_explain_counts_the_pairs_of_queries_and_keys():
    pattern = nf.SphereNeighborhood((5, 8), (9, 16))
    q, k = np.zeros((2, 5, 8, 3, 4), "float32"), np.zeros((2, 9, 16, 1, 4), "float32")
    for backward in (False, True):
        explained = nf.explain(pattern, q, k, k, backward=backward)
        assert explained.engine == "cpu" and explained.useful_pairs == 6 * defined(pattern).seen.sum()
    assert nf.explain(nf.SphereGlobal((5, 8), (9, 16)), q, k, k).useful_pairs == 6 * 40 * 144


@pytest.mark.parametrize("engine", ["cpu", "reference"])
def test_queries_that_see_nothing(engine):
    """Coarse keys between which queries lie: nothing, and not NaN."""
    pattern = nf.SphereNeighborhood(nf.SphereGrid(5, 8, "legendre-gauss"), (3, 4), cutoff=0.3)
    empty = ~defined(pattern).seen.any((2, 3))
    assert 0 < empty.sum() < empty.size
    random = np.random.default_rng(0)
    q, k, v = (random.standard_normal((1, *grid, 1, 4)) for grid in ((5, 8), (3, 4), (3, 4)))
    (out, lse), pullback = nf.numpy.vjp(pattern, q, k, v, return_lse=True, engine=engine)
    gradients = pullback(np.ones_like(out), np.ones_like(lse))
    assert (out[0, empty] == 0).all() and np.isneginf(lse[0, empty]).all() and (out[0, ~empty] != 0).all()
    assert (gradients.query[0, empty] == 0).all()
    assert all(np.isfinite(each).all() for each in gradients[:3])


def test_masked_land_counts_for_nothing():
    """Keys on land hold NaN; mask and weights of the key grid hide them alike, and a weight of 2 is a key twice."""
    pattern = nf.SphereNeighborhood((5, 8), (9, 12 * 2), cutoff=0.7)
    random = np.random.default_rng(0)
    q, k, v = (random.standard_normal((2, *grid, 2, 4)) for grid in ((5, 8), (9, 24), (9, 24)))
    sea = random.random((9, 24)) < 0.6
    mask = np.broadcast_to(sea, (2, 9, 24))
    by_weight = nf.attend(pattern, q, k, v, key_weights=sea.astype(float))
    holes = np.where(sea[..., None, None], 0, np.nan)
    assert np.abs(nf.attend(pattern, q, k + holes, v + holes, key_mask=mask) - by_weight).max() <= 1e-12
    twice = nf.attend(pattern, q, k, v, key_weights=2 * sea.astype(float))
    assert np.abs(twice - by_weight).max() <= 1e-12


@pytest.mark.parametrize("sizes", [((5, 8), (9, 16)), ((9, 16), (5, 8)), ((6, 12), (6, 12))])
def test_rotating_the_input_rotates_the_output(sizes):
    """By whole steps of the coarser grid: the same longitudes are seen, in other places."""
    random = np.random.default_rng(0)
    grid, keys = sizes
    q, k, v = (random.standard_normal((1, *each, 2, 4)) for each in (grid, keys, keys))
    coarse = min(grid[1], keys[1])
    for pattern in (nf.SphereNeighborhood(grid, keys, cutoff=0.8), nf.SphereGlobal(grid, keys)):
        out = nf.attend(pattern, q, k, v)
        for steps in (1, 3):
            q2, k2, v2 = (np.roll(each, steps * each.shape[2] // coarse, 2) for each in (q, k, v))
            expected = np.roll(out, steps * grid[1] // coarse, 2)
            assert np.abs(nf.attend(pattern, q2, k2, v2) - expected).max() <= 1e-13


def test_parts_of_the_keys_merge():
    """Land and sea apart, then one softmax."""
    pattern = nf.SphereNeighborhood((5, 8), (9, 16), cutoff=0.9)
    random = np.random.default_rng(0)
    q, k, v = (random.standard_normal((1, *grid, 2, 4)) for grid in ((5, 8), (9, 16), (9, 16)))
    land = random.random((1, 9, 16)) < 0.5
    parts = [nf.attend(pattern, q, k, v, key_mask=mask, return_lse=True) for mask in (land, ~land)]
    out, lse = nf.merge(*zip(*parts, strict=True))
    whole, whole_lse = nf.attend(pattern, q, k, v, return_lse=True)
    assert np.abs(out - whole).max() <= 1e-13 and np.abs(lse - whole_lse).max() <= 1e-13
