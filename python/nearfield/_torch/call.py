"""Calls of the library on tensors that lie in this process's memory: no autograd, no tracing."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nearfield import _abi
from nearfield._abi import TensorWords, tensor_words
from nearfield._errors import ArgumentError

DTYPES = {
    torch.float64: _abi.FLOAT64,
    torch.float32: _abi.FLOAT32,
    torch.bfloat16: _abi.BFLOAT16,
    torch.float16: _abi.FLOAT16,
    torch.bool: _abi.BOOL,
}

# isa, kernel, engine, num_threads (0: as many as torch uses)
OptionWords = tuple[int, int, int, int]


def words_of(name: str, tensor: Tensor) -> TensorWords:
    """The tensor as the C ABI takes it. Raises where it has no memory that the library could read."""
    dtype = DTYPES.get(tensor.dtype)
    if dtype is None:
        raise TypeError(wrong_dtype(name, tensor))
    if not tensor.is_cpu:
        raise ArgumentError(not_on_cpu(name, tensor))
    if tensor.layout is not torch.strided:
        raise TypeError(f"{name}: layout {tensor.layout}: must be strided; .to_dense() makes it so")
    sizes = tensor.shape
    if len(sizes) > _abi.MAX_DIMS:
        raise ArgumentError(f"{name}: shape {tuple(sizes)}: has more than {_abi.MAX_DIMS} dimensions")
    # An empty tensor may have any strides, those of numpy's are 0.
    return tensor_words(tensor.data_ptr(), dtype, sizes, tensor.stride() if tensor.numel() else (1,) * len(sizes))


def wrong_dtype(name: str, tensor: Tensor) -> str:
    """What to say of a tensor of integers, say."""
    return f"{name}: dtype {tensor.dtype}: must be float64, float32, bfloat16 or float16"


def not_on_cpu(name: str, tensor: Tensor) -> str:
    """What to say of a tensor on a device without an engine."""
    return (
        f"{name}: is on device {tensor.device}: this build of nearfield runs on the CPU only (nearfield.info() lists the "
        f"engines); move it with .cpu()"
    )


def readable(tensor: Tensor) -> Tensor:
    """The tensor itself if its channels are adjacent and its bits are its values, else a copy."""
    if tensor.is_neg():
        tensor = tensor.resolve_neg()
    if tensor.stride(-1) != 1 and tensor.size(-1) != 1 and tensor.layout is torch.strided:
        return tensor.contiguous()
    return tensor


def scalar_type(tensor: Tensor) -> torch.dtype:
    """Of logsumexp: float64 for float64, else float32."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def empty_out(query: Tensor, value: Tensor) -> Tensor:
    """Memory for out, laid out like the query where the query is dense."""
    if value.shape[-1] == query.shape[-1]:
        return torch.empty_like(query)
    return query.new_empty((*query.shape[:-1], value.shape[-1]))


# query, key, value, additional_keys, additional_values, key_mask, key_weights, bias: all that a call reads.
Tensors = tuple[
    Tensor, Tensor, Tensor, "Tensor | None", "Tensor | None", "Tensor | None", "Tensor | None", "Tensor | None"
]


class Settings(NamedTuple):
    """All of a call that is no tensor: the pattern's words, the scale (None: 1/sqrt(head_dim)), softcap, options."""

    pattern: tuple[int, ...]
    scale: float | None = None
    softcap: float = 0.0
    options: OptionWords = (0, 0, 0, 0)


def options_of(settings: Settings) -> _abi.Options:
    """Options of a call; threads are torch's unless given."""
    isa, kernel, engine, threads = settings.options
    return _abi.Options(settings.scale, engine, isa, kernel, threads or torch.get_num_threads())


def _modifiers(tensors: Tensors, softcap: float) -> tuple[_abi.Modifiers, object]:
    """The modifiers that are there, and what has to live as long as they are in use."""
    _, _, _, keys, values, mask, weights, bias = tensors
    if keys is None and values is None and mask is None and weights is None and bias is None:
        return (_abi.Modifiers(softcap=softcap) if softcap else _abi.NO_MODIFIERS), None
    keys = None if keys is None else readable(keys)
    values = None if values is None else readable(values)
    words = _abi.Modifiers(
        None if keys is None else words_of("additional_keys", keys),
        None if values is None else words_of("additional_values", values),
        None if mask is None else words_of("key_mask", mask),
        None if weights is None else words_of("key_weights", weights),
        None if bias is None else words_of("bias", bias),
        softcap,
    )
    return words, (keys, values)


class _Known(threading.local):
    """What this thread's earlier calls packed, by all that decides it, beside tensors like whose results are made. Small
    attentions come by the thousand with the same shapes, and packing costs more than the library's own work on them."""

    def __init__(self) -> None:
        self.calls: dict[object, tuple[_abi.PackedForward, Tensor | None, Tensor | None]] = {}


