"""The attention composed of differentiable torch operators, for what no kernel exists: second derivatives, and
derivatives in forward mode. It gathers every query's window: memory of tokens x window x head_dim.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from nearfield._options import Settings
from nearfield._torch.call import Tensors
from nearfield.patterns._words import is_on_sphere

_warned = False


def warn_once(what: str) -> None:
    """Says, once in a process, that something runs composed."""
    global _warned
    if _warned or torch.compiler.is_compiling():
        return
    _warned = True
    warnings.warn(
        f"nearfield: {what} is composed of torch operators: slower than a kernel, and memory grows as "
        f"tokens x window x head_dim",
        stacklevel=3,
    )


def attention(tensors: Tensors, settings: Settings) -> tuple[Tensor, Tensor]:
    """(out, logsumexp) as the operator nearfield::attention defines them, from its formulas:

    out_i = sum_j p_ij v_j, p_ij proportional to w_j exp(softcap(scale q_i.k_j) + bias_ij), over the keys j that i sees; on the sphere w_j has the
    area of key j as a factor.
    """
    query, key, value, additional_keys, additional_values, key_mask, key_weights, relative_bias = tensors
    batch, grid, heads = query.shape[0], query.shape[1:-2], query.shape[-2]
    heads_kv, group = key.shape[-2], query.shape[-2] // max(key.shape[-2], 1)
    kind = torch.float64 if query.dtype == torch.float64 else torch.float32
    scale = query.shape[-1] ** -0.5 if settings.scale is None else settings.scale
    tokens = grid.numel()
    key_tokens = key.shape[1:-2].numel()  # the sphere's keys have a grid of their own
    keys, bias_index = torch.ops.nearfield.windows(list(settings.pattern), list(grid))
    visible = keys >= 0
    keys = keys.clamp(min=0)

    q = query.reshape(batch, tokens, heads_kv, group, -1).to(kind)
    k = key.reshape(batch, key_tokens, heads_kv, -1).to(kind)
    v = value.reshape(batch, key_tokens, heads_kv, -1).to(kind)
    seen = visible[None]  # (batch or 1, tokens, slots)
    if key_mask is not None:
        # What a masked key holds does not matter, NaN neither.
        mask = key_mask.reshape(batch, key_tokens)
        k = torch.where(mask[..., None, None], k, 0)
        v = torch.where(mask[..., None, None], v, 0)
        seen = seen & mask[:, keys]
    k, v = k[:, keys], v[:, keys]  # (batch, tokens, slots, heads_kv, channels)
    logits = _capped(torch.einsum("bnhgd,bnkhd->bnhgk", q, k) * scale, settings.softcap)
    if relative_bias is not None:
        bias = relative_bias.reshape(heads, -1).to(kind)[:, bias_index.clamp(min=0)]  # (heads, tokens, slots)
        logits = logits + bias.permute(1, 0, 2).reshape(1, tokens, heads_kv, group, -1)
    weights = seen.to(kind)
    if is_on_sphere(settings.pattern):
        weights = weights * torch.ops.nearfield.area_weights(list(settings.pattern)).to(kind)[keys]
    if key_weights is not None:
        given = key_weights.to(kind).reshape(-1, key_tokens)  # (batch or 1, key_tokens)
        weights = weights * given[:, keys]
    weights = weights[:, :, None, None]
    hidden = ~seen[:, :, None, None]
    logits = logits.masked_fill(hidden, -torch.inf)
    more = None
    if additional_keys is not None and additional_values is not None:
        extra = torch.einsum("bnhgd,bmhd->bnhgm", q, additional_keys.to(kind)) * scale
        more = _capped(extra, settings.softcap)
    largest = (
        logits.detach().amax(-1, keepdim=True)
        if logits.shape[-1]
        else logits.new_full((*logits.shape[:-1], 1), -torch.inf)
    )
    if more is not None and more.shape[-1]:
        largest = torch.maximum(largest, more.detach().amax(-1, keepdim=True))
    largest = torch.where(largest == -torch.inf, 0, largest)
    # A weight is a factor here, not a logarithm: its derivative exists at 0 too.
    e = torch.exp(logits - largest) * weights
    total = e.sum(-1, keepdim=True)
    out = torch.einsum("bnhgk,bnkhd->bnhgd", e, v)
    if more is not None and additional_values is not None:
        e = torch.exp(more - largest)
        total = total + e.sum(-1, keepdim=True)
        out = out + torch.einsum("bnhgm,bmhd->bnhgd", e, additional_values.to(kind))
    empty = total == 0
    safe = torch.where(empty, 1, total)
    logsumexp = torch.where(empty, -torch.inf, largest + torch.log(safe))
    out = torch.where(empty, 0, out / safe)
    return (
        out.reshape(batch, *grid, heads, v.shape[-1]).to(query.dtype),
        logsumexp.reshape(batch, *grid, heads),
    )


def _capped(logits: Tensor, softcap: float) -> Tensor:
    return softcap * torch.tanh(logits / softcap) if softcap else logits
