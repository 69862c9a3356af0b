"""Arguments that choose NATTEN's kernels and tiles. They mean nothing here: checked, then accepted with one warning."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from nearfield._errors import ArgumentError

FNA = ("cutlass-fna", "hopper-fna", "blackwell-fna", "flex-fna")
FMHA = ("cutlass-fmha", "hopper-fmha", "blackwell-fmha", "flex-fmha")
_SCHEDULES = ("non", "coop", "pp")

# In the order in which NATTEN's functions take them.
TILE_SHAPES = ("q_tile_shape", "kv_tile_shape", "backward_q_tile_shape", "backward_kv_tile_shape")
TILE_SIZES = ("q_tile_size", "kv_tile_size", "backward_q_tile_size", "backward_kv_tile_size")
REST = (
    "backward_kv_splits",
    "backward_use_pt_reduction",
    "run_persistent_kernel",
    "kernel_schedule",
    "torch_compile",
)

_warned: set[str] = set()


def warn_once(topic: str, text: str) -> None:
    """Warns the first time that a topic comes up in this process."""
    if torch.compiler.is_compiling() or topic in _warned:
        return
    _warned.add(topic)
    warnings.warn(f"nearfield.compat.natten: {text}", stacklevel=_callers_level())


def _callers_level() -> int:
    """The `stacklevel`, for `warn_once`, of the first frame outside of nearfield."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("nearfield."):
        level, frame = level + 1, frame.f_back
    return level


def accept(given: Mapping[str, Any], backends: tuple[str, ...]) -> None:
    """Raise for a backend or schedule that NATTEN does not have; warn once of one that it has."""
    _one_of("backend", given.get("backend"), backends)
    _one_of("kernel_schedule", given.get("kernel_schedule"), _SCHEDULES)
    for name in ("backend", *TILE_SHAPES, *TILE_SIZES, "backward_kv_splits", "kernel_schedule"):
        value = given.get(name)
        if value is not None:
            warn_once("kernels", f"{name}={value!r}: has no effect: nearfield chooses its kernels and tiles itself")
            return


def accept_attention_options(options: Mapping[str, Any] | None) -> None:
    """`attention_kwargs`: options of the attention to additional tokens, which is one with the neighbourhood's here."""
    allowed = ("backend", *TILE_SIZES, *REST)
    for name in options or ():
        if name not in allowed:
            raise ArgumentError(f"attention_kwargs[{name!r}]: must be one of {', '.join(allowed)}")
    accept(options or {}, FMHA)


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise ArgumentError(f"{name}={value!r}: must be None or one of {', '.join(map(repr, known))}")
