"""From one grid on the sphere to another by interpolation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nearfield._errors import ArgumentError
from nearfield.patterns import SphereGrid
from nearfield.patterns._sphere import Grid, as_grid, circles_of


class SphereResample(nn.Module):
    """Interpolates a field on the sphere from one grid to another: (batch, nlat, nlon, channels), bilinear.

    Longitudes are periodic. Between a grid's outermost circle and the pole that it lacks, the circle's mean stands for
    the pole. Points that both grids have keep their values, up to rounding.

    Parameters
    ----------
    grid_in, grid_out
        `nearfield.SphereGrid`, or (nlat, nlon) of an equiangular one. Any two: no nlon has to divide the other.
    device
        Of the tables.

    Raises
    ------
    ArgumentError, TypeError
        An argument breaks a rule, or an input is of another grid.

    Notes
    -----
    It has no parameters, and nothing in the state dict.

    Examples
    --------
    >>> import torch
    >>> up = SphereResample((5, 8), (9, 16))
    >>> up(torch.ones(2, 5, 8, 3)).shape
    torch.Size([2, 9, 16, 3])
    """

    def __init__(self, grid_in: Grid, grid_out: Grid, *, device: torch.device | str | None = None) -> None:
        super().__init__()
        self.grid_in, self.grid_out = as_grid("grid_in", grid_in), as_grid("grid_out", grid_out)
        own, wanted = (
            torch.tensor(circles_of(each)[0], dtype=torch.float64, device="cpu")
            for each in (self.grid_in, self.grid_out)
        )
        # One circle more at each pole that the grid lacks.
        self._lacks_poles = self.grid_in.latitudes == "legendre-gauss"
        if self._lacks_poles:
            own = torch.cat([own.new_zeros(1), own, own.new_full((1,), math.pi)])
        circle = (torch.searchsorted(own, wanted, right=True) - 1).clamp(0, len(own) - 2)
        share = ((wanted - own[circle]) / (own[circle + 1] - own[circle])).clamp(0, 1)
        finer = torch.arange(self.grid_out.nlon, device="cpu") * self.grid_in.nlon
        tables = {
            "_circle": circle,
            "_share": share,
            "_east": finer // self.grid_out.nlon,
            "_part": (finer % self.grid_out.nlon).double() / self.grid_out.nlon,
        }
        for name, table in tables.items():
            self.register_buffer(name, table.to(device), persistent=False)

    _circle: Tensor
    _share: Tensor
    _east: Tensor
    _part: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """The field on `grid_out`.

        Parameters
        ----------
        x
            (batch, nlat, nlon, channels) on `grid_in`.
        """
        check_field("x", x, self.grid_in)
        if self._lacks_poles:
            mean = x.mean(2, keepdim=True).expand_as(x)
            x = torch.cat([mean[:, :1], x, mean[:, -1:]], 1)
        x = torch.lerp(x[:, self._circle], x[:, self._circle + 1], self._share.to(x.dtype)[:, None, None])
        if not self.grid_in.nlon % self.grid_out.nlon:
            return x[:, :, self._east]
        next_east = (self._east + 1) % self.grid_in.nlon
        return torch.lerp(x[:, :, self._east], x[:, :, next_east], self._part.to(x.dtype)[:, None])

    def extra_repr(self) -> str:
        """The two grids."""
        return f"grid_in={self.grid_in!r}, grid_out={self.grid_out!r}"


def check_field(name: str, x: Tensor, grid: SphereGrid, channels: int | None = None, more: str = "") -> None:
    """Raise unless it is (batch, nlat, nlon, channels) on the grid."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: is a {type(x).__name__}: must be a torch.Tensor")
    fits = x.dim() == 4 and x.shape[1] == grid.nlat and x.shape[2] == grid.nlon
    if not fits or (channels is not None and x.shape[-1] != channels):
        wanted = f"(batch, {grid.nlat}, {grid.nlon}, {'channels' if channels is None else channels})"
        raise ArgumentError(f"{name}: shape {tuple(x.shape)}: must be {wanted}{more}")
