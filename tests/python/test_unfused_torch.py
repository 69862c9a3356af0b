"""qk, av and the weights of attend in torch: values, derivatives of every order, transformations, what is refused."""

import warnings

import pytest
import unfused_problems
from drawn_patterns import KINDS
from unfused_problems import ATTEND, AV, QK

torch = pytest.importorskip("torch")

import nearfield as nf  # noqa: E402
from torch.library import opcheck  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

F64 = torch.float64
OPERATORS = torch.ops.nearfield


def normal(*shape, dtype=F64, requires_grad=True, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype).requires_grad_(requires_grad)


def tensors_of(problem, dtype=F64, requires_grad=False):
    """The problem's arrays as tensors, by name."""
    found = {name: torch.tensor(array) for name, array in problem.arrays.items()}
    return {
        name: each if name == "key_mask" else each.to(dtype).requires_grad_(requires_grad)
        for name, each in found.items()
    }


def finite(tensor):
    """Hidden slots, and the logsumexp of queries that see nothing, as 0."""
    return torch.where(tensor == -torch.inf, 0, tensor)


def functions(problem, tensors):
    """name: (function of floating-point tensors, these), for each of the operators."""

    def prepared(names, run):
        own = [name for name in names if name in tensors and name != "key_mask" and tensors[name].numel()]

        def function(*changed):
            given = {name: tensors.get(name) for name in names} | dict(zip(own, changed, strict=True))
            return run(**given)

        return function, tuple(tensors[name] for name in own)

    def attend(**given):
        out, lse, weights = nf.attend(
            problem.pattern, scale=problem.scale, return_lse=True, return_weights=True, **given
        )
        return out, finite(lse), weights

    return {
        "qk": prepared(QK, lambda **given: finite(nf.qk(problem.pattern, scale=problem.scale, **given))),
        "av": prepared(AV, lambda **given: nf.av(problem.pattern, **given)),
        "attend": prepared(ATTEND, attend),
    }


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_torch_and_numpy_agree_to_the_bit(dtype):
    for seed, kind in enumerate(KINDS * 3):
        problem = unfused_problems.draw(seed, kind)
        tensors = tensors_of(problem, dtype)
        arrays = {name: each.numpy() for name, each in tensors.items()}

        def run(given, problem=problem):
            def call(function, names, **more):
                return function(problem.pattern, **{name: given.get(name) for name in names}, **more)

            wide = call(nf.qk, QK, wide=True)
            attended = call(nf.attend, ATTEND, return_lse=True, return_weights=True)
            return [call(nf.qk, QK), wide, call(nf.av, AV), *attended]

        for found, expected in zip(run(tensors), run(arrays), strict=True):
            assert found.dtype == getattr(torch, str(expected.dtype)) and (found.numpy() == expected).all(), (
                problem.about
            )


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_of_first_and_second_order(kind):
    for seed in range(2):
        problem = unfused_problems.draw(seed, kind, most_tokens=6)
        for name, (function, inputs) in functions(problem, tensors_of(problem, requires_grad=True)).items():
            about = (name, problem.about)
            assert torch.autograd.gradcheck(function, inputs, fast_mode=True), about
            assert torch.autograd.gradcheck(
                function, inputs, fast_mode=True, check_forward_ad=True, check_backward_ad=False
            ), about
            assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True, check_fwd_over_rev=True), about


