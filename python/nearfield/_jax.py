"""The JAX face as `nearfield.functional`, `explain` and `merging` call it; jax.py has the attention itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nearfield import _abi
from nearfield import _jax_ffi as ffi
from nearfield._errors import ArgumentError
from nearfield.jax import attend_words


class Settings(NamedTuple):
    """All of a call that is no array."""

    pattern: tuple[int, ...]
    scale: float | None = None
    softcap: float = 0.0
    options: tuple[int, int, int, int] = (0, 0, 0, 0)


def is_tracing() -> bool:
    """Whether shapes stand for any number: patterns and options never do in JAX."""
    return False


def attend(arrays: Sequence[Any], settings: Settings, return_lse: bool) -> tuple[jax.Array, jax.Array | None]:
    """out and, if asked for, logsumexp."""
    return attend_words(settings.pattern, arrays, settings.scale, settings.softcap, settings.options, return_lse)


def abstract(name: str, array: Any) -> _abi.TensorWords:
    """The array without its memory, for `explain`."""
    return ffi.words_of(name, (tuple(array.shape), str(array.dtype)))


def must_copy(name: str, array: Any) -> bool:
    """Arrays that XLA hands over are dense."""
    return False


def num_threads() -> int:
    """0: the library's own choice."""
    return 0


def merge(outs: Sequence[Any], logsumexps: Sequence[Any]) -> tuple[jax.Array, jax.Array]:
    """One softmax of several: elementwise, so XLA fuses and differentiates it itself."""
    outs, logsumexps = [jnp.asarray(each) for each in outs], [jnp.asarray(each) for each in logsumexps]
    for name, parts in (("outs", outs), ("logsumexps", logsumexps)):
        for i, part in enumerate(parts):
            if (part.shape, part.dtype) != (parts[0].shape, parts[0].dtype):
                raise ArgumentError(
                    f"{name}[{i}]: {part.dtype} of shape {part.shape}: must be {parts[0].dtype} of shape "
                    f"{parts[0].shape}, as {name}[0]"
                )
    if logsumexps[0].shape != outs[0].shape[:-1]:
        raise ArgumentError(
            f"logsumexps[0]: shape {logsumexps[0].shape}: must be {outs[0].shape[:-1]}: outs[0] without its channels"
        )
    lse = jnp.stack(logsumexps)
    largest = jax.lax.stop_gradient(lse.max(0))
    largest = jnp.where(jnp.isneginf(largest), 0, largest)
    weights = jnp.exp(lse - largest)
    total = weights.sum(0)
    nothing = total == 0
    safe = jnp.where(nothing, 1, total)
    merged = jnp.zeros(outs[0].shape, lse.dtype)
    for weight, out in zip(weights, outs, strict=True):
        # A part that counts for nothing may hold anything.
        counts = (weight != 0)[..., None]
        merged = merged + jnp.where(counts, (weight / safe)[..., None] * jnp.where(counts, out.astype(lse.dtype), 0), 0)
    return merged.astype(outs[0].dtype), jnp.where(nothing, -jnp.inf, largest + jnp.log(safe))
