"""Attention on the sphere with JAX: against the definition, and under its transformations."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
import nearfield as nf  # noqa: E402
from sphere_problems import check, draw  # noqa: E402

enable_x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64

PATTERN = nf.SphereNeighborhood((4, 6), (5, 12), cutoff=0.9)


def f64(array: Any) -> Any:
    return np.asarray(array).astype(np.float64)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_values_and_gradients_are_the_definitions(dtype: str) -> None:
    for seed in range(200, 205):
        problem = draw(seed, dtype)
        with enable_x64(dtype == "float64"):
            arrays = {
                n: jnp.asarray(each, each.dtype if each.dtype == bool else dtype) for n, each in problem.arrays.items()
            }
            mask = {name: arrays.pop(name) for name in ("key_mask",) if name in arrays}

            def run(arrays: Any, problem: Any = problem, mask: Any = mask) -> Any:
                return nf.jax.attend(problem.pattern, **arrays, **mask, **problem.numbers, return_lse=True)

            (out, lse), pull = jax.vjp(run, arrays)
            random = np.random.default_rng(seed)
            dout = jnp.asarray(random.standard_normal(out.shape), out.dtype)
            dlse = jnp.asarray(random.standard_normal(lse.shape), lse.dtype)
            found = {name: f64(each) for name, each in pull((dout, dlse))[0].items()}
            check(problem, dtype, f64(out), f64(lse), found, f64(dout), f64(dlse))


def arrays(*leading: int) -> list[Any]:
    """query, key, value and weights of the keys."""
    random = np.random.default_rng(0)
    shapes = [(2, 4, 6, 4, 8), (2, 5, 12, 2, 8), (2, 5, 12, 2, 3)]
    made = [jnp.asarray(random.standard_normal((*leading, *each)), "float32") for each in shapes]
    return [*made, jnp.asarray(random.uniform(0, 2, (*leading, 5, 12)), "float32")]


def test_jit_grad_and_vmap_give_the_same_bits() -> None:
    def total(q: Any, k: Any, v: Any, weights: Any) -> Any:
        out = nf.attend(PATTERN, q, k, v, key_weights=weights)
        return (out * out).sum(), out

    both = jax.grad(total, (0, 1, 2, 3), has_aux=True)
    many = arrays(3)
    one_by_one = [both(*(each[i] for each in many)) for i in range(3)]
    for run in (jax.vmap(both), jax.jit(jax.vmap(both))):
        found = run(*many)
        for got, *want in zip(jax.tree.leaves(found), *map(jax.tree.leaves, one_by_one), strict=True):
            assert np.isfinite(got).all()
            np.testing.assert_array_equal(got, jnp.stack(want))
    # Of keys alone: the queries are shared by all.
    q, k, v, weights = many
    some = jax.vmap(lambda k, v, w: total(q[0], k, v, w)[1])(k, v, weights)
    for i in range(3):
        np.testing.assert_array_equal(some[i], total(q[0], k[i], v[i], weights[i])[1])


def test_shard_map_over_the_batch() -> None:
    mesh, spec = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("data",)), jax.sharding.PartitionSpec
    if hasattr(jax, "shard_map"):
        shard_map = jax.shard_map
    else:
        from jax.experimental.shard_map import shard_map

        shard_map = functools.partial(shard_map, check_rep=False)
    specs = (spec("data"), spec("data"), spec("data"), spec())

    def total(q: Any, k: Any, v: Any, weights: Any) -> Any:
        return (nf.attend(PATTERN, q, k, v, key_weights=weights) ** 2).sum((1, 2, 3))

    mapped = shard_map(total, mesh=mesh, in_specs=specs, out_specs=spec("data"))
    found, expected = (jax.grad(lambda *a, f=f: f(*a).sum(), (0, 1, 2, 3))(*arrays()) for f in (mapped, total))
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_patterns_are_static_arguments_and_errors_come_while_tracing() -> None:
    q, k, v, _ = arrays()
    run = jax.jit(lambda pattern, q, k, v: nf.attend(pattern, q, k, v), static_argnums=0)
    np.testing.assert_array_equal(run(PATTERN, q, k, v), nf.attend(PATTERN, q, k, v))
    with pytest.raises(nf.ArgumentError, match=r"^key\.sizes\[1\]=4 \(axis 0\): must be 5, as the pattern says"):
        run(PATTERN, q, q, q)
