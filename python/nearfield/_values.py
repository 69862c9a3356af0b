"""Single values of a call, checked: every message names the argument, its value and the rule."""

from __future__ import annotations

import operator
import sys
from collections.abc import Sequence
from typing import Any

from nearfield._errors import ArgumentError

_MOST_SHOWN = 80


def shown(value: Any) -> str:
    """The value for a message: on one line, not too long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def is_sequence(value: Any) -> bool:
    """Whether the argument has a value for each axis; texts are values."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def integer(name: str, value: Any, rule: str = "must be an integer") -> int:
    """`value` as an int: anything but bool that can be an index."""
    if isinstance(value, bool):
        raise TypeError(f"{name}={value!r}: {rule}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}={shown(value)}: {rule}") from None
    if abs(number) >= 1 << 62:
        raise ArgumentError(f"{name}={shown(number)}: must be below 2**62")
    return number


INTEGERS = "must be an integer or a sequence of integers"


def integers(name: str, value: Any) -> tuple[int, ...]:
    """An int for each axis; one number is of one axis."""
    if is_sequence(value):
        return tuple(integer(f"{name}[{i}]", each) for i, each in enumerate(value))
    return (integer(name, value, INTEGERS),)


def number(name: str, value: Any) -> float:
    """`value` as a float."""
    if isinstance(value, bool | str | bytes | complex):
        raise TypeError(f"{name}={shown(value)}: must be a number")
    try:
        return float(value)
    except OverflowError:
        raise ArgumentError(f"{name}={shown(value)}: must be finite") from None
    except (TypeError, ValueError, RuntimeError):
        if _is_traced(value):
            raise TypeError(
                f"{name}: is traced: must be a number that is known when the function is compiled"
            ) from None
        raise TypeError(f"{name}={shown(value)}: must be a number") from None


def _is_traced(value: Any) -> bool:
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.core.Tracer)


def flag(name: str, value: Any) -> bool:
    """`value` as a bool: Python's or numpy's."""
    if isinstance(value, bool) or type(value).__name__ == "bool":
        return bool(value)
    raise TypeError(f"{name}={shown(value)}: must be True or False")


def choice(name: str, value: Any, names: tuple[str, ...]) -> int:
    """The place of `value` among the names."""
    if not isinstance(value, str) or value not in names:
        raise ArgumentError(f"{name}={shown(value)}: must be one of {', '.join(map(repr, names))}")
    return names.index(value)
