"""Initial states of two of the published test cases: Williamson et al. 1992, sections 3.2 and 3.6.

Angles: latitude from the equator, longitude; arrays (nlat, nlon).
"""

from __future__ import annotations

import numpy as np
from shallow_water import GRAVITY, RADIUS, ROTATION, ShallowWater
from spherical_harmonics import Complex, Real


def case_2(model: ShallowWater, angle: float = 0.0) -> Complex:
    """Steady flow, once around in 12 days, in geostrophic balance: it stays as it is.

    angle: between the axes of the flow and of the grid; pi/2 is over the poles. The model rotates about the flow's axis
    then: its `coriolis` is set.
    """
    speed = 2 * np.pi * RADIUS / (12 * 86400)
    latitude, longitude = angles(model)
    tilted = np.sin(latitude) * np.cos(angle) - np.cos(longitude) * np.cos(latitude) * np.sin(angle)
    model.coriolis = 2 * ROTATION * tilted
    east = speed * (np.cos(latitude) * np.cos(angle) + np.sin(latitude) * np.cos(longitude) * np.sin(angle))
    north = -speed * np.sin(longitude) * np.sin(angle) + 0 * latitude
    return model.state(east, north, 2.94e4 - (RADIUS * ROTATION * speed + speed**2 / 2) * tilted**2)


def case_6(model: ShallowWater) -> Complex:
    """A Rossby-Haurwitz wave of wavenumber 4, which moves east and keeps its shape, nearly."""
    w = k = 7.848e-6  # 1/s
    r = 4
    latitude, longitude = angles(model)
    cos, sin = np.cos(latitude), np.sin(latitude)
    east = RADIUS * (w * cos + k * cos ** (r - 1) * (r * sin**2 - cos**2) * np.cos(r * longitude))
    north = -RADIUS * k * r * cos ** (r - 1) * sin * np.sin(r * longitude)
    constant = w / 2 * (2 * ROTATION + w) * cos**2 + k**2 / 4 * cos ** (2 * r) * (
        (r + 1) * cos**2 + (2 * r**2 - r - 2) - 2 * r**2 * cos**-2
    )
    once = 2 * (ROTATION + w) * k / ((r + 1) * (r + 2)) * cos**r * ((r**2 + 2 * r + 2) - (r + 1) ** 2 * cos**2)
    twice = k**2 / 4 * cos ** (2 * r) * ((r + 1) * cos**2 - (r + 2))
    waves = constant + once * np.cos(r * longitude) + twice * np.cos(2 * r * longitude)
    return model.state(east, north, GRAVITY * 8000 + RADIUS**2 * waves)


def angles(model: ShallowWater) -> tuple[Real, Real]:
    """Latitudes (nlat, 1) and longitudes (nlon,)."""
    return np.pi / 2 - model.harmonics.colatitudes[:, None], model.harmonics.longitudes
