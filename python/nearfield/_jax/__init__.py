"""The JAX face: attention as a function that JAX traces, differentiates (in reverse mode) and maps.

nearfield/jax.py says what users have to know of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from nearfield import _abi
from nearfield._jax import handlers, manual, unfused
from nearfield._jax.call import DIFFERENTIABLE, Tensors, check, words_of
from nearfield._jax.merging import merge
from nearfield._options import Settings

__all__ = ["abstract", "attend", "copied", "dtype_of", "is_tracing", "merge", "num_threads", "unfused"]


def attend(arrays: Sequence[Any], settings: Settings, return_lse: bool) -> tuple[jax.Array, jax.Array | None]:
    """out and, if asked for, logsumexp; arrays in the order of `Tensors`, None where there is none."""
    tensors = Tensors(*(None if each is None else jnp.asarray(each) for each in arrays))
    check(settings, tensors)
    axes = manual.varying_axes(*(each for each in tensors if each is not None))
    tensors = Tensors(*(None if each is None else manual.varying(each, axes) for each in tensors))
    results = _attend_compiled(settings, return_lse, tensors)
    return results[0], results[1] if return_lse else None


def abstract(name: str, array: Any) -> _abi.TensorWords:
    """The array without its memory, for `explain`."""
    return words_of(name, tuple(array.shape), str(jnp.result_type(array)))


def copied(name: str, array: Any) -> str | None:
    """None: XLA hands over arrays that the library can read."""
    return None


def dtype_of(array: Any) -> int | None:
    """The number in the C ABI of the dtype that JAX gives the array."""
    return _abi.DTYPES.get(str(jnp.result_type(array)))


def is_tracing() -> bool:
    """Whether shapes stand for any number: JAX traces for one shape."""
    return False


def num_threads() -> int:
    """0: the library's own choice."""
    return 0


# ---- differentiation ------------------------------------------------------------------------------------------------


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _attend(settings: Settings, return_lse: bool, tensors: Tensors) -> tuple[jax.Array, ...]:
    """out and, if asked for, logsumexp."""
    return handlers.forward(settings, tensors, return_lse)


def _attend_forward(settings: Settings, return_lse: bool, tensors: Tensors) -> tuple[tuple[jax.Array, ...], Any]:
    """`_attend`, and what the backward pass needs. Leaves of `tensors` know whether they are differentiated."""
    values = Tensors(*(None if each is None else each.value for each in tensors))
    leaves = {name: getattr(tensors, name) for name in DIFFERENTIABLE}
    wanted = [name for name, leaf in leaves.items() if leaf is not None and leaf.perturbed]
    if wanted:
        check(settings, values, wanted)
    out, logsumexp = handlers.forward(settings, values, with_logsumexp=True)
    results = (out, logsumexp) if return_lse else (out,)
    # The names are part of the structure of what is kept, which JAX leaves alone: there is no other room for them.
    return results, (values, (out, logsumexp), dict.fromkeys(wanted))


def _attend_backward(settings: Settings, return_lse: bool, kept: Any, gradients: tuple[Any, ...]) -> tuple[Tensors]:
    values, (out, logsumexp), wanted = kept
    dout = gradients[0]
    dlogsumexp = gradients[1] if return_lse else None
    if isinstance(dlogsumexp, SymbolicZero):
        dlogsumexp = None
    if isinstance(dout, SymbolicZero):
        if dlogsumexp is None:
            wanted = {}
        dout = manual.varying(jnp.zeros(out.shape, out.dtype), manual.varying_axes(out))
    found: dict[str, Any] = {}
    if wanted:
        found = handlers.backward(settings, values, (out, logsumexp), (dout, dlogsumexp), tuple(wanted))
    # What is not wanted gets JAX's own zero. None would do, but JAX before 0.8 takes it amiss if one compiled function is
    # differentiated in two ways and the Nones are not the same.
    for name in DIFFERENTIABLE:
        if name not in found and getattr(values, name) is not None:
            found[name] = SymbolicZero(manual.type_of(getattr(values, name)).to_tangent_aval())
    return (Tensors(*(found.get(name) for name in Tensors._fields)),)


_attend.defvjp(_attend_forward, _attend_backward, symbolic_zeros=True)

# Compiled once for each call and shapes, so that calls outside of jit don't trace anew.
_attend_compiled = jax.jit(_attend, static_argnums=(0, 1))
