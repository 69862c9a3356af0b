"""Gradients for numpy arrays, which no framework records: an explicit vjp.

    out, pullback = nearfield.numpy.vjp(nearfield.Neighborhood(7), query, key, value, bias=bias)
    gradients = pullback(dout)
    gradients.query, gradients.bias

The forward alone is `nearfield.attend` and `nearfield.na1d` to `na3d`, which take numpy arrays as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nearfield import _numpy
from nearfield._errors import ArgumentError
from nearfield._numpy import Array, Gradients
from nearfield._options import option_words
from nearfield.functional import grid_rank
from nearfield.patterns import Pattern, cached_words

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
    settings = _numpy.Settings(
        cached_words(pattern, grid_rank(query)),
        scale if scale is None else float(scale),
        float(softcap),
        option_words(engine, isa, kernel, num_threads, precision),
    )
    arrays = (query, key, value, additional_keys, additional_values, key_mask, key_weights, bias)
    out, logsumexp = _numpy.attend(arrays, settings, True)
    assert logsumexp is not None

    def pullback(
        dout: Array | None, dlogsumexp: Array | None = None, wanted: tuple[str, ...] | None = None
    ) -> Gradients:
        unknown = set(wanted or ()) - set(Gradients._fields)
        if unknown:
            raise ArgumentError(f"wanted={wanted!r}: must be among {', '.join(Gradients._fields)}")
        chosen = tuple(wanted is None or name in wanted for name in Gradients._fields)
        return _numpy.backward(dout, dlogsumexp, out, logsumexp, arrays, settings, chosen)

    return ((out, logsumexp) if return_lse else out), pullback
