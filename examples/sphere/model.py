"""A transformer on the sphere that forecasts: down to a coarser grid, blocks of attention there, and up again.

    state on the fine grid -> tokens -> attention from the coarse grid's points to the fine one's tokens
      -> blocks on the coarse grid -> attention from the fine grid's tokens to the coarse one's -> change of the state

The geometry (attentions.py) is a parameter: on the sphere or on the plane, everything else is the same, weights included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from attentions import GEOMETRIES, Geometry, angles
from torch import Tensor, nn


@dataclass(frozen=True)
class Sizes:
    """Sizes of the network."""

    nlat: int = 64  # circles of the fine grid; twice as many longitudes
    coarser: int = 2  # the coarse grid has so many times fewer
    channels: int = 3
    width: int = 128
    heads: int = 4
    depth: int = 4  # blocks on the coarse grid
    mlp: int = 2  # hidden channels of an MLP by width
    harmonics: int = 8  # zonal harmonics that tell the latitude
    down: int = 5  # neighbourhoods have the area of size*size keys at the equator
    block: int = 5
    up: int = 3


class Attention(nn.Module):
    """Queries (batch, nlat, nlon, width) attend to tokens of the keys' grid (batch, key_nlat, key_nlon, width).

    There is no bias by relative position on the sphere. Instead three channels of each head are places: a key's is its
    point in space, a query's a vector that its token chooses as so much up, south and east. Their product grows with the
    way south and east, and falls with the squared distance: a query can look upstream. In units of the keys' grid steps.
    """

    directions: Tensor
    places: Tensor

    def __init__(self, sizes: Sizes, geometry: Geometry, nlat: int, key_nlat: int, size: int) -> None:
        super().__init__()
        width, self.heads = sizes.width, sizes.heads
        dim = width // self.heads
        self.attend = geometry.attend(nlat, key_nlat, size)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width - 3 * self.heads)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        places, directions = geometry.places(key_nlat)[0], geometry.places(nlat)[1]
        step = math.pi / key_nlat
        unit = math.sqrt(dim) / torch.tensor([step**2, step, step], dtype=torch.float64)  # undoes attention's scale
        self.register_buffer("directions", (unit[:, None] * directions).float(), persistent=False)
        self.register_buffer("places", places.float(), persistent=False)
        self._look_around()

    def _look_around(self) -> None:
        """Heads begin with looking south, north, east, west and so on, as far as a step."""
        with torch.no_grad():
            start = self.query.bias.view(self.heads, -1)
            for head in range(self.heads):
                start[head, -3:] = torch.tensor(
                    [(1.0, 1.0, 0.0), (1.0, -1.0, 0.0), (1.0, 0.0, 1.0), (1.0, 0.0, -1.0)][head % 4]
                )

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        query, value = (
            layer(each).unflatten(-1, (self.heads, -1)) for layer, each in ((self.query, x), (self.value, tokens))
        )
        key = self.key(tokens).unflatten(-1, (self.heads, -1))
        looks = torch.einsum("byxhi,yxij->byxhj", query[..., -3:], self.directions)
        query = torch.cat([query[..., :-3], looks], -1)
        key = torch.cat([key, self.places[:, :, None].expand(*key.shape[:-1], 3)], -1)
        return self.out(self.attend(query, key, value).flatten(-2))


class Block(nn.Module):
    """x + attention(x), then x + mlp(x), each of the normalised x."""

    def __init__(self, sizes: Sizes, geometry: Geometry, nlat: int) -> None:
        super().__init__()
        width = sizes.width
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(sizes, geometry, nlat, nlat, sizes.block)
        self.mlp = nn.Sequential(nn.Linear(width, sizes.mlp * width), nn.GELU(), nn.Linear(sizes.mlp * width, width))

    def forward(self, x: Tensor) -> Tensor:
        normal = self.norm1(x)
        x = x + self.attention(normal, normal)
        return x + self.mlp(self.norm2(x))


class Latitude(nn.Module):
    """A learned vector (nlat, 1, width) for each circle: a combination of zonal harmonics, so that it is smooth."""

    harmonics: Tensor

    def __init__(self, sizes: Sizes, nlat: int) -> None:
        super().__init__()
        x = angles(nlat)[0][:, 0].cos()
        rows = [torch.ones_like(x), x]
        for degree in range(2, sizes.harmonics):
            rows.append(((2 * degree - 1) * x * rows[-1] - (degree - 1) * rows[-2]) / degree)
        self.register_buffer("harmonics", torch.stack(rows[: sizes.harmonics], -1).float(), persistent=False)
        self.combine = nn.Linear(sizes.harmonics, sizes.width)

    def forward(self) -> Tensor:
        return self.combine(self.harmonics)[:, None]


class Forecaster(nn.Module):
    """States (batch, channels, nlat, nlon), normalised, to their normalised change in a forecast step."""

    def __init__(self, geometry: str, sizes: Sizes) -> None:
        super().__init__()
        made, coarse, width = GEOMETRIES[geometry], sizes.nlat // sizes.coarser, sizes.width
        self.coarser = sizes.coarser
        self.embed = nn.Linear(sizes.channels, width)
        self.fine_latitude, self.coarse_latitude = Latitude(sizes, sizes.nlat), Latitude(sizes, coarse)
        self.fine_norm, self.coarse_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.down = Attention(sizes, made, coarse, sizes.nlat, sizes.down)
        self.blocks = nn.Sequential(*(Block(sizes, made, coarse) for _ in range(sizes.depth)))
        self.up = Attention(sizes, made, sizes.nlat, coarse, sizes.up)
        self.head = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, sizes.channels)
        )
        nn.init.zeros_(self.head[-1].weight)  # begins as persistence: no change
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, states: Tensor) -> Tensor:
        fine = self.embed(states.permute(0, 2, 3, 1)) + self.fine_latitude()
        normal = self.fine_norm(fine)
        coarse = self.pooled(fine) + self.coarse_latitude()
        coarse = self.blocks(coarse + self.down(self.pooled(normal), normal))
        fine = fine + self.up(normal, self.coarse_norm(coarse))
        return self.head(fine).permute(0, 3, 1, 2)

    def pooled(self, x: Tensor) -> Tensor:
        """At the coarse grid's points: each lies on a longitude of the fine grid, between two of its latitudes."""
        return x[:, :, :: self.coarser].unflatten(1, (-1, self.coarser)).mean(2)
