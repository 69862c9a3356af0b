"""Window attention on the grid's own axes."""

from __future__ import annotations

from dataclasses import dataclass

from nearfield.patterns import _words
from nearfield.patterns._base import Ints, PerAxis


@dataclass(frozen=True, repr=False)
class Window(PerAxis):
    """Window attention: the grid is cut into windows, and a token sees the tokens of its own [1]_.

    Token x of an axis is in window ``(x + shift) // size``: the first window is short by the shift, the last may be
    ragged, nothing wraps around. A window larger than the grid is the whole grid. Each argument is one value for all
    axes or a sequence with one for each.

    Parameters
    ----------
    size
        Tokens of a window on an axis, at least 1.
    shift
        0 to ``size - 1``: by how much the first window is shorter than `size`.

    Notes
    -----
    Swin Transformer rolls the image by ``size // 2`` tokens and masks what met across the border: its first window then
    has ``size // 2`` tokens. That is ``shift = size - size // 2`` here, and equals ``size // 2`` for even sizes.

    References
    ----------
    .. [1] Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", ICCV 2021.

    Examples
    --------
    >>> import nearfield
    >>> nearfield.geometry.windows(Window(4, shift=2), 6).keys.tolist()  # -1: nothing
    [[0, 1, -1, -1], [0, 1, -1, -1], [2, 3, 4, 5], [2, 3, 4, 5], [2, 3, 4, 5], [2, 3, 4, 5]]
    """

    size: Ints
    shift: Ints = 0

    def words(self, rank: int) -> _words.Words:
        """The C struct nf_window on a grid of `rank` axes, as 64-bit words."""
        return _words.window(**self.axes(rank))
