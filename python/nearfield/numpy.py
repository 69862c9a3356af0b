"""Gradients for numpy arrays, which no framework records: an explicit vjp.

    out, pullback = nearfield.numpy.vjp(nearfield.Neighborhood(7), query, key, value, bias=bias)
    gradients = pullback(dout)
    gradients.query, gradients.bias

The forward alone is `nearfield.attend`, `nearfield.na1d` to `na3d`, `nearfield.qk` and `nearfield.av`, which take numpy
arrays as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from nearfield import _numpy
from nearfield._errors import ArgumentError
from nearfield._faces import NUMPY, check_kind
from nearfield._numpy import Array, Gradients
from nearfield._numpy.unfused import AvGradients, QkGradients
from nearfield._options import settings_of
from nearfield._values import flag, shown
from nearfield.functional import grid_rank
from nearfield.patterns import Pattern, cached_words, check_pattern
from nearfield.unfused import AV_NAMES, QK_NAMES, av, qk

__all__ = ["AvGradients", "Gradients", "QkGradients", "vjp", "vjp_av", "vjp_qk"]


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
        chosen = _chosen(wanted, Gradients._fields)
        return _numpy.backward(dout, dlogsumexp, out, logsumexp, arrays, settings, chosen)

    return ((out, logsumexp) if both else out), pullback


def vjp_qk(
    pattern: Pattern,
    query: Array,
    key: Array,
    *,
    scale: float | None = None,
    bias: Array | None = None,
    key_mask: Array | None = None,
    additional_keys: Array | None = None,
    wide: bool = False,
    engine: str = "auto",
    isa: str = "auto",
    num_threads: int = 0,
) -> tuple[Array, Callable[..., QkGradients]]:
    """`qk`, and the function that takes gradients back through it.

    Parameters
    ----------
    pattern, query, key, and the other keywords
        As in `qk`. Arrays are kept, not copied: don't change them before the gradients are taken.

    Returns
    -------
    weights
        As `qk` returns them.
    pullback
        ``pullback(dweights, wanted=None)`` gives `QkGradients`, of all that were given, or of those named in `wanted`.
        What dweights holds in hidden slots is not read.

    Raises
    ------
    ArgumentError, TypeError, MemoryError
        As `qk` does; pullback, if the gradient has the wrong shape or dtype.

    Examples
    --------
    >>> import numpy, nearfield
    >>> x = numpy.ones((1, 8, 8, 1, 4))
    >>> weights, pullback = nearfield.numpy.vjp_qk(nearfield.Neighborhood(3), x, x, scale=1.0)
    >>> float(pullback(numpy.ones_like(weights)).key.sum())
    2304.0
    """
    arrays = (query, key, additional_keys, key_mask, bias)
    check_kind(NUMPY, arrays, QK_NAMES, 2)
    weights = qk(
        pattern,
        query,
        key,
        scale=scale,
        bias=bias,
        key_mask=key_mask,
        additional_keys=additional_keys,
        wide=wide,
        engine=engine,
        isa=isa,
        num_threads=num_threads,
    )
    words = cached_words(pattern, grid_rank(query))
    settings = settings_of(words, scale, 0.0, engine, isa, "auto", num_threads, "highest")

    def pullback(dweights: Array, wanted: Collection[str] | None = None) -> QkGradients:
        chosen = _chosen(wanted, QkGradients._fields)
        return _numpy.unfused.qk_backward(dweights, arrays, QK_NAMES, settings, chosen)

    return weights, pullback


def vjp_av(
    pattern: Pattern,
    weights: Array,
    value: Array,
    *,
    key_mask: Array | None = None,
    additional_values: Array | None = None,
    engine: str = "auto",
    isa: str = "auto",
    num_threads: int = 0,
) -> tuple[Array, Callable[..., AvGradients]]:
    """`av`, and the function that takes gradients back through it.

    Parameters
    ----------
    pattern, weights, value, and the other keywords
        As in `av`. Arrays are kept, not copied: don't change them before the gradients are taken.

    Returns
    -------
    out
        As `av` returns it.
    pullback
        ``pullback(dout, wanted=None)`` gives `AvGradients`, of all that were given, or of those named in `wanted`.

    Raises
    ------
    ArgumentError, TypeError
        As `av` does; pullback, if the gradient has the wrong shape or dtype.

    Examples
    --------
    >>> import numpy, nearfield
    >>> value, mean = numpy.ones((1, 8, 8, 1, 4)), numpy.full((1, 8, 8, 1, 9), 1 / 9)
    >>> out, pullback = nearfield.numpy.vjp_av(nearfield.Neighborhood(3), mean, value)
    >>> pullback(numpy.ones_like(out)).weights[0, 0, 0, 0, :3].tolist()
    [4.0, 4.0, 4.0]
    """
    arrays = (weights, value, additional_values, key_mask)
    check_kind(NUMPY, arrays, AV_NAMES, 2)
    out = av(
        pattern,
        weights,
        value,
        key_mask=key_mask,
        additional_values=additional_values,
        engine=engine,
        isa=isa,
        num_threads=num_threads,
    )
    settings = settings_of(
        cached_words(pattern, weights.ndim - 3), None, 0.0, engine, isa, "auto", num_threads, "highest"
    )

    def pullback(dout: Array, wanted: Collection[str] | None = None) -> AvGradients:
        return _numpy.unfused.av_backward(dout, arrays, AV_NAMES, settings, _chosen(wanted, AvGradients._fields))

    return out, pullback


def _chosen(wanted: Collection[str] | None, names: Sequence[str]) -> tuple[bool, ...]:
    """For each gradient whether it is among the named ones; None names all."""
    if wanted is None:
        return (True,) * len(names)
    if isinstance(wanted, str) or not isinstance(wanted, Collection):
        raise TypeError(f"wanted={shown(wanted)}: must be names among {', '.join(names)}")
    for each in wanted:
        if each not in names:
            raise ArgumentError(f"wanted={shown(wanted)}: must be among {', '.join(names)}")
    return tuple(name in wanted for name in names)
