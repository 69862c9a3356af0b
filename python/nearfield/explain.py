"""What would run, and on what: `explain` for one call, `info` for this machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nearfield import _abi
from nearfield._faces import NAMES, face_of
from nearfield._library import lib
from nearfield._library import path as library_path
from nearfield._options import ENGINES, ISAS, name_of, settings_of
from nearfield._values import flag
from nearfield._version import __version__
from nearfield._weights import accumulator, bytes_of, shape_of, shown_bytes
from nearfield.functional import grid_rank
from nearfield.patterns import Pattern, check_pattern
from nearfield.unfused import check_takes_weights

_BACKWARD_TENSORS = (
    4  # of the size of the weights that their gradients take: dP, what softmax makes of it, two products
)


@dataclass(frozen=True)
class Explanation:
    """What a call would run, and why; `print` shows it.

    Attributes
    ----------
    engine, isa, kernel
        What was chosen; "auto" where nothing runs (an empty batch or grid).
    num_threads
        Threads that take part.
    tile, step
        Queries of a tile and keys of a step at most, per axis of the grid. Along a curve the first is of the positions
        and the others are 1, unless its runs are boxes of the grid, as `reason` then says.
    tiles, full_steps, masked_steps
        Of one (batch, head).
    useful_pairs, executed_pairs, waste
        (query, key) pairs asked for and computed in the whole problem, and their quotient.
    predicted_seconds
        By the cost model from typical rates; not a promise.
    workspace
        Bytes of scratch memory.
    plan_memory
        Bytes of the tables that tell which keys are seen, kept for later calls; 0 where there are none.
    weights
        Bytes of the weights that `return_weights` asks for; 0 where it does not: then none are stored.
    copies
        Which arguments are copied before the call, and why.
    reason
        Why this engine, kernel and tile.
    """

    engine: str
    isa: str
    kernel: str
    num_threads: int
    tile: tuple[int, ...]
    step: tuple[int, ...]
    tiles: int
    full_steps: int
    masked_steps: int
    useful_pairs: float
    executed_pairs: float
    waste: float
    predicted_seconds: float
    workspace: int
    plan_memory: int
    weights: int
    copies: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        rows = [
            ("engine", self.engine),
            ("instruction set", self.isa),
            ("kernel", self.kernel),
            ("threads", str(self.num_threads)),
            ("tile", " x ".join(map(str, self.tile)) + " queries"),
            ("step", "at most " + " x ".join(map(str, self.step)) + " keys"),
            ("per head", f"{self.tiles} tiles; {self.full_steps} full and {self.masked_steps} masked steps"),
            ("pairs", f"{self.useful_pairs:.4g} useful, {self.executed_pairs:.4g} executed: waste {self.waste:.3f}"),
            ("predicted", f"{self.predicted_seconds * 1e3:.4g} ms"),
            ("workspace", f"{self.workspace / 1024:.4g} KiB"),
            ("plan", f"{self.plan_memory / 1024:.4g} KiB"),
            *([("weights", shown_bytes(self.weights))] if self.weights else []),
            ("copies", "; ".join(self.copies) or "none"),
            ("reason", self.reason),
        ]
        return "\n".join(f"{name:<17}{value}" for name, value in rows)


def explain(
    pattern: Pattern,
    query: Any,
    key: Any,
    value: Any,
    *,
    backward: bool = False,
    bias: Any = None,
    key_mask: Any = None,
    key_weights: Any = None,
    softcap: float = 0.0,
    additional_keys: Any = None,
    additional_values: Any = None,
    scale: float | None = None,
    engine: str = "auto",
    isa: str = "auto",
    kernel: str = "auto",
    num_threads: int = 0,
    precision: str = "highest",
    return_weights: bool = False,
) -> Explanation:
    """What `attend` with these arguments would run, and why; nothing is computed.

    Parameters
    ----------
    pattern, query, key, value, and the other keywords
        As in `attend`; of the arrays only shapes, strides and dtypes matter.
    backward
        Explain the backward of that call, with all gradients wanted.
    return_weights
        Explain the call that returns its weights, too: what memory they take, and their gradients if `backward`.

    Returns
    -------
    Explanation

    Raises
    ------
    ArgumentError, TypeError
        As `attend` does.

    Examples
    --------
    >>> import numpy, nearfield
    >>> x = numpy.zeros((1, 56, 56, 2, 32), "float32")
    >>> nearfield.explain(nearfield.Neighborhood(7), x, x, x, isa="portable").kernel
    'band'
    """
    check_pattern(pattern)
    arrays = (query, key, value, additional_keys, additional_values, key_mask, key_weights, bias)
    face, rank = face_of(arrays), grid_rank(query)
    explicit = flag("return_weights", return_weights)
    if explicit:
        check_takes_weights(pattern.words(rank), key_weights, softcap)
        engine = "gemm" if engine == "auto" else engine  # or naive, whichever is faster: of the same memory
    settings = settings_of(pattern.words(rank), scale, softcap, engine, isa, kernel, num_threads, precision)
    given = [(name, array) for name, array in zip(NAMES, arrays, strict=True) if array is not None]
    by_name = {name: face.abstract(name, array) for name, array in given}
    reasons = {name: face.copied(name, array) for name, array in given}
    words = [by_name.get(name) for name in NAMES]
    found = _abi.explain(
        settings.pattern,
        by_name["query"],
        by_name["key"],
        by_name["value"],
        _abi.Modifiers._make([*words[3:], settings.softcap]),
        settings.abi(face.num_threads()),
        _wanted(words) if flag("backward", backward) else None,
    )
    weights, workspace, reason = 0, found.workspace, found.reason.decode()
    if explicit:
        dtype = accumulator(face.dtype_of(query))
        shape = shape_of(
            settings.pattern, query.shape, None if additional_keys is None else additional_keys.shape, dtype
        )
        weights = bytes_of(shape, dtype)
        workspace = _BACKWARD_TENSORS * weights if backward else 0
        reason = (
            f"Asked for: explicit weights {shape} take {shown_bytes(weights)}; without return_weights none are stored"
        )
    return Explanation(
        engine=name_of("nf_engine_name", found.engine),
        isa=name_of("nf_isa_name", found.isa),
        kernel=name_of("nf_kernel_name", found.kernel),
        num_threads=found.num_threads,
        tile=tuple(found.tile[:rank]),
        step=tuple(found.step[:rank]),
        tiles=found.tiles,
        full_steps=found.full_steps,
        masked_steps=found.masked_steps,
        useful_pairs=found.useful_pairs,
        executed_pairs=found.executed_pairs,
        waste=found.waste,
        predicted_seconds=found.predicted_seconds,
        workspace=workspace,
        plan_memory=found.plan_memory,
        weights=weights,
        copies=tuple(f"{name}: {why}" for name, why in reasons.items() if why is not None),
        reason=reason,
    )


def _wanted(words: list[_abi.TensorWords | None]) -> list[_abi.TensorWords | None]:
    """All gradients: the tensors themselves, without the mask."""
    return [*words[:5], *words[6:]]


@dataclass(frozen=True)
class Info:
    """This machine and what of nearfield can run on it; `print` shows it."""

    version: str
    library: str
    cpu: str
    num_threads: int
    engines: dict[str, str] = field(hash=False)
    isas: dict[str, str] = field(hash=False)

    def __str__(self) -> str:
        rows = [
            ("nearfield", self.version),
            ("library", self.library),
            ("cpu", self.cpu),
            ("threads", str(self.num_threads)),
            *((f"isa {name}", state) for name, state in self.isas.items()),
            *((f"engine {name}", state) for name, state in self.engines.items()),
        ]
        return "\n".join(f"{name:<17}{value}" for name, value in rows)


def info() -> Info:
    """The version, the library's file, the CPU, and which engines and instruction sets can run, or why one can't.

    Returns
    -------
    Info
        Its `engines` and `isas` map names to "available", "available, selected" or the reason why not.

    Examples
    --------
    >>> import nearfield
    >>> nearfield.info().engines["cpu"]
    'available'
    """
    selected = lib.nf_selected_isa()

    def states(names: tuple[str, ...], function: str, chosen: int = -1) -> dict[str, str]:
        found = {}
        for number, name in enumerate(names):
            if number == 0:
                continue  # auto
            why = getattr(lib, function)(number)
            found[name] = why.decode() if why else "available, selected" if number == chosen else "available"
        return found

    return Info(
        version=__version__,
        library=str(library_path),
        cpu=lib.nf_cpu_model().decode(),
        num_threads=lib.nf_default_num_threads(),
        engines=states(ENGINES, "nf_engine_unavailable"),
        isas=states(ISAS, "nf_isa_unavailable", selected),
    )
