"""The sphere on paper: Mollweide's map, which keeps areas, or the globe seen from afar, and cells of a grid on it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nearfield._errors import ArgumentError
from nearfield._values import is_sequence, number, shown
from nearfield.patterns import SphereGrid
from nearfield.plot import _canvas

Array = NDArray[Any]
Points = tuple[Array, Array]

_FINE = math.radians(3)  # of edges, which are curves on paper
_LINES = 30  # degrees between lines of the graticule
_MOST_DOTS = 3000  # up to which the points of a grid are dotted


class Mollweide:
    """The whole sphere in an ellipse; longitude 0 in the middle, 180 degrees at both ends."""

    has_seam = True
    width, height = 4 * math.sqrt(2), 2 * math.sqrt(2)

    def __init__(self) -> None:
        # 2t + sin(2t) = pi sin(latitude), solved by a table.
        self._t = np.linspace(-math.pi / 2, math.pi / 2, 4097)
        self._latitudes = np.arcsin(np.clip((2 * self._t + np.sin(2 * self._t)) / math.pi, -1, 1))

    def project(self, latitude: Array, longitude: Array) -> Points:
        """x and y, of longitudes from -pi to pi."""
        t = np.interp(latitude, self._latitudes, self._t)
        return 2 * math.sqrt(2) / math.pi * longitude * np.cos(t), math.sqrt(2) * np.sin(t)

    def is_shown(self, latitude: Array, longitude: Array) -> NDArray[np.bool_]:
        """Everything is."""
        return np.ones(np.broadcast_shapes(np.shape(latitude), np.shape(longitude)), bool)

    def outline(self) -> Points:
        """The ellipse."""
        return 2 * math.sqrt(2) * np.cos(_circle()), math.sqrt(2) * np.sin(_circle())


class Orthographic:
    """One half of the sphere as from afar, above a point."""

    has_seam = False
    width, height = 2.0, 2.0

    def __init__(self, latitude: float, longitude: float) -> None:
        self._latitude, self._longitude = latitude, longitude

    def _turned(self, latitude: Any, longitude: Any) -> tuple[Any, Any, Any]:
        east = longitude - self._longitude
        sine, cosine = math.sin(self._latitude), math.cos(self._latitude)
        x = np.cos(latitude) * np.sin(east)
        y = cosine * np.sin(latitude) - sine * np.cos(latitude) * np.cos(east)
        return x, y, sine * np.sin(latitude) + cosine * np.cos(latitude) * np.cos(east)

    def project(self, latitude: Array, longitude: Array) -> Points:
        """x and y; what is behind lies on the rim."""
        x, y, towards = self._turned(latitude, longitude)
        far = np.where(towards < 0, np.maximum(np.hypot(x, y), 1e-12), 1)
        return x / far, y / far

    def is_shown(self, latitude: Array, longitude: Array) -> NDArray[np.bool_]:
        """Whether the points are on this side."""
        return np.asarray(self._turned(latitude, longitude)[2] >= -1e-9)

    def outline(self) -> Points:
        """The rim."""
        return np.cos(_circle()), np.sin(_circle())


def _circle() -> Array:
    return np.linspace(0, 2 * math.pi, 361)


def projection_of(view: Any) -> Mollweide | Orthographic:
    """Of the argument: None, or latitude and longitude in degrees."""
    if view is None:
        return Mollweide()
    if not is_sequence(view) or len(view) != 2:
        raise TypeError(f"view={shown(view)}: must be None or (latitude, longitude) in degrees")
    latitude, longitude = (number(f"view[{i}]", each) for i, each in enumerate(view))
    if not -90 <= latitude <= 90:
        raise ArgumentError(f"view[0]={latitude}: must be a latitude, -90 to 90 degrees")
    if not math.isfinite(longitude):
        raise ArgumentError(f"view[1]={longitude}: must be finite")
    return Orthographic(math.radians(latitude), math.radians(longitude))


class Globe:
    """The sphere on axes, which are made where they are None, with `extra` inches of height for what stands around."""

    def __init__(self, axes: Axes | None, view: Any, extra: float) -> None:
        self.projection = projection_of(view)
        if axes is None:
            inches = 5.6 * self.projection.height / self.projection.width if self.projection.has_seam else 4.2
            width = inches * self.projection.width / self.projection.height
            axes = Figure(figsize=(max(width + 0.8, 6.4), inches + extra), layout="compressed").add_subplot()
        _canvas.check_axes("axes", axes)
        self.axes, self.figure = axes, _canvas.figure_of(axes)
        self.axes.fill(*self.projection.outline(), facecolor=_canvas.OTHER, linewidth=0, zorder=1)

    def cells(self, grid: SphereGrid, chosen: NDArray[np.bool_], colour: str) -> None:
        """Fills the chosen points' cells (nlat, nlon): up to half way to the next points."""
        runs = [(int(top), int(left), int(width)) for left, top, width, _ in _canvas.runs(chosen)]
        polygons = [each for run in runs for each in self._polygons(grid, *run)]
        # Lines of the cells' colour hide the seams between them.
        self.axes.add_collection(
            PolyCollection(polygons, facecolor=colour, edgecolor=colour, linewidth=0.4, zorder=2), autolim=False
        )

    def values(self, grid: SphereGrid, values: Array, **colours: Any) -> PolyCollection:
        """Colours cells by their values, NaN not at all; returns what a colour bar needs."""
        polygons, numbers = [], []
        for i, j in np.argwhere(~np.isnan(values)):
            found = list(self._polygons(grid, int(i), int(j), 1))
            polygons += found
            numbers += [values[i, j]] * len(found)
        drawn = PolyCollection(polygons, array=np.array(numbers), edgecolor="face", linewidth=0.4, zorder=2, **colours)
        self.axes.add_collection(drawn, autolim=False)
        return drawn

    def _polygons(self, grid: SphereGrid, circle: int, first: int, count: int) -> Iterator[Array]:
        """The cells of adjacent points of a circle as one polygon, or two where the map has its seam."""
        theta = grid.colatitudes
        edges = math.pi / 2 - np.concatenate(([0], (theta[1:] + theta[:-1]) / 2, [math.pi]))
        step = 2 * math.pi / grid.nlon
        west = (first - 0.5) * step
        for start, end in self._pieces(west, west + count * step):
            across = np.linspace(start, end, max(2, math.ceil((end - start) / _FINE) + 1))
            north, south = edges[circle], edges[circle + 1]
            down = np.linspace(north, south, max(2, math.ceil((north - south) / _FINE) + 1))
            latitude = np.concatenate([np.full(len(across), north), down, np.full(len(across), south), down[::-1]])
            longitude = np.concatenate([across, np.full(len(down), end), across[::-1], np.full(len(down), start)])
            if self.projection.is_shown(latitude, longitude).any():
                yield np.stack(self.projection.project(latitude, longitude), -1)

    def _pieces(self, west: float, east: float) -> list[tuple[float, float]]:
        """The longitudes from west to east as intervals within -pi to pi; those of a globe may be any."""
        if not self.projection.has_seam:
            return [(west, east)]
        turns = 2 * math.pi * math.floor((west + math.pi) / (2 * math.pi))
        west, east = west - turns, east - turns
        return [(west, east)] if east <= math.pi else [(west, math.pi), (-math.pi, east - 2 * math.pi)]

    def dots(self, grid: SphereGrid) -> None:
        """The points of a grid, if they are few."""
        if grid.nlat * grid.nlon > _MOST_DOTS:
            return
        latitude = np.repeat(math.pi / 2 - grid.colatitudes, grid.nlon)
        longitude = np.tile(2 * math.pi * np.arange(grid.nlon) / grid.nlon, grid.nlat)
        chosen = self.projection.is_shown(latitude, longitude)
        x, y = self._places(latitude[chosen], longitude[chosen])
        self.axes.scatter(x, y, s=1.5, color="#777777", linewidths=0, zorder=4)

    def _places(self, latitude: Array, longitude: Array) -> Points:
        """Of any longitudes."""
        return self.projection.project(latitude, (longitude + math.pi) % (2 * math.pi) - math.pi)

    def mark(self, grid: SphereGrid, token: tuple[int, ...], is_open: bool = False) -> None:
        """A dot at the query, or a ring through which its own cell is seen, unless it is on the other side."""
        latitude = np.array([math.pi / 2 - grid.colatitudes[token[0]]])
        longitude = np.array([2 * math.pi * token[1] / grid.nlon])
        if not self.projection.is_shown(latitude, longitude).all():
            return
        for colour, width, order in (("white", 4.0, 6), (_canvas.QUERY, 2.0, 7)):
            style: dict[str, Any] = {"markeredgecolor": colour, "markeredgewidth": width, "zorder": order}
            face = "none" if is_open else _canvas.QUERY
            size = 10 if is_open else 5
            self.axes.plot(
                *self._places(latitude, longitude), "o", markersize=size, markerfacecolor=face, clip_on=False, **style
            )

    def finish(self) -> None:
        """Graticule, outline and limits."""
        style: dict[str, Any] = {"color": "#999999", "linewidth": 0.5, "zorder": 3}
        degrees = math.pi / 180
        for latitude in range(_LINES - 90, 90, _LINES):
            self._line(np.full(361, latitude * degrees), np.linspace(-math.pi, math.pi, 361), style)
        for longitude in range(-180, 180, _LINES):
            self._line(np.linspace(-math.pi / 2, math.pi / 2, 181), np.full(181, longitude * degrees), style)
        self.axes.plot(*self.projection.outline(), color="#555555", linewidth=1, zorder=5)
        if self.projection.has_seam:
            self._label()
        half = self.projection.width / 2, self.projection.height / 2
        self.axes.set_xlim(-1.02 * half[0], 1.02 * half[0])
        self.axes.set_ylim(-1.03 * half[1], 1.03 * half[1])
        self.axes.set_aspect("equal")
        self.axes.set_axis_off()

    def _line(self, latitude: Array, longitude: Array, style: dict[str, Any]) -> None:
        x, y = self.projection.project(latitude, longitude)
        self.axes.plot(np.where(self.projection.is_shown(latitude, longitude), x, np.nan), y, **style)

    def _label(self) -> None:
        for latitude in (-60, -30, 0, 30, 60):
            x, y = self._places(np.radians(latitude), np.array(-math.pi))
            place: dict[str, Any] = {"textcoords": "offset points", "xytext": (-4, 0), "ha": "right", "va": "center"}
            self.axes.annotate(
                latitude_name(latitude), (float(x), float(y)), fontsize="small", color="#555555", **place
            )


def latitude_name(degrees: float) -> str:
    """45 degrees north as 45°N, the equator as 0°."""
    rounded = float(f"{abs(degrees):.1f}")
    return f"{rounded:g}°{'' if not rounded else 'N' if degrees > 0 else 'S'}"
