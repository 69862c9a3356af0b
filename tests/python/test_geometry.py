"""nearfield.geometry: windows and plans as arrays, against the definitions and the engines."""

from __future__ import annotations

import itertools
import random

import definition
import drawn_patterns
import nearfield
import numpy as np
import pytest
from nearfield import HilbertSlide, HilbertWindow, Neighborhood, Pattern, Window
from nearfield.geometry import PLAN_STEP, block_pairs, plan_steps, window_slots, windows

CASES = 60


def draw(seed: int, kind: str) -> tuple[Pattern, tuple[int, ...]]:
    random = np.random.default_rng(seed)
    rank = 1 + seed % 3
    grid = tuple(int(n) for n in random.integers(1, (60, 10, 6)[rank - 1], rank))
    return drawn_patterns.draw(random, kind, grid), grid


@pytest.mark.parametrize("kind", drawn_patterns.KINDS)
@pytest.mark.parametrize("seed", range(CASES))
def test_windows_are_the_definition(seed: int, kind: str) -> None:
    pattern, grid = draw(seed, kind)
    known = drawn_patterns.defined(pattern, grid)
    table = drawn_patterns.table(pattern, grid)
    slots = window_slots(pattern, grid)
    keys, bias_index = windows(pattern, grid)
    assert keys.shape == bias_index.shape == (np.prod(grid), np.prod(slots)), (seed, pattern, grid)
    assert ((keys < 0) == (bias_index < 0)).all(), (seed, pattern, grid)
    longest = 0
    for number, token in enumerate(np.ndindex(*grid)):
        expected = sorted(
            (int(np.ravel_multi_index(key, grid)), int(np.ravel_multi_index(place, table)))
            for key, place in definition.sights(known, token)
        )
        longest = max(longest, len(expected))
        seen = keys[number] >= 0
        found = sorted(zip(keys[number][seen].tolist(), bias_index[number][seen].tolist(), strict=True))
        assert found == expected, (seed, pattern, grid, token)
    if kind == "curve":
        assert slots == (longest,) + (1,) * (len(grid) - 1), (seed, pattern, grid)


@pytest.mark.parametrize("kind", drawn_patterns.KINDS)
@pytest.mark.parametrize("seed", range(CASES))
def test_bias_index_is_where_the_engines_look(seed: int, kind: str) -> None:
    """A bias that is its own index, with scale 0: the softmax over the indices found is what the library computes."""
    pattern, grid = draw(seed, kind)
    entries = [2 * e - 1 for e in nearfield.bias_extents(pattern, grid)]
    bias = np.linspace(-2, 2, int(np.prod(entries))).reshape(1, *entries)
    x = np.random.default_rng(seed).normal(size=(1, *grid, 1, 2))
    out = nearfield.attend(pattern, x, x, x, bias=bias, scale=0.0)
    keys, bias_index = windows(pattern, grid)
    chances = np.where(keys >= 0, np.exp(bias.reshape(-1)[bias_index]), 0)
    expected = np.einsum("qs,qsc->qc", chances / chances.sum(-1, keepdims=True), x.reshape(-1, 2)[keys])
    assert abs(out.reshape(-1, 2) - expected).max() <= 1e-12, (seed, pattern, grid)


def visible(pattern: Pattern, grid: tuple[int, ...]) -> np.ndarray:
    """(tokens, tokens): whether the query sees the key."""
    keys = windows(pattern, grid).keys
    found = np.zeros((len(keys), len(keys)), bool)
    for query in range(len(keys)):
        found[query, keys[query][keys[query] >= 0]] = True
    return found


@pytest.mark.parametrize("kind", drawn_patterns.KINDS)
@pytest.mark.parametrize("seed", range(CASES))
def test_steps_cover_each_pair_once(seed: int, kind: str) -> None:
    pattern, grid = draw(seed, kind)
    rng = random.Random(seed)
    rank = 1 if kind == "curve" else len(grid)
    tile, step = (tuple(rng.randint(1, 4) for _ in range(rank)) for _ in range(2))
    if kind == "curve":  # plans count positions
        dilation, lengths = (pattern.dilation,), (int(np.prod(grid)),)
        tokens = nearfield.order(pattern.order, grid).tokens
    else:
        dilation, lengths = pattern.axes(rank).get("dilation", (1,) * rank), grid
        tokens = np.arange(np.prod(grid))
    seen = visible(pattern, grid)
    visits = np.zeros_like(seen, int)
    for record in plan_steps(pattern, grid, tile, step):
        box = []
        for side in ("query", "key"):
            axes = [
                [(record[f"{side}_first"][a] + i) * dilation[a] + record["residue"][a] for i in range(size)]
                for a, size in enumerate(record[f"{side}_size"][:rank])
            ]
            box.append(tokens[[int(np.ravel_multi_index(each, lengths)) for each in itertools.product(*axes)]])
        part = seen[np.ix_(*box)]
        assert part.sum() == record["pairs"] and part.all() == bool(record["full"]), (seed, pattern, grid, record)
        visits[np.ix_(*box)] += 1
    assert (visits[seen] == 1).all() and visits.max(initial=0) <= 1, (seed, pattern, grid, tile, step)


@pytest.mark.parametrize("kind", drawn_patterns.KINDS)
@pytest.mark.parametrize("seed", range(0, CASES, 3))
def test_blocks_count_the_pairs_that_are_in_them(seed: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearfield.geometry, "_AT_ONCE", 50)  # in parts
    pattern, grid = draw(seed, kind)
    block = 1 + seed % 7
    own = getattr(pattern, "order", "row_major")
    for order in (None, "hilbert", "row_major"):
        along = nearfield.order(order or own, grid).tokens
        seen = visible(pattern, grid)[np.ix_(along, along)]
        edges = np.arange(0, len(seen), block)
        expected = np.add.reduceat(np.add.reduceat(seen.astype(int), edges, axis=0), edges, axis=1)
        assert (block_pairs(pattern, grid, block, order) == expected).all(), (seed, pattern, grid, block, order)


@pytest.mark.parametrize(
    ("side", "size", "row_major", "hilbert"), [(64, 8, 0.875, 0.96875), (96, 16, 5 / 6, 1 - 1 / 36)]
)
def test_empty_blocks_are_as_many_as_published(side: int, size: int, row_major: float, hilbert: float) -> None:
    """87.5% and 96.9%, 83.3% and 97.2%."""
    for pattern, expected in ((Window(size), row_major), (HilbertWindow(size), hilbert)):
        assert (block_pairs(pattern, (side, side)) == 0).mean() == pytest.approx(expected)


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
        (
            lambda: plan_steps(HilbertSlide(3), (4, 4), (2, 2), 2),
            "tile=(2, 2): has 2 values, but a sequence or curve has 1 axis",
        ),
        (lambda: block_pairs(Window(3), (4, 4), 0), "block=0: must be at least 1"),
        (
            lambda: block_pairs(Window(3), (4, 4), 2, "peano"),
            "order='peano': must be one of 'hilbert', 'morton', 'serpentine', 'row_major'",
        ),
        (lambda: block_pairs(Window((3, 3, 3)), (4, 4)), "size=(3, 3, 3): has 3 values, but the grid has 2 axes"),
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
