"""nearfield.plot: what is drawn is what is computed; figures can be saved, placed and repeated."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import xml.etree.ElementTree

import matplotlib
import matplotlib.image
import nearfield
import nearfield.plot
import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from nearfield import Neighborhood, plot
from nearfield.plot import _canvas

try:
    import torch
except ImportError:
    torch = None


def drawn(figure: Figure, format: str = "png", **settings: object) -> bytes:
    data = io.BytesIO()
    metadata = {"Date": None} if format == "svg" else None
    figure.savefig(data, format=format, metadata=metadata, **settings)
    return data.getvalue()


def pixels(figure: Figure) -> np.ndarray:
    """(height, width, 3) of 0 to 1."""
    return matplotlib.image.imread(io.BytesIO(drawn(figure, dpi=200)))[..., :3]


def colour_at(figure: Figure, image: np.ndarray, x: float, y: float) -> str:
    """What colour is at a point in data coordinates: one of those that the pictures use."""
    figure.dpi = 200
    column, row = figure.axes[0].transData.transform((x, y))
    found = image[image.shape[0] - 1 - int(row), int(column)]
    names = ("SEEN", "QUERY", "FULL", "MASKED", "OTHER")
    return min(names, key=lambda name: np.abs(np.array(to_rgb(getattr(_canvas, name))) - found).sum())


FIGURES = {
    "window 1-D": lambda **more: plot.window(Neighborhood(7), 20, 3, **more),
    "window all": lambda **more: plot.window(Neighborhood(7), 20, **more),
    "window 2-D": lambda **more: plot.window(Neighborhood(5, dilation=2), (14, 18), (2, 3), **more),
    "window 3-D": lambda **more: plot.window(Neighborhood(3), (4, 6, 8), **more),
    "attention 1-D": lambda **more: plot.attention(
        Neighborhood(5), signal(1, 12, 1, 4), signal(1, 12, 1, 4), 3, **more
    ),
    "attention 2-D": lambda **more: plot.attention(
        Neighborhood(5), signal(1, 9, 12, 2, 4), signal(1, 9, 12, 2, 4), (0, 3), **more
    ),
    "attention 3-D": lambda **more: plot.attention(
        Neighborhood(3), signal(1, 3, 5, 6, 1, 4), signal(1, 3, 5, 6, 1, 4), (0, 3, 2), **more
    ),
}


def signal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_figures_can_be_saved_and_placed(draw) -> None:
    figure = draw()
    assert isinstance(figure, Figure)
    assert drawn(figure).startswith(b"\x89PNG")
    svg = drawn(figure, "svg")
    xml.etree.ElementTree.fromstring(svg)
    assert len(svg) < 200_000

    own = Figure()
    axes = own.subplots(1, 2)
    assert draw(axes=axes[1], title="mine") is own
    assert axes[1].get_title() == "mine" and not axes[0].has_data()
    inner = Figure().subfigures(1, 2)[0]
    assert draw(axes=inner.subplots()) is inner.figure


def test_block_map_can_be_saved_and_placed() -> None:
    figure = plot.block_map(Neighborhood(9), (12, 12))
    assert drawn(figure).startswith(b"\x89PNG") and len(drawn(figure, "svg")) < 200_000
    own = Figure()
    assert plot.block_map(Neighborhood(9), 64, axes=tuple(own.subplots(1, 2)), title="mine") is own


def test_figures_repeat_byte_for_byte() -> None:
    with matplotlib.rc_context({"svg.hashsalt": "x"}):
        for draw in (*FIGURES.values(), lambda: plot.block_map(Neighborhood(9), 64)):
            assert drawn(draw(), "svg") == drawn(draw(), "svg")


def test_nothing_touches_pyplot_or_a_display() -> None:
    code = (
        "import sys, nearfield.plot\n"
        "nearfield.plot.window(nearfield.Neighborhood(3), (5, 5)).savefig('/dev/null', format='png')\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MPLBACKEND")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_without_matplotlib_the_message_says_what_to_install() -> None:
    code = (
        "import sys\nsys.modules['matplotlib'] = None\nimport nearfield\n"
        "try:\n    nearfield.plot\nexcept ImportError as error:\n    print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "nearfield.plot needs matplotlib: pip install nearfield[plot]\n"


@pytest.mark.parametrize("boundary", ["clamp", "cut", "wrap"])
def test_window_colours_what_the_query_sees(boundary: str) -> None:
    pattern, grid, query = Neighborhood((3, 5), dilation=(1, 2), boundary=boundary), (8, 12), (7, 1)
    figure = plot.window(pattern, grid, query)
    image = pixels(figure)
    keys = nearfield.geometry.windows(pattern, grid).keys[7 * 12 + 1]
    for y in range(8):
        for x in range(12):
            expected = "SEEN" if y * 12 + x in keys else "OTHER"
            assert colour_at(figure, image, x + 0.2, y + 0.8) == expected or (y, x) == query, (y, x)
    assert colour_at(figure, image, 1.5, 7.5) == "QUERY"


def test_all_queries_of_one_axis() -> None:
    pattern = Neighborhood(4, stride=3)
    figure = plot.window(pattern, 13)
    image = pixels(figure)
    keys = nearfield.geometry.windows(pattern, 13).keys
    for query in range(13):
        for key in range(13):
            expected = "SEEN" if key in keys[query] else "OTHER"
            assert colour_at(figure, image, key + 0.5, query + 0.5) == expected, (query, key)


def test_of_many_slices_only_those_with_keys_are_drawn() -> None:
    figure = plot.window(Neighborhood((3, 5, 5)), (40, 9, 9), (20, 4, 4))
    labels = [text.get_text() for text in figure.axes[0].texts]
    assert labels == ["axis 0: 19", "axis 0: 20", "axis 0: 21"]
    assert "37 slices" in figure.axes[0].get_title()


def test_block_map_colours_steps() -> None:
    pattern = Neighborhood(33)
    figure = plot.block_map(pattern, 64, tile=8, step=8)
    image = pixels(figure)
    steps = nearfield.geometry.plan_steps(pattern, 64, 8, 8)
    expected = np.full((64, 64), "OTHER ")
    for record in steps:
        q, k = int(record["query_first"][0]), int(record["key_first"][0])
        rows, columns = slice(q, q + int(record["query_size"][0])), slice(k, k + int(record["key_size"][0]))
        expected[rows, columns] = "FULL" if record["full"] else "MASKED"
    assert {"FULL", "MASKED"} <= set(expected.reshape(-1))
    for query in range(64):
        for key in range(64):
            if query % 8 in (0, 7):
                continue  # lines between tiles
            assert colour_at(figure, image, key + 0.5, query + 0.5) == expected[query, key].strip(), (query, key)


def test_block_map_counts_waste() -> None:
    """Two tiles of 4 queries see 5 keys each: 40 pairs, of which 8 queries of 3 keys are asked for."""
    figure = plot.block_map(Neighborhood(3), 8, tile=4, step=8)
    assert figure.axes[1].get_xlabel() == "waste: 1.67 in all"
    ends = [path.vertices[:, 0].max() for path in [figure.axes[1].patches[0].get_path()]]
    assert ends == pytest.approx([20 / 12])


@pytest.mark.parametrize(
    "pattern", [Neighborhood(7), Neighborhood(5, dilation=2, boundary="wrap"), Neighborhood(6, stride=3)]
)
def test_block_map_draws_the_plan_that_explain_tells_of(pattern: Neighborhood) -> None:
    x = np.zeros((1, 20, 24, 1, 64), "float32")
    found = nearfield.explain(pattern, x, x, x, kernel="tile")
    figure = plot.block_map(pattern, (20, 24))
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts[:2] == [f"full: {found.full_steps} steps", f"masked: {found.masked_steps} steps"]
    assert figure.axes[0].get_ylabel() == f"queries, in {found.tiles} tiles"
    waste = float(figure.axes[1].get_xlabel().split()[1])
    assert 1 <= waste <= found.waste + 0.005  # which counts the idle lanes of tiles that are not full, too


MODIFIERS = ("scale", "softcap", "bias", "key_mask", "key_weights", "additional")


@pytest.mark.parametrize("seed", range(12))
def test_weights_are_those_of_the_engine(seed: int) -> None:
    """Values that are unit vectors, one for each key, turn the engine's result into its weights."""
    rng = np.random.default_rng(seed)
    grid = [(11,), (4, 6), (2, 4, 5)][seed % 3]
    tokens, rank = int(np.prod(grid)), len(grid)
    pattern = Neighborhood(3 + seed % 2, boundary=("clamp", "cut", "wrap")[seed % 3])
    chosen = {name for name in MODIFIERS if rng.random() < 0.6}
    query, key = rng.normal(size=(2, *grid, 4, 8)), rng.normal(size=(2, *grid, 2, 8))
    more = rng.normal(size=(2, 3, 2, 8)) if "additional" in chosen else None
    entries = [2 * pattern.kernel_size - 1] * rank
    modifiers = {
        "scale": 0.7 if "scale" in chosen else None,
        "softcap": 1.5 if "softcap" in chosen else 0.0,
        "bias": rng.normal(size=(4, *entries)) if "bias" in chosen else None,
        "key_mask": rng.random((2, *grid)) < 0.7 if "key_mask" in chosen else None,
        "key_weights": rng.random((2, *grid) if seed % 2 else grid) if "key_weights" in chosen else None,
        "additional_keys": more,
    }
    channels = tokens + 3
    value = np.broadcast_to(np.eye(tokens, channels)[:, None], (2, tokens, 2, channels)).reshape(2, *grid, 2, channels)
    units = (
        None if more is None else np.broadcast_to(np.eye(channels)[tokens:, None], (3, 2, channels))[None].repeat(2, 0)
    )
    out = nearfield.attend(pattern, query, key, np.ascontiguousarray(value), additional_values=units, **modifiers)
    for number, token in enumerate(np.ndindex(*grid)):
        batch, head = int(rng.integers(2)), int(rng.integers(4))
        found, extra = plot.attention_weights(pattern, query, key, token, batch=batch, head=head, **modifiers)
        expected = out[(batch, *token, head)]
        message = (seed, chosen, token)
        assert abs(np.nan_to_num(found).reshape(-1) - expected[:tokens]).max() <= 1e-12, message
        assert len(extra) == (0 if more is None else 3), message
        assert abs(extra - expected[tokens : tokens + len(extra)]).max(initial=0) <= 1e-12, message
        keys = nearfield.geometry.windows(pattern, grid).keys[number]
        assert set(np.flatnonzero(~np.isnan(found.reshape(-1)))) == set(keys[keys >= 0]), message


