"""How much faster than dense attention a pattern can be with tiles of a given shape: counted, never timed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nearfield import _simulate
from nearfield._errors import ArgumentError
from nearfield._values import integer, number, shown
from nearfield.grids import box, on_grid
from nearfield.patterns import Ints, Pattern
from nearfield.patterns._words import dilations_of, is_on_sphere, key_grid_of, order_of

__all__ = ["Simulation", "Visits", "simulate"]

_TILES = ((64,), (8, 8), (4, 4, 4))  # 64 queries


@dataclass(frozen=True)
class Visits:
    """What all tiles of queries visit, in units of key tiles or of steps; for one (batch, head).

    Attributes
    ----------
    units, keys, pairs
        Key tiles or steps that are visited; keys, and (query, key) pairs, that they hold.
    dense_units, dense_keys, dense_pairs
        The same of dense attention with such tiles.
    most_units, most_keys
        Of one tile of queries.
    full_units, masked_units
        Units that all queries of the tile see whole, and the others, which need a mask.
    waste
        pairs / useful_pairs.
    worst_bound, mean_bound
        Bounds of the speed-up: if every tile took as long as the longest, and if the tiles' work is shared out evenly.
    seconds, dense_seconds
        Predicted by the rates given; 0 without.
    """

    units: float
    keys: float
    pairs: float
    dense_units: float
    dense_keys: float
    dense_pairs: float
    most_units: float
    most_keys: float
    full_units: float
    masked_units: float
    waste: float
    worst_bound: float
    mean_bound: float
    seconds: float
    dense_seconds: float


@dataclass(frozen=True)
class Simulation:
    """What `simulate` found; `print` shows it as a table.

    Attributes
    ----------
    pattern, grid, tile, key_tile
        What was simulated. Along a curve tiles have one axis, the positions.
    query_tiles, dense_query_tiles
        Tiles of queries of the pattern and of dense attention: dilation and shifts may need more.
    useful_pairs, dense_pairs, ideal_bound
        (query, key) pairs that are asked for, all pairs, and their quotient: the speed-up that the sparsity promises.
    key_tiles
        With the keys cut into a fixed tiling, of which a tile counts whole: block-sparse kernels, and the simulator of
        "Generalized Neighborhood Attention". Its bounds are of units.
    steps
        As this library's plans cut keys: from a tile's first key on, in pieces that cost what they hold. Its bounds are of
        keys.
    """

    pattern: Pattern
    grid: tuple[int, ...]
    tile: tuple[int, ...]
    key_tile: tuple[int, ...]
    query_tiles: float
    dense_query_tiles: float
    useful_pairs: float
    dense_pairs: float
    ideal_bound: float
    key_tiles: Visits
    steps: Visits

    @property
    def is_block_sparse(self) -> bool:
        """Whether no key tile that is visited needs a mask: perfectly block-sparse."""
        return self.key_tiles.masked_units == 0

    def __repr__(self) -> str:
        return (
            f"Simulation({self.pattern!r} on {_by(self.grid)}, tiles {_by(self.tile)} / {_by(self.key_tile)}: "
            f"worst {self.key_tiles.worst_bound:.2f}x, mean {self.key_tiles.mean_bound:.2f}x, "
            f"steps {self.steps.mean_bound:.2f}x, ideal {self.ideal_bound:.2f}x)"
        )

    def __str__(self) -> str:
        both = (self.key_tiles, self.steps)
        rows = [
            ("pattern", repr(self.pattern)),
            ("grid", _by(self.grid)),
            ("tiles", f"{self.query_tiles:.4g} of {_by(self.tile)} queries; key tiles of {_by(self.key_tile)}"),
            (
                "pairs",
                f"{self.useful_pairs:.4g} of {self.dense_pairs:.4g}: an ideal speed-up of {self.ideal_bound:.2f}x",
            ),
            ("block-sparse", "perfectly: no key tile needs a mask" if self.is_block_sparse else "not perfectly: masks"),
            ("", f"{'key tiles, fixed':>22}{'steps, from the first key':>28}"),
            ("worst bound", _cells(f"{each.worst_bound:.2f}x" for each in both)),
            ("mean bound", _cells(f"{each.mean_bound:.2f}x" for each in both)),
            ("visited, mean", _cells(f"{each.units / max(self.query_tiles, 1):.2f}" for each in both)),
            ("visited, most", _cells(f"{each.most_units:.0f}" for each in both)),
            ("without mask", _cells(f"{each.full_units / max(each.units, 1):.1%}" for each in both)),
            ("waste", _cells(f"{each.waste:.3f}" for each in both)),
        ]
        if self.steps.dense_seconds > 0:
            rows += [
                ("predicted", _cells(f"{each.seconds * 1e3:.4g} ms" for each in both)),
                ("dense", _cells(f"{each.dense_seconds * 1e3:.4g} ms" for each in both)),
            ]
        return "\n".join(f"{name:<17}{value}" for name, value in rows)


def simulate(
    pattern: Pattern,
    grid: Ints,
    tile: Ints | None = None,
    key_tile: Ints | None = None,
    *,
    gflops: float | None = None,
    head_dim: int = 64,
    mask_cost: float = 0.0,
    step_seconds: float = 0.0,
    tile_seconds: float = 0.0,
) -> Simulation:
    """Counts what tiles of queries visit, and bounds the speed-up over dense attention.

    The key tiles that a tile of queries visits, of all, bound what a block-sparse kernel can gain [1]_. Nothing is run,
    and it takes time in proportion to the sum of the axes' lengths.

    Parameters
    ----------
    pattern
        E.g. ``Neighborhood((18, 24, 24), stride=(16, 8, 8))``.
    grid
        Lengths of the grid's 1 to 3 axes.
    tile, key_tile
        Queries of a tile, at most 1024 on an axis, and keys of a key tile and at most of a step: one number for all
        axes, or one for each; along a curve one for its positions. None: 64 queries, as near to a cube as powers of two
        allow and on the sphere along one latitude, and as many keys; fewer on an axis that is shorter.
    gflops
        What a machine does of products with keys and values, in GFLOP/s, to predict times; None predicts none.
    head_dim, mask_cost, step_seconds, tile_seconds
        Matter with `gflops` only: channels; what a mask adds to the time of its keys, as a share of it; seconds to begin
        a key tile or step; seconds to begin and end a tile of queries.

    Returns
    -------
    Simulation

    Raises
    ------
    ArgumentError
        The pattern does not fit the grid; a tile is empty, or larger than the grid; a rate is negative or not finite.
    UnsupportedError
        A sphere that would take minutes.
    TypeError
        An argument is of the wrong type.

    References
    ----------
    .. [1] Hassani et al., "Generalized Neighborhood Attention", 2025, section 3.

    Examples
    --------
    >>> import nearfield
    >>> nearfield.simulate(nearfield.Neighborhood(80), (256, 256), (16, 8))
    Simulation(Neighborhood(kernel_size=80) on 256 x 256, tiles 16 x 8 / 16 x 8: worst 6.65x, mean 7.51x, \
steps 8.56x, ideal 10.24x)
    >>> nearfield.simulate(nearfield.Neighborhood(80, stride=16), (256, 256), 16).is_block_sparse
    True
    """
    words, lengths = on_grid(pattern, grid)
    along = order_of(words) is not None
    queries = (math.prod(lengths),) if along else lengths
    keys = queries if along else key_grid_of(words, lengths)
    rank = len(dilations_of(words))
    first = (1, 64) if is_on_sphere(words) else _TILES[rank - 1]
    tiles = _fitting(first, queries) if tile is None else box("tile", tile, rank)
    key_tiles = _fitting(tiles, keys) if key_tile is None else box("key_tile", key_tile, rank)
    rates = _rates(gflops, head_dim, tiles, (mask_cost, step_seconds, tile_seconds))
    found = _simulate.simulate(words, lengths, tiles, key_tiles, rates)
    return Simulation(
        pattern=pattern,
        grid=lengths,
        tile=tiles,
        key_tile=key_tiles,
        query_tiles=found.query_tiles,
        dense_query_tiles=found.dense_query_tiles,
        useful_pairs=found.useful_pairs,
        dense_pairs=found.dense_pairs,
        ideal_bound=found.ideal_bound,
        key_tiles=_visits(found.key_tiles),
        steps=_visits(found.steps),
    )


def _fitting(tile: Sequence[int], lengths: Sequence[int]) -> tuple[int, ...]:
    return tuple(min(extent, max(length, 1)) for extent, length in zip(tile, lengths, strict=True))


def _visits(found: _simulate.Visits) -> Visits:
    return Visits(**{each[0]: getattr(found, each[0]) for each in _simulate.Visits._fields_})


def _rates(
    gflops: float | None, head_dim: int, tile: tuple[int, ...], overheads: tuple[float, float, float]
) -> tuple[float, ...] | None:
    """Seconds per key, masked key, step and tile; what is out of range the library refuses."""
    channels = integer("head_dim", head_dim)
    if channels < 1:
        raise ArgumentError(f"head_dim={channels}: must be at least 1")
    names = ("mask_cost", "step_seconds", "tile_seconds")
    masked, step, start = (number(names[i], overheads[i]) for i in (0, 1, 2))
    for name, value in zip(names, (masked, step, start), strict=True):
        if not (value >= 0 and math.isfinite(value)):
            raise ArgumentError(f"{name}={value}: must be finite and at least 0")
    if gflops is None:
        return None
    speed = number("gflops", gflops)
    if not (speed > 0 and math.isfinite(speed)):
        raise ArgumentError(f"gflops={shown(gflops)}: must be finite and above 0")
    per_key = 4 * channels * math.prod(tile) / (speed * 1e9)
    return per_key, masked * per_key, step, start


def _by(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes))


def _cells(texts: Iterable[str]) -> str:
    first, second = list(texts)
    return f"{first:>22}{second:>28}"
