"""torch-harmonics' quadrature on the sphere: where grids have their points, and integrals over them.

Colatitudes and longitudes are in radians, the north pole first; a grid's names are those of `nearfield.SphereGrid`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from nearfield._errors import ArgumentError
from nearfield.compat.torch_harmonics._arguments import grid_of, positive, shape_of

__all__ = ["QuadratureS2", "precompute_latitudes", "precompute_longitudes"]

_RULES = {
    "clenshaw_curtiss_weights": "equiangular",
    "legendre_gauss_weights": "legendre-gauss",
    "lobatto_weights": "lobatto",
    "trapezoidal_weights": "equiangular-trapezoidal",
}


def precompute_latitudes(nlat: int, grid: str = "equiangular") -> tuple[Tensor, Tensor]:
    """Colatitudes of a grid's circles, and the weight of each, 2 over all; (nlat,) float64 both.

    A grid point stands for the area 2*pi*weight/nlon.

    Parameters
    ----------
    nlat
        Circles of latitude.
    grid
        "equiangular", "legendre-gauss", "lobatto" or "equiangular-trapezoidal".

    Examples
    --------
    >>> colatitudes, weights = precompute_latitudes(3)
    >>> [round(float(each), 4) for each in weights]
    [0.3333, 1.3333, 0.3333]
    """
    sphere = grid_of((nlat, 1), grid, {"nlat": "nlat", "latitudes": "grid"})
    return torch.from_numpy(np.array(sphere.colatitudes)), torch.from_numpy(sphere.area_weights / (2 * math.pi))


def precompute_longitudes(nlon: int) -> Tensor:
    """The longitudes of a circle's points, (nlon,) float64, from 0."""
    count = positive("nlon", nlon)
    return torch.arange(count, dtype=torch.float64) * (2 * math.pi / count)


class QuadratureS2(nn.Module):
    """The integral of fields over the sphere, or with `normalize` their mean: (..., nlat, nlon) to (...).

    Parameters
    ----------
    img_shape
        (nlat, nlon).
    grid
        As in `precompute_latitudes`.
    normalize
        Whether to divide by the sphere's area, 4*pi.

    Attributes
    ----------
    quad_weight
        (1, 1, nlat, nlon) float32: the area of each grid point; no part of the state dict.

    Examples
    --------
    >>> round(float(QuadratureS2((5, 8), normalize=True)(torch.ones(5, 8))), 6)
    1.0
    """

    quad_weight: Tensor

    def __init__(self, img_shape: Sequence[int], grid: str = "equiangular", normalize: bool = False) -> None:
        super().__init__()
        nlat, nlon = shape_of("img_shape", img_shape)
        names = {"nlat": "img_shape[0]", "nlon": "img_shape[1]", "latitudes": "grid"}
        areas = torch.from_numpy(np.array(grid_of((nlat, nlon), grid, names).area_weights))
        if normalize:
            areas = areas / (4 * math.pi)
        weights = areas[:, None].expand(nlat, nlon).reshape(1, 1, nlat, nlon)
        self.register_buffer("quad_weight", weights.to(torch.float32), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The integral over the last two axes."""
        if x.shape[-2:] != self.quad_weight.shape[-2:]:
            nlat, nlon = self.quad_weight.shape[-2:]
            raise ArgumentError(f"x: shape {tuple(x.shape)}: must be (..., {nlat}, {nlon}), of img_shape")
        return (x * self.quad_weight).sum((-2, -1))


def __getattr__(name: str) -> NoReturn:
    """Say what does the work of torch-harmonics' rules on an interval."""
    if name in _RULES:
        instead = (
            f"take precompute_latitudes(n, {_RULES[name]!r}), whose colatitudes' cosines are the nodes from 1 to -1"
        )
        raise ImportError(f"{name}: nearfield has rules on the sphere only: {instead}", name=name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
