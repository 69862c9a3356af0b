"""nearfield.geometry: windows and plans as arrays, against the definitions and the engines."""

from __future__ import annotations

import itertools
import random

import definition
import nearfield
import numpy as np
import pytest
from nearfield import Neighborhood
from nearfield.geometry import PLAN_STEP, plan_steps, window_slots, windows

CASES = 60


def draw(seed: int) -> tuple[Neighborhood, tuple[int, ...]]:
    rng = random.Random(seed)
    rank = rng.randint(1, 3)
    kernel, stride, dilation, causal, boundary, grid = [], [], [], [], [], []
    for _ in range(rank):
        kernel.append(rng.randint(1, 5))
        stride.append(rng.randint(1, kernel[-1]))
        dilation.append(rng.randint(1, 2))
        boundary.append(rng.choice(("clamp", "cut", "wrap")))
        causal.append(boundary[-1] != "wrap" and rng.random() < 0.3)
        length = rng.randint(1, 9)
        grid.append(length * dilation[-1] if boundary[-1] == "wrap" else length)
    return Neighborhood(tuple(kernel), tuple(stride), tuple(dilation), tuple(causal), tuple(boundary)), tuple(grid)


@pytest.mark.parametrize("seed", range(CASES))
def test_windows_are_the_definition(seed: int) -> None:
    pattern, grid = draw(seed)
    rank = len(grid)
    settings = pattern.axes(rank)
    slots = window_slots(pattern, grid)
    keys, bias_index = windows(pattern, grid)
    assert keys.shape == bias_index.shape == (np.prod(grid), np.prod(slots)), (seed, pattern, grid)
    assert ((keys < 0) == (bias_index < 0)).all(), (seed, pattern, grid)
    for number, token in enumerate(itertools.product(*map(range, grid))):
        per_axis = [
            [
                key
                for key, _ in definition.keys_of(definition.Axis(grid[a], *(s[a] for s in settings.values())), token[a])
            ]
            for a in range(rank)
        ]
        expected = [int(np.ravel_multi_index(each, grid)) for each in itertools.product(*per_axis)]
        seen = keys[number]
        assert sorted(seen[seen >= 0]) == sorted(expected), (seed, pattern, grid, token)


@pytest.mark.parametrize("seed", range(CASES))
def test_bias_index_is_where_the_engines_look(seed: int) -> None:
    """A bias that is its own index, with scale 0: the softmax over the indices found is what the library computes."""
    pattern, grid = draw(seed)
    entries = [2 * k - 1 for k in pattern.axes(len(grid))["kernel_size"]]
    bias = np.linspace(-2, 2, int(np.prod(entries))).reshape(1, *entries)
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(1, *grid, 1, 2))
    out = nearfield.attend(pattern, x, x, x, bias=bias, scale=0.0)
    keys, bias_index = windows(pattern, grid)
    chances = np.where(keys >= 0, np.exp(bias.reshape(-1)[bias_index]), 0)
    expected = np.einsum("qs,qsc->qc", chances / chances.sum(-1, keepdims=True), x.reshape(-1, 2)[keys])
    assert abs(out.reshape(-1, 2) - expected).max() <= 1e-12, (seed, pattern, grid)


@pytest.mark.parametrize("seed", range(CASES))
def test_steps_cover_each_pair_once(seed: int) -> None:
    pattern, grid = draw(seed)
    rng = random.Random(seed)
    tile, step = (tuple(rng.randint(1, 4) for _ in grid) for _ in range(2))
    dilation = pattern.axes(len(grid))["dilation"]
    tokens = int(np.prod(grid))
    keys = windows(pattern, grid).keys
    visible = np.zeros((tokens, tokens), bool)
    for query in range(tokens):
        visible[query, keys[query][keys[query] >= 0]] = True
    visits = np.zeros((tokens, tokens), int)
    for record in plan_steps(pattern, grid, tile, step):
        box = []
        for side in ("query", "key"):
            axes = [
                [(record[f"{side}_first"][a] + i) * dilation[a] + record["residue"][a] for i in range(size)]
                for a, size in enumerate(record[f"{side}_size"][: len(grid)])
            ]
            box.append([int(np.ravel_multi_index(each, grid)) for each in itertools.product(*axes)])
        part = visible[np.ix_(*box)]
        assert part.sum() == record["pairs"] and part.all() == bool(record["full"]), (seed, pattern, grid, record)
        visits[np.ix_(*box)] += 1
    assert (visits[visible] == 1).all() and visits.max(initial=0) <= 1, (seed, pattern, grid, tile, step)


