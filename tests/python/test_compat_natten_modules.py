"""nearfield.compat.natten: modules of all generations, and their state dicts."""

import copy
import pickle

import pytest

torch = pytest.importorskip("torch")

import literal  # noqa: E402
import nearfield  # noqa: E402
from nearfield.compat import natten  # noqa: E402
from nearfield.compat.natten import (  # noqa: E402
    NeighborhoodAttention1D,
    NeighborhoodAttention2D,
    NeighborhoodAttention3D,
)

TIGHT = 1e-11


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(20240610)


def by_definition(layer, x, rpb=None, **window):
    """As NATTEN's modules compute it: one projection, split into (3, heads, head_dim), attention, another projection."""
    heads = layer.num_heads
    qkv = (x @ layer.qkv.weight.T + layer.qkv.bias).reshape(*x.shape[:-1], 3, heads, -1)
    q, k, v = qkv.unbind(-3)
    out, _ = literal.attention(q, k, v, rpb=rpb, **window)
    return out.flatten(-2) @ layer.proj.weight.T + layer.proj.bias


def check(layer, *grid, rpb=False, **window):
    """The layer, with random parameters in float64, is its definition; so are its gradients."""
    layer = layer.double()
    with torch.no_grad():
        for each in layer.parameters():
            each.copy_(torch.randn_like(each) * 0.2)
    assert (layer.rpb is not None) == rpb
    x = torch.randn(2, *grid, 64, dtype=torch.float64, requires_grad=True)
    found, expected = layer(x), by_definition(layer, x, layer.rpb, **window)
    assert literal.error(found, expected) <= TIGHT
    inputs, upstream = [x, *layer.parameters()], torch.randn_like(found)
    ours = torch.autograd.grad(found, inputs, upstream)
    theirs = torch.autograd.grad(expected, inputs, upstream)
    for a, b in zip(ours, theirs, strict=True):
        assert literal.error(a, b) <= 10 * TIGHT * (1 + float(b.abs().max()))


# ---- calls as they are written ---------------------------------------------------------------------------------------


def test_1d_of_017():
    layer = NeighborhoodAttention1D(dim=64, num_heads=4, kernel_size=7, dilation=1, is_causal=False, rel_pos_bias=True)
    assert layer.rpb.shape == (4, 13)
    check(layer, 12, rpb=True, kernel_size=(7,))


def test_2d_of_014():
    layer = NeighborhoodAttention2D(
        64, kernel_size=7, dilation=None, num_heads=4, qkv_bias=True, qk_scale=None, attn_drop=0.0, proj_drop=0.0, bias=True
    )  # fmt: skip
    assert layer.rpb.shape == (4, 13, 13)
    check(layer, 8, 9, rpb=True, kernel_size=(7, 7))


def test_2d_of_017():
    layer = NeighborhoodAttention2D(
        64, kernel_size=7, dilation=None, num_heads=4, qkv_bias=True, qk_scale=None, attn_drop=0.0, proj_drop=0.0, rel_pos_bias=True
    )  # fmt: skip
    check(layer, 8, 9, rpb=True, kernel_size=(7, 7))


def test_2d_of_020():
    layer = NeighborhoodAttention2D(
        embed_dim=64,
        num_heads=4,
        kernel_size=(7, 5),
        stride=(1, 1),
        dilation=(1, 2),
        is_causal=(False, False),
        qkv_bias=True,
        qk_scale=None,
        proj_drop=0.0,
    )
    check(layer, 8, 11, kernel_size=(7, 5), dilation=(1, 2))


def test_3d_of_020():
    check(NeighborhoodAttention3D(embed_dim=64, num_heads=8, kernel_size=(5, 7, 7)), 5, 7, 8, kernel_size=(5, 7, 7))


# ---- generations -----------------------------------------------------------------------------------------------------


