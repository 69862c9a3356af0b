"""nearfield.order: permutations of a grid's tokens, and what a walk along them is like; nearfield.bias_extents."""

from __future__ import annotations

import itertools

import definition_curves
import drawn_patterns
import nearfield as nf
import numpy as np
import pytest
from nearfield.patterns import ORDERS

GRIDS = [
    *((n,) for n in (0, 1, 2, 7, 16)),
    *itertools.product(range(1, 14), repeat=2),
    (0, 5),
    (31, 17),
    (64, 64),
    *itertools.product(range(1, 6), repeat=3),
    (8, 8, 8),
    (6, 4, 10),
    (7, 1, 11),
]


@pytest.mark.parametrize("kind", ORDERS)
def test_orders_are_permutations_and_their_inverses(kind: str) -> None:
    for grid in GRIDS:
        tokens, positions = nf.order(kind, grid)
        count = int(np.prod(grid))
        assert tokens.dtype == positions.dtype == np.int64 and tokens.shape == positions.shape == (count,), grid
        assert (np.sort(tokens) == np.arange(count)).all(), grid
        assert (positions[tokens] == np.arange(count)).all(), grid


@pytest.mark.parametrize("kind", ["morton", "serpentine", "row_major"])
def test_plain_orders_are_their_definition(kind: str) -> None:
    for grid in GRIDS:
        expected = [np.ravel_multi_index(token, grid) for token in getattr(definition_curves, kind)(grid)]
        assert nf.order(kind, grid).tokens.tolist() == expected, grid


def steps(grid: tuple[int, ...]) -> np.ndarray:
    """How far each step of the Hilbert curve goes on each axis."""
    cells = np.stack(np.unravel_index(nf.order("hilbert", grid).tokens, grid), -1)
    return np.abs(np.diff(cells, axis=0))


def test_the_curve_walks_from_neighbour_to_neighbour() -> None:
    for grid in GRIDS:
        if 0 in grid:
            continue
        far = steps(grid)
        length = far.sum(axis=1)
        if len(grid) == 1 or 1 in grid and len(grid) == 2:
            assert (length == 1).all(), grid
        elif len(grid) == 2:
            long, short = max(grid), min(grid)
            diagonal = long % 2 == 1 and short % 2 == 0 and short > 2
            assert far.max() == 1 and (length == 2).sum() == diagonal and length.max() == 1 + diagonal, grid
        elif all(n % 2 == 0 for n in grid):
            assert (length == 1).all(), grid
        else:
            assert far.max(initial=0) <= 3, grid


def test_on_powers_of_two_runs_of_the_curve_are_squares() -> None:
    for side in (2, 4, 8):
        cells = np.stack(np.unravel_index(nf.order("hilbert", (16, 16)).tokens, (16, 16)), -1)
        runs = cells.reshape(-1, side * side, 2)
        assert (runs.max(axis=1) - runs.min(axis=1) == side - 1).all()


@pytest.mark.parametrize("kind", drawn_patterns.KINDS)
@pytest.mark.parametrize("seed", range(40))
def test_extents_are_as_far_as_the_pattern_reaches(seed: int, kind: str) -> None:
    random = np.random.default_rng(seed)
    grid = tuple(int(n) for n in random.integers(1, (40, 9, 5)[seed % 3], 1 + seed % 3))
    pattern = drawn_patterns.draw(random, kind, grid)
    extents = nf.bias_extents(pattern, grid)
    assert tuple(2 * e - 1 for e in extents) == drawn_patterns.table(pattern, grid), (seed, pattern, grid)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nf.order("peano", (4, 4)), "kind='peano': must be one of 'hilbert', 'morton', 'serpentine', 'row_major'"),
        (lambda: nf.order(1, (4, 4)), "kind=1: must be one of 'hilbert', 'morton', 'serpentine', 'row_major'"),
        (lambda: nf.order("hilbert", ()), "grid=(): has 0 axes: must have 1, 2 or 3"),
        (lambda: nf.order("hilbert", (2, 2, 2, 2)), "grid=(2, 2, 2, 2): has 4 axes: must have 1, 2 or 3"),
        (lambda: nf.order("hilbert", (4, -1)), "grid[1]=-1: must be at least 0"),
        (
            lambda: nf.order("morton", (65536, 65536)),
            "grid[1]=65536: must be smaller: an order must have at most 2147483647 tokens",
        ),
        (lambda: nf.bias_extents(nf.Window((3, 3)), 4), "size=(3, 3): has 2 values, but the grid has 1 axis"),
        (lambda: nf.bias_extents(nf.Window(0), (4, 4)), "size[0]=0: must be at least 1"),
        (lambda: nf.bias_extents(nf.HilbertWindow(0), (4, 4)), "size=0: must be at least 1"),
    ],
)  # fmt: skip
def test_wrong_arguments(call, message: str) -> None:
    with pytest.raises(nf.ArgumentError) as error:
        call()
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nf.order("hilbert", 2.5), "grid=2.5: must be an integer or a sequence of integers"),
        (lambda: nf.order("hilbert", (4, "a")), "grid[1]='a': must be an integer"),
        (lambda: nf.bias_extents(7, 4), "pattern: is a int: must be a nearfield pattern, e.g. Neighborhood(7)"),
    ],
)
def test_wrong_types(call, message: str) -> None:
    with pytest.raises(TypeError) as error:
        call()
    assert str(error.value) == message
