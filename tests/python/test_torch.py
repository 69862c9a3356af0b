"""The torch face in eager mode: values and gradients, layouts, dtypes, modes, threads, processes."""

import copy
import os
import subprocess
import sys

import problems
import pytest
from drawn_patterns import KINDS

torch = pytest.importorskip("torch")

import nearfield as nf  # noqa: E402

TENSORS = ("additional_keys", "additional_values", "key_mask", "key_weights", "bias")
F64 = torch.float64


def tensors_of(problem, requires_grad=False):
    """(query, key, value), modifiers"""
    dtype = getattr(torch, problem.dtype)

    def tensor(array):
        t = torch.tensor(array)
        return t if t.dtype == torch.bool else t.to(dtype).requires_grad_(requires_grad)

    given = {name: tensor(each) if name in TENSORS else each for name, each in problem.modifiers.items()}
    return [tensor(each) for each in (problem.query, problem.key, problem.value)], given


def of_dtype(*shape, dtype=torch.float32, seed=0, requires_grad=False):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype).requires_grad_(requires_grad)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_torch_and_numpy_agree_to_the_bit(dtype, kind):
    pytest.importorskip("numpy")
    for seed in range(40):
        problem = problems.draw(seed, dtype, kind=kind)
        arrays, given = tensors_of(problem)
        out, lse = nf.attend(problem.pattern, *arrays, **given, return_lse=True)
        assert out.dtype == arrays[0].dtype
        if dtype == "bfloat16":
            expected, _ = problem.expected()
            error = (out.to(F64) - torch.from_numpy(expected)).abs().amax() if out.numel() else 0
            assert error <= 4 * problems.OUT[dtype], str(problem)
            continue
        numpy_given = {k: v.numpy() if k in TENSORS else v for k, v in given.items()}
        expected, expected_lse = nf.attend(
            problem.pattern, *(each.numpy() for each in arrays), **numpy_given, return_lse=True
        )
        assert (out.numpy() == expected).all(), str(problem)
        assert (lse.numpy() == expected_lse).all(), str(problem)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_every_modifier_pass_gradcheck(kind):
    for seed in range(14):
        problem = problems.draw(seed, most_tokens=8, kind=kind)
        if "key_weights" in problem.modifiers:  # finite differences need both sides of 0
            problem.modifiers["key_weights"] += 0.5
        arrays, given = tensors_of(problem, requires_grad=True)
        names = [name for name in TENSORS if name in given and given[name].numel()]

        def run(*tensors, given=given, names=names, problem=problem):
            moved = dict(given, **dict(zip(names, tensors[3:], strict=True)))
            out, lse = nf.attend(problem.pattern, *tensors[:3], **moved, return_lse=True)
            return out, torch.where(torch.isfinite(lse), lse, 0)

        assert torch.autograd.gradcheck(run, (*arrays, *(given[name] for name in names))), str(problem)


@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives_and_forward_mode_are_right(kind):
    for seed in range(12):  # along random directions: element by element it takes a minute for half as many
        problem = problems.draw(seed, most_tokens=6, kind=kind)
        if "key_weights" in problem.modifiers:
            problem.modifiers["key_weights"] += 0.5
        arrays, given = tensors_of(problem, requires_grad=True)
        names = [name for name in TENSORS if name in given and given[name].numel()]

        def run(*tensors, given=given, names=names, problem=problem):
            moved = dict(given, **dict(zip(names, tensors[3:], strict=True)))
            out, lse = nf.attend(problem.pattern, *tensors[:3], **moved, return_lse=True)
            return out, torch.where(torch.isfinite(lse), lse, 0)

        inputs = (*arrays, *(given[name] for name in names))
        assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True), str(problem)
        assert torch.autograd.gradcheck(run, inputs, check_forward_ad=True, check_backward_ad=False, fast_mode=True), (
            str(problem)
        )


