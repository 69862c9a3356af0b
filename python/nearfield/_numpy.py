"""The numpy face: arrays of float64, float32, float16 and, from ml_dtypes, bfloat16."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfield import _abi
from nearfield._errors import ArgumentError
from nearfield._options import OptionWords

Array = NDArray[Any]

_DTYPES = {
    "float64": _abi.FLOAT64,
    "float32": _abi.FLOAT32,
    "bfloat16": _abi.BFLOAT16,
    "float16": _abi.FLOAT16,
    "bool": _abi.BOOL,
}
_NAMES = ("query", "key", "value", "additional_keys", "additional_values", "key_mask", "key_weights", "bias")

# In the order of _NAMES; what is absent is None.
Arrays = tuple["Array | None", ...]


class Settings(NamedTuple):
    """All of a call that is no array."""

    pattern: tuple[int, ...]
    scale: float | None = None
    softcap: float = 0.0
    options: OptionWords = (0, 0, 0, 0)

    def abi(self) -> _abi.Options:
        """As the C ABI's options."""
        isa, kernel, engine, threads = self.options
        return _abi.Options(self.scale, engine, isa, kernel, threads)


def is_tracing() -> bool:
    """Whether shapes stand for any number: never with numpy."""
    return False


def _dtype(name: str, array: Array) -> int:
    code = _DTYPES.get(array.dtype.name)
    if code is None or not array.dtype.isnative:
        hint = "; ml_dtypes.bfloat16 is bfloat16" if array.dtype.kind == "V" else ""
        raise TypeError(
            f"{name}: dtype {array.dtype}: must be float64, float32, float16 or bfloat16, in native byte order{hint}"
        )
    return code


def must_copy(name: str, array: Array) -> bool:
    """Whether the library can't read the array where it lies: channels apart, or strides between elements."""
    size = array.dtype.itemsize
    if any(stride % size for stride, length in zip(array.strides, array.shape, strict=True) if length > 1):
        return True
    has_channels = name not in ("key_mask", "key_weights", "bias")
    return has_channels and array.ndim > 0 and array.shape[-1] > 1 and array.strides[-1] != size


def readable(name: str, array: Array) -> Array:
    """The array itself, or a copy that the library can read."""
    return np.ascontiguousarray(array) if must_copy(name, array) else array


def words_of(name: str, array: Array) -> _abi.TensorWords:
    """The array as the C ABI takes it."""
    if array.ndim > _abi.MAX_DIMS:
        raise ArgumentError(f"{name}: shape {array.shape}: has more than {_abi.MAX_DIMS} dimensions")
    code, size = _dtype(name, array), array.dtype.itemsize
    # Of a dimension of length 1 any stride will do, whatever its bytes; numpy's own of an empty array are 0.
    strides = [stride // size for stride in array.strides] if array.size else [1] * array.ndim
    return _abi.tensor_words(array.ctypes.data, code, array.shape, strides)


def abstract(name: str, array: Array) -> _abi.TensorWords:
    """The array without its memory, for `explain`."""
    return (0, *words_of(name, _given(name, array))[1:])


def num_threads() -> int:
    """0: the library's own choice."""
    return 0


def _checked(name: str, array: Any) -> Array | None:
    return None if array is None else _given(name, array)


def _given(name: str, array: Any) -> Array:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name}: is a {type(array).__name__}: must be a numpy.ndarray, as query is")
    return readable(name, array)


class _Ready(NamedTuple):
    arrays: Arrays  # keeps copies alive
    inputs: tuple[_abi.TensorWords, _abi.TensorWords, _abi.TensorWords]
    modifiers: _abi.Modifiers


def _prepare(arrays: Arrays, softcap: float) -> _Ready:
    ready = tuple(_checked(name, array) for name, array in zip(_NAMES, arrays, strict=True))
    words: list[Any] = [None if a is None else words_of(name, a) for name, a in zip(_NAMES, ready, strict=True)]
    return _Ready(ready, (words[0], words[1], words[2]), _abi.Modifiers._make([*words[3:], softcap]))


def attend(arrays: Arrays, settings: Settings, with_logsumexp: bool) -> tuple[Array, Array | None]:
    """out (batch, *grid, heads, head_dim_v) and, if asked for, logsumexp (batch, *grid, heads)."""
    ready, inputs, modifiers = _prepare(arrays, settings.softcap)
    query, value = ready[0], ready[2]
    assert query is not None and value is not None
    if query.ndim < 1 or value.ndim < 1:
        raise ArgumentError(f"query: shape {query.shape}: must be (batch, *grid, heads, head_dim)")
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
    ready, inputs, modifiers = _prepare(arrays, settings.softcap)
    sources = (*ready[:5], *ready[6:])
    targets = [
        np.empty(source.shape, source.dtype) if want and source is not None else None
        for source, want in zip(sources, wanted, strict=True)
    ]
    dout = np.zeros(out.shape, out.dtype) if dout is None else _given("dout", dout)
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
        parts.append((_given(f"outs[{i}]", out), _given(f"logsumexps[{i}]", logsumexp)))
    first, first_lse = parts[0]
    merged, logsumexp = np.empty(first.shape, first.dtype), np.empty(first_lse.shape, first_lse.dtype)
    words = [(words_of(f"outs[{i}]", o), words_of(f"logsumexps[{i}]", s)) for i, (o, s) in enumerate(parts)]
    _abi.merge(words, words_of("out", merged), words_of("logsumexp", logsumexp), _abi.Options())
    return merged, logsumexp
