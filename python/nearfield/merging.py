"""One softmax out of several attentions of the same queries over different keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nearfield._errors import ArgumentError
from nearfield.functional import face_of

_MOST = 16


def merge(outs: Sequence[Any], logsumexps: Sequence[Any]) -> tuple[Any, Any]:
    """The one softmax over the keys of all parts: neighbours here, a text there, memories elsewhere.

    logsumexp = ln(sum_i exp(lse_i)), out = sum_i exp(lse_i - logsumexp) out_i. Differentiable in torch and JAX.

    Parameters
    ----------
    outs
        1 to 16 results (batch, *grid, heads, head_dim_v) of attention of the same queries.
    logsumexps
        Their logsumexp (batch, *grid, heads), as `return_lse=True` gives them. A part of -inf counts for nothing.

    Returns
    -------
    out, logsumexp
        Of the shapes and dtypes of the parts.

    Raises
    ------
    ArgumentError
        There are no parts, more than 16, or their shapes differ.

    Examples
    --------
    >>> import numpy
    >>> out, lse = numpy.ones((1, 4, 1, 2), "float32"), numpy.zeros((1, 4, 1), "float32")
    >>> merge([out, 3 * out], [lse, lse])[0][0, 0, 0]
    array([2., 2.], dtype=float32)
    """
    outs, logsumexps = list(outs), list(logsumexps)
    if len(outs) != len(logsumexps):
        raise ArgumentError(
            f"logsumexps: has {len(logsumexps)} parts: must have as many as outs, which has {len(outs)}"
        )
    if not 1 <= len(outs) <= _MOST:
        raise ArgumentError(f"outs: has {len(outs)} parts: must have 1 to {_MOST}")
    return face_of(outs[0]).merge(outs, logsumexps)  # type: ignore[no-any-return]
