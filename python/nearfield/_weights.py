"""The shape and size of explicit attention weights, checked before anything is allocated."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import cache

from nearfield import _abi, _abi_unfused
from nearfield._errors import ArgumentError

_BYTES = {_abi.FLOAT64: 8, _abi.FLOAT32: 4, _abi.BFLOAT16: 2, _abi.FLOAT16: 2}
_NAMES = {number: name for name, number in _abi.DTYPES.items()}


def accumulator(dtype: int) -> int:
    """The dtype of sums, and so of logsumexp: float64 for float64, else float32."""
    return _abi.FLOAT64 if dtype == _abi.FLOAT64 else _abi.FLOAT32


def shape_of(
    pattern: Sequence[int], query: Sequence[int], additional_keys: Sequence[int] | None, dtype: int
) -> tuple[int, ...]:
    """(batch, *grid, heads, slots + M), from the shapes of query and of additional_keys.

    Raises what the pattern's rules say of it, and MemoryError where the weights are larger than this machine's memory.
    """
    rank = pattern[1] >> 32
    if len(query) != rank + 3:
        raise ArgumentError(f"query: shape {tuple(query)}: must have {rank + 3} dimensions: (batch, *grid, heads, ...)")
    slots = math.prod(_abi_unfused.weight_slots(pattern, query[1:-2]))
    more = additional_keys[1] if additional_keys is not None and len(additional_keys) == 4 else 0
    shape = (*query[:-1], slots + more)
    size, memory = math.prod(shape) * _BYTES[dtype], _memory()
    if size > memory:
        raise MemoryError(
            f"weights: shape {shape} of {_NAMES[dtype]} takes {shown_bytes(size)}: this machine has {shown_bytes(memory)}; "
            f"attend without return_weights needs no weights in memory"
        )
    return shape


def bytes_of(shape: Sequence[int], dtype: int) -> int:
    """Of a dense tensor."""
    return math.prod(shape) * _BYTES[dtype]


def shown_bytes(size: float) -> str:
    """For people: 1.5 GiB."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"


@cache
def _memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
