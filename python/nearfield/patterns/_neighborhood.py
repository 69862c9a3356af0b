"""Neighborhood attention: the tokens around the query."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from nearfield.patterns import _words
from nearfield.patterns._base import Bools, Ints, Names, PerAxis


@dataclass(frozen=True, repr=False)
class Neighborhood(PerAxis):
    """Neighborhood attention: a token sees the `kernel_size` tokens around it, per axis of the grid.

    Every argument is one value for all axes or a sequence with one for each. See [1]_ for neighborhoods, [2]_ for
    dilation and [3]_ for stride and causality.

    Parameters
    ----------
    kernel_size
        Keys that a query sees on an axis, at least 1. A window larger than its axis sees all of it.
    stride
        Queries that share one window, 1 to `kernel_size`; `kernel_size` makes blocks.
    dilation
        Tokens from one seen key to the next, at least 1.
    is_causal
        Whether only keys at or before the query are seen.
    boundary
        What a window does at the border: "clamp" shifts it and keeps its size (neighborhood attention proper),
        "wrap" makes the axis periodic, "cut" truncates it (sliding window).

    References
    ----------
    .. [1] Hassani et al., "Neighborhood Attention Transformer", CVPR 2023.
    .. [2] Hassani and Shi, "Dilated Neighborhood Attention Transformer", 2022.
    .. [3] Hassani et al., "Generalized Neighborhood Attention", 2025.

    Examples
    --------
    >>> Neighborhood(7)
    Neighborhood(kernel_size=7)
    >>> Neighborhood((3, 5), boundary=("clamp", "wrap")).rank()
    2
    """

    kernel_size: Ints
    stride: Ints = 1
    dilation: Ints = 1
    is_causal: Bools = False
    boundary: Names = "clamp"

    def words(self, rank: int) -> _words.Words:
        """The C struct nf_neighborhood on a grid of `rank` axes, as 64-bit words."""
        return _words.neighborhood(**self.axes(rank))


def neighborhood_words(
    rank: int, kernel_size: Ints, stride: Ints, dilation: Ints, is_causal: Bools, boundary: Names
) -> _words.Words:
    """The words of the pattern of one `na*d` call."""
    return Neighborhood(kernel_size, stride, dilation, is_causal, boundary).words(rank)


cached_neighborhood_words = lru_cache(maxsize=1024, typed=True)(neighborhood_words)
