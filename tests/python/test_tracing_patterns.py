"""Windows and patterns along curves under everything that looks on at torch: compile, export, functorch, modes."""

import pytest

torch = pytest.importorskip("torch")

import nearfield as nf  # noqa: E402

PATTERNS = (
    nf.Window((3, 4), shift=(1, 2)),
    nf.Slide(3),
    nf.HilbertWindow(3),
    nf.HilbertShiftedWindow(2, order="morton"),
    nf.HilbertSlide(9, dilation=2, order="serpentine"),
    nf.HilbertNeighborhood(7, stride=2, is_causal=True),
)
every_pattern = pytest.mark.parametrize("pattern", PATTERNS, ids=repr)


@pytest.fixture(autouse=True)
def fresh_dynamo():
    torch._dynamo.reset()


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def inputs(height=6, width=5, dtype=torch.float32):
    return [normal(2, height, width, 4, 8, seed=i, dtype=dtype) for i in range(3)]


def gradients(function, *tensors):
    leaves = [each.detach().clone().requires_grad_() for each in tensors]
    out = function(*leaves)
    return out, torch.autograd.grad(out.pow(2).sum(), leaves)


def close(found, expected):
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(found, expected, strict=True))


def bias_for(pattern, grid, heads=4):
    return normal(heads, *(2 * e - 1 for e in nf.bias_extents(pattern, grid)), seed=9)


@every_pattern
def test_compile_whole_with_dynamic_shapes(pattern):
    def function(q, k, v):
        return nf.attend(pattern, q, k, v, softcap=2.0)

    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    for height, width in ((6, 5), (9, 7)):
        tensors = inputs(height, width)
        (out, found), (expected, right) = gradients(compiled, *tensors), gradients(function, *tensors)
        assert torch.equal(out, expected) and close(found, right)


