"""The torch face under everything that looks on: compile, export, functorch, dispatch modes, fake and meta tensors."""

import subprocess
import sys
import warnings

import pytest

torch = pytest.importorskip("torch")

import nearfield as nf  # noqa: E402

N = None


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


PATTERN = nf.Neighborhood(3, boundary=("clamp", "wrap"))
FUNCTIONS = {
    "na2d": lambda q, k, v: nf.na2d(q, k, v, kernel_size=3),
    "attend": lambda q, k, v: nf.attend(PATTERN, q, k, v, softcap=2.0),
    "list": lambda q, k, v: nf.na2d(q, k, v, kernel_size=[3, 5], dilation=[1, 2]),
    "window of the shape": lambda q, k, v: nf.na2d(q, k, v, kernel_size=(max(1, min(7, q.shape[1])), 3)),
    "options": lambda q, k, v: nf.na2d(q, k, v, 3, kernel="tile", num_threads=1, scale=0.3),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_compile_whole_with_dynamic_shapes(name):
    function = FUNCTIONS[name]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*lru_cache.*")
        compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
        for height, width in ((6, 5), (9, 7), (12, 5)):
            tensors = inputs(height, width)
            expected, expected_gradients = gradients(function, *tensors)
            out, found = gradients(compiled, *tensors)
            assert torch.equal(out, expected)
            for a, b in zip(found, expected_gradients, strict=True):
                assert torch.allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_first_call_of_all_may_be_a_compiled_one():
    program = """if True:
        import torch, nearfield as nf
        x = torch.ones(1, 6, 5, 2, 4)
        compiled = torch.compile(lambda x: nf.na2d(x, x, x, 3), fullgraph=True, backend="aot_eager")
        print((compiled(x) == x).all().item())
    """
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.stdout == "True\n", run.stderr[-2000:]


def test_compile_with_modifiers_and_logsumexp():
    bias, weights, mask = normal(4, 5, 5), normal(6, 5).abs(), normal(2, 6, 5) > -0.5
    more = [normal(2, 3, 4, 8, seed=i) for i in (7, 8)]

    def function(q, k, v, bias, weights, a, b):
        out, lse = nf.na2d(
            q, k, v, 3, bias=bias, key_weights=weights, key_mask=mask, additional_keys=a, additional_values=b,
            return_lse=True,
        )  # fmt: skip
        return out.sum(-1) + lse

    tensors = (*inputs(), bias, weights, *more)
    expected = gradients(function, *tensors)
    found = gradients(torch.compile(function, fullgraph=True, backend="aot_eager"), *tensors)
    assert torch.equal(found[0], expected[0])
    for a, b in zip(found[1], expected[1], strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def test_compile_with_inductor():
    def function(q, k, v):
        return torch.relu(nf.na2d(q * 2, k, v, 3)) + 1

    tensors = inputs()
    out, found = gradients(torch.compile(function, fullgraph=True), *tensors)
    expected, right = gradients(function, *tensors)
    assert torch.allclose(out, expected, atol=1e-6)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, right, strict=True))


def test_merge_and_compile():
    def function(q, k, v):
        return nf.merge(*zip(*(nf.na2d(q, k, v, size, return_lse=True) for size in (1, 3)), strict=True))[0]

    tensors = inputs()
    found = torch.compile(function, fullgraph=True, backend="aot_eager")(*tensors)
    assert torch.allclose(found, function(*tensors), atol=1e-6)


class Module(torch.nn.Module):
    """Something to export."""

    def forward(self, q, k, v):
        return nf.na2d(q, k, v, kernel_size=3, dilation=(1, 2))


def test_export_with_a_dynamic_dimension(tmp_path):
    height = torch.export.Dim("height", min=4, max=100)
    exported = torch.export.export(Module(), tuple(inputs()), dynamic_shapes=({1: height},) * 3)
    torch.export.save(exported, tmp_path / "attention.pt2")
    loaded = torch.export.load(tmp_path / "attention.pt2").module()
    tensors = inputs(11)
    assert torch.equal(loaded(*tensors), Module()(*tensors))


