"""Initial states of two of the published test cases: Williamson et al. 1992, sections 3.2 and 3.6.

Angles: latitude from the equator, longitude; arrays (nlat, nlon).
"""

from __future__ import annotations

import numpy as np
from shallow_water import GRAVITY, RADIUS, ROTATION, ShallowWater
from spherical_harmonics import Complex, Real


def case_2(model: ShallowWater) -> Complex:
    """Steady zonal flow, in geostrophic balance: once around in 12 days. It stays as it is."""
    speed = 2 * np.pi * RADIUS / (12 * 86400)
    latitude, longitude = angles(model)
    east = speed * np.cos(latitude) + 0 * longitude
    geopotential = 2.94e4 - (RADIUS * ROTATION * speed + speed**2 / 2) * np.sin(latitude) ** 2 + 0 * longitude
    return model.state(east, np.zeros_like(east), geopotential)


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
