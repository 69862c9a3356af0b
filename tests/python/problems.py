"""Random attention problems as numpy arrays, with the pattern in nearfield's words and in the definition's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import definition
import drawn_patterns
import nearfield
import numpy as np

# Largest absolute error of out, for inputs of about N(0, 1); the promise of docs/numerics.
OUT = {"float64": 1e-12, "float32": 2e-5, "bfloat16": 2e-2, "float16": 3e-3}


@dataclass
class Problem:
    """A call: pattern, arrays, modifiers, all in float64 holding values that `dtype` holds."""

    seed: int
    dtype: str
    pattern: nearfield.Pattern
    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    modifiers: dict[str, Any] = field(default_factory=dict)

    def defined(self) -> Any:
        """The pattern as the definition takes it."""
        return drawn_patterns.defined(self.pattern, self.query.shape[1:-2])

    def expected(self) -> tuple[np.ndarray, np.ndarray]:
        return definition.attention(self.defined(), self.query, self.key, self.value, **self.modifiers)

    def __str__(self) -> str:
        given = {k: getattr(v, "shape", v) for k, v in self.modifiers.items()}
        shapes = self.query.shape, self.key.shape, self.value.shape
        return f"seed {self.seed} {self.dtype} {self.pattern} {shapes} {given}"


def draw(
    seed: int, dtype: str = "float64", most_tokens: int = 60, plain: bool = False, kind: str = "neighborhood"
) -> Problem:
    """A small problem with a pattern of one of drawn_patterns.KINDS; `plain`: without modifiers."""
    random = np.random.default_rng(seed)
    rank = int(random.integers(1, 4))
    grid: tuple[int, ...] = ()
    for _ in range(rank):
        grid += (int(random.integers(1, max(2, most_tokens // max(1, int(np.prod(grid))) + 1))),)
    pattern = drawn_patterns.draw(random, kind, grid)
    batch, heads_kv, group = (int(random.integers(1, 3)) for _ in range(3))
    d, dv = int(random.integers(1, 12)), int(random.integers(1, 12))

    def normal(*shape: int) -> np.ndarray:
        return rounded(random.standard_normal(shape), dtype)

    problem = Problem(
        seed,
        dtype,
        pattern,
        normal(batch, *grid, heads_kv * group, d),
        normal(batch, *grid, heads_kv, d),
        normal(batch, *grid, heads_kv, dv),
    )
    if plain:
        return problem
    more = int(random.integers(0, 4))
    choices = {
        "scale": float(random.uniform(-1, 1)),
        "softcap": float(random.uniform(0.5, 3)),
        "bias": normal(heads_kv * group, *drawn_patterns.table(pattern, grid)),
        "key_mask": random.random((batch, *grid)) < 0.7,
        "key_weights": rounded(
            np.maximum(random.uniform(-0.2, 2, (batch, *grid)[int(random.integers(0, 2)) :]), 0), dtype
        ),
    }
    problem.modifiers = {name: each for name, each in choices.items() if random.random() < 0.4}
    if random.random() < 0.4:
        problem.modifiers["additional_keys"] = normal(batch, more, heads_kv, d)
        problem.modifiers["additional_values"] = normal(batch, more, heads_kv, dv)
    return problem


def rounded(array: np.ndarray, dtype: str) -> np.ndarray:
    """The values that `dtype` can hold, in float64."""
    if dtype == "bfloat16":
        bits = np.asarray(array, np.float32).view(np.uint32)
        return (bits & np.uint32(0xFFFF0000)).view(np.float32).astype(np.float64)
    return np.asarray(array, dtype).astype(np.float64)
