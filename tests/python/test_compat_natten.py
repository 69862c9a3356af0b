"""nearfield.compat.natten: the functions, called as programs written for NATTEN call them, against the definition."""

import warnings

import pytest

torch = pytest.importorskip("torch")

import literal  # noqa: E402
import nearfield  # noqa: E402
from nearfield.compat import natten  # noqa: E402
from nearfield.compat.natten import _hints  # noqa: E402
from nearfield.compat.natten import functional as natten_functional  # noqa: E402

TIGHT = 1e-11


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(20240608)


@pytest.fixture
def warn_anew(monkeypatch):
    """As in a process that has not warned yet."""
    monkeypatch.setattr(_hints, "_warned", set())


def tensors(*grid, heads=2, d=4, d_v=None, batch=2):
    shapes = [(batch, *grid, heads, each) for each in (d, d, d_v or d)]
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def agree(found, expected, inputs):
    """Values, and gradients of a random projection of all results."""
    if isinstance(found, torch.Tensor):
        found, expected = (found,), expected[:1]
    upstream = []
    for a, b in zip(found, expected, strict=True):
        assert literal.error(a, b) <= TIGHT
        upstream.append(torch.randn_like(b))
    ours = torch.autograd.grad(found, inputs, upstream, retain_graph=True)
    theirs = torch.autograd.grad(expected, inputs, upstream, retain_graph=True)
    for a, b in zip(ours, theirs, strict=True):
        assert literal.error(a, b) <= 10 * TIGHT * (1 + float(b.abs().max()))


# ---- calls as they are written ---------------------------------------------------------------------------------------


def test_na1d_of_017_with_dilation():
    q, k, v = tensors(17)
    found = natten_functional.na1d(q, k, v, 7, dilation=2)
    agree(found, literal.attention(q, k, v, (7,), dilation=(2,)), [q, k, v])


def test_na2d_of_017_with_scale():
    q, k, v = tensors(8, 9)
    agree(natten_functional.na2d(q, k, v, 7, scale=1.0), literal.attention(q, k, v, (7, 7), scale=1.0), [q, k, v])


def test_na2d_of_017_with_bias():
    q, k, v = tensors(8, 9)
    rpb = torch.randn(2, 13, 13, dtype=torch.float64, requires_grad=True)
    found = natten_functional.na2d(
        q, k, v, kernel_size=(7, 7), dilation=(1, 1), is_causal=(False, False), rpb=rpb, scale=0.5
    )
    agree(found, literal.attention(q, k, v, (7, 7), rpb=rpb, scale=0.5), [q, k, v, rpb])


def test_na3d_of_017():
    q, k, v = tensors(5, 7, 8)
    found = natten_functional.na3d(
        q, k, v, kernel_size=(5, 7, 7), dilation=(1, 1, 1), is_causal=(False, False, False), rpb=None
    )
    agree(found, literal.attention(q, k, v, (5, 7, 7)), [q, k, v])


def test_na3d_of_020_without_a_backend():
    q, k, v = tensors(3, 7, 8)
    found = natten_functional.na3d(q, k, v, kernel_size=(3, 7, 7), scale=1.0, backend=None)
    agree(found, literal.attention(q, k, v, (3, 7, 7), scale=1.0), [q, k, v])


def test_na1d_of_020():
    q, k, v = tensors(15)
    found = natten.na1d(q, k, v, kernel_size=7, stride=1, dilation=1, is_causal=False, torch_compile=False)
    agree(found, literal.attention(q, k, v, (7,)), [q, k, v])


@pytest.mark.filterwarnings("ignore:nearfield.compat.natten. backend")
def test_na2d_of_020_with_a_backend_and_other_channels_in_value():
    q, k, v = tensors(36, 37, heads=1, d=3, d_v=5, batch=1)
    found = natten.na2d(q, k, v, kernel_size=(9, 9), dilation=(4, 4), stride=1, backend="cutlass-fna")
    agree(found, literal.attention(q, k, v, (9, 9), dilation=(4, 4)), [q, k, v])


def test_na2d_of_020_with_stride():
    q, k, v = tensors(9, 8)
    found = natten.na2d(q, k, v, kernel_size=7, stride=2, dilation=1, is_causal=False, torch_compile=False)
    agree(found, literal.attention(q, k, v, (7, 7), stride=(2, 2)), [q, k, v])