def test_bias_is_there_by_default_in_014_only():
    assert NeighborhoodAttention2D(dim=64, num_heads=4, kernel_size=3).rpb is None
    assert NeighborhoodAttention2D(embed_dim=64, num_heads=4, kernel_size=3).rpb is None
    assert NeighborhoodAttention2D(64, 4, 3, bias=False).rpb is None
    assert NeighborhoodAttention3D(64, 4, 3, kernel_size_d=5).rpb.shape == (4, 9, 5, 5)


def test_depth_of_015():
    layer = NeighborhoodAttention3D(64, 4, 3, kernel_size_d=5, dilation=2, dilation_d=1, bias=True)
    check(layer, 5, 6, 7, rpb=True, kernel_size=(5, 3, 3), dilation=(1, 2, 2))
    assert NeighborhoodAttention3D(64, 4, 3, dilation_d=2).dilation == (2, 1, 1)


def test_positions_of_each_generation():
    old = NeighborhoodAttention2D(64, 4, 3, 2, False, True, True, 0.25)  # 0.17: dilation, is_causal, rel_pos_bias ...
    assert (old.dilation, old.is_causal, old.scale) == ((2, 2), (False, False), 0.25) and old.rpb is not None
    new = NeighborhoodAttention2D(64, 4, 3, 2, 3, True, False, 0.25, 0.1)
    assert (new.stride, new.dilation, new.is_causal, new.scale) == ((2, 2), (3, 3), (True, True), 0.25)
    assert new.qkv.bias is None and new.proj_drop.p == 0.1
    oldest = NeighborhoodAttention3D(64, 4, 3, 5, 2, 1, True)  # 0.15: kernel_size_d, dilation, dilation_d, bias
    assert (oldest.kernel_size, oldest.dilation) == ((5, 3, 3), (1, 2, 2)) and oldest.rpb is not None
    assert NeighborhoodAttention2D(64, 4, 3, 1).dilation == (1, 1)


def test_positions_that_may_mean_two_things_are_refused():
    with pytest.raises(
        nearfield.ArgumentError, match="2: by position is stride in NATTEN 0.20 and dilation in NATTEN 0"
    ):
        NeighborhoodAttention2D(64, 4, 3, 2)
    with pytest.raises(
        nearfield.ArgumentError, match="True: by position is is_causal in NATTEN 0.17 and bias in NATTEN 0"
    ):
        NeighborhoodAttention2D(64, 4, 3, 1, True)
    with pytest.raises(nearfield.ArgumentError, match="5: by position is stride in NATTEN 0.20 and kernel_size_d in"):
        NeighborhoodAttention3D(64, 4, 3, 5, 2, None, True)
    with pytest.raises(TypeError, match=r"NeighborhoodAttention2D\(64, 4, 3, stride=2, bias=True\): no release"):
        NeighborhoodAttention2D(64, 4, 3, stride=2, bias=True)
    with pytest.raises(TypeError, match="heads: no release of NATTEN has an argument of this name"):
        NeighborhoodAttention2D(64, 4, 3, heads=4)
    with pytest.raises(TypeError, match="NeighborhoodAttention2D: kernel_size: must be given"):
        NeighborhoodAttention2D(64, 4)


@pytest.mark.parametrize(("make", "grid", "kernel_size", "dilation"), [
    (lambda: NeighborhoodAttention1D(64, 4, 7, dilation=2, bias=True), (9,), (7,), (2,)),
    (lambda: NeighborhoodAttention2D(64, 4, 7, bias=True), (9, 4), (7, 7), (1, 1)),
    (lambda: NeighborhoodAttention2D(64, 4, 3, dilation=2, bias=True), (5, 8), (3, 3), (2, 2)),
    (lambda: NeighborhoodAttention3D(64, 4, 3, kernel_size_d=5), (3, 2, 4), (5, 3, 3), (1, 1, 1)),
])  # fmt: skip
def test_small_inputs_are_padded_as_in_014(make, grid, kernel_size, dilation):
    layer = make().double()
    x = torch.randn(2, *grid, 64, dtype=torch.float64)
    whole = torch.zeros(2, *(max(n, k * d) for n, k, d in zip(grid, kernel_size, dilation, strict=True)), 64).double()
    inside = (slice(None), *(slice(0, n) for n in grid))
    whole[inside] = x
    expected = by_definition(layer, whole, layer.rpb, kernel_size=kernel_size, dilation=dilation)[inside]
    assert literal.error(layer(x), expected) <= TIGHT