def test_compile_patterns_that_are_made_inside():
    def function(q, k, v):
        side = max(1, min(4, q.shape[1] // 3))
        first = nf.attend(nf.HilbertWindow(side, order="morton"), q, k, v)
        return nf.attend(nf.Window((side, 2), shift=(0, 1)), first, k, v)

    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    for height, width in ((6, 5), (9, 7)):
        assert torch.equal(compiled(*inputs(height, width)), function(*inputs(height, width)))


@every_pattern
def test_compile_with_bias_and_logsumexp(pattern):
    bias, mask = bias_for(pattern, (6, 5)), normal(2, 6, 5) > -0.5

    def function(q, k, v, bias):
        out, lse = nf.attend(pattern, q, k, v, bias=bias, key_mask=mask, return_lse=True)
        return out.sum(-1) + torch.where(torch.isfinite(lse), lse, 0)

    tensors = (*inputs(), bias)
    found = gradients(torch.compile(function, fullgraph=True, backend="aot_eager"), *tensors)
    expected = gradients(function, *tensors)
    assert torch.equal(found[0], expected[0]) and close(found[1], expected[1])


def test_compile_with_inductor():
    def function(q, k, v):
        return torch.relu(nf.attend(nf.HilbertWindow(3), q * 2, k, v)) + 1

    found, expected = gradients(torch.compile(function, fullgraph=True), *inputs()), gradients(function, *inputs())
    assert close(found[:1], expected[:1]) and close(found[1], expected[1])


class Module(torch.nn.Module):
    """Something to export."""

    def forward(self, q, k, v):
        return nf.attend(nf.HilbertSlide(9), q, k, v) + nf.attend(nf.Window(3), q, k, v)


def test_export_with_a_dynamic_dimension(tmp_path):
    height = torch.export.Dim("height", min=4, max=100)
    exported = torch.export.export(Module(), tuple(inputs()), dynamic_shapes=({1: height},) * 3)
    torch.export.save(exported, tmp_path / "attention.pt2")
    loaded = torch.export.load(tmp_path / "attention.pt2").module()
    tensors = inputs(11)
    assert torch.equal(loaded(*tensors), Module()(*tensors))


@every_pattern
def test_vmap_of_values_and_gradients(pattern):
    q, k, v = inputs()
    bias = bias_for(pattern, (6, 5))
    many = torch.stack([q, 2 * q, q + 0.5])

    def function(q):
        return nf.attend(pattern, q, k, v, bias=bias)

    def slope(q):
        return torch.func.grad(lambda q: function(q).pow(2).sum())(q)

    assert torch.equal(torch.func.vmap(function)(many), torch.stack([function(each) for each in many]))
    assert close(torch.func.vmap(slope)(many), [slope(each) for each in many])


@every_pattern
def test_functional_second_derivatives_agree_with_autograd(pattern):
    q, k, v = (each[:1, :3, :2, :1, :2].contiguous() for each in inputs(dtype=torch.float64))
    bias = bias_for(pattern, (3, 2), 1).double()

    def total(q):
        return nf.attend(pattern, q, k, v, bias=bias).pow(3).sum()

    found = torch.func.hessian(total)(q)
    leaf = q.clone().requires_grad_()
    (slope,) = torch.autograd.grad(total(leaf), leaf, create_graph=True)
    expected = torch.stack([torch.autograd.grad(each, leaf, retain_graph=True)[0] for each in slope.flatten()])
    assert torch.allclose(found.reshape(expected.shape), expected, atol=1e-10)
    _, tangent = torch.func.jvp(total, (q,), (torch.ones_like(q),))
    assert torch.allclose(tangent, slope.sum(), atol=1e-10)


@every_pattern
def test_opcheck_of_both_operators(pattern):
    q, k, v = (each.requires_grad_() for each in inputs())
    settings = (list(pattern.words(2)), None, 0.0, [0, 0, 0, 0])
    modifiers = (None, None, None, None, bias_for(pattern, (6, 5)).requires_grad_())
    torch.library.opcheck(torch.ops.nearfield.attention, (q, k, v, *modifiers, *settings))
    with torch.no_grad():
        out, lse = torch.ops.nearfield.attention(q, k, v, *modifiers, *settings)
    detached = [each.detach() for each in (torch.ones_like(out), lse, q, k, v, out, lse)]
    modifiers = (*modifiers[:4], modifiers[4].detach())
    torch.library.opcheck(torch.ops.nearfield.attention_backward, (*detached, [True] * 7, *modifiers, *settings))


@every_pattern
def test_meta_and_fake_tensors_have_the_right_shapes(pattern):
    from torch._subclasses.fake_tensor import FakeTensorMode

    q, k, v = inputs()
    out, lse = nf.attend(pattern, *(each.to("meta") for each in (q, k, v[..., :3])), return_lse=True)
    assert out.is_meta and out.shape == (2, 6, 5, 4, 3) and lse.shape == (2, 6, 5, 4)
    with FakeTensorMode() as mode:
        fakes = [mode.from_tensor(each) for each in (q, k, v)]
        assert nf.attend(pattern, *fakes).shape == q.shape
    explained = nf.explain(pattern, *(each.to("meta") for each in (q, k, v)))
    assert explained.engine == "cpu" and len(explained.tile) == len(explained.step) == 2


@every_pattern
def test_the_flop_counter_counts_the_pairs(pattern):
    from torch.utils.flop_counter import FlopCounterMode

    q, k, v = (each.requires_grad_() for each in inputs())
    pairs = 2 * 4 * int((nf.geometry.windows(pattern, (6, 5)).keys >= 0).sum())
    with FlopCounterMode(display=False) as counter:
        out = nf.attend(pattern, q, k, v)
    assert counter.get_total_flops() == 2 * pairs * (8 + 8)
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    assert counter.get_total_flops() == 2 * pairs * (3 * 8 + 2 * 8)


@every_pattern
def test_autocast_computes_in_its_dtype(pattern):
    q, k, v = (each.requires_grad_() for each in inputs())
    bias = bias_for(pattern, (6, 5)).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = nf.attend(pattern, q, k, v, bias=bias)
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert q.grad.dtype == bias.grad.dtype == torch.float32
    assert torch.allclose(out.float(), nf.attend(pattern, q, k, v, bias=bias), atol=5e-2)
