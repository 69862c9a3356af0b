"""NATTEN's dense attention, with and without a length for each sequence, and the merging of attentions.

Dense attention of a sequence to itself is neighborhood attention whose window is the sequence; to another sequence, it is
attention to additional tokens alone. So both give a logsumexp that gradients flow through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nearfield._errors import ArgumentError
from nearfield._faces import NAMES, TORCH, check_kind
from nearfield._values import flag, shown
from nearfield.compat.natten import _hints
from nearfield.compat.natten._binding import Release, bind
from nearfield.functional import na1d
from nearfield.merging import merge, parts_of

_LENGTHS = ("seqlens_Q", "seqlens_KV", "cumulative_seqlen_Q", "cumulative_seqlen_KV", "max_seqlen_Q", "max_seqlen_KV")
_SINCE_020 = ("scale", "backend", *_hints.TILE_SIZES, *_hints.REST, "return_lse")
_RELEASES = (
    Release("0.21.5", ("is_causal", "scale", *_LENGTHS, *_SINCE_020[1:])),
    Release("0.20", _SINCE_020),
)
_MOST_PARTS = 16  # that nearfield.merge takes at once


def attention(query: Tensor, key: Tensor, value: Tensor, *positional: Any, **keywords: Any) -> Any:
    """Dense attention, as NATTEN 0.20 and 0.21 call it.

    Parameters
    ----------
    query, key, value
        (batch, length, heads, head_dim), (batch, length_kv, heads_kv, head_dim), (batch, length_kv, heads_kv,
        head_dim_v); heads is a multiple of heads_kv.
    is_causal
        Whether query i sees only keys 0 to i.
    scale
        Factor of the logits; None is 1/sqrt(head_dim), 0 is 0.
    seqlens_Q, seqlens_KV
        (sequences) integers: the tensors hold sequences of these lengths one after another, and batch is 1. Each sequence
        of queries sees the sequence of keys of its number. The lengths are read when called.
    cumulative_seqlen_Q, cumulative_seqlen_KV, max_seqlen_Q, max_seqlen_KV
        The same as (sequences + 1) offsets from 0; the largest lengths are not needed.
    return_lse
        Whether to return the logsumexp, too.
    backend and other choices of kernels
        Accepted without effect, with one warning.

    Returns
    -------
    out, or (out, logsumexp) if `return_lse`
        (batch, length, heads, head_dim_v) and (batch, length, heads) in float32, in float64 for float64. A query that
        sees no key has out 0 and logsumexp -inf.

    Raises
    ------
    ArgumentError
        (a ValueError) An argument breaks a rule.
    TypeError
        No release takes these arguments.
    """
    _, given = bind("attention", _RELEASES, positional, keywords)
    _hints.accept(given, _hints.FMHA)
    _check(query, key, value)
    is_causal, scale = given.get("is_causal", False), given.get("scale")
    is_causal = flag("is_causal", is_causal)
    pieces = _pieces(query, key, given)
    if pieces is None:
        out, lse = _dense(query, key, value, is_causal, scale)
    else:
        found = [_dense(query[:, q], key[:, kv], value[:, kv], is_causal, scale) for q, kv in pieces]
        out, lse = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
    return (out, lse) if given.get("return_lse") else out


def _dense(query: Tensor, key: Tensor, value: Tensor, is_causal: bool, scale: float | None) -> tuple[Tensor, Tensor]:
    length, length_kv = query.shape[1], key.shape[1]
    if is_causal and length_kv > length:
        key, value, length_kv = key[:, :length], value[:, :length], length
    if length == length_kv:
        result: tuple[Tensor, Tensor] = na1d(
            query, key, value, max(length, 1), is_causal=is_causal, scale=scale, return_lse=True
        )
        return result
    mask = torch.arange(length, device=key.device).expand(key.shape[0], -1) < length_kv
    if is_causal:  # there are more queries than keys
        more = (0, 0, 0, 0, 0, length - length_kv)
        key, value = (torch.nn.functional.pad(each, more) for each in (key, value))
        result = na1d(query, key, value, length, is_causal=True, scale=scale, key_mask=mask, return_lse=True)
        return result
    # Neighbours that nobody sees, in no memory.
    no_key, no_value = (
        each.new_zeros(each.shape[-1]).expand(query.shape[0], length, *each.shape[2:]) for each in (key, value)
    )
    result = na1d(
        query,
        no_key,
        no_value,
        1,
        scale=scale,
        key_mask=torch.zeros_like(mask),
        additional_keys=key,
        additional_values=value,
        return_lse=True,
    )
    return result


def _check(query: Tensor, key: Tensor, value: Tensor) -> None:
    check_kind(TORCH, (query, key, value), NAMES[:3])
    for name, each in (("query", query), ("key", key), ("value", value)):
        if each.dim() != 4:
            raise ArgumentError(f"{name}: shape {tuple(each.shape)}: must be (batch, length, heads, channels)")
    shapes = f"key: shape {tuple(key.shape)}: with query's {tuple(query.shape)} and value's {tuple(value.shape)}:"
    if not query.shape[0] == key.shape[0] == value.shape[0]:
        raise ArgumentError(f"{shapes} batch must be one size")
    if query.shape[3] != key.shape[3]:
        raise ArgumentError(f"{shapes} query and key must have as many channels")
    if key.shape[1:3] != value.shape[1:3]:
        raise ArgumentError(f"{shapes} key and value must have one length and as many heads")


def _pieces(query: Tensor, key: Tensor, given: Mapping[str, Any]) -> list[tuple[slice, slice]] | None:
    """Where each sequence lies in query and in key, or None if each row of the batch is one."""
    present = [name for name in _LENGTHS if given.get(name) is not None]
    if all(isinstance(given[name], int) and not given[name] for name in present):
        return None  # largest lengths of 0 alone are no lengths
    for pair in (_LENGTHS[:2], _LENGTHS[2:4]):
        if all(name in present for name in pair):
            break
    else:
        raise ArgumentError(f"{', '.join(present)}: must come as a pair: seqlens_* or cumulative_seqlen_*, _Q and _KV")
    if query.shape[0] != 1:
        raise ArgumentError(f"query: shape {tuple(query.shape)}: batch must be 1 where {pair[0]} is given")
    queries, keys = (_slices(name, given[name], each.shape[1]) for name, each in zip(pair, (query, key), strict=True))
    if len(queries) != len(keys):
        raise ArgumentError(f"{pair[1]}: has {len(keys)} sequences: must have as many as {pair[0]}: {len(queries)}")
    return list(zip(queries, keys, strict=True))


def _slices(name: str, lengths: Any, total: int) -> list[slice]:
    """Where each sequence lies among `total` tokens, from lengths or from offsets."""
    if not isinstance(lengths, Tensor) or lengths.dim() != 1 or lengths.is_floating_point():
        raise ArgumentError(f"{name}={shown(lengths)}: must be a tensor of integers with one dimension")
    offsets = lengths.tolist()
    if name.startswith("seqlens"):
        offsets = [0, *lengths.cumsum(0).tolist()]
    if len(offsets) < 2:
        raise ArgumentError(f"{name}: has {lengths.numel()} values: must be of at least one sequence")
    if offsets[0] != 0 or offsets[-1] != total or sorted(offsets) != offsets:
        raise ArgumentError(f"{name}: offsets {offsets}: must ascend from 0 to the number of tokens, {total}")
    return [slice(start, end) for start, end in zip(offsets[:-1], offsets[1:], strict=True)]


def merge_attentions(
    outputs: Sequence[Tensor],
    lse_tensors: Sequence[Tensor],
    torch_compile: bool = True,
    use_autograd_fix: bool = True,
) -> tuple[Tensor, Tensor]:
    """One softmax of several attentions of the same queries, as NATTEN 0.21.5 returns it (earlier ones: `out` alone).

    Parameters
    ----------
    outputs
        At least two of (batch, length, heads, head_dim).
    lse_tensors
        Their logsumexp (batch, length, heads).
    torch_compile, use_autograd_fix
        Accepted without effect: one call of the library merges, and its gradients are exact.

    Returns
    -------
    out, logsumexp
        In the type of the outputs, and in float32 (float64 for float64).

    Raises
    ------
    ArgumentError
        (a ValueError) There are fewer than two, or shapes or types differ.
    """
    outs, lses = parts_of("outputs", outputs), parts_of("lse_tensors", lse_tensors)
    if len(outs) < 2:
        raise ArgumentError(f"outputs: has {len(outs)} parts: must have at least 2")
    if len(lses) != len(outs):
        raise ArgumentError(f"lse_tensors: has {len(lses)} parts: must have as many as outputs, which has {len(outs)}")
    for name, parts in (("outputs", outs), ("lse_tensors", lses)):
        check_kind(TORCH, parts, [f"{name}[{i}]" for i in range(len(parts))], len(parts))
    kind = torch.float64 if outs[0].dtype == torch.float64 else torch.float32
    lses = [each.to(kind) for each in lses]
    out, lse = merge(outs[:_MOST_PARTS], lses[:_MOST_PARTS])
    for i in range(_MOST_PARTS, len(outs), _MOST_PARTS - 1):
        end = i + _MOST_PARTS - 1
        out, lse = merge([out, *outs[i:end]], [lse, *lses[i:end]])
    return out, lse
