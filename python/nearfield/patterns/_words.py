"""The C structs of patterns as 64-bit words, and what can be read back from them. Layouts are those of patterns.h;
tests/python/test_abi.py compares them with a C compiler's.

    every pattern     2 words: struct_size; kind | rank << 32
    nf_neighborhood  14 words: kernel_size[3]; stride[3]; dilation[3]; is_causal[3], boundary[3] of 32 bits each
    nf_window         8 words: size[3]; shift[3]
    nf_curve          8 words: order | form << 32; size; shift; stride; dilation; is_causal
    nf_sphere        11 words: latitudes, nlat, nlon of queries; of keys; cutoff, tolerance (doubles' bits);
                               has_cutoff | is_global << 32
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Words = tuple[int, ...]

MAX_RANK = 3
MAX_WINDOW = 1 << 40  # of windows and dilations
KINDS = {"neighborhood": 1, "window": 2, "curve": 3, "sphere": 4}
BOUNDARIES = ("clamp", "wrap", "cut")
ORDERS = ("hilbert", "morton", "serpentine", "row_major")  # numbered from 1
FORMS = {"window": 1, "slide": 2, "neighborhood": 3}
LATITUDES = ("equiangular", "legendre-gauss", "lobatto", "equiangular-trapezoidal")

_WORD = 8


def neighborhood(
    kernel_size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    is_causal: Sequence[bool],
    boundary: Sequence[str],
) -> Words:
    """nf_neighborhood, from a value for each axis."""
    rank = len(kernel_size)
    rest = (0,) * (MAX_RANK - rank)
    small = [int(each) for each in is_causal] + list(rest)
    small += [BOUNDARIES.index(each) for each in boundary] + list(rest)
    return (
        14 * _WORD,
        KINDS["neighborhood"] | rank << 32,
        *kernel_size,
        *rest,
        *stride,
        *rest,
        *dilation,
        *rest,
        *(small[i] | small[i + 1] << 32 for i in (0, 2, 4)),
    )


def window(size: Sequence[int], shift: Sequence[int]) -> Words:
    """nf_window, from a value for each axis."""
    rank = len(size)
    rest = (0,) * (MAX_RANK - rank)
    return (8 * _WORD, KINDS["window"] | rank << 32, *size, *rest, *shift, *rest)


def curve(
    rank: int, order: str, form: str, size: int, shift: int, stride: int, dilation: int, is_causal: bool
) -> Words:
    """nf_curve on a grid of `rank` axes."""
    head = (8 * _WORD, KINDS["curve"] | rank << 32, (1 + ORDERS.index(order)) | FORMS[form] << 32)
    return (*head, size, shift, stride, dilation, int(is_causal))


Side = tuple[str, int, int]  # latitudes, nlat, nlon


def side(grid: Side) -> tuple[int, int, int]:
    """nf_sphere_grid."""
    latitudes, nlat, nlon = grid
    return LATITUDES.index(latitudes), nlat, nlon


def sphere(query: Side, key: Side, cutoff: float | None, tolerance: float, is_global: bool) -> Words:
    """nf_sphere, from the grids of both sides."""
    has_cutoff = int(cutoff is not None) | int(is_global) << 32
    return (
        11 * _WORD,
        KINDS["sphere"] | 2 << 32,
        *side(query),
        *side(key),
        _bits(cutoff or 0.0),
        _bits(tolerance),
        has_cutoff,
    )


def _bits(number: float) -> int:
    """The bits of a double that is at least 0, by arithmetic: torch.compile traces no other way."""
    if number == math.inf:
        return 0x7FF << 52
    fraction, exponent = math.frexp(number)  # number = fraction * 2^exponent, 1/2 <= fraction < 1
    if not number or exponent < -1021:  # or subnormal
        return int(math.ldexp(number, 1074))
    return (exponent + 1021 << 52) + int(math.ldexp(fraction, 53))  # the fraction's leading bit adds 1 to the exponent


def is_on_sphere(words: Sequence[int]) -> bool:
    """Whether it is nf_sphere: keys have weights and maybe a grid of their own, and no bias is possible."""
    return _kind(words) == KINDS["sphere"]


def query_side_of(words: Sequence[int]) -> tuple[int, int, int]:
    """The queries' nf_sphere_grid, of an nf_sphere."""
    latitudes, nlat, nlon = words[2:5]
    return latitudes, nlat, nlon


def key_side_of(words: Sequence[int]) -> tuple[int, int, int]:
    """The keys' nf_sphere_grid, of an nf_sphere."""
    latitudes, nlat, nlon = words[5:8]
    return latitudes, nlat, nlon


def key_grid_of(words: Words, grid: Sequence[int]) -> tuple[int, ...]:
    """The lengths of the keys' axes, where the queries' are those of `grid`."""
    return words[6:8] if is_on_sphere(words) else tuple(grid)


def order_of(words: Words) -> str | None:
    """The order that the pattern is laid along; None where it is one of the grid's own axes."""
    return ORDERS[(words[2] & 0xFFFFFFFF) - 1] if _kind(words) == KINDS["curve"] else None


def dilations_of(words: Words) -> tuple[int, ...]:
    """The dilation on each axis of the pattern's plans: the grid's axes, or the one of the positions."""
    kind, rank = _kind(words), words[1] >> 32
    if kind == KINDS["curve"]:
        return (words[6],)
    return words[8 : 8 + rank] if kind == KINDS["neighborhood"] else (1,) * rank


def _kind(words: Sequence[int]) -> int:
    return words[1] & 0xFFFFFFFF


def slots_of(words: Sequence[int]) -> int:
    """A query's slots in explicit weights, on all axes together: the product of nf_weight_slots. By arithmetic alone, so
    that it can be traced. Not on the sphere."""
    rank = words[1] >> 32
    if _kind(words) == KINDS["curve"]:
        form, size = words[2] >> 32, words[3]
        return size // 2 * 2 + 1 if form == FORMS["slide"] else size
    slots = 1
    for each in words[2 : 2 + rank]:
        slots = slots * each
    return slots
