"""Patterns on the sphere: neighbourhoods of queries and one query's weights, on a map or a globe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nearfield._errors import ArgumentError
from nearfield._values import is_sequence, shown
from nearfield.geometry import windows
from nearfield.patterns import Ints, SphereGlobal, SphereGrid, SphereNeighborhood, SpherePattern, check_pattern
from nearfield.plot import _canvas
from nearfield.plot._attention import attention_weights, top_of
from nearfield.plot._globe import Globe, latitude_name
from nearfield.plot._windows import COLOURS, SEVERAL

_MOST_CELLS = 1 << 16

Pattern = SphereNeighborhood | SphereGlobal


def sphere(
    pattern: Pattern,
    queries: Sequence[Ints] | None = None,
    *,
    view: tuple[float, float] | None = None,
    axes: Axes | None = None,
    title: str | None = None,
) -> Figure:
    """Draws which keys some queries see on the sphere, a colour for each.

    Parameters
    ----------
    pattern
        E.g. ``SphereNeighborhood((91, 180), cutoff=0.3)``.
    queries
        Coordinates (circle, point) of 1 to 6 queries on the pattern's grid. None: one at the north pole or the
        northernmost circle, one half way to the equator, one on the equator or beside it.
    view
        None: the whole sphere on Mollweide's map, which keeps areas; longitude 0 is in the middle. (latitude,
        longitude) in degrees: the globe from above that point.
    axes
        Where to draw, any axes of matplotlib; None makes a figure.
    title
        None names the grids and the cutoff.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ArgumentError, TypeError
        The pattern is none on the sphere, or its grid has no such queries.

    References
    ----------
    .. [1] Bonev et al., "Attention on the Sphere", 2025.

    Examples
    --------
    >>> import nearfield, nearfield.plot
    >>> figure = nearfield.plot.sphere(nearfield.SphereNeighborhood((19, 36), cutoff=0.3))
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['(0, 0) at 90°N sees 72 keys', '(4, 27) at 50°N sees 13 keys', '(9, 4) at 0° sees 9 keys']
    """
    _check(pattern)
    grid, keys = pattern.grid, pattern.key_grid
    if queries is None:
        queries = _three(grid)
    if not is_sequence(queries):
        raise TypeError(f"queries={shown(queries)}: must be a sequence of coordinates")
    if not 1 <= len(queries) <= len(COLOURS):
        raise ArgumentError(f"queries={shown(queries)}: must be 1 to {len(COLOURS)} queries")
    lengths = (grid.nlat, grid.nlon)
    tokens = [_canvas.coordinates(f"queries[{i}]", each, lengths) for i, each in enumerate(queries)]
    seen = np.zeros((len(tokens), keys.nlat, keys.nlon), bool)
    for i, (circle, point) in enumerate(tokens):
        found = windows(pattern, lengths, circle * grid.nlon + point, 1).keys[0]
        seen[i].reshape(-1)[found[found >= 0]] = True
    often = seen.sum(axis=0)
    globe = Globe(axes, view, 1.6)
    for each, colour in zip(seen, COLOURS, strict=False):
        globe.cells(keys, each & (often == 1), colour)
    globe.cells(keys, often > 1, SEVERAL)
    globe.dots(keys)
    for token in tokens:
        globe.mark(grid, token)
    globe.finish()
    globe.axes.set_title(_name(pattern) if title is None else title, fontsize="medium")
    entries = [
        (colour, f"{_query_name(grid, token)} sees {int(each.sum())} keys")
        for token, each, colour in zip(tokens, seen, COLOURS, strict=False)
    ]
    if (often > 1).any():
        entries.append((SEVERAL, "seen by several"))
    _canvas.legend(globe.axes, entries, columns=2, below=4)
    return globe.figure


def sphere_attention(
    pattern: Pattern,
    query: Any,
    key: Any,
    query_index: Ints,
    *,
    batch: int = 0,
    head: int = 0,
    view: tuple[float, float] | None = None,
    axes: Axes | None = None,
    title: str | None = None,
    **modifiers: Any,
) -> Figure:
    """Draws how much of each key goes into a query's result, on the sphere.

    Parameters
    ----------
    pattern, query, key, query_index, batch, head
        As in `attention_weights`; torch, numpy or JAX arrays.
    view, axes
        As in `sphere`.
    title
        None names the query and, with additional keys, their share.
    **modifiers
        scale, key_mask, key_weights, softcap and additional_keys as in `attend`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ArgumentError, TypeError
        As `attention_weights` and `sphere` do; or the query sees too many keys to be drawn.

    References
    ----------
    .. [1] Bonev et al., "Attention on the Sphere", 2025.

    Examples
    --------
    >>> import numpy, nearfield, nearfield.plot
    >>> x = numpy.random.default_rng(0).normal(size=(1, 19, 36, 2, 4))
    >>> figure = nearfield.plot.sphere_attention(nearfield.SphereNeighborhood((19, 36), cutoff=0.4), x, x, (1, 6))
    """
    _check(pattern)
    weights, more = attention_weights(pattern, query, key, query_index, batch=batch, head=head, **modifiers)
    grid, keys = pattern.grid, pattern.key_grid
    token = _canvas.coordinates("query_index", query_index, (grid.nlat, grid.nlon))
    count = int((~np.isnan(weights)).sum())
    if count > _MOST_CELLS:
        raise ArgumentError(f"query_index={token}: sees {count} keys: must be at most {_MOST_CELLS} to be drawn")
    globe = Globe(axes, view, 0.8)
    drawn = globe.values(keys, weights, cmap="viridis", clim=(0, top_of(weights)))
    globe.dots(keys)
    globe.mark(grid, token, is_open=True)
    globe.finish()
    text = f"weights of query {_query_name(grid, token)}, head {head}"
    if len(more):
        text += f"; additional keys have {more.sum():.1%}"
    globe.axes.set_title(text if title is None else title, fontsize="medium")
    globe.figure.colorbar(drawn, ax=globe.axes, label="weight", shrink=0.8)
    return globe.figure


def _check(pattern: Any) -> None:
    check_pattern(pattern)
    if not isinstance(pattern, SpherePattern):
        raise TypeError(f"pattern: is a {type(pattern).__name__}: must be a SphereNeighborhood or SphereGlobal")


def _three(grid: SphereGrid) -> list[tuple[int, int]]:
    """Pole, mid-latitude and equator; apart from each other on the map."""
    rows = [0, (grid.nlat - 1) // 4, grid.nlat // 2]
    found = dict(zip(rows, (0, 3 * grid.nlon // 4, grid.nlon // 8), strict=True))
    return list(found.items())


def _query_name(grid: SphereGrid, token: tuple[int, ...]) -> str:
    return f"{token} at {latitude_name(90 - math.degrees(grid.colatitudes[token[0]]))}"


def _name(pattern: Pattern) -> str:
    """The grids and the cutoff, for a title."""

    def name(grid: SphereGrid) -> str:
        return f"{grid.nlat} x {grid.nlon} {grid.latitudes}"

    text = name(pattern.grid)
    if pattern.key_grid != pattern.grid:
        text = f"queries {text}, keys {name(pattern.key_grid)}"
    if isinstance(pattern, SphereGlobal):
        return f"{text}\nevery key is seen"
    return f"{text}\nkeys up to {math.degrees(pattern.distance):.3g}° away"