def test_composition_is_the_fused_attention_and_so_are_its_gradients():
    for seed, kind in enumerate(KINDS * 3):
        problem = unfused_problems.draw(seed + 50, kind)
        tensors = tensors_of(problem, requires_grad=True)
        given = {name: tensors[name] for name in ATTEND if name in tensors}
        inputs = [each for name, each in given.items() if name != "key_mask"]
        fused, lse = nf.attend(problem.pattern, scale=problem.scale, return_lse=True, **given)
        more = {name: given[name] for name in QK if name in given}
        logits = nf.qk(problem.pattern, scale=problem.scale, **more)
        weights = nf.nn._projected.softmax(logits)
        more = {name: given[name] for name in AV if name in given}
        composed = nf.av(problem.pattern, weights, **more)
        out, own_lse, own = nf.attend(
            problem.pattern, scale=problem.scale, return_lse=True, return_weights=True, **given
        )
        for found, expected in ((composed, fused), (out, fused), (own_lse, lse), (own, weights)):
            assert torch.allclose(found, expected, rtol=0, atol=1e-12), problem.about
        upstream, from_lse, from_weights = (torch.randn_like(each) for each in (fused, lse, weights))
        for ours, theirs, given_to in (
            ((out, finite(own_lse)), (fused, finite(lse)), (upstream, from_lse)),
            ((out, own), (composed, weights), (upstream, from_weights)),
        ):
            found = torch.autograd.grad(ours, inputs, given_to, retain_graph=True)
            expected = torch.autograd.grad(theirs, inputs, given_to, retain_graph=True)
            for a, b in zip(found, expected, strict=True):
                assert torch.allclose(a, b, rtol=1e-10, atol=1e-11), problem.about


def test_what_hidden_slots_hold_is_never_read():
    pattern, x = nf.Neighborhood(3, is_causal=True), normal(1, 6, 2, 4)
    logits = nf.qk(pattern, x, x)
    poison = torch.where(logits == -torch.inf, torch.nan, torch.ones_like(logits))
    assert torch.autograd.grad(logits, x, poison)[0].isfinite().all()
    assert nf.av(pattern, poison, x).isfinite().all()
    _, weights = nf.attend(pattern, x, x, x, return_weights=True)
    assert torch.autograd.grad(weights, x, poison)[0].isfinite().all()
    mask = torch.tensor([[True, False, False, False, False, True]])
    _, lse, weights = nf.na1d(x, x, x, 3, key_mask=mask, return_lse=True, return_weights=True)
    assert not weights[0, 3].any() and (lse[0, 3] == -torch.inf).all()
    assert torch.autograd.grad(weights.square().sum(), x)[0].isfinite().all()


def composed(q, k, v, bias, more_keys, more_values):
    """A softmax of one's own, with a mask."""
    mask = (q[..., 0, 0] < 1.5).detach()
    pattern = nf.Neighborhood((3, 4), dilation=(1, 2), boundary=("cut", "clamp"))
    logits = nf.qk(pattern, q, k, bias=bias, key_mask=mask, additional_keys=more_keys)
    return nf.av(pattern, logits.softmax(-1), v, key_mask=mask, additional_values=more_values).sin().sum(-1)


def pipeline(q, k, v, bias, more_keys, more_values):
    """That, and the weights of attend."""
    rest = {"bias": bias, "additional_keys": more_keys, "additional_values": more_values}
    out, weights = nf.na2d(q, k, v, (3, 4), dilation=(1, 2), return_weights=True, **rest)
    return composed(q, k, v, bias, more_keys, more_values) + out.cos().sum(-1) + weights.square().sum(-1)


def inputs(height=5, width=9, seed=0):
    shapes = [(2, height, width, 4, 6), (2, height, width, 2, 6), (2, height, width, 2, 3), (4, 5, 7)]
    shapes += [(2, 2, 2, 6), (2, 2, 2, 3)]
    return [normal(*shape, seed=seed + i) for i, shape in enumerate(shapes)]


def test_compile_whole_with_dynamic_shapes():
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*lru_cache.*")
        compiled = torch.compile(composed, fullgraph=True, dynamic=True, backend="aot_eager")
        for height, width in ((5, 9), (8, 6)):
            tensors = inputs(height, width)
            expected, found = composed(*tensors), compiled(*tensors)
            assert torch.allclose(found, expected, atol=1e-12)
            ours, theirs = (torch.autograd.grad(each.sum(), tensors) for each in (found, expected))
            assert all(torch.allclose(a, b, atol=1e-11) for a, b in zip(ours, theirs, strict=True))


