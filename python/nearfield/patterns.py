"""Patterns: which keys a query sees. They know no hardware and no tensors; engines execute them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from nearfield._errors import ArgumentError
from nearfield._values import INTEGERS, choice, flag, integer, is_sequence

Ints = int | Sequence[int]
Bools = bool | Sequence[bool]
Names = str | Sequence[str]

BOUNDARIES = ("clamp", "wrap", "cut")
_MAX_RANK = 3
_NEIGHBORHOOD = 1  # nf_pattern_kind


class Pattern(ABC):
    """What all patterns have in common; see :class:`Neighborhood`.

    Patterns are immutable and compare, hash, pickle and copy by value.
    """

    __slots__ = ()

    @abstractmethod
    def words(self, rank: int) -> tuple[int, ...]:
        """The C struct of this pattern on a grid of `rank` axes, as 64-bit words."""

    @abstractmethod
    def rank(self) -> int | None:
        """Axes of the grids that it fits; None where any will do."""


def check_pattern(pattern: Any) -> None:
    """Raises TypeError unless it is one."""
    if not isinstance(pattern, Pattern):
        what = f"the class {pattern.__name__}" if isinstance(pattern, type) else f"a {type(pattern).__name__}"
        raise TypeError(f"pattern: is {what}: must be a nearfield pattern, e.g. Neighborhood(7)")


@dataclass(frozen=True)
class Neighborhood(Pattern):
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

    def __post_init__(self) -> None:
        known = None
        for field in fields(self):
            value = _plain(field.name, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
            if not isinstance(value, tuple):
                continue
            if not 1 <= len(value) <= _MAX_RANK:
                raise ArgumentError(f"{field.name}={value!r}: must have 1 to {_MAX_RANK} values, one for each axis")
            if known is not None and len(value) != known[1]:
                raise ArgumentError(
                    f"{field.name}={value!r}: must have as many values as {known[0]}, which has {known[1]}"
                )
            known = (field.name, len(value))

    def __repr__(self) -> str:
        shown = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if getattr(self, f.name) != f.default]
        return f"Neighborhood({', '.join(shown)})"

    def rank(self) -> int | None:
        """Axes of the grids that it fits; None if every setting is one value for all axes."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple):
                return len(value)
        return None

    def words(self, rank: int) -> tuple[int, ...]:
        """The C struct nf_neighborhood on a grid of `rank` axes, as 64-bit words."""
        axes = self.axes(rank)
        rest = (0,) * (_MAX_RANK - rank)
        causal = [int(each) for each in axes["is_causal"] + rest]
        boundary = [BOUNDARIES.index(each) for each in axes["boundary"]] + [0] * len(rest)
        small = causal + boundary  # of 32 bits each
        return (
            14 * 8,
            _NEIGHBORHOOD | rank << 32,
            *axes["kernel_size"],
            *rest,
            *axes["stride"],
            *rest,
            *axes["dilation"],
            *rest,
            *(small[i] | small[i + 1] << 32 for i in (0, 2, 4)),
        )

    def axes(self, rank: int) -> dict[str, tuple[Any, ...]]:
        """Every setting with one value for each of `rank` axes."""
        own = self.rank()
        if own is not None and own != rank:
            name = next(f.name for f in fields(self) if isinstance(getattr(self, f.name), tuple))
            raise ArgumentError(
                f"{name}={getattr(self, name)!r}: has {own} values, but the grid has {rank} "
                f"{'axis' if rank == 1 else 'axes'}"
            )
        values = {}
        for field in fields(self):
            value = getattr(self, field.name)
            values[field.name] = value if isinstance(value, tuple) else (value,) * rank
        return values


def _plain(name: str, value: Any) -> Any:
    """`value` as an int, bool or str, or a tuple of these."""
    if is_sequence(value):
        return tuple(_plain_one(f"{name}[{i}]", name, each) for i, each in enumerate(value))
    return _plain_one(name, name, value)


def _plain_one(where: str, name: str, value: Any) -> Any:
    if name == "boundary":
        return BOUNDARIES[choice(where, value, BOUNDARIES)]
    if name == "is_causal":
        return flag(where, value)
    return integer(where, value, INTEGERS)


@lru_cache(maxsize=1024)
def cached_words(pattern: Pattern, rank: int) -> tuple[int, ...]:
    """pattern.words(rank), made once."""
    return pattern.words(rank)


def neighborhood_words(
    rank: int, kernel_size: Ints, stride: Ints, dilation: Ints, is_causal: Bools, boundary: Names
) -> tuple[int, ...]:
    """The words of the pattern of one `na*d` call."""
    return Neighborhood(kernel_size, stride, dilation, is_causal, boundary).words(rank)


cached_neighborhood_words = lru_cache(maxsize=1024, typed=True)(neighborhood_words)
