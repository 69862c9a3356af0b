"""nearfield.compat.torch_harmonics: what its modules compute, their parameters and defaults, training."""

import copy
import inspect
import math
import pickle

import pytest

torch = pytest.importorskip("torch")

import literal  # noqa: E402
import nearfield  # noqa: E402
from definition_sphere import Grid, Sphere  # noqa: E402
from nearfield.compat.torch_harmonics import AttentionS2, NeighborhoodAttentionS2  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

GAUSS, LOBATTO, TRAPEZOIDS = "legendre-gauss", "lobatto", "equiangular-trapezoidal"


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(20250516)


# ---- what they compute -----------------------------------------------------------------------------------------------


def by_definition(layer, query, key, value, sphere, scale):
    """Projections, channels first; all pairs; each head's channels lie together; another projection."""
    own = dict(layer.named_parameters())

    def project(which, x):
        bias = own.get(f"{which}_bias")
        out = torch.einsum("oi,bihw->bohw", own[f"{which}_weights"][:, :, 0, 0], x)
        return out if bias is None else out + bias[:, None, None]

    def heads(which, x):
        x = project(which, x).flatten(2).unflatten(1, (layer.num_heads, -1))  # (batch, heads, channels, points)
        if (weights := own.get(f"{which}_norm_weights")) is None:
            return x
        mean_square = x.square().mean(2, keepdim=True)
        return x / (mean_square + torch.finfo(x.dtype).eps).sqrt() * (1 + weights[:, None])

    q, k, v = heads("q", query), heads("k", key), heads("v", value)
    areas = torch.from_numpy(sphere.areas.copy()).repeat_interleave(key.shape[-1])
    seen = torch.from_numpy(sphere.seen).reshape(q.shape[-1], k.shape[-1])
    logits = scale * torch.einsum("bhci,bhcj->bhij", q, k) + areas.log()
    weights = logits.masked_fill(~seen, -torch.inf).softmax(-1).nan_to_num(0)  # a query that sees nothing
    out = torch.einsum("bhij,bhcj->bhci", weights, v).flatten(1, 2).unflatten(-1, query.shape[-2:])
    return project("proj", out)


def randomize(layer):
    with torch.no_grad():
        for each in layer.parameters():
            each.copy_(torch.randn_like(each) * 0.3)
    return layer.double()


def check(layer, query_grid, key_grid, cutoff, scale):
    """The layer, with random parameters in float64, is its definition; so are its gradients."""
    randomize(layer)
    query, key, value = (
        torch.randn(2, layer.in_channels, grid.nlat, grid.nlon, dtype=torch.float64, requires_grad=True)
        for grid in (query_grid, key_grid, key_grid)
    )
    found = layer(query, key, value)
    expected = by_definition(layer, query, key, value, Sphere(query_grid, key_grid, cutoff), scale)
    assert found.is_contiguous() and literal.error(found, expected) <= 1e-11
    inputs, upstream = [query, key, value, *layer.parameters()], torch.randn_like(found)
    ours = torch.autograd.grad(found, inputs, upstream)
    right = torch.autograd.grad(expected, inputs, upstream)
    for a, b in zip(ours, right, strict=True):
        assert literal.error(a, b) <= 1e-10 * (1 + float(b.abs().max()))


@pytest.mark.parametrize(
    ("key_grid", "query_grid", "cutoff", "settings", "scale"),
    [
        (Grid(5, 8), Grid(5, 8), None, {}, 6**-0.5),
        (Grid(9, 12), Grid(5, 6, GAUSS), 0.6, {"num_heads": 2, "use_qknorm": True}, 3**-0.5),
        (Grid(5, 4, LOBATTO), Grid(6, 8), 0.8, {"num_heads": 3, "k_channels": 12, "out_channels": 3}, 0.5),
        (Grid(6, 8, TRAPEZOIDS), Grid(4, 8, LOBATTO), 1.1, {"scale": 0.7, "bias": False}, 0.7),
        (Grid(4, 6, GAUSS), Grid(5, 12, TRAPEZOIDS), math.pi, {"k_channels": 4, "num_heads": 2}, 2**-0.5),
    ],
)
def test_neighborhood_is_its_definition(key_grid, query_grid, cutoff, settings, scale):
    layer = NeighborhoodAttentionS2(
        6, key_grid[:2], query_grid[:2], key_grid.latitudes, query_grid.latitudes, theta_cutoff=cutoff, **settings
    )
    check(layer, query_grid, key_grid, cutoff, scale)


