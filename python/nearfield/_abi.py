"""Calls of the C ABI, packed by hand: all structs of a call in one buffer of 64-bit words.

ctypes.Structure costs about a microsecond a field; a small attention has a dozen structs and should cost a few
microseconds in all. Layouts are those of nearfield.h on 64-bit machines; tests/python/test_abi.py compares them with a
C compiler's.

    nf_tensor        14 words: data; dtype | rank << 32; sizes[6]; strides[6]
    nf_modifiers      7 words: struct_size; 5 pointers; softcap (double)
    nf_options        9 words: struct_size; has_scale | engine << 32; scale (double); isa | kernel << 32; num_threads;
                               parallel_for; its context; workspace; workspace_size
    nf_gradients      8 words: struct_size; 7 pointers. nf_qk_gradients and nf_av_gradients alike, with 4 and 3
    patterns         as their `words` say
"""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from nearfield._errors import ArgumentError
from nearfield._library import fail, lib

FLOAT64, FLOAT32, BFLOAT16, FLOAT16, BOOL = range(5)
DTYPES = {"float64": FLOAT64, "float32": FLOAT32, "bfloat16": BFLOAT16, "float16": FLOAT16, "bool": BOOL}
MAX_DIMS = 6
TENSOR_WORDS = 14
_WORD = 8

# What a face hands over for one tensor: 14 words, or None where there is no tensor.
TensorWords = tuple[int, ...]

_padding = tuple((0,) * (MAX_DIMS - rank) for rank in range(MAX_DIMS + 1))


def tensor_words(name: str, data: int, dtype: int, sizes: Sequence[int], strides: Sequence[int]) -> TensorWords:
    """The nf_tensor of memory at address `data`; strides in elements. `name` is what messages call it."""
    rank = len(sizes)
    if rank > MAX_DIMS:
        raise ArgumentError(f"{name}: shape {tuple(sizes)}: has more than {MAX_DIMS} dimensions")
    more = _padding[rank]
    return (data, dtype | rank << 32, *sizes, *more, *strides, *more)


def is_dtype_of(name: str, dtype: int | None) -> bool:
    """Whether an array called `name` may be of the dtype; None is one that the library does not know."""
    return dtype is not None and (dtype != BOOL or name == "key_mask")


def wrong_dtype(name: str, dtype: object, more: str = "") -> TypeError:
    """What to raise of an array of integers, say."""
    rule = "bool" if name == "key_mask" else f"float64, float32, bfloat16 or float16{more}"
    return TypeError(f"{name}: dtype {dtype}: must be {rule}")


class Modifiers(NamedTuple):
    """nf_modifiers: the words of each tensor, or None."""

    additional_keys: TensorWords | None = None
    additional_values: TensorWords | None = None
    key_mask: TensorWords | None = None
    key_weights: TensorWords | None = None
    bias: TensorWords | None = None
    softcap: float = 0.0


NO_MODIFIERS = Modifiers()


class Options(NamedTuple):
    """nf_options, as far as Python sets them. scale None is 1/sqrt(head_dim)."""

    scale: float | None = None
    engine: int = 0
    isa: int = 0
    kernel: int = 0
    num_threads: int = 0


class _Scratch(threading.local):
    """One buffer for each thread: a call packs its structs there. The library keeps nothing of it."""

    def __init__(self) -> None:
        self.size = 0
        self.buffer = bytearray()
        self.address = 0
        self.grow(4096)

    def grow(self, size: int) -> None:
        if size <= self.size:
            return
        self.size = size
        self.buffer = bytearray(size)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.buffer))


_scratch = _Scratch()


@lru_cache(maxsize=64)
def _format(pattern_words: int, tensors: int, more: int) -> struct.Struct:
    return struct.Struct(f"{pattern_words}q 6qd 2qd6q {TENSOR_WORDS * tensors}q {more}q")


class _Packed(NamedTuple):
    pattern: int
    modifiers: int
    options: int
    tensors: list[int]
    more: int


