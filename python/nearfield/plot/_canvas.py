"""What the pictures share: colours, figures, and a grid of 1 to 3 axes laid out on paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from nearfield._errors import ArgumentError
from nearfield._values import integers
from nearfield.patterns import Ints

# Okabe and Ito's colours, which differ in lightness too.
SEEN, QUERY, FULL, MASKED, OTHER = "#56B4E9", "#D55E00", "#0072B2", "#E69F00", "#ECECEC"

# A grid of more slices than this is drawn only where the query looks.
_MOST_SLICES = 12
# Lines between cells help up to this many cells on an axis, and hide them beyond.
_MOST_LINES = 48

Box = tuple[float, float, float, float]  # left, top, width, height


def figure_of(axes: Axes) -> Figure:
    """The figure that the caller's axes are on."""
    return axes.figure.figure


def check_axes(name: str, value: object) -> None:
    """Raise unless it can be drawn on."""
    if not isinstance(value, Axes):
        raise TypeError(f"{name}: is a {type(value).__name__}: must be matplotlib.axes.Axes, or None")


def coordinates(name: str, value: Ints, grid: tuple[int, ...]) -> tuple[int, ...]:
    """A token's coordinates, checked; one number serves a grid of one axis."""
    given = integers(name, value)
    if len(given) != len(grid):
        raise ArgumentError(f"{name}={value!r}: has {len(given)} values, but the grid has {len(grid)} axes")
    for axis, (x, length) in enumerate(zip(given, grid, strict=True)):
        if not 0 <= x < length:
            raise ArgumentError(f"{name}[{axis}]={x}: must be at least 0 and below {length}, the axis's tokens")
    return given


def middle(grid: tuple[int, ...]) -> tuple[int, ...]:
    """The token in the middle of a grid, which has one."""
    for axis, length in enumerate(grid):
        if length < 1:
            raise ArgumentError(f"grid[{axis}]={length}: must be at least 1 to be drawn")
    return tuple(length // 2 for length in grid)


def fill(axes: Axes, boxes: Sequence[Box], colour: str) -> None:
    """All boxes as one path: few bytes in a file, and no seams between them."""
    if not boxes:
        return
    vertices, codes = [], []
    for left, top, width, height in boxes:
        right, bottom = left + width, top + height
        vertices += [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        codes += [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    axes.add_patch(PathPatch(Path(vertices, codes), facecolor=colour, linewidth=0))


def runs(cells: NDArray[np.bool_], left: float = 0, top: float = 0) -> list[Box]:
    """True cells (rows, columns) as boxes: one for each run within a row."""
    found: list[Box] = []
    for y, row in enumerate(cells):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], row.astype(np.int8), [0]))))
        found += [(left + a, top + y, b - a, 1) for a, b in edges.reshape(-1, 2).tolist()]
    return found


def legend(axes: Axes, entries: Sequence[tuple[str, str]], columns: int = 3, below: float = 36) -> None:
    """Colours and what they mean, below the axes' labels."""
    handles = [Patch(facecolor=each, edgecolor="#777777", linewidth=0.5, label=text) for each, text in entries]
    legend_below(axes, handles, columns, below)


def legend_below(axes: Axes, handles: Sequence[Any], columns: int = 3, below: float = 36) -> None:
    """Things and their labels, as many in a row, so many points below the axes: below their labels."""
    figure = figure_of(axes)
    place = axes.transAxes + ScaledTranslation(0, -below / 72, figure.dpi_scale_trans)
    axes.legend(
        handles=list(handles),
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=place,
        ncols=min(len(handles), columns),
        frameon=False,
    )


