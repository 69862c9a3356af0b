"""nearfield.plot with windows and curves: what is drawn is what is computed."""

from __future__ import annotations

import re
import xml.etree.ElementTree

import matplotlib
import matplotlib.image
import nearfield as nf
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from nearfield import plot
from nearfield.plot import _canvas, _windows
from test_plot import drawn, pixels

PATTERNS = (
    nf.Window((3, 4), shift=(1, 2)),
    nf.Slide(3),
    nf.HilbertWindow(3),
    nf.HilbertShiftedWindow(2, order="morton"),
    nf.HilbertSlide(9, dilation=2, order="serpentine"),
    nf.HilbertNeighborhood(7, stride=2, is_causal=True),
)
every_pattern = pytest.mark.parametrize("pattern", PATTERNS, ids=repr)

FIGURES = {
    "curve 1-D": lambda **more: plot.curve("hilbert", 20, **more),
    "curve 2-D": lambda **more: plot.curve("hilbert", (9, 14), **more),
    "curve jumps": lambda **more: plot.curve("morton", (9, 14), **more),
    "curve of one token": lambda **more: plot.curve("hilbert", (1, 1), **more),
    "windows 1-D": lambda **more: plot.windows(nf.HilbertSlide(5), 20, [3, 11], **more),
    "windows 2-D": lambda **more: plot.windows(nf.HilbertWindow(3), (9, 14), [(2, 3), (8, 0)], **more),
    "windows 3-D": lambda **more: plot.windows(nf.Window(2, 1), (4, 5, 6), [(2, 3, 1), (0, 0, 0)], **more),
    "window": lambda **more: plot.window(nf.HilbertNeighborhood(9), (9, 14), (3, 5), **more),
    "window all": lambda **more: plot.window(nf.HilbertNeighborhood(9), 20, **more),
    "mask": lambda **more: plot.block_mask(nf.HilbertWindow(4), (20, 21), 32, **more),
}


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_figures_can_be_saved_placed_and_repeated(draw) -> None:
    figure = draw()
    assert isinstance(figure, Figure) and drawn(figure).startswith(b"\x89PNG")
    with matplotlib.rc_context({"svg.hashsalt": "x"}):
        svg = drawn(draw(), "svg")
        assert svg == drawn(draw(), "svg") and len(svg) < 400_000
    xml.etree.ElementTree.fromstring(svg)
    own = Figure()
    axes = own.subplots(1, 2)
    assert draw(axes=axes[1], title="mine") is own
    assert axes[1].get_title() == "mine" and not axes[0].has_data()


def test_curves_of_three_axes_are_drawn_in_perspective() -> None:
    assert drawn(plot.curve("hilbert", (3, 4, 5))).startswith(b"\x89PNG")
    own = Figure()
    axes = own.add_subplot(projection="3d")
    assert plot.curve("morton", (3, 4, 5), axes=axes, title="mine") is own and axes.get_title() == "mine"
    assert plot.curve("hilbert", (2, 2, 2)).axes[0].get_title() == "hilbert order of 2 x 2 x 2 tokens"


def walked(figure: Figure) -> np.ndarray:
    """The line segments (steps, 2, (y, x)) of a drawn walk, in the walk's order where it has no jumps."""
    found = [each for each in figure.axes[0].collections if isinstance(each, LineCollection)]
    return np.concatenate([np.array(each.get_segments()).reshape(-1, 2, 2) for each in found])[..., ::-1] - 0.5


@pytest.mark.parametrize("grid", [(8, 8), (7, 12), (5, 4)])
def test_curve_walks_the_order(grid: tuple[int, int]) -> None:
    figure = plot.curve("hilbert", grid)
    cells = np.stack(np.unravel_index(nf.order("hilbert", grid).tokens, grid), -1)
    segments = walked(figure)
    assert (segments[:, 0] == cells[:-1]).all() and (segments[:, 1] == cells[1:]).all()
    walk = figure.axes[0].collections[-1]
    assert walk.get_array().tolist() == list(range(len(cells) - 1))
    assert walk.get_clim() == (0, len(cells) - 1)
    first, last = (line.get_xydata()[0] - 0.5 for line in figure.axes[0].lines)
    assert first.tolist() == cells[0][::-1].tolist() and last.tolist() == cells[-1][::-1].tolist()


def test_jumps_of_a_walk_are_drawn_apart_and_counted() -> None:
    grid = (8, 8)
    figure = plot.curve("row_major", grid)
    jumps, walk = (each for each in figure.axes[0].collections if isinstance(each, LineCollection))
    assert (len(jumps.get_segments()), len(walk.get_segments())) == (7, 56)
    assert figure.axes[0].get_title() == "row_major order of 8 x 8 tokens: 7 steps go further"


