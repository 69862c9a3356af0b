"""Random patterns of every kind, and what the definition calls them."""

from __future__ import annotations

from typing import Any

import definition
import definition_curves
import nearfield as nf
import numpy as np

KINDS = ("neighborhood", "window", "curve")

Draw = np.random.Generator


def draw(random: Draw, kind: str, grid: tuple[int, ...]) -> nf.Pattern:
    """A pattern of that kind that fits the grid."""
    return {"neighborhood": neighborhood, "window": window, "curve": curve}[kind](random, grid)


def neighborhood(random: Draw, grid: tuple[int, ...]) -> nf.Neighborhood:
    """Every setting drawn for each axis."""
    axes = []
    for length in grid:
        kernel = int(random.integers(1, min(length + 3, 8) + 1))
        boundary = str(random.choice(["clamp", "wrap", "cut"]))
        dilation = int(random.integers(1, 4))
        if boundary == "wrap":
            dilation = max(d for d in range(1, dilation + 1) if length % d == 0)
        causal = bool(random.random() < 0.25) and boundary != "wrap"
        axes.append((kernel, int(random.integers(1, kernel + 1)), dilation, causal, boundary))
    return nf.Neighborhood(*(tuple(each) for each in zip(*axes, strict=True)))


def window(random: Draw, grid: tuple[int, ...]) -> nf.Window | nf.Slide:
    """Windows, shifted or not, larger than the grid or not; now and then a slide."""
    size = tuple(int(random.integers(1, min(length + 3, 8) + 1)) for length in grid)
    if random.random() < 0.3:
        stride = tuple(int(random.integers(1, k + 1)) for k in size)
        return nf.Slide(size, stride, int(random.integers(1, 4)), bool(random.random() < 0.25))
    return nf.Window(size, tuple(int(random.integers(0, k)) for k in size) if random.random() < 0.6 else 0)


def curve(random: Draw, grid: tuple[int, ...]) -> nf.Pattern:
    """One of the four along one of the orders, with every setting drawn."""
    order = "hilbert" if random.random() < 0.6 else str(random.choice(["morton", "serpentine", "row_major"]))
    settings = {
        "order": order,
        "dilation": int(random.choice([1, 1, 1, 2, 3])),
        "is_causal": bool(random.random() < 0.25),
    }
    of_runs = (nf.HilbertWindow, nf.HilbertShiftedWindow)
    pattern = (*of_runs, nf.HilbertSlide, nf.HilbertNeighborhood)[int(random.integers(4))]
    if pattern in of_runs:
        return pattern(int(random.integers(1, 5)), **settings)
    width = int(random.integers(1, int(np.prod(grid)) + 4))
    return pattern(width, stride=int(random.integers(1, width + 1)) if random.random() < 0.3 else 1, **settings)


def defined(pattern: nf.Pattern, grid: tuple[int, ...]) -> Any:
    """The pattern as definition.py takes it."""
    if isinstance(pattern, nf.patterns.CurvePattern):
        return _defined_curve(pattern, tuple(grid))
    axes = list(zip(*pattern.axes(len(grid)).values(), strict=True))
    if isinstance(pattern, nf.Window):
        return [definition.Windowed(n, *each) for n, each in zip(grid, axes, strict=True)]
    if isinstance(pattern, nf.Slide):
        axes = [(width // 2 * 2 + 1, *rest, "cut") for width, *rest in axes]
    return [definition.Axis(n, *each) for n, each in zip(grid, axes, strict=True)]


def _defined_curve(pattern: nf.patterns.CurvePattern, grid: tuple[int, ...]) -> definition_curves.Curve:
    if pattern.order == "hilbert":
        found = nf.order("hilbert", grid).tokens
        tokens = [tuple(map(int, token)) for token in zip(*np.unravel_index(found, grid), strict=True)]
    else:
        tokens = getattr(definition_curves, pattern.order)(grid)
    rest = {"dilation": pattern.dilation, "is_causal": pattern.is_causal}
    if isinstance(pattern, nf.HilbertWindow | nf.HilbertShiftedWindow):
        run = pattern.size ** len(grid)
        shift = run // 2 if isinstance(pattern, nf.HilbertShiftedWindow) else 0
        return definition_curves.Curve(tokens, "window", run, shift, **rest)
    form = "slide" if isinstance(pattern, nf.HilbertSlide) else "neighborhood"
    return definition_curves.Curve(tokens, form, pattern.width, stride=pattern.stride, **rest)


def table(pattern: nf.Pattern, grid: tuple[int, ...]) -> tuple[int, ...]:
    """Entries of a bias table on each axis, by the definition."""
    known = defined(pattern, grid)
    if isinstance(known, definition_curves.Curve):
        return tuple(2 * e - 1 for e in known.extents)
    return tuple(2 * axis[1] - 1 for axis in known)
