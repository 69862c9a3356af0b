"""Three ways to the same neighborhood attention: nearfield, and what is used without it."""

from __future__ import annotations

from functools import lru_cache

import nearfield
import torch
from model import Attend
from torch import Tensor
from torch.nn import functional

KERNEL_SIZE = 3


def attend_nearfield(query: Tensor, key: Tensor, value: Tensor, dilation: int) -> Tensor:
    """Only the pairs that are asked for."""
    return nearfield.na2d(query, key, value, kernel_size=KERNEL_SIZE, dilation=dilation)


def sees(query: Tensor, key: Tensor, length: int, dilation: int) -> Tensor:
    """Whether a query sees a key on one axis: the window of its residue class, shifted to stay inside."""
    last = (length - 1 - query % dilation) // dilation
    place = query // dilation
    start = (place - KERNEL_SIZE // 2).clamp(min=torch.zeros_like(last), max=last - KERNEL_SIZE + 1)
    offset = key // dilation - start
    return (query % dilation == key % dilation) & (offset >= 0) & (offset < KERNEL_SIZE)


@lru_cache
def dense_mask(height: int, width: int, dilation: int) -> Tensor:
    """(tokens, tokens): True where the first sees the second."""
    token = torch.arange(height * width)
    query, key = token[:, None], token[None, :]
    rows = sees(query // width, key // width, height, dilation)
    return rows & sees(query % width, key % width, width, dilation)


def tokens_of(tensor: Tensor) -> Tensor:
    """(batch, height, width, heads, head_dim) as (batch, heads, tokens, head_dim)."""
    return tensor.flatten(1, 2).transpose(1, 2)


def attend_dense(query: Tensor, key: Tensor, value: Tensor, dilation: int) -> Tensor:
    """All pairs, most of them masked."""
    mask = dense_mask(*query.shape[1:3], dilation)
    out = functional.scaled_dot_product_attention(*map(tokens_of, (query, key, value)), attn_mask=mask)
    return out.transpose(1, 2).unflatten(1, query.shape[1:3])


@lru_cache
def block_mask(height: int, width: int, dilation: int):
    """The same for FlexAttention."""
    from torch.nn.attention.flex_attention import create_block_mask

    mask = dense_mask(height, width, dilation)
    tokens = height * width
    return create_block_mask(lambda b, h, q, k: mask[q, k], None, None, tokens, tokens, device="cpu")


def attend_flex(query: Tensor, key: Tensor, value: Tensor, dilation: int) -> Tensor:
    """FlexAttention, eagerly."""
    from torch.nn.attention.flex_attention import flex_attention

    mask = block_mask(*query.shape[1:3], dilation)
    out = flex_attention(*map(tokens_of, (query, key, value)), block_mask=mask)
    return out.transpose(1, 2).unflatten(1, query.shape[1:3])


ATTENTIONS: dict[str, Attend] = {"nearfield": attend_nearfield, "dense-mask": attend_dense, "flex": attend_flex}
