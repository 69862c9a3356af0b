"""The documentation's pictures, each drawn by nearfield.plot when the site is built.

python tools/docs_pictures.py FOLDER    writes them all, to be looked at
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from nearfield import HilbertSlide, HilbertWindow, Neighborhood, SphereNeighborhood, Window, plot, simulate

LENGTH = 24  # of the axes that are drawn as a matrix


def row(patterns: dict[str, Neighborhood]) -> Figure:
    """All queries of an axis, for several patterns side by side."""
    figure = Figure(figsize=(9.6, 4.0), layout="constrained")
    for axes, (name, pattern) in zip(figure.subplots(1, len(patterns)), patterns.items(), strict=True):
        plot.window(pattern, LENGTH, axes=axes, title=name)
        axes.get_legend().remove()
    return figure


def boundaries() -> Figure:
    return row({name: Neighborhood(7, boundary=name) for name in ("clamp", "cut", "wrap")})


def strides() -> Figure:
    return row({f"stride {s}": Neighborhood(8, stride=s) for s in (1, 4, 8)})


def weights() -> Figure:
    """A smooth random image, whose tokens attend to tokens that are alike."""
    rng = np.random.default_rng(4)
    waves = rng.normal(size=(2, 12)) * 0.25
    y, x = np.mgrid[:16, :24]
    features = np.cos(y[..., None] * waves[0] + x[..., None] * waves[1] + rng.uniform(0, 6, 12))
    features = (features / np.linalg.norm(features, axis=-1, keepdims=True))[None, :, :, None, :]
    return plot.attention(Neighborhood(9), features, features, (5, 10), scale=8.0)


def sphere_weights() -> Figure:
    """A smooth random field on the sphere, whose points attend to points that are alike."""
    rng = np.random.default_rng(3)
    pattern = SphereNeighborhood((37, 72), cutoff=0.8)
    theta, phi = np.meshgrid(pattern.grid.colatitudes, 2 * np.pi * np.arange(72) / 72, indexing="ij")
    points = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1)
    features = np.cos(points @ rng.normal(size=(3, 12)) * 2.5 + rng.uniform(0, 6, 12))
    features = (features / np.linalg.norm(features, axis=-1, keepdims=True))[None, :, :, None, :]
    return plot.sphere_attention(pattern, features, features, (7, 8), scale=10.0, view=(45, 20))


def masks() -> Figure:
    """Windows of 8 x 8 on 64 x 64 tokens, in both orders of the tokens."""
    figure = Figure(figsize=(9.6, 5.6), layout="constrained")
    for axes, pattern in zip(figure.subplots(1, 2), (Window(8), HilbertWindow(8)), strict=True):
        plot.block_mask(pattern, (64, 64), axes=axes)
    return figure


def bounds() -> Figure:
    """What each stride of a window may gain, with key tiles and with steps."""
    figure = Figure(figsize=(8.0, 4.2), layout="constrained")
    axes = figure.add_subplot()
    strides = range(1, 81)
    found = [simulate(Neighborhood(80, stride=s), (256, 256), 16) for s in strides]
    axes.axhline(found[0].ideal_bound, color="#777777", linewidth=1, linestyle="--", label="ideal")
    for values, colour, style, name in (
        ([each.steps.mean_bound for each in found], "#009E73", ":", "steps, mean"),
        ([each.key_tiles.mean_bound for each in found], "#0072B2", "-", "key tiles, mean"),
        ([each.key_tiles.worst_bound for each in found], "#D55E00", "-", "key tiles, slowest tile"),
    ):
        axes.plot(strides, values, color=colour, linestyle=style, linewidth=1.6, label=name)
    perfect = [s for s, each in zip(strides, found, strict=True) if each.is_block_sparse]
    axes.plot(perfect, [found[0].ideal_bound] * len(perfect), "o", color="#0072B2", label="without any mask")
    axes.set_xlabel("stride, on both axes")
    axes.set_ylabel("bound of the speed-up over dense")
    axes.set_title("80 x 80 window on 256 x 256 tokens, tiles of 16 x 16 queries and keys", fontsize="medium")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, ncols=2, loc="lower center")
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "first": lambda: plot.window(Neighborhood(7), (20, 28), query=(9, 11)),
    "clamp": lambda: plot.window(Neighborhood(7), (16, 24), query=(2, 10)),
    "boundaries": boundaries,
    "globe": lambda: plot.window(Neighborhood((5, 9), boundary=("clamp", "wrap")), (12, 24), query=(4, 1)),
    "dilation": lambda: plot.window(Neighborhood(5, dilation=2), (16, 24), query=(6, 11)),
    "strides": strides,
    "causal": lambda: plot.window(Neighborhood(7, is_causal=True), LENGTH),
    "video": lambda: plot.window(Neighborhood((3, 5, 5), is_causal=(True, False, False)), (6, 12, 16), query=(3, 4, 8)),
    "shifted": lambda: plot.windows(Window(6, shift=3), (16, 24), [(0, 1), (4, 9), (10, 22)]),
    "curve": lambda: plot.curve("hilbert", (13, 18)),
    "hilbert_windows": lambda: plot.windows(HilbertWindow(4), (16, 24), [(1, 2), (6, 9), (14, 3), (11, 20)]),
    "hilbert_slide": lambda: plot.windows(HilbertSlide(25), (16, 24), [(1, 2), (6, 9), (11, 20)]),
    "sphere": lambda: plot.sphere(SphereNeighborhood((61, 120), cutoff=0.25)),
    "masks": masks,
    "sphere_weights": sphere_weights,
    "weights": weights,
    "bounds": bounds,
    "blocks": lambda: plot.block_map(Neighborhood(65), 512, tile=16, step=60),
    "blocks_stride": lambda: plot.block_map(Neighborhood(64, stride=16), 512, tile=16, step=64),
}


def svg(name: str) -> str:
    """The picture as SVG, the same bytes each time."""
    with matplotlib.rc_context({"svg.hashsalt": name}):
        text = io.StringIO()
        PICTURES[name]().savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for each, draw in PICTURES.items():
        (folder / f"{each}.svg").write_text(svg(each), encoding="utf-8")
        draw().savefig(folder / f"{each}.png")