def test_a_part_of_the_windows() -> None:
    pattern, grid = Neighborhood((3, 5)), (6, 8)
    whole, part = windows(pattern, grid), windows(pattern, grid, 11, 5)
    assert (part.keys == whole.keys[11:16]).all() and (part.bias_index == whole.bias_index[11:16]).all()
    assert windows(pattern, grid, 40).keys.shape == (8, 15)
    assert windows(pattern, grid, 48).keys.shape == (0, 15)


def test_empty_grid() -> None:
    assert windows(Neighborhood(3), (0, 4)).keys.shape[0] == 0
    assert len(plan_steps(Neighborhood(3), (0, 4), 2, 2)) == 0


def test_record_has_the_size_of_the_struct() -> None:
    assert PLAN_STEP.itemsize == 18 * 8


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: windows(Neighborhood(3), (4, 4, 4, 4)), "grid=(4, 4, 4, 4): has 4 axes: must have 1, 2 or 3"),
        (lambda: windows(Neighborhood((3, 3)), 4), "kernel_size=(3, 3): has 2 values, but the grid has 1 axis"),
        (lambda: windows(Neighborhood(0), 4), "kernel_size[0]=0: must be at least 1"),
        (lambda: windows(Neighborhood(3), (4, -1)), "grid[1]=-1: must be at least 0"),
        (lambda: window_slots(Neighborhood(3), 1 << 63), "grid=9223372036854775808: must be below 2**62"),
        (lambda: windows(Neighborhood(3), 4, -1), "first=-1: must be at least 0"),
        (lambda: windows(Neighborhood(3), 4, 2, 3), "count=3: must be at most 2, the queries from first=2 on"),
        (
            lambda: plan_steps(Neighborhood(3), (4, 4), (2, 2, 2), 2),
            "tile=(2, 2, 2): has 3 values, but the grid has 2 axes",
        ),
        (lambda: plan_steps(Neighborhood(3), 4, 2, 0), "step[0]=0: must be at least 1"),
    ],
)
def test_wrong_arguments(call, message: str) -> None:
    with pytest.raises(nearfield.ArgumentError) as error:
        call()
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: windows(7, 4), "pattern: is a int: must be a nearfield pattern, e.g. Neighborhood(7)"),
        (lambda: windows(Neighborhood(3), 4.5), "grid=4.5: must be an integer or a sequence of integers"),
        (lambda: window_slots(Neighborhood(3), "4"), "grid='4': must be an integer or a sequence of integers"),
        (lambda: window_slots(Neighborhood(3), (4, None)), "grid[1]=None: must be an integer"),
        (lambda: windows(Neighborhood(3), True), "grid=True: must be an integer or a sequence of integers"),
        (lambda: windows(Neighborhood(3), 4, "a"), "first='a': must be an integer"),
        (lambda: windows(Neighborhood(3), 4, 0, 2.5), "count=2.5: must be an integer"),
        (lambda: plan_steps(Neighborhood(3), 4, 2.5, 2), "tile=2.5: must be an integer or a sequence of integers"),
        (lambda: plan_steps(Neighborhood(3), 4, 2, [None]), "step[0]=None: must be an integer"),
    ],
)
def test_wrong_types(call, message: str) -> None:
    with pytest.raises(TypeError) as error:
        call()
    assert str(error.value) == message
