"""torch-harmonics' arguments, checked: messages name them, and not what nearfield's own classes call them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from nearfield._errors import ArgumentError
from nearfield._values import integer, is_sequence, number, shown
from nearfield.patterns import SphereGrid


@contextmanager
def renamed(names: Mapping[str, str]) -> Iterator[None]:
    """Errors of nearfield's classes name the arguments that the caller knows."""
    try:
        yield
    except (ArgumentError, TypeError) as error:
        known = re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, names))})(?==)")
        raise type(error)(known.sub(lambda found: names[found[0]], str(error))) from None


def shape_of(name: str, value: Any) -> tuple[int, int]:
    """(nlat, nlon)."""
    if not is_sequence(value) or len(value) != 2:
        raise TypeError(f"{name}={shown(value)}: must be (nlat, nlon)")
    nlat, nlon = (integer(f"{name}[{i}]", each) for i, each in enumerate(value))
    return nlat, nlon


def grid_of(shape: tuple[int, int], latitudes: str, names: Mapping[str, str]) -> SphereGrid:
    """The grid. names: what its `nlat`, `nlon` and `latitudes` are to the caller."""
    if latitudes == "equidistant":
        raise ArgumentError(
            f"{names['latitudes']}='equidistant': is 'equiangular-trapezoidal' since torch-harmonics 0.9.1"
        )
    with renamed(names):
        return SphereGrid(*shape, latitudes)


def positive(name: str, value: Any) -> int:
    """An integer of at least 1."""
    if (whole := integer(name, value)) < 1:
        raise ArgumentError(f"{name}={whole}: must be at least 1")
    return whole


def scale_of(value: Any, most: tuple[int, int, int], rule: str) -> float | Tensor:
    """The factor of the logits as it was given; a tensor has to broadcast against `most`."""
    if not isinstance(value, Tensor):
        return number("scale", value)
    padded = (1,) * (3 - value.dim()) + tuple(value.shape)
    if any(n not in (1, m) for n, m in zip(padded[-3:], most, strict=True)) or set(padded[:-3]) - {1}:
        raise ArgumentError(f"scale: is a tensor of shape {tuple(value.shape)}: must be {rule}")
    return value