def test_functional_gradients_agree_with_autograd():
    q, k, v = inputs()
    _, expected = gradients(FUNCTIONS["na2d"], q, k, v)
    found = torch.func.grad(lambda *t: FUNCTIONS["na2d"](*t).pow(2).sum(), argnums=(0, 1, 2))(q, k, v)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_functional_second_derivatives_agree_with_autograd():
    q, k, v = (each[:, :3, :2, :1, :3].contiguous() for each in inputs(dtype=torch.float64))

    def total(q):
        return nf.na2d(q, k, v, 3).pow(3).sum()

    found = torch.func.hessian(total)(q)
    leaf = q.clone().requires_grad_()
    (slope,) = torch.autograd.grad(total(leaf), leaf, create_graph=True)
    expected = torch.stack([torch.autograd.grad(each, leaf, retain_graph=True)[0] for each in slope.flatten()])
    assert torch.allclose(found.reshape(expected.shape), expected, atol=1e-10)
    _, tangent = torch.func.jvp(total, (q,), (torch.ones_like(q),))
    assert torch.allclose(tangent, slope.sum(), atol=1e-10)


def per_index(function, dims, arguments, size):
    """What vmap should give: the function on each index."""
    found = []
    for i in range(size):
        chosen = [a if dim is None else a.select(dim, i) for a, dim in zip(arguments, dims, strict=True)]
        found.append(function(*chosen))
    return (
        torch.stack(found)
        if isinstance(found[0], torch.Tensor)
        else [torch.stack(x) for x in zip(*found, strict=False)]
    )


@pytest.mark.parametrize(
    "dims",
    [(0, N, N, N, N), (0, 1, 3, N, N), (N, N, N, 0, N), (N, N, N, N, 0), (2, N, 0, 0, 0)],
    ids=str,
)
def test_vmap_of_values_and_gradients(dims):
    q, k, v = inputs()
    mask = normal(2, 6, 5) > -0.8
    tensors = [q, k, v, normal(6, 5).abs() + 0.1, normal(4, 5, 5)]
    arguments = [
        each if dim is None else torch.stack([each, each * 2, each + 0.5], dim)
        for each, dim in zip(tensors, dims, strict=True)
    ]

    def function(q, k, v, weights, bias):
        return nf.na2d(q, k, v, 3, key_weights=weights, bias=bias, key_mask=mask)

    def slopes(*tensors):
        return torch.func.grad(lambda *t: function(*t).pow(2).sum(), argnums=(0, 1, 2, 3, 4))(*tensors)

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*batching rule.*")
        found = torch.func.vmap(function, in_dims=dims)(*arguments)
        assert torch.equal(found, per_index(function, dims, arguments, 3))
        found = torch.func.vmap(slopes, in_dims=dims)(*arguments)
    for a, b in zip(found, per_index(slopes, dims, arguments, 3), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def test_nested_vmap():
    q, k, v = inputs()
    many = torch.stack([torch.stack([q, 2 * q]), torch.stack([q + 1, -q]), torch.stack([q, q])])
    found = torch.func.vmap(torch.func.vmap(lambda q: nf.na2d(q, k, v, 3)))(many)
    for i in range(3):
        for j in range(2):
            assert torch.equal(found[i, j], nf.na2d(many[i, j], k, v, 3))


def test_opcheck_of_both_operators():
    q, k, v = (each.requires_grad_() for each in inputs())
    bias, weights = normal(4, 5, 5).requires_grad_(), (normal(6, 5).abs() + 0.1).requires_grad_()
    settings = (list(nf.Neighborhood(3).words(2)), None, 0.0, [0, 0, 0, 0])
    modifiers = (None, None, normal(2, 6, 5) > 0, weights, bias)
    torch.library.opcheck(torch.ops.nearfield.attention, (q, k, v, *modifiers, *settings))
    with torch.no_grad():
        out, lse = torch.ops.nearfield.attention(q, k, v, *modifiers, *settings)
    detached = [each.detach() for each in (torch.ones_like(out), lse, q, k, v, out, lse)]
    modifiers = [each if each is None else each.detach() for each in modifiers]
    for wanted in ([True] * 7, [True, False, False, False, False, False, True]):
        torch.library.opcheck(torch.ops.nearfield.attention_backward, (*detached, wanted, *modifiers, *settings))


def channels_apart(tensor):
    """The tensor with heads and channels in the other order in memory."""
    return tensor.mT.contiguous().mT


def test_opcheck_of_tensors_whose_channels_are_apart():
    """The operators copy them, and so lay out their results otherwise than their arguments are."""
    settings = (list(nf.Neighborhood(3).words(2)), None, 0.0, [0, 0, 0, 0])
    q, k, v = (channels_apart(each) for each in inputs())
    more = [channels_apart(normal(2, 3, 4, 8, seed=i)) for i in (7, 8)]
    modifiers = (*more, None, None, None)
    torch.library.opcheck(torch.ops.nearfield.attention, (q, k, v, *modifiers, *settings))
    out, lse = torch.ops.nearfield.attention(q, k, v, *modifiers, *settings)
    arguments = (channels_apart(torch.ones_like(out)), lse, q, k, v, out, lse, [True] * 7, *modifiers, *settings)
    torch.library.opcheck(torch.ops.nearfield.attention_backward, arguments)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compile_with_tensors_whose_channels_are_apart(backend):
    function = FUNCTIONS["na2d"]
    tensors = [channels_apart(each) for each in inputs()]

    def run(function):
        leaves = [each.detach().requires_grad_() for each in tensors]
        out = function(*leaves)
        return out, torch.autograd.grad((out.transpose(1, 2) * 2).square().sum(), leaves)

    (out, found), (expected, right) = run(torch.compile(function, fullgraph=True, backend=backend)), run(function)
    assert out.stride() == expected.stride() and torch.equal(out, expected)
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(found, right, strict=True))