def test_attention_draws_the_weights() -> None:
    x = signal(1, 6, 8, 1, 4)
    figure = plot.attention(Neighborhood(3), x, x, (0, 3))
    weights = plot.attention_weights(Neighborhood(3), x, x, (0, 3))[0]
    image = figure.axes[0].get_images()[0]
    assert np.array_equal(image.get_array().filled(np.nan), weights, equal_nan=True)
    assert image.get_clim() == (0, np.nanmax(weights)) and len(figure.axes) == 2
    assert not [each for each in figure.axes[0].collections if isinstance(each, QuadMesh)]


def test_a_query_whose_keys_are_all_hidden() -> None:
    x = signal(1, 12, 1, 4)
    weights, _ = plot.attention_weights(Neighborhood(3), x, x, 5, key_mask=np.zeros((1, 12), bool))
    assert np.nansum(weights) == 0 and np.isnan(weights).sum() == 9
    drawn(plot.attention(Neighborhood(3), x, x, 5, key_mask=np.zeros((1, 12), bool)))


@pytest.mark.skipif(torch is None, reason="torch is not importable")
def test_torch_tensors_of_16_bits() -> None:
    x = torch.randn(1, 6, 8, 2, 4, dtype=torch.bfloat16, requires_grad=True)
    found, _ = plot.attention_weights(Neighborhood(3), x, x, (2, 2), head=1)
    exact = x.detach().double().numpy()
    assert np.array_equal(
        found, plot.attention_weights(Neighborhood(3), exact, exact, (2, 2), head=1)[0], equal_nan=True
    )


