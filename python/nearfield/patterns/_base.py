"""What patterns have in common: values that compare, with a setting for every axis or one for all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any

from nearfield._errors import ArgumentError
from nearfield._values import INTEGERS, choice, flag, integer, is_sequence
from nearfield.patterns._words import BOUNDARIES, MAX_RANK, Words

Ints = int | Sequence[int]
Bools = bool | Sequence[bool]
Names = str | Sequence[str]


class Pattern(ABC):
    """Which keys a query sees: :class:`Neighborhood`, :class:`Slide`, :class:`Window`, or one along a curve or on the
    sphere.

    Patterns are immutable and compare, hash, pickle and copy by value.
    """

    __slots__ = ()

    @abstractmethod
    def words(self, rank: int) -> Words:
        """The C struct of this pattern on a grid of `rank` axes, as 64-bit words."""

    @abstractmethod
    def rank(self) -> int | None:
        """Axes of the grids that it fits; None where any will do."""


def check_pattern(pattern: Any) -> None:
    """Raises TypeError unless it is one."""
    if not isinstance(pattern, Pattern):
        what = f"the class {pattern.__name__}" if isinstance(pattern, type) else f"a {type(pattern).__name__}"
        raise TypeError(f"pattern: is {what}: must be a nearfield pattern, e.g. Neighborhood(7)")


@lru_cache(maxsize=1024)
def cached_words(pattern: Pattern, rank: int) -> Words:
    """pattern.words(rank), made once."""
    return pattern.words(rank)


def shown_settings(pattern: Any) -> str:
    """The pattern as it is written: its class and what differs from the defaults, positional settings first."""
    ordered = sorted(fields(pattern), key=lambda field: field.kw_only is True)
    shown = [f"{f.name}={getattr(pattern, f.name)!r}" for f in ordered if getattr(pattern, f.name) != f.default]
    return f"{type(pattern).__name__}({', '.join(shown)})"


class PerAxis(Pattern):
    """A pattern on the grid's own axes: a frozen dataclass whose every field is one value for all axes or a tuple with
    one for each."""

    __slots__ = ()

    def __post_init__(self) -> None:
        known = None
        for field in fields(self):  # type: ignore[arg-type]
            value = _plain(field.name, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
            if not isinstance(value, tuple):
                continue
            if not 1 <= len(value) <= MAX_RANK:
                raise ArgumentError(f"{field.name}={value!r}: must have 1 to {MAX_RANK} values, one for each axis")
            if known is not None and len(value) != known[1]:
                raise ArgumentError(
                    f"{field.name}={value!r}: must have as many values as {known[0]}, which has {known[1]}"
                )
            known = (field.name, len(value))

    def __repr__(self) -> str:
        return shown_settings(self)

    def rank(self) -> int | None:
        """Axes of the grids that it fits; None if every setting is one value for all axes."""
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, tuple):
                return len(value)
        return None

    def axes(self, rank: int) -> dict[str, tuple[Any, ...]]:
        """Every setting with one value for each of `rank` axes."""
        own = self.rank()
        every = fields(self)  # type: ignore[arg-type]
        if own is not None and own != rank:
            name = next(f.name for f in every if isinstance(getattr(self, f.name), tuple))
            raise ArgumentError(
                f"{name}={getattr(self, name)!r}: has {own} values, but the grid has {rank} "
                f"{'axis' if rank == 1 else 'axes'}"
            )
        values = {}
        for field in every:
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
