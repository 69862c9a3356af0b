"""Merging attentions: elementwise, so JAX does it, with every transformation."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from nearfield._errors import ArgumentError


def merge(outs: Sequence[jax.Array], logsumexps: Sequence[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """logsumexp = ln(sum_i exp(lse_i)), out = sum_i exp(lse_i - logsumexp) out_i.

    A part whose logsumexp is -inf counts for nothing, whatever its out holds; if all are, out is 0.
    """
    outs, logsumexps = [jnp.asarray(each) for each in outs], [jnp.asarray(each) for each in logsumexps]
    check(outs, logsumexps)
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


def check(outs: Sequence[jax.Array], logsumexps: Sequence[jax.Array]) -> None:
    """Shapes and dtypes, with the core's rules: all alike."""
    for name, parts in (("outs", outs), ("logsumexps", logsumexps)):
        for i, part in enumerate(parts):
            if part.shape != parts[0].shape:
                raise ArgumentError(f"{name}[{i}]: shape {part.shape}: must be {parts[0].shape}, as {name}[0] has")
            if part.dtype != parts[0].dtype:
                raise ArgumentError(f"{name}[{i}]: dtype {part.dtype}: must be {parts[0].dtype}, as {name}[0] has")
    out, lse = outs[0], logsumexps[0]
    if lse.shape != out.shape[:-1]:
        raise ArgumentError(f"logsumexps[0]: shape {lse.shape}: must be {out.shape[:-1]}: outs[0] without its channels")
    wanted = "float64" if out.dtype == "float64" else "float32"
    if lse.dtype != wanted:
        raise ArgumentError(f"logsumexps[0]: dtype {lse.dtype}: must be {wanted} where outs are {out.dtype}")
