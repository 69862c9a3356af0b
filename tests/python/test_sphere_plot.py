"""nearfield.plot on the sphere: what is drawn is what is computed."""

from __future__ import annotations

import math
import xml.etree.ElementTree

import pytest

matplotlib = pytest.importorskip("matplotlib")

import nearfield as nf  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.collections import PolyCollection  # noqa: E402
from matplotlib.colors import to_rgb  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from nearfield import plot  # noqa: E402
from nearfield.plot import _windows  # noqa: E402
from sphere_problems import defined  # noqa: E402
from test_plot import drawn  # noqa: E402

SAME = nf.SphereNeighborhood((9, 18), cutoff=0.7)
DOWN = nf.SphereNeighborhood((5, 9), nf.SphereGrid(8, 18, "legendre-gauss"), cutoff=0.6)


def tensors(pattern, heads=2):
    random = np.random.default_rng(0)
    grids = [(each.nlat, each.nlon) for each in (pattern.grid, pattern.key_grid)]
    return [random.normal(size=(2, *grid, heads, 4)) for grid in grids]


FIGURES = {
    "three": lambda **more: plot.sphere(SAME, **more),
    "globe": lambda **more: plot.sphere(DOWN, [(0, 0), (3, 3)], view=(50, 200), **more),
    "weights": lambda **more: plot.sphere_attention(DOWN, *tensors(DOWN), (1, 4), head=1, **more),
    "weights as a rectangle": lambda **more: plot.attention(SAME, *tensors(SAME), (1, 4), **more),
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


def area(collection: PolyCollection) -> float:
    """Of polygons on paper."""
    total = 0.0
    for path in collection.get_paths():
        (x, y), (x2, y2) = path.vertices.T, np.roll(path.vertices, -1, 0).T
        total += abs((x * y2 - x2 * y).sum()) / 2
    return total


@pytest.mark.parametrize("pattern", [SAME, DOWN], ids=("same", "down"))
def test_the_map_shows_the_cells_of_the_seen_keys(pattern) -> None:
    """Its areas are the sphere's: the cells' own, which reach half way to the next circle."""
    keys, seen = pattern.key_grid, defined(pattern).seen
    theta = keys.colatitudes
    edges = np.concatenate(([0], (theta[1:] + theta[:-1]) / 2, [math.pi]))
    cells = 2 * math.pi / keys.nlon * (np.cos(edges[:-1]) - np.cos(edges[1:]))
    for token in ((0, 5), (1, 0), (1, 5), (3, 4)):
        axes = plot.sphere(pattern, [token]).axes[0]
        expected = (seen[token].sum(1) * cells).sum()
        found = {tuple(each.get_facecolor()[0][:3]): area(each) for each in axes.collections if each.get_paths()}
        assert abs(found[to_rgb(_windows.COLOURS[0])] - expected) <= 0.01 * expected + 1e-3, token
        text = axes.get_legend().get_texts()[0].get_text()
        assert text.startswith(f"{token} at ") and text.endswith(f" sees {int(seen[token].sum())} keys")


def test_several_queries_share_what_they_see() -> None:
    axes = plot.sphere(SAME, [(4, 4), (4, 5)]).axes[0]
    texts = [each.get_text() for each in axes.get_legend().get_texts()]
    count = int(defined(SAME).seen[4, 4].sum())
    assert texts == [f"(4, 4) at 0° sees {count} keys", f"(4, 5) at 0° sees {count} keys", "seen by several"]
    assert axes.get_title() == "9 x 18 equiangular\nkeys up to 40.1° away"
    axes = plot.sphere(nf.SphereGlobal((5, 9), (3, 3))).axes[0]
    assert axes.get_title() == "queries 5 x 9 equiangular, keys 3 x 3 equiangular\nevery key is seen"


@pytest.mark.parametrize("pattern", [SAME, DOWN, nf.SphereGlobal((5, 9), (3, 3))], ids=("same", "down", "global"))
def test_weights_are_those_of_the_engine(pattern) -> None:
    q, k = tensors(pattern)
    random = np.random.default_rng(1)
    sizes = (pattern.key_grid.nlat, pattern.key_grid.nlon)
    more = random.normal(size=(2, 3, 2, 4))
    modifiers = {"key_mask": random.random((2, *sizes)) < 0.8, "key_weights": random.uniform(0, 2, sizes)}
    modifiers |= {"softcap": 2.0, "scale": 0.7, "additional_keys": more}
    out = nf.attend(pattern, q, k, k, additional_values=more, **modifiers)
    for token in ((0, 0), (2, 3)):
        weights, rest = plot.attention_weights(pattern, q, k, token, batch=1, head=1, **modifiers)
        assert weights.shape == sizes and abs(np.nansum(weights) + rest.sum() - 1) <= 1e-12
        assert (~np.isnan(weights) == defined(pattern).seen[token]).all()
        found = np.nan_to_num(weights).reshape(-1) @ k[1, ..., 1, :].reshape(-1, 4) + rest @ more[1, :, 1]
        assert np.abs(found - out[1, token[0], token[1], 1]).max() <= 1e-12


OTHER = "SphereGrid(nlat=8, nlon=18, latitudes='legendre-gauss'): must be the pattern's grid to be drawn"
WRONG = [
    (lambda: plot.sphere(nf.Window(3)), "pattern: is a Window: must be a SphereNeighborhood or SphereGlobal"),
    (lambda: plot.sphere(SAME, [(9, 0)]), "queries[0][0]=9: must be at least 0 and below 9, the axis's tokens"),
    (lambda: plot.sphere(SAME, []), "queries=[]: must be 1 to 6 queries"),
    (lambda: plot.sphere(SAME, 3), "queries=3: must be a sequence of coordinates"),
    (lambda: plot.sphere(SAME, view=30), "view=30: must be None or (latitude, longitude) in degrees"),
    (lambda: plot.sphere(SAME, view=(91, 0)), "view[0]=91.0: must be a latitude, -90 to 90 degrees"),
    (lambda: plot.sphere(SAME, view=(0, math.inf)), "view[1]=inf: must be finite"),
    (lambda: plot.sphere(SAME, axes=3), "axes: is a int: must be matplotlib.axes.Axes, or None"),
    (lambda: plot.window(DOWN, (5, 9)), f"pattern.key_grid={OTHER}; plot.sphere draws others"),
    (lambda: plot.windows(DOWN, (5, 9), [(0, 0)]), f"pattern.key_grid={OTHER}; plot.sphere draws others"),
    (
        lambda: plot.attention(DOWN, *tensors(DOWN), (1, 1)),
        f"pattern.key_grid={OTHER}; plot.sphere_attention draws others",
    ),
    (lambda: plot.block_map(DOWN, (5, 9)), f"pattern.key_grid={OTHER}"),
    (lambda: plot.block_mask(DOWN, (5, 9)), f"pattern.key_grid={OTHER}"),
]


@pytest.mark.parametrize(("draw", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_what_can_not_be_drawn(draw, message) -> None:
    with pytest.raises((nf.ArgumentError, TypeError)) as error:
        draw()
    assert str(error.value) == message


def test_plans_on_one_grid_are_drawn() -> None:
    pairs = int(defined(SAME).seen.sum())
    assert drawn(plot.block_map(SAME, (9, 18))).startswith(b"\x89PNG")
    assert drawn(plot.block_mask(SAME, (9, 18), 16)).startswith(b"\x89PNG")
    assert nf.geometry.block_pairs(SAME, (9, 18), 16).sum() == pairs
