"""Gradients for numpy arrays, which no framework records: an explicit vjp.

    out, pullback = nearfield.numpy.vjp(nearfield.Neighborhood(7), query, key, value, bias=bias)
    gradients = pullback(dout)
    gradients.query, gradients.bias

The forward alone is `nearfield.attend` and `nearfield.na1d` to `na3d`, which take numpy arrays as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from nearfield import _numpy
from nearfield._errors import ArgumentError
from nearfield._faces import NUMPY, check_kind
from nearfield._numpy import Array, Gradients
from nearfield._options import settings_of
from nearfield._values import flag, shown
from nearfield.functional import grid_rank
from nearfield.patterns import Pattern, cached_words, check_pattern

__all__ = ["Gradients", "vjp"]


def vjp(
    pattern: Pattern,
    query: Array,
    key: Array,
    value: Array,
    *,
    scale: float | None = None,
    bias: Array | None = None,
    key_mask: Array | None = None,
    key_weights: Array | None = None,
    softcap: float = 0.0,
    additional_keys: Array | None = None,
    additional_values: Array | None = None,
    return_lse: bool = False,
    precision: str = "highest",
    engine: str = "auto",
    isa: str = "auto",
    kernel: str = "auto",
    num_threads: int = 0,
) -> tuple[Any, Callable[..., Gradients]]:
    """The attention, and the function that takes gradients back through it.

    Parameters
    ----------
    pattern, query, key, value, and the other keywords
        As in `attend`. Arrays are kept, not copied: don't change them before the gradients are taken.

    Returns
    -------
    out, or (out, logsumexp) if `return_lse`
        As `attend` returns them.
    pullback
        ``pullback(dout, dlogsumexp=None, wanted=None)`` gives `Gradients`, of all floating-point arguments that were
        given, or of those named in `wanted`. dout has the shape of out, dlogsumexp that of logsumexp.

    Raises
    ------
    ArgumentError, TypeError
        As `attend` does; pullback, if a gradient has the wrong shape or dtype.

    Examples
    --------
    >>> import numpy, nearfield
    >>> x = numpy.ones((1, 8, 8, 1, 4))
    >>> out, pullback = nearfield.numpy.vjp(nearfield.Neighborhood(3), x, x, x)
    >>> float(pullback(numpy.ones_like(out)).value.sum())
    256.0
    """
    check_pattern(pattern)
    arrays = (query, key, value, additional_keys, additional_values, key_mask, key_weights, bias)
    check_kind(NUMPY, arrays)
    words = cached_words(pattern, grid_rank(query))
    settings = settings_of(words, scale, softcap, engine, isa, kernel, num_threads, precision)
    both = flag("return_lse", return_lse)
    out, logsumexp = _numpy.attend(arrays, settings, True)
    assert logsumexp is not None

    def pullback(
        dout: Array | None, dlogsumexp: Array | None = None, wanted: Collection[str] | None = None
    ) -> Gradients:
        chosen = _chosen(wanted)
        return _numpy.backward(dout, dlogsumexp, out, logsumexp, arrays, settings, chosen)

    return ((out, logsumexp) if both else out), pullback


def _chosen(wanted: Collection[str] | None) -> tuple[bool, ...]:
    """For each gradient whether it is among the named ones; None names all."""
    names = Gradients._fields
    if wanted is None:
        return (True,) * len(names)
    if isinstance(wanted, str) or not isinstance(wanted, Collection):
        raise TypeError(f"wanted={shown(wanted)}: must be names among {', '.join(names)}")
    for each in wanted:
        if each not in names:
            raise ArgumentError(f"wanted={shown(wanted)}: must be among {', '.join(names)}")
    return tuple(name in wanted for name in names)
