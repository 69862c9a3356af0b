"""A small classifier in the manner of NAT: convolutional tokens, blocks of neighborhood attention, a mean, a line."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

# attend(query, key, value, dilation) of tensors (batch, height, width, heads, head_dim)
Attend = Callable[[Tensor, Tensor, Tensor, int], Tensor]


class Block(nn.Module):
    """x + attention(x), then x + mlp(x), each of the normalised x."""

    def __init__(self, width: int, heads: int, dilation: int, attend: Attend) -> None:
        super().__init__()
        self.heads, self.dilation, self.attend = heads, dilation, attend
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        # (batch, height, width, 3, heads, head_dim): query, key and value are views of it, not copies.
        query, key, value = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).unbind(3)
        x = x + self.proj(self.attend(query, key, value, self.dilation).flatten(-2))
        return x + self.mlp(self.norm2(x))


class Classifier(nn.Module):
    """Images (batch, 8, 8) to logits (batch, 10)."""

    def __init__(self, attend: Attend, width: int = 48, heads: int = 4, dilations: tuple[int, ...] = (1, 2, 1)) -> None:
        super().__init__()
        self.tokens = nn.Sequential(
            nn.Conv2d(1, width // 2, 3, padding=1), nn.GELU(), nn.Conv2d(width // 2, width, 3, padding=1)
        )
        self.place = nn.Parameter(torch.zeros(8, 8, width))
        self.blocks = nn.ModuleList(Block(width, heads, dilation, attend) for dilation in dilations)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def features(self, images: Tensor) -> Tensor:
        """Tokens (batch, 8, 8, width) after all blocks."""
        x = self.tokens(images[:, None]).permute(0, 2, 3, 1) + self.place
        for block in self.blocks:
            x = block(x)
        return x

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.norm(self.features(images)).mean((1, 2)))
