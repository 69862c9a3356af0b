"""NATTEN's switches. They choose kernels of NATTEN; here all are remembered and none changes a result.

Always so, whatever is set: the fused functions are used, and results are the same bits from run to run. A request for
something else gets one warning.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from nearfield._errors import ArgumentError
from nearfield.compat.natten._hints import warn_once

__all__ = [
    "allow_flex_compile",
    "allow_flex_compile_backprop",
    "are_deterministic_algorithms_enabled",
    "disable_autotuner",
    "disable_flex_compile",
    "disable_flex_compile_backprop",
    "disable_gemm_na",
    "disable_tf32",
    "disable_tiled_na",
    "enable_gemm_na",
    "enable_tf32",
    "enable_tiled_na",
    "force_flex_attention",
    "get_memory_usage_preference",
    "has_bfloat",
    "has_cuda",
    "has_fna",
    "has_fp32_gemm",
    "has_fp64_gemm",
    "has_fused_na",
    "has_gemm",
    "has_half",
    "has_tf32_gemm",
    "is_autotuner_enabled",
    "is_autotuner_enabled_for_backward",
    "is_autotuner_enabled_for_forward",
    "is_autotuner_thorough_for_backward",
    "is_autotuner_thorough_for_forward",
    "is_flex_compile_allowed",
    "is_flex_compile_backprop_allowed",
    "is_fna_enabled",
    "is_fused_na_enabled",
    "is_gemm_na_enabled",
    "is_kv_parallelism_in_fused_na_enabled",
    "is_memory_usage_default",
    "is_memory_usage_strict",
    "is_memory_usage_unrestricted",
    "is_tf32_in_gemm_na_enabled",
    "is_tiled_na_enabled",
    "set_memory_usage_preference",
    "use_autotuner",
    "use_deterministic_algorithms",
    "use_flex_attention",
    "use_fna",
    "use_fused_na",
    "use_gemm_na",
    "use_kv_parallelism_in_fused_na",
    "use_tf32_in_gemm_na",
    "use_tiled_na",
]


class MemoryUsagePreference(Enum):
    """How much memory NATTEN's backward may use; nearfield's needs none of it."""

    Default = 0
    Strict = 1
    Unrestricted = 2


_switches: dict[str, Any] = {
    "kv_parallelism": True,
    "memory": MemoryUsagePreference.Default,
    "gemm": False,
    "tiled": False,
    "tf32": False,
    "autotuner_forward": False,
    "autotuner_backward": False,
    "thorough_forward": False,
    "thorough_backward": False,
}

_FUSED = "is not served: nearfield's fused functions are the only ones"
_FLEX = "is not served: nearfield does not call torch's flex attention"


# ---- the fused functions -------------------------------------------------------------------------------------------


def has_fused_na(*_: Any) -> bool:
    """True: na1d, na2d and na3d are there."""
    return True


def use_fused_na(
    mode: bool = True, kv_parallel: bool = True, use_flex_attention: bool = False, force_flex_attention: bool = False
) -> None:
    """Nothing to switch on; switching off gets a warning."""
    if not mode:
        warn_once("use_fused_na", f"use_fused_na(False) {_FUSED}")
    if use_flex_attention or force_flex_attention:
        warn_once("flex", f"flex attention {_FLEX}")
    use_kv_parallelism_in_fused_na(bool(mode and kv_parallel))


def is_fused_na_enabled() -> bool:
    """True, always."""
    return True


has_fna, use_fna, is_fna_enabled = has_fused_na, use_fused_na, is_fused_na_enabled


def use_deterministic_algorithms(mode: bool = True) -> None:
    """Nothing to switch: results are the same bits from run to run."""


def are_deterministic_algorithms_enabled() -> bool:
    """True, always."""
    return True


def use_kv_parallelism_in_fused_na(mode: bool = True) -> None:
    """Remembered, without effect."""
    _switches["kv_parallelism"] = bool(mode)


def is_kv_parallelism_in_fused_na_enabled() -> bool:
    """What was last set; True at first."""
    return bool(_switches["kv_parallelism"])


def set_memory_usage_preference(pref: str = "default") -> None:
    """Remembered, without effect: "default", "strict" or "unrestricted"."""
    known = {each.name.lower(): each for each in MemoryUsagePreference}
    if pref not in known:
        raise ArgumentError(f"pref={pref!r}: must be one of {', '.join(map(repr, known))}")
    _switches["memory"] = known[pref]


def get_memory_usage_preference() -> MemoryUsagePreference:
    """What was last set."""
    return _switches["memory"]  # type: ignore[no-any-return]


def is_memory_usage_default() -> bool:
    """Whether "default" was last set, or nothing."""
    return _switches["memory"] is MemoryUsagePreference.Default


def is_memory_usage_strict() -> bool:
    """Whether "strict" was last set."""
    return _switches["memory"] is MemoryUsagePreference.Strict


def is_memory_usage_unrestricted() -> bool:
    """Whether "unrestricted" was last set."""
    return _switches["memory"] is MemoryUsagePreference.Unrestricted


# ---- torch's flex attention ----------------------------------------------------------------------------------------


def use_flex_attention() -> None:
    """Not served: one warning."""
    use_fused_na(use_flex_attention=True)


def force_flex_attention() -> None:
    """Not served: one warning."""
    use_fused_na(use_flex_attention=True, force_flex_attention=True)


def allow_flex_compile(mode: bool = True, backprop: bool = False) -> None:
    """Not served: one warning."""
    if mode or backprop:
        warn_once("flex", f"flex attention {_FLEX}")


def allow_flex_compile_backprop(mode: bool = True) -> None:
    """Not served: one warning."""
    allow_flex_compile(False, mode)


def disable_flex_compile() -> None:
    """It is not used anyway."""


disable_flex_compile_backprop = disable_flex_compile


def is_flex_compile_allowed() -> bool:
    """False, always."""
    return False


is_flex_compile_backprop_allowed = is_flex_compile_allowed


# ---- the autotuner -------------------------------------------------------------------------------------------------


def use_autotuner(
    forward_pass: bool | None = None,
    backward_pass: bool | None = None,
    thorough_mode_forward: bool | None = None,
    thorough_mode_backward: bool | None = None,
    warmup_steps_forward: int | None = None,
    warmup_steps_backward: int | None = None,
    steps_forward: int | None = None,
    steps_backward: int | None = None,
) -> None:
    """Remembered, without effect: nearfield's choices come from a model, not from measurements."""
    given = (forward_pass, backward_pass, thorough_mode_forward, thorough_mode_backward)
    for name, mode in zip(_AUTOTUNER, given, strict=True):
        if mode is not None:
            _switches[name] = bool(mode)


