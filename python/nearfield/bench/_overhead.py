"""What a call from Python costs."""

from __future__ import annotations

import statistics

import nearfield


def overhead(rounds: int) -> str:
    """A tiny attention, 4 x 4 tokens of one head of 8 channels, beside torch's own on the same tokens."""
    import torch
    from torch.utils.benchmark import Timer

    dense = torch.nn.functional.scaled_dot_product_attention
    rows = [
        f"{'4 x 4 tokens, 1 head, head_dim 8':<34}{'torch SDPA':>12}{'nearfield':>12}{'ratio':>8}",
    ]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name, needs_grad, tail in (
            ("forward", False, ""),
            ("forward, gradients recorded", True, ""),
            ("forward and backward", True, ".backward(g)"),
        ):
            x = torch.randn(1, 4, 4, 1, 8)
            y = x.reshape(1, 1, 16, 8).clone()
            timers = [
                Timer("f(x, x, x)" + tail, globals={"f": dense, "x": y.requires_grad_(needs_grad), "g": y.detach()}),
                Timer(
                    "f(x, x, x, 3)" + tail,
                    globals={"f": nearfield.na2d, "x": x.requires_grad_(needs_grad), "g": x.detach()},
                ),
            ]
            # Alternately: a busy machine slows both.
            times = [[timer.timeit(300).mean for timer in timers] for _ in range(rounds)]
            ours, theirs = (statistics.median(each[i] for each in times) for i in (1, 0))
            ratio = statistics.median(b / a for a, b in times)
            rows.append(f"{name:<34}{theirs * 1e6:>9.1f} us{ours * 1e6:>9.1f} us{ratio:>7.2f}x")
    finally:
        torch.set_num_threads(before)
    return "\n".join(rows)
