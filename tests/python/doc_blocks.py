"""The code blocks of a Markdown page, and how each language is run.

A block that can't be run has the line ``<!-- not run: why -->`` right above it. Blocks without a language, and those of
`text`, are no code.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "include"
LANGUAGES = ("python", "sh", "c", "cpp", "cmake", "text", "")

_FENCE = re.compile(r"^```(\S*)$")
_MARK = re.compile(r"^<!-- not run: (.+) -->$")
_SECONDS = 300


class Block(NamedTuple):
    """One fenced block."""

    language: str
    line: int  # of its first line of code, from 1
    code: str
    not_run: str | None  # why


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of the page, in their order. Raises ValueError if a fence is odd."""
    lines = page.read_text(encoding="utf-8").split("\n")
    found, opened = [], None
    for number, line in enumerate(lines, 1):
        if not line.lstrip().startswith("```"):
            continue
        fence = _FENCE.match(line)
        if fence is None:
            raise ValueError(f"{page}:{number}: {line}: a fence must be at the line's start, a language and no more")
        if opened is None:
            opened = (fence[1], number)
            if fence[1] not in LANGUAGES:
                raise ValueError(f"{page}:{number}: language {fence[1]}: must be one of {', '.join(LANGUAGES)}")
            continue
        language, start = opened
        mark = _MARK.match(lines[start - 2]) if start >= 2 else None
        found.append(Block(language, start + 1, "\n".join(lines[start : number - 1]), mark[1] if mark else None))
        opened = None
    if opened is not None:
        raise ValueError(f"{page}:{opened[1]}: the fence is never closed")
    return found


def to_run(page: Path, *languages: str) -> list[Block]:
    """The page's blocks of these languages, without those that are marked."""
    return [each for each in blocks_of(page) if each.language in languages and each.not_run is None]


def run_python(page: Path, folder: Path) -> None:
    """All Python blocks of the page as one program, each line at its place in the page, so that a traceback names it."""
    lines: list[str] = []
    for block in to_run(page, "python"):
        lines += [""] * (block.line - 1 - len(lines))
        lines += block.code.split("\n")
    if lines:
        program = folder / f"{page.stem}.md.py"
        program.write_text("\n".join(lines) + "\n", encoding="utf-8")
        _run([sys.executable, "-W", "error", program.name], folder, page)


def run_shell(page: Path, folder: Path) -> None:
    """All sh blocks of the page, one after another. `nearfield` is the program that was built."""
    for block in to_run(page, "sh"):
        path = f"{_program().parent}{os.pathsep}{os.environ['PATH']}"
        _run(["bash", "-euo", "pipefail", "-c", block.code], folder, page, block.line, PATH=path)


def run_compiled(page: Path, folder: Path) -> None:
    """Every C and C++ block as a program of its own, against the public headers and the library that Python loaded."""
    from nearfield._library import path as library

    library = library.resolve()
    for block in to_run(page, "c", "cpp"):
        source, program = folder / f"block{block.line}.{block.language}", folder / f"block{block.line}"
        source.write_text(block.code + "\n", encoding="utf-8")
        compiler = ["cc", "-std=c99", "-Wpedantic"] if block.language == "c" else ["c++", "-std=c++20"]
        compiler += ["-Wall", "-Wextra", "-Werror", f"-I{INCLUDE}", source.name, "-o", program.name]
        linker = [str(library), f"-Wl,-rpath,{library.parent}", "-lm"]
        _run(compiler + linker, folder, page, block.line)
        _run([f"./{program.name}"], folder, page, block.line)


def _program() -> Path:
    program = Path(os.environ.get("NEARFIELD_PROGRAM") or ROOT / "build" / "nearfield")
    if not program.is_file():
        raise FileNotFoundError(f"{program}: no such file: `make build` makes the program, NEARFIELD_PROGRAM names it")
    return program.resolve()


def _run(command: list[str], folder: Path, page: Path, line: int | None = None, **environment: str) -> None:
    """Runs a command in `folder`; an AssertionError with its output if it fails."""
    result = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "MPLBACKEND": "Agg", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    place = page.name if line is None else f"{page.name}:{line}"
    assert result.returncode == 0, f"{place}: {' '.join(command)}: status {result.returncode}\n{result.stdout}"
