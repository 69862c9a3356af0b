"""Which framework an array belongs to, found without importing any."""

from __future__ import annotations

import sys
from typing import Any

TORCH, NUMPY, JAX = "torch", "numpy", "jax"

_known: dict[type, str] = {}


def kind_of(name: str, array: Any) -> str:
    """TORCH, NUMPY or JAX. A framework whose arrays these are has been imported by whoever made them."""
    kind = _known.get(type(array))
    if kind is not None:
        return kind
    for kind, module, names in (
        (TORCH, "torch", ("Tensor",)),
        (NUMPY, "numpy", ("ndarray",)),
        (JAX, "jax", ("Array",)),
    ):
        loaded = sys.modules.get(module)
        types = tuple(getattr(loaded, each) for each in names if hasattr(loaded, each))
        if types and isinstance(array, types):
            # jax.Array is an abstract class that tracers pass too; the types of these are few.
            _known[type(array)] = kind
            return kind
    raise TypeError(
        f"{name}: is a {type(array).__module__}.{type(array).__qualname__}: must be a torch.Tensor, numpy.ndarray or jax.Array"
    )
