"""Progress on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys


def progress(done: int, total: int, text: str) -> None:
    """Show that `done` of `total` is done."""
    if sys.stderr.isatty():
        filled = 30 * done // total
        end = "" if done < total else "\n"
        print(f"\r[{'#' * filled}{'.' * (30 - filled)}] {text}\033[K", end=end, file=sys.stderr, flush=True)
    elif done == total or done % max(1, total // 10) == 0:
        print(f"{done}/{total} {text}", file=sys.stderr, flush=True)