def test_vmap_and_functional_derivatives():
    tensors = inputs()
    stacked = [torch.stack([each, each.flip(1), 2 * each]).detach() for each in tensors]
    for places in ((0,) * 6, (0, 0, 0, None, 0, 0), (None, 0, None, None, None, 0), (0, None, None, 0, None, None)):
        chosen = [s if place == 0 else s[0] for s, place in zip(stacked, places, strict=True)]

        def total(*x):
            return pipeline(*x).sum()

        found = torch.func.vmap(pipeline, in_dims=places)(*chosen)
        gradients = torch.func.vmap(torch.func.grad(total, argnums=tuple(range(6))), in_dims=places)(*chosen)
        for i in range(3):
            own = [s[i] if place == 0 else s for s, place in zip(chosen, places, strict=True)]
            assert torch.allclose(found[i], pipeline(*own), atol=1e-12), places
            for a, b in zip(gradients, torch.func.grad(total, argnums=tuple(range(6)))(*own), strict=True):
                assert torch.allclose(a[i], b, atol=1e-11), places
    x = normal(1, 3, 1, 2, requires_grad=False)

    def own(y):
        out, weights = nf.na1d(y, y, y, 3, return_weights=True)
        return (out.sin().sum() + weights.square().sum() + nf.qk(nf.Neighborhood(3), y, y).sin().sum()).sum()

    forward_over_reverse = torch.func.hessian(own)(x)
    assert torch.allclose(forward_over_reverse, torch.func.jacrev(torch.func.jacrev(own))(x), atol=1e-12)


def test_operators_keep_the_rules_of_torch():
    pattern, options = list(nf.Neighborhood(3, is_causal=(True, False)).words(2)), [0, 0, 0, 0]
    q, k, v = normal(1, 4, 5, 2, 3), normal(1, 4, 5, 1, 3), normal(1, 4, 5, 1, 6)
    more, more_v, mask, bias = (
        normal(1, 2, 1, 3),
        normal(1, 2, 1, 6),
        torch.arange(20).reshape(1, 4, 5) % 3 != 1,
        normal(2, 5, 5),
    )
    w, dout = normal(1, 4, 5, 2, 11), normal(1, 4, 5, 2, 6)
    opcheck(OPERATORS.qk, (q, k, more, mask, bias, pattern, None, False, options))
    opcheck(OPERATORS.qk_backward, (w, q, k, more, mask, bias, [True, False, True, True], pattern, 0.5, options))
    opcheck(OPERATORS.av, (w, v, more_v, mask, pattern, options))
    opcheck(OPERATORS.av_backward, (dout, w, v, more_v, mask, [True, True, False], pattern, options))
    opcheck(OPERATORS.attention_weights, (q, k, v, more, more_v, mask, bias, pattern, None, options))
    narrow = [each.detach().half().movedim(1, -2).contiguous().movedim(-2, 1) for each in (q, k)]  # heads first
    opcheck(OPERATORS.qk, (*narrow, None, None, None, pattern, None, True, options))


def test_heads_first_tensors_give_heads_first_results():
    x = normal(2, 3, 5, 6, 4).movedim(1, -2)
    weights = nf.qk(nf.Neighborhood(3), x, x)
    assert weights.movedim(-2, 1).is_contiguous()
    assert nf.av(nf.Neighborhood(3), weights, x).movedim(-2, 1).is_contiguous()
    assert torch.equal(weights, nf.qk(nf.Neighborhood(3), x.contiguous(), x.contiguous()))


