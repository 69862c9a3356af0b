"""Options by name, as the numbers of the C ABI."""

from __future__ import annotations

from nearfield._errors import ArgumentError
from nearfield._library import lib

ENGINES = ("auto", "reference", "cpu")
ISAS = ("auto", "portable", "avx2")
KERNELS = ("auto", "band", "tile")
PRECISIONS = ("highest", "high", "medium")

OptionWords = tuple[int, int, int, int]
DEFAULT: OptionWords = (0, 0, 0, 0)


def _number(name: str, value: str, names: tuple[str, ...]) -> int:
    if value not in names:
        raise ArgumentError(f"{name}={value!r}: must be one of {', '.join(map(repr, names))}")
    return names.index(value)


def option_words(engine: str, isa: str, kernel: str, num_threads: int, precision: str) -> OptionWords:
    """(isa, kernel, engine, num_threads)."""
    _number("precision", precision, PRECISIONS)
    if isinstance(num_threads, bool) or not isinstance(num_threads, int):
        raise TypeError(f"num_threads={num_threads!r}: must be an integer")
    if not 0 <= num_threads < 1 << 31:
        raise ArgumentError(f"num_threads={num_threads}: must be 0 (as many as there are) or more")
    return (
        _number("isa", isa, ISAS),
        _number("kernel", kernel, KERNELS),
        _number("engine", engine, ENGINES),
        num_threads,
    )


def name_of(function: str, number: int) -> str:
    """The library's name of an enumeration's value: name_of("nf_isa_name", 2)."""
    name = getattr(lib, function)(number)
    return "unknown" if name is None else str(name.decode())
