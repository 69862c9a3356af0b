"""The torch face of the unfused operators: checks, autocast, and the coat of autograd that a call needs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nearfield._errors import ArgumentError
from nearfield._options import Settings
from nearfield._torch import call as direct
from nearfield._torch import unfused_autograd, unfused_vmap  # noqa: F401  (vmap registers itself)

Maybe = Tensor | None


def qk(tensors: Sequence[Maybe], names: Sequence[str], settings: Settings, wide: bool) -> Tensor:
    """The weights; tensors: query, key, additional_keys, key_mask, bias."""
    query, key, additional, mask, bias = _ready(tensors, names)
    query, key, additional = _autocast((query, key, additional))
    rest = (list(settings.pattern), settings.scale, wide, list(settings.options))
    found: Tensor = unfused_autograd.call("qk", (query, key, additional, mask, bias), rest)
    return found


def av(tensors: Sequence[Maybe], names: Sequence[str], settings: Settings) -> Tensor:
    """out; tensors: weights, value, additional_values, key_mask."""
    weights, value, additional, mask = _ready(tensors, names)
    value, additional = _autocast((value, additional))
    if torch.is_autocast_enabled("cpu") and weights is not None and weights.dtype != torch.float32:
        (weights,) = _autocast((weights,))  # a softmax's float32 is read as it is
    rest = (list(settings.pattern), list(settings.options))
    found: Tensor = unfused_autograd.call("av", (weights, value, additional, mask), rest)
    return found


def attend_weights(tensors: Sequence[Maybe], names: Sequence[str], settings: Settings) -> tuple[Tensor, Tensor, Tensor]:
    """out, logsumexp, weights; tensors: query, key, value, additional_keys, additional_values, key_mask, bias."""
    *attended, mask, bias = _ready(tensors, names)
    rest = (list(settings.pattern), settings.scale, list(settings.options))
    found: tuple[Tensor, Tensor, Tensor] = unfused_autograd.call(
        "attention_weights", (*_autocast(attended), mask, bias), rest
    )
    return found


def _ready(tensors: Sequence[Maybe], names: Sequence[str]) -> list[Maybe]:
    """The tensors. Raises where there is no engine for a tensor's device, or no meaning in its layout."""
    for name, each in zip(names, tensors, strict=True):
        if each is None:
            continue
        if each.device.type not in ("cpu", "meta"):
            raise ArgumentError(direct.not_on_cpu(name, each))
        if each.layout is not torch.strided or each.is_nested:
            raise direct.wrong_layout(name, each)
    return list(tensors)


def _autocast(tensors: Sequence[Maybe]) -> list[Maybe]:
    """In autocast's type, where that is on, as matrix products are."""
    if not torch.is_autocast_enabled("cpu"):
        return list(tensors)
    dtype = torch.get_autocast_dtype("cpu")
    return [
        each.to(dtype) if each is not None and each.is_floating_point() and each.dtype != torch.float64 else each
        for each in tensors
    ]