def test_second_derivatives_warn_once():
    program = """if True:
        import warnings, torch, nearfield as nf
        x = torch.ones(1, 4, 1, 2, requires_grad=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3):
                g, = torch.autograd.grad(nf.na1d(x, x, x, 3).sum(), x, create_graph=True)
                g.sum().backward()
        print([str(w.message) for w in caught if "nearfield" in str(w.message)])
    """
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown.count("composed of torch operators") == 1, shown


def test_gradients_that_are_not_needed_are_not_computed():
    q, k, v = (of_dtype(1, 6, 2, 4) for _ in range(3))
    k.requires_grad_()
    nf.na1d(q, k, v, 3).sum().backward()
    assert k.grad is not None and q.grad is None and v.grad is None
    out, lse = nf.na1d(q, k, v, 3, return_lse=True)
    k.grad = None
    lse.sum().backward()
    assert k.grad.abs().sum() > 0
    assert not nf.na1d(q, k.detach(), v, 3).requires_grad


def test_packed_and_transposed_views_are_not_copied_and_give_the_same_bits():
    x = of_dtype(2, 5, 6, 3, 2, 8)
    q, k, v = x.unbind(3)
    expected = nf.na2d(*(each.contiguous() for each in (q, k, v)), 3)
    assert nf.explain(nf.Neighborhood(3), q, k, v).copies == ()
    assert torch.equal(nf.na2d(q, k, v, 3), expected)
    heads_first = [each.contiguous().permute(0, 3, 1, 2, 4).contiguous() for each in (q, k, v)]
    views = [each.permute(0, 2, 3, 1, 4) for each in heads_first]
    assert nf.explain(nf.Neighborhood(3), *views).copies == ()
    out = nf.na2d(*views, 3)
    assert torch.equal(out, expected)
    assert out.permute(0, 3, 1, 2, 4).is_contiguous()  # laid out as the query is
    strange = q.transpose(-1, -2).contiguous().transpose(-1, -2)
    assert nf.explain(nf.Neighborhood(3), strange, k, v).copies == ("query: its channels are not adjacent in memory",)
    assert torch.equal(nf.na2d(strange, k, v, 3), expected)
    x = x.detach().requires_grad_()
    nf.na2d(*x.unbind(3), 3).pow(2).sum().backward()
    parts = [each.detach().contiguous().requires_grad_() for each in x.unbind(3)]
    nf.na2d(*parts, 3).pow(2).sum().backward()
    assert torch.equal(x.grad, torch.stack([each.grad for each in parts], 3))


def test_broadcast_and_lazily_negated_tensors_are_what_they_show():
    x = of_dtype(1, 5, 2, 4)
    many = x.expand(3, 5, 2, 4)
    assert torch.equal(nf.na1d(many, many, many, 3)[2], nf.na1d(x, x, x, 3)[0])
    imaginary = torch.complex(x, x).conj().imag  # its bits are x, its value -x
    assert imaginary.is_neg()
    for _ in range(2):
        assert torch.equal(nf.na1d(imaginary, x, x, 3), nf.na1d(-x, x, x, 3))


def test_the_same_shapes_with_other_values_and_options_are_other_calls():
    a, b = of_dtype(1, 6, 2, 4, seed=1), of_dtype(1, 6, 2, 4, seed=2)
    first = nf.na1d(a, a, a, 3)
    for _ in range(3):
        assert not torch.equal(nf.na1d(b, b, b, 3), first)
        assert torch.equal(nf.na1d(a, a, a, 3), first)
        assert not torch.equal(nf.na1d(a, a, a, 3, scale=0.0), first)
        assert not torch.equal(nf.na1d(a, a, a, 3, softcap=0.1), first)
        assert not torch.equal(nf.na1d(a, a, a, 5), first)
    assert torch.allclose(nf.na1d(a, a, a, 3, scale=0.0)[0, 1], a[0, :3].mean(0), atol=1e-6)
    for i in range(600):  # more calls than are remembered
        x = of_dtype(1, 3 + i, 1, 2)
        assert nf.na1d(x, x, x, 3).shape == x.shape


