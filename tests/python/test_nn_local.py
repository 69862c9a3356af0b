"""nearfield.nn.LocalAttention: any pattern as a layer, against the definition, and all that torch does with a module."""

import copy
import io
import pickle

import pytest

torch = pytest.importorskip("torch")

import definition  # noqa: E402
import drawn_patterns  # noqa: E402
import nearfield as nf  # noqa: E402
from nearfield import nn  # noqa: E402

GRID = (5, 6)
PATTERNS = (
    nf.Neighborhood(3, dilation=(1, 2), boundary="wrap"),
    nf.Window((3, 4), shift=(1, 2)),
    nf.Slide(3),
    nf.HilbertWindow(3),
    nf.HilbertShiftedWindow(2, order="morton"),
    nf.HilbertSlide(9, dilation=2),
    nf.HilbertNeighborhood(7, stride=2, is_causal=True),
)
every_pattern = pytest.mark.parametrize("pattern", PATTERNS, ids=repr)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(20240607)
    torch._dynamo.reset()


def drawn(layer):
    """All parameters random, so that none hides behind its first value."""
    with torch.no_grad():
        for each in layer.parameters():
            each.copy_(torch.randn_like(each) * 0.5)
    return layer


def by_definition(layer, x):
    """The layer's output from its parameters."""
    heads, heads_kv, d = layer.num_heads, layer.num_heads_kv, layer.head_dim
    qkv = x @ layer.qkv.weight.T + layer.qkv.bias
    parts = (qkv[..., : heads * d], qkv[..., heads * d : (heads + heads_kv) * d], qkv[..., -heads_kv * d :])
    q, k, v = (each.unflatten(-1, (-1, d)).detach().numpy() for each in parts)
    modifiers = {} if layer.rpb is None else {"bias": layer.rpb.detach().numpy()}
    known = drawn_patterns.defined(layer.pattern, x.shape[1:-1])
    out, _ = definition.attention(known, q, k, v, scale=layer.scale, **modifiers)
    return torch.from_numpy(out).flatten(-2) @ layer.proj.weight.T + layer.proj.bias


@every_pattern
@pytest.mark.parametrize("settings", [{}, {"rel_pos_bias": True}, {"num_heads_kv": 2, "qk_scale": 0.3}], ids=str)
def test_output_is_that_of_the_definition(pattern, settings):
    layer = drawn(nn.LocalAttention(16, 4, pattern, grid=GRID, dtype=torch.float64, **settings))
    x = torch.randn(2, *GRID, 16, dtype=torch.float64)
    found, expected = layer(x), by_definition(layer, x)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= 1e-11


@every_pattern
def test_gradients_pass_gradcheck(pattern):
    layer = drawn(nn.LocalAttention(4, 2, pattern, grid=GRID, rel_pos_bias=True, dtype=torch.float64))
    x = torch.randn(1, *GRID, 4, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in layer.named_parameters()]

    def run(x, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *layer.parameters()), fast_mode=True)


@every_pattern
def test_compiles_into_one_graph_as_the_first_call(pattern):
    layer = nn.LocalAttention(16, 4, pattern, grid=GRID, rel_pos_bias=True)
    x = torch.randn(2, *GRID, 16)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    found, expected = compiled(x), layer(x)
    assert torch.allclose(found, expected, atol=1e-6)
    ours = torch.autograd.grad(found.square().sum(), list(layer.parameters()))
    theirs = torch.autograd.grad(expected.square().sum(), list(layer.parameters()))
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(ours, theirs, strict=True))


def test_key_masks_hide_keys():
    layer = nn.LocalAttention(8, 2, nf.HilbertWindow(2))
    x = torch.randn(1, 4, 4, 8)
    mask = torch.ones(1, 4, 4, dtype=torch.bool)
    mask[0, 1, 1] = False
    other = x.clone()
    other[0, 1, 1] += 1
    found, changed = layer(x, mask), layer(other, mask)
    assert torch.equal(found[mask], changed[mask]) and not torch.equal(layer(x)[mask], found[mask])


def test_the_table_is_as_large_as_the_pattern_reaches():
    for pattern in PATTERNS:
        layer = nn.LocalAttention(16, 4, pattern, grid=GRID, rel_pos_bias=True)
        assert layer.rpb.shape == (4, *drawn_patterns.table(pattern, GRID))


def test_without_a_table_any_grid_will_do():
    layer = nn.LocalAttention(8, 2, nf.HilbertSlide(9))
    assert layer.grid is None
    for grid in ((17,), (5, 6), (8, 3), (2, 3, 4)):
        assert layer(torch.zeros(1, *grid, 8)).shape == (1, *grid, 8)


def test_with_a_table_windows_take_any_grid_and_curves_their_own():
    windows = nn.LocalAttention(8, 2, nf.Window((3, 4)), rel_pos_bias=True)  # the pattern says how many axes there are
    for grid in ((5, 6), (8, 3)):
        assert windows(torch.zeros(1, *grid, 8)).shape == (1, *grid, 8)
    curve = nn.LocalAttention(8, 2, nf.HilbertSlide(9), grid=(5, 6), rel_pos_bias=True)
    assert curve(torch.zeros(1, 5, 6, 8)).shape == (1, 5, 6, 8)
    message = r"x: shape \(1, 6, 5, 8\): must be of grid=\(5, 6\), for which the table of rel_pos_bias is made"
    with pytest.raises(nf.ArgumentError, match=message):
        curve(torch.zeros(1, 6, 5, 8))


