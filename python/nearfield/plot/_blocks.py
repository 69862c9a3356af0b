"""What a plan visits, and how much of that nobody asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nearfield._errors import ArgumentError
from nearfield._values import integer, integers, shown
from nearfield.explain import explain
from nearfield.geometry import plan_steps
from nearfield.patterns import Ints, Pattern, check_pattern
from nearfield.patterns._words import dilations_of, order_of
from nearfield.plot import _canvas
from nearfield.plot._window import refuse_key_grid

_MOST_TOKENS = 1 << 14
_MOST_CELLS = 1 << 26
_MOST_QUERIES = 1024  # of a tile on one axis

Places = NDArray[np.int64]


def block_map(
    pattern: Pattern,
    grid: Ints,
    tile: Ints | None = None,
    step: Ints | None = None,
    *,
    head_dim: int = 64,
    axes: tuple[Axes, Axes] | None = None,
    title: str | None = None,
) -> Figure:
    """Draws what tiles of queries visit: full, masked and empty steps, and each tile's waste.

    Left, queries downwards and keys to the right, both in the order of the tiles, as a block-sparse mask is drawn. A
    step is full where every query of the tile sees every key of the step's box; where some do not, the step is masked,
    and the rest of it is computed in vain; what is empty is not visited. Right, pairs of the boxes over useful pairs,
    tile by tile. (`explain` counts the idle lanes of a last, smaller tile too.)

    Parameters
    ----------
    pattern
        E.g. ``Neighborhood(7)``.
    grid
        Lengths of the grid's 1 to 3 axes; at most 16384 tokens.
    tile, step
        Queries of a tile and keys of a step at most: one number for all axes, or one for each; along a curve, one for
        its positions. None is what `explain` names for the tile kernel, a float32 tensor of one head and `head_dim`,
        and as many positions of a curve. (The band kernel visits no boxes: it computes nothing in vain.)
    head_dim
        Only matters where `tile` or `step` is None.
    axes
        Two axes, for the map and for the waste; None makes a figure.
    title
        None names pattern, tile and step.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ArgumentError
        The pattern does not fit the grid, the tile or step has no tokens, or the grid is too large to be drawn.

    Examples
    --------
    >>> import nearfield, nearfield.plot
    >>> figure = nearfield.plot.block_map(nearfield.Neighborhood(33), 256, tile=16, step=16)
    >>> figure.axes[1].get_xlabel()
    'waste: 1.40 in all'
    """
    check_pattern(pattern)
    refuse_key_grid(pattern, None)
    lengths = integers("grid", grid)
    _canvas.middle(lengths)
    tokens = math.prod(lengths)
    if tokens > _MOST_TOKENS:
        raise ArgumentError(f"grid={grid!r}: has {tokens} tokens: must have at most {_MOST_TOKENS} to be drawn")
    words = pattern.words(len(lengths))
    plan_grid = lengths if order_of(words) is None else (tokens,)
    tile, step = _shapes(pattern, lengths, len(plan_grid), (tile, step), head_dim)
    steps = plan_steps(pattern, lengths, tile, step)
    plan = _read(plan_grid, dilations_of(words), steps)
    if len(plan.rows) * tokens > _MOST_CELLS:
        raise ArgumentError(f"tile={tile!r}: must be larger: {len(plan.rows)} tiles are too many to be drawn")
    if axes is None:
        figure = Figure(figsize=(7.6, 5.6), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(4, 1), sharey=True)
    else:
        if not isinstance(axes, Sequence | np.ndarray) or len(axes) != 2:
            raise TypeError(f"axes={shown(axes)}: must be two matplotlib.axes.Axes")
        left, right = axes
        for i, each in enumerate(axes):
            _canvas.check_axes(f"axes[{i}]", each)
        figure = _canvas.figure_of(left)
    _draw_map(left, plan, tokens)
    _draw_waste(right, plan)
    sizes = f"tiles of {_by(tile, plan_grid)} queries, steps of at most {_by(step, plan_grid)} keys"
    figure.suptitle(f"{pattern!r} on {' x '.join(map(str, lengths))} tokens\n{sizes}" if title is None else title)
    entries = [
        (_canvas.FULL, f"full: {plan.full} steps"),
        (_canvas.MASKED, f"masked: {plan.masked} steps"),
        (_canvas.OTHER, "empty: not visited"),
    ]
    _canvas.legend(left, entries)
    return figure


def _by(sizes: Ints, grid: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes)) if isinstance(sizes, tuple) else " x ".join([str(sizes)] * len(grid))


def _shapes(
    pattern: Pattern, grid: tuple[int, ...], rank: int, given: tuple[Ints | None, Ints | None], head_dim: int
) -> tuple[Ints, Ints]:
    """Tile and step of a plan of `rank` axes, from `explain` where they are not given."""
    tile, step = given
    if tile is not None and step is not None:
        return tile, step
    channels = integer("head_dim", head_dim)
    if channels < 1:
        raise ArgumentError(f"head_dim={channels}: must be at least 1")
    x = np.broadcast_to(np.float32(0), (1, *grid, 1, channels))
    found = explain(pattern, x, x, x, kernel="tile")
    chosen, keys = found.tile, found.step
    if rank < len(grid):  # as many positions of the curve
        chosen, keys = (min(math.prod(chosen), _MOST_QUERIES),), (math.prod(keys),)
    return chosen if tile is None else tile, keys if step is None else step


class _Plan(NamedTuple):
    rows: Places  # (tiles + 1): where each tile's queries begin, in the order of the tiles
    kinds: NDArray[np.uint8]  # (tiles, tokens): 0 empty, 1 masked, 2 full; keys in the order of the tiles
    computed: NDArray[Any]  # (tiles): pairs
    useful: NDArray[Any]
    full: int
    masked: int


def _read(grid: tuple[int, ...], dilation: tuple[int, ...], steps: NDArray[Any]) -> _Plan:
    """The steps as a picture; grid: lengths of the plan's axes, the grid's own or the one of positions."""
    tiles = int(steps["tile"].max(initial=-1)) + 1
    firsts = np.searchsorted(steps["tile"], np.arange(tiles))  # a tile's first step; steps come tile after tile
    order = np.concatenate([_tokens(steps[i], "query", grid, dilation) for i in firsts])
    place = np.empty(math.prod(grid), np.int64)
    place[order] = np.arange(len(order))
    kinds = np.zeros((tiles, len(place)), np.uint8)
    for record in steps:
        kinds[record["tile"], place[_tokens(record, "key", grid, dilation)]] = 1 + record["full"]
    sizes = steps["query_size"].prod(axis=1)
    return _Plan(
        np.concatenate(([0], np.cumsum(sizes[firsts]))),
        kinds,
        np.bincount(steps["tile"], weights=sizes * steps["key_size"].prod(axis=1), minlength=tiles),
        np.bincount(steps["tile"], weights=steps["pairs"], minlength=tiles),
        int(steps["full"].sum()),
        int((1 - steps["full"]).sum()),
    )


def _tokens(record: Any, side: str, grid: tuple[int, ...], dilation: tuple[int, ...]) -> Places:
    """The tokens of a step's box of queries or keys, row-major."""
    axes = [
        (record[f"{side}_first"][a] + np.arange(record[f"{side}_size"][a])) * dilation[a] + record["residue"][a]
        for a in range(len(grid))
    ]
    return np.ravel_multi_index(np.meshgrid(*axes, indexing="ij"), grid).reshape(-1)


