"""Patterns on the sphere: grids of latitudes and longitudes, great-circle neighbourhoods, and every point.

Each key counts with the share of the sphere's area that its point stands for. Queries and keys may lie on different
grids, for down- and up-sampling. Source: Bonev et al., "Attention on the Sphere", 2025.
"""

from __future__ import annotations

import ctypes
import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING

from nearfield import _abi
from nearfield._errors import ArgumentError
from nearfield._values import integer, is_sequence, number, shown
from nearfield.patterns import _words
from nearfield.patterns._base import Pattern, shown_settings
from nearfield.patterns._words import Words

if TYPE_CHECKING:  # numpy is loaded when latitudes are asked for
    import numpy as np
    from numpy.typing import NDArray

TOLERANCE = 1e-3

_MOST_LATITUDES, _MOST_LONGITUDES = 16384, 1 << 20  # of pattern/sphere_grid.h and sphere.h


@dataclass(frozen=True)
class SphereGrid:
    """A grid of `nlat` circles of latitude with `nlon` equally spaced points each, (nlat, nlon) in tensors.

    The first circle is the northernmost, the first point of each is at longitude 0. Grids are immutable and compare, hash
    and pickle by value.

    Parameters
    ----------
    nlat
        Circles of latitude, 2 to 16384; one is enough for queries on "legendre-gauss", the equator.
    nlon
        Points of a circle, 1 to 2^20.
    latitudes
        Where the circles lie, with the quadrature rule that goes with them [1]_:
        "equiangular", equally spaced with both poles (Clenshaw-Curtis);
        "legendre-gauss", the Gauss-Legendre nodes, without the poles;
        "lobatto", the Gauss-Lobatto nodes, with both poles;
        "equiangular-trapezoidal", equally spaced in the cosine of the colatitude, with both poles.

    Attributes
    ----------
    colatitudes, area_weights
        (nlat,) float64 numpy arrays: where the circles are, and the area of one point of each.

    Raises
    ------
    ArgumentError, TypeError
        An argument breaks a rule; the message names it, its value and the rule.

    References
    ----------
    .. [1] Bonev et al., "Attention on the Sphere", 2025.

    Examples
    --------
    >>> SphereGrid(64, 128, "legendre-gauss")
    SphereGrid(nlat=64, nlon=128, latitudes='legendre-gauss')
    >>> grid = SphereGrid(5, 8)
    >>> grid.colatitudes.round(2).tolist()
    [0.0, 0.79, 1.57, 2.36, 3.14]
    >>> round(float(8 * grid.area_weights.sum()), 6)  # 4 pi
    12.566371
    """

    nlat: int
    nlon: int
    latitudes: str = "equiangular"

    def __post_init__(self) -> None:
        latitudes = _latitudes(self.latitudes)
        object.__setattr__(self, "latitudes", latitudes)
        fewest = 1 if latitudes == "legendre-gauss" else 2
        for name, least, most in (("nlat", fewest, _MOST_LATITUDES), ("nlon", 1, _MOST_LONGITUDES)):
            value = integer(name, getattr(self, name))
            object.__setattr__(self, name, value)
            if value < least:
                on = f" on a grid of latitudes {latitudes!r}" if name == "nlat" else ""
                raise ArgumentError(f"{name}={value}: must be at least {least}{on}")
            if value > most:
                raise ArgumentError(f"{name}={value}: must be at most {most}")

    def __repr__(self) -> str:
        return shown_settings(self)

    @property
    def colatitudes(self) -> NDArray[np.float64]:
        """(nlat,) float64: each circle's angle from the north pole in radians, ascending."""
        return _array(circles_of(self)[0])

    @property
    def area_weights(self) -> NDArray[np.float64]:
        """(nlat,) float64: the area that one point of each circle stands for; over all points it sums to 4 pi."""
        return _array(circles_of(self)[1])


