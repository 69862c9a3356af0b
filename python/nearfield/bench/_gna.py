"""The use cases of "Generalized Neighborhood Attention" beside torch's dense attention."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import nearfield

if TYPE_CHECKING:
    from torch import Tensor

_HEAD_DIM = 128
_TOLERANCE = 2e-5  # of float32, for inputs N(0, 1)

Axes = tuple[int, ...]


class Use(NamedTuple):
    """A published grid and window, and strides: 1, and one with which no tile needs a mask."""

    name: str
    grid: Axes
    window: Axes
    strides: tuple[Axes, ...]


USES = (
    Use("cosmos-wide", (16, 44, 80), (16, 32, 48), ((1, 1, 1), (1, 8, 8))),
    Use("cosmos", (16, 44, 80), (16, 24, 16), ((1, 1, 1), (1, 8, 16))),
    Use("hunyuan-wide", (30, 48, 80), (30, 40, 40), ((1, 1, 1), (1, 8, 8))),
    Use("hunyuan", (30, 48, 80), (18, 24, 24), ((1, 1, 1), (16, 8, 8))),
    Use("flux", (256, 256), (80, 80), ((1, 1), (16, 16))),
)


def shortened(use: Use, by: int) -> Use:
    """The same with all lengths divided."""

    def divided(axes: Axes) -> Axes:
        return tuple(max(each // by, 1) for each in axes)

    return Use(use.name, divided(use.grid), divided(use.window), tuple(map(divided, use.strides)))


def gna(rounds: int, by: int) -> str:
    """Times on one thread, one head of 128 channels, with the published lengths divided by `by` on each axis.

    Raises
    ------
    ArithmeticError
        If nearfield's and torch's attention over the whole grid disagree.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = [
        f"lengths divided by {by} on each axis; medians; ideal: all pairs over those of the window; bound: the "
        "simulator's, with the tiles that run and their idle lanes",
        f"{'case':<13}{'grid':>11}{'stride':>9}{'torch dense':>14}{'dense':>11}{'window':>11}{'ideal':>8}{'bound':>8}"
        f"{'speed-up':>10}{'share':>7}{'over torch':>12}",
    ]
    try:
        for use in USES:
            rows += _measure(shortened(use, by), rounds)
    finally:
        torch.set_num_threads(before)
    return "\n".join(rows)


def _measure(use: Use, rounds: int) -> list[str]:
    import torch

    torch.manual_seed(0)
    query, key, value = torch.randn(3, 1, *use.grid, 1, _HEAD_DIM).unbind(0)
    q, k, v = (x.reshape(1, 1, -1, _HEAD_DIM) for x in (query, key, value))
    whole = nearfield.Neighborhood(use.grid)
    patterns = [nearfield.Neighborhood(use.window, stride=stride) for stride in use.strides]

    def attend(pattern: nearfield.Neighborhood) -> Callable[[], Tensor]:
        return lambda: nearfield.attend(pattern, query, key, value, num_threads=1)

    calls: list[Callable[[], Tensor]] = [
        lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v),
        attend(whole),
        *map(attend, patterns),
    ]
    outs = [call() for call in calls]
    error = (outs[0].reshape(outs[1].shape) - outs[1]).abs().max().item()
    if not error <= _TOLERANCE:
        raise ArithmeticError(f"attention over the whole grid gives results that differ by {error}")
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):  # alternately: a busy machine slows all
        for call, own in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            own.append(time.perf_counter() - start)
    torch_dense, dense, *windows = (statistics.median(own) for own in times)
    return [
        _row(use, stride, pattern, (torch_dense, dense, window), query)
        for stride, pattern, window in zip(use.strides, patterns, windows, strict=True)
    ]


def _row(use: Use, stride: Axes, pattern: nearfield.Neighborhood, times: tuple[float, ...], query: Tensor) -> str:
    torch_dense, dense, window = times
    runs = nearfield.explain(pattern, query, query, query, num_threads=1)
    tiles, steps = (tuple(min(a, n) for a, n in zip(each, use.grid, strict=True)) for each in (runs.tile, runs.step))
    found = nearfield.simulate(pattern, use.grid, tiles, steps)
    # Tiles at the grid's end may lack queries: those lanes take their time, too.
    bound = min(found.steps.mean_bound, found.ideal_bound * runs.useful_pairs / runs.executed_pairs)
    speedup = dense / window
    cells = "".join(f"{each * 1e3:>8.1f} ms" for each in (dense, window))
    return (
        f"{use.name:<13}{'x'.join(map(str, use.grid)):>11}{'x'.join(map(str, stride)):>9}{torch_dense * 1e3:>11.1f} ms"
        f"{cells}{found.ideal_bound:>7.2f}x{bound:>7.2f}x{speedup:>9.2f}x{speedup / bound:>7.0%}"
        f"{torch_dense / window:>11.2f}x"
    )
