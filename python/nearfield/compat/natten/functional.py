"""NATTEN's functions. Fused ones take heads last, (batch, *grid, heads, head_dim), and scale by 1/sqrt(head_dim); unfused
ones take heads first, (batch, heads, *grid, head_dim), and do not scale."""

from __future__ import annotations

from typing import Any

from torch import Tensor

import nearfield.functional as nearfield
from nearfield._faces import TORCH, check_kind
from nearfield.compat.natten import _hints
from nearfield.compat.natten._binding import Release, bind
from nearfield.compat.natten._dense import attention, merge_attentions
from nearfield.compat.natten._fits import bias_of, check_fits
from nearfield.compat.natten._unfused import (
    na1d_av,
    na1d_qk,
    na1d_qk_with_bias,
    na2d_av,
    na2d_qk,
    na2d_qk_with_bias,
    na3d_av,
    na3d_qk,
    na3d_qk_with_bias,
    natten1dav,
    natten1dqk,
    natten1dqkrpb,
    natten2dav,
    natten2dqk,
    natten2dqkrpb,
    natten3dav,
    natten3dqk,
    natten3dqkrpb,
)
from nearfield.patterns import Neighborhood

__all__ = [
    "attention",
    "merge_attentions",
    "na1d",
    "na1d_av",
    "na1d_qk",
    "na1d_qk_with_bias",
    "na2d",
    "na2d_av",
    "na2d_qk",
    "na2d_qk_with_bias",
    "na3d",
    "na3d_av",
    "na3d_qk",
    "na3d_qk_with_bias",
    "natten1dav",
    "natten1dqk",
    "natten1dqkrpb",
    "natten2dav",
    "natten2dqk",
    "natten2dqkrpb",
    "natten3dav",
    "natten3dqk",
    "natten3dqkrpb",
]

_SINCE_020 = (
    *("stride", "dilation", "is_causal", "scale", "additional_keys", "additional_values", "attention_kwargs"),
    *("backend", *_hints.TILE_SHAPES, *_hints.REST),
)
_RELEASES = (
    Release("0.21.5", (*_SINCE_020, "return_lse")),
    Release("0.20", (*_SINCE_020, "try_fuse_additional_kv")),
    Release(
        "0.17",
        ("dilation", "is_causal", "rpb", "scale", "additional_keys", "additional_values", "xformers_kwargs"),
    ),
)
_ATTEND = {1: nearfield.na1d, 2: nearfield.na2d, 3: nearfield.na3d}


def na1d(query: Tensor, key: Tensor, value: Tensor, kernel_size: Any, *positional: Any, **keywords: Any) -> Any:
    """Neighborhood attention over a sequence, as NATTEN 0.17 to 0.21 call it.

    Parameters
    ----------
    query, key, value
        (batch, length, heads, head_dim); value's channels may differ in number, and key and value may have fewer heads.
    kernel_size, stride, dilation, is_causal
        Integers or booleans, or sequences with one for each axis. kernel_size * dilation is at most the length.
    scale
        Factor of the logits; None is 1/sqrt(head_dim), 0 is 0.
    rpb
        (heads, 2*kernel_size-1 per axis): relative position bias, as in NATTEN 0.17, also causal and with gradient.
    additional_keys, additional_values
        (batch, M, heads, head_dim): tokens that every query sees in the same softmax.
    return_lse
        Whether to return the logsumexp, too.
    backend, tile shapes and other choices of kernels, attention_kwargs, xformers_kwargs
        Accepted without effect, with one warning.

    Returns
    -------
    out, or (out, logsumexp) if `return_lse`
        (batch, length, heads, head_dim_v) and (batch, length, heads) in float32, in float64 for float64.

    Raises
    ------
    ArgumentError
        (a ValueError) An argument breaks a rule, or a positional argument means different things to different releases.
    TypeError
        No release takes these arguments.
    """
    return _neighborhood(1, query, key, value, kernel_size, positional, keywords)


def na2d(query: Tensor, key: Tensor, value: Tensor, kernel_size: Any, *positional: Any, **keywords: Any) -> Any:
    """Neighborhood attention over an image (batch, height, width, heads, head_dim); all else as in `na1d`."""
    return _neighborhood(2, query, key, value, kernel_size, positional, keywords)


def na3d(query: Tensor, key: Tensor, value: Tensor, kernel_size: Any, *positional: Any, **keywords: Any) -> Any:
    """Neighborhood attention over a video (batch, depth, height, width, heads, head_dim); all else as in `na1d`."""
    return _neighborhood(3, query, key, value, kernel_size, positional, keywords)


def _neighborhood(
    rank: int,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: Any,
    positional: tuple[Any, ...],
    keywords: dict[str, Any],
) -> Any:
    _, given = bind(f"na{rank}d", _RELEASES, positional, keywords)
    names = ("query", "key", "value", "additional_keys", "additional_values", "rpb")
    check_kind(TORCH, (query, key, value, *(given.get(name) for name in names[3:])), names)
    _hints.accept(given, _hints.FNA)
    _hints.accept_attention_options(given.get("attention_kwargs"))
    if given.get("xformers_kwargs"):
        _hints.warn_once("xformers", "xformers_kwargs: has no effect: nearfield calls no xformers")
    window: dict[str, Any] = {}
    for name in ("stride", "dilation", "is_causal"):
        if given.get(name) is not None:
            window[name] = given[name]
    if query.dim() == rank + 3:
        check_fits(Neighborhood(kernel_size, **window), query.shape[1:-2])
    return _ATTEND[rank](
        query,
        key,
        value,
        kernel_size,
        **window,
        scale=given.get("scale"),
        additional_keys=given.get("additional_keys"),
        additional_values=given.get("additional_values"),
        return_lse=bool(given.get("return_lse", False)),
        bias=bias_of(given.get("rpb"), query),
    )
