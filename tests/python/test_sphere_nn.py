"""nn.SphereAttention and nn.SphereResample: what they compute, their parameters, their errors."""

import copy
import math

import pytest

torch = pytest.importorskip("torch")

import nearfield as nf  # noqa: E402
from definition_sphere import Grid  # noqa: E402
from nearfield.nn import LocalAttention, SphereAttention, SphereResample  # noqa: E402

COARSE, FINE = nf.SphereGrid(4, 6), nf.SphereGrid(5, 12, "legendre-gauss")


def field(grid, channels=16, batch=2, seed=0):
    return torch.randn(batch, grid.nlat, grid.nlon, channels, generator=torch.Generator().manual_seed(seed))


def attended(layer, query, key, value, **modifiers):
    """The rest of a layer, of flat query, key and value."""
    heads = [each.unflatten(-1, (-1, layer.head_dim)) for each in (query, key, value)]
    return layer.proj(nf.attend(layer.pattern, *heads, **modifiers).flatten(-2))


@pytest.mark.parametrize("pattern", ["neighborhood", "global"])
def test_one_grid(pattern):
    layer = SphereAttention(16, 4, (4, 6), pattern=pattern, num_heads_kv=2)
    x = field(COARSE)
    kind = nf.SphereGlobal if pattern == "global" else nf.SphereNeighborhood
    assert layer.pattern == kind((4, 6)) and layer.resample is None
    assert torch.equal(layer(x), attended(layer, *layer.qkv(x).split((16, 8, 8), -1)))
    local = LocalAttention(16, 4, layer.pattern, num_heads_kv=2)
    local.load_state_dict(layer.state_dict())
    assert torch.equal(local(x), layer(x))


def test_a_context_and_modifiers_of_the_key_grid():
    layer = SphereAttention(16, 4, COARSE, FINE, cutoff=1.0, context_dim=6, out_dim=3)
    x, context, weights = field(COARSE), field(FINE, 6), field(FINE, 1)[0, ..., 0].abs()
    mask = field(FINE, 1)[..., 0] > -0.5
    found = layer(x, context, key_mask=mask, key_weights=weights)
    expected = attended(layer, layer.q(x), *layer.kv(context).split((16, 16), -1), key_mask=mask, key_weights=weights)
    assert found.shape == (2, 4, 6, 3) and torch.equal(found, expected)


@pytest.mark.parametrize(("grid", "key_grid"), [(COARSE, FINE), (FINE, COARSE)])
def test_one_tensor_is_resampled_for_the_queries(grid, key_grid):
    layer = SphereAttention(16, 2, grid, key_grid, cutoff=1.2, qk_norm="rms")
    x = field(key_grid)
    query = SphereResample(key_grid, grid)(x)
    assert layer(x).shape == (2, grid.nlat, grid.nlon, 16)
    assert torch.allclose(layer(x), layer(query, x), atol=1e-6)
    q, k, v = (layer.qkv(each).split(16, -1)[i] for i, each in enumerate((query, x, x)))
    q, k = (norm(each.unflatten(-1, (2, 8))).flatten(-2) for norm, each in ((layer.q_norm, q), (layer.k_norm, k)))
    assert torch.allclose(layer(x), attended(layer, q, k, v), atol=1e-6)


def test_state_dicts():
    one = SphereAttention(8, 2, COARSE, FINE, num_heads_kv=1, qk_norm=True)
    shapes = {name: tuple(each.shape) for name, each in one.state_dict().items()}
    assert shapes == {
        "qkv.weight": (16, 8),
        "qkv.bias": (16,),
        "q_norm.weight": (4,),
        "q_norm.bias": (4,),
        "k_norm.weight": (4,),
        "k_norm.bias": (4,),
        "proj.weight": (8, 8),
        "proj.bias": (8,),
    }
    two = SphereAttention(8, 2, COARSE, context_dim=6, out_dim=10, qkv_bias=False)
    shapes = {name: tuple(each.shape) for name, each in two.state_dict().items()}
    assert shapes == {"q.weight": (8, 8), "kv.weight": (16, 6), "proj.weight": (10, 8), "proj.bias": (10,)}
    before = copy.deepcopy(two.state_dict())
    two.reset_parameters()
    assert all(not torch.equal(each, before[name]) for name, each in two.state_dict().items())


class Network(torch.nn.Module):
    """Down, on the coarse grid, up."""

    def __init__(self):
        super().__init__()
        self.down = SphereAttention(8, 2, COARSE, FINE, cutoff=1.0, out_dim=12)
        self.middle = SphereAttention(12, 2, COARSE, pattern="global")
        self.up = SphereAttention(8, 2, FINE, COARSE, cutoff=1.5, context_dim=12)

    def forward(self, x):
        coarse = self.down(x)
        return x + self.up(x, coarse + self.middle(coarse))


