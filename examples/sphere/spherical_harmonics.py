"""Spherical harmonics on a Gaussian grid: fields to coefficients and back, derivatives, winds.

A field (..., nlat, nlon) is the sum over m and l of coefficients[..., m, l] P_lm(x) exp(i m longitude), x = cos(colatitude),
for 0 <= m <= l <= truncation; negative m are the conjugates of positive ones, since fields are real. P_lm are associated
Legendre functions, with the integral of P_lm^2 over x in [-1, 1] equal to 1. Colatitude 0, the north pole, comes first.

Everything is float64 and, to rounding, exact for fields of that truncation. Products of two have exact coefficients if
nlon > 3 truncation and nlat > 3 truncation / 2. Equations: Temperton, "On scalar and vector transform methods for global
spectral models", Monthly Weather Review 119, 1991.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]


def legendre(truncation: int, x: Real) -> tuple[Real, Real]:
    """P_lm(x) and (1-x^2) dP_lm/dx, each (m, l, len(x)), 0 where l < m.

    The recurrence goes up in l from l = m, along which it is stable; none of its factors grows with l or m.
    """
    size = truncation + 1
    values = np.zeros((size, size + 1, len(x)))  # one l more, which the derivative needs
    diagonal = np.full(len(x), np.sqrt(0.5))
    degrees = np.arange(size + 1.0)
    for m in range(size):
        if m > 0:
            diagonal = diagonal * np.sqrt((2 * m + 1) / (2 * m) * (1 - x * x))
        values[m, m] = diagonal
        step = epsilon(degrees, m)
        for degree in range(m + 1, size + 1):
            below = step[degree - 1] * values[m, degree - 2] if degree >= m + 2 else 0.0
            values[m, degree] = (x * values[m, degree - 1] - below) / step[degree]
    slopes = np.zeros((size, size, len(x)))
    for m in range(size):
        step = epsilon(degrees, m)[:, None]
        slopes[m] = -degrees[:size, None] * step[1:] * values[m, 1:]
        slopes[m, 1:] += (degrees[1:size, None] + 1) * step[1:size] * values[m, : size - 1]
        slopes[m, :m] = 0
    return values[:, :size], slopes


def epsilon(degrees: Real, m: int) -> Real:
    """x P_lm = epsilon(l+1) P_(l+1)m + epsilon(l) P_(l-1)m, for each degree l; 0 where l <= m."""
    squares = degrees * degrees
    return np.sqrt(np.maximum(squares - m * m, 0) / np.maximum(4 * squares - 1, 1))


class SphericalHarmonics:
    """Transforms on a Gaussian grid of nlat x 2 nlat points, up to degree `truncation`, on a sphere of radius `radius`.

    The default truncation is the largest for which coefficients of products are exact: 42 for 64 latitudes.
    """

    def __init__(self, nlat: int, truncation: int | None = None, radius: float = 1.0) -> None:
        if nlat < 2:
            raise ValueError(f"nlat={nlat}: must be at least 2")
        self.nlat, self.nlon = nlat, 2 * nlat
        self.truncation = (self.nlon - 1) // 3 if truncation is None else truncation
        if not 1 <= self.truncation < nlat:
            raise ValueError(f"truncation={truncation}: must be from 1 to nlat-1={nlat - 1}")
        self.radius = radius
        nodes, weights = np.polynomial.legendre.leggauss(nlat)
        self.x, self.weights = nodes[::-1].copy(), weights[::-1].copy()  # x = cos(colatitude), weights sum to 2
        self.cos2 = 1 - self.x**2  # the squared cosine of latitude
        self.colatitudes, self.longitudes = np.arccos(self.x), 2 * np.pi * np.arange(self.nlon) / self.nlon

        values, slopes = legendre(self.truncation, self.x)
        self._values, self._slopes = values, slopes
        # Transposed with quadrature weights, for analysis; those of derivatives divide by cos2 and the radius.
        self._analysis = np.ascontiguousarray((values * weights).swapaxes(1, 2))
        scale = weights / (self.cos2 * radius)
        self._analysis_along = np.ascontiguousarray((values * scale).swapaxes(1, 2))
        self._analysis_slope = np.ascontiguousarray((slopes * scale).swapaxes(1, 2))

        degrees = np.arange(self.truncation + 1.0)
        self.laplacian = -degrees * (degrees + 1) / radius**2  # eigenvalue of each degree
        self.inverse_laplacian = np.zeros_like(self.laplacian)  # which gives fields of mean 0
        self.inverse_laplacian[1:] = 1 / self.laplacian[1:]
        self.orders = 1j * degrees[:, None]  # the derivative by longitude, (m, 1)
        self.kept = degrees[:, None] <= degrees  # (m, l)

    def synthesis(self, coefficients: Complex) -> Real:
        """Coefficients (..., m, l) to a field (..., nlat, nlon)."""
        return self._to_longitudes(_along_last(coefficients, self._values))

    def analysis(self, field: Real) -> Complex:
        """A field (..., nlat, nlon) to coefficients (..., m, l): its projection on harmonics of the truncation."""
        return _along_last(self._to_orders(field), self._analysis)

    def wind(self, vorticity: Complex, divergence: Complex) -> tuple[Real, Real]:
        """Wind (east, north) times the cosine of latitude, from coefficients of vorticity and divergence."""
        stream, potential = vorticity * self.inverse_laplacian, divergence * self.inverse_laplacian
        along = _along_last(self.orders * np.stack([potential, stream]), self._values)
        across = _along_last(np.stack([-stream, potential]), self._slopes)
        east, north = self._to_longitudes((along + across) / self.radius)
        return east, north

    def divergence(self, east: Real, north: Real) -> Complex:
        """Coefficients of the divergence of a vector field times the cosine of latitude. Integrated by parts."""
        east_orders, north_orders = self._to_orders(np.stack([east, north]))
        return self._divergence(east_orders, north_orders)

    def divergence_and_curl(self, east: Real, north: Real) -> tuple[Complex, Complex]:
        """Both at once. The curl is the divergence of the field turned by a right angle: (north, -east)."""
        east_orders, north_orders = self._to_orders(np.stack([east, north]))
        return self._divergence(east_orders, north_orders), self._divergence(north_orders, -east_orders)

    def integral(self, field: Real) -> Real:
        """Over the sphere, of a field (..., nlat, nlon)."""
        return (field.mean(-1) @ self.weights) * 2 * np.pi * self.radius**2

    def _divergence(self, east: Complex, north: Complex) -> Complex:
        return self.orders * _along_last(east, self._analysis_along) - _along_last(north, self._analysis_slope)

    def _to_orders(self, field: Real) -> Complex:
        """(..., nlat, nlon) to (..., m, nlat)."""
        return np.fft.rfft(field, norm="forward")[..., : self.truncation + 1].swapaxes(-1, -2)

    def _to_longitudes(self, orders: Complex) -> Real:
        return np.fft.irfft(orders.swapaxes(-1, -2), self.nlon, norm="forward")


def _along_last(values: Complex, table: Real) -> Complex:
    """(..., m, n) times the real table (m, n, k), order by order: (..., m, k)."""
    flat = values.reshape(-1, *values.shape[-2:]).transpose(1, 0, 2)  # (m, batch, n)
    product = np.matmul(np.concatenate([flat.real, flat.imag], 1), table)
    result = np.empty((*flat.shape[:2], table.shape[-1]), np.complex128)
    result.real, result.imag = np.split(product, 2, axis=1)
    return result.transpose(1, 0, 2).reshape(*values.shape[:-1], table.shape[-1])
