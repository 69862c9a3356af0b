"""Attention on the sphere with torch: against the definition, and under everything that looks on."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import nearfield as nf  # noqa: E402
from sphere_problems import check, defined, draw  # noqa: E402

# Down-sampling, up-sampling, one grid, everything; neighbourhoods small enough for some to be empty.
PATTERNS = (
    nf.SphereNeighborhood((4, 6), (5, 12), cutoff=0.9),
    nf.SphereNeighborhood(nf.SphereGrid(6, 12, "legendre-gauss"), (4, 6)),
    nf.SphereNeighborhood(nf.SphereGrid(5, 6, "lobatto"), cutoff=2.5),
    nf.SphereGlobal((4, 6), (3, 3)),
)
EMPTY = nf.SphereNeighborhood(nf.SphereGrid(5, 8, "legendre-gauss"), (3, 4), cutoff=0.3)
every_pattern = pytest.mark.parametrize("pattern", PATTERNS, ids=("down", "up", "same", "global"))


@pytest.fixture(autouse=True)
def fresh_dynamo():
    torch._dynamo.reset()


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def inputs(pattern, batch=2, heads=4, channels=8, dtype=torch.float32):
    grid, keys = ((each.nlat, each.nlon) for each in (pattern.grid, pattern.key_grid))
    q = normal(batch, *grid, heads, channels, dtype=dtype)
    return q, *(normal(batch, *keys, max(heads // 2, 1), channels, seed=i, dtype=dtype) for i in (1, 2))


def gradients(function, *tensors):
    leaves = [each.detach().clone().requires_grad_() for each in tensors]
    out = function(*leaves)
    return out, torch.autograd.grad(out.pow(2).sum(), leaves)


def close(found, expected):
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_values_and_gradients_are_the_definitions(dtype):
    kind = getattr(torch, dtype)
    for seed in range(100, 116):
        problem = draw(seed, dtype)
        tensors = {
            name: torch.from_numpy(each) if each.dtype == bool else torch.tensor(each, dtype=kind, requires_grad=True)
            for name, each in problem.arrays.items()
        }
        out, lse = nf.attend(problem.pattern, **tensors, **problem.numbers, return_lse=True)
        dout, dlse = normal(*out.shape, dtype=kind), normal(*lse.shape, dtype=lse.dtype)
        dlse = torch.where(torch.isfinite(lse), dlse, 0)
        torch.autograd.backward((out, lse), (dout, dlse))
        found = {name: each.grad.double().numpy() for name, each in tensors.items() if each.requires_grad}
        plain = [each.detach().double().numpy() for each in (out, lse)]
        check(problem, dtype, *plain, found, dout.double().numpy(), dlse.double().numpy())


def test_compile_whole_with_dynamic_shapes():
    pattern = PATTERNS[0]

    def function(q, k, v, weights):
        out, lse = nf.attend(pattern, q * 2, k, v, key_weights=weights, softcap=2.0, return_lse=True)
        return torch.relu(out) + lse[..., None]

    tensors = (*inputs(pattern), normal(pattern.key_grid.nlat, pattern.key_grid.nlon).abs())
    expected, right = gradients(function, *tensors)
    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    out, found = gradients(compiled, *tensors)
    assert torch.equal(out, expected) and close(found, right)


def test_compile_patterns_that_are_made_inside():
    def function(q, k, v):
        keys = nf.SphereGrid(k.shape[1], k.shape[2])
        first = nf.attend(nf.SphereNeighborhood((q.shape[1], q.shape[2]), keys, cutoff=2.2), q, k, v)
        return nf.attend(nf.SphereGlobal((q.shape[1], q.shape[2]), keys), first, k, v)

    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    for pattern in (PATTERNS[0], PATTERNS[2]):
        assert torch.equal(compiled(*inputs(pattern)), function(*inputs(pattern)))


class Module(torch.nn.Module):
    """Something to export."""

    def forward(self, q, k, v):
        return nf.attend(PATTERNS[0], q, k, v) + nf.attend(nf.SphereGlobal((4, 6), (5, 12)), q, k, v)


def test_export_with_a_dynamic_batch(tmp_path):
    batch = torch.export.Dim("batch", min=1, max=100)
    tensors = inputs(PATTERNS[0])
    exported = torch.export.export(Module(), tensors, dynamic_shapes=({0: batch},) * 3)
    torch.export.save(exported, tmp_path / "attention.pt2")
    loaded = torch.export.load(tmp_path / "attention.pt2").module()
    tensors = inputs(PATTERNS[0], batch=3)
    assert torch.equal(loaded(*tensors), Module()(*tensors))


@every_pattern
def test_vmap_of_values_and_gradients(pattern):
    q, k, v = inputs(pattern)
    weights = normal(3, pattern.key_grid.nlat, pattern.key_grid.nlon, seed=5).abs()
    many = torch.stack([k, 2 * k, k + 0.5])

    def function(k, weights):
        return nf.attend(pattern, q, k, v, key_weights=weights)

    def slope(k, weights):
        return torch.func.grad(lambda *x: function(*x).pow(2).sum(), (0, 1))(k, weights)

    pairs = list(zip(many, weights, strict=True))
    assert torch.equal(torch.func.vmap(function)(many, weights), torch.stack([function(*each) for each in pairs]))
    for found, expected in zip(
        torch.func.vmap(slope)(many, weights), zip(*(slope(*each) for each in pairs), strict=True), strict=True
    ):
        assert torch.allclose(found, torch.stack(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pattern", [*PATTERNS, EMPTY], ids=("down", "up", "same", "global", "empty"))
def test_second_derivatives_and_forward_mode(pattern):
    q, k, v = inputs(pattern, 1, 2, 3, torch.float64)
    random = np.random.default_rng(0)
    sizes = (pattern.key_grid.nlat, pattern.key_grid.nlon)
    mask, weights = torch.from_numpy(random.random((1, *sizes)) < 0.8), torch.from_numpy(random.uniform(0, 2, sizes))
    more = {
        "additional_keys": normal(1, 1, 1, 3, dtype=q.dtype),
        "additional_values": normal(1, 1, 1, 3, dtype=q.dtype),
    }
    if pattern is EMPTY:
        more = {}

    def function(q, k, v, weights):
        out, lse = nf.attend(pattern, q, k, v, key_mask=mask, key_weights=weights, softcap=3.0, return_lse=True, **more)
        return out.pow(2).sum(-1) + torch.where(torch.isfinite(lse), lse, 0)

    tensors = [each.requires_grad_() for each in (q, k, v, weights)]
    directions = [normal(*each.shape, seed=i, dtype=torch.float64) for i, each in enumerate(tensors)]
    step = 1e-6

    def moved(function, sign):
        return function(*(each.detach() + sign * step * d for each, d in zip(tensors, directions, strict=True)))

    _, tangent = torch.func.jvp(function, tuple(each.detach() for each in tensors), tuple(directions))
    slope = (moved(function, 1) - moved(function, -1)) / (2 * step)
    assert torch.allclose(tangent, slope, rtol=1e-6, atol=1e-7)

    first = torch.autograd.grad(function(*tensors).sum(), tensors, create_graph=True)
    along = sum((g * d).sum() for g, d in zip(first, directions, strict=True))
    second = torch.autograd.grad(along, tensors)

    def gradient(*x):
        x = [each.requires_grad_() for each in x]
        return torch.cat([each.flatten() for each in torch.autograd.grad(function(*x).sum(), x)])

    slope = (moved(gradient, 1) - moved(gradient, -1)) / (2 * step)
    assert torch.allclose(torch.cat([each.flatten() for each in second]), slope, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pattern", [PATTERNS[0], PATTERNS[3]], ids=("down", "global"))
def test_opcheck_of_the_operators(pattern):
    q, k, v = (each.requires_grad_() for each in inputs(pattern))
    settings = (list(pattern.words(2)), None, 0.0, [0, 0, 0, 0])
    weights = normal(pattern.key_grid.nlat, pattern.key_grid.nlon).abs()
    modifiers = (None, None, None, weights.requires_grad_(), None)
    torch.library.opcheck(torch.ops.nearfield.attention, (q, k, v, *modifiers, *settings))
    with torch.no_grad():
        out, lse = torch.ops.nearfield.attention(q, k, v, *modifiers, *settings)
    detached = [each.detach() for each in (torch.ones_like(out), lse, q, k, v, out, lse)]
    modifiers = (None, None, None, weights.detach(), None)
    wanted = [True, True, True, False, False, True, False]
    torch.library.opcheck(torch.ops.nearfield.attention_backward, (*detached, wanted, *modifiers, *settings))
    torch.library.opcheck(torch.ops.nearfield.windows, (settings[0], [pattern.grid.nlat, pattern.grid.nlon]))
    torch.library.opcheck(torch.ops.nearfield.area_weights, (settings[0],))


@every_pattern
def test_meta_and_fake_tensors_have_the_right_shapes(pattern):
    from torch._subclasses.fake_tensor import FakeTensorMode

    q, k, v = inputs(pattern)
    out, lse = nf.attend(pattern, *(each.to("meta") for each in (q, k, v[..., :3])), return_lse=True)
    assert out.is_meta and out.shape == (*q.shape[:-1], 3) and lse.shape == q.shape[:-1]
    with FakeTensorMode() as mode:
        fakes = [mode.from_tensor(each).requires_grad_() for each in (q, k, v)]
        out = nf.attend(pattern, *fakes)
        assert out.shape == q.shape
        assert [each.shape for each in torch.autograd.grad(out.sum(), fakes)] == [q.shape, k.shape, v.shape]
    explained = nf.explain(pattern, *(each.to("meta") for each in (q, k, v)))
    assert explained.engine == "cpu" and len(explained.tile) == len(explained.step) == 2


def test_meta_tensors_of_other_grids_are_named():
    q, k, v = (each.to("meta") for each in inputs(PATTERNS[0]))
    for tensors, message in (
        ((k, k, v), "query: has a grid of 5x12: must have the pattern's 4x6"),
        ((q, q, v), "key: has a grid of 4x6: must have the pattern's 5x12"),
        ((q, k, q), "value: has a grid of 4x6: must have the pattern's 5x12"),
    ):
        with pytest.raises(nf.ArgumentError) as error:
            nf.attend(PATTERNS[0], *tensors)
        assert str(error.value) == message


@every_pattern
def test_the_flop_counter_counts_the_pairs(pattern):
    from torch.utils.flop_counter import FlopCounterMode

    q, k, v = (each.requires_grad_() for each in inputs(pattern))
    pairs = 2 * 4 * int(defined(pattern).seen.sum())
    with FlopCounterMode(display=False) as counter:
        out = nf.attend(pattern, q, k, v)
    assert counter.get_total_flops() == 2 * pairs * (8 + 8)
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    assert counter.get_total_flops() == 2 * pairs * (3 * 8 + 2 * 8)


def test_autocast_computes_in_its_dtype():
    q, k, v = (each.requires_grad_() for each in inputs(PATTERNS[1]))
    weights = normal(4, 6).abs().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = nf.attend(PATTERNS[1], q, k, v, key_weights=weights)
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert k.grad.dtype == weights.grad.dtype == torch.float32
    assert torch.allclose(out.float(), nf.attend(PATTERNS[1], q, k, v, key_weights=weights), atol=5e-2)


def test_empty_neighbourhoods_have_no_gradient():
    q, k, v = (each.requires_grad_() for each in inputs(EMPTY))
    empty = torch.from_numpy(~defined(EMPTY).seen.any((2, 3)))
    out = nf.attend(EMPTY, q, k, v)
    out.pow(2).sum().backward()
    assert bool((out[:, empty] == 0).all()) and bool((q.grad[:, empty] == 0).all()) and 0 < empty.sum() < 40
    assert all(bool(torch.isfinite(each.grad).all()) for each in (q, k, v))


def test_parts_merge_and_differentiate():
    q, k, v = inputs(PATTERNS[0], dtype=torch.float64)
    land = normal(2, 5, 12) > 0

    def function(q, k, v):
        parts = [nf.attend(PATTERNS[0], q, k, v, key_mask=mask, return_lse=True) for mask in (land, ~land)]
        return nf.merge(*zip(*parts, strict=True))[0]

    (out, found), (expected, right) = (
        gradients(each, q, k, v) for each in (function, lambda q, k, v: nf.attend(PATTERNS[0], q, k, v))
    )
    assert torch.allclose(out, expected) and all(torch.allclose(a, b) for a, b in zip(found, right, strict=True))


@pytest.mark.parametrize("cutoff", [math.pi, 1e300, math.inf])
def test_a_cutoff_of_pi_or_more_is_the_whole_sphere(cutoff):
    q, k, v = inputs(PATTERNS[0])
    whole = nf.attend(nf.SphereGlobal((4, 6), (5, 12)), q, k, v)
    pattern = nf.SphereNeighborhood((4, 6), (5, 12), cutoff=cutoff)
    assert torch.allclose(nf.attend(pattern, q, k, v), whole, atol=1e-6)
    compiled = torch.compile(lambda q, k, v: nf.attend(pattern, q, k, v), fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(q, k, v), whole, atol=1e-6)