X = signal(1, 6, 8, 2, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plot.window(Neighborhood(3), (4, 4), (1, 4)), "query[1]=4: must be at least 0 and below 4, the axis's tokens"),
        (lambda: plot.window(Neighborhood(3), (4, 4), 1), "query=1: has 1 values, but the grid has 2 axes"),
        (lambda: plot.window(Neighborhood(3), (0, 4)), "grid[0]=0: must be at least 1 to be drawn"),
        (lambda: plot.window(Neighborhood(3), 5000), "grid=5000: must have at most 4096 tokens to draw all queries; name a query"),
        (lambda: plot.window(Neighborhood(3), (4096, 4096)), "grid=(4096, 4096): must have at most 4194304 tokens to be drawn"),
        (lambda: plot.block_map(Neighborhood(3), (256, 256)), "grid=(256, 256): has 65536 tokens: must have at most 16384 to be drawn"),
        (lambda: plot.block_map(Neighborhood(3), 64, 0, 4), "tile[0]=0: must be at least 1"),
        (lambda: plot.block_map(Neighborhood(3), 64, tile=0), "tile[0]=0: must be at least 1"),
        (lambda: plot.block_map(Neighborhood(3), 64, step=0), "step[0]=0: must be at least 1"),
        (lambda: plot.block_map(Neighborhood(3), 64, head_dim=0), "head_dim=0: must be at least 1"),
        (lambda: plot.attention(Neighborhood(3), X, X, (0, 8)), "query_index[1]=8: must be at least 0 and below 8, the axis's tokens"),
        (lambda: plot.attention(Neighborhood(3), X, X, (0, 0), head=2), "head=2: must be at least 0 and below 2, the heads of query"),
        (lambda: plot.attention(Neighborhood(3), X, X, (0, 0), batch=1), "batch=1: must be at least 0 and below 1, the batch of query"),
        (
            lambda: plot.attention(Neighborhood(3), X, X[..., :3], (0, 0)),
            "key.sizes[4]=3 (head_dim): must be 4, as in query",
        ),
    ],
)  # fmt: skip
def test_wrong_arguments(call, message: str) -> None:
    with pytest.raises(nearfield.ArgumentError) as error:
        call()
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plot.window(7, 64), "pattern: is a int: must be a nearfield pattern, e.g. Neighborhood(7)"),
        (lambda: plot.block_map(7, 64), "pattern: is a int: must be a nearfield pattern, e.g. Neighborhood(7)"),
        (lambda: plot.window(Neighborhood(3), 2.5), "grid=2.5: must be an integer or a sequence of integers"),
        (lambda: plot.window(Neighborhood(3), 64, "a"), "query='a': must be an integer or a sequence of integers"),
        (lambda: plot.window(Neighborhood(3), 64, axes=7), "axes: is a int: must be matplotlib.axes.Axes, or None"),
        (lambda: plot.block_map(Neighborhood(3), 64, axes=7), "axes=7: must be two matplotlib.axes.Axes"),
        (lambda: plot.block_map(Neighborhood(3), 64, head_dim=2.5), "head_dim=2.5: must be an integer"),
        (lambda: plot.attention(Neighborhood(3), 7, X, 0), "query: is a int: must be a torch.Tensor, numpy.ndarray or jax.Array"),
        (lambda: plot.attention(Neighborhood(3), X, X, (0, 0), bias=[1]), "bias: is a list: must be a numpy.ndarray, as query is"),
        (lambda: plot.attention(Neighborhood(3), X, X, (0, 0), head="a"), "head='a': must be an integer"),
        (lambda: plot.attention(Neighborhood(3), X, X, (0, 0), softcap="a"), "softcap='a': must be a number"),
    ],
)  # fmt: skip
def test_wrong_types(call, message: str) -> None:
    with pytest.raises(TypeError) as error:
        call()
    assert str(error.value) == message
