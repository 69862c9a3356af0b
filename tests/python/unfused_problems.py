"""Random problems of the unfused operators, as numpy arrays, and the layers above them that tests compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drawn_patterns
import nearfield
import numpy as np

QK = ("query", "key", "additional_keys", "key_mask", "bias")
AV = ("weights", "value", "additional_values", "key_mask")
ATTEND = ("query", "key", "value", "additional_keys", "additional_values", "key_mask", "bias")


@dataclass
class Problem:
    """A pattern and the arrays of all calls on it, by name; float64."""

    pattern: nearfield.Pattern
    arrays: dict[str, Any]
    scale: float
    about: str

    def of(self, names: tuple[str, ...], required: int) -> tuple[list[Any], dict[str, Any]]:
        """A call's required arrays, and its others by name."""
        given = {name: self.arrays[name] for name in names if name in self.arrays}
        return [given.pop(name) for name in names[:required]], given

    def defined(self) -> Any:
        """The pattern as the definition takes it."""
        return drawn_patterns.defined(self.pattern, self.arrays["query"].shape[1:-2])


def draw(seed: int, kind: str = "neighborhood", most_tokens: int = 30, modifiers: bool = True) -> Problem:
    """A small problem; the same for the same seed. kind: of the pattern, one of drawn_patterns.KINDS."""
    random = np.random.default_rng(seed)
    grid: tuple[int, ...] = ()
    for _ in range(int(random.integers(1, 4))):
        grid += (int(random.integers(1, max(2, most_tokens // max(1, int(np.prod(grid))) + 1))),)
    pattern = drawn_patterns.draw(random, kind, grid)
    batch, heads_kv, group = (int(random.integers(1, 3)) for _ in range(3))
    d, dv, more, heads = int(random.integers(1, 10)), int(random.integers(1, 10)), 0, heads_kv * group
    arrays = {
        "query": random.standard_normal((batch, *grid, heads, d)),
        "key": random.standard_normal((batch, *grid, heads_kv, d)),
        "value": random.standard_normal((batch, *grid, heads_kv, dv)),
    }
    if modifiers and random.random() < 0.5:
        more = int(random.integers(0, 4))
        arrays["additional_keys"] = random.standard_normal((batch, more, heads_kv, d))
        arrays["additional_values"] = random.standard_normal((batch, more, heads_kv, dv))
    if modifiers and random.random() < 0.5:
        arrays["key_mask"] = random.random((batch, *grid)) < 0.7
    if modifiers and random.random() < 0.5:
        arrays["bias"] = random.standard_normal((heads, *drawn_patterns.table(pattern, grid)))
    slots = int(np.prod(nearfield.geometry.weight_slots(pattern, grid)))
    arrays["weights"] = random.standard_normal((batch, *grid, heads, slots + more))
    scale = float(random.uniform(-1, 1))
    shapes = {name: array.shape for name, array in arrays.items()}
    return Problem(pattern, arrays, scale, f"seed {seed} {kind}: {pattern}, {shapes}, scale {scale}")
