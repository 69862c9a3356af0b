"""Patterns along a curve: the grid's tokens are taken in another order, and windows are formed on that sequence.

All tensors stay as they are, row-major: a pattern says which token is at a position, and engines gather. Order "hilbert"
is the generalised Hilbert curve, for grids of any sizes; "morton", "serpentine" and "row_major" are there to compare
with. Source: "Hilbert-Guided Block-Sparse Local Attention", 2025.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from nearfield._errors import ArgumentError
from nearfield._values import choice, flag, integer
from nearfield.patterns import _words
from nearfield.patterns._base import Pattern, shown_settings


@dataclass(frozen=True, repr=False)
class CurvePattern(Pattern):
    """What the patterns along a curve have in common; construct one of these.

    They fit grids of any sizes and of any number of axes, and know none. A relative position bias has an entry for each
    offset on the grid that occurs: `bias_extents` says how many.
    """

    dilation: int = field(default=1, kw_only=True)
    is_causal: bool = field(default=False, kw_only=True)
    order: str = field(default="hilbert", kw_only=True)

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "order":
                value = _words.ORDERS[choice("order", value, _words.ORDERS)]
            elif each.name == "is_causal":
                value = flag("is_causal", value)
            else:
                value = integer(each.name, value)
            object.__setattr__(self, each.name, value)

    def __repr__(self) -> str:
        return shown_settings(self)

    def rank(self) -> int | None:
        """None: it fits grids of any number of axes."""
        return None

    def _words(self, rank: int, form: str, size: int, shift: int = 0, stride: int = 1) -> _words.Words:
        return _words.curve(rank, self.order, form, size, shift, stride, self.dilation, self.is_causal)


@dataclass(frozen=True, repr=False)
class HilbertWindow(CurvePattern):
    """Hilbert window attention (HWA): runs of ``size ** rank`` tokens along the curve; a token sees its own run [1]_.

    The last run may be ragged. A run longer than the grid is the whole grid.

    Parameters
    ----------
    size
        Side of the windows, at least 1: a run has as many tokens as a window of that side on each axis of the grid.
    dilation
        Positions from one seen key to the next: the positions fall into as many classes that do not see each other, and
        runs are of a class.
    is_causal
        Whether only keys at or before the query's position are seen.
    order
        "hilbert", "morton", "serpentine" or "row_major": the order of the tokens.

    References
    ----------
    .. [1] "Hilbert-Guided Block-Sparse Local Attention", 2025.

    Examples
    --------
    >>> import nearfield
    >>> keys = nearfield.geometry.windows(HilbertWindow(2), (4, 4)).keys
    >>> sorted(keys[0].tolist())  # tokens of the upper left 2 x 2
    [0, 1, 4, 5]
    >>> HilbertWindow(8, order="morton")
    HilbertWindow(size=8, order='morton')
    """

    size: int

    def words(self, rank: int) -> _words.Words:
        """The C struct nf_curve on a grid of `rank` axes, as 64-bit words."""
        return self._words(rank, "window", _run("size", self.size, rank))


@dataclass(frozen=True, repr=False)
class HilbertShiftedWindow(CurvePattern):
    """Shifted Hilbert window attention (HSWA): as `HilbertWindow`, with runs that begin half a run earlier [1]_.

    Position p is in run ``(p + run // 2) // run``, where a run has ``size ** rank`` tokens: the first run is short, the
    last may be ragged, nothing wraps around. In turns with `HilbertWindow` it joins neighbouring windows.

    Parameters
    ----------
    size, dilation, is_causal, order
        As in `HilbertWindow`.

    References
    ----------
    .. [1] "Hilbert-Guided Block-Sparse Local Attention", 2025.

    Examples
    --------
    >>> import nearfield
    >>> keys = nearfield.geometry.windows(HilbertShiftedWindow(2), (4, 4)).keys
    >>> along = keys[nearfield.order("hilbert", (4, 4)).tokens]
    >>> (along >= 0).sum(axis=1).tolist()
    [2, 2, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 2, 2]
    """

    size: int

    def words(self, rank: int) -> _words.Words:
        """The C struct nf_curve on a grid of `rank` axes, as 64-bit words."""
        run = _run("size", self.size, rank)
        return self._words(rank, "window", run, run // 2)


@dataclass(frozen=True, repr=False)
class HilbertSlide(CurvePattern):
    """Hilbert slide attention (HSA): tokens at most ``width // 2`` positions away, cut at the curve's ends [1]_.

    Parameters
    ----------
    width
        Of the window, at least 1, in tokens along the curve: 49 for as many as a 7 x 7 window has. An even width is the
        next odd one.
    stride
        Queries that share one window, 1 to `width`.
    dilation, order
        As in `HilbertWindow`.
    is_causal
        Whether only keys at or before the query's position are seen, the last ``2 * (width // 2) + 1`` of them.

    References
    ----------
    .. [1] "Hilbert-Guided Block-Sparse Local Attention", 2025.

    Examples
    --------
    >>> import nearfield
    >>> keys = nearfield.geometry.windows(HilbertSlide(3), (4, 4)).keys
    >>> [int((each >= 0).sum()) for each in keys[:4]]  # the curve begins at token 0 and ends at token 3
    [2, 3, 3, 2]
    """

    width: int
    stride: int = field(default=1, kw_only=True)

    def words(self, rank: int) -> _words.Words:
        """The C struct nf_curve on a grid of `rank` axes, as 64-bit words."""
        _check_width(self.width, self.stride)
        return self._words(rank, "slide", self.width, stride=self.stride)


@dataclass(frozen=True, repr=False)
class HilbertNeighborhood(CurvePattern):
    """Hilbert neighborhood attention (HNA): the `width` tokens around the query along the curve [1]_.

    At the curve's ends the window shifts and keeps its size, as that of `Neighborhood` does. It is an operator of its
    own, not `Neighborhood` on the grid: along the curve a window covers a part of the query's surroundings.

    Parameters
    ----------
    width
        Keys that a query sees, at least 1: 49 for as many as a 7 x 7 window has.
    stride
        Queries that share one window, 1 to `width`.
    dilation, order
        As in `HilbertWindow`.
    is_causal
        Whether only keys at or before the query's position are seen, the last `width` of them.

    References
    ----------
    .. [1] "Hilbert-Guided Block-Sparse Local Attention", 2025.

    Examples
    --------
    >>> import nearfield
    >>> nearfield.geometry.windows(HilbertNeighborhood(3), (4, 4)).keys[0].tolist()
    [0, 1, 5]
    """

    width: int
    stride: int = field(default=1, kw_only=True)

    def words(self, rank: int) -> _words.Words:
        """The C struct nf_curve on a grid of `rank` axes, as 64-bit words."""
        _check_width(self.width, self.stride)
        return self._words(rank, "neighborhood", self.width, stride=self.stride)


def _run(name: str, size: int, rank: int) -> int:
    """Tokens of a run, at most MAX_WINDOW, which is beyond any grid: a longer one sees the same."""
    _check(name, size)
    run = 1
    for _ in range(rank):
        run = run * size
    return run if run <= _words.MAX_WINDOW else _words.MAX_WINDOW


def _check_width(width: int, stride: int) -> None:
    _check("width", width)
    if stride > width:
        raise ArgumentError(f"stride={stride}: must be at most width={width}")


def _check(name: str, value: int) -> None:
    if value < 1:
        raise ArgumentError(f"{name}={value}: must be at least 1")
    if value > _words.MAX_WINDOW:
        raise ArgumentError(f"{name}={value}: must be at most 2^40")
