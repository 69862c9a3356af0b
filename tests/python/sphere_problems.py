"""Random attention problems on the sphere as float64 arrays, and what the definition says of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import definition
import nearfield as nf
import numpy as np
from definition_sphere import Grid, Sphere
from problems import rounded

LATITUDES = ("equiangular", "legendre-gauss", "lobatto", "equiangular-trapezoidal")


@dataclass
class Problem:
    """A call: arrays by the names of `attend`'s arguments, and its numbers."""

    about: str
    pattern: nf.SphereNeighborhood | nf.SphereGlobal
    arrays: dict[str, Any]
    numbers: dict[str, float]

    def expected(self, dout: Any = None, dlse: Any = None) -> definition.Result:
        return definition.differentiated(
            defined(self.pattern),
            self.arrays,
            self.numbers.get("scale"),
            self.numbers.get("softcap", 0.0),
            dout,
            dlse,
        )


def defined(pattern: nf.SphereNeighborhood | nf.SphereGlobal) -> Sphere:
    """The pattern as definition.py takes it."""
    query, key = (Grid(each.nlat, each.nlon, each.latitudes) for each in (pattern.grid, pattern.key_grid))
    if isinstance(pattern, nf.SphereGlobal):
        return Sphere(query, key, math.inf)
    return Sphere(query, key, pattern.cutoff, pattern.tolerance)


def draw_pattern(random: np.random.Generator) -> nf.SphereNeighborhood | nf.SphereGlobal:
    """Any pair of small grids; neighbourhoods of any size, also empty ones."""
    latitudes = [str(each) for each in random.choice(LATITUDES, 2)]
    nlons = [int(random.integers(1, 6))] * 2
    nlons[int(random.integers(2))] *= int(random.integers(1, 4))
    grids = [nf.SphereGrid(int(random.integers(2, 9)), n, kind) for n, kind in zip(nlons, latitudes, strict=True)]
    if random.random() < 0.2:
        return nf.SphereGlobal(*grids)
    cutoff = None if random.random() < 0.3 else float(random.uniform(0.05, 1.2) * math.pi)
    if random.random() < 0.15:  # queries on the equator alone
        grids[0] = nf.SphereGrid(1, nlons[0], "legendre-gauss")
        cutoff = cutoff or 1.0
    return nf.SphereNeighborhood(*grids, cutoff=cutoff, tolerance=float(random.choice([1e-3, 0.0, 0.1])))


def draw(seed: int, dtype: str = "float64") -> Problem:
    """A small problem with every setting drawn; the same for the same seed. Arrays hold values that `dtype` can."""
    random = np.random.default_rng(seed)
    pattern = draw_pattern(random)
    grid, keys = ((each.nlat, each.nlon) for each in (pattern.grid, pattern.key_grid))
    batch, heads_kv, group = (int(random.integers(1, 3)) for _ in range(3))
    d, dv = int(random.integers(1, 9)), int(random.integers(1, 9))

    def normal(*shape: int) -> np.ndarray:
        return rounded(random.standard_normal(shape), dtype)

    arrays = {
        "query": normal(batch, *grid, heads_kv * group, d),
        "key": normal(batch, *keys, heads_kv, d),
        "value": normal(batch, *keys, heads_kv, dv),
    }
    if random.random() < 0.4:
        arrays["key_mask"] = random.random((batch, *keys)) < 0.7
    if random.random() < 0.4:
        shape = (batch, *keys)[int(random.integers(2)) :]
        arrays["key_weights"] = rounded(np.maximum(random.uniform(-0.2, 2, shape), 0), dtype)
    if random.random() < 0.4:
        more = int(random.integers(0, 4))
        arrays["additional_keys"] = normal(batch, more, heads_kv, d)
        arrays["additional_values"] = normal(batch, more, heads_kv, dv)
    numbers = {"scale": float(random.uniform(-1, 1)), "softcap": float(random.uniform(0.5, 3))}
    numbers = {name: each for name, each in numbers.items() if random.random() < 0.4}
    about = f"seed {seed} {dtype} {pattern} { ({n: each.shape for n, each in arrays.items()}) } {numbers}"
    return Problem(about, pattern, arrays, numbers)


# By dtype: the largest errors of out for inputs of about N(0, 1), and of gradients relative to their size.
OUT = {"float64": 1e-12, "float32": 2e-5, "bfloat16": 2e-2}
GRADIENTS = {"float64": 1e-11, "float32": 1e-5, "bfloat16": 1e-2}


def check(problem: Problem, dtype: str, out: Any, lse: Any, gradients: dict[str, Any], dout: Any, dlse: Any) -> None:
    """All float64 arrays against the definition; NaN never passes."""
    known = problem.expected(dout, dlse)
    assert out.shape == known.out.shape and lse.shape == known.logsumexp.shape, problem.about
    assert np.abs(out - known.out).max(initial=0) <= 4 * OUT[dtype], problem.about
    seen = np.isfinite(known.logsumexp)
    assert (np.isneginf(lse) == ~seen).all(), problem.about
    size = 1 + np.abs(known.logsumexp[seen])
    assert (np.abs(lse[seen] - known.logsumexp[seen]) / size).max(initial=0) <= 4 * OUT[dtype], problem.about
    assert set(gradients) == set(known.gradients), problem.about
    for name, found in gradients.items():
        expected = known.gradients[name]
        assert found.shape == expected.shape, (problem.about, name)
        size = max(np.linalg.norm(expected), 1e-2 * np.linalg.norm(known.sizes[name]))
        assert np.linalg.norm(found - expected) <= 2 * GRADIENTS[dtype] * size, (problem.about, name)
