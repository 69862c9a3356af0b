"""torch.func.vmap of the operators: the mapped dimension joins the batch, in one call of the library.

A bias has no batch: where it is mapped, or its gradient is wanted for each index, indices run one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nearfield._torch import ops

_BIAS = 7  # among query, key, value, additional_keys, additional_values, key_mask, key_weights, bias
_WEIGHTS = 6


def _first(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """The tensor with the mapped dimension in front."""
    return tensor.movedim(dim, 0) if dim is not None else tensor.unsqueeze(0).expand(size, *tensor.shape)


def _joined(tensor: Tensor | None, dim: int | None, size: int) -> Tensor | None:
    """(size, batch, ...) as (size * batch, ...)."""
    return None if tensor is None else _first(tensor, dim, size).flatten(0, 1)


def _joined_weights(weights: Tensor, dim: int | None, size: int, batch: int, grid_rank: int) -> Tensor:
    """Key weights as (size * batch, *grid), whether they have a batch or not."""
    weights = _first(weights, dim, size)
    if weights.dim() == grid_rank + 1:
        weights = weights.unsqueeze(1).expand(size, batch, *weights.shape[1:])
    return weights.flatten(0, 1)


def _join(tensors: Sequence[Any], dims: Sequence[int | None], size: int) -> list[Tensor | None]:
    """The eight tensors of a call, joined; a bias stays."""
    query = _first(tensors[0], dims[0], size)
    joined = [
        _joined(tensor, dim, size) if i not in (_WEIGHTS, _BIAS) else tensor
        for i, (tensor, dim) in enumerate(zip(tensors, dims, strict=True))
    ]
    if tensors[_WEIGHTS] is not None:
        joined[_WEIGHTS] = _joined_weights(tensors[_WEIGHTS], dims[_WEIGHTS], size, query.shape[1], query.dim() - 4)
    return joined


def _one_by_one(operator: Any, dims: Sequence[int | None], arguments: Sequence[Any], size: int) -> tuple[Tensor, ...]:
    results = []
    for i in range(size):
        chosen = [
            each if dim is None or not isinstance(each, Tensor) else each.select(dim, i)
            for each, dim in zip(arguments, dims, strict=True)
        ]
        results.append(operator(*chosen))
    return tuple(torch.stack(parts) for parts in zip(*results, strict=True))


def _attention(info: Any, dims: Any, *arguments: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    size = info.batch_size
    if dims[_BIAS] is not None:
        found = _one_by_one(torch.ops.nearfield.attention, dims, arguments, size)
    else:
        joined = _join(arguments[:8], dims[:8], size)
        found = torch.ops.nearfield.attention(*joined, *arguments[8:])
        found = tuple(each.unflatten(0, (size, -1)) for each in found)
    return found, (0,) * len(found)


def _attention_backward(info: Any, dims: Any, *arguments: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    # dout, dlogsumexp, query, key, value, out, logsumexp, wanted, the modifiers, the settings
    size, wanted = info.batch_size, arguments[7]
    modifiers, settings = arguments[8:13], arguments[13:]
    if modifiers[4] is not None and (dims[12] is not None or wanted[6]):
        found = _one_by_one(torch.ops.nearfield.attention_backward, dims, arguments, size)
        return found, (0,) * len(found)
    tensors, places = (*arguments[2:5], *modifiers), (*dims[2:5], *dims[8:13])
    joined = _join(tensors, places, size)
    found = torch.ops.nearfield.attention_backward(
        _joined(arguments[0], dims[0], size),
        _joined(arguments[1], dims[1], size),
        *joined[:3],
        _joined(arguments[5], dims[5], size),
        _joined(arguments[6], dims[6], size),
        wanted,
        *joined[3:],
        *settings,
    )
    parts = [
        each.unflatten(0, (size, -1)) if each.numel() or want else each.new_empty(size, 0)
        for each, want in zip(found, wanted, strict=True)
    ]
    weights = modifiers[3]
    if wanted[5] and weights is not None:
        own_rank = weights.dim() - (dims[11] is not None)
        if own_rank == tensors[0].dim() - (places[0] is not None) - 3:  # shared by the batch
            parts[5] = parts[5].sum(1)
    return tuple(parts), (0,) * len(parts)


torch.library.register_vmap("nearfield::attention", _attention, lib=ops._library)
torch.library.register_vmap("nearfield::attention_backward", _attention_backward, lib=ops._library)