def test_state_has_documented_names_and_shapes():
    layer = nn.LocalAttention(16, 4, nf.Window(4), grid=(8, 8), rel_pos_bias=True, qk_norm=True)
    shapes = {name: tuple(each.shape) for name, each in layer.state_dict().items()}
    assert shapes == {
        "rpb": (4, 7, 7),
        "qkv.weight": (48, 16),
        "qkv.bias": (48,),
        **{f"{part}.{name}": (4,) for part in ("q_norm", "k_norm") for name in ("weight", "bias")},
        "proj.weight": (16, 16),
        "proj.bias": (16,),
    }
    # Layers of other patterns load it where tables are alike: HilbertWindow(4) of this grid has the same squares.
    other = nn.LocalAttention(16, 4, nf.HilbertWindow(4), grid=(8, 8), rel_pos_bias=True, qk_norm=True)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(1, 8, 8, 16)
    assert torch.allclose(other(x), layer(x), atol=1e-6)
    neighborhood = nn.NeighborhoodAttention2D(16, 4, 4, rel_pos_bias=True, qk_norm=True)
    neighborhood.load_state_dict(layer.state_dict())


def test_copies_pickles_and_loads_its_state():
    layer = drawn(nn.LocalAttention(16, 4, nf.HilbertWindow(3), grid=GRID, rel_pos_bias=True))
    x = torch.randn(2, *GRID, 16)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x), layer(x))
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other = nn.LocalAttention(16, 4, nf.HilbertWindow(3), grid=GRID, rel_pos_bias=True)
    assert not torch.equal(other(x), layer(x))
    other.load_state_dict(torch.load(file))
    assert torch.equal(other(x), layer(x))


def test_meta_device_and_reset():
    layer = nn.LocalAttention(16, 4, nf.HilbertWindow(3), grid=GRID, rel_pos_bias=True, device="meta")
    assert layer(torch.empty(2, *GRID, 16, device="meta")).shape == (2, *GRID, 16)
    layer = layer.to_empty(device="cpu")
    with torch.no_grad():
        for each in layer.parameters():
            each.fill_(torch.nan)
    layer.reset_parameters()
    assert all(each.isfinite().all() for each in layer.parameters())


def test_autocast_runs_in_bfloat16():
    layer = drawn(nn.LocalAttention(16, 4, nf.HilbertWindow(3), grid=GRID, rel_pos_bias=True))
    x = torch.randn(2, *GRID, 16)
    expected = layer(x).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(x)
    assert found.dtype == torch.bfloat16
    assert float((found.float() - expected).abs().max()) <= 0.05 * float(expected.abs().max())


def test_representation_says_what_is_not_default():
    layer = nn.LocalAttention(16, 4, nf.HilbertWindow(3), grid=GRID, rel_pos_bias=True)
    assert layer.extra_repr() == (
        "embed_dim=16, num_heads=4, pattern=HilbertWindow(size=3), grid=(5, 6), rel_pos_bias=True"
    )


WRONG = [
    (dict(pattern=nf.HilbertWindow(3), num_heads=3), "num_heads=3: must divide embed_dim=16"),
    (dict(pattern=nf.HilbertWindow(0)), "size=0: must be at least 1"),
    (dict(pattern=nf.Window((3, 3)), grid=5), "size=(3, 3): has 2 values, but the grid has 1 axis"),
    (dict(pattern=nf.Window(3), grid=(4, 4, 4, 4)), "grid=(4, 4, 4, 4): has 4 axes: must have 1, 2 or 3"),
    (
        dict(pattern=nf.Neighborhood(3, dilation=2, boundary="wrap"), grid=(4, 5)),
        "dilation[1]=2: must be a divisor of the axis's 5 tokens where boundary[1] is wrap",
    ),
    *(
        (
            dict(pattern=each, rel_pos_bias=True),
            "grid=None: must be given where rel_pos_bias=True: its table depends on the grid",
        )
        for each in (nf.HilbertWindow(3), nf.Window(3))
    ),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=lambda each: str(each)[:40])
def test_wrong_settings_are_refused_when_made(arguments, message):
    with pytest.raises(nf.ArgumentError) as error:
        nn.LocalAttention(**{"embed_dim": 16, "num_heads": 4, **arguments})
    assert str(error.value) == message


def test_wrong_types_are_refused():
    with pytest.raises(TypeError, match="pattern: is a int: must be a nearfield pattern"):
        nn.LocalAttention(16, 4, 7)
    with pytest.raises(TypeError, match="rel_pos_bias=1: must be True or False"):
        nn.LocalAttention(16, 4, nf.Window(3), rel_pos_bias=1)


def test_wrong_inputs_are_refused():
    layer = nn.LocalAttention(16, 4, nf.HilbertWindow(3))
    for shape in ((2, 16), (2, 5, 6, 8), (2, 4, 5, 6, 7, 16)):
        with pytest.raises(nf.ArgumentError, match=r"x: shape \(2, .*\): must be \(batch, \*grid, 16\)"):
            layer(torch.zeros(shape))
    layer = nn.LocalAttention(16, 4, nf.Window((3, 3)))
    with pytest.raises(nf.ArgumentError, match=r"must be \(batch, height, width, 16\)"):
        layer(torch.zeros(2, 5, 16))
