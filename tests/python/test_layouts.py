"""Tensors that lie in memory in every way that torch knows, in both passes: the same bits as of dense ones."""

import pytest

torch = pytest.importorskip("torch")

import nearfield as nf  # noqa: E402

PATTERN = nf.Neighborhood(3)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def negated(tensor):
    """Shows the tensor; its bits are those of the negative one."""
    view = torch.complex(torch.zeros_like(tensor), -tensor).conj().imag
    assert view.is_neg() and torch.equal(view, tensor)
    return view


def scattered(tensor):
    """The last two axes in the other order in memory."""
    return tensor.mT.contiguous().mT


def swapped(tensor):
    """The first two axes in the other order in memory."""
    return tensor.transpose(0, 1).contiguous().transpose(0, 1)


def spread(tensor):
    """Seven elements from one to the next on every axis."""
    strides = [7 * stride for stride in tensor.contiguous().stride()]
    view = torch.zeros(7 * tensor.numel()).as_strided(tensor.shape, strides)
    return view.copy_(tensor)


LAYOUTS = (negated, scattered, swapped, spread)
SHAPES = {
    "query": (2, 6, 4, 8),
    "key": (2, 6, 2, 8),
    "value": (2, 6, 2, 8),
    "additional_keys": (2, 3, 2, 8),
    "additional_values": (2, 3, 2, 8),
    "key_weights": (2, 6),
    "bias": (4, 5),
    "dout": (2, 6, 4, 8),
    "dlogsumexp": (2, 6, 4),
}


def tensors(head_dim=8):
    """All of a call by name; weights are not negative."""
    made = {}
    for seed, (name, shape) in enumerate(SHAPES.items()):
        made[name] = normal(*shape, seed=seed)
        if len(shape) == 4:
            made[name] = made[name][..., :head_dim].contiguous()
    made["key_weights"] = made["key_weights"].abs()
    return made


def run(dout, dlogsumexp, **given):
    """out, logsumexp, and the gradients."""
    leaves = {name: each.detach().requires_grad_() for name, each in given.items()}
    found = nf.attend(PATTERN, **leaves, return_lse=True)
    return [*found, *torch.autograd.grad(found, list(leaves.values()), (dout, dlogsumexp))]


def are_equal(found, expected):
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_attention(layout, name):
    given = tensors()
    expected = run(**given)
    for _ in range(2):  # the second call of a kind may take another way
        assert are_equal(run(**{**given, name: layout(given[name])}), expected)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_channel_with_any_stride(layout, name):
    given = tensors(head_dim=1)
    changed = layout(given[name])
    if layout is spread:
        assert changed.stride(-1) == 7
    assert are_equal(run(**{**given, name: changed}), run(**given))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_modifiers(layout):
    for head_dim in (8, 1):
        given = [tensors(head_dim)[name] for name in ("query", "key", "value")]
        expected = nf.na1d(*given, 3)
        for _ in range(3):  # what is called again is remembered
            for i in range(3):
                mixed = [layout(each) if i == j else each for j, each in enumerate(given)]
                assert torch.equal(nf.na1d(*mixed, 3), expected)


@pytest.mark.parametrize("which", range(6))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_merging(layout, which):
    """Of two outs, two logsumexps, dout and dlogsumexp one lies otherwise."""
    given = [normal(*shape, seed=i) for i, shape in enumerate([(2, 6, 4, 8)] * 2 + [(2, 6, 4)] * 2)]
    given += [normal(2, 6, 4, 8, seed=8), normal(2, 6, 4, seed=9)]

    def merged(parts):
        leaves = [each.detach().requires_grad_() for each in parts[:4]]
        found = nf.merge(leaves[:2], leaves[2:])
        return [*found, *torch.autograd.grad(found, leaves, parts[4:])]

    changed = [layout(each) if i == which else each for i, each in enumerate(given)]
    assert are_equal(merged(changed), merged(given))


def test_overlapping_windows_of_a_signal():
    """Frames that share their samples: two axes have stride 1, and torch would lay out the result by the wrong one."""
    frames = normal(1, 13).unfold(1, 8, 1)[:, :, None]
    assert frames.stride() == (13, 1, 8, 1)
    gradients = []
    for x in (frames, frames.contiguous()):
        x = x.detach().requires_grad_()
        for _ in range(2):
            out = nf.na1d(x, x, x, 3)
        gradients.append(torch.autograd.grad(out.square().sum(), x)[0])
    assert torch.allclose(*gradients)
    assert torch.equal(nf.na1d(frames, frames, frames, 3), nf.na1d(*[frames.contiguous()] * 3, 3))


def test_explain_says_what_is_copied_and_why():
    given = {name: each for name, each in tensors().items() if name not in ("dout", "dlogsumexp")}
    assert nf.explain(PATTERN, **given).copies == ()
    changed = {**given, "key": scattered(given["key"]), "bias": negated(given["bias"])}
    assert nf.explain(PATTERN, **changed).copies == (
        "key: its channels are not adjacent in memory",
        "bias: its elements are negated when they are read (Tensor.is_neg)",
    )
