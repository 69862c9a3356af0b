"""nearfield.simulate: against plans written out, published figures, and wrong arguments."""

from __future__ import annotations

import dataclasses
import math

import drawn_patterns
import nearfield
import numpy as np
import pytest
from nearfield import ArgumentError, HilbertSlide, Neighborhood, SphereNeighborhood
from nearfield.geometry import plan_steps


@pytest.mark.parametrize("kind", drawn_patterns.KINDS)
@pytest.mark.parametrize("seed", range(20))
def test_steps_are_those_of_the_plan(seed: int, kind: str) -> None:
    random = np.random.default_rng(seed)
    rank = 1 + seed % 3
    grid = tuple(int(n) for n in random.integers(1, (60, 10, 6)[rank - 1], rank))
    pattern = drawn_patterns.draw(random, kind, grid)
    along = kind == "curve"
    lengths = (math.prod(grid),) if along else grid
    tile = tuple(int(random.integers(1, n + 1)) for n in lengths)
    step = tuple(int(random.integers(1, n + 1)) for n in lengths)
    found = nearfield.simulate(pattern, grid, tile, step)
    steps = plan_steps(pattern, grid, tile, step)
    keys = steps["key_size"].prod(1)
    tiles, per_tile = np.unique(steps["tile"], return_counts=True)
    shown = (seed, pattern, grid, tile, step)
    assert found.query_tiles == len(tiles), shown
    assert found.steps.units == len(steps) and found.steps.masked_units == (steps["full"] == 0).sum(), shown
    assert found.steps.keys == keys.sum() and found.steps.most_units == per_tile.max(), shown
    assert found.steps.most_keys == np.bincount(steps["tile"], keys).max(), shown
    assert found.useful_pairs == steps["pairs"].sum() and found.dense_pairs == math.prod(grid) ** 2, shown
    assert found.steps.pairs == (keys * steps["query_size"].prod(1)).sum(), shown
    assert found.ideal_bound == found.dense_pairs / found.useful_pairs, shown


def test_published_figures() -> None:
    hunyuan = nearfield.simulate(Neighborhood((18, 24, 24)), (30, 48, 80), (4, 8, 8), (2, 8, 8))
    assert (round(hunyuan.key_tiles.worst_bound, 2), hunyuan.key_tiles.mean_bound) == (
        3.27,
        pytest.approx(5.24, abs=5e-3),
    )
    strided = nearfield.simulate(Neighborhood((18, 24, 24), stride=(16, 8, 8)), (30, 48, 80), (4, 8, 8), (2, 8, 8))
    assert strided.is_block_sparse and strided.key_tiles.worst_bound == strided.ideal_bound


def test_it_reads_well_and_cannot_be_changed() -> None:
    found = nearfield.simulate(Neighborhood(7), 64, gflops=10)
    assert repr(found).startswith("Simulation(Neighborhood(kernel_size=7) on 64, tiles 64 / 64: worst 1.00x")
    assert "key tiles, fixed" in str(found) and "predicted" in str(found)
    assert "predicted" not in str(nearfield.simulate(Neighborhood(7), 64))
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.tile = (8,)  # type: ignore[misc]
    assert found == nearfield.simulate(Neighborhood(7), 64, gflops=10)


def test_predicted_times_follow_the_rates() -> None:
    fast = nearfield.simulate(Neighborhood(7), 640, 8, gflops=10, head_dim=32)
    assert fast.steps.dense_seconds == pytest.approx(640 * 640 * 4 * 32 / 10e9)
    masked = nearfield.simulate(Neighborhood(7), 640, 8, gflops=10, head_dim=32, mask_cost=1.0)
    assert masked.steps.seconds == pytest.approx(fast.steps.seconds * 2)  # no step is full
    assert masked.steps.dense_seconds == fast.steps.dense_seconds


def test_default_tiles_fit_the_grid() -> None:
    assert nearfield.simulate(Neighborhood(3), (4, 100)).tile == (4, 8)
    assert nearfield.simulate(HilbertSlide(9), (4, 4)).tile == (16,)
    sphere = nearfield.simulate(SphereNeighborhood((19, 36), key_grid=(10, 18)), (19, 36))
    assert (sphere.tile, sphere.key_tile) == ((1, 36), (1, 18))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nearfield.simulate(Neighborhood(8), 64, 65), r"tile\[0\]=65: must be at most 64"),
        (lambda: nearfield.simulate(Neighborhood(8), 64, 8, 65), r"key_tile\[0\]=65: must be at most 64"),
        (lambda: nearfield.simulate(Neighborhood(8), 64, 0), r"tile\[0\]=0: must be at least 1"),
        (lambda: nearfield.simulate(Neighborhood(8, stride=9), 64), r"stride\[0\]=9: must be at most"),
        (lambda: nearfield.simulate(HilbertSlide(9), (8, 8), (2, 2)), "tile=.* has 2 values"),
        (lambda: nearfield.simulate(Neighborhood(8), 64, gflops=0), "gflops=0: must be finite and above 0"),
        (lambda: nearfield.simulate(Neighborhood(8), 64, mask_cost=-1), "mask_cost=-1.0: must be finite"),
        (lambda: nearfield.simulate(Neighborhood(8), 64, head_dim=0), "head_dim=0: must be at least 1"),
        (lambda: nearfield.simulate(SphereNeighborhood((19, 36)), (19, 36), (2, 4)), "must be 1 on the sphere"),
    ],
)
def test_wrong_arguments_are_refused(call: object, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()  # type: ignore[operator]


def test_wrong_types_are_refused() -> None:
    with pytest.raises(TypeError, match="tile"):
        nearfield.simulate(Neighborhood(8), 64, "8")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="pattern"):
        nearfield.simulate("window", 64)  # type: ignore[arg-type]
