"""Which release of NATTEN a call was written for: the same position has meant different things.

na2d(q, k, v, 7, 2) is a dilation of 2 in NATTEN 0.17 and a stride of 2 since 0.20. A call is read as the newest release
that takes all its arguments; where two that do would read its positional arguments differently, it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from nearfield._errors import ArgumentError


class Release(NamedTuple):
    """A function's parameters, in positional order, since some release."""

    name: str
    parameters: tuple[str, ...]


def bind(
    what: str, releases: Sequence[Release], positional: Sequence[Any], keywords: Mapping[str, Any]
) -> tuple[Release, dict[str, Any]]:
    """The release and the call's arguments by name. `releases`: newest first."""
    fitting = [release for release in releases if _fits(release, positional, keywords)]
    if not fitting:
        raise TypeError(_why_none_fits(what, releases, positional, keywords))
    for i, value in enumerate(positional):
        names = [release.parameters[i] for release in fitting]
        if len(set(names)) > 1 and not all(_says_nothing(name, value) for name in names):
            first = {name: release.name for name, release in zip(names, fitting, strict=True)}  # the oldest is last
            readings = " and ".join(f"{name} in NATTEN {since}" for name, since in first.items())
            raise ArgumentError(f"{what}: {_shown(value)}: by position is {readings}: must be passed by its name")
    newest = fitting[0]
    return newest, {**dict(zip(newest.parameters, positional, strict=False)), **keywords}


def _fits(release: Release, positional: Sequence[Any], keywords: Mapping[str, Any]) -> bool:
    taken = release.parameters[: len(positional)]
    return (
        len(taken) == len(positional)
        and all(name in release.parameters and name not in taken for name in keywords)
        and all(_may_be(name, value) for name, value in zip(taken, positional, strict=True))
    )


def _why_none_fits(
    what: str, releases: Sequence[Release], positional: Sequence[Any], keywords: Mapping[str, Any]
) -> str:
    for name in keywords:
        if not any(name in release.parameters for release in releases):
            return f"{what}: {name}: no release of NATTEN has an argument of this name"
    given = [_shown(value) for value in positional] + [f"{n}={_shown(v)}" for n, v in keywords.items()]
    return f"{what}({', '.join(given)}): no release of NATTEN takes these arguments together"


def _shown(value: Any) -> str:
    return f"tensor{tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)


# ---- what a value can be -------------------------------------------------------------------------------------------


def _is_integer(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool | Tensor)


def _is_number(value: Any) -> bool:
    return _is_integer(value) or isinstance(value, float)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _each(rule: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """One value for all axes, or a sequence with one for each."""

    def check(value: Any) -> bool:
        return all(rule(each) for each in value) if isinstance(value, list | tuple) else rule(value)

    return check


_RULES: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("kernel_size", "stride", "dilation", "kernel_size_d", "dilation_d"), _each(_is_integer)),
    "is_causal": _each(_is_bool),
    **dict.fromkeys(("bias", "rel_pos_bias", "qkv_bias", "use_experimental_ops"), _is_bool),
    **dict.fromkeys(("scale", "qk_scale", "attn_drop", "proj_drop"), _is_number),
    **dict.fromkeys(("embed_dim", "num_heads"), _is_integer),
    **dict.fromkeys(("rpb", "additional_keys", "additional_values"), lambda value: isinstance(value, Tensor)),
    "backend": lambda value: isinstance(value, str),
}


def _may_be(name: str, value: Any) -> bool:
    rule = _RULES.get(name)
    return rule is None or value is None or rule(value)


def _says_nothing(name: str, value: Any) -> bool:
    """Whether the value is what the argument is when it is not given, in every release."""
    if value is None:
        return True
    if name in ("stride", "dilation"):
        return all(each == 1 for each in value) if isinstance(value, list | tuple) else value == 1
    return False
