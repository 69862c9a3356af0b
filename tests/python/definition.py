"""Local attention by its definition, in float64 numpy, one query at a time: what the faces are compared with.

Written from the definitions alone: nothing of nearfield is used. Small problems only. A pattern is a list with an `Axis`
or a `Windowed` for each axis of the grid, or an object with a method `sights`, as definition_curves.py and
definition_sphere.py have; with a method `weight`, too, keys have weights of their own.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np


class Axis(NamedTuple):
    """One axis of a neighborhood."""

    length: int
    kernel_size: int
    stride: int = 1
    dilation: int = 1
    is_causal: bool = False
    boundary: str = "clamp"


class Windowed(NamedTuple):
    """One axis of a grid that is cut into windows."""

    length: int
    size: int
    shift: int = 0


def keys_of(axis: Axis | Windowed, i: int) -> list[tuple[int, int]]:
    """(key, offset in the bias table) that query i sees, in the order of the window's slots."""
    if isinstance(axis, Windowed):
        same = [y for y in range(axis.length) if (y + axis.shift) // axis.size == (i + axis.shift) // axis.size]
        return [(y, y - i + axis.size - 1) for y in same]
    g, x = i % axis.dilation, i // axis.dilation
    n = math.ceil((axis.length - g) / axis.dilation)
    k, s = axis.kernel_size, axis.stride
    left = k // 2
    right = k - 1 - left
    if axis.is_causal:
        leader = min(s * (x // s) + s - 1, n - 1)
        seen = [(y, y - x) for y in range(max(leader - k + 1, 0), x + 1)]
    else:
        leader = min(s * (x // s) + s // 2, n - 1)
        if axis.boundary == "wrap":
            if k >= n:
                seen = [(y, (y - x + (n - 1) // 2) % n - (n - 1) // 2) for y in range(n)]
            else:
                seen = [(y % n, y - x) for y in range(leader - left, leader + right + 1)]
        elif axis.boundary == "cut":
            seen = [(y, y - x) for y in range(max(leader - left, 0), min(leader + right + 1, n))]
        elif k >= n:
            seen = [(y, y - x) for y in range(n)]
        else:
            start = min(max(leader - left, 0), n - k)
            seen = [(y, y - x) for y in range(start, start + k)]
    return [(y * axis.dilation + g, offset + k - 1) for y, offset in seen]


def sights(pattern: Any, token: tuple[int, ...]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(key, place in the bias table), one number each for every axis of the grid, that this query sees."""
    if hasattr(pattern, "sights"):
        return pattern.sights(token)
    per_axis = [keys_of(axis, i) for axis, i in zip(pattern, token, strict=True)]
    return [tuple(zip(*pairs, strict=True)) for pairs in itertools.product(*per_axis)]


# What a query sees, one by one: the key's and the value's name and index, and the bias index, None for additional keys.
Seen = list[tuple[str, str, tuple[Any, ...], Any]]


def seen_by(pattern: Any, arrays: dict[str, Any], batch: int, token: tuple[int, ...], head: int) -> Seen:
    """All that this query sees and no mask hides."""
    kv = head * arrays["key"].shape[-2] // arrays["query"].shape[-2]
    seen: Seen = []
    for y, place in sights(pattern, token):
        if "key_mask" not in arrays or arrays["key_mask"][(batch, *y)]:
            seen.append(("key", "value", (batch, *y, kv), place))
    for m in range(arrays["additional_keys"].shape[1] if "additional_keys" in arrays else 0):
        seen.append(("additional_keys", "additional_values", (batch, m, kv), None))
    return seen


class Result(NamedTuple):
    """All in float64. Gradients by name, with sizes to measure their errors against: the gradients computed with absolute
    values."""

    out: np.ndarray
    logsumexp: np.ndarray
    gradients: dict[str, np.ndarray]
    sizes: dict[str, np.ndarray]


def differentiated(
    pattern: Any,
    arrays: dict[str, Any],
    scale: float | None = None,
    softcap: float = 0.0,
    dout: np.ndarray | None = None,
    dlse: np.ndarray | None = None,
) -> Result:
    """The attention of the arrays (batch, *grid, heads, channels), and its gradients where dout and dlse are given."""
    a = {name: np.asarray(array).astype(np.float64) for name, array in arrays.items()}
    q = a["query"]
    batch, grid, heads, channels = q.shape[0], q.shape[1:-2], q.shape[-2], q.shape[-1]
    scale = channels**-0.5 if scale is None else scale
    out, lse = np.zeros((*q.shape[:-1], a["value"].shape[-1])), np.full(q.shape[:-1], -np.inf)
    gradients = {name: np.zeros_like(array) for name, array in a.items() if name != "key_mask"}
    sizes = {name: np.zeros_like(array) for name, array in gradients.items()}
    weights = np.broadcast_to(a.get("key_weights", 1.0), a["key"].shape[:-2])
    own = getattr(pattern, "weight", lambda key: 1.0)
    for b, h, token in itertools.product(range(batch), range(heads), np.ndindex(*grid)):
        at = (b, *token, h)
        seen = seen_by(pattern, a, b, token, h)
        # A weight of 0 hides its key, and still has a gradient.
        w = np.array([1.0 if offset is None else weights[index[:-1]] for _, _, index, offset in seen])
        area = np.array([1.0 if offset is None else own(index[1:-1]) for _, _, index, offset in seen])
        if not w.any():
            continue
        keys = np.array([a[name][index] for name, _, index, _ in seen])
        values = np.array([a[name][index] for _, name, index, _ in seen])
        logits, slope = scale * keys @ q[at], np.ones(len(seen))
        if softcap > 0:
            tanh = np.tanh(logits / softcap)
            logits, slope = softcap * tanh, 1 - tanh**2
        if "bias" in a:
            logits += [0.0 if offset is None else a["bias"][(h, *offset)] for _, _, _, offset in seen]
        top = logits[w > 0].max()
        lse[at] = top + np.log((w * area * np.exp(logits - top)).sum())
        p_by_w = area * np.exp(logits - lse[at])
        p = w * p_by_w
        out[at] = p @ values
        if dout is None or dlse is None:
            continue
        terms = values @ dout[at] - dout[at] @ out[at] + dlse[at]
        absolute = np.abs(values) @ np.abs(dout[at]) + np.abs(dout[at]) @ np.abs(out[at]) + np.abs(dlse[at])
        for into, t, x in ((gradients, terms, np.array), (sizes, absolute, np.abs)):
            u = x(scale) * p * t * slope
            into["query"][at] += u @ x(keys)
            for i, (key_name, value_name, index, offset) in enumerate(seen):
                into[key_name][index] += u[i] * x(q[at])
                into[value_name][index] += p[i] * x(dout[at])
                if "bias" in a and offset is not None:
                    into["bias"][(h, *offset)] += p[i] * t[i]
                if "key_weights" in a and offset is not None:
                    shared = a["key_weights"].ndim == len(grid)
                    into["key_weights"][index[1:-1] if shared else index[:-1]] += p_by_w[i] * t[i]
    return Result(out, lse, gradients, sizes)


def attention(pattern: Any, query, key, value, *, scale=None, softcap=0.0, **modifiers):
    """out and logsumexp in float64."""
    found = differentiated(pattern, {"query": query, "key": key, "value": value, **modifiers}, scale, softcap)
    return found.out, found.logsumexp
