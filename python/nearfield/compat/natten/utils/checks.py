"""Settings of a window, as tuples."""

from __future__ import annotations

from typing import Any

from nearfield._errors import ArgumentError
from nearfield.compat.natten._binding import Release, bind
from nearfield.patterns import Neighborhood

_RELEASES = (
    Release("0.20", ("kernel_size", "stride", "dilation", "is_causal")),
    Release("0.17", ("kernel_size", "dilation", "is_causal")),
)


def check_all_args(na_dim: int, *positional: Any, **keywords: Any) -> tuple[tuple[Any, ...], ...]:
    """A window's settings with one value for each axis.

    Parameters
    ----------
    na_dim
        Axes of the grid: 1 to 3.
    kernel_size, stride, dilation, is_causal
        One value, or a sequence with one for each axis; None is the default. Without `stride`, as in NATTEN 0.17, there
        are three arguments and three results.

    Returns
    -------
    kernel_size, stride, dilation, is_causal
        Tuples.

    Raises
    ------
    ArgumentError, TypeError
        A value is of a wrong type, or there are too many or too few.
    """
    if na_dim not in (1, 2, 3):
        raise ArgumentError(f"na_dim={na_dim!r}: must be 1, 2 or 3")
    # Each release takes all of its arguments, so that their number tells which it is.
    count = len(positional) + len(keywords)
    releases = [each for each in _RELEASES if len(each.parameters) == count] or _RELEASES
    release, given = bind("check_all_args", releases, positional, keywords)
    for name in release.parameters:
        if name not in given:
            raise TypeError(f"check_all_args: {name}: must be given")
    axes = Neighborhood(**{name: each for name, each in given.items() if each is not None}).axes(na_dim)
    return tuple(axes[name] for name in release.parameters)
