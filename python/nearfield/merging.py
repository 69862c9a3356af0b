"""One softmax out of several attentions of the same queries over different keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nearfield import _abi
from nearfield._errors import ArgumentError
from nearfield._faces import face_of
from nearfield._values import shown

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
    TypeError
        A part is no array, or not of the first one's kind.

    Examples
    --------
    >>> import numpy
    >>> out, lse = numpy.ones((1, 4, 1, 2), "float32"), numpy.zeros((1, 4, 1), "float32")
    >>> merge([out, 3 * out], [lse, lse])[0][0, 0, 0]
    array([2., 2.], dtype=float32)
    """
    outs, logsumexps = parts_of("outs", outs), parts_of("logsumexps", logsumexps)
    if len(outs) != len(logsumexps):
        raise ArgumentError(
            f"logsumexps: has {len(logsumexps)} parts: must have as many as outs, which has {len(outs)}"
        )
    if not 1 <= len(outs) <= _MOST:
        raise ArgumentError(f"outs: has {len(outs)} parts: must have 1 to {_MOST}")
    names = [f"{name}[{i}]" for name in ("outs", "logsumexps") for i in range(len(outs))]
    face = face_of((*outs, *logsumexps), names, len(names))
    _check(face, outs, logsumexps)
    return face.merge(outs, logsumexps)  # type: ignore[no-any-return]


def parts_of(name: str, parts: Any) -> list[Any]:
    """The parts as a list."""
    try:
        return list(parts)
    except TypeError:
        raise TypeError(f"{name}={shown(parts)}: must be a sequence of arrays") from None


def _check(face: Any, outs: list[Any], logsumexps: list[Any]) -> None:
    """Shapes and dtypes: all alike."""
    for name, parts in (("outs", outs), ("logsumexps", logsumexps)):
        first = parts[0]
        for i, part in enumerate(parts):
            if part.shape != first.shape:
                raise ArgumentError(
                    f"{name}[{i}]: shape {tuple(part.shape)}: must be {tuple(first.shape)}, as {name}[0] has"
                )
            if face.dtype_of(part) != face.dtype_of(first):
                raise ArgumentError(f"{name}[{i}]: dtype {part.dtype}: must be {first.dtype}, as {name}[0] has")
    out, logsumexp = outs[0], logsumexps[0]
    if not 4 <= out.ndim <= 6:
        raise ArgumentError(
            f"outs[0]: shape {tuple(out.shape)}: must be (batch, *grid, heads, head_dim_v) with 1 to 3 grid axes"
        )
    if logsumexp.shape != out.shape[:-1]:
        raise ArgumentError(
            f"logsumexps[0]: shape {tuple(logsumexp.shape)}: must be {tuple(out.shape[:-1])}: outs[0] without its channels"
        )
    if not _abi.is_dtype_of("outs", face.dtype_of(out)):
        raise _abi.wrong_dtype("outs[0]", out.dtype)
    number, wanted = (_abi.FLOAT64, "float64") if face.dtype_of(out) == _abi.FLOAT64 else (_abi.FLOAT32, "float32")
    if face.dtype_of(logsumexp) != number:
        raise ArgumentError(f"logsumexps[0]: dtype {logsumexp.dtype}: must be {wanted} where outs are {out.dtype}")
