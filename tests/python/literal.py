"""Neighborhood attention by its definition, dense and differentiable, in torch: what modules and compat are compared with.

Every query's window is enumerated in Python; nothing of nearfield is used.
"""

from __future__ import annotations

import itertools

import definition
import torch


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    kernel_size: tuple[int, ...],
    *,
    stride: tuple[int, ...] | None = None,
    dilation: tuple[int, ...] | None = None,
    is_causal: tuple[bool, ...] | None = None,
    scale: float | None = None,
    rpb: torch.Tensor | None = None,
    additional_keys: torch.Tensor | None = None,
    additional_values: torch.Tensor | None = None,
    key_mask: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """out (batch, *grid, heads, head_dim_v), logsumexp (batch, *grid, heads), heads last, in the inputs' type."""
    grid = tuple(query.shape[1:-2])
    rank, tokens = len(grid), query.shape[1:-2].numel()
    stride, dilation = stride or (1,) * rank, dilation or (1,) * rank
    is_causal = is_causal or (False,) * rank
    places = list(itertools.product(*(range(n) for n in grid)))
    number = {place: i for i, place in enumerate(places)}
    sees = torch.zeros(tokens, tokens, dtype=torch.bool)
    table = torch.zeros(tokens, tokens, rank, dtype=torch.long)
    for place in places:
        axes = [
            definition.keys_of(definition.Axis(n, k, s, d, c), i)
            for i, n, k, s, d, c in zip(place, grid, kernel_size, stride, dilation, is_causal, strict=True)
        ]
        for seen in itertools.product(*axes):
            i, j = number[place], number[tuple(key for key, _ in seen)]
            sees[i, j] = True
            table[i, j] = torch.tensor([offset for _, offset in seen])

    group = query.shape[-2] // key.shape[-2]
    q, k, v = (each.reshape(each.shape[0], tokens, *each.shape[-2:]) for each in (query, key, value))
    k, v = k.repeat_interleave(group, 2), v.repeat_interleave(group, 2)
    logits = torch.einsum("bihd,bjhd->bhij", q, k) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if rpb is not None:
        logits = logits + rpb[(slice(None), *table.unbind(-1))]
    hidden = ~sees
    if key_mask is not None:
        hidden = hidden | ~key_mask.reshape(key_mask.shape[0], 1, 1, tokens)
    logits = logits.masked_fill(hidden, -torch.inf)
    if additional_keys is not None:
        more = torch.einsum("bihd,bjhd->bhij", q, additional_keys.repeat_interleave(group, 2))
        logits = torch.cat([logits, more * (query.shape[-1] ** -0.5 if scale is None else scale)], -1)
        v = torch.cat([v, additional_values.repeat_interleave(group, 2)], 1)
    out = torch.einsum("bhij,bjhd->bihd", logits.softmax(-1), v)
    lse = logits.logsumexp(-1).transpose(1, 2)
    return out.reshape(query.shape[0], *grid, *out.shape[-2:]), lse.reshape(query.shape[:-1])


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest absolute difference; infinite where shapes differ, NaN where either is."""
    if found.shape != expected.shape:
        return float("inf")
    return float((found.detach().double() - expected.detach().double()).abs().max()) if found.numel() else 0.0