@pytest.mark.parametrize(
    ("key_grid", "query_grid", "settings", "scale"),
    [
        (Grid(5, 8), Grid(5, 8), {}, 3**-0.5),
        (Grid(6, 8, GAUSS), Grid(4, 4, LOBATTO), {"k_channels": 8, "out_channels": 4, "use_qknorm": True}, 0.5),
        (Grid(4, 4, TRAPEZOIDS), Grid(5, 8), {"scale": 0, "bias": False}, 0.0),
    ],
)
def test_global_is_its_definition(key_grid, query_grid, settings, scale):
    layer = AttentionS2(6, 2, key_grid[:2], query_grid[:2], key_grid.latitudes, query_grid.latitudes, **settings)
    check(layer, query_grid, key_grid, math.inf, scale)


def test_key_and_value_default_to_the_query():
    layer = NeighborhoodAttentionS2(4, (5, 8), (5, 8))
    x, y = torch.randn(2, 2, 4, 5, 8)
    assert torch.equal(layer(x), layer(x, x, x))
    assert torch.equal(layer(x, y), layer(x, y, x))  # and not the key
    assert torch.equal(layer(x, value=y), layer(x, x, y)) and torch.equal(layer(x, y, y), layer(x, y, y.clone()))


def test_a_learned_scale():
    temperature = torch.nn.Parameter(torch.tensor([0.5, 2.0]).reshape(2, 1, 1))
    layer = AttentionS2(4, 2, (5, 8), (5, 8), scale=temperature)
    assert next(iter(layer.state_dict())) == "scale"
    x = torch.randn(1, 4, 5, 8)
    for i, value in enumerate((0.5, 2.0)):
        # One head's part of the output is what it is alone.
        other = AttentionS2(4, 2, (5, 8), (5, 8), scale=value)
        other.load_state_dict({name: each for name, each in layer.state_dict().items() if name != "scale"})
        with torch.no_grad():
            layer.proj_weights[:, :, 0, 0] = torch.eye(4)
            other.proj_weights[:, :, 0, 0] = torch.eye(4)
        part = slice(2 * i, 2 * i + 2)
        assert torch.allclose(layer(x)[:, part], other(x)[:, part], atol=1e-6)
    layer(x).square().sum().backward()
    assert bool((temperature.grad != 0).all())

    number = torch.nn.Parameter(torch.tensor([0.3]))
    neighborhood = NeighborhoodAttentionS2(4, (5, 8), (5, 8), num_heads=2, scale=number)
    same = NeighborhoodAttentionS2(4, (5, 8), (5, 8), num_heads=2, scale=0.3)
    assert [name for name, _ in neighborhood.named_parameters()][4] == "scale"
    same.load_state_dict({name: each for name, each in neighborhood.state_dict().items() if name != "scale"})
    assert torch.allclose(neighborhood(x), same(x), atol=1e-6)
    neighborhood.reset_parameters()
    assert float(number.detach()) == pytest.approx(0.3)


def test_queries_that_see_nothing():
    """The disc around a point between two circles of the keys holds none."""
    layer = NeighborhoodAttentionS2(2, (3, 4), (5, 4), theta_cutoff=0.1)
    query, key = torch.randn(1, 2, 5, 4, requires_grad=True), torch.randn(1, 2, 3, 4, requires_grad=True)
    with torch.no_grad():
        layer.proj_bias.fill_(7)
    out = layer(query, key, key)
    assert bool((out[:, :, [1, 3]] == 7).all()) and not bool((out[:, :, [0, 2, 4]] == 7).any())
    out.square().sum().backward()
    assert bool((query.grad[:, :, [1, 3]] == 0).all())
    assert all(bool(torch.isfinite(each.grad).all()) for each in (query, key, *layer.parameters()))


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-2), (torch.float16, 5e-3)])
def test_types(dtype, most):
    layer = NeighborhoodAttentionS2(4, (5, 8), (5, 8), num_heads=2, use_qknorm=True, theta_cutoff=1.0).to(dtype)
    x = torch.randn(1, 4, 5, 8, dtype=dtype)
    found, expected = layer(x), copy.deepcopy(layer).double()(x.double())
    assert found.dtype == dtype and literal.error(found, expected) <= most


# ---- parameters ------------------------------------------------------------------------------------------------------

EMPTY = inspect.Parameter.empty


