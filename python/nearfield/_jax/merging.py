"""Merging attentions: elementwise, so JAX does it, with every transformation."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def merge(outs: Sequence[jax.Array], logsumexps: Sequence[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """logsumexp = ln(sum_i exp(lse_i)), out = sum_i exp(lse_i - logsumexp) out_i.

    A part whose logsumexp is -inf counts for nothing, whatever its out holds; if all are, out is 0.
    """
    outs, logsumexps = [jnp.asarray(each) for each in outs], [jnp.asarray(each) for each in logsumexps]
    lse = jnp.stack(logsumexps)
    largest = jax.lax.stop_gradient(lse.max(0))
    largest = jnp.where(largest == -jnp.inf, 0, largest)
    weights = jnp.exp(lse - largest)
    total = weights.sum(0)
    nothing = total == 0
    safe = jnp.where(nothing, 1, total)
    merged = jnp.zeros(outs[0].shape, lse.dtype)
    for weight, out in zip(weights, outs, strict=True):
        # Hidden before it is multiplied: the gradient of a product would let NaN through.
        seen = jnp.where((weight == 0)[..., None], 0, out.astype(lse.dtype))
        merged = merged + (weight / safe)[..., None] * seen
    return merged.astype(outs[0].dtype), jnp.where(nothing, -jnp.inf, largest + jnp.log(safe))