def test_na2d_of_021_with_logsumexp():
    q, k, v = tensors(8, 9)
    found = natten.na2d(q, k, v, kernel_size=(7, 7), backend=None, return_lse=True)
    agree(found, literal.attention(q, k, v, (7, 7)), [q, k, v])


def test_na3d_of_020_with_a_causal_axis():
    q, k, v = tensors(4, 6, 5)
    found = natten.na3d(
        q, k, v, kernel_size=(3, 5, 5), stride=1, dilation=1, is_causal=(True, False, False), backend=None
    )
    agree(found, literal.attention(q, k, v, (3, 5, 5), is_causal=(True, False, False)), [q, k, v])


def test_windows_of_one_key():
    q, k, v = tensors(1, 6, 1)
    size = tuple(max(1, min(kernel, length)) for kernel, length in zip((3, 5, 5), q.shape[1:4], strict=True))
    agree(natten.na3d(q, k, v, kernel_size=size), literal.attention(q, k, v, size), [q, k, v])


@pytest.mark.parametrize("causal", [False, True])
def test_attention_of_021(causal):
    q, k, v = tensors(9, d_v=6)
    found = natten.attention(q, k, v, is_causal=causal, scale=None, backend=None, return_lse=True)
    agree(found, literal.attention(q, k, v, (9,), is_causal=(causal,)), [q, k, v])


def test_merge_attentions_of_021():
    q, k, v = tensors(11)
    near, far = (natten.na1d(q, each, v, kernel_size=5, return_lse=True) for each in (k, 2 * k))
    found = natten.merge_attentions(outputs=[near[0], far[0]], lse_tensors=[near[1], far[1]], torch_compile=False)
    parts = [literal.attention(q, each, v, (5,)) for each in (k, 2 * k)]
    lse = torch.stack([part[1] for part in parts]).logsumexp(0)
    out = sum((part[1] - lse).exp()[..., None] * part[0] for part in parts)
    agree(found, (out, lse), [q, k, v])


def test_functional_has_all_functions():
    for name in ("na1d", "na2d", "na3d", "attention", "merge_attentions"):
        assert getattr(natten_functional, name) is getattr(natten, name)


# ---- what a position means -------------------------------------------------------------------------------------------


def test_positions_of_017():
    q, k, v = tensors(9)
    rpb = torch.randn(2, 5, dtype=torch.float64)
    found = natten.na1d(q, k, v, 3, 2, (False,), rpb, 0.5)
    agree(found, literal.attention(q, k, v, (3,), dilation=(2,), rpb=rpb, scale=0.5), [q, k, v])
    agree(natten.na1d(q, k, v, 3, 2, True), literal.attention(q, k, v, (3,), dilation=(2,), is_causal=(True,)), [q, k])


def test_positions_of_020():
    q, k, v = tensors(9)
    found = natten.na1d(q, k, v, 3, 2, (2,), False, 0.5)
    agree(found, literal.attention(q, k, v, (3,), stride=(2,), dilation=(2,), scale=0.5), [q, k, v])


def test_a_name_tells_what_a_position_means():
    q, k, v = tensors(9)
    strided, dilated = literal.attention(q, k, v, (3,), stride=(2,)), literal.attention(q, k, v, (3,), dilation=(2,))
    agree(natten.na1d(q, k, v, 3, 2, dilation=1), strided, [q, k, v])
    agree(natten.na1d(q, k, v, 3, 2, return_lse=True), strided, [q, k, v])
    agree(natten.na1d(q, k, v, 3, 2, rpb=None), dilated, [q, k, v])
    for one in (1, (1,), None):
        agree(natten.na1d(q, k, v, 3, one), literal.attention(q, k, v, (3,)), [q, k, v])


@pytest.mark.parametrize("value", [2, (2, 1), [1, 2]])
def test_a_position_that_may_mean_two_things_is_refused(value):
    q, k, v = tensors(6, 6)
    with pytest.raises(nearfield.ArgumentError, match=r"na2d: .*2.*: by position is stride in NATTEN 0.20 and dilation in NATTEN 0.17: must be passed by its name"):  # fmt: skip
        natten.na2d(q, k, v, 3, value)


