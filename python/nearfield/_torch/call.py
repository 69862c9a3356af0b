"""Calls of the library on tensors that lie in this process's memory: no autograd, no tracing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nearfield import _abi
from nearfield._abi import TensorWords, tensor_words
from nearfield._errors import ArgumentError
from nearfield._faces import NAMES
from nearfield._options import Settings

DTYPES = {
    torch.float64: _abi.FLOAT64,
    torch.float32: _abi.FLOAT32,
    torch.bfloat16: _abi.BFLOAT16,
    torch.float16: _abi.FLOAT16,
    torch.bool: _abi.BOOL,
}


def words_of(name: str, tensor: Tensor) -> TensorWords:
    """The tensor as the C ABI takes it. Raises where it has no memory that the library could read."""
    if not tensor.is_cpu:
        raise ArgumentError(not_on_cpu(name, tensor))
    return shape_words(name, tensor, tensor.data_ptr)


def shape_words(name: str, tensor: Tensor, address: Callable[[], int]) -> TensorWords:
    """The same with another address; the tensor itself may lie anywhere."""
    dtype = DTYPES.get(tensor.dtype)
    if dtype is None or not _abi.is_dtype_of(name, dtype):
        raise _abi.wrong_dtype(name, tensor.dtype)
    if tensor.layout is not torch.strided:
        raise wrong_layout(name, tensor)
    # An empty tensor may have any strides, those of numpy's are 0.
    strides = tensor.stride() if tensor.numel() else (1,) * tensor.dim()
    return tensor_words(name, address(), dtype, tensor.shape, strides)


def wrong_layout(name: str, tensor: Tensor) -> TypeError:
    """What to raise of a sparse tensor, say."""
    if tensor.is_nested:
        return TypeError(f"{name}: is nested: must be a dense tensor, padded where a key_mask hides it")
    return TypeError(f"{name}: layout {tensor.layout}: must be strided; .to_dense() makes it so")


def not_on_cpu(name: str, tensor: Tensor) -> str:
    """What to say of a tensor on a device without an engine."""
    return (
        f"{name}: is on device {tensor.device}: this build of nearfield runs on the CPU only (nearfield.info() lists the "
        f"engines); move it with .cpu()"
    )


def plain(tensor: Tensor) -> Tensor:
    """The tensor itself if its bits are its values, else a copy: torch may negate when elements are read (is_neg)."""
    return tensor.resolve_neg() if tensor.is_neg() else tensor


def readable(tensor: Tensor) -> Tensor:
    """The tensor itself if its bits are its values and its channels are adjacent, else a copy."""
    tensor = plain(tensor)
    return tensor.contiguous() if _is_scattered(tensor) else tensor


def _is_scattered(tensor: Tensor) -> bool:
    if tensor.layout is not torch.strided or not tensor.dim():
        return False
    return tensor.stride(-1) != 1 and tensor.size(-1) != 1


# Of these tensors any axis may have any stride; of the others the channels are adjacent.
_WITHOUT_CHANNELS = ("key_mask", "key_weights", "bias")


def copied(name: str, tensor: Tensor) -> str | None:
    """Why the library can't read the tensor where it lies, or None."""
    if tensor.is_neg():
        return "its elements are negated when they are read (Tensor.is_neg)"
    if name not in _WITHOUT_CHANNELS and _is_scattered(tensor):
        return "its channels are not adjacent in memory"
    return None


def as_read(name: str, tensor: Tensor) -> Tensor:
    """The tensor called `name`, or the copy that the library reads in its place."""
    if tensor.is_nested:
        raise wrong_layout(name, tensor)
    return plain(tensor) if name in _WITHOUT_CHANNELS else readable(tensor)


def scalar_type(tensor: Tensor) -> torch.dtype:
    """Of logsumexp: float64 for float64, else float32."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def empty_as(tensor: Tensor) -> Tensor:
    """Memory for something like the tensor, laid out like it where that is dense; its channels are adjacent."""
    made = torch.empty_like(tensor)
    # Of overlapping views, whose channels are not alone in having stride 1, torch may take another axis for the innermost.
    return torch.empty_like(tensor, memory_format=torch.contiguous_format) if _is_scattered(made) else made


def empty_out(query: Tensor, value: Tensor) -> Tensor:
    """Memory for out, laid out like the query, which is readable, where that is dense."""
    if not value.dim():
        raise ArgumentError("value: shape (): must be (batch, *grid, heads_kv, head_dim_v)")
    if value.shape[-1] == query.shape[-1]:
        return empty_as(query)
    return query.new_empty((*query.shape[:-1], value.shape[-1]))


# query, key, value, additional_keys, additional_values, key_mask, key_weights, bias: all that a call reads.
Tensors = tuple[
    Tensor, Tensor, Tensor, "Tensor | None", "Tensor | None", "Tensor | None", "Tensor | None", "Tensor | None"
]


def as_read_all(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The tensors of a call, or the copies that the library reads in their place."""
    return [None if each is None else as_read(name, each) for name, each in zip(NAMES, tensors, strict=True)]


def _modifiers(read: Sequence[Tensor | None], softcap: float) -> _abi.Modifiers:
    """The modifiers that are there, of tensors as they are read."""
    _, _, _, a, b, c, d, e = read
    if a is None and b is None and c is None and d is None and e is None:
        return _abi.Modifiers(softcap=softcap) if softcap else _abi.NO_MODIFIERS
    words = [None if each is None else words_of(name, each) for name, each in zip(NAMES[3:], read[3:], strict=True)]
    return _abi.Modifiers._make([*words, softcap])


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
    try:
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
    except RuntimeError:  # a sparse or nested tensor has no strides; this refuses it
        return _forward((query, key, value, None, None, None, None, None), settings, with_logsumexp)
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
    read = as_read_all(tensors)  # copies have to live as long as they are in use
    query, key, value = read[:3]
    assert query is not None and key is not None and value is not None
    modifiers = _modifiers(read, settings.softcap)
    words = (words_of("query", query), words_of("key", key), words_of("value", value))
    out = empty_out(query, value)
    logsumexp = torch.empty(query.shape[:-1], dtype=scalar_type(query)) if with_logsumexp else None
    rest = (
        words_of("out", out),
        None if logsumexp is None else words_of("logsumexp", logsumexp),
        modifiers,
        settings.abi(torch.get_num_threads()),
    )
    _abi.forward(settings.pattern, *words, rest[0], rest[1], rest[2], rest[3])
    if remember is not None and query is tensors[0] and key is tensors[1] and value is tensors[2]:
        if len(_known.calls) >= _MOST_KNOWN:
            _known.calls.clear()
        like = torch.empty_like(query)
        like_out = None if (like.shape, like.stride()) == (out.shape, out.stride()) else _like(out)
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
    read = as_read_all(tensors)  # copies have to live as long as they are in use
    query, key, value = read[:3]
    assert query is not None and key is not None and value is not None
    out, dout, logsumexp = readable(out), readable(dout), plain(logsumexp)
    dlogsumexp = None if dlogsumexp is None else plain(dlogsumexp)
    gradients = [
        empty_as(source) if want and source is not None else None
        for source, want in zip(sources_of(read), wanted, strict=True)
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
        _modifiers(read, settings.softcap),
        settings.abi(torch.get_num_threads()),
    )
    return gradients
