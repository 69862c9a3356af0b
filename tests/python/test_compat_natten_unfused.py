"""nearfield.compat.natten: the functions with explicit weights, called as programs write them, against the definition."""

import definition
import definition_weights
import literal
import numpy as np
import pytest

torch = pytest.importorskip("torch")

import nearfield  # noqa: E402
from nearfield.compat import natten  # noqa: E402
from nearfield.compat.natten import functional  # noqa: E402

TIGHT = 1e-11

# name of the logits' function, how it is called; the same of the sum's; grid, kernel_size, dilation, whether there is a bias
ROWS = [
    ("natten2dqkrpb", lambda f, q, k, b: f(q, k, b, 7, 2), "natten2dav", lambda f, a, v: f(a, v, 7, 2), (15, 14), 7, 2, True),
    ("natten2dqk", lambda f, q, k, b: f(q, k, 7, 1), "natten2dav", lambda f, a, v: f(a, v, 7, 1), (8, 7), 7, 1, False),
    ("natten1dqkrpb", lambda f, q, k, b: f(q, k, b, 7, 2), "natten1dav", lambda f, a, v: f(a, v, 7, 2), (15,), 7, 2, True),
    (
        "natten1dqk", lambda f, q, k, b: f(q, k, kernel_size=7, dilation=1),
        "natten1dav", lambda f, a, v: f(a, v, kernel_size=7, dilation=1), (9,), 7, 1, False,
    ),
    (
        "natten3dqkrpb", lambda f, q, k, b: f(q, k, b, 3, 5, 1, 2), "natten3dav", lambda f, a, v: f(a, v, 3, 5, 1, 2),
        (3, 10, 11), (3, 5, 5), (1, 2, 2), True,
    ),
    (
        "natten3dqk", lambda f, q, k, b: f(q, k, 3, 5, 1, 1), "natten3dav", lambda f, a, v: f(a, v, 3, 5, 1, 1),
        (4, 5, 6), (3, 5, 5), 1, False,
    ),
    (
        "na1d_qk", lambda f, q, k, b: f(q, k, kernel_size=7, dilation=1),
        "na1d_av", lambda f, a, v: f(a, v, kernel_size=7, dilation=1), (11,), 7, 1, False,
    ),
    ("na2d_qk", lambda f, q, k, b: f(q, k, 7), "na2d_av", lambda f, a, v: f(a, v, 7), (7, 8), 7, 1, False),
    (
        "na2d_qk", lambda f, q, k, b: f(q, k, kernel_size=7, dilation=2, rpb=b),
        "na2d_av", lambda f, a, v: f(a, v, kernel_size=7, dilation=2), (14, 15), 7, 2, True,
    ),
    (
        "na2d_qk", lambda f, q, k, b: f(q, k, kernel_size=(3, 5), dilation=(2, 3)),
        "na2d_av", lambda f, a, v: f(a, v, kernel_size=(3, 5), dilation=(2, 3)), (7, 16), (3, 5), (2, 3), False,
    ),
    (
        "na3d_qk", lambda f, q, k, b: f(q, k, kernel_size=(3, 5, 5), dilation=1),
        "na3d_av", lambda f, a, v: f(a, v, kernel_size=(3, 5, 5), dilation=1), (4, 5, 6), (3, 5, 5), 1, False,
    ),
    ("na1d_qk_with_bias", lambda f, q, k, b: f(q, k, b, 7, 1), "na1d_av", lambda f, a, v: f(a, v, 7, 1), (9,), 7, 1, True),
    ("na2d_qk_with_bias", lambda f, q, k, b: f(q, k, b, 7, 1), "na2d_av", lambda f, a, v: f(a, v, 7, 1), (8, 7), 7, 1, True),
    (
        "na3d_qk_with_bias", lambda f, q, k, b: f(q, k, b, 3, 5, 1, 1), "na3d_av", lambda f, a, v: f(a, v, 3, 5, 1, 1),
        (3, 5, 6), (3, 5, 5), 1, True,
    ),
]  # fmt: skip


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(20240608)


def each(value, rank):
    return value if isinstance(value, tuple) else (value,) * rank


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_calls_as_they_are_written(row):
    qk_name, qk, av_name, av, grid, kernel_size, dilation, biased = row
    rank = len(grid)
    kernel_size, dilation = each(kernel_size, rank), each(dilation, rank)
    q, k, v = (torch.randn(2, 2, *grid, d, dtype=torch.float64, requires_grad=True) for d in (4, 4, 3))
    bias = (
        torch.randn(2, *(2 * n - 1 for n in kernel_size), dtype=torch.float64, requires_grad=True) if biased else None
    )
    attn = qk(getattr(functional, qk_name), q, k, bias)
    assert attn.shape == (2, 2, *grid, int(np.prod(kernel_size))) and attn.is_contiguous()
    axes = [definition.Axis(n, size, 1, d) for n, size, d in zip(grid, kernel_size, dilation, strict=True)]
    arrays = {"query": q.detach().movedim(1, -2).numpy(), "key": k.detach().movedim(1, -2).numpy()}
    if biased:
        arrays["bias"] = bias.detach().numpy()
    expected = torch.from_numpy(definition_weights.qk(axes, arrays, 1.0)).movedim(-2, 1)
    assert literal.error(attn, expected) <= TIGHT
    out = av(getattr(functional, av_name), attn.softmax(-1), v)
    right, _ = literal.attention(
        *(x.movedim(1, -2) for x in (q, k, v)), kernel_size, dilation=dilation, rpb=bias, scale=1.0
    )
    right = right.movedim(-2, 1)
    assert literal.error(out, right) <= TIGHT
    inputs = [q, k, v] + ([bias] if biased else [])
    upstream = torch.randn_like(right)
    ours, theirs = (torch.autograd.grad(x, inputs, upstream) for x in (out, right))
    for a, b in zip(ours, theirs, strict=True):
        assert literal.error(a, b) <= 10 * TIGHT * (1 + float(b.abs().max()))


