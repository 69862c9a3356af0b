"""A hierarchical transformer: convolutional tokens, stages of local attention, each on a grid half as fine as the one
before, a mean, a line.

The attention is a parameter. With Hilbert windows this is a Hilbert Window Transformer (HWT), with Hilbert neighborhoods
a Hilbert Neighborhood Transformer (HNT), with windows and neighborhoods on the grid it is like Swin and like NAT.
Published models along the curve bring all tokens into the order of the curve at the start of each stage. Here nothing
moves: tokens stay (batch, height, width, channels), and each stage's patterns lie along the curve of its own grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import nearfield
import torch
from attentions import MakePattern
from nearfield import Pattern
from torch import Tensor, nn


@dataclass(frozen=True)
class Configuration:
    """Sizes of a model, and how train.py trains it unless told otherwise."""

    depths: tuple[int, ...]  # blocks of each stage
    heads: tuple[int, ...]  # of each stage
    width: int  # channels of the first stage; they double from stage to stage
    window: int  # side: windows and neighborhoods have window*window tokens
    mlp: int  # hidden channels of a block's MLP by the block's channels
    patch: int  # pixels by the side of a token of the first stage: 1, 2 or 4
    side: int  # of the images, in pixels
    batch: int
    steps: int
    score: int  # held-out images that it is scored on, at most


# "tiny": grids of 20x20 and 10x10, which windows of 5x5 tile exactly, and where runs of the curve are no squares.
# "mini": the sizes of the paper's mini models; images of 224x224 have its grids of 56, 28, 14 and 7.
CONFIGURATIONS = {
    "tiny": Configuration((2, 2), (2, 4), width=32, window=5, mlp=2, patch=1, side=20, batch=16, steps=200, score=1000),
    "mini": Configuration(
        (3, 4, 6, 5), (2, 4, 8, 16), width=64, window=7, mlp=3, patch=4, side=128, batch=4, steps=20, score=60
    ),
}


class Attend(nn.Module):
    """Projections, the pattern's attention with a relative position bias, a projection: (batch, *grid, width) to same.

    The bias has an entry for each offset between two tokens on the grid that occurs, whatever the order of the tokens:
    a pair three rows apart is a pair three rows apart on the curve, too.
    """

    def __init__(self, width: int, heads: int, pattern: Pattern, grid: tuple[int, int]) -> None:
        super().__init__()
        self.heads, self.pattern = heads, pattern
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        extents = nearfield.bias_extents(pattern, grid)
        # Zeros: all four models then begin with the same weights.
        self.bias = nn.Parameter(torch.zeros(heads, *(2 * extent - 1 for extent in extents)))

    def forward(self, x: Tensor) -> Tensor:
        # (batch, height, width, 3, heads, head_dim): query, key and value are views of it, not copies.
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(3)
        return self.proj(nearfield.attend(self.pattern, query, key, value, bias=self.bias).flatten(-2))


class Block(nn.Module):
    """x + attention(x), then x + mlp(x), each of the normalised x."""

    def __init__(self, width: int, heads: int, mlp: int, pattern: Pattern, grid: tuple[int, int]) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend = Attend(width, heads, pattern, grid)
        self.mlp = nn.Sequential(nn.Linear(width, mlp * width), nn.GELU(), nn.Linear(mlp * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Tokens(nn.Module):
    """Images (batch, 1, side, side) to tokens (batch, side/patch, side/patch, width)."""

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        first, second = {1: (1, 1), 2: (2, 1), 4: (2, 2)}[patch]
        self.convolve = nn.Sequential(
            nn.Conv2d(1, width // 2, 3, first, padding=1), nn.GELU(), nn.Conv2d(width // 2, width, 3, second, padding=1)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.convolve(images).permute(0, 2, 3, 1))


class Halve(nn.Module):
    """(batch, height, width, channels) to half of the height and width, rounded up, and twice the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolve = nn.Conv2d(width, 2 * width, 3, 2, padding=1, bias=False)
        self.norm = nn.LayerNorm(2 * width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.convolve(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


class Classifier(nn.Module):
    """Images (batch, 1, side, side) to logits (batch, classes)."""

    def __init__(self, pattern: MakePattern, sizes: Configuration, side: int, classes: int) -> None:
        super().__init__()
        self.side = side
        layers: list[nn.Module] = [Tokens(sizes.width, sizes.patch)]
        length, width = -(-side // sizes.patch), sizes.width
        self.grids = []
        for stage, (depth, heads) in enumerate(zip(sizes.depths, sizes.heads, strict=True)):
            if stage > 0:
                layers.append(Halve(width))
                length, width = -(-length // 2), 2 * width
            grid = (length, length)
            self.grids.append(grid)
            layers += [Block(width, heads, sizes.mlp, pattern(sizes.window, grid, i), grid) for i in range(depth)]
        self.layers = nn.Sequential(*layers)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[2:] != (self.side, self.side):
            raise ValueError(
                f"images.shape[2:]={tuple(images.shape[2:])}: must be {(self.side, self.side)}, the size that the "
                "model's tables of relative positions were made for"
            )
        return self.head(self.norm(self.layers(images)).mean((1, 2)))