def test_training_also_in_bfloat16():
    torch.manual_seed(0)
    network, x = Network(), field(FINE, 8)
    optimizer = torch.optim.Adam(network.parameters(), 3e-2)
    losses = []
    for step in range(20):
        with torch.autocast("cpu", torch.bfloat16, enabled=step % 2 == 1):
            loss = (network(x) - x - x.mean((1, 2, 3), keepdim=True) - 1).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        assert all(each.grad is not None and bool(torch.isfinite(each.grad).all()) for each in network.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    network.double()
    assert network(x.double()).dtype == torch.float64


def test_compile_into_one_graph():
    layer, x = SphereAttention(8, 2, FINE, COARSE, cutoff=1.0), field(COARSE, 8)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    found, expected = (torch.autograd.grad(each(x).pow(2).sum(), layer.qkv.weight)[0] for each in (compiled, layer))
    assert torch.allclose(compiled(x), layer(x), atol=1e-6) and torch.allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_resampling_a_smooth_field():
    """The coordinates of the points themselves, up to an error of second order in the step."""
    for latitudes in ("equiangular", "legendre-gauss", "lobatto"):
        own, other = Grid(24, 48, latitudes), Grid(17, 32)
        x, expected = (torch.from_numpy(each.points())[None] for each in (own, other))
        resample = SphereResample(nf.SphereGrid(*own), nf.SphereGrid(*other))
        found = resample(x)
        assert float((found - expected).abs().max()) <= (math.pi / 23) ** 2 / 3
        assert float((found[:, [0, -1]].std(2)).max()) <= 1e-12  # a pole has one value
        assert torch.allclose(resample(torch.ones_like(x)), torch.ones_like(expected), atol=1e-14)


def test_points_that_both_grids_have_keep_their_values():
    x = field(nf.SphereGrid(9, 16)).double()
    assert torch.allclose(SphereResample((9, 16), (5, 8))(x), x[:, ::2, ::2], atol=1e-14)
    up = SphereResample((9, 16), (17, 48))
    assert torch.allclose(up(x)[:, ::2, ::3], x, atol=1e-14) and not up.state_dict()
    assert torch.allclose(up(x.float()).double(), up(x), atol=1e-6)


WRONG = [
    (lambda: SphereAttention(16, 3, COARSE), "num_heads=3: must divide embed_dim=16"),
    (lambda: SphereAttention(16, 4, COARSE, pattern="all"), "pattern='all': must be one of 'neighborhood', 'global'"),
    (
        lambda: SphereAttention(16, 4, COARSE, pattern="global", cutoff=1.0),
        "cutoff=1.0: must be None where pattern='global'",
    ),
    (lambda: SphereAttention(16, 4, COARSE, cutoff=-1.0), "cutoff=-1.0: must be above 0"),
    (lambda: SphereAttention(16, 4, COARSE, out_dim=0), "out_dim=0: must be at least 1"),
    (lambda: SphereAttention(16, 4, 7), "grid=7: must be a SphereGrid or (nlat, nlon)"),
    (lambda: SphereResample(7, COARSE), "grid_in=7: must be a SphereGrid or (nlat, nlon)"),
    (
        lambda: SphereAttention(16, 4, COARSE, FINE)(field(COARSE)),
        "x: shape (2, 4, 6, 16): must be (batch, 5, 12, 16), on key_grid where there is no context",
    ),
    (
        lambda: SphereAttention(16, 4, COARSE, FINE)(field(FINE), field(FINE)),
        "x: shape (2, 5, 12, 16): must be (batch, 4, 6, 16)",
    ),
    (
        lambda: SphereAttention(16, 4, COARSE, FINE)(field(COARSE), field(FINE, 8)),
        "context: shape (2, 5, 12, 8): must be (batch, 5, 12, 16)",
    ),
    (
        lambda: SphereAttention(16, 4, COARSE, context_dim=8)(field(COARSE)),
        "context=None: must be given where context_dim=8 is not embed_dim=16",
    ),
    (lambda: SphereAttention(16, 4, COARSE)([1]), "x: is a list: must be a torch.Tensor"),
    (
        lambda: SphereResample(COARSE, FINE)(field(FINE)),
        "x: shape (2, 5, 12, 16): must be (batch, 4, 6, channels)",
    ),
    (
        lambda: LocalAttention(16, 4, nf.SphereNeighborhood((4, 6)), rel_pos_bias=True),
        "pattern: is a SphereNeighborhood: must be another: no bias is possible on the sphere, key_weights serve",
    ),
    (
        lambda: LocalAttention(16, 4, nf.SphereGlobal((4, 6), (3, 3))),
        "pattern.key_grid=SphereGrid(nlat=3, nlon=3): must be the pattern's grid; nn.SphereAttention takes another",
    ),
]


@pytest.mark.parametrize(("make", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_wrong_arguments(make, message):
    with pytest.raises((nf.ArgumentError, TypeError)) as error:
        make()
    assert str(error.value) == message