_AUTOTUNER = ("autotuner_forward", "autotuner_backward", "thorough_forward", "thorough_backward")


def disable_autotuner() -> None:
    """Forgets what `use_autotuner` set."""
    use_autotuner(False, False, False, False)


def is_autotuner_enabled() -> bool:
    """Whether it was asked for, for either pass."""
    return is_autotuner_enabled_for_forward() or is_autotuner_enabled_for_backward()


def is_autotuner_enabled_for_forward() -> bool:
    """What was last set."""
    return bool(_switches["autotuner_forward"])


def is_autotuner_enabled_for_backward() -> bool:
    """What was last set."""
    return bool(_switches["autotuner_backward"])


def is_autotuner_thorough_for_forward() -> bool:
    """What was last set."""
    return bool(_switches["thorough_forward"])


def is_autotuner_thorough_for_backward() -> bool:
    """What was last set."""
    return bool(_switches["thorough_backward"])


# ---- kernels of the unfused functions ------------------------------------------------------------------------------


def use_gemm_na(mode: bool = True) -> None:
    """Remembered, without effect."""
    _switches["gemm"] = bool(mode)


def is_gemm_na_enabled() -> bool:
    """What was last set."""
    return bool(_switches["gemm"])


def use_tiled_na(mode: bool = True) -> None:
    """Remembered, without effect."""
    _switches["tiled"] = bool(mode)


def is_tiled_na_enabled() -> bool:
    """What was last set."""
    return bool(_switches["tiled"])


def use_tf32_in_gemm_na(mode: bool = True) -> None:
    """Remembered, without effect: products are float32's."""
    _switches["tf32"] = bool(mode)


def is_tf32_in_gemm_na_enabled() -> bool:
    """What was last set."""
    return bool(_switches["tf32"])


def enable_gemm_na() -> bool:
    """As use_gemm_na(True)."""
    use_gemm_na(True)
    return is_gemm_na_enabled()


def disable_gemm_na() -> bool:
    """As use_gemm_na(False)."""
    use_gemm_na(False)
    return is_gemm_na_enabled()


def enable_tiled_na() -> bool:
    """As use_tiled_na(True)."""
    use_tiled_na(True)
    return is_tiled_na_enabled()


def disable_tiled_na() -> bool:
    """As use_tiled_na(False)."""
    use_tiled_na(False)
    return is_tiled_na_enabled()


def enable_tf32() -> bool:
    """As use_tf32_in_gemm_na(True)."""
    use_tf32_in_gemm_na(True)
    return is_tf32_in_gemm_na_enabled()


def disable_tf32() -> bool:
    """As use_tf32_in_gemm_na(False)."""
    use_tf32_in_gemm_na(False)
    return is_tf32_in_gemm_na_enabled()


# ---- what there is -------------------------------------------------------------------------------------------------


def has_cuda() -> bool:
    """False: this is the CPU."""
    return False


def has_half(*_: Any) -> bool:
    """True: float16 is served."""
    return True


def has_bfloat(*_: Any) -> bool:
    """True: bfloat16 is served."""
    return True


def has_gemm(*_: Any) -> bool:
    """True: the unfused functions run on products of tiles."""
    return True


def has_tf32_gemm(*_: Any) -> bool:
    """False: products are float32's."""
    return False


has_fp32_gemm = has_fp64_gemm = has_gemm
