"""Which framework the arrays of a call belong to, found without importing any, and the module that serves it.

A face is a module with these functions, for the arrays of one framework:

    attend(arrays, settings, return_lse)    out and logsumexp, or None
    merge(outs, logsumexps)                 out and logsumexp of parts that are checked
    dtype_of(array)                         the number of the array's dtype in the C ABI, or None
    abstract(name, array)                   the array without its memory, as the C ABI takes it
    copied(name, array)                     why the array is copied before a call, or None
    unfused                                 a module of its own, with qk, av and attend_weights of arrays and settings
    is_tracing(), num_threads()             whether shapes stand for any number; threads of a call, 0: the library's choice
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

TORCH, NUMPY, JAX = "torch", "numpy", "jax"
_ARRAYS = {TORCH: "torch.Tensor", NUMPY: "numpy.ndarray", JAX: "jax.Array"}
_WANTED = {TORCH: "a torch.Tensor", NUMPY: "a numpy.ndarray", JAX: "a jax.Array or numpy.ndarray"}

# The arrays of an attention, in the order in which they are handed on. The first three have to be there.
NAMES = ("query", "key", "value", "additional_keys", "additional_values", "key_mask", "key_weights", "bias")
REQUIRED = 3

_known: dict[type, str] = {}
_modules: dict[str, Any] = {}


def face_of(arrays: Sequence[Any], names: Sequence[str] = NAMES, required: int = REQUIRED) -> Any:
    """The face of the arrays, loaded when such an array is first met.

    Raises TypeError and names the odd one out, if there is one: all must be of the first one's kind, and only those from
    `required` on may be None.
    """
    kind = _known.get(type(arrays[0]))
    if kind is None or not _are_all(kind, arrays, required):
        kind = kind_of(names[0], arrays[0])
        check_kind(kind, arrays, names, required)
    face = _modules.get(kind)
    if face is None:
        face = _modules[kind] = _load(kind)
    return face


def _load(kind: str) -> Any:
    """The module. By statements: torch.compile, whose first trace may come by here, follows these and no importlib."""
    if kind == TORCH:
        from nearfield import _torch as face
    elif kind == NUMPY:
        from nearfield import _numpy as face  # type: ignore[no-redef]
    else:
        from nearfield import _jax as face  # type: ignore[no-redef]
    return face


def _are_all(kind: str, arrays: Sequence[Any], required: int) -> bool:
    for i, each in enumerate(arrays):
        if i < required if each is None else _known.get(type(each)) != kind:
            return False
    return True


def kind_of(name: str, array: Any) -> str:
    """TORCH, NUMPY or JAX. A framework whose arrays these are has been imported by whoever made them."""
    for kind in _ARRAYS:
        if _is_of(kind, array):
            return kind
    raise TypeError(f"{name}: {_is(array)}: must be a torch.Tensor, numpy.ndarray or jax.Array")


def check_kind(kind: str, arrays: Sequence[Any], names: Sequence[str] = NAMES, required: int = REQUIRED) -> None:
    """Raises TypeError unless all arrays are of that kind; JAX takes numpy's too."""
    for i, (name, array) in enumerate(zip(names, arrays, strict=True)):
        if (array is None and i >= required) or _is_of(kind, array) or (kind == JAX and _is_of(NUMPY, array)):
            continue
        like = f", as {names[0]} is" if i and _is_of(kind, arrays[0]) else ""
        raise TypeError(f"{name}: {_is(array)}: must be {_WANTED[kind]}{like}")


def _is_of(kind: str, array: Any) -> bool:
    if type(array) in _known:
        return _known[type(array)] == kind
    module, name = _ARRAYS[kind].split(".")
    known = getattr(sys.modules.get(module), name, None)
    if known is None or not isinstance(array, known) or _is_masked(array):
        return False
    # jax.Array is an abstract class that tracers pass too; the types of these are few.
    _known[type(array)] = kind
    return True


def _is_masked(array: Any) -> bool:
    ma = sys.modules.get("numpy.ma")
    return ma is not None and isinstance(array, ma.MaskedArray)


def _is(array: Any) -> str:
    """What an argument is, for a message."""
    if array is None:
        return "is None"
    if _is_masked(array):
        return "is a numpy.ma.MaskedArray, whose mask says nothing here (keys are hidden by key_mask; .filled() gives the values)"
    kind = next((kind for kind in _ARRAYS if _is_of(kind, array)), None)
    if kind is not None:
        return f"is a {_ARRAYS[kind]}"
    known = type(array)
    return (
        f"is a {known.__qualname__ if known.__module__ == 'builtins' else f'{known.__module__}.{known.__qualname__}'}"
    )
