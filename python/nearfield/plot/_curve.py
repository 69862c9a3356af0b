"""The walk of an order over a grid."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D  # type: ignore[import-untyped]
from mpl_toolkits.mplot3d.art3d import Line3DCollection  # type: ignore[import-untyped]
from numpy.typing import NDArray

from nearfield._errors import ArgumentError
from nearfield.grids import grid_lengths, order
from nearfield.patterns import Ints
from nearfield.plot import _canvas

_MOST_TOKENS = 1 << 16
# viridis without its palest end, which is lost on white.
_COLOURS = LinearSegmentedColormap.from_list("walk", colormaps["viridis"](np.linspace(0, 0.88, 256)))
_JUMP = "#999999"


def curve(kind: str, grid: Ints, *, axes: Axes | None = None, title: str | None = None) -> Figure:
    """Draws in which order the tokens of a grid are taken: the walk from token to token, coloured along.

    Steps between tokens that are no neighbours, not even diagonally, are thin and grey.

    Parameters
    ----------
    kind
        "hilbert", "morton", "serpentine" or "row_major", as in `order`.
    grid
        Lengths of the grid's 1 to 3 axes, at most 65536 tokens in all. Three axes are drawn in perspective.
    axes
        Where to draw, for three axes one of matplotlib's 3-D axes; None makes a figure.
    title
        None names the order and counts the steps that go further than to a neighbour.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ArgumentError
        There is no such order, or the grid has no tokens or too many.
    TypeError
        The axes are of the wrong kind.

    Examples
    --------
    >>> import nearfield.plot
    >>> nearfield.plot.curve("hilbert", (8, 8)).axes[0].get_title()
    'hilbert order of 8 x 8 tokens'
    >>> nearfield.plot.curve("morton", (8, 8)).axes[0].get_title()
    'morton order of 8 x 8 tokens: 7 steps go further'
    """
    lengths = grid_lengths(grid)
    _canvas.middle(lengths)
    tokens = math.prod(lengths)
    if tokens > _MOST_TOKENS:
        raise ArgumentError(f"grid={grid!r}: has {tokens} tokens: must have at most {_MOST_TOKENS} to be drawn")
    cells = np.stack(np.unravel_index(order(kind, lengths).tokens, lengths), axis=-1)
    far = np.abs(np.diff(cells, axis=0)).max(axis=-1) > 1
    axes = _axes(axes, lengths)
    sheet = _walk_3d(axes, cells, far) if len(lengths) == 3 else _walk_2d(axes, cells, far, lengths)
    if title is None:
        title = f"{kind} order of {' x '.join(map(str, lengths))} tokens"
        title += f": {int(far.sum())} steps go further" if far.any() else ""
    axes.set_title(title, fontsize="medium")
    figure = _canvas.figure_of(axes)
    place: dict[str, Any] = {"location": "bottom" if len(lengths) == 1 else "right"}
    if len(lengths) == 3:
        place["pad"] = 0.12  # room for the label of the third axis
    figure.colorbar(sheet, ax=axes, label="position", shrink=0.8, **place)
    return figure


def draw_walk(axes: Axes, kind: str, grid: tuple[int, ...], colour: str) -> None:
    """The walk over a grid of 2 axes as thin lines in one colour, below other things' marks, without its jumps."""
    cells = np.stack(np.unravel_index(order(kind, grid).tokens, grid), axis=-1) + 0.5
    far = np.flatnonzero(np.abs(np.diff(cells, axis=0)).max(axis=-1) > 1)
    y, x = np.insert(cells, far + 1, np.nan, axis=0).T
    axes.plot(x, y, color=colour, linewidth=0.7, zorder=3.5)


def _axes(axes: Axes | None, grid: tuple[int, ...]) -> Axes:
    """The caller's axes, or new ones of the grid's shape."""
    solid = len(grid) == 3
    if axes is None:
        rows, columns = ((1, 1) + grid)[-2:]
        high = 5.6 if solid else max(1.7, 5.6 * min(1.0, rows / columns)) + 0.6
        wide = 6.4 if solid else max(2.6, 5.6 * min(1.0, columns / rows)) + 1.2
        figure = Figure(figsize=(wide, high), layout="constrained")
        return figure.add_subplot(projection="3d" if solid else None)
    _canvas.check_axes("axes", axes)
    if solid != isinstance(axes, Axes3D):
        rule = "must be one of matplotlib's 3-D axes" if solid else "must be flat"
        raise TypeError(f"axes: is a {type(axes).__name__}: {rule} for a grid of {len(grid)} axes")
    return axes