class Sheet:
    """A grid on paper: one axis as a row, two as they are, three as slices side by side."""

    def __init__(self, axes: Axes | None, grid: tuple[int, ...], seen: NDArray[np.bool_], extra: float) -> None:
        """
        `seen` (*grid): where something is to be shown; of many slices those without it are left out. Where `axes` are
        None they are made, with `extra` inches of height for what stands above and below the grid.
        """
        self.grid = grid
        depth, self.rows, self.columns = ((1, 1) + grid)[-3:]
        volume = seen.reshape(depth, self.rows, self.columns)
        slices = list(range(depth))
        if depth > _MOST_SLICES:
            slices = [d for d in slices if volume[d].any()]
        self.left_out = depth - len(slices)
        self.gap = 0.15 * max(self.rows, self.columns)
        across = math.ceil(math.sqrt(1.5 * len(slices) * (self.rows + self.gap) / (self.columns + self.gap)))
        self.across = max(1, min(across, len(slices)))
        self.places = {
            d: (i % self.across * (self.columns + self.gap), i // self.across * (self.rows + self.gap))
            for i, d in enumerate(slices)
        }
        if axes is None:
            width, height = self.size()
            inches = 5.6 * min(1.0, height / width)
            figure = Figure(figsize=(5.6 * min(1.0, width / height) + 0.8, inches + extra), layout="compressed")
            axes = figure.add_subplot()
        check_axes("axes", axes)
        self.axes, self.figure = axes, figure_of(axes)

    def size(self) -> tuple[float, float]:
        """Width and height in cells."""
        down = math.ceil(len(self.places) / self.across)
        return (
            self.across * (self.columns + self.gap) - self.gap,
            down * (self.rows + self.gap) - self.gap,
        )

    def cells(self, chosen: NDArray[np.bool_], colour: str) -> None:
        """Fills the chosen cells (*grid)."""
        volume = chosen.reshape(-1, self.rows, self.columns)
        boxes = [box for d, place in self.places.items() for box in runs(volume[d], *place)]
        fill(self.axes, boxes, colour)

    def values(self, values: NDArray[np.float64], **colours: Any) -> Any:
        """Colours cells (*grid) by their values, NaN not at all; returns what a colour bar needs."""
        volume = np.ma.masked_invalid(values.reshape(-1, self.rows, self.columns))
        mesh = None
        for d, (left, top) in self.places.items():
            extent = (left, left + self.columns, top + self.rows, top)
            mesh = self.axes.imshow(volume[d], extent=extent, interpolation="nearest", zorder=2, **colours)
        return mesh

    def mark(self, token: tuple[int, ...]) -> None:
        """Frames the query, and dots it: what it sees of itself stays visible."""
        d, y, x = ((0, 0) + token)[-3:]
        if d not in self.places:
            return
        left, top = self.places[d][0] + x, self.places[d][1] + y
        cell = 500 / max(self.size())  # points, about
        width = min(2.5, max(1.0, 0.12 * cell))
        for colour, line in (("white", 2 * width), (QUERY, width)):
            frame = Rectangle((left, top), 1, 1, fill=False, edgecolor=colour, linewidth=line, zorder=4)
            self.axes.add_patch(frame)
        self.axes.plot(left + 0.5, top + 0.5, "o", color=QUERY, markersize=max(2.0, 0.3 * cell), zorder=5)

    def finish(self) -> None:
        """Lines between cells, limits and labels."""
        axes = self.axes
        if max(self.rows, self.columns) <= _MOST_LINES:
            for left, top in self.places.values():
                style: dict[str, Any] = {"color": "white", "linewidth": 0.6, "zorder": 3}
                axes.vlines(left + np.arange(1, self.columns), top, top + self.rows, **style)
                axes.hlines(top + np.arange(1, self.rows), left, left + self.columns, **style)
        width, height = self.size()
        sliced = len(self.grid) == 3
        axes.set_xlim(-0.3, width + 0.3)
        axes.set_ylim(height + 0.3, -0.3 - (0.8 * self.gap if sliced else 0))
        axes.set_aspect("equal")
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.tick_params(length=0)
        self._label(sliced)

    def _label(self, sliced: bool) -> None:
        axes, last = self.axes, len(self.grid) - 1
        if sliced:
            axes.set_xticks([])
            axes.set_yticks([])
            for d, (left, top) in self.places.items():
                place = (left + self.columns / 2, top - 0.08 * self.gap)
                axes.text(*place, f"axis 0: {d}", ha="center", va="bottom", fontsize="small")
        else:
            number_cells(axes.xaxis, self.columns)
            number_cells(axes.yaxis, self.rows if last else 0)
        axes.set_xlabel(f"axis {last}")
        if last:
            axes.set_ylabel(f"axis {last - 1}")


def number_cells(axis: Any, count: int) -> None:
    """Ticks that number cells 0 to count - 1, at the cells' middles."""
    wanted = MaxNLocator(nbins=8, integer=True).tick_values(0, max(count - 1, 1))
    numbers = [int(each) for each in wanted if 0 <= each < count]
    axis.set_ticks([each + 0.5 for each in numbers], [str(each) for each in numbers])
