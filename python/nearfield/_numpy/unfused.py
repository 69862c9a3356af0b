"""The unfused operators on numpy arrays, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nearfield import _abi, _abi_unfused, _weights
from nearfield._faces import NUMPY, check_kind
from nearfield._numpy.call import Array, readable, scalar_type, words_of
from nearfield._options import Settings

Maybe = Array | None

_MODIFIERS = ("additional_keys", "additional_values", "key_mask", "bias")


class _Call:
    """The arrays of a call by name, or the copies that the library reads in their place."""

    def __init__(self, arrays: Sequence[Maybe], names: Sequence[str]) -> None:
        given = zip(names, arrays, strict=True)
        self.arrays = {name: readable(name, each) for name, each in given if each is not None}

    def words(self, *names: str) -> list[_abi.TensorWords]:
        return [words_of(name, self.arrays[name]) for name in names]

    def modifiers(self) -> _abi.Modifiers:
        given = {name: words_of(name, each) for name, each in self.arrays.items() if name in _MODIFIERS}
        return _abi_unfused.modifiers_of(given)

    def weights(self, settings: Settings, wide: bool) -> Array:
        """Memory for the weights of query and additional_keys."""
        query, more = self.arrays["query"], self.arrays.get("additional_keys")
        dtype = (words_of("query", query)[1]) & 0xFFFFFFFF
        number = _weights.accumulator(dtype) if wide else dtype
        shape = _weights.shape_of(settings.pattern, query.shape, None if more is None else more.shape, number)
        return np.empty(shape, scalar_type(query) if wide else query.dtype)

    def targets(self, names: Sequence[str], wanted: Sequence[bool]) -> list[Maybe]:
        """Memory for the gradients that are wanted of what is there."""
        sources = [self.arrays.get(name) for name in names]
        return [
            np.empty(each.shape, each.dtype) if want and each is not None else None
            for each, want in zip(sources, wanted, strict=True)
        ]


def _target_words(targets: Sequence[Maybe]) -> list[_abi.TensorWords | None]:
    return [None if each is None else words_of("gradients", each) for each in targets]


def qk(arrays: Sequence[Maybe], names: Sequence[str], settings: Settings, wide: bool) -> Array:
    """The weights; arrays: query, key, additional_keys, key_mask, bias."""
    call = _Call(arrays, names)
    weights = call.weights(settings, wide)
    query, key = call.words("query", "key")
    _abi_unfused.qk(settings.pattern, query, key, words_of("weights", weights), call.modifiers(), settings.abi())
    return weights


def av(arrays: Sequence[Maybe], names: Sequence[str], settings: Settings) -> Array:
    """out; arrays: weights, value, additional_values, key_mask."""
    call = _Call(arrays, names)
    weights, value = call.words("weights", "value")
    read = call.arrays["value"]
    out = np.empty((*call.arrays["weights"].shape[:-1], read.shape[-1]), read.dtype)
    _abi_unfused.av(settings.pattern, weights, value, words_of("out", out), call.modifiers(), settings.abi())
    return out


def attend_weights(arrays: Sequence[Maybe], names: Sequence[str], settings: Settings) -> tuple[Array, Array, Array]:
    """out, logsumexp, weights; arrays: query, key, value, additional_keys, additional_values, key_mask, bias."""
    call = _Call(arrays, names)
    inputs = call.words("query", "key", "value")
    query = call.arrays["query"]
    weights = call.weights(settings, wide=True)
    out = np.empty((*query.shape[:-1], call.arrays["value"].shape[-1]), query.dtype)
    logsumexp = np.empty(query.shape[:-1], scalar_type(query))
    results = (words_of("out", out), words_of("logsumexp", logsumexp), words_of("weights", weights))
    _abi_unfused.forward_weights(settings.pattern, inputs, *results, call.modifiers(), settings.abi())
    return out, logsumexp, weights


class QkGradients(NamedTuple):
    """Gradients with the shapes and dtypes of what they belong to; None where that was absent or not wanted."""

    query: Maybe
    key: Maybe
    additional_keys: Maybe
    bias: Maybe


class AvGradients(NamedTuple):
    """Gradients with the shapes and dtypes of what they belong to; None where that was absent or not wanted."""

    weights: Maybe
    value: Maybe
    additional_values: Maybe


def qk_backward(
    dweights: Any, arrays: Sequence[Maybe], names: Sequence[str], settings: Settings, wanted: Sequence[bool]
) -> QkGradients:
    """The gradients that are wanted; arrays as for `qk`."""
    check_kind(NUMPY, (dweights,), ("dweights",), 1)
    call = _Call((dweights, *arrays), ("dweights", *names))
    targets = call.targets(QkGradients._fields, wanted)
    inputs = call.words("query", "key", "dweights")
    _abi_unfused.qk_backward(settings.pattern, inputs, _target_words(targets), call.modifiers(), settings.abi())
    return QkGradients(*targets)


def av_backward(
    dout: Any, arrays: Sequence[Maybe], names: Sequence[str], settings: Settings, wanted: Sequence[bool]
) -> AvGradients:
    """The gradients that are wanted; arrays as for `av`."""
    check_kind(NUMPY, (dout,), ("dout",), 1)
    call = _Call((dout, *arrays), ("dout", *names))
    targets = call.targets(AvGradients._fields, wanted)
    inputs = call.words("weights", "value", "dout")
    _abi_unfused.av_backward(settings.pattern, inputs, _target_words(targets), call.modifiers(), settings.abi())
    return AvGradients(*targets)
