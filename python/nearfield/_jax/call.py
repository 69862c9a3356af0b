"""A call on JAX arrays: its arrays, the rest of it, and its checks while JAX traces, on shapes and dtypes alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from nearfield import _abi
from nearfield._faces import NAMES
from nearfield._options import Settings


class Tensors(NamedTuple):
    """What an attention reads, or gradients of it; None where there is no such tensor."""

    query: Any
    key: Any
    value: Any
    additional_keys: Any = None
    additional_values: Any = None
    key_mask: Any = None
    key_weights: Any = None
    bias: Any = None


# The tensors that have a gradient, in the order of nf_gradients.
DIFFERENTIABLE = ("query", "key", "value", "additional_keys", "additional_values", "key_weights", "bias")


# Shape and dtype of a tensor.
_Kind = tuple[tuple[int, ...], str]


def check(settings: Settings, tensors: Tensors, wanted: Sequence[str] | None = None) -> None:
    """Raises what the forward pass would refuse, or the backward pass with the `wanted` gradients.

    Values are not looked at: there are none while JAX traces. Nor are shapes with symbolic sizes (jax.export), which the
    program checks when it runs.
    """
    if any(not isinstance(size, int) for each in tensors if each is not None for size in each.shape):
        return
    kinds = tuple(None if each is None else (tuple(each.shape), str(each.dtype)) for each in tensors)
    _check(settings, kinds, None if wanted is None else tuple(wanted))


@lru_cache(maxsize=1024)
def _check(settings: Settings, kinds: tuple[_Kind | None, ...], wanted: tuple[str, ...] | None) -> None:
    words = Tensors(*(None if kind is None else words_of(name, *kind) for name, kind in zip(NAMES, kinds, strict=True)))
    modifiers = _abi.Modifiers(*words[3:], softcap=settings.softcap)
    gradients = None
    if wanted is not None:
        gradients = [getattr(words, name) if name in wanted else None for name in DIFFERENTIABLE]
    _abi.explain(settings.pattern, words.query, words.key, words.value, modifiers, settings.abi(), gradients)


def words_of(name: str, shape: tuple[int, ...], dtype: str) -> _abi.TensorWords:
    """The dense row-major tensor of that shape, without data."""
    code = _abi.DTYPES.get(dtype)
    if code is None or not _abi.is_dtype_of(name, code):
        raise _abi.wrong_dtype(name, dtype)
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return _abi.tensor_words(name, 0, code, shape, strides)
