"""The shallow-water equations on a rotating sphere, by spectral transforms.

With vorticity z, divergence d, geopotential p = gravity * depth, wind V, Coriolis parameter f and kinetic energy
K = |V|^2 / 2:

    dz/dt = -div((z + f) V)
    dd/dt = curl((z + f) V) - laplacian(p + K)
    dp/dt = -div(p V)

Products are taken on the grid, derivatives of coefficients: Williamson et al., "A standard test set for numerical
approximations to the shallow water equations in spherical geometry", Journal of Computational Physics 102, 1992, section
2; Hack and Jakob, NCAR/TN-343+STR, 1992. Steps are fourth-order Runge-Kutta. Units: metres and seconds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from spherical_harmonics import Complex, Real, SphericalHarmonics

RADIUS, ROTATION, GRAVITY = 6.37122e6, 7.292e-5, 9.80616  # the Earth's, as Williamson et al. have them


class ShallowWater:
    """A state is (..., 3, m, l): coefficients of vorticity, divergence and geopotential.

    diffusion: the rate, in 1/s, at which fourth-order hyperdiffusion damps the shortest harmonics; 0: none.
    """

    def __init__(self, nlat: int, truncation: int | None = None, diffusion: float = 0.0, order: int = 2) -> None:
        self.harmonics = SphericalHarmonics(nlat, truncation, RADIUS)
        self.coriolis = 2 * ROTATION * self.harmonics.x[:, None]  # (nlat, 1)
        relative = self.harmonics.laplacian / self.harmonics.laplacian[-1]
        self.damping = diffusion * relative**order

    def tendency(self, state: Complex) -> Complex:
        """d state / dt, without diffusion."""
        harmonics = self.harmonics
        vorticity, divergence, geopotential = np.moveaxis(state, -3, 0)
        absolute, depth = harmonics.synthesis(np.stack([vorticity, geopotential]))
        absolute += self.coriolis
        east, north = harmonics.wind(vorticity, divergence)
        spread, curl = harmonics.divergence_and_curl(absolute * east, absolute * north)
        kinetic = harmonics.analysis((east**2 + north**2) / (2 * harmonics.cos2[:, None]))
        outflow = harmonics.divergence(depth * east, depth * north)
        return np.stack([-spread, curl - harmonics.laplacian * (geopotential + kinetic), -outflow], -3)

    def step(self, state: Complex, seconds: float) -> Complex:
        """One step. Stable below about 2.8 radius / (speed * truncation), of gravity waves and wind together."""
        first = self.tendency(state)
        second = self.tendency(state + seconds / 2 * first)
        third = self.tendency(state + seconds / 2 * second)
        fourth = self.tendency(state + seconds * third)
        moved = state + seconds / 6 * (first + 2 * (second + third) + fourth)
        return moved * np.exp(-seconds * self.damping) if self.damping.any() else moved

    def run(
        self, state: Complex, seconds: float, steps: int, each: Callable[[int, Complex], None] | None = None
    ) -> Complex:
        """`steps` steps; each(i, state) after step i, from 1 on."""
        for i in range(steps):
            state = self.step(state, seconds)
            if each is not None:
                each(i + 1, state)
        return state

    def state(self, east: Real, north: Real, geopotential: Real) -> Complex:
        """Of winds in m/s and a geopotential, each (..., nlat, nlon)."""
        cosine = np.sqrt(self.harmonics.cos2)[:, None]
        divergence, vorticity = self.harmonics.divergence_and_curl(east * cosine, north * cosine)
        return np.stack([vorticity, divergence, self.harmonics.analysis(geopotential)], -3)

    def fields(self, state: Complex) -> Real:
        """Vorticity, divergence and geopotential on the grid: (..., 3, nlat, nlon)."""
        return self.harmonics.synthesis(state)

    def balanced(self, vorticity: Complex, mean: float) -> Complex:
        """No divergence, and the geopotential of that mean for which none begins: the nonlinear balance equation."""
        state = np.zeros((*vorticity.shape[:-2], 3, *vorticity.shape[-2:]), np.complex128)
        state[..., 0, :, :] = vorticity
        begins = self.tendency(state)[..., 1, :, :]
        state[..., 2, :, :] = begins * self.harmonics.inverse_laplacian
        state[..., 2, 0, 0] = mean * np.sqrt(2)  # P_00 is 1/sqrt(2)
        return state

    def mass(self, state: Complex) -> Real:
        """The integral of the geopotential."""
        return self.harmonics.integral(self.harmonics.synthesis(state[..., 2, :, :]))

    def energy(self, state: Complex) -> Real:
        """The integral of p |V|^2 / 2 + p^2 / 2: energy times gravity."""
        depth = self.harmonics.synthesis(state[..., 2, :, :])
        east, north = self.harmonics.wind(state[..., 0, :, :], state[..., 1, :, :])
        kinetic = (east**2 + north**2) / (2 * self.harmonics.cos2[:, None])
        return self.harmonics.integral(depth * (kinetic + depth / 2))

    def enstrophy(self, state: Complex) -> Real:
        """The integral of (z + f)^2 / (2 p)."""
        vorticity, depth = np.moveaxis(self.fields(state[..., ::2, :, :]), -3, 0)
        return self.harmonics.integral((vorticity + self.coriolis) ** 2 / (2 * depth))