def _pack(
    pattern: tuple[int, ...],
    tensors: Sequence[TensorWords | None],
    modifiers: Modifiers,
    options: Options,
    gradients: Sequence[TensorWords | None] | None = None,
) -> _Packed:
    """Writes everything into the thread's buffer; returns the addresses, 0 for what is None."""
    scratch = _scratch
    words: list[int] = []
    count = 0
    base = scratch.address + (len(pattern) + 7 + 9) * _WORD
    pointers = []
    for tensor in (*modifiers[:5], *tensors, *(gradients or ())):
        if tensor is None:
            pointers.append(0)
        else:
            pointers.append(base + count * TENSOR_WORDS * _WORD)
            count += 1
            words += tensor
    more: list[int] = []
    if gradients is not None:
        more = [(1 + len(gradients)) * _WORD, *pointers[5 + len(tensors) :]]
    layout = _format(len(pattern), count, len(more))
    if layout.size > scratch.size:
        scratch.grow(layout.size)
        return _pack(pattern, tensors, modifiers, options, gradients)
    scale = options.scale
    layout.pack_into(
        scratch.buffer,
        0,
        *pattern,
        7 * _WORD,
        *pointers[:5],
        modifiers.softcap,
        9 * _WORD,
        (scale is not None) | options.engine << 32,
        0.0 if scale is None else scale,
        options.isa | options.kernel << 32,
        options.num_threads,
        0,
        0,
        0,
        0,
        *words,
        *more,
    )
    start = scratch.address
    modifiers_at = start + len(pattern) * _WORD
    return _Packed(
        start,
        modifiers_at,
        modifiers_at + 7 * _WORD,
        pointers[5 : 5 + len(tensors)],
        base + count * TENSOR_WORDS * _WORD,
    )


def forward(
    pattern: tuple[int, ...],
    query: TensorWords,
    key: TensorWords,
    value: TensorWords,
    out: TensorWords,
    logsumexp: TensorWords | None,
    modifiers: Modifiers,
    options: Options,
) -> None:
    """nf_forward."""
    p = _pack(pattern, (query, key, value, out, logsumexp), modifiers, options)
    q, k, v, o, lse = p.tensors
    status = lib.nf_forward(p.pattern, q, k, v, p.modifiers, p.options, o, lse)
    if status:
        fail(status)


