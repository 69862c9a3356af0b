"""torch.func.vmap of the unfused operators: the mapped dimension joins the batch, in one call of the library.

A bias has no batch: where it is mapped, or its gradient is wanted for each index, indices run one after another.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nearfield._torch.ops import _library
from nearfield._torch.unfused_ops import TENSORS
from nearfield._torch.vmap import _joined, _one_by_one

_BIAS = {"qk": 4, "qk_backward": 5, "attention_weights": 6}  # its place among an operator's tensors


def _is_shared(name: str, dims: Any, arguments: Any) -> bool:
    """Whether one bias, or none, serves all indices, and has no gradient."""
    place = _BIAS.get(name)
    if place is None or arguments[place] is None:
        return True
    if name == "qk_backward" and arguments[TENSORS[name]][3]:
        return False
    return dims[place] is None


def _register(name: str) -> None:
    count, place = TENSORS[name], _BIAS.get(name)
    operator = getattr(torch.ops.nearfield, name)

    def rule(info: Any, dims: Any, *arguments: Any) -> Any:
        size = info.batch_size
        if not _is_shared(name, dims, arguments):
            found = _one_by_one(lambda *each: _tuple(operator(*each)), dims, arguments, size)
        else:
            joined = [
                each if i == place else _joined(each, dim, size)
                for i, (each, dim) in enumerate(zip(arguments[:count], dims[:count], strict=True))
            ]
            found = tuple(
                each.unflatten(0, (size, each.shape[0] // size)) if each.dim() > 1 else each.new_empty(size, 0)
                for each in _tuple(operator(*joined, *arguments[count:]))
            )
        return (found, (0,) * len(found)) if len(found) > 1 else (found[0], 0)

    torch.library.register_vmap(f"nearfield::{name}", rule, lib=_library)


def _tuple(found: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (found,) if isinstance(found, Tensor) else tuple(found)


for _name in TENSORS:
    _register(_name)