@every_pattern
def test_window_colours_what_the_query_sees(pattern: nf.Pattern) -> None:
    grid, query = (6, 7), (4, 1)
    figure = plot.window(pattern, grid, query)
    keys = nf.geometry.windows(pattern, grid, 4 * 7 + 1, 1).keys[0]
    assert f"query (4, 1) sees {(keys >= 0).sum()} of 42 keys" in figure.axes[0].get_title()
    check_colours(figure, grid, lambda token: _canvas.SEEN if token in keys else _canvas.OTHER, (query,))


@every_pattern
def test_windows_give_each_query_its_colour(pattern: nf.Pattern) -> None:
    grid, queries = (6, 7), ((0, 0), (4, 1), (5, 6))
    figure = plot.windows(pattern, grid, queries)
    keys = [nf.geometry.windows(pattern, grid, 7 * y + x, 1).keys[0] for y, x in queries]

    def expected(token: int) -> str:
        seen = [colour for each, colour in zip(keys, _windows.COLOURS, strict=False) if token in each]
        return _canvas.OTHER if not seen else seen[0] if len(seen) == 1 else _windows.SEVERAL

    check_colours(figure, grid, expected, queries)
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts[:3] == [f"{q} sees {(each >= 0).sum()} keys" for q, each in zip(queries, keys, strict=True)]


def check_colours(figure: Figure, grid: tuple[int, int], expected, queries) -> None:
    """Each cell, at a point that no line and no dot is on, has the colour that is expected of its token."""
    image = pixels(figure)
    figure.dpi = 200
    known = {*_windows.COLOURS, _windows.SEVERAL, _canvas.SEEN, _canvas.OTHER}
    for y in range(grid[0]):
        for x in range(grid[1]):
            if (y, x) in queries:
                continue
            column, row = figure.axes[0].transData.transform((x + 0.2, y + 0.64))
            found = image[image.shape[0] - 1 - int(row), int(column)]
            nearest = min(sorted(known), key=lambda each: np.abs(np.array(to_rgb(each)) - found).sum())
            assert nearest == expected(y * grid[1] + x), (y, x)


def test_windows_overlap_is_named() -> None:
    figure = plot.windows(nf.Neighborhood(5), (9, 9), [(4, 4), (4, 6)])
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()][-1] == "seen by several"


@pytest.mark.parametrize(
    ("side", "size", "row_major", "hilbert"), [(64, 8, "87.5%", "96.9%"), (96, 16, "83.3%", "97.2%")]
)
def test_block_mask_tells_how_much_is_empty(side: int, size: int, row_major: str, hilbert: str) -> None:
    for pattern, expected in ((nf.Window(size), row_major), (nf.HilbertWindow(size), hilbert)):
        title = plot.block_mask(pattern, (side, side)).axes[0].get_title()
        assert title == f"{pattern!r} on {side} x {side} tokens\n{expected} of the blocks of 128 x 128 are empty"


@pytest.mark.parametrize("order", [None, "row_major", "hilbert"])
@every_pattern
def test_block_mask_colours_blocks(pattern: nf.Pattern, order: str | None) -> None:
    grid, block = (6, 7), 5  # the last block is ragged
    figure = plot.block_mask(pattern, grid, block, order)
    pairs = nf.geometry.block_pairs(pattern, grid, block, order)
    sizes = np.array([5] * 8 + [2])
    image = pixels(figure)
    figure.dpi = 200
    colours = {"FULL": _canvas.FULL, "MASKED": _canvas.MASKED, "OTHER": _canvas.OTHER}
    counts = dict.fromkeys(colours, 0)
    for i, j in np.ndindex(9, 9):
        full = pairs[i, j] == sizes[i] * sizes[j]
        expected = "OTHER" if pairs[i, j] == 0 else "FULL" if full else "MASKED"
        counts[expected] += 1
        column, row = figure.axes[0].transData.transform((j * 5 + sizes[j] / 2, i * 5 + sizes[i] / 2))
        found = image[image.shape[0] - 1 - int(row), int(column)]
        nearest = min(colours, key=lambda name: np.abs(np.array(to_rgb(colours[name])) - found).sum())
        assert nearest == expected, (i, j)
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts == [f"full: {counts['FULL']}", f"masked: {counts['MASKED']}", f"empty: {counts['OTHER']}"]
    along = {"row_major": "in row-major order", "hilbert": "along the Hilbert curve", "morton": "in Morton order"}
    along["serpentine"] = "in serpentine order"
    assert figure.axes[0].get_xlabel() == "keys, " + along[order or getattr(pattern, "order", "row_major")]