class PackedForward:
    """A forward packed once, for memory of the same shapes and strides again and again; used by one thread at a time."""

    def __init__(
        self,
        pattern: tuple[int, ...],
        inputs: tuple[TensorWords, TensorWords, TensorWords],
        out: TensorWords,
        logsumexp: TensorWords | None,
        modifiers: Modifiers,
        options: Options,
    ) -> None:
        p = _pack(pattern, (*inputs, out, logsumexp), modifiers, options)
        scratch = _scratch
        size = p.more - scratch.address
        self._words = (ctypes.c_int64 * (size // _WORD)).from_buffer_copy(scratch.buffer[:size])
        move = ctypes.addressof(self._words) - scratch.address
        q, k, v, o, lse = (each + move if each else 0 for each in p.tensors)
        self._arguments = (p.pattern + move, q, k, v, p.modifiers + move, p.options + move, o, lse)
        self._first = (q - ctypes.addressof(self._words)) // _WORD
        self._has_logsumexp = logsumexp is not None

    def run(self, query: int, key: int, value: int, out: int, logsumexp: int) -> None:
        """nf_forward of the memory at these addresses."""
        words, at = self._words, self._first
        words[at] = query
        words[at + TENSOR_WORDS] = key
        words[at + 2 * TENSOR_WORDS] = value
        words[at + 3 * TENSOR_WORDS] = out
        if self._has_logsumexp:
            words[at + 4 * TENSOR_WORDS] = logsumexp
        status = lib.nf_forward(*self._arguments)
        if status:
            fail(status)


def backward(
    pattern: tuple[int, ...],
    inputs: Sequence[TensorWords | None],
    gradients: Sequence[TensorWords | None],
    modifiers: Modifiers,
    options: Options,
) -> None:
    """nf_backward. inputs: query, key, value, out, logsumexp, dout, dlogsumexp; gradients: of query, key, value,
    additional_keys, additional_values, key_weights, bias."""
    p = _pack(pattern, inputs, modifiers, options, gradients)
    q, k, v, out, lse, dout, dlse = p.tensors
    status = lib.nf_backward(p.pattern, q, k, v, p.modifiers, p.options, out, lse, dout, dlse, p.more)
    if status:
        fail(status)


class Explanation(ctypes.Structure):
    """nf_explanation."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("engine", ctypes.c_int32),
        ("isa", ctypes.c_int32),
        ("kernel", ctypes.c_int32),
        ("num_threads", ctypes.c_int32),
        ("tile", ctypes.c_int64 * 3),
        ("step", ctypes.c_int64 * 3),
        ("tiles", ctypes.c_int64),
        ("full_steps", ctypes.c_int64),
        ("masked_steps", ctypes.c_int64),
        ("useful_pairs", ctypes.c_double),
        ("executed_pairs", ctypes.c_double),
        ("waste", ctypes.c_double),
        ("predicted_seconds", ctypes.c_double),
        ("workspace", ctypes.c_size_t),
        ("reason", ctypes.c_char * 512),
        ("plan_memory", ctypes.c_size_t),
    ]


def explain(
    pattern: tuple[int, ...],
    query: TensorWords,
    key: TensorWords,
    value: TensorWords,
    modifiers: Modifiers,
    options: Options,
    gradients: Sequence[TensorWords | None] | None = None,
) -> Explanation:
    """nf_explain, or nf_explain_backward where `gradients` tell which are wanted."""
    p = _pack(pattern, (query, key, value), modifiers, options, gradients)
    q, k, v = p.tensors
    result = Explanation(struct_size=ctypes.sizeof(Explanation))
    if gradients is None:
        status = lib.nf_explain(p.pattern, q, k, v, p.modifiers, p.options, ctypes.addressof(result))
    else:
        status = lib.nf_explain_backward(p.pattern, q, k, v, p.modifiers, p.options, p.more, ctypes.addressof(result))
    if status:
        fail(status)
    return result


def merge(
    parts: Sequence[tuple[TensorWords, TensorWords]],
    out: TensorWords,
    logsumexp: TensorWords | None,
    options: Options,
) -> None:
    """nf_merge."""
    p = _pack((), [each for part in parts for each in part] + [out, logsumexp], NO_MODIFIERS, options)
    table = (ctypes.c_int64 * (2 * len(parts)))(*p.tensors[:-2])
    status = lib.nf_merge(len(parts), ctypes.addressof(table), p.options, p.tensors[-2], p.tensors[-1])
    if status:
        fail(status)


def merge_backward(
    parts: Sequence[tuple[TensorWords, TensorWords]],
    dout: TensorWords,
    dlogsumexp: TensorWords | None,
    gradients: Sequence[tuple[TensorWords | None, TensorWords | None]],
    options: Options,
) -> None:
    """nf_merge_backward."""
    flat = [each for part in (*parts, *gradients) for each in part]
    p = _pack((), [*flat, dout, dlogsumexp], NO_MODIFIERS, options)
    count = 2 * len(parts)
    table = (ctypes.c_int64 * (2 * count))(*p.tensors[:-2])
    start = ctypes.addressof(table)
    status = lib.nf_merge_backward(len(parts), start, p.options, p.tensors[-2], p.tensors[-1], start + count * _WORD)
    if status:
        fail(status)


def bias_extents(pattern: Sequence[int], grid: Sequence[int]) -> tuple[int, ...]:
    """nf_bias_extents: e for each axis of the grid, where a bias table has 2*e - 1 entries."""
    extents = (ctypes.c_int64 * len(grid))()
    geometry_call("nf_bias_extents", pattern, grid, ctypes.addressof(extents))
    return tuple(extents)


def order_tokens(order: int, grid: Sequence[int], tokens: int, positions: int) -> None:
    """nf_order_tokens, into int64 memory (tokens of the grid) at two addresses, 0 for what is not wanted."""
    lengths = (ctypes.c_int64 * len(grid))(*grid)
    status = lib.nf_order_tokens(order, len(grid), ctypes.addressof(lengths), tokens, positions)
    if status:
        fail(status)


def sphere_latitudes(grid: Sequence[int], colatitudes: int, area_weights: int) -> None:
    """nf_sphere_latitudes of the three words of an nf_sphere_grid, into nlat doubles at each of two addresses."""
    words = (ctypes.c_int64 * len(grid))(*grid)
    status = lib.nf_sphere_latitudes(ctypes.addressof(words), colatitudes, area_weights)
    if status:
        fail(status)


def window_slots(pattern: Sequence[int], grid: Sequence[int]) -> tuple[int, ...]:
    """nf_window_slots: the length of the longest window on each axis of the grid."""
    slots = (ctypes.c_int64 * len(grid))()
    geometry_call("nf_window_slots", pattern, grid, ctypes.addressof(slots))
    return tuple(slots)


def windows(pattern: Sequence[int], grid: Sequence[int], first: int, count: int, keys: int, bias_index: int) -> None:
    """nf_windows, into int64 memory (count, product of the slots) at two addresses, the second 0 on the sphere."""
    geometry_call("nf_windows", pattern, grid, first, count, keys, bias_index)


def plan_steps(
    pattern: Sequence[int], grid: Sequence[int], tile: Sequence[int], step: Sequence[int], capacity: int, steps: int
) -> int:
    """nf_plan_steps, the first `capacity` of them into nf_plan_steps at an address; returns how many there are."""
    count = ctypes.c_int64()
    boxes = [(ctypes.c_int64 * len(each))(*each) for each in (tile, step)]
    places = [ctypes.addressof(each) for each in boxes]
    geometry_call("nf_plan_steps", pattern, grid, *places, capacity, steps, ctypes.addressof(count))
    return count.value


def geometry_call(function: str, pattern: Sequence[int], grid: Sequence[int], *more: int) -> None:
    words, lengths = (ctypes.c_int64 * len(pattern))(*pattern), (ctypes.c_int64 * len(grid))(*grid)
    status = getattr(lib, function)(ctypes.addressof(words), ctypes.addressof(lengths), *more)
    if status:
        fail(status)