def test_arguments_that_no_release_takes_are_refused():
    q, k, v = tensors(6, 6)
    with pytest.raises(TypeError, match="na2d: window: no release of NATTEN has an argument of this name"):
        natten.na2d(q, k, v, 3, window=2)
    with pytest.raises(TypeError, match=r"na2d\(stride=2, rpb=tensor\(2, 5, 5\)\): no release of NATTEN takes these"):
        natten.na2d(q, k, v, 3, stride=2, rpb=torch.zeros(2, 5, 5))
    with pytest.raises(TypeError, match=r"na2d\(2, stride=2, rpb=None\): no release"):
        natten.na2d(q, k, v, 3, 2, stride=2, rpb=None)


# ---- what numbers are honoured ---------------------------------------------------------------------------------------


def test_scale_of_zero_is_zero():
    q, k, v = tensors(6, 7)
    agree(natten.na2d(q, k, v, 3, scale=0.0), literal.attention(q, k, v, (3, 3), scale=0.0), [q, k, v])
    a, b, c = tensors(5)
    agree(natten.attention(a, b, c, scale=0.0), literal.attention(a, b, c, (5,), scale=0.0), [a, b, c])


def test_additional_tokens_are_in_the_same_softmax():
    q, k, v = tensors(6, 7, d_v=5)
    more_k, more_v = torch.randn(2, 3, 2, 4).double(), torch.randn(2, 3, 2, 5).double()
    more_k.requires_grad_(), more_v.requires_grad_()
    found = natten.na2d(q, k, v, 3, additional_keys=more_k, additional_values=more_v, return_lse=True)
    expected = literal.attention(q, k, v, (3, 3), additional_keys=more_k, additional_values=more_v)
    agree(found, expected, [q, k, v, more_k, more_v])


def test_grouped_heads():
    q, _, _ = tensors(9, heads=6)
    _, k, v = tensors(9, heads=2)
    agree(natten.na1d(q, k, v, 5), literal.attention(q, k, v, (5,)), [q, k, v])
    agree(natten.attention(q, k, v), literal.attention(q, k, v, (9,)), [q, k, v])


def test_even_windows_and_settings_per_axis():
    q, k, v = tensors(9, 11)
    found = natten.na2d(q, k, v, kernel_size=[4, 5], stride=(2, 3), dilation=(2, 1), is_causal=(False, True))
    expected = literal.attention(q, k, v, (4, 5), stride=(2, 3), dilation=(2, 1), is_causal=(False, True))
    agree(found, expected, [q, k, v])


def test_gradcheck():
    q, k, v = tensors(5, heads=1, d=2, batch=1)
    rpb = torch.randn(1, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *x: natten.na1d(*x[:3], 3, rpb=x[3]), (q, k, v, rpb))
    assert torch.autograd.gradcheck(lambda *x: natten.attention(*x, return_lse=True), (q, k[:, :3], v[:, :3]))


def test_bias_of_another_type_is_converted():
    q, k, v = (each.detach() for each in tensors(6, 7))
    rpb = torch.randn(2, 5, 5)
    assert (
        literal.error(natten.na2d(q, k, v, 3, rpb=rpb), literal.attention(q, k, v, (3, 3), rpb=rpb.double())[0])
        <= TIGHT
    )
    halves = [each.to(torch.bfloat16) for each in (q, k, v)]
    expected = literal.attention(*(each.double() for each in halves), (3, 3), rpb=rpb.double())[0]
    for bias in (rpb, rpb.to(torch.float16)):
        found = natten.na2d(*halves, 3, rpb=bias)
        assert found.dtype == torch.bfloat16 and literal.error(found, expected) <= 2e-2


