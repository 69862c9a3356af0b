"""How good forecasts are: errors by lead time and by latitude, beside those of persistence, which forecasts no change."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from attentions import grid_of
from model import Forecaster
from states import CHANNELS
from torch import Tensor

POLAR = 60  # degrees of latitude: the caps from there to the poles are looked at by themselves


@dataclass(frozen=True)
class Scale:
    """Units of the network: states have mean 0 and deviation 1 over the sphere, and so has their change in a step."""

    mean: Tensor  # (channels, 1, 1)
    deviation: Tensor
    change: Tensor  # deviation of the change in a step
    area: Tensor  # (nlat, 1): the share of the sphere of a circle's point, with mean 1 over the grid

    @classmethod
    def of(cls, states: Tensor) -> Scale:
        """Of states (count, snapshots, channels, nlat, nlon)."""
        area = torch.tensor(grid_of(states.shape[-2]).area_weights)
        area = (area / area.mean()).float()[:, None]
        mean = (states * area).mean((0, 1, 3, 4), keepdim=True)[0, 0]
        deviation = ((states - mean).square() * area).mean((0, 1, 3, 4)).sqrt()[:, None, None]
        change = ((states[:, 1:] - states[:, :-1]).square() * area).mean((0, 1, 3, 4)).sqrt()[:, None, None]
        return cls(mean, deviation, change, area)

    def next(self, model: Forecaster, states: Tensor) -> Tensor:
        """The forecast a step ahead of states (batch, channels, nlat, nlon)."""
        return states + self.change * model((states - self.mean) / self.deviation)

    def loss(self, model: Forecaster, states: Tensor, later: Tensor) -> Tensor:
        """The mean squared error over the sphere in units of the change: 1 is persistence."""
        error = model((states - self.mean) / self.deviation) - (later - states) / self.change
        return (error.square() * self.area).mean()


@torch.no_grad()
def errors(scale: Scale, model: Forecaster | None, truth: Tensor, leads: int = 8, stride: int = 4) -> Tensor:
    """Squared errors (lead, channels, nlat), means over longitudes and starts, of forecasts 0 to `leads` steps ahead.

    truth: (count, snapshots, channels, nlat, nlon). Forecasts start every `stride` snapshots and run while there is
    truth to compare with, each step from the one before. model None: persistence.
    """
    leads = min(leads, truth.shape[1] - 1)
    starts = range(0, truth.shape[1] - leads, stride)
    total = torch.zeros(leads + 1, *truth.shape[2:4], dtype=torch.float64)
    for start in starts:
        forecast = truth[:, start]
        for lead in range(1, leads + 1):
            if model is not None:
                forecast = scale.next(model, forecast)
            total[lead] += (forecast - truth[:, start + lead]).double().square().mean((0, -1))
    return total / len(starts)


def over_sphere(scale: Scale, squares: Tensor, rows: Tensor | None = None) -> Tensor:
    """Root mean square over the sphere (lead, channels) of squared errors (lead, channels, nlat).

    rows: (nlat,) bool, the circles that count; None: all.
    """
    area = scale.area[:, 0].double()
    if rows is not None:
        area = area * rows
    return ((squares * area).sum(-1) / area.sum()).sqrt()


def poleward(nlat: int) -> Tensor:
    """(nlat,) bool: the circles of the two polar caps."""
    return (90 - torch.tensor(grid_of(nlat).colatitudes).rad2deg()).abs() > POLAR


def skill_table(found: dict[str, Tensor], scale: Scale, hours: int, leads: list[int]) -> str:
    """Errors of persistence and, as a share of it, of each network, over the sphere and over the polar caps.

    found: squared errors (lead, channels, nlat) by name. 1 minus a share is the skill.
    """
    names = [name for name in found if name != "persistence"]
    wide = 28 - 9 * len(names)  # of the column of persistence
    lines = []
    for where, seen in (("over the sphere", None), (f"poleward of {POLAR} degrees", poleward(scale.area.shape[0]))):
        roots = {name: over_sphere(scale, squares, seen) for name, squares in found.items()}
        lines.append(f"errors {where}: of persistence, and the share of it that networks leave")
        lines.append(f"{'ahead':>6}" + "".join(f"  {channel:>28}" for channel in CHANNELS))
        columns = f"  {'':>{wide}}" + "".join(f"{name:>9}" for name in names)
        lines.append(f"{'':>6}" + columns * len(CHANNELS))
        for lead in leads:
            line = f"{lead * hours:>4} h"
            for channel in range(len(CHANNELS)):
                still = roots["persistence"][lead, channel].item()
                shares = "".join(f"{roots[name][lead, channel].item() / still:>9.3f}" for name in names)
                line += f"  {still:>{wide}.3g}{shares}"
            lines.append(line)
    return "\n".join(lines)
