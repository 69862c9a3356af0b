"""Calls of the C ABI's unfused operators, packed as in _abi.py."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence

from nearfield._abi import Modifiers, Options, TensorWords, _pack, geometry_call
from nearfield._library import fail, lib


def modifiers_of(words: Mapping[str, TensorWords]) -> Modifiers:
    """Those of a call's tensors that are modifiers."""
    return Modifiers._make([*(words.get(name) for name in Modifiers._fields[:-1]), 0.0])


def weight_slots(pattern: Sequence[int], grid: Sequence[int]) -> tuple[int, ...]:
    """nf_weight_slots: a query's slots on each axis of the grid."""
    slots = (ctypes.c_int64 * len(grid))()
    geometry_call("nf_weight_slots", pattern, grid, ctypes.addressof(slots))
    return tuple(slots)


def qk(
    pattern: tuple[int, ...],
    query: TensorWords,
    key: TensorWords,
    weights: TensorWords,
    modifiers: Modifiers,
    options: Options,
) -> None:
    """nf_qk."""
    p = _pack(pattern, (query, key, weights), modifiers, options)
    q, k, w = p.tensors
    status = lib.nf_qk(p.pattern, q, k, p.modifiers, p.options, w)
    if status:
        fail(status)


def qk_backward(
    pattern: tuple[int, ...],
    inputs: Sequence[TensorWords],
    gradients: Sequence[TensorWords | None],
    modifiers: Modifiers,
    options: Options,
) -> None:
    """nf_qk_backward. inputs: query, key, dweights; gradients: of query, key, additional_keys, bias."""
    p = _pack(pattern, inputs, modifiers, options, gradients)
    q, k, dw = p.tensors
    status = lib.nf_qk_backward(p.pattern, q, k, p.modifiers, p.options, dw, p.more)
    if status:
        fail(status)


def av(
    pattern: tuple[int, ...],
    weights: TensorWords,
    value: TensorWords,
    out: TensorWords,
    modifiers: Modifiers,
    options: Options,
) -> None:
    """nf_av."""
    p = _pack(pattern, (weights, value, out), modifiers, options)
    w, v, o = p.tensors
    status = lib.nf_av(p.pattern, w, v, p.modifiers, p.options, o)
    if status:
        fail(status)


def av_backward(
    pattern: tuple[int, ...],
    inputs: Sequence[TensorWords],
    gradients: Sequence[TensorWords | None],
    modifiers: Modifiers,
    options: Options,
) -> None:
    """nf_av_backward. inputs: weights, value, dout; gradients: of weights, value, additional_values."""
    p = _pack(pattern, inputs, modifiers, options, gradients)
    w, v, do = p.tensors
    status = lib.nf_av_backward(p.pattern, w, v, p.modifiers, p.options, do, p.more)
    if status:
        fail(status)


def forward_weights(
    pattern: tuple[int, ...],
    inputs: Sequence[TensorWords],
    out: TensorWords,
    logsumexp: TensorWords,
    weights: TensorWords,
    modifiers: Modifiers,
    options: Options,
) -> None:
    """nf_forward_weights. inputs: query, key, value."""
    p = _pack(pattern, (*inputs, out, logsumexp, weights), modifiers, options)
    q, k, v, o, lse, w = p.tensors
    status = lib.nf_forward_weights(p.pattern, q, k, v, p.modifiers, p.options, o, lse, w)
    if status:
        fail(status)
