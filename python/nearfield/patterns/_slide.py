"""Slide attention on the grid's own axes."""

from __future__ import annotations

from dataclasses import dataclass

from nearfield._errors import ArgumentError
from nearfield.patterns import _words
from nearfield.patterns._base import Bools, Ints, PerAxis


@dataclass(frozen=True, repr=False)
class Slide(PerAxis):
    """Slide attention: a token sees the tokens at most ``width // 2`` away on every axis; borders cut windows short.

    The row-major counterpart of `HilbertSlide`, and another name of
    ``Neighborhood(2 * (width // 2) + 1, stride, dilation, is_causal, boundary="cut")``. Every argument is one value for
    all axes or a sequence with one for each. Source: [1]_, [2]_.

    Parameters
    ----------
    width
        Of the window, at least 1; ``width // 2`` keys on each side of the query, so that an even width is the next odd
        one.
    stride
        Queries that share one window, 1 to `width`.
    dilation
        Tokens from one seen key to the next, at least 1.
    is_causal
        Whether only keys at or before the query are seen, the last ``2 * (width // 2) + 1`` of them.

    References
    ----------
    .. [1] Pan et al., "Slide-Transformer: Hierarchical Vision Transformer with Local Self-Attention", CVPR 2023.
    .. [2] "Hilbert-Guided Block-Sparse Local Attention", 2025.

    Examples
    --------
    >>> import nearfield
    >>> Slide(7)
    Slide(width=7)
    >>> nearfield.geometry.windows(Slide(3), 4).keys.tolist()  # -1: nothing
    [[0, 1, -1], [0, 1, 2], [1, 2, 3], [2, 3, -1]]
    """

    width: Ints
    stride: Ints = 1
    dilation: Ints = 1
    is_causal: Bools = False

    def words(self, rank: int) -> _words.Words:
        """The C struct nf_neighborhood on a grid of `rank` axes, as 64-bit words."""
        axes = self.axes(rank)
        for i, (width, stride) in enumerate(zip(axes["width"], axes["stride"], strict=True)):
            if width < 1:
                raise ArgumentError(f"width[{i}]={width}: must be at least 1")
            if width > _words.MAX_WINDOW - 1:
                raise ArgumentError(f"width[{i}]={width}: must be below 2^40")
            if stride > width:
                raise ArgumentError(f"stride[{i}]={stride}: must be at most width[{i}]={width}")
        kernel_size = tuple(width // 2 * 2 + 1 for width in axes["width"])
        return _words.neighborhood(kernel_size, axes["stride"], axes["dilation"], axes["is_causal"], ("cut",) * rank)
