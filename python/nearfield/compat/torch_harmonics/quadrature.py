"""torch-harmonics' quadrature on the sphere: where grids have their points, and integrals over them.

Colatitudes and longitudes are in radians, the north pole first; a grid's names are those of `nearfield.SphereGrid`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import NoReturn

import torch
from torch import Tensor, nn

from nearfield._errors import ArgumentError
from nearfield._values import number
from nearfield.compat.torch_harmonics._arguments import grid_of, positive, shape_of
from nearfield.patterns._sphere import circles_of

__all__ = [
    "QuadratureS2",
    "compute_latitude_spacing",
    "compute_theta_cutoff",
    "precompute_latitudes",
    "precompute_longitudes",
]

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
    colatitudes, areas = (torch.tensor(each, dtype=torch.float64, device="cpu") for each in circles_of(sphere))
    return colatitudes, areas / (2 * math.pi)


def precompute_longitudes(nlon: int) -> Tensor:
    """The longitudes of a circle's points, (nlon,) float64, from 0."""
    count = positive("nlon", nlon)
    return torch.arange(count, dtype=torch.float64, device="cpu") * (2 * math.pi / count)


def compute_latitude_spacing(nlat: int, grid: str = "equiangular") -> float:
    """The largest step between circles of latitude that are neighbours, in radians.

    Examples
    --------
    >>> round(compute_latitude_spacing(5, "equiangular-trapezoidal"), 4)
    1.0472
    """
    sphere = grid_of((nlat, 1), grid, {"nlat": "nlat", "latitudes": "grid"})
    if sphere.nlat < 2:
        raise ArgumentError(f"nlat={nlat}: must be at least 2: one circle has no step")
    if sphere.latitudes == "equiangular":
        return math.pi / (sphere.nlat - 1)
    colatitudes = circles_of(sphere)[0]
    return max(after - before for before, after in pairwise(colatitudes))


def compute_theta_cutoff(nlat: int, grid: str = "equiangular", scale: float = 1.0) -> float:
    """The default cutoff of `NeighborhoodAttentionS2`: `scale` times the largest step of latitude.

    Warns (UserWarning) where torch-harmonics before 0.9.3 had another default, pi/(nlat-1): where circles are not equally
    spaced.

    Examples
    --------
    >>> compute_theta_cutoff(5) == math.pi / 4
    True
    """
    step, before = compute_latitude_spacing(nlat, grid), math.pi / (nlat - 1)
    if step != before:
        warnings.warn(
            f"theta_cutoff=None: is {step:.6g} on {nlat} latitudes {grid!r}, their largest step, as in torch-harmonics 0.9.3; "
            f"until 0.9.2 it was pi/(nlat-1) = {before:.6g}: pass the one that the model was trained with",
            UserWarning,
            stacklevel=3,
        )
    return number("scale", scale) * step


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
        areas = torch.tensor(circles_of(grid_of((nlat, nlon), grid, names))[1], dtype=torch.float64, device="cpu")
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