def test_small_inputs_are_refused_as_in_later_releases():
    for layer in (
        NeighborhoodAttention2D(64, kernel_size=7, num_heads=4, rel_pos_bias=True),
        NeighborhoodAttention2D(embed_dim=64, kernel_size=7, num_heads=4),
    ):
        with pytest.raises(ValueError, match=r"kernel_size\[1\]=7: times dilation\[1\]=1 must be at most .* length 6"):
            layer(torch.zeros(1, 7, 6, 64))
        with pytest.raises(ValueError, match=r"x: shape \(1, 7, 64\): must be \(batch, height, width, 64\)"):
            layer(torch.zeros(1, 7, 64))


def test_attention_dropout_is_never_ignored():
    layer, x = NeighborhoodAttention2D(64, 4, 3, attn_drop=0.5, rel_pos_bias=True), torch.randn(1, 4, 4, 64)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


def test_scale_of_zero_is_zero():
    assert NeighborhoodAttention2D(64, 4, 3, qk_scale=0.0).scale == 0.0
    check(NeighborhoodAttention2D(64, 4, 3, qk_scale=0.0), 4, 5, kernel_size=(3, 3), scale=0.0)


def test_none_is_what_it_is_in_natten():
    layer = NeighborhoodAttention2D(64, 4, 3, stride=None, dilation=None, is_causal=None, qk_scale=None, qkv_bias=None)
    assert (layer.stride, layer.dilation, layer.is_causal, layer.scale) == ((1, 1), (1, 1), (False, False), 0.25)
    assert layer.qkv.bias is None


# ---- state dicts -----------------------------------------------------------------------------------------------------


def test_checkpoints_load():
    """A checkpoint of the names and shapes that NATTEN 0.14 and 0.17 write."""
    state = {
        "rpb": torch.randn(4, 13, 13),
        "qkv.weight": torch.randn(192, 64) * 0.1,
        "qkv.bias": torch.randn(192),
        "proj.weight": torch.randn(64, 64) * 0.1,
        "proj.bias": torch.randn(64),
    }
    x = torch.randn(1, 8, 9, 64)
    makers = [
        lambda: NeighborhoodAttention2D(dim=64, num_heads=4, kernel_size=7, bias=True),
        lambda: NeighborhoodAttention2D(dim=64, num_heads=4, kernel_size=7, rel_pos_bias=True),
        lambda: nearfield.nn.NeighborhoodAttention2D(64, 4, 7, rel_pos_bias=True),
    ]
    for make in makers:
        layer = make()
        layer.load_state_dict(state)
        expected = by_definition(layer.double(), x.double(), layer.rpb, kernel_size=(7, 7))
        assert literal.error(layer.float()(x), expected) <= 1e-4
    with pytest.raises(RuntimeError, match="rpb"):
        NeighborhoodAttention2D(embed_dim=64, num_heads=4, kernel_size=7).load_state_dict(state)


def test_copies_pickles_and_compiles():
    for layer in (
        NeighborhoodAttention2D(64, 4, 7, bias=True),
        NeighborhoodAttention2D(embed_dim=64, num_heads=4, kernel_size=3, stride=2),
    ):
        x = torch.randn(1, 8, 5 if layer.rpb is not None else 9, 64)
        expected = layer(x)
        for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert torch.equal(other(x), expected)
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        assert literal.error(compiled(x), expected) <= 1e-6


def test_modules_are_where_natten_has_them():
    assert natten.modules.NeighborhoodAttention2D is natten.NeighborhoodAttention2D
    assert isinstance(NeighborhoodAttention2D(64, 4, 3), torch.nn.Module)
