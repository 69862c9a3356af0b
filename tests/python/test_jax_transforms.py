"""The JAX face under JAX's transformations: the same bits as without them."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import product
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
import nearfield.jax  # noqa: E402
from jax_problems import DIFFERENTIABLE, NAMES, Problem  # noqa: E402
from nearfield import Neighborhood  # noqa: E402

BATCH, GRID, HEADS, KV, CHANNELS = 3, (5, 4), 4, 2, 8
SHAPES = {
    "query": (BATCH, *GRID, HEADS, CHANNELS),
    "key": (BATCH, *GRID, KV, CHANNELS),
    "value": (BATCH, *GRID, KV, 6),
    "additional_keys": (BATCH, 2, KV, CHANNELS),
    "additional_values": (BATCH, 2, KV, 6),
    "key_mask": (BATCH, *GRID),
    "key_weights": GRID,
    "bias": (HEADS, 5, 3),
}
PATTERN = Neighborhood((3, 2), boundary=("clamp", "wrap"))


def arrays_of(*leading: int, names: tuple[str, ...] = NAMES, batch: int = BATCH, seed: int = 0) -> dict[str, Any]:
    """Random arrays by name, with these axes before their own."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name in names:
        shape = SHAPES[name] if SHAPES[name][0] != BATCH else (batch, *SHAPES[name][1:])
        array = rng.standard_normal((*leading, *shape)).astype("float32")
        if name == "key_mask":
            array = array > -1
        if name == "key_weights":
            array = np.abs(array)
        arrays[name] = jnp.asarray(array)
    return arrays


def attend(arrays: dict[str, Any]) -> Any:
    problem = Problem(PATTERN, arrays, 0.5, 3.0)
    return nearfield.jax.attend(PATTERN, return_lse=True, **arrays, **problem.keywords())


def everything(arrays: dict[str, Any]) -> Any:
    """out, logsumexp, and gradients with respect to all arrays that have one."""
    floats = {name: each for name, each in arrays.items() if name in DIFFERENTIABLE}

    def total(floats: dict[str, Any]) -> Any:
        out, lse = attend({**arrays, **floats})
        return (out * out).sum() + jnp.sin(lse).sum(), (out, lse)

    gradients, outputs = jax.grad(total, has_aux=True)(floats)
    return outputs, gradients


def check_same_bits(got: Any, want: Any, about: str = "") -> None:
    got, want = jax.tree.leaves(got), jax.tree.leaves(want)
    assert len(got) == len(want) > 0, about
    for a, b in zip(got, want, strict=True):
        assert np.isfinite(b).all(), about
        np.testing.assert_array_equal(a, b, err_msg=about)


def take(arrays: dict[str, Any], mapped: dict[str, int | None], index: int) -> dict[str, Any]:
    """The arrays of one element of a mapped axis."""
    return {
        name: each if mapped[name] is None else jnp.take(each, index, axis=mapped[name])
        for name, each in arrays.items()
    }


def loop(function: Any, arrays: dict[str, Any], mapped: dict[str, int | None], size: int) -> Any:
    """What vmap means."""
    results = [function(take(arrays, mapped, i)) for i in range(size)]
    return jax.tree.map(lambda *each: jnp.stack(each), *results)


def test_jit_gives_the_same_bits() -> None:
    arrays = arrays_of()
    check_same_bits(jax.jit(attend)(arrays), attend(arrays))
    check_same_bits(jax.jit(everything)(arrays), everything(arrays))


@pytest.mark.parametrize("name", NAMES)
def test_vmap_over_one_argument(name: str) -> None:
    """The others are shared by all elements; every axis can be the mapped one."""
    for axis in range(len(SHAPES[name]) + 1):
        arrays = arrays_of()
        arrays[name] = jnp.moveaxis(arrays_of(3, seed=1)[name], 0, axis)
        mapped = dict.fromkeys(arrays) | {name: axis}
        want = loop(everything, arrays, mapped, 3)
        check_same_bits(jax.vmap(everything, in_axes=(mapped,))(arrays), want, f"{name}, axis {axis}")


