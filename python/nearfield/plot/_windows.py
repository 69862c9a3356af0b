"""What several queries see, on one grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nearfield._errors import ArgumentError
from nearfield._values import is_sequence, shown
from nearfield.grids import on_grid
from nearfield.patterns import Ints, Pattern
from nearfield.patterns._words import order_of
from nearfield.plot import _canvas
from nearfield.plot._curve import draw_walk
from nearfield.plot._window import refuse_key_grid, seen_by, token_name

# Okabe and Ito's colours but for that of the queries.
COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#0072B2")
SEVERAL = "#777777"
_WALK = "#222222"
_MOST_TOKENS = 1 << 22
_MOST_WALK = 48  # cells on an axis up to which the curve is drawn


def windows(
    pattern: Pattern,
    grid: Ints,
    queries: Sequence[Ints],
    *,
    axes: Axes | None = None,
    title: str | None = None,
) -> Figure:
    """Draws which keys several queries see, a colour for each; along a curve, with the curve.

    Parameters
    ----------
    pattern, grid
        As in `window`.
    queries
        Coordinates of 1 to 6 queries.
    axes
        Where to draw; None makes a figure.
    title
        None names the pattern.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ArgumentError
        The pattern does not fit the grid, the grid has no such queries, or is too large to be drawn.

    Examples
    --------
    >>> import nearfield, nearfield.plot
    >>> figure = nearfield.plot.windows(nearfield.HilbertWindow(4), (12, 20), [(1, 2), (6, 9)])
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['(1, 2) sees 16 keys', '(6, 9) sees 16 keys']
    """
    words, lengths = on_grid(pattern, grid)
    refuse_key_grid(pattern)
    _canvas.middle(lengths)
    if math.prod(lengths) > _MOST_TOKENS:
        raise ArgumentError(f"grid={grid!r}: must have at most {_MOST_TOKENS} tokens to be drawn")
    if not is_sequence(queries):
        raise TypeError(f"queries={shown(queries)}: must be a sequence of coordinates")
    if not 1 <= len(queries) <= len(COLOURS):
        raise ArgumentError(f"queries={shown(queries)}: must be 1 to {len(COLOURS)} queries")
    tokens = [_canvas.coordinates(f"queries[{i}]", each, lengths) for i, each in enumerate(queries)]
    seen = np.stack([seen_by(pattern, lengths, token) for token in tokens])
    often = seen.sum(axis=0)
    sheet = _canvas.Sheet(axes, lengths, often > 0, 1.6)
    sheet.cells(np.ones(lengths, bool), _canvas.OTHER)
    for each, colour in zip(seen, COLOURS, strict=False):
        sheet.cells(each & (often == 1), colour)
    sheet.cells(often > 1, SEVERAL)
    kind = order_of(words)
    if kind is not None and len(lengths) == 2 and max(lengths) <= _MOST_WALK:
        draw_walk(sheet.axes, kind, lengths, _WALK)
    for token in tokens:
        sheet.mark(token)
    sheet.finish()
    sheet.axes.set_title(repr(pattern) if title is None else title, fontsize="medium")
    entries = [
        (colour, f"{token_name(token)} sees {int(each.sum())} keys")
        for token, each, colour in zip(tokens, seen, COLOURS, strict=False)
    ]
    if (often > 1).any():
        entries.append((SEVERAL, "seen by several"))
    _canvas.legend(sheet.axes, entries)
    return sheet.figure
