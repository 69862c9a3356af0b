"""nf_simulate: its structs and its call."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from nearfield._abi import geometry_call


class Visits(ctypes.Structure):
    """nf_visits."""

    _fields_ = [
        (name, ctypes.c_double)
        for name in (
            "units",
            "keys",
            "pairs",
            "dense_units",
            "dense_keys",
            "dense_pairs",
            "most_units",
            "most_keys",
            "full_units",
            "masked_units",
            "waste",
            "worst_bound",
            "mean_bound",
            "seconds",
            "dense_seconds",
        )
    ]


class Simulation(ctypes.Structure):
    """nf_simulation."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("query_tiles", ctypes.c_double),
        ("dense_query_tiles", ctypes.c_double),
        ("useful_pairs", ctypes.c_double),
        ("dense_pairs", ctypes.c_double),
        ("ideal_bound", ctypes.c_double),
        ("key_tiles", Visits),
        ("steps", Visits),
    ]


def simulate(
    pattern: Sequence[int],
    grid: Sequence[int],
    tile: Sequence[int],
    key_tile: Sequence[int],
    rates: Sequence[float] | None,
) -> Simulation:
    """nf_simulate; rates are per_key, per_masked_key, per_step and per_tile."""
    result = Simulation(struct_size=ctypes.sizeof(Simulation))
    boxes = [(ctypes.c_int64 * len(each))(*each) for each in (tile, key_tile)]
    numbers = None if rates is None else (ctypes.c_double * 4)(*rates)
    places = [ctypes.addressof(each) for each in boxes]
    places += [0 if numbers is None else ctypes.addressof(numbers), ctypes.addressof(result)]
    geometry_call("nf_simulate", pattern, grid, *places)
    return result