@pytest.mark.parametrize("batch", [1, BATCH])
@pytest.mark.parametrize("names", [NAMES[:3], NAMES[:6], NAMES])
def test_vmap_over_everything_with_a_batch(names: tuple[str, ...], batch: int) -> None:
    with_batch = NAMES[:6]
    for unmapped in (None, *with_batch):
        arrays = arrays_of(4, names=names, batch=batch)
        mapped: dict[str, int | None] = {name: 0 if name in with_batch else None for name in arrays}
        if unmapped is not None:
            mapped[unmapped] = None
        mapped = {name: mapped[name] for name in arrays}
        arrays = {name: each[0] if mapped[name] is None else each for name, each in arrays.items()}
        if len(set(mapped.values())) == 1 and None in mapped.values():
            continue
        for function in (attend, everything):
            check_same_bits(
                jax.jit(jax.vmap(function, in_axes=(mapped,)))(arrays),
                loop(function, arrays, mapped, 4),
                f"{function.__name__}, not mapped: {unmapped}",
            )


@pytest.mark.parametrize("mapped_weights", [False, True])
def test_vmap_with_weights_that_have_a_batch(mapped_weights: bool) -> None:
    arrays = arrays_of(4, names=NAMES[:3])
    rng = np.random.default_rng(1)
    shape = (BATCH, *GRID) if not mapped_weights else (4, BATCH, *GRID)
    arrays["key_weights"] = jnp.asarray(rng.uniform(0.1, 2, shape), "float32")
    mapped = dict.fromkeys(arrays, 0) | {"key_weights": 0 if mapped_weights else None}
    want = loop(everything, arrays, mapped, 4)
    check_same_bits(jax.vmap(everything, in_axes=(mapped,))(arrays), want)


@pytest.mark.parametrize("seed", range(12))
def test_nested_vmap(seed: int) -> None:
    """Each argument mapped by the outer axis, the inner one, both or neither."""
    rng = np.random.default_rng(seed)
    sizes = (2, 3)
    choices = {name: (bool(rng.integers(2)), bool(rng.integers(2))) for name in NAMES}
    choices["query"] = (True, True)
    batch = int(rng.integers(1, 3))
    arrays = {
        name: arrays_of(*(n for n, chosen in zip(sizes, which, strict=True) if chosen), batch=batch)[name]
        for name, which in choices.items()
    }
    outer, inner = ({name: 0 if which[i] else None for name, which in choices.items()} for i in (0, 1))
    nested = jax.vmap(jax.vmap(everything, in_axes=(inner,)), in_axes=(outer,))
    want = loop(lambda a: loop(everything, a, inner, sizes[1]), arrays, outer, sizes[0])
    check_same_bits(nested(arrays), want, f"seed {seed}: {choices}, batch {batch}")


def test_vmap_over_an_empty_batch() -> None:
    arrays = arrays_of(3, batch=0)
    outputs, gradients = jax.vmap(everything)(arrays)
    assert outputs[0].shape == (3, 0, *GRID, HEADS, 6)
    np.testing.assert_array_equal(gradients["bias"], np.zeros((3, HEADS, 5, 3)))


def test_gradient_of_a_vmap_sums_what_is_shared() -> None:
    arrays = arrays_of()
    arrays["query"] = arrays_of(4)["query"]
    mapped = dict.fromkeys(arrays) | {"query": 0}

    def total(floats: dict[str, Any]) -> Any:
        out, lse = jax.vmap(attend, in_axes=(mapped,))({**arrays, **floats})
        return (out * out).sum() + jnp.sin(lse).sum()

    got = jax.grad(total)({name: arrays[name] for name in DIFFERENTIABLE})
    want = loop(everything, arrays, mapped, 4)[1]
    np.testing.assert_array_equal(got["query"], want["query"])
    for name in DIFFERENTIABLE[1:]:
        np.testing.assert_allclose(got[name], want[name].sum(0), rtol=1e-5, atol=1e-5, err_msg=name)


def test_checkpoint_and_scan() -> None:
    arrays = arrays_of(names=NAMES[:3])
    arrays["value"] = arrays["key"]

    def step(query: Any, _: Any) -> Any:
        out, lse = attend({**arrays, "query": query})
        return out, lse.sum()

    def scanned(query: Any) -> Any:
        out, sums = jax.lax.scan(jax.checkpoint(step), query, length=3)
        return out.sum() + sums.sum()

    def unrolled(query: Any) -> Any:
        total = jnp.float32(0)
        for _ in range(3):
            query, lse = step(query, None)
            total += lse
        return query.sum() + total

    got, want = jax.jit(jax.value_and_grad(scanned))(arrays["query"]), jax.value_and_grad(unrolled)(arrays["query"])
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_donated_arguments() -> None:
    arrays = arrays_of(names=NAMES[:3])
    arrays["value"] = arrays["key"] + 1
    want = attend(arrays)
    donated = jnp.array(arrays["query"], copy=True)
    call = jax.jit(lambda query: attend({**arrays, "query": query}), donate_argnums=0)
    check_same_bits(call(donated), want)


