"""Two attentions on the same grid of latitudes and longitudes: on the sphere, and on the plane that it is stored in.

Both let queries on one grid see keys on another, with `size` x `size` keys at the equator: on the sphere those within a
great-circle distance, with weights for the area that each stands for; on the plane a rectangle of rows and columns, which
is periodic in longitude and ends at the poles. Keys are counted on their own grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import nearfield
import torch
from nearfield import SphereGrid, SphereNeighborhood
from torch import Tensor

# attend(query, key, value): (batch, nlat, nlon, heads, dim), key and value on the keys' grid.
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def grid_of(nlat: int) -> SphereGrid:
    """The solver's grids: Gaussian latitudes, twice as many longitudes."""
    return SphereGrid(nlat, 2 * nlat, "legendre-gauss")


def sphere_attend(nlat: int, key_nlat: int, size: int) -> Attend:
    """Discs on the sphere, of the area of size*size cells at the equator: whole circles of latitude near the poles."""
    cutoff = size / math.sqrt(math.pi) * math.pi / key_nlat
    pattern = SphereNeighborhood(grid_of(nlat), grid_of(key_nlat), cutoff=cutoff)
    return lambda query, key, value: nearfield.attend(pattern, query, key, value)


def plane_attend(nlat: int, key_nlat: int, size: int) -> Attend:
    """Rectangles of rows and columns.

    Neighborhood attention on the plane has one grid. Where keys are finer, every second row and column of its output on
    their grid is what is wanted; where they are coarser, each is repeated, and a dilation steps from one to the next.
    """
    finer, coarser = key_nlat // nlat, nlat // key_nlat
    pattern = nearfield.Neighborhood(size, dilation=max(1, coarser), boundary=("clamp", "wrap"))
    if finer > 1:
        return lambda query, key, value: nearfield.attend(pattern, repeated(query, finer), key, value)[
            :, ::finer, ::finer
        ]
    if coarser > 1:
        return lambda query, key, value: nearfield.attend(
            pattern, query, repeated(key, coarser), repeated(value, coarser)
        )
    return lambda query, key, value: nearfield.attend(pattern, query, key, value)


def repeated(x: Tensor, times: int) -> Tensor:
    """(batch, nlat, nlon, ...) with each row and column `times` times."""
    return x.repeat_interleave(times, 1).repeat_interleave(times, 2)


def sphere_places(nlat: int) -> tuple[Tensor, Tensor]:
    """Points of the unit sphere (nlat, nlon, 3), and at each the directions up, south and east (nlat, nlon, 3, 3)."""
    colatitude, longitude = angles(nlat)
    sin, cos = colatitude.sin(), colatitude.cos()
    up = torch.stack([sin * longitude.cos(), sin * longitude.sin(), cos], -1)
    south = torch.stack([cos * longitude.cos(), cos * longitude.sin(), -sin], -1)
    east = torch.stack([-longitude.sin(), longitude.cos(), 0 * cos], -1)
    return up, torch.stack([up, south, east], -2)


def plane_places(nlat: int) -> tuple[Tensor, Tensor]:
    """The same on a cylinder, which is the plane with its two edges joined: the height is the colatitude."""
    colatitude, longitude = angles(nlat)
    up = torch.stack([longitude.cos(), longitude.sin(), 0 * colatitude], -1)
    south = torch.tensor([0.0, 0.0, 1.0], dtype=up.dtype).expand_as(up)
    east = torch.stack([-longitude.sin(), longitude.cos(), 0 * colatitude], -1)
    return up + colatitude[..., None] * south, torch.stack([up, south, east], -2)


def angles(nlat: int) -> tuple[Tensor, Tensor]:
    """Colatitude and longitude of every point, each (nlat, nlon), float64."""
    grid = grid_of(nlat)
    colatitude = torch.tensor(grid.colatitudes)
    longitude = 2 * math.pi * torch.arange(grid.nlon, dtype=torch.float64) / grid.nlon
    return tuple(torch.meshgrid(colatitude, longitude, indexing="ij"))  # type: ignore[return-value]


class Geometry(NamedTuple):
    """What the two networks differ in."""

    words: str
    attend: Callable[[int, int, int], Attend]
    places: Callable[[int], tuple[Tensor, Tensor]]


GEOMETRIES = {
    "sphere": Geometry("SphereNeighborhood", sphere_attend, sphere_places),
    "plane": Geometry("Neighborhood, periodic in longitude", plane_attend, plane_places),
}