def _draw_map(axes: Axes, plan: _Plan, tokens: int) -> None:
    _canvas.fill(axes, [(0, 0, tokens, tokens)], _canvas.OTHER)
    for kind, colour in ((1, _canvas.MASKED), (2, _canvas.FULL)):
        boxes = []
        for left, row, width, _ in _canvas.runs(plan.kinds == kind):
            top, bottom = plan.rows[int(row)], plan.rows[int(row) + 1]
            boxes.append((left, float(top), width, float(bottom - top)))
        _canvas.fill(axes, boxes, colour)
    if len(plan.rows) <= 65:
        axes.hlines(plan.rows[1:-1], 0, tokens, color="white", linewidth=0.6)
    axes.set_xlim(0, tokens)
    axes.set_ylim(tokens, 0)
    axes.set_xlabel("keys, in the order of the tiles")
    axes.set_ylabel(f"queries, in {len(plan.rows) - 1} tiles")


def _draw_waste(axes: Axes, plan: _Plan) -> None:
    waste = plan.computed / plan.useful
    axes.stairs(waste, plan.rows, baseline=0, orientation="horizontal", fill=True, color="#009E73")
    axes.axvline(1, color="black", linewidth=1, linestyle="--")
    axes.set_xlim(0, max(1.2, 1.1 * float(waste.max(initial=1))))
    axes.set_xlabel(f"waste: {plan.computed.sum() / plan.useful.sum():.2f} in all")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
