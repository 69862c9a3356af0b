"""Which keys a query sees."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nearfield._errors import ArgumentError
from nearfield._values import integers
from nearfield.geometry import windows
from nearfield.patterns import Ints, Pattern, SpherePattern
from nearfield.plot import _canvas

_MOST_TOKENS = 1 << 22
_MOST_ROWS = 4096


def window(
    pattern: Pattern, grid: Ints, query: Ints | None = None, *, axes: Axes | None = None, title: str | None = None
) -> Figure:
    """Draws which keys a query sees, over the grid.

    Parameters
    ----------
    pattern
        E.g. ``Neighborhood(7)``.
    grid
        Lengths of the grid's 1 to 3 axes. Three are drawn as slices; of more than 12 slices those without a seen key
        are left out.
    query
        Coordinates of the query, which is marked. None is the token in the middle; but on a grid of one axis all
        queries, a row each.
    axes
        Where to draw; None makes a figure.
    title
        None names the pattern and counts the keys.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ArgumentError
        The pattern does not fit the grid, the grid has no such query, or is too large to be drawn.

    Examples
    --------
    >>> import nearfield, nearfield.plot
    >>> figure = nearfield.plot.window(nearfield.Neighborhood(5, dilation=2), (16, 24), query=(2, 7))
    >>> figure.axes[0].get_title()
    'Neighborhood(kernel_size=5, dilation=2)\\nquery (2, 7) sees 25 of 384 keys'
    """
    refuse_key_grid(pattern)
    lengths = integers("grid", grid)
    center = _canvas.middle(lengths)
    if math.prod(lengths) > _MOST_TOKENS:
        raise ArgumentError(f"grid={grid!r}: must have at most {_MOST_TOKENS} tokens to be drawn")
    if len(lengths) == 1 and query is None:
        return _matrix(pattern, lengths[0], axes, title)
    token = center if query is None else _canvas.coordinates("query", query, lengths)
    seen = seen_by(pattern, lengths, token)
    sheet = _canvas.Sheet(axes, lengths, seen, 1.6)
    sheet.cells(np.ones(lengths, bool), _canvas.OTHER)
    sheet.cells(seen, _canvas.SEEN)
    sheet.mark(token)
    sheet.finish()
    count = f"query {token_name(token)} sees {int(seen.sum())} of {seen.size} keys"
    if sheet.left_out:
        count += f"; the {sheet.left_out} slices without any are left out"
    sheet.axes.set_title(f"{pattern!r}\n{count}" if title is None else title, fontsize="medium")
    entries = [(_canvas.QUERY, "query"), (_canvas.SEEN, "keys that it sees"), (_canvas.OTHER, "other tokens")]
    _canvas.legend(sheet.axes, entries)
    return sheet.figure


def refuse_key_grid(pattern: Pattern, other: str | None = "sphere") -> None:
    """Raise if keys have a grid of their own, where queries and keys are drawn on one; `other` is what draws two."""
    if isinstance(pattern, SpherePattern) and pattern.key_grid != pattern.grid:
        hint = f"; plot.{other} draws others" if other else ""
        raise ArgumentError(f"pattern.key_grid={pattern.key_grid!r}: must be the pattern's grid to be drawn{hint}")


def seen_by(pattern: Pattern, grid: tuple[int, ...], token: tuple[int, ...]) -> NDArray[np.bool_]:
    """(*grid): whether the token's query sees the key."""
    number = int(np.ravel_multi_index(token, grid))
    keys = windows(pattern, grid, number, 1).keys[0]
    seen = np.zeros(grid, bool)
    seen.reshape(-1)[keys[keys >= 0]] = True
    return seen


def token_name(token: tuple[int, ...]) -> str:
    """A query as titles call it: 5, or (2, 7)."""
    return str(token[0]) if len(token) == 1 else str(token)


def _matrix(pattern: Pattern, length: int, axes: Axes | None, title: str | None) -> Figure:
    """All queries of one axis: a row for each query, a column for each key."""
    if length > _MOST_ROWS:
        raise ArgumentError(f"grid={length}: must have at most {_MOST_ROWS} tokens to draw all queries; name a query")
    keys = windows(pattern, length).keys
    seen = np.zeros((length, length), bool)
    rows = np.broadcast_to(np.arange(length)[:, None], keys.shape)
    seen[rows[keys >= 0], keys[keys >= 0]] = True
    sheet = _canvas.Sheet(axes, (length, length), seen, 1.6)
    sheet.cells(np.ones_like(seen), _canvas.OTHER)
    sheet.cells(seen, _canvas.SEEN)
    sheet.finish()
    sheet.axes.set_xlabel("key")
    sheet.axes.set_ylabel("query")
    pairs = f"{int(seen.sum())} of {seen.size} pairs"
    sheet.axes.set_title(f"{pattern!r}\n{pairs}" if title is None else title, fontsize="medium")
    _canvas.legend(sheet.axes, [(_canvas.SEEN, "the query sees the key"), (_canvas.OTHER, "it does not")])
    return sheet.figure