def test_autocast_and_mixed_types():
    q, k, v, bias, *_ = (each.detach().float() for each in inputs())
    pattern = nf.Neighborhood((3, 4))
    with torch.autocast("cpu", torch.bfloat16):
        logits = nf.qk(pattern, q, k, bias=bias)
        out = nf.av(pattern, logits.float().softmax(-1), v)
        attended, weights = nf.attend(pattern, q, k, v, return_weights=True)
        assert logits.dtype == out.dtype == attended.dtype == torch.bfloat16 and weights.dtype == torch.float32
    narrow = [each.bfloat16() for each in (q, k, v)]
    assert torch.equal(logits, nf.qk(pattern, *narrow[:2], bias=bias))
    expected = nf.attend(pattern, *(each.double() for each in narrow), return_weights=True)
    for found, right in zip((attended, weights), expected, strict=True):
        assert float((found.double() - right).abs().max()) <= 2e-2
    q, k, v = (each.requires_grad_() for each in narrow)
    w = nf.qk(pattern, q, k, wide=True).softmax(-1)
    nf.av(pattern, w, v).float().square().sum().backward()
    assert w.dtype == torch.float32 and q.grad.dtype == v.grad.dtype == torch.bfloat16


def test_flops_are_those_of_the_products():
    q, k, v, *_ = inputs()
    pairs = 2 * 4 * 5 * 9 * 9  # batch, heads, tokens, window
    with FlopCounterMode(display=False) as counter:
        weights = nf.qk(nf.Neighborhood(3), q, k)
        assert counter.get_total_flops() == 2 * pairs * 6
        out = nf.av(nf.Neighborhood(3), weights, v)
        assert counter.get_total_flops() == 2 * pairs * (6 + 3)
        out.sum().backward()
        assert counter.get_total_flops() == 3 * 2 * pairs * (6 + 3)


def test_export():
    class Module(torch.nn.Module):
        def forward(self, q, k, v):
            return nf.av(nf.Neighborhood(3), nf.qk(nf.Neighborhood(3), q, k).softmax(-1), v)

    q, k, v, *_ = (each.detach() for each in inputs())
    program = torch.export.export(Module(), (q, k, v))
    assert torch.equal(program.module()(q, k, v), Module()(q, k, v))


def test_what_is_refused():
    x, w, pattern = torch.ones(1, 6, 2, 4), torch.ones(1, 6, 2, 3), nf.Neighborhood(3)
    for call, error, message in (
        (lambda: nf.qk(pattern, x.to_sparse(), x), TypeError, "query: layout torch.sparse_coo: must be strided"),
        (lambda: nf.qk(pattern, x.int(), x), TypeError, "query: dtype torch.int32: must be float64"),
        (lambda: nf.qk(pattern, x, x.numpy()), TypeError, "key: is a numpy.ndarray: must be a torch.Tensor, as query"),
        (lambda: nf.qk(pattern, x, x[:, :, :, :3]), nf.ArgumentError, r"key.sizes\[3\]=3 \(head_dim\): must be 4"),
        (lambda: nf.av(pattern, w[..., :2], x), nf.ArgumentError, r"weights.sizes\[3\]=2 \(slots\): must be 3"),
        (lambda: nf.av(pattern, w.bool(), x), (TypeError, nf.ArgumentError), "weights"),
        (lambda: nf.av(pattern, w, x, key_mask=x[..., 0, 0]), nf.ArgumentError, "key_mask.dtype=float32: must be bool"),
        (lambda: nf.qk(nf.Neighborhood(1 << 40), x, x), MemoryError, "this machine has"),
        (
            lambda: nf.attend(pattern, x, x, x, return_weights=True, engine="block_sparse"),
            nf.UnsupportedError,
            "engine",
        ),
        (lambda: torch.compile(nf.qk, backend="eager")(nf.SphereGlobal((2, 6)), x[:, None], x), Exception, "sphere"),
    ):
        with pytest.raises(error, match=message):
            call()
    assert nf.qk(pattern, x.to("meta"), x.to("meta")).shape == (1, 6, 2, 3)
