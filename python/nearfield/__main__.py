"""python -m nearfield: what runs here, and what a call from Python costs."""

from __future__ import annotations

import argparse
import sys

import nearfield
from nearfield.bench._gna import gna
from nearfield.bench._overhead import overhead
from nearfield.bench._slide import slide


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m nearfield", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="this machine, the engines, why one is absent")
    bench = commands.add_parser("bench", help="comparisons with torch, on one thread")
    what = bench.add_mutually_exclusive_group(required=True)
    what.add_argument("--overhead", action="store_true", help="a tiny attention beside torch's own")
    what.add_argument(
        "--slide", action="store_true", help="slide attention unfolded in torch, and along the Hilbert curve"
    )
    what.add_argument(
        "--gna", action="store_true", help="windows and strides of published models beside torch's dense attention"
    )
    bench.add_argument(
        "--rounds", type=int, help="alternating rounds (default: 40 of 300 calls, for --slide 5, for --gna 3)"
    )
    bench.add_argument("--divide", type=int, default=2, help="--gna: what lengths are divided by (default 2; 1: none)")
    bench.add_argument("--side", type=int, default=96, help="--slide: tokens of each side of the grid (default 96)")
    bench.add_argument("--window", type=int, default=16, help="--slide: tokens of each side of a window (default 16)")
    parsed = parser.parse_args(arguments)
    if parsed.command == "info":
        print(nearfield.info())
        return 0
    rounds = parsed.rounds if parsed.rounds is not None else 40 if parsed.overhead else 3 if parsed.gna else 5
    counts = (("rounds", rounds), ("side", parsed.side), ("window", parsed.window), ("divide", parsed.divide))
    for name, count in counts:
        if count < 1:
            parser.error(f"--{name}={count}: must be at least 1")
    try:
        if parsed.gna:
            print(gna(rounds, parsed.divide))
        else:
            print(overhead(rounds) if parsed.overhead else slide(parsed.side, parsed.window, rounds))
    except ModuleNotFoundError as missing:
        name = "overhead" if parsed.overhead else "gna" if parsed.gna else "slide"
        print(f"bench --{name}: needs torch, which cannot be imported: {missing}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