def test_float32_bias_under_bfloat16_autocast():
    q, k, v = (each.detach().float().requires_grad_() for each in tensors(6, 7))
    rpb = torch.randn(2, 5, 5, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = natten.na2d(q, k, v, 3, rpb=rpb)
    assert found.dtype == torch.bfloat16
    expected, _ = literal.attention(
        *(
            each.double()
            for each in (
                q,
                k,
                v,
            )
        ),
        (3, 3),
        rpb=rpb.double(),
    )
    assert literal.error(found, expected) <= 5e-2
    found.float().sum().backward()
    assert rpb.grad.dtype == torch.float32 and rpb.grad.isfinite().all()


def test_logsumexp_is_float32():
    q = torch.randn(1, 6, 2, 4, dtype=torch.bfloat16)
    for _, lse in (natten.na1d(q, q, q, 3, return_lse=True), natten.attention(q, q, q, return_lse=True)):
        assert lse.dtype == torch.float32 and lse.shape == (1, 6, 2)


def test_compiles_into_one_graph():
    def both(q, k, v):
        near = natten.na2d(q, k, v, kernel_size=3, stride=1, backend="cutlass-fna", return_lse=True)
        flat = [each.flatten(1, 2) for each in (q, k, v)]
        far = natten.attention(*flat, is_causal=False, return_lse=True)
        return natten.merge_attentions([near[0].flatten(1, 2), far[0]], [near[1].flatten(1, 2), far[1]])[0]

    q, k, v = (each.detach() for each in tensors(6, 5))
    found = torch.compile(both, fullgraph=True, backend="aot_eager")(q, k, v)
    assert literal.error(found, both(q, k, v)) <= TIGHT


def test_windows_larger_than_the_grid_are_refused():
    q, k, v = tensors(6, 9)
    with pytest.raises(nearfield.ArgumentError, match=r"kernel_size\[0\]=3: times dilation\[0\]=3 must be at most the axis' length 6"):  # fmt: skip
        natten.na2d(q, k, v, 3, dilation=3)
    with pytest.raises(ValueError, match=r"kernel_size\[0\]=7"):
        natten.na2d(q, k, v, 7)


def test_wrong_arguments_name_themselves():
    q, k, v = tensors(6, 7)
    for arguments, message in (
        (dict(kernel_size=(3, 0)), r"kernel_size\[1\]=0: must be at least 1"),
        (dict(kernel_size=3, stride=4), r"stride\[0\]=4: must be at most kernel_size\[0\]=3"),
        (dict(kernel_size=(3, 3, 3)), r"kernel_size=\(3, 3, 3\): has 3 values"),
        (dict(kernel_size=3, backend="cudnn"), "backend='cudnn': must be None or one of 'cutlass-fna'"),
        (dict(kernel_size=3, backend="cutlass-fmha"), "backend='cutlass-fmha': must be None or one of"),
        (dict(kernel_size=3, kernel_schedule="fast"), "kernel_schedule='fast': must be None or one of 'non'"),
        (dict(kernel_size=3, attention_kwargs={"tile": 1}), r"attention_kwargs\['tile'\]: must be one of backend"),
        (dict(kernel_size=3, additional_keys=torch.zeros(2, 3, 2, 4).double()), "additional_values"),
    ):
        with pytest.raises(nearfield.ArgumentError, match=message):
            natten.na2d(q, k, v, **arguments)
    with pytest.raises(nearfield.ArgumentError, match="na1d takes 4"):
        natten.na1d(q, k, v, 3)


# ---- kernels that others chose ---------------------------------------------------------------------------------------

HINTS = [
    dict(backend="cutlass-fna"),
    dict(backend="hopper-fna", kernel_schedule="pp"),
    dict(backend="blackwell-fna", run_persistent_kernel=False),
    dict(backend="flex-fna", torch_compile=True),
    dict(q_tile_shape=(8, 8), kv_tile_shape=(8, 8)),
    dict(backward_q_tile_shape=(8, 8), backward_kv_tile_shape=(8, 8), backward_kv_splits=(2, 2)),
    dict(backward_use_pt_reduction=True, backward_kv_splits=(1, 1)),
    dict(attention_kwargs={"backend": "blackwell-fmha", "run_persistent_kernel": True}),
]


@pytest.mark.parametrize("hint", HINTS)
def test_choices_of_kernels_warn_once_and_change_nothing(hint, warn_anew):
    q, k, v = (each.detach() for each in tensors(6, 7))
    expected = natten.na2d(q, k, v, kernel_size=3)
    with pytest.warns(UserWarning, match="has no effect: nearfield chooses its kernels and tiles itself") as seen:
        assert torch.equal(natten.na2d(q, k, v, kernel_size=3, **hint), expected)
    assert len(seen) == 1 and seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for each in HINTS:
            assert torch.equal(natten.na2d(q, k, v, kernel_size=3, **each), expected)
            flat = [each.flatten(1, 2) for each in (q, k, v)]
            natten.attention(*flat, backend="cutlass-fmha", q_tile_size=64, kv_tile_size=64)


def test_nothing_is_warned_of_without_a_choice(warn_anew):
    q, k, v = (each.detach() for each in tensors(6, 7))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        natten.na2d(q, k, v, kernel_size=3, backend=None, torch_compile=True, attention_kwargs={})
        natten.na2d(q, k, v, kernel_size=3, dilation=1, xformers_kwargs=None)
