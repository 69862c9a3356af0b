"""The sphere by its definition, beside definition.py: literal, over all pairs of points, and without nearfield.

Colatitudes and quadrature weights come from numpy's Gauss nodes, from cosine sums and closed forms; a neighbourhood is
what lies within a great-circle distance.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.polynomial import Legendre
from numpy.polynomial.legendre import leggauss

Token = tuple[int, ...]


class Grid(NamedTuple):
    """nlat circles of nlon points."""

    nlat: int
    nlon: int
    latitudes: str = "equiangular"

    def circles(self) -> tuple[np.ndarray, np.ndarray]:
        """Colatitudes, and weights of a rule on [-1, 1] in their cosine."""
        n = self.nlat
        if self.latitudes == "equiangular":
            return np.pi * np.arange(n) / (n - 1), clenshaw_curtis(n)
        if self.latitudes == "legendre-gauss":
            x, weights = leggauss(n)
        elif self.latitudes == "lobatto":
            polynomial = Legendre.basis(n - 1)
            x = np.concatenate(([-1.0], np.sort(polynomial.deriv().roots().real), [1.0]))
            weights = 2 / (n * (n - 1) * polynomial(x) ** 2)
        else:
            x = np.linspace(-1, 1, n)
            weights = np.full(n, 2 / (n - 1))
            weights[[0, -1]] /= 2
        return np.arccos(x)[::-1], weights[::-1]

    def areas(self) -> np.ndarray:
        """(nlat,): the part of the sphere that a point of each circle stands for."""
        return 2 * np.pi * self.circles()[1] / self.nlon

    def points(self) -> np.ndarray:
        """(nlat, nlon, 3): on the unit sphere."""
        theta, phi = np.meshgrid(self.circles()[0], 2 * np.pi * np.arange(self.nlon) / self.nlon, indexing="ij")
        return np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1)


def clenshaw_curtis(n: int) -> np.ndarray:
    """The weights at cos(pi k/(n - 1))."""
    last = n - 1
    weights = np.zeros(n)
    for k in range(n):
        total = 1.0
        for j in range(1, last // 2 + 1):
            total -= (1 if 2 * j == last else 2) * math.cos(2 * math.pi * j * k / last) / (4 * j * j - 1)
        weights[k] = (1 if k in (0, last) else 2) * total / last
    return weights


class Sphere:
    """What queries see, as definition.py takes it. cutoff None: of the definition's default; math.inf: everything."""

    def __init__(self, query: Grid, key: Grid, cutoff: float | None = None, tolerance: float = 1e-3) -> None:
        if cutoff is None:
            cutoff = math.pi / ((key if query.nlon > key.nlon else query).nlat - 1)
        a, b = query.points()[:, :, None, None], key.points()
        distances = np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1))
        # So that without a tolerance rounding decides as in the library: within 1e-14 is as far.
        self.seen = distances <= (1 + tolerance) * cutoff + 1e-14
        self.areas = key.areas()

    def sights(self, token: Token) -> list[tuple[Token, Token]]:
        """(key, no place in a table of bias) that this query sees."""
        return [(tuple(map(int, key)), ()) for key in np.argwhere(self.seen[token])]

    def weight(self, key: Token) -> float:
        """What a key's exp(logit) is multiplied by."""
        return float(self.areas[key[0]])