def _steps(points: NDArray[Any], far: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Line segments (steps, 2, coordinates) of the walk: jumps, the others, and where along the walk these are."""
    segments = np.stack((points[:-1], points[1:]), axis=1)
    return segments[far], segments[~far], np.flatnonzero(~far)


def _walk_2d(axes: Axes, cells: NDArray[Any], far: NDArray[np.bool_], grid: tuple[int, ...]) -> LineCollection:
    rows, columns = ((1,) + grid)[-2:]
    points = np.zeros((len(cells), 2))  # (x, y)
    points[:, : cells.shape[1]] = cells[:, ::-1]
    points += 0.5
    jumps, near, along = _steps(points, far)
    _canvas.fill(axes, [(0, 0, columns, rows)], _canvas.OTHER)
    cell = 340 / max(rows, columns)  # points, about
    axes.add_collection(LineCollection(list(jumps), colors=_JUMP, linewidths=max(0.3, min(0.8, 0.06 * cell)), zorder=2))
    walk = LineCollection(list(near), cmap=_COLOURS, norm=Normalize(0, max(len(cells) - 1, 1)), zorder=3)
    walk.set(array=along.astype(float), linewidth=max(0.7, min(3.0, 0.22 * cell)), capstyle="round")
    axes.add_collection(walk)
    size = max(6.0, min(9.0, 0.55 * cell))
    for at, mark, name in ((0, "o", "first"), (-1, "s", "last")):
        style: dict[str, Any] = {"color": _canvas.QUERY, "markeredgecolor": "white", "linestyle": "none"}
        axes.plot(*points[at], marker=mark, markersize=size, label=f"{name} token", zorder=4, **style)
    _finish_2d(axes, rows, columns, len(grid))
    return walk


def _finish_2d(axes: Axes, rows: int, columns: int, rank: int) -> None:
    """Limits, labels and the legend."""
    axes.set_xlim(-0.3, columns + 0.3)
    axes.set_ylim(rows + 0.3, -0.3)
    axes.set_aspect("equal")
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    _canvas.number_cells(axes.xaxis, columns)
    _canvas.number_cells(axes.yaxis, rows if rank == 2 else 0)
    axes.set_xlabel(f"axis {rank - 1}")
    if rank == 2:
        axes.set_ylabel("axis 0")
    _canvas.legend_below(axes, axes.get_legend_handles_labels()[0])


def _walk_3d(axes: Any, cells: NDArray[Any], far: NDArray[np.bool_]) -> Line3DCollection:
    points = cells[:, ::-1].astype(float)  # (x, y, z)
    jumps, near, along = _steps(points, far)
    if len(jumps):
        axes.add_collection3d(Line3DCollection(list(jumps), colors=_JUMP, linewidths=0.5))
    walk = Line3DCollection(list(near), cmap=_COLOURS, norm=Normalize(0, max(len(cells) - 1, 1)))
    walk.set(array=along.astype(float), linewidth=1.8)
    axes.add_collection3d(walk)
    for at, mark, name in ((0, "o", "first"), (-1, "s", "last")):
        end = points[at, :, None]
        axes.plot(
            *end, mark, color=_canvas.QUERY, markeredgecolor="white", markersize=8, zorder=10, label=f"{name} token"
        )
    for axis, number, most in zip("xyz", (2, 1, 0), points.max(axis=0), strict=True):
        getattr(axes, f"set_{axis}lim")(0, max(most, 1))
        getattr(axes, f"set_{axis}label")(f"axis {number}")
        getattr(axes, f"{axis}axis").set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.set_box_aspect(np.maximum(points.max(axis=0), 1))
    axes.invert_yaxis()
    axes.legend(loc="upper left", frameon=False, fontsize="small")
    return walk
