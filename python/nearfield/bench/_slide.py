"""Slide attention: by unfolding, as it is written in torch, and along the Hilbert curve."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import nearfield

if TYPE_CHECKING:
    from torch import Tensor

_TOLERANCE = 2e-5  # of float32, for inputs N(0, 1)


def unfolded(query: Tensor, key: Tensor, value: Tensor, size: int) -> Tensor:
    """Slide attention over size x size tokens, cut at the borders: every key and value copied once for each window.

    Tensors are (1, height, width, heads, head_dim), and so is the result. This is the formulation by depthwise
    shifts, or `unfold`, that "Hilbert-Guided Block-Sparse Local Attention" (2025) compares with.
    """
    import torch
    from torch.nn import functional

    _, height, width, heads, head_dim = query.shape
    left, right = size // 2, size - 1 - size // 2

    def windows(x: Tensor) -> Tensor:
        image = functional.pad(x[0].permute(2, 3, 0, 1), (left, right, left, right))
        return functional.unfold(image, size).view(heads, head_dim, size * size, height * width)

    inside = windows(torch.ones_like(key))[:, 0] > 0
    # Sums of products, position by position: a batched matrix product would have to transpose the copies first.
    logits = (windows(key) * query[0].permute(2, 3, 0, 1).reshape(heads, head_dim, 1, -1)).sum(1) * head_dim**-0.5
    weights = logits.masked_fill(~inside, float("-inf")).softmax(1)
    out = (windows(value) * weights[:, None]).sum(2)
    result: Tensor = out.permute(2, 0, 1).reshape(1, height, width, heads, head_dim)
    return result


def slide(side: int, size: int, rounds: int) -> str:
    """Times on one thread, one head of 64 channels, side x side tokens, windows of size x size tokens.

    Raises
    ------
    ArithmeticError
        If the unfolded attention and nearfield's own of the same windows disagree.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch.manual_seed(0)
        query, key, value = torch.randn(3, 1, side, side, 1, 64).unbind(0)
        calls: dict[str, Callable[[], Tensor]] = {
            "unfolded, in torch": lambda: unfolded(query, key, value, size),
            f"nearfield.Neighborhood({size}, boundary='cut')": lambda: nearfield.attend(
                nearfield.Neighborhood(size, boundary="cut"), query, key, value
            ),
            f"nearfield.HilbertSlide({size * size})": lambda: nearfield.attend(
                nearfield.HilbertSlide(size * size), query, key, value
            ),
        }
        outs = [call() for call in calls.values()]
        error = (outs[0] - outs[1]).abs().max().item()
        if not error <= _TOLERANCE:
            raise ArithmeticError(f"the same windows give results that differ by {error}")
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(rounds):  # alternately: a busy machine slows all
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    slow = times["unfolded, in torch"]
    rows = [f"{f'{side} x {side} tokens, 1 head of 64, {size} x {size} keys':<52}{'time':>12}{'ratio':>9}"]
    for name, own in times.items():
        ratio = statistics.median(a / b for a, b in zip(slow, own, strict=True))
        rows.append(f"{name:<52}{statistics.median(own) * 1e3:>9.2f} ms{ratio:>8.1f}x")
    return "\n".join(rows)