def test_signatures():
    def parameters(of):
        return [(name, each.default) for name, each in inspect.signature(of).parameters.items()]

    assert parameters(AttentionS2) == [
        ("in_channels", EMPTY),
        ("num_heads", EMPTY),
        ("in_shape", EMPTY),
        ("out_shape", EMPTY),
        ("grid_in", "equiangular"),
        ("grid_out", "equiangular"),
        ("scale", None),
        ("use_qknorm", False),
        ("bias", True),
        ("k_channels", None),
        ("out_channels", None),
        ("drop_rate", 0.0),
    ]
    assert parameters(NeighborhoodAttentionS2) == [
        ("in_channels", EMPTY),
        ("in_shape", EMPTY),
        ("out_shape", EMPTY),
        ("grid_in", "equiangular"),
        ("grid_out", "equiangular"),
        ("num_heads", 1),
        ("scale", None),
        ("use_qknorm", False),
        ("bias", True),
        ("theta_cutoff", None),
        ("k_channels", None),
        ("out_channels", None),
        ("optimized_kernel", True),
    ]
    for kind in (AttentionS2, NeighborhoodAttentionS2):
        assert parameters(kind.forward) == [("self", EMPTY), ("query", EMPTY), ("key", None), ("value", None)]


SHAPES = [
    ("q_weights", (8, 6, 1, 1)),
    ("k_weights", (8, 6, 1, 1)),
    ("v_weights", (4, 6, 1, 1)),
    ("proj_weights", (4, 4, 1, 1)),
    ("q_bias", (8,)),
    ("k_bias", (8,)),
    ("v_bias", (4,)),
    ("proj_bias", (4,)),
    ("q_norm_weights", (4,)),
    ("k_norm_weights", (4,)),
]


@pytest.mark.parametrize(("bias", "norm", "end"), [(True, True, 10), (True, False, 8), (False, False, 4)])
def test_state_dicts(bias, norm, end):
    channels = {"k_channels": 8, "out_channels": 4, "bias": bias, "use_qknorm": norm}
    layers = [
        AttentionS2(6, 2, (5, 8), (5, 8), **channels),
        NeighborhoodAttentionS2(6, (5, 8), (5, 8), num_heads=2, optimized_kernel=False, **channels),
    ]
    for layer in layers:
        assert [(name, tuple(each.shape)) for name, each in layer.state_dict().items()] == SHAPES[:end]
        assert [name for name, _ in layer.named_parameters()] == [name for name, _ in SHAPES[:end]]
    layers[0].load_state_dict(layers[1].state_dict())


def test_attributes():
    layer = NeighborhoodAttentionS2(6, (5, 4), (9, 8), num_heads=3, out_channels=9)
    assert (layer.nlat_in, layer.nlon_in, layer.nlat_out, layer.nlon_out) == (5, 4, 9, 8)
    assert (layer.in_channels, layer.k_channels, layer.out_channels, layer.num_heads) == (6, 6, 9, 3)
    assert layer.upsample and layer.theta_cutoff == math.pi / 4 and layer.scale == 2**-0.5
    assert layer.pattern == nearfield.SphereNeighborhood((9, 8), (5, 4), cutoff=math.pi / 4)
    assert AttentionS2(6, 1, (9, 8), (5, 4), drop_rate=0.5).drop_rate == 0.5
    assert str(AttentionS2(6, 1, (5, 8), (5, 8))) == (
        "AttentionS2(in_channels=6, out_channels=6, k_channels=6, num_heads=1, "
        "pattern=SphereGlobal(grid=SphereGrid(nlat=5, nlon=8)))"
    )


def test_default_cutoff():
    """One step of the coarser grid, its largest, and a warning where older releases took another."""
    assert NeighborhoodAttentionS2(6, (9, 8), (5, 4), GAUSS).theta_cutoff == math.pi / 4
    assert NeighborhoodAttentionS2(6, (5, 4), (9, 8), "equiangular", GAUSS).theta_cutoff == math.pi / 4
    assert NeighborhoodAttentionS2(6, (9, 8), (5, 8)).theta_cutoff == math.pi / 4
    message = (
        "theta_cutoff=None: is 0.857072 on 5 latitudes 'lobatto', their largest step, as in torch-harmonics 0.9.3; until "
        "0.9.2 it was pi/(nlat-1) = 0.785398: pass the one that the model was trained with"
    )
    for shapes in (((5, 4), (9, 8), LOBATTO, TRAPEZOIDS), ((9, 8), (5, 4), TRAPEZOIDS, LOBATTO)):
        with pytest.warns(UserWarning) as warned:
            layer = NeighborhoodAttentionS2(6, *shapes)
        assert layer.theta_cutoff == pytest.approx(math.acos(math.sqrt(3 / 7)), rel=1e-14)
        assert layer.pattern.cutoff == layer.theta_cutoff
        assert [str(each.message) for each in warned] == [message] and warned[0].filename == __file__