def test_autocast_computes_in_its_dtype_and_returns_gradients_in_the_leaves_dtype():
    q, k, v = (of_dtype(1, 6, 2, 4, seed=i, requires_grad=True) for i in range(3))
    bias = of_dtype(2, 5, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = nf.na1d(q, k, v, 3, bias=bias)
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert q.grad.dtype == bias.grad.dtype == torch.float32
    assert torch.allclose(out.float(), nf.na1d(q, k, v, 3, bias=bias), atol=5e-2)


def test_inference_mode_no_grad_and_deterministic_mode():
    x = of_dtype(1, 6, 2, 4, requires_grad=True)
    expected = nf.na1d(x, x, x, 3)
    with torch.inference_mode():
        assert torch.equal(nf.na1d(x, x, x, 3), expected)
    with torch.no_grad():
        assert not nf.na1d(x, x, x, 3).requires_grad
    torch.use_deterministic_algorithms(True)
    try:
        nf.na1d(x, x, x, 3).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)


def test_threads_are_torchs_and_change_no_bit():
    q, k, v = (of_dtype(2, 20, 20, 2, 16, seed=i, requires_grad=True) for i in range(3))
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert nf.explain(nf.Neighborhood(7), q, k, v).num_threads == threads
            out = nf.na2d(q, k, v, 7)
            results.append((out, *torch.autograd.grad(out.pow(2).sum(), (q, k, v))))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_checkpointing_recomputes_the_same():
    from torch.utils.checkpoint import checkpoint

    gradients = []
    for use in (False, True):
        x = of_dtype(1, 8, 2, 4, requires_grad=True)
        f = lambda t: nf.na1d(t, t, t, 3)  # noqa: E731
        (checkpoint(f, x, use_reentrant=False) if use else f(x)).pow(2).sum().backward()
        gradients.append(x.grad)
    assert torch.equal(*gradients)


def test_hooks_and_saved_tensor_checks_work():
    x = of_dtype(1, 8, 2, 4, requires_grad=True)
    scaled = x * 1
    out = nf.na1d(scaled, scaled, scaled, 3)
    scaled.detach().zero_()
    scaled.data.add_(1)
    with torch.no_grad():
        scaled.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_patterns_and_results_deep_copy():
    pattern = nf.Neighborhood((3, 5), dilation=2, boundary=("wrap", "cut"))
    assert copy.deepcopy(pattern) == pattern


class Windows(torch.utils.data.Dataset):
    """Attention in a DataLoader's workers."""

    def __len__(self):
        return 4

    def __getitem__(self, i):
        x = of_dtype(1, 9, 2, 4, seed=i)
        return nf.na1d(x, x, x, 3)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_data_loader_workers(context):
    expected = [Windows()[i] for i in range(4)]
    loader = torch.utils.data.DataLoader(Windows(), batch_size=None, num_workers=2, multiprocessing_context=context)
    for found, right in zip(loader, expected, strict=True):
        assert torch.equal(found, right)


DDP = """if True:
    import os, sys, torch, nearfield as nf
    import torch.distributed as dist
    rank = int(sys.argv[1])
    dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv = torch.nn.Linear(8, 24)
        def forward(self, x):
            q, k, v = self.qkv(x).unflatten(-1, (3, 2, 4)).unbind(-3)
            return nf.na1d(q, k, v, 3)
    torch.manual_seed(0)
    model = torch.nn.parallel.DistributedDataParallel(Model())
    x = torch.randn(2, 6, 8)
    model(x[rank : rank + 1]).pow(2).sum().backward()
    single = Model()
    single.load_state_dict(model.module.state_dict())
    (single(x).pow(2).sum() / 2).backward()
    assert torch.allclose(model.module.qkv.weight.grad, single.qkv.weight.grad, atol=1e-6)
    dist.destroy_process_group()
    print("agreed")
"""


def test_distributed_data_parallel_on_gloo(tmp_path):
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    running = [
        subprocess.Popen(
            [sys.executable, "-c", DDP, str(rank), str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        for rank in range(2)
    ]
    for process in running:
        shown, _ = process.communicate(timeout=120)
        assert "agreed" in shown, shown
