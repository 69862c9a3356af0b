"""Merging attentions of JAX arrays: against the definition, and with everything hidden that counts for nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
import nearfield.jax  # noqa: E402
from jax.test_util import check_grads  # noqa: E402
from nearfield import ArgumentError, Neighborhood  # noqa: E402
from nearfield._jax import merge  # noqa: E402

enable_x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64


def parts_of(count: int, seed: int, dtype: str = "float32") -> tuple[list[Any], list[Any]]:
    rng = np.random.default_rng(seed)
    accumulator = "float64" if dtype == "float64" else "float32"
    outs = [jnp.asarray(rng.standard_normal((2, 5, 3, 4)), dtype) for _ in range(count)]
    return outs, [jnp.asarray(5 * rng.standard_normal((2, 5, 3)), accumulator) for _ in range(count)]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("bfloat16", 2e-2), ("float16", 2e-3)])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_values(count: int, dtype: str, tolerance: float) -> None:
    outs, lses = parts_of(count, count, dtype)
    weights = np.exp(np.stack(lses).astype("float64"))
    want = (
        sum(w[..., None] * np.asarray(o, "float64") for w, o in zip(weights, outs, strict=True))
        / weights.sum(0)[..., None]
    )
    out, lse = jax.jit(merge)(outs, lses)
    assert (out.dtype, lse.dtype) == (dtype, "float32")
    np.testing.assert_allclose(np.asarray(out, "float64"), want, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(lse, np.log(weights.sum(0)), rtol=1e-6, atol=1e-6)


def test_gradients() -> None:
    with enable_x64(True):
        check_grads(merge, parts_of(3, 0, "float64"), order=2)


def test_parts_that_count_for_nothing() -> None:
    outs, lses = parts_of(3, 1)
    nothing = jnp.full_like(lses[0], -jnp.inf)
    hidden = jnp.full_like(outs[0], jnp.nan)
    want, pull = jax.vjp(merge, outs, lses)
    got, pull_more = jax.vjp(merge, [hidden, *outs], [nothing, *lses])
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    (more_outs, more_lses), (less_outs, less_lses) = pull_more(want), pull(want)
    np.testing.assert_array_equal(more_outs[0], jnp.zeros_like(hidden))
    np.testing.assert_array_equal(more_lses[0], jnp.zeros_like(nothing))
    for a, b in zip((*more_outs[1:], *more_lses[1:]), (*less_outs, *less_lses), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    out, lse = merge([hidden, hidden], [nothing, nothing])
    np.testing.assert_array_equal(out, jnp.zeros_like(hidden))
    np.testing.assert_array_equal(lse, nothing)
    gradients = jax.grad(lambda *parts: merge(*parts)[0].sum())([hidden, hidden], [nothing, nothing])
    np.testing.assert_array_equal(gradients[0], jnp.zeros_like(hidden))


def test_two_halves_make_one_attention() -> None:
    rng = np.random.default_rng(2)
    x = jnp.asarray(rng.standard_normal((1, 12, 2, 8)), "float32")
    left = jnp.arange(12)[None] < 6

    def whole(x: Any) -> Any:
        return nearfield.jax.attend(Neighborhood(5), x, x, x)

    def halves(x: Any) -> Any:
        parts = [
            nearfield.jax.attend(Neighborhood(5), x, x, x, key_mask=mask, return_lse=True) for mask in (left, ~left)
        ]
        return merge(*zip(*parts, strict=True))[0]

    np.testing.assert_allclose(halves(x), whole(x), rtol=1e-5, atol=1e-5)
    got, want = (jax.grad(lambda x, f=f: (f(x) ** 2).sum())(x) for f in (halves, whole))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda o, s: (o, [s[0], s[1][:1]]), ArgumentError, r"logsumexps\[1\]: shape \(1, 5, 3\): must be \(2, 5, 3\)"),
        (lambda o, s: ([o[0], o[1].astype("float16")], s), ArgumentError, r"outs\[1\]: dtype float16: must be float32"),
        (lambda o, s: (o, o), ArgumentError, r"logsumexps\[0\]: shape \(2, 5, 3, 4\): must be \(2, 5, 3\)"),
        (lambda o, s: (o, [each.astype("float16") for each in s]), ArgumentError, r"logsumexps\[0\]: dtype float16"),
        (lambda o, s: ([o[0], "text"], s), TypeError, r"outs\[1\]: is a str: must be a jax.Array"),
    ],
)
def test_wrong_arguments(change: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        nearfield.merge(*change(*parts_of(2, 3)))