def test_initial_parameters():
    """Weights are uniform between the bounds of Xavier's rule, with deviation bound/sqrt(3); all else is 0."""
    layer = NeighborhoodAttentionS2(64, (5, 8), (5, 8), k_channels=32, out_channels=96, use_qknorm=True)
    fans = {"q_weights": 64 + 32, "k_weights": 64 + 32, "v_weights": 64 + 96, "proj_weights": 96 + 96}
    for name, each in layer.named_parameters():
        if name not in fans:
            assert not each.any()
            continue
        bound = math.sqrt(6 / fans[name])
        assert 0.99 * bound < float(each.detach().abs().max()) <= bound
        assert float(each.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_copies():
    layer, x = NeighborhoodAttentionS2(4, (5, 8), (5, 8)), torch.randn(1, 4, 5, 8)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x), layer(x))


# ---- training --------------------------------------------------------------------------------------------------------


class Block(torch.nn.Module):
    """A block of a transformer on one grid."""

    def __init__(self, attention, channels):
        super().__init__()
        self.norm0, self.attention = torch.nn.InstanceNorm2d(channels, affine=True), attention
        self.norm1 = torch.nn.InstanceNorm2d(channels, affine=True)
        self.mlp = torch.nn.Sequential(
            torch.nn.Conv2d(channels, 16, 1), torch.nn.GELU(), torch.nn.Conv2d(16, channels, 1)
        )

    def forward(self, x):
        x = x + self.attention(self.norm0(x))
        return x + self.mlp(self.norm1(x))


class Transformer(torch.nn.Module):
    """Down to a coarse Gaussian grid, two blocks there, and up."""

    def __init__(self, checkpointing=False):
        super().__init__()
        self.checkpointing, fine, coarse = checkpointing, (8, 12), (4, 6)
        self.down = NeighborhoodAttentionS2(8, fine, coarse, "equiangular", GAUSS, theta_cutoff=1.2)
        self.blocks = torch.nn.ModuleList(
            [
                Block(
                    NeighborhoodAttentionS2(8, coarse, coarse, GAUSS, GAUSS, 2, use_qknorm=True, theta_cutoff=1.0), 8
                ),
                Block(AttentionS2(8, 2, coarse, coarse, GAUSS, GAUSS, bias=False), 8),
            ]
        )
        self.up = NeighborhoodAttentionS2(8, coarse, fine, GAUSS, "equiangular", theta_cutoff=0.9, out_channels=8)

    def forward(self, x):
        y = self.down(torch.nn.functional.interpolate(x, (4, 6)), x, x)
        for block in self.blocks:
            y = checkpoint(block, y, use_reentrant=False) if self.checkpointing else block(y)
        return x + self.up(x, y, y)


def gradients(model, x):
    torch.manual_seed(1)
    out = model(x)
    return [out, *torch.autograd.grad(out, list(model.parameters()), torch.randn_like(out))]


@pytest.mark.parametrize("how", ["checkpointing", "compile"])
def test_checkpointing_and_compile_change_nothing(how):
    model, x = Transformer(), torch.randn(2, 8, 8, 12)
    if how == "compile":
        torch._dynamo.reset()
        other = torch.compile(model, fullgraph=True, backend="aot_eager")
    else:
        other = Transformer(checkpointing=True)
        other.load_state_dict(model.state_dict())
    for found, expected in zip(gradients(other, x), gradients(model, x), strict=True):
        assert literal.error(found, expected) <= 1e-5 * (1 + float(expected.detach().abs().max()))


@pytest.mark.parametrize("autocast", [False, True])
def test_training(autocast):
    """With gradient checkpointing; the target is the field, turned by a step of longitude."""
    model, x = Transformer(checkpointing=True), torch.randn(2, 8, 8, 12)
    optimizer, losses = torch.optim.Adam(model.parameters(), 1e-2), []
    for _ in range(25):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            out = model(x)
            loss = (out - x.roll(1, -1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        assert all(
            each.grad.dtype == torch.float32 and bool(torch.isfinite(each.grad).all()) for each in model.parameters()
        )
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.75 * losses[0]


def test_autocast_computes_in_its_type():
    layer, x = AttentionS2(4, 2, (5, 8), (5, 8), use_qknorm=True, scale=torch.ones(2, 1, 1)), torch.randn(1, 4, 5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x)
    assert found.dtype == torch.bfloat16 and literal.error(found, layer(x)) <= 3e-2
