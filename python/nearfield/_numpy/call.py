"""Calls of the library on numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfield import _abi
from nearfield._errors import ArgumentError
from nearfield._faces import NAMES, NUMPY, check_kind
from nearfield._options import Settings

Array = NDArray[Any]

# In the order of NAMES; what is absent is None.
Arrays = tuple["Array | None", ...]


def is_tracing() -> bool:
    """Whether shapes stand for any number: never with numpy."""
    return False


def _dtype(name: str, array: Array) -> int:
    code = dtype_of(array)
    if code is None or not _abi.is_dtype_of(name, code):
        hint = "; ml_dtypes.bfloat16 is bfloat16" if array.dtype.kind == "V" else ""
        raise _abi.wrong_dtype(name, array.dtype, f", in native byte order{hint}")
    return code


# Of these arrays any axis may have any stride; of the others the channels are adjacent.
_WITHOUT_CHANNELS = ("key_mask", "key_weights", "bias", "logsumexp", "dlogsumexp")


def copied(name: str, array: Array) -> str | None:
    """Why the library can't read the array where it lies, or None."""
    size = array.dtype.itemsize
    if any(stride % size for stride, length in zip(array.strides, array.shape, strict=True) if length > 1):
        return "its strides are no multiples of its elements"
    if name in _WITHOUT_CHANNELS or name.startswith("logsumexps"):
        return None
    if array.ndim > 0 and array.shape[-1] > 1 and array.strides[-1] != size:
        return "its channels are not adjacent in memory"
    return None


def readable(name: str, array: Array) -> Array:
    """The array itself, or a copy that the library can read."""
    return array if copied(name, array) is None else np.ascontiguousarray(array)


def words_of(name: str, array: Array) -> _abi.TensorWords:
    """The array as the C ABI takes it."""
    code, size = _dtype(name, array), array.dtype.itemsize
    # Of a dimension of length 1 any stride will do, whatever its bytes; numpy's own of an empty array are 0.
    strides = [stride // size for stride in array.strides] if array.size else [1] * array.ndim
    return _abi.tensor_words(name, array.ctypes.data, code, array.shape, strides)


def abstract(name: str, array: Array) -> _abi.TensorWords:
    """The array without its memory, for `explain`."""
    return (0, *words_of(name, readable(name, array))[1:])


def dtype_of(array: Array) -> int | None:
    """Its dtype's number in the C ABI."""
    return _abi.DTYPES.get(array.dtype.name) if array.dtype.isnative else None


def num_threads() -> int:
    """0: the library's own choice."""
    return 0


class _Ready(NamedTuple):
    arrays: Arrays  # keeps copies alive
    inputs: tuple[_abi.TensorWords, _abi.TensorWords, _abi.TensorWords]
    modifiers: _abi.Modifiers


def _prepare(arrays: Arrays, softcap: float) -> _Ready:
    ready = tuple(None if a is None else readable(name, a) for name, a in zip(NAMES, arrays, strict=True))
    words: list[Any] = [None if a is None else words_of(name, a) for name, a in zip(NAMES, ready, strict=True)]
    return _Ready(ready, (words[0], words[1], words[2]), _abi.Modifiers._make([*words[3:], softcap]))


def attend(arrays: Arrays, settings: Settings, with_logsumexp: bool) -> tuple[Array, Array | None]:
    """out (batch, *grid, heads, head_dim_v) and, if asked for, logsumexp (batch, *grid, heads)."""
    ready, inputs, modifiers = _prepare(arrays, settings.softcap)
    query, value = ready[0], ready[2]
    assert query is not None and value is not None
    if not value.ndim:
        raise ArgumentError("value: shape (): must be (batch, *grid, heads_kv, head_dim_v)")
    out = np.empty((*query.shape[:-1], value.shape[-1]), query.dtype)
    logsumexp = np.empty(query.shape[:-1], scalar_type(query)) if with_logsumexp else None
    _abi.forward(
        settings.pattern,
        *inputs,
        words_of("out", out),
        None if logsumexp is None else words_of("logsumexp", logsumexp),
        modifiers,
        settings.abi(),
    )
    return out, logsumexp


def scalar_type(query: Array) -> type[Any]:
    """Of logsumexp: float64 for float64, else float32."""
    return np.float64 if query.dtype == np.float64 else np.float32


class Gradients(NamedTuple):
    """Gradients with the shapes and dtypes of what they belong to; None where that was absent or not wanted."""

    query: Array | None
    key: Array | None
    value: Array | None
    additional_keys: Array | None
    additional_values: Array | None
    key_weights: Array | None
    bias: Array | None


def backward(
    dout: Array | None,
    dlogsumexp: Array | None,
    out: Array,
    logsumexp: Array,
    arrays: Arrays,
    settings: Settings,
    wanted: tuple[bool, ...],
) -> Gradients:
    """The gradients that are wanted."""
    check_kind(NUMPY, (dout, dlogsumexp), ("dout", "dlogsumexp"), 0)
    ready, inputs, modifiers = _prepare(arrays, settings.softcap)
    sources = (*ready[:5], *ready[6:])
    targets = [
        np.empty(source.shape, source.dtype) if want and source is not None else None
        for source, want in zip(sources, wanted, strict=True)
    ]
    dout = np.zeros(out.shape, out.dtype) if dout is None else readable("dout", dout)
    dlogsumexp = None if dlogsumexp is None else readable("dlogsumexp", dlogsumexp)
    _abi.backward(
        settings.pattern,
        (
            *inputs,
            words_of("out", out),
            words_of("logsumexp", logsumexp),
            words_of("dout", dout),
            None if dlogsumexp is None else words_of("dlogsumexp", dlogsumexp),
        ),
        [None if each is None else words_of("gradients", each) for each in targets],
        modifiers,
        settings.abi(),
    )
    return Gradients(*targets)


def merge(outs: Sequence[Array], logsumexps: Sequence[Array]) -> tuple[Array, Array]:
    """One softmax of several: nf_merge."""
    parts = []
    for i, (out, logsumexp) in enumerate(zip(outs, logsumexps, strict=True)):
        parts.append((readable(f"outs[{i}]", out), readable(f"logsumexps[{i}]", logsumexp)))
    first, first_lse = parts[0]
    merged, logsumexp = np.empty(first.shape, first.dtype), np.empty(first_lse.shape, first_lse.dtype)
    words = [(words_of(f"outs[{i}]", o), words_of(f"logsumexps[{i}]", s)) for i, (o, s) in enumerate(parts)]
    _abi.merge(words, words_of("out", merged), words_of("logsumexp", logsumexp), _abi.Options())
    return merged, logsumexp