def test_every_function_is_there():
    for name in [row[0] for row in ROWS] + [row[2] for row in ROWS]:
        function = getattr(functional, name)
        assert function.__name__ == name and name in functional.__all__ and "Parameters" in function.__doc__


def test_causal_windows_and_additional_tokens():
    q, k, v = (torch.randn(1, 2, 6, 7, 4) for _ in range(3))
    more, more_v = (torch.randn(1, 2, 3, 4) for _ in range(2))
    causal = (True, False)
    attn = functional.na2d_qk(q, k, 3, 2, additional_keys=more, is_causal=causal)
    assert attn.shape[-1] == 12 and (attn[..., :9] == -torch.inf).any() and attn[..., 9:].isfinite().all()
    out = functional.na2d_av(attn.softmax(-1), v, 3, 2, additional_values=more_v, is_causal=causal)
    rest = {"additional_keys": more.transpose(1, 2), "additional_values": more_v.transpose(1, 2)}
    expected = natten.na2d(
        *(x.movedim(1, -2) for x in (q, k, v)), 3, stride=1, dilation=2, is_causal=causal, scale=1.0, **rest
    )
    assert torch.allclose(out.movedim(1, -2), expected, atol=1e-5)


def test_a_float32_bias_under_autocast():
    q, k, rpb = torch.randn(1, 2, 7, 7, 4), torch.randn(1, 2, 7, 7, 4), torch.randn(2, 5, 5)
    with torch.autocast("cpu", torch.bfloat16):
        attn = functional.na2d_qk(q, k, 3, rpb=rpb)
        out = functional.na2d_av(attn.softmax(-1), q, 3)
    assert attn.dtype == out.dtype == torch.bfloat16
    expected = functional.na2d_qk(q.double(), k.double(), 3, rpb=rpb.double())
    assert float((attn - expected).abs().max()) <= 0.2


def test_compile():
    q, k, v = (torch.randn(1, 2, 6, 5, 4) for _ in range(3))

    def function(q, k, v):
        return functional.natten2dav(functional.natten2dqk(q, k, 3, 1).softmax(-1), v, 3, 1)

    compiled = torch.compile(function, fullgraph=True, backend="eager")
    assert torch.equal(compiled(q, k, v), function(q, k, v))


def test_fvcore_counts_them():
    class Counter:
        def set_op_handle(self, **handles):
            self.handles = handles
            return self

    class Module(torch.nn.Module):
        def forward(self, q, v):
            return functional.na1d_av(functional.na1d_qk(q, q, 3), v, 3)

    q, v = torch.randn(1, 2, 6, 4), torch.randn(1, 2, 6, 5)
    handles = natten.flops.add_natten_handle(Counter()).handles
    graph = torch.jit.trace(Module(), (q, v), check_trace=False).inlined_graph
    found = {
        node.kind(): handles[node.kind()](list(node.inputs()), list(node.outputs()))
        for node in graph.nodes()
        if node.kind() in handles
    }
    assert found == {"nearfield::qk": 2 * 6 * 3 * 4, "nearfield::av": 2 * 6 * 3 * 5}


def test_what_is_refused():
    x, attn = torch.ones(1, 2, 8, 8, 4), torch.ones(1, 2, 8, 8, 9)
    for call, error, message in (
        (
            lambda: functional.na2d_qk(x[0], x[0], 3),
            ValueError,
            r"query: shape \(2, 8, 8, 4\): has 4 dimensions, na2d_qk",
        ),
        (lambda: functional.na2d_qk(x, x[0], 3), ValueError, r"key: shape \(2, 8, 8, 4\): must have 5 dimensions"),
        (
            lambda: functional.na2d_qk(x, x, 5, 2),
            ValueError,
            r"kernel_size\[0\]=5: times dilation\[0\]=2 must be at most",
        ),
        (lambda: functional.na2d_qk(x, x), TypeError, "na2d_qk: kernel_size: must be given"),
        (lambda: functional.na2d_qk(x, x, 3, stride=2), TypeError, "na2d_qk: stride: no release of NATTEN"),
        (lambda: functional.na2d_av(attn, x, 5), ValueError, r"weights.sizes\[4\]=9 \(slots\): must be 25"),
        (lambda: functional.na2d_av(attn, x[0], 3), ValueError, "value: shape"),
        (lambda: functional.natten3dqk(x, x, 3, 5), ValueError, "query: shape .*, natten3dqk takes 6"),
        (lambda: functional.natten2dqkrpb(x, x, x.numpy(), 3, 1), TypeError, "rpb: is a numpy.ndarray"),
        (lambda: functional.natten2dqkrpb(x, x, torch.ones(2, 3, 3), 3, 1), ValueError, r"bias.sizes\[1\]=3"),
        (lambda: functional.na2d_qk(x, x, 3, additional_keys=x), ValueError, "additional_keys: shape"),
    ):
        with pytest.raises(error, match=message):
            call()
    assert issubclass(nearfield.ArgumentError, ValueError)
