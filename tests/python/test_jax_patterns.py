"""The JAX face with windows and patterns along curves: against the definition, and under transformations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
import nearfield as nf  # noqa: E402
from jax_problems import random_problem  # noqa: E402
from test_jax import check_against_definition, enable_x64  # noqa: E402

KINDS = ("window", "curve")
GRID, HEADS = (5, 6), 2
PATTERNS = (
    nf.Window((3, 4), shift=(1, 2)),
    nf.Slide(3),
    nf.HilbertWindow(3),
    nf.HilbertShiftedWindow(2, order="morton"),
    nf.HilbertSlide(9, dilation=2, order="serpentine"),
    nf.HilbertNeighborhood(7, stride=2, is_causal=True),
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(30))
def test_float64_against_definition(seed: int, kind: str) -> None:
    with enable_x64(True):
        check_against_definition(random_problem(seed, kind=kind), "float64", seed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("seed", range(100, 106))
def test_other_dtypes_against_definition(seed: int, dtype: str, kind: str) -> None:
    check_against_definition(random_problem(seed, kind=kind), dtype, seed)


def arrays(*leading: int) -> tuple[Any, Any]:
    """x (..., batch, *grid, heads, channels)"""
    return jnp.asarray(np.random.default_rng(0).standard_normal((*leading, 2, *GRID, HEADS, 8)), "float32")


@pytest.mark.parametrize("pattern", PATTERNS, ids=repr)
def test_jit_grad_and_vmap_give_the_same_bits(pattern: nf.Pattern) -> None:
    x = arrays(3)
    shape = tuple(2 * e - 1 for e in nf.bias_extents(pattern, GRID))
    bias = jnp.asarray(np.random.default_rng(1).standard_normal((HEADS, *shape)), "float32")

    def total(x: Any, bias: Any) -> Any:
        out = nf.attend(pattern, x, x, x, bias=bias)
        return (out * out).sum(), out

    both = jax.grad(total, (0, 1), has_aux=True)
    one_by_one = [both(each, bias) for each in x]
    for run in (jax.vmap(both, (0, None)), jax.jit(jax.vmap(both, (0, None)))):
        found = run(x, bias)
        for got, *want in zip(jax.tree.leaves(found), *map(jax.tree.leaves, one_by_one), strict=True):
            assert np.isfinite(got).all()
            np.testing.assert_array_equal(got, jnp.stack(want))


def test_patterns_are_static_arguments_of_jit() -> None:
    x = arrays()
    run = jax.jit(lambda pattern, x: nf.attend(pattern, x, x, x), static_argnums=0)
    for pattern in PATTERNS:
        np.testing.assert_array_equal(run(pattern, x), nf.attend(pattern, x, x, x))


def test_a_bias_for_another_grid_is_named_while_tracing() -> None:
    pattern, x = nf.HilbertSlide(59), arrays()  # everything of this grid, a part of a larger one
    other = tuple(2 * e - 1 for e in nf.bias_extents(pattern, (16, 16)))
    bias = jnp.zeros((HEADS, *other))
    with pytest.raises(
        nf.ArgumentError, match=r"^bias\.sizes\[1\]=\d+ \(axis 0\): must be \d+, .*nearfield.bias_extents"
    ):
        jax.jit(lambda x: nf.attend(pattern, x, x, x, bias=bias))(x)
