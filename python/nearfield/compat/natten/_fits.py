"""What NATTEN asks of windows and biases, of the fused functions and of the unfused ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nearfield._errors import ArgumentError
from nearfield.patterns import Neighborhood


def check_fits(pattern: Neighborhood, grid: Any) -> None:
    """Raise where a window is larger than its axis: NATTEN refuses it, and 0.14's modules padded instead."""
    axes = pattern.axes(len(grid))
    for i, (k, d, n) in enumerate(zip(axes["kernel_size"], axes["dilation"], grid, strict=True)):
        if k * d > n:
            raise ArgumentError(
                f"kernel_size[{i}]={k}: times dilation[{i}]={d} must be at most the axis' length {n} "
                f"(nearfield.na{len(grid)}d takes larger windows as the whole axis)"
            )


def bias_of(rpb: Tensor | None, query: Tensor) -> Tensor | None:
    """The bias in a type that the library reads, as NATTEN 0.17 converts it."""
    if rpb is None or rpb.dtype == query.dtype or (rpb.dtype == torch.float32 and query.dtype != torch.float64):
        return rpb
    return rpb.to(query.dtype)