def test_export_with_a_symbolic_batch() -> None:
    from jax import export

    b = export.symbolic_shape("b")[0]
    arrays = arrays_of(names=("query", "key", "value", "bias"))
    shapes = {
        name: jax.ShapeDtypeStruct((b, *each.shape[1:]) if name != "bias" else each.shape, each.dtype)
        for name, each in arrays.items()
    }
    check = export.DisabledSafetyCheck.custom_call
    exported = export.export(jax.jit(attend), disabled_checks=[check("nearfield_forward")])(shapes)
    check_same_bits(exported.call(arrays), attend(arrays))


MULTI_DEVICE = """
import functools
import jax, jax.numpy as jnp, numpy as np, nearfield, nearfield.jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

assert jax.device_count() == 2
rng = np.random.default_rng(0)
q, k, v = (jnp.asarray(rng.standard_normal((4, 6, 2, 8)), "float32") for _ in range(3))
bias = jnp.asarray(rng.standard_normal((2, 5)), "float32")

def total(q, k, v, bias):
    out, lse = nearfield.jax.attend(nearfield.Neighborhood(3), q, k, v, bias=bias, return_lse=True)
    return (out * out).sum() + lse.sum()

gradient = jax.grad(total, (0, 1, 2, 3))
want = gradient(q, k, v, bias)

def check(got, what, want=want):
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=f"{what}: {i}")

split = [x.reshape(2, 2, *x.shape[1:]) for x in (q, k, v)]
parts = jax.pmap(gradient, in_axes=(0, 0, 0, None))(*split, bias)
check([*(x.reshape(q.shape) for x in parts[:3]), parts[3].sum(0)], "pmap")

mesh = Mesh(np.array(jax.devices()), ("data",))
placed = [jax.device_put(x, NamedSharding(mesh, P("data"))) for x in (q, k, v)]
check(jax.jit(gradient)(*placed, bias), "sharded arrays")

if hasattr(jax, "shard_map"):
    shard_map = jax.shard_map
else:
    from jax.experimental.shard_map import shard_map
    shard_map = functools.partial(shard_map, check_rep=False)  # it refuses custom_vjp otherwise
specs = (P("data"), P("data"), P("data"), P())

@functools.partial(shard_map, mesh=mesh, in_specs=specs, out_specs=P("data"))
def attend(q, k, v, bias):
    out, lse = nearfield.jax.attend(nearfield.Neighborhood(3), q, k, v, bias=bias, return_lse=True)
    return (out * out).sum((1, 2, 3)) + lse.sum((1, 2))

check(jax.jit(jax.grad(lambda *a: attend(*a).sum(), (0, 1, 2, 3)))(*placed, bias), "shard_map")

def logsumexp(q, k, v, bias):
    return nearfield.jax.attend(nearfield.Neighborhood(3), q, k, v, bias=bias, return_lse=True)[1].sum((1, 2))

mapped = shard_map(logsumexp, mesh=mesh, in_specs=specs, out_specs=P("data"))
gradients = [jax.grad(lambda *a: f(*a).sum(), (0, 1, 3))(q, k, v, bias) for f in (mapped, logsumexp)]
check(gradients[0], "shard_map, logsumexp alone", gradients[1])
print("done")
"""


def test_several_devices() -> None:
    """pmap, arrays sharded over devices, and shard_map, on a CPU cut in two: JAX settles that when it starts."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    run = subprocess.run([sys.executable, "-c", MULTI_DEVICE], env=environment, capture_output=True, text=True)
    assert run.returncode == 0 and run.stdout.endswith("done\n"), run.stderr


def test_bits_do_not_depend_on_how_a_batch_is_made() -> None:
    """A batch of the library's own, vmap over it, and one call for each element."""
    names = NAMES[:6]
    arrays = arrays_of(names=names)
    rows = {name: each[:, None] for name, each in arrays.items()}
    mapped = jax.vmap(attend)(rows)
    check_same_bits([each[:, 0] for each in mapped], attend(arrays))
    singles = [attend({name: each[i] for name, each in rows.items()}) for i, _ in product(range(BATCH), range(1))]
    check_same_bits(mapped, [jnp.stack(each) for each in zip(*singles, strict=True)])
