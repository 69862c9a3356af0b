"""nearfield: local attention for every grid, on every machine.

    out = nearfield.na2d(query, key, value, kernel_size=7)

takes torch, numpy or JAX arrays (batch, height, width, heads, head_dim) and returns the same kind. Importing the package
imports none of these frameworks; `nearfield.nn` and `nearfield.compat` need torch, `nearfield.plot` matplotlib,
`nearfield.numpy` and `nearfield.geometry` numpy and `nearfield.jax` JAX, and are loaded when first named. `order` gives
numpy arrays.
"""

import importlib
from typing import Any

from nearfield._errors import ArgumentError, LibraryError, UnsupportedError
from nearfield._version import __version__
from nearfield.explain import Explanation, Info, explain, info
from nearfield.functional import attend, na1d, na2d, na3d
from nearfield.grids import Order, bias_extents, order
from nearfield.merging import merge
from nearfield.patterns import (
    HilbertNeighborhood,
    HilbertShiftedWindow,
    HilbertSlide,
    HilbertWindow,
    Neighborhood,
    Pattern,
    Slide,
    SphereGlobal,
    SphereGrid,
    SphereNeighborhood,
    Window,
)
from nearfield.simulation import Simulation, Visits, simulate
from nearfield.unfused import av, qk

__all__ = [
    "ArgumentError",
    "Explanation",
    "HilbertNeighborhood",
    "HilbertShiftedWindow",
    "HilbertSlide",
    "HilbertWindow",
    "Info",
    "LibraryError",
    "Neighborhood",
    "Order",
    "Pattern",
    "Simulation",
    "Slide",
    "SphereGlobal",
    "SphereGrid",
    "SphereNeighborhood",
    "UnsupportedError",
    "Visits",
    "Window",
    "__version__",
    "attend",
    "av",
    "bias_extents",
    "explain",
    "info",
    "merge",
    "na1d",
    "na2d",
    "na3d",
    "order",
    "qk",
    "simulate",
]

_MODULES = ("compat", "geometry", "jax", "nn", "numpy", "plot")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"nearfield.{name}")
    raise AttributeError(f"module 'nearfield' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
