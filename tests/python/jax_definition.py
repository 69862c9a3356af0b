"""Attention as its definition reads, in numpy's float64, with gradients; and random problems to try it on.

Loops over queries and heads: small problems only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from nearfield import Neighborhood

NAMES = ("query", "key", "value", "additional_keys", "additional_values", "key_mask", "key_weights", "bias")
DIFFERENTIABLE = tuple(name for name in NAMES if name != "key_mask")


def window(x: int, n: int, k: int, s: int, causal: bool, boundary: str) -> list[tuple[int, int]]:
    """The keys that query x of an axis of n sees, each with its index in a bias: all in one residue class."""
    left, right = k // 2, k - 1 - k // 2
    if causal:
        leader = min(s * (x // s) + s - 1, n - 1)
        return [(y, y - x + k - 1) for y in range(max(leader - k + 1, 0), x + 1)]
    leader = min(s * (x // s) + s // 2, n - 1)
    if boundary == "wrap":
        if k < n:
            return [(y % n, y - x + k - 1) for y in range(leader - left, leader + right + 1)]
        # Offsets in (-n/2, n/2].
        return [(y, (y - x + (n - 1) // 2) % n - (n - 1) // 2 + k - 1) for y in range(n)]
    if boundary == "cut":
        first, end = max(leader - left, 0), min(leader + right + 1, n)
    elif k > n:
        first, end = 0, n
    else:
        first = min(max(leader - left, 0), n - k)
        end = first + k
    return [(y, y - x + k - 1) for y in range(first, end)]


def axis_window(i: int, length: int, k: int, s: int, d: int, causal: bool, boundary: str) -> list[tuple[int, int]]:
    """`window` of token i of an axis with dilation d."""
    residue = i % d
    n = -(-(length - residue) // d)
    return [(y * d + residue, b) for y, b in window(i // d, n, k, s, causal, boundary)]


@dataclass
class Problem:
    """Arrays by name (a subset of NAMES), and the rest of a call."""

    pattern: Neighborhood
    arrays: dict[str, Any]
    scale: float | None = None
    softcap: float = 0.0
    about: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def keywords(self) -> dict[str, Any]:
        """Of a call, but for the arrays."""
        return {"scale": self.scale, "softcap": self.softcap, **self.options}


# What a query sees, one by one: the key's and the value's name and index, and the bias index, None for additional keys.
Seen = list[tuple[str, str, tuple[Any, ...], Any]]


def seen_by(problem: Problem, a: dict[str, Any], batch: int, token: tuple[int, ...], head: int) -> Seen:
    """All that this query sees and no mask hides."""
    grid = a["query"].shape[1:-2]
    axes = problem.pattern.axes(len(grid))
    per_axis = [
        axis_window(i, length, *(axes[name][axis] for name in axes))
        for axis, (i, length) in enumerate(zip(token, grid, strict=True))
    ]
    kv = head * a["key"].shape[-2] // a["query"].shape[-2]
    seen: Seen = []
    for pairs in product(*per_axis):
        y = tuple(pair[0] for pair in pairs)
        if "key_mask" not in a or a["key_mask"][(batch, *y)]:
            seen.append(("key", "value", (batch, *y, kv), tuple(pair[1] for pair in pairs)))
    for m in range(a["additional_keys"].shape[1] if "additional_keys" in a else 0):
        seen.append(("additional_keys", "additional_values", (batch, m, kv), None))
    return seen


def attention(problem: Problem, dout: Any, dlse: Any) -> tuple[Any, Any, dict[str, Any], dict[str, Any]]:
    """out, logsumexp, and from dout and dlse gradients by name with sizes to measure their errors against.

    A size is the gradient computed with absolute values.
    """
    a = {name: np.asarray(array).astype(np.float64) for name, array in problem.arrays.items()}
    q = a["query"]
    batch, grid, heads, channels = q.shape[0], q.shape[1:-2], q.shape[-2], q.shape[-1]
    scale = channels**-0.5 if problem.scale is None else problem.scale
    out, lse = np.zeros((*q.shape[:-1], a["value"].shape[-1])), np.full(q.shape[:-1], -np.inf)
    gradients = {name: np.zeros_like(array) for name, array in a.items() if name != "key_mask"}
    sizes = {name: np.zeros_like(array) for name, array in gradients.items()}
    weights = np.broadcast_to(a.get("key_weights", 1.0), (batch, *grid))
    for b, h, token in product(range(batch), range(heads), np.ndindex(*grid)):
        at = (b, *token, h)
        seen = seen_by(problem, a, b, token, h)
        # A weight of 0 hides its key, and still has a gradient.
        w = np.array([1.0 if offset is None else weights[index[:-1]] for _, _, index, offset in seen])
        if not w.any():
            continue
        keys = np.array([a[name][index] for name, _, index, _ in seen])
        values = np.array([a[name][index] for _, name, index, _ in seen])
        logits, slope = scale * keys @ q[at], np.ones(len(seen))
        if problem.softcap > 0:
            tanh = np.tanh(logits / problem.softcap)
            logits, slope = problem.softcap * tanh, 1 - tanh**2
        if "bias" in a:
            logits += [0.0 if offset is None else a["bias"][(h, *offset)] for _, _, _, offset in seen]
        top = logits[w > 0].max()
        lse[at] = top + np.log((w * np.exp(logits - top)).sum())
        p_by_w = np.exp(logits - lse[at])
        p = w * p_by_w
        out[at] = p @ values
        terms = values @ dout[at] - dout[at] @ out[at] + dlse[at]
        absolute = np.abs(values) @ np.abs(dout[at]) + np.abs(dout[at]) @ np.abs(out[at]) + np.abs(dlse[at])
        for into, t, x in ((gradients, terms, np.array), (sizes, absolute, np.abs)):
            u = x(scale) * p * t * slope
            into["query"][at] += u @ x(keys)
            for j, (key_name, value_name, index, offset) in enumerate(seen):
                into[key_name][index] += u[j] * x(q[at])
                into[value_name][index] += p[j] * x(dout[at])
                if "bias" in a and offset is not None:
                    into["bias"][(h, *offset)] += p[j] * t[j]
                if "key_weights" in a and offset is not None:
                    shared = a["key_weights"].ndim == len(grid)
                    into["key_weights"][index[1:-1] if shared else index[:-1]] += p_by_w[j] * t[j]
    return out, lse, gradients, sizes


def random_problem(seed: int, modifiers: bool = True, rank: int | None = None) -> Problem:
    """A small problem of float64 arrays, with every setting drawn; the same for the same seed."""
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 4)) if rank is None else rank
    grid, axes = [], []
    for _ in range(rank):
        k = int(rng.integers(1, 6))
        dilation = int(rng.integers(1, 3))
        boundary = str(rng.choice(["clamp", "wrap", "cut"]))
        causal = bool(rng.integers(0, 3) == 0) and boundary != "wrap"
        length = int(rng.integers(1, 13 if rank == 1 else 7 if rank == 2 else 5))
        if boundary == "wrap":
            length = -(-length // dilation) * dilation
        grid.append(length)
        axes.append((k, int(rng.integers(1, k + 1)), dilation, causal, boundary))
    pattern = Neighborhood(*(tuple(axis[i] for axis in axes) for i in range(5)))
    batch, kv, channels, channels_v = (int(rng.integers(1, n)) for n in (4, 3, 10, 10))
    heads = kv * int(rng.integers(1, 3))
    arrays = {
        "query": rng.standard_normal((batch, *grid, heads, channels)),
        "key": rng.standard_normal((batch, *grid, kv, channels)),
        "value": rng.standard_normal((batch, *grid, kv, channels_v)),
    }
    problem = Problem(pattern, arrays, about=f"seed {seed}: grid {grid}, {pattern}, batch {batch}, heads {heads}/{kv}")
    if modifiers:
        add_modifiers(problem, rng)
    return problem


def add_modifiers(problem: Problem, rng: np.random.Generator) -> None:
    """Each with probability a half."""
    arrays = problem.arrays
    (batch, *grid, heads, channels), (kv, channels_v) = arrays["query"].shape, arrays["value"].shape[-2:]
    if rng.integers(2):
        count = int(rng.integers(0, 4))
        arrays["additional_keys"] = rng.standard_normal((batch, count, kv, channels))
        arrays["additional_values"] = rng.standard_normal((batch, count, kv, channels_v))
    if rng.integers(2):
        arrays["key_mask"] = rng.random((batch, *grid)) < 0.7
    if rng.integers(2):
        shape = (batch, *grid) if rng.integers(2) else tuple(grid)
        arrays["key_weights"] = np.where(rng.random(shape) < 0.1, 0.0, rng.uniform(0.1, 3, shape))
    if rng.integers(2):
        sizes = problem.pattern.axes(len(grid))["kernel_size"]
        arrays["bias"] = rng.standard_normal((heads, *(2 * k - 1 for k in sizes)))
    if rng.integers(2):
        problem.softcap = float(rng.uniform(1, 5))
    if rng.integers(2):
        problem.scale = float(rng.uniform(-1, 1)) if rng.integers(4) else 0.0
    problem.about += f", {sorted(arrays)[:]}, scale {problem.scale}, softcap {problem.softcap}"
