"""Calls of libnearfield_jax, whose handlers XLA runs. What they are given is described in python/native/ffi_call.h.

The library lies beside libnearfield, and is loaded and its handlers registered at the first call.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nearfield import _library
from nearfield._errors import LibraryError
from nearfield._jax.call import DIFFERENTIABLE, Tensors
from nearfield._jax.manual import result_like
from nearfield._options import Settings

pycapsule: Any = jax.ffi.pycapsule  # it has no types

_FORWARD, _BACKWARD = "nearfield_forward", "nearfield_backward"
_NAMES = ("forward", "backward", "qk", "qk_backward", "av", "av_backward", "forward_weights")

# The operands of every handler, of which each takes some (ffi_call.h).
_OPERANDS = (*Tensors._fields, "out", "logsumexp", "dout", "dlogsumexp", "weights", "dweights")


@cache
def register() -> None:
    """Loads libnearfield_jax and registers its handlers. Raises LibraryError."""
    path = _library.path.with_name("libnearfield_jax.so")
    if not path.is_file():
        raise LibraryError(f"{path}: no such file: this nearfield was built without JAX (NEARFIELD_JAX=OFF)")
    try:
        library = ctypes.CDLL(os.fspath(path))
        handlers = {f"nearfield_{name}": pycapsule(getattr(library, f"nf_jax_{name}")) for name in _NAMES}
        elsewhere = pycapsule(library.nf_jax_elsewhere)
    except (OSError, AttributeError) as error:
        raise LibraryError(f"{path}: cannot be used with JAX {jax.__version__}: {error}") from error
    for target, handler in handlers.items():
        jax.ffi.register_ffi_target(target, handler, platform="cpu")
        # Elsewhere XLA would only say that it knows no such target.
        for platform in ("CUDA", "ROCM"):
            jax.ffi.register_ffi_target(target, elsewhere, platform=platform)


def forward(settings: Settings, tensors: Tensors, with_logsumexp: bool) -> tuple[jax.Array, ...]:
    """out (batch, *grid, heads, head_dim_v) and, if asked for, logsumexp (batch, *grid, heads)."""
    query, value = tensors.query, tensors.value
    results = [result_like(query, (*query.shape[:-1], value.shape[-1]), query.dtype)]
    if with_logsumexp:
        results.append(result_like(query, query.shape[:-1], accumulator(query.dtype)))
    return _run(_FORWARD, settings, (*tensors, None, None, None, None), results, (1 << len(results)) - 1)


def backward(
    settings: Settings,
    tensors: Tensors,
    outputs: tuple[jax.Array, jax.Array],
    gradients: tuple[jax.Array, jax.Array | None],
    wanted: Sequence[str],
) -> dict[str, jax.Array]:
    """The `wanted` gradients by name, from out and logsumexp and the gradients of both."""
    sources = {name: getattr(tensors, name) for name in DIFFERENTIABLE if name in wanted}
    results = [result_like(source, source.shape, source.dtype) for source in sources.values()]
    bits = sum(1 << i for i, name in enumerate(DIFFERENTIABLE) if name in sources)
    arrays = _run(_BACKWARD, settings, (*tensors, *outputs, *gradients), results, bits)
    return dict(zip(sources, arrays, strict=True))


def run(
    name: str, settings: Settings, operands: dict[str, Any], results: list[Any], bits: int
) -> tuple[jax.Array, ...]:
    """The results of the handler nearfield_`name`; operands by their names in _OPERANDS, bits: which results these are."""
    return _run(f"nearfield_{name}", settings, [operands.get(each) for each in _OPERANDS], results, bits)


def _run(
    target: str, settings: Settings, operands: Sequence[jax.Array | None], results: list[Any], bits: int
) -> tuple[jax.Array, ...]:
    register()
    given = sum(1 << i for i, each in enumerate(operands) if each is not None)
    # vmap hands over what it does not map with a leading axis of length 1; the handlers know what to do with these.
    run = jax.ffi.ffi_call(target, results, vmap_method="expand_dims")
    arrays = run(
        *(each for each in operands if each is not None),
        operands=np.int64(given),
        results=np.int64(bits),
        **_attributes(settings),
    )
    return tuple(arrays)


def _attributes(settings: Settings) -> dict[str, Any]:
    """The handlers' attributes. numpy's types keep their width whether or not JAX has 64-bit types enabled."""
    isa, kernel, engine, threads = settings.options
    attributes: dict[str, Any] = {
        "pattern": np.array(settings.pattern, np.int64),
        "softcap": np.float64(settings.softcap),
        "engine": np.int64(engine),
        "isa": np.int64(isa),
        "kernel": np.int64(kernel),
        "num_threads": np.int64(threads),
    }
    if settings.scale is not None:
        attributes["scale"] = np.float64(settings.scale)
    return attributes


def accumulator(dtype: Any) -> Any:
    """The dtype of sums, and so of logsumexp."""
    return jnp.float64 if dtype == jnp.float64 else jnp.float32