@every_pattern
def test_block_map_draws_plans_of_windows_and_curves(pattern: nf.Pattern) -> None:
    grid = (12, 14)
    for sizes in ({"tile": 8, "step": 8}, {}):
        figure = plot.block_map(pattern, grid, **sizes)
        assert drawn(figure).startswith(b"\x89PNG")
        texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        full, masked = (int(re.search(r"\d+", text)[0]) for text in texts[:2])
        if sizes:
            steps = nf.geometry.plan_steps(pattern, grid, **sizes)
            assert (full, masked) == (steps["full"].sum(), (1 - steps["full"]).sum())
        assert full + masked > 0 and float(figure.axes[1].get_xlabel().split()[1]) >= 1


@every_pattern
def test_weights_are_those_of_the_engine(pattern: nf.Pattern) -> None:
    """Values that are unit vectors, one for each key, turn the engine's result into its weights."""
    rng = np.random.default_rng(0)
    grid, tokens = (4, 5), 20
    query, key = rng.normal(size=(1, *grid, 2, 8)), rng.normal(size=(1, *grid, 1, 8))
    bias = rng.normal(size=(2, *(2 * e - 1 for e in nf.bias_extents(pattern, grid))))
    value = np.eye(tokens).reshape(1, *grid, 1, tokens)
    out = nf.attend(pattern, query, key, value, bias=bias)
    for token in np.ndindex(*grid):
        found, _ = plot.attention_weights(pattern, query, key, token, head=1, bias=bias)
        assert abs(np.nan_to_num(found).reshape(-1) - out[(0, *token, 1)]).max() <= 1e-12, token
    assert drawn(plot.attention(pattern, query, key, (1, 2))).startswith(b"\x89PNG")


ORDERS = "'hilbert', 'morton', 'serpentine', 'row_major'"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plot.curve("peano", (4, 4)), nf.ArgumentError, f"kind='peano': must be one of {ORDERS}"),
        (lambda: plot.curve("hilbert", (0, 4)), nf.ArgumentError, "grid[0]=0: must be at least 1 to be drawn"),
        (
            lambda: plot.curve("hilbert", (300, 300)),
            nf.ArgumentError,
            "grid=(300, 300): has 90000 tokens: must have at most 65536 to be drawn",
        ),
        (lambda: plot.curve("hilbert", 4, axes=7), TypeError, "axes: is a int: must be matplotlib.axes.Axes, or None"),
        (
            lambda: plot.curve("hilbert", (2, 2, 2), axes=Figure().subplots()),
            TypeError,
            "axes: is a Axes: must be one of matplotlib's 3-D axes for a grid of 3 axes",
        ),
        (
            lambda: plot.curve("hilbert", (2, 2), axes=Figure().add_subplot(projection="3d")),
            TypeError,
            "axes: is a Axes3D: must be flat for a grid of 2 axes",
        ),
        (lambda: plot.windows(nf.Window(3), (4, 4), []), nf.ArgumentError, "queries=[]: must be 1 to 6 queries"),
        (lambda: plot.windows(nf.Window(3), (4, 4), 3), TypeError, "queries=3: must be a sequence of coordinates"),
        (
            lambda: plot.windows(nf.Window(3), (4, 4), [(0, 0), (1, 4)]),
            nf.ArgumentError,
            "queries[1][1]=4: must be at least 0 and below 4, the axis's tokens",
        ),
        (
            lambda: plot.windows(nf.Window(3), (4, 4), [3]),
            nf.ArgumentError,
            "queries[0]=3: has 1 values, but the grid has 2 axes",
        ),
        (lambda: plot.block_mask(nf.Window(3), (4, 4), 0), nf.ArgumentError, "block=0: must be at least 1"),
        (lambda: plot.block_mask(nf.Window(3), (4, 4), 2.5), TypeError, "block=2.5: must be an integer"),
        (
            lambda: plot.block_mask(nf.Window(3), (128, 128), 16),
            nf.ArgumentError,
            "block=16: must be larger: of 16384 tokens at most 512 blocks are drawn",
        ),
        (
            lambda: plot.block_mask(nf.Window(3), (4, 4), 2, "peano"),
            nf.ArgumentError,
            f"order='peano': must be one of {ORDERS}",
        ),
        (
            lambda: plot.block_map(nf.HilbertWindow(3), (8, 8), (4, 4), 4),
            nf.ArgumentError,
            "tile=(4, 4): has 2 values, but a sequence or curve has 1 axis",
        ),
        (
            lambda: plot.window(nf.HilbertWindow(-1), (8, 8)),
            nf.ArgumentError,
            "size=-1: must be at least 1",
        ),
    ],
)
def test_wrong_arguments(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value) == message