def test_compile_a_pattern_of_ones_own():
    class Blocks(nf.Pattern):
        """Blocks of tokens: a pattern that nearfield does not know, in its words."""

        def __init__(self, size):
            self.size = size

        def words(self, rank):
            return nf.Neighborhood(self.size, stride=self.size).words(rank)

        def rank(self):
            return None

    pattern, tensors = Blocks(3), inputs()
    expected = nf.attend(nf.Neighborhood(3, stride=3), *tensors)
    assert torch.equal(nf.attend(pattern, *tensors), expected)
    found = torch.compile(lambda *t: nf.attend(pattern, *t), fullgraph=True, backend="aot_eager")(*tensors)
    assert torch.equal(found, expected)
    with pytest.raises(TypeError, match="abstract"):
        nf.Pattern()


def test_wrong_ranks_are_refused_while_tracing():
    q, k, v = (each.to("meta") for each in inputs())
    with pytest.raises(
        nf.ArgumentError, match=r"key: shape \(2, 5, 4, 8\): must be \(batch, \*grid, heads, channels\)"
    ):
        nf.na2d(q, k[:, 0], v, 3)


def test_meta_and_fake_tensors_have_the_right_shapes():
    from torch._subclasses.fake_tensor import FakeTensorMode

    q, k, v = inputs()
    out, lse = nf.na2d(*(each.to("meta") for each in (q, k, v[..., :3])), 3, return_lse=True)
    assert out.is_meta and out.shape == (2, 6, 5, 4, 3) and lse.shape == (2, 6, 5, 4)
    with FakeTensorMode() as mode:
        fakes = [mode.from_tensor(each) for each in (q, k, v)]
        assert nf.na2d(*fakes, 3).shape == q.shape
    assert nf.explain(nf.Neighborhood(3), *(each.to("meta") for each in (q, k, v))).engine == "cpu"


def test_the_flop_counter_counts_what_is_done():
    from torch.utils.flop_counter import FlopCounterMode

    q, k, v = (each.requires_grad_() for each in inputs())
    pairs = 2 * 4 * 6 * 5 * 9
    with FlopCounterMode(display=False) as counter:
        out = nf.na2d(q, k, v, 3)
    assert counter.get_total_flops() == 2 * pairs * (8 + 8)
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    assert counter.get_total_flops() == 2 * pairs * (3 * 8 + 2 * 8)


def test_tensor_subclasses_are_dispatched():
    from torch.utils._python_dispatch import TorchDispatchMode

    class Log(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.seen = []

        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            self.seen.append(str(function))
            return function(*arguments, **(keywords or {}))

    with Log() as log:
        nf.na2d(*inputs(), 3)
    assert "nearfield.attention.default" in log.seen
