"""nearfield.nn: the modules against their definition, and all that torch does with a module."""

import copy
import io
import itertools
import pickle

import pytest

torch = pytest.importorskip("torch")

import literal  # noqa: E402
import nearfield  # noqa: E402
from nearfield import nn  # noqa: E402

LAYERS = {1: nn.NeighborhoodAttention1D, 2: nn.NeighborhoodAttention2D, 3: nn.NeighborhoodAttention3D}
GRIDS = {1: (11,), 2: (7, 9), 3: (4, 5, 6)}
TIGHT = 1e-11


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(20240607)


def drawn(layer):
    """All parameters random, so that none hides behind its first value."""
    with torch.no_grad():
        for each in layer.parameters():
            each.copy_(torch.randn_like(each) * 0.5)
    return layer


def by_definition(layer, x, key_mask=None):
    """The layer's output from its parameters."""
    heads, heads_kv, d = layer.num_heads, layer.num_heads_kv, layer.head_dim
    qkv = x @ layer.qkv.weight.T
    if layer.qkv.bias is not None:
        qkv = qkv + layer.qkv.bias
    q, k, v = (
        each.reshape(*x.shape[:-1], -1, d)
        for each in (qkv[..., : heads * d], qkv[..., heads * d : (heads + heads_kv) * d], qkv[..., -heads_kv * d :])
    )
    if isinstance(layer.q_norm, torch.nn.LayerNorm):
        q, k = (
            (each - each.mean(-1, keepdim=True)) / (each.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
            * norm.weight
            + norm.bias
            for each, norm in ((q, layer.q_norm), (k, layer.k_norm))
        )  # fmt: skip
    if isinstance(layer.q_norm, torch.nn.RMSNorm):
        tiny = torch.finfo(x.dtype).eps
        q, k = (
            each / (each.pow(2).mean(-1, keepdim=True) + tiny).sqrt() * norm.weight
            for each, norm in ((q, layer.q_norm), (k, layer.k_norm))
        )
    out, _ = literal.attention(
        q,
        k,
        v,
        layer.kernel_size,
        stride=layer.stride,
        dilation=layer.dilation,
        is_causal=layer.is_causal,
        scale=layer.scale,
        rpb=layer.rpb,
        key_mask=key_mask,
    )
    return out.flatten(-2) @ layer.proj.weight.T + layer.proj.bias


SETTINGS = [
    dict(kernel_size=3),
    dict(kernel_size=3, dilation=2, rel_pos_bias=True),
    dict(kernel_size=4, stride=2, qkv_bias=False),
    dict(kernel_size=3, is_causal=True, qk_scale=0.3, rel_pos_bias=True),
    dict(kernel_size=3, qk_scale=0.0),
    dict(kernel_size=3, qk_norm=True),
    dict(kernel_size=3, qk_norm="rms", num_heads_kv=2),
    dict(kernel_size=9, rel_pos_bias=True, num_heads_kv=1),
]


@pytest.mark.parametrize(("rank", "settings"), list(itertools.product((1, 2, 3), SETTINGS)))
def test_output_and_gradients_are_those_of_the_definition(rank, settings):
    layer = drawn(LAYERS[rank](16, 4, **settings, dtype=torch.float64))
    x = torch.randn(2, *GRIDS[rank], 16, dtype=torch.float64, requires_grad=True)
    found, expected = layer(x), by_definition(layer, x)
    assert literal.error(found, expected) <= TIGHT
    upstream = torch.randn_like(found)
    inputs = [x, *layer.parameters()]
    ours = torch.autograd.grad(found, inputs, upstream)
    theirs = torch.autograd.grad(expected, inputs, upstream)
    for a, b in zip(ours, theirs, strict=True):
        assert literal.error(a, b) <= 1e-10 * (1 + float(b.abs().max())), settings


def test_settings_differ_per_axis():
    layer = drawn(
        nn.NeighborhoodAttention3D(
            8, 2, (2, 3, 5), (1, 2, 3), (2, 1, 1), (True, False, False), rel_pos_bias=True, dtype=torch.float64
        )
    )
    assert layer.rpb.shape == (2, 3, 5, 9)
    x = torch.randn(1, 5, 6, 7, 8, dtype=torch.float64)
    assert literal.error(layer(x), by_definition(layer, x)) <= TIGHT


def test_boundary_reaches_the_attention():
    layer = drawn(nn.NeighborhoodAttention2D(8, 2, 3, boundary=("clamp", "wrap"), dtype=torch.float64))
    x = torch.randn(1, 5, 6, 8, dtype=torch.float64)
    rolled = layer(x.roll(2, dims=2)).roll(-2, dims=2)
    assert literal.error(rolled, layer(x)) <= TIGHT
    assert literal.error(layer(x.roll(2, dims=1)).roll(-2, dims=1), layer(x)) > 1e-3


def test_masked_keys_are_not_seen():
    layer = drawn(nn.NeighborhoodAttention2D(8, 2, 5, rel_pos_bias=True, dtype=torch.float64))
    x = torch.randn(2, 6, 7, 8, dtype=torch.float64)
    mask = torch.rand(2, 6, 7) < 0.7
    assert literal.error(layer(x, mask), by_definition(layer, x, mask)) <= TIGHT


@pytest.mark.parametrize("heads_kv", [None, 2])
def test_query_key_and_value_are_views(heads_kv):
    layer = nn.NeighborhoodAttention2D(32, 4, 3, num_heads_kv=heads_kv)
    made = []
    layer.qkv.register_forward_hook(lambda module, inputs, output: made.append(output))
    parts = layer.project(torch.randn(2, 5, 6, 32))
    assert all(each.untyped_storage().data_ptr() == made[0].untyped_storage().data_ptr() for each in parts)
    assert nearfield.explain(layer.pattern, *parts).copies == ()


def test_attention_dropout_drops_weights_in_training_only():
    layer = nn.NeighborhoodAttention2D(8, 2, 3, attn_drop=0.4, rel_pos_bias=True).double()
    x, mask = torch.randn(2, 4, 5, 8, dtype=torch.float64), torch.rand(2, 4, 5) < 0.5
    mask[0, :2, :2] = False  # a query that sees nothing
    torch.manual_seed(1)
    found = layer(x, mask)
    torch.manual_seed(1)
    query, key, value = layer.project(x)
    _, weights = nearfield.attend(
        layer.pattern, query, key, value, scale=layer.scale, bias=layer.rpb, key_mask=mask, return_weights=True
    )
    dropped = torch.nn.functional.dropout(weights, 0.4)
    expected = layer.proj(nearfield.av(layer.pattern, dropped, value, key_mask=mask).flatten(-2))
    assert literal.error(found, expected) <= TIGHT and (dropped == 0).double().mean() > 0.3
    found.square().sum().backward()
    assert all(each.grad.isfinite().all() for each in layer.parameters())
    layer.eval()
    assert literal.error(layer(x, mask), by_definition(layer, x, mask)) <= TIGHT
    assert "attn_drop=0.4" in repr(layer)


def test_attention_dropout_is_refused_on_the_sphere():
    layer = nn.LocalAttention(8, 2, nearfield.SphereGlobal((4, 8)), attn_drop=0.1)
    x = torch.randn(1, 4, 8, 8)
    with pytest.raises(nearfield.UnsupportedError, match=r"attn_drop=0.1: .*attn_drop=0 to train, or call eval\(\)"):
        layer(x)
    assert layer.eval()(x).isfinite().all()


def test_projection_dropout_drops_in_training_only():
    layer = nn.NeighborhoodAttention1D(64, 2, 3, proj_drop=0.5)
    x = torch.randn(2, 50, 64)
    assert 0.4 < float((layer(x) == 0).float().mean()) < 0.6
    layer.eval()
    assert (layer(x) != 0).all()


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_compiles_into_one_graph(rank):
    layer = LAYERS[rank](16, 4, 3, rel_pos_bias=True, qk_norm="rms")
    x = torch.randn(2, *GRIDS[rank], 16)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    found, expected = compiled(x), layer(x)
    assert literal.error(found, expected) <= 1e-6
    ours = torch.autograd.grad(found.square().sum(), list(layer.parameters()))
    theirs = torch.autograd.grad(expected.square().sum(), list(layer.parameters()))
    for a, b in zip(ours, theirs, strict=True):
        assert literal.error(a, b) <= 1e-4 * (1 + float(b.abs().max()))


def test_block_compiles_into_one_graph():
    block = nn.NeighborhoodTransformerBlock(16, 4, (3, 3), layer_scale=0.5)
    x = torch.randn(2, 6, 5, 16)
    assert literal.error(torch.compile(block, fullgraph=True, backend="aot_eager")(x), block(x)) <= 1e-6


def test_autocast_runs_in_bfloat16():
    layer = drawn(nn.NeighborhoodAttention2D(16, 4, 3, rel_pos_bias=True))
    x = torch.randn(2, 6, 5, 16, requires_grad=True)
    expected = layer(x).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(x)
    assert found.dtype == torch.bfloat16
    assert literal.error(found, expected) <= 0.05 * float(expected.abs().max())
    found.float().sum().backward()
    assert layer.rpb.grad.dtype == torch.float32 and layer.rpb.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_runs_in_sixteen_bits(dtype):
    layer = nn.NeighborhoodAttention2D(16, 4, 3, rel_pos_bias=True, dtype=dtype)
    exact = copy.deepcopy(layer).double()
    x = torch.randn(2, 6, 5, 16, dtype=dtype)
    assert layer(x).dtype == dtype
    assert literal.error(layer(x), exact(x.double())) <= 2e-2


def same(a, b):
    x = torch.randn(2, 6, 5, 16)
    return torch.equal(a(x), b(x))


def test_copies_pickles_and_loads_its_state():
    layer = drawn(nn.NeighborhoodAttention2D(16, 4, (3, 5), rel_pos_bias=True, qk_norm=True))
    assert same(copy.deepcopy(layer), layer)
    assert same(pickle.loads(pickle.dumps(layer)), layer)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other = nn.NeighborhoodAttention2D(16, 4, (3, 5), rel_pos_bias=True, qk_norm=True)
    assert not same(other, layer)
    other.load_state_dict(torch.load(file))
    assert same(other, layer)


def test_state_has_nattens_names_and_shapes():
    layer = nn.NeighborhoodAttention2D(16, 4, 7, rel_pos_bias=True)
    shapes = {name: tuple(each.shape) for name, each in layer.state_dict().items()}
    assert shapes == {
        "rpb": (4, 13, 13),
        "qkv.weight": (48, 16),
        "qkv.bias": (48,),
        "proj.weight": (16, 16),
        "proj.bias": (16,),
    }


@pytest.mark.parametrize("make", [
    lambda **more: nn.NeighborhoodAttention2D(16, 4, 3, rel_pos_bias=True, qk_norm=True, **more),
    lambda **more: nn.NeighborhoodTransformerBlock(16, 4, 3, rank=2, layer_scale=0.1, rel_pos_bias=True, **more),
])  # fmt: skip
def test_meta_device_and_reset(make):
    layer = make(device="meta")
    assert all(each.is_meta for each in layer.parameters())
    assert layer(torch.empty(2, 6, 5, 16, device="meta")).shape == (2, 6, 5, 16)
    layer = layer.to_empty(device="cpu")
    with torch.no_grad():
        for each in layer.parameters():
            each.fill_(torch.nan)
    layer.reset_parameters()
    assert all(each.isfinite().all() for each in layer.parameters())
    rpb = (layer.attn if hasattr(layer, "attn") else layer).rpb
    assert 0.01 < float(rpb.detach().std()) < 0.03


def test_dtype_is_that_of_all_parameters():
    block = nn.NeighborhoodTransformerBlock(16, 4, 3, rank=1, layer_scale=0.1, rel_pos_bias=True, dtype=torch.float64)
    assert {each.dtype for each in block.parameters()} == {torch.float64}


def test_representation_says_what_is_not_default():
    layer = nn.NeighborhoodAttention2D(16, 4, (3, 5), dilation=2, boundary="wrap", rel_pos_bias=True)
    assert layer.extra_repr() == (
        "embed_dim=16, num_heads=4, kernel_size=(3, 5), dilation=(2, 2), boundary=('wrap', 'wrap'), rel_pos_bias=True"
    )


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning:torch")
def test_traced_by_jit_as_an_operator():
    layer = drawn(nn.NeighborhoodAttention2D(16, 4, 3, rel_pos_bias=True)).eval()
    with torch.no_grad():
        traced = torch.jit.trace(layer, (torch.randn(1, 6, 5, 16),))
        x = torch.randn(1, 6, 5, 16)
        assert torch.equal(traced(x), layer(x))
    assert "nearfield::attention" in str(traced.inlined_graph)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning:torch")
def test_merging_traced_by_jit():
    def both(x):
        near = nearfield.na1d(x, x, x, 3, return_lse=True)
        far = nearfield.na1d(x, x, 2 * x, 5, return_lse=True)
        return nearfield.merge([near[0], far[0]], [near[1], far[1]])[0]

    traced = torch.jit.trace(both, (torch.randn(1, 9, 2, 4),))
    x = torch.randn(1, 9, 2, 4)
    assert literal.error(traced(x), both(x)) <= 1e-6


# ---- the block -------------------------------------------------------------------------------------------------------


def test_block_is_its_formula():
    block = drawn(nn.NeighborhoodTransformerBlock(16, 4, 3, rank=2, mlp_ratio=3, layer_scale=0.1, dtype=torch.float64))
    assert block.mlp.fc1.out_features == 48
    x = torch.randn(2, 5, 6, 16, dtype=torch.float64)
    h = x + block.gamma1 * by_definition(block.attn, block.norm1(x))
    expected = h + block.gamma2 * block.mlp.fc2(torch.nn.functional.gelu(block.mlp.fc1(block.norm2(h))))
    assert literal.error(block(x), expected) <= TIGHT


def test_block_has_the_parameters_of_nat():
    block = nn.NeighborhoodTransformerBlock(16, 4, 3, rank=2, layer_scale=1e-5, rel_pos_bias=True)
    names = {"gamma1", "gamma2", "attn.rpb"}
    names |= {f"{part}.{kind}" for part in ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
              for kind in ("weight", "bias")}  # fmt: skip
    assert set(block.state_dict()) == names
    assert torch.equal(block.gamma1.detach(), torch.full((16,), 1e-5))


def test_drop_path_leaves_out_branches_of_whole_images():
    block = drawn(nn.NeighborhoodTransformerBlock(8, 2, 3, rank=1, drop_path=0.5, dtype=torch.float64))
    x = torch.randn(400, 5, 8, dtype=torch.float64)
    branch = block.eval()._branch(x, None)
    assert torch.equal(branch, x)
    branch = block.train()._branch(x, None)
    kept = (branch != 0).flatten(1)
    assert (kept.all(1) | ~kept.any(1)).all()
    assert 0.4 < float(kept.all(1).double().mean()) < 0.6
    assert torch.equal(branch[kept.all(1)], 2 * x[kept.all(1)])


def test_block_masks_keys():
    block = drawn(nn.NeighborhoodTransformerBlock(8, 2, 3, rank=1))
    x = torch.randn(1, 9, 8)
    mask = torch.ones(1, 9, dtype=torch.bool)
    mask[0, 4] = False
    other = x.clone()
    other[0, 4] += 1
    found, changed = block(x, mask), block(other, mask)
    keep = [i for i in range(9) if i != 4]
    assert torch.equal(found[:, keep], changed[:, keep])


# ---- errors ----------------------------------------------------------------------------------------------------------

WRONG = [
    (dict(embed_dim=16, num_heads=3, kernel_size=3), "num_heads=3: must divide embed_dim=16"),
    (dict(embed_dim=16, num_heads=0, kernel_size=3), "num_heads=0: must be at least 1"),
    (dict(embed_dim=16, num_heads=4, kernel_size=3, num_heads_kv=3), "num_heads_kv=3: must divide num_heads=4"),
    (dict(embed_dim=16, num_heads=4, kernel_size=(3, 0)), r"kernel_size\[1\]=0: must be at least 1"),
    (dict(embed_dim=16, num_heads=4, kernel_size=3, stride=4), r"stride\[0\]=4: must be at most kernel_size\[0\]=3"),
    (dict(embed_dim=16, num_heads=4, kernel_size=(3, 3, 3)), r"kernel_size=\(3, 3, 3\): has 3 values, but the grid"),
    (dict(embed_dim=16, num_heads=4, kernel_size=3, boundary="wrap", is_causal=True), r"is_causal\[0\]=1"),
    (dict(embed_dim=16, num_heads=4, kernel_size=3, boundary="edge"), "boundary='edge': must be one of"),
    (dict(embed_dim=16, num_heads=4, kernel_size=3, proj_drop=1.0), "proj_drop=1.0: must be at least 0 and below 1"),
    (dict(embed_dim=16, num_heads=4, kernel_size=3, attn_drop=-0.1), "attn_drop=-0.1: must be at least 0 and below 1"),
    (dict(embed_dim=16, num_heads=4, kernel_size=3, attn_drop=float("nan")), "attn_drop=nan: must be at least 0"),
    (dict(embed_dim=16, num_heads=4, kernel_size=3, qk_norm="batch"), "qk_norm='batch': must be False, True, 'layer'"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_settings_are_refused_when_made(arguments, message):
    with pytest.raises(nearfield.ArgumentError, match=message):
        nn.NeighborhoodAttention2D(**arguments)


@pytest.mark.parametrize("value", [True, 2.0, "4"])
def test_wrong_types_are_refused(value):
    with pytest.raises(TypeError, match="num_heads="):
        nn.NeighborhoodAttention2D(16, value, 3)
    with pytest.raises(TypeError, match="kernel_size="):
        nn.NeighborhoodAttention2D(16, 4, value)


def test_wrong_inputs_are_refused():
    layer = nn.NeighborhoodAttention2D(16, 4, 3)
    for shape in ((2, 5, 16), (2, 5, 6, 8), (2, 4, 5, 6, 16)):
        with pytest.raises(nearfield.ArgumentError, match=r"x: shape \(2, .*\): must be \(batch, height, width, 16\)"):
            layer(torch.zeros(shape))


def test_block_needs_a_rank():
    with pytest.raises(nearfield.ArgumentError, match="rank=None: must be 1, 2 or 3"):
        nn.NeighborhoodTransformerBlock(16, 4, 3)
    with pytest.raises(nearfield.ArgumentError, match="rank=4: must be 1, 2 or 3"):
        nn.NeighborhoodTransformerBlock(16, 4, 3, rank=4)
    with pytest.raises(nearfield.ArgumentError, match="drop_path=1: must be at least 0 and below 1"):
        nn.NeighborhoodTransformerBlock(16, 4, 3, rank=2, drop_path=1)
    assert nn.NeighborhoodTransformerBlock(16, 4, 3, dilation=(1, 2, 1)).attn.rank == 3
