"""python -m nearfield: what runs here, and what a call from Python costs."""

from __future__ import annotations

import argparse
import statistics
import sys

import nearfield


def _overhead(rounds: int) -> str:
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


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m nearfield", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="this machine, the engines, why one is absent")
    bench = commands.add_parser("bench", help="what calls from Python cost")
    bench.add_argument(
        "--overhead", action="store_true", required=True, help="a tiny attention beside torch's own; needs torch"
    )
    bench.add_argument("--rounds", type=int, default=40, help="alternating rounds of 300 calls (default 40)")
    parsed = parser.parse_args(arguments)
    if parsed.command == "info":
        print(nearfield.info())
        return 0
    if parsed.rounds < 1:
        parser.error(f"--rounds={parsed.rounds}: must be at least 1")
    try:
        print(_overhead(parsed.rounds))
    except ModuleNotFoundError as missing:
        print(f"bench --overhead: needs torch, which cannot be imported: {missing}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