_known = _Known()
_MOST_KNOWN = 256


def forward(tensors: Tensors, settings: Settings, with_logsumexp: bool) -> tuple[Tensor, Tensor | None]:
    """out (batch, *grid, heads, head_dim_v) and, if asked for, logsumexp (batch, *grid, heads)."""
    query, key, value, a, b, c, d, e = tensors
    if a is None and b is None and c is None and d is None and e is None:
        return forward_unmodified(query, key, value, settings, with_logsumexp)
    return _forward(tensors, settings, with_logsumexp)


def forward_unmodified(
    query: Tensor, key: Tensor, value: Tensor, settings: Settings, with_logsumexp: bool
) -> tuple[Tensor, Tensor | None]:
    """The same without any modifier's tensor."""
    what = (
        settings,
        with_logsumexp,
        torch.get_num_threads(),
        query.dtype,
        query.shape,
        query.stride(),
        key.dtype,
        key.shape,
        key.stride(),
        value.dtype,
        value.shape,
        value.stride(),
    )
    known = _known.calls.get(what)
    if known is None or query.is_neg() or key.is_neg() or value.is_neg():
        return _forward((query, key, value, None, None, None, None, None), settings, with_logsumexp, what)
    packed, like_out, like_logsumexp = known
    out = torch.empty_like(query if like_out is None else like_out)
    if like_logsumexp is None:
        packed.run(query.data_ptr(), key.data_ptr(), value.data_ptr(), out.data_ptr(), 0)
        return out, None
    logsumexp = torch.empty_like(like_logsumexp)
    packed.run(query.data_ptr(), key.data_ptr(), value.data_ptr(), out.data_ptr(), logsumexp.data_ptr())
    return out, logsumexp


def _like(tensor: Tensor) -> Tensor:
    """A tensor of one element that empty_like takes for a dense one of this shape."""
    return torch.empty(1, dtype=tensor.dtype).expand(tensor.shape)


def _forward(
    tensors: Tensors, settings: Settings, with_logsumexp: bool, remember: object = None
) -> tuple[Tensor, Tensor | None]:
    query, key, value = readable(tensors[0]), readable(tensors[1]), readable(tensors[2])
    modifiers, alive = _modifiers(tensors, settings.softcap)
    words = (words_of("query", query), words_of("key", key), words_of("value", value))
    out = empty_out(query, value)
    logsumexp = torch.empty(query.shape[:-1], dtype=scalar_type(query)) if with_logsumexp else None
    rest = (
        words_of("out", out),
        None if logsumexp is None else words_of("logsumexp", logsumexp),
        modifiers,
        options_of(settings),
    )
    _abi.forward(settings.pattern, *words, *rest)
    del alive
    if remember is not None and query is tensors[0] and key is tensors[1] and value is tensors[2]:
        if len(_known.calls) >= _MOST_KNOWN:
            _known.calls.clear()
        like_out = None if value.shape[-1] == query.shape[-1] else _like(out)
        like_logsumexp = None if logsumexp is None else _like(logsumexp)
        _known.calls[remember] = (_abi.PackedForward(settings.pattern, words, *rest), like_out, like_logsumexp)
    return out, logsumexp


# Gradients in the order of the C ABI.
GRADIENTS = ("query", "key", "value", "additional_keys", "additional_values", "key_weights", "bias")


def sources_of(tensors: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    """The tensors that have a gradient, in the order of GRADIENTS: all but the mask."""
    return (*tensors[:5], *tensors[6:])


def backward(
    dout: Tensor,
    dlogsumexp: Tensor | None,
    out: Tensor,
    logsumexp: Tensor,
    tensors: Tensors,
    settings: Settings,
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """The gradients named in GRADIENTS, None where not `wanted`."""
    query, key, value = readable(tensors[0]), readable(tensors[1]), readable(tensors[2])
    out, dout = readable(out), readable(dout)
    modifiers, alive = _modifiers(tensors, settings.softcap)
    sources = (query, key, value, *sources_of(tensors)[3:])
    gradients = [
        torch.empty_like(source) if want and source is not None else None
        for source, want in zip(sources, wanted, strict=True)
    ]
    _abi.backward(
        settings.pattern,
        (
            words_of("query", query),
            words_of("key", key),
            words_of("value", value),
            words_of("out", out),
            words_of("logsumexp", logsumexp),
            words_of("dout", dout),
            None if dlogsumexp is None else words_of("dlogsumexp", dlogsumexp),
        ),
        [None if each is None else words_of("gradients", each) for each in gradients],
        modifiers,
        options_of(settings),
    )
    del alive
    return gradients
