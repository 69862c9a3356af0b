"""Random problems as the tests of the JAX face need them, and what the definition says of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import definition
import drawn_patterns
import numpy as np
from nearfield import Neighborhood, Pattern

NAMES = ("query", "key", "value", "additional_keys", "additional_values", "key_mask", "key_weights", "bias")
DIFFERENTIABLE = tuple(name for name in NAMES if name != "key_mask")


@dataclass
class Problem:
    """Arrays by name (a subset of NAMES), and the rest of a call."""

    pattern: Pattern
    arrays: dict[str, Any]
    scale: float | None = None
    softcap: float = 0.0
    about: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def keywords(self) -> dict[str, Any]:
        """Of a call, but for the arrays."""
        return {"scale": self.scale, "softcap": self.softcap, **self.options}


def attention(problem: Problem, dout: Any, dlse: Any) -> definition.Result:
    """What the definition says of the problem, with the gradients from dout and dlse."""
    grid = problem.arrays["query"].shape[1:-2]
    pattern = drawn_patterns.defined(problem.pattern, grid)
    return definition.differentiated(pattern, problem.arrays, problem.scale, problem.softcap, dout, dlse)


def random_problem(seed: int, modifiers: bool = True, rank: int | None = None, kind: str = "neighborhood") -> Problem:
    """A small problem of float64 arrays, with every setting drawn; the same for the same seed. kind: of the pattern, one
    of drawn_patterns.KINDS."""
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
    pattern: Pattern = Neighborhood(*(tuple(axis[i] for axis in axes) for i in range(5)))
    if kind != "neighborhood":
        pattern = drawn_patterns.draw(rng, kind, tuple(grid))
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
        arrays["bias"] = rng.standard_normal((heads, *drawn_patterns.table(problem.pattern, tuple(grid))))
    if rng.integers(2):
        problem.softcap = float(rng.uniform(1, 5))
    if rng.integers(2):
        problem.scale = float(rng.uniform(-1, 1)) if rng.integers(4) else 0.0
    problem.about += f", {sorted(arrays)[:]}, scale {problem.scale}, softcap {problem.softcap}"