@lru_cache(maxsize=64)
def circles_of(grid: SphereGrid) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Colatitudes and areas, without numpy: torch may be alone."""
    colatitudes, areas = (ctypes.c_double * grid.nlat)(), (ctypes.c_double * grid.nlat)()
    words = _words.side((grid.latitudes, grid.nlat, grid.nlon))
    _abi.sphere_latitudes(words, ctypes.addressof(colatitudes), ctypes.addressof(areas))
    return tuple(colatitudes), tuple(areas)


def _array(values: Sequence[float]) -> NDArray[np.float64]:
    import numpy as np

    return np.array(values)


Grid = SphereGrid | Sequence[int]


def _latitudes(name: object) -> str:
    known = _words.LATITUDES
    if isinstance(name, str) and name in known:
        return str(name)
    hint = ""
    if isinstance(name, str):
        near = difflib.get_close_matches(name.lower().replace("_", "-").replace(" ", "-"), known, 1, 0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ArgumentError(f"latitudes={shown(name)}: must be one of {', '.join(map(repr, known))}{hint}")


def as_grid(name: str, value: object) -> SphereGrid:
    """The argument as a SphereGrid: it is one, or two numbers."""
    if isinstance(value, SphereGrid):
        return value
    if is_sequence(value) and len(value) == 2:  # type: ignore[arg-type]
        nlat, nlon = (integer(f"{name}[{i}]", each) for i, each in enumerate(value))  # type: ignore[arg-type, var-annotated]
        try:
            return SphereGrid(nlat, nlon)
        except ArgumentError as error:
            raise ArgumentError(f"{name}.{error}") from None
    raise TypeError(f"{name}={shown(value)}: must be a SphereGrid or (nlat, nlon)")


class SpherePattern(Pattern):
    """What the patterns on the sphere have in common; construct one of these."""

    grid: SphereGrid
    key_grid: SphereGrid

    def __repr__(self) -> str:
        values = {each.name: getattr(self, each.name) for each in fields(self)}  # type: ignore[arg-type]
        plain = {"key_grid": self.grid, "cutoff": None, "tolerance": TOLERANCE}
        shown = [f"{name}={value!r}" for name, value in values.items() if name not in plain or value != plain[name]]
        return f"{type(self).__name__}({', '.join(shown)})"

    def rank(self) -> int | None:
        """2: latitudes and longitudes."""
        return 2

    def _set_grids(self, grid: object, key_grid: object) -> None:
        own = as_grid("grid", grid)
        keys = own if key_grid is None else as_grid("key_grid", key_grid)
        if keys.nlat < 2:
            name = "grid" if key_grid is None else "key_grid"
            raise ArgumentError(f"{name}.nlat={keys.nlat}: must be at least 2 where keys are on it")
        if own.nlon % keys.nlon and keys.nlon % own.nlon:
            raise ArgumentError(f"key_grid.nlon={keys.nlon}: must divide grid.nlon={own.nlon} or be a multiple of it")
        object.__setattr__(self, "grid", own)
        object.__setattr__(self, "key_grid", keys)

    def _words(self, rank: int, cutoff: float | None = None, tolerance: float = 0.0, is_global: bool = False) -> Words:
        if rank != 2:
            has = f"the call's grid has {rank} {'axis' if rank == 1 else 'axes'}"
            raise ArgumentError(f"grid={self.grid!r}: has 2 axes, but {has}")
        sides = [(each.latitudes, each.nlat, each.nlon) for each in (self.grid, self.key_grid)]
        return _words.sphere(sides[0], sides[1], cutoff, tolerance, is_global)


@dataclass(frozen=True, repr=False, init=False)
class SphereNeighborhood(SpherePattern):
    """Neighborhood attention on the sphere: a query sees the keys that lie within a great-circle distance of it [1]_.

    A key's weight in the softmax is the share of the sphere's area that its point stands for, so that outputs do not
    depend on how densely a grid covers the poles: the quadrature weight multiplies exp(logit). A query that sees nothing
    has out 0. There is no relative position bias: `key_weights` and `key_mask`, of the key grid, serve for land and sea.

    Parameters
    ----------
    grid
        The queries' `SphereGrid`, or (nlat, nlon) of an equiangular one.
    key_grid
        That of keys and values; None: the same. One's nlon divides the other's, nlats are free.
    cutoff
        The distance in radians, above 0; pi or more is the whole sphere. None: one step of latitude of the coarser grid,
        pi/(key_grid.nlat-1) where queries have more longitudes than keys, else pi/(grid.nlat-1).
    tolerance
        0.001 unless given, at least 0. Keys are seen up to (1 + tolerance)*cutoff: grids have many at exactly the cutoff,
        and rounding must not decide about them.

    Attributes
    ----------
    grid, key_grid
        SphereGrid.

    Raises
    ------
    ArgumentError, TypeError
        An argument breaks a rule; the message names it, its value and the rule.

    References
    ----------
    .. [1] Bonev et al., "Attention on the Sphere", 2025.

    Examples
    --------
    >>> import math, numpy, nearfield
    >>> down = SphereNeighborhood((5, 8), key_grid=(9, 16), cutoff=math.pi / 4)
    >>> q, k = numpy.ones((1, 5, 8, 2, 4)), numpy.ones((1, 9, 16, 2, 4))
    >>> nearfield.attend(down, q, k, k).shape
    (1, 5, 8, 2, 4)
    """

    grid: SphereGrid
    key_grid: SphereGrid
    cutoff: float | None
    tolerance: float

    def __init__(
        self,
        grid: Grid,
        key_grid: Grid | None = None,
        *,
        cutoff: float | None = None,
        tolerance: float = TOLERANCE,
    ) -> None:
        self._set_grids(grid, key_grid)
        distance = None if cutoff is None else number("cutoff", cutoff)
        more = number("tolerance", tolerance)
        if distance is None and self.grid.nlat < 2:
            raise ArgumentError(
                f"cutoff=None: must be given where grid.nlat={self.grid.nlat}, which has no step of latitude"
            )
        if distance is not None and not distance > 0:
            raise ArgumentError(f"cutoff={distance}: must be above 0")
        if not more >= 0:
            raise ArgumentError(f"tolerance={more}: must be at least 0")
        object.__setattr__(self, "cutoff", distance)
        object.__setattr__(self, "tolerance", abs(more))  # -0.0 is 0

    @property
    def distance(self) -> float:
        """The cutoff in radians, also where none was given."""
        if self.cutoff is not None:
            return self.cutoff
        coarse = self.key_grid if self.grid.nlon > self.key_grid.nlon else self.grid
        return math.pi / (coarse.nlat - 1)

    def words(self, rank: int) -> Words:
        """The C struct nf_sphere, as 64-bit words."""
        return self._words(rank, self.cutoff, self.tolerance)


@dataclass(frozen=True, repr=False, init=False)
class SphereGlobal(SpherePattern):
    """Attention over the whole sphere: a query sees every key, weighted with its share of the area [1]_.

    Parameters
    ----------
    grid, key_grid
        As in `SphereNeighborhood`.

    Raises
    ------
    ArgumentError, TypeError
        As `SphereNeighborhood` does.

    References
    ----------
    .. [1] Bonev et al., "Attention on the Sphere", 2025.

    Examples
    --------
    >>> SphereGlobal(SphereGrid(4, 8, "legendre-gauss"))
    SphereGlobal(grid=SphereGrid(nlat=4, nlon=8, latitudes='legendre-gauss'))
    """

    grid: SphereGrid
    key_grid: SphereGrid

    def __init__(self, grid: Grid, key_grid: Grid | None = None) -> None:
        self._set_grids(grid, key_grid)

    def words(self, rank: int) -> Words:
        """The C struct nf_sphere, as 64-bit words."""
        return self._words(rank, is_global=True)
