"""All of a call that is no array, checked, as the numbers of the C ABI."""

from __future__ import annotations

from typing import Any, NamedTuple

from nearfield import _abi
from nearfield._errors import ArgumentError
from nearfield._library import lib
from nearfield._values import choice, integer, number

ENGINES = ("auto", "reference", "cpu", "block_sparse", "naive", "gemm")
ISAS = ("auto", "portable", "avx2", "avx512", "neon", "portable16")
KERNELS = ("auto", "band", "tile")
PRECISIONS = ("highest", "high", "medium")

# isa, kernel, engine, num_threads (0: the face's own number)
OptionWords = tuple[int, int, int, int]
DEFAULT: OptionWords = (0, 0, 0, 0)


class Settings(NamedTuple):
    """The pattern's words, the scale (None: 1/sqrt(head_dim)), the softcap (0: none) and the options."""

    pattern: tuple[int, ...]
    scale: float | None = None
    softcap: float = 0.0
    options: OptionWords = DEFAULT

    def abi(self, num_threads: int = 0) -> _abi.Options:
        """As the C ABI's options; `num_threads` if the call did not say."""
        isa, kernel, engine, threads = self.options
        return _abi.Options(self.scale, engine, isa, kernel, threads or num_threads)


def settings_of(
    pattern: tuple[int, ...],
    scale: Any,
    softcap: Any,
    engine: Any,
    isa: Any,
    kernel: Any,
    num_threads: Any,
    precision: Any,
) -> Settings:
    """The settings of a call from its keywords and its pattern's words. Raises ArgumentError and TypeError."""
    if scale is not None and type(scale) is not float:
        scale = number("scale", scale)
    if type(softcap) is not float:
        softcap = number("softcap", softcap)
    if type(num_threads) is int and not num_threads and _are_default(engine, isa, kernel, precision):
        return Settings(pattern, scale, softcap)
    options = _option_words(engine, isa, kernel, num_threads, precision)
    return Settings(pattern, scale, softcap, options)


def _are_default(engine: Any, isa: Any, kernel: Any, precision: Any) -> bool:
    if type(engine) is str and type(isa) is str and type(kernel) is str and type(precision) is str:
        return engine == isa == kernel == "auto" and precision == "highest"
    return False


def _option_words(engine: Any, isa: Any, kernel: Any, num_threads: Any, precision: Any) -> OptionWords:
    choice("precision", precision, PRECISIONS)
    threads = integer("num_threads", num_threads)
    if not 0 <= threads < 1 << 31:
        raise ArgumentError(f"num_threads={threads}: must be 0 (as many as there are) to 2**31 - 1")
    return choice("isa", isa, ISAS), choice("kernel", kernel, KERNELS), choice("engine", engine, ENGINES), threads


def name_of(function: str, number: int) -> str:
    """The library's name of an enumeration's value: name_of("nf_isa_name", 2)."""
    name = getattr(lib, function)(number)
    return "unknown" if name is None else str(name.decode())
