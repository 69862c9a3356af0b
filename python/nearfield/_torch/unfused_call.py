"""Calls of the unfused operators on tensors that lie in this process's memory: no autograd, no tracing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nearfield import _abi, _abi_unfused, _weights
from nearfield._options import OptionWords, Settings
from nearfield._torch import call as direct

Words = Sequence[int]  # of a pattern
_DTYPES = {number: dtype for dtype, number in direct.DTYPES.items()}


def laid_out_like(tensor: Tensor, channels: int, dtype: torch.dtype) -> Tensor:
    """Memory for (batch, *grid, heads, channels): heads first where the tensor (batch, *grid, heads, ...) has them so,
    as it came from (batch, heads, *grid, ...)."""
    heads_first = tensor.movedim(-2, 1)
    if heads_first.is_contiguous():
        return tensor.new_empty((*heads_first.shape[:-1], channels), dtype=dtype).movedim(1, -2)
    return tensor.new_empty((*tensor.shape[:-1], channels), dtype=dtype)


def _read(**tensors: Tensor | None) -> dict[str, Tensor]:
    """Those that are there, or the copies that the library reads in their place, which have to live until it has."""
    return {name: direct.as_read(name, each) for name, each in tensors.items() if each is not None}


def _abi_options(pattern: Words, scale: float | None, options: Sequence[int]) -> _abi.Options:
    isa, kernel, engine, threads = options
    words: OptionWords = (isa, kernel, engine, threads)
    return Settings(tuple(pattern), scale, 0.0, words).abi(torch.get_num_threads())


def _given(read: dict[str, Tensor]) -> _abi.Modifiers:
    names = ("additional_keys", "additional_values", "key_mask", "bias")
    return _abi_unfused.modifiers_of({name: direct.words_of(name, read[name]) for name in names if name in read})


def _weights_for(query: Tensor, additional_keys: Tensor | None, pattern: Words, wide: bool) -> Tensor:
    number = direct.DTYPES.get(query.dtype)
    if number is None or not _abi.is_dtype_of("query", number):
        raise _abi.wrong_dtype("query", query.dtype)
    number = _weights.accumulator(number) if wide else number
    more = None if additional_keys is None else additional_keys.shape
    shape = _weights.shape_of(pattern, query.shape, more, number)
    return laid_out_like(query, shape[-1], _DTYPES[number])


def qk(
    query: Tensor,
    key: Tensor,
    additional_keys: Tensor | None,
    key_mask: Tensor | None,
    bias: Tensor | None,
    pattern: Words,
    scale: float | None,
    wide: bool,
    options: Sequence[int],
) -> Tensor:
    """nf_qk: (batch, *grid, heads, slots + M) of the query's dtype, or of logsumexp's if `wide`."""
    read = _read(query=query, key=key, additional_keys=additional_keys, key_mask=key_mask, bias=bias)
    words = {name: direct.words_of(name, read[name]) for name in ("query", "key")}
    weights = _weights_for(read["query"], additional_keys, pattern, wide)
    _abi_unfused.qk(
        tuple(pattern),
        words["query"],
        words["key"],
        direct.words_of("weights", weights),
        _given(read),
        _abi_options(pattern, scale, options),
    )
    return weights


def _targets(sources: Sequence[Tensor | None], wanted: Sequence[bool]) -> list[Tensor | None]:
    return [
        direct.empty_as(source) if want and source is not None else None
        for source, want in zip(sources, wanted, strict=True)
    ]


def _or_empty(targets: Sequence[Tensor | None], like: Tensor) -> tuple[Tensor, ...]:
    return tuple(like.new_empty(0) if each is None else each for each in targets)


def qk_backward(
    dweights: Tensor,
    query: Tensor,
    key: Tensor,
    additional_keys: Tensor | None,
    key_mask: Tensor | None,
    bias: Tensor | None,
    wanted: Sequence[bool],
    pattern: Words,
    scale: float | None,
    options: Sequence[int],
) -> tuple[Tensor, ...]:
    """nf_qk_backward: gradients of query, key, additional_keys, bias, empty where not wanted."""
    read = _read(dweights=dweights, query=query, key=key, additional_keys=additional_keys, key_mask=key_mask, bias=bias)
    names = ("query", "key", "additional_keys", "bias")
    targets = _targets([read.get(name) for name in names], wanted)
    _abi_unfused.qk_backward(
        tuple(pattern),
        [direct.words_of(name, read[name]) for name in ("query", "key", "dweights")],
        [None if each is None else direct.words_of("gradients", each) for each in targets],
        _given(read),
        _abi_options(pattern, scale, options),
    )
    return _or_empty(targets, query)


def av(
    weights: Tensor,
    value: Tensor,
    additional_values: Tensor | None,
    key_mask: Tensor | None,
    pattern: Words,
    options: Sequence[int],
) -> Tensor:
    """nf_av: (batch, *grid, heads, head_dim_v) of the value's dtype."""
    read = _read(weights=weights, value=value, additional_values=additional_values, key_mask=key_mask)
    words = {name: direct.words_of(name, read[name]) for name in ("weights", "value")}
    out = laid_out_like(read["weights"], value.shape[-1], value.dtype)
    _abi_unfused.av(
        tuple(pattern),
        words["weights"],
        words["value"],
        direct.words_of("out", out),
        _given(read),
        _abi_options(pattern, None, options),
    )
    return out


def av_backward(
    dout: Tensor,
    weights: Tensor,
    value: Tensor,
    additional_values: Tensor | None,
    key_mask: Tensor | None,
    wanted: Sequence[bool],
    pattern: Words,
    options: Sequence[int],
) -> tuple[Tensor, ...]:
    """nf_av_backward: gradients of weights, value, additional_values, empty where not wanted."""
    read = _read(dout=dout, weights=weights, value=value, additional_values=additional_values, key_mask=key_mask)
    names = ("weights", "value", "additional_values")
    targets = _targets([read.get(name) for name in names], wanted)
    _abi_unfused.av_backward(
        tuple(pattern),
        [direct.words_of(name, read[name]) for name in ("weights", "value", "dout")],
        [None if each is None else direct.words_of("gradients", each) for each in targets],
        _given(read),
        _abi_options(pattern, None, options),
    )
    return _or_empty(targets, value)


def attention_weights(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    additional_keys: Tensor | None,
    additional_values: Tensor | None,
    key_mask: Tensor | None,
    bias: Tensor | None,
    pattern: Words,
    scale: float | None,
    options: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor]:
    """nf_forward_weights: out, logsumexp and the weights, these of logsumexp's dtype."""
    read = _read(
        query=query,
        key=key,
        value=value,
        additional_keys=additional_keys,
        additional_values=additional_values,
        key_mask=key_mask,
        bias=bias,
    )
    words = [direct.words_of(name, read[name]) for name in ("query", "key", "value")]
    weights = _weights_for(read["query"], additional_keys, pattern, wide=True)
    out = direct.empty_out(read["query"], value)
    logsumexp = torch.empty(query.shape[:-1], dtype=direct.scalar_type(query))
    _abi_unfused.forward_weights(
        tuple(pattern),
        words,
        direct.words_of("out", out),
        direct.words_of("logsumexp", logsumexp),
        direct.words_of("weights", weights),
        _given(read),
        _abi_options(pattern, scale, options),
    )
    return out, logsumexp, weights
