"""Explicit attention weights by their definition, in float64 numpy, one query at a time: what qk and av are compared with.

A query's slots are row-major over the axes; slot j on an axis is the j-th key of its window there. Patterns are as
definition.py takes them. Nothing of nearfield is used.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import definition
import definition_curves
import numpy as np


class Pair(NamedTuple):
    """A weight that exists: its index, and those of its query and key, of additional keys, and of its bias."""

    weight: tuple[int, ...]
    query: tuple[int, ...]
    key: tuple[int, ...] | None
    additional: tuple[int, ...] | None
    bias: tuple[int, ...] | None


def slots_of(pattern: Any) -> tuple[int, ...]:
    """A query's slots on each axis."""
    if isinstance(pattern, definition_curves.Curve):
        return (pattern.size // 2 * 2 + 1 if pattern.form == "slide" else pattern.size,)
    return tuple(axis[1] for axis in pattern)


def _slots(pattern: Any, token: tuple[int, ...]) -> list[tuple[int, tuple[int, ...], tuple[int, ...]]]:
    """(slot, key, place in the bias table) of what the query sees."""
    if isinstance(pattern, definition_curves.Curve):
        return [(j, *seen) for j, seen in enumerate(pattern.sights(token))]
    slots, found = slots_of(pattern), []
    axes = [list(enumerate(definition.keys_of(axis, i))) for axis, i in zip(pattern, token, strict=True)]
    for chosen in itertools.product(*axes):
        slot = int(np.ravel_multi_index([j for j, _ in chosen], slots))
        found.append((slot, tuple(key for _, (key, _) in chosen), tuple(place for _, (_, place) in chosen)))
    return found


def pairs(
    pattern: Any, shape: tuple[int, ...], heads_kv: int, additional: int, mask: np.ndarray | None
) -> Iterator[Pair]:
    """All of weights (batch, *grid, heads, slots + additional) that no mask hides; shape: without the last dimension."""
    batch, grid, heads = shape[0], shape[1:-1], shape[-1]
    slots = math.prod(slots_of(pattern))
    for token in np.ndindex(*grid):
        seen = _slots(pattern, token)
        for b, h in itertools.product(range(batch), range(heads)):
            kv, query = h * heads_kv // heads, (b, *token, h)
            for slot, key, place in seen:
                if mask is None or mask[(b, *key)]:
                    yield Pair((*query, slot), query, (b, *key, kv), None, (h, *place))
            for m in range(additional):
                yield Pair((*query, slots + m), query, None, (b, m, kv), None)


def qk(pattern: Any, a: dict[str, Any], scale: float) -> np.ndarray:
    """Weights, -inf where they are hidden; a: query, key, and additional_keys, key_mask, bias if there are."""
    query, more = a["query"], a.get("additional_keys")
    count = 0 if more is None else more.shape[1]
    weights = np.full((*query.shape[:-1], math.prod(slots_of(pattern)) + count), -np.inf)
    for pair in pairs(pattern, query.shape[:-1], a["key"].shape[-2], count, a.get("key_mask")):
        key = a["key"][pair.key] if pair.key is not None else more[pair.additional]
        weights[pair.weight] = scale * query[pair.query] @ key
        if pair.bias is not None and "bias" in a:
            weights[pair.weight] += a["bias"][pair.bias]
    return weights


def av(pattern: Any, a: dict[str, Any]) -> np.ndarray:
    """out; a: weights, value, and additional_values, key_mask if there are."""
    weights, value, more = a["weights"], a["value"], a.get("additional_values")
    count = 0 if more is None else more.shape[1]
    out = np.zeros((*weights.shape[:-1], value.shape[-1]))
    for pair in pairs(pattern, weights.shape[:-1], value.shape[-2], count, a.get("key_mask")):
        out[pair.query] += weights[pair.weight] * (value[pair.key] if pair.key else more[pair.additional])
    return out


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last dimension; rows of nothing but -inf become zeros."""
    top = logits.max(-1, keepdims=True)
    e = np.exp(logits - np.where(np.isfinite(top), top, 0))
    return e / np.maximum(e.sum(-1, keepdims=True), 1e-300)
