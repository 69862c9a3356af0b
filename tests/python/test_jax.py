"""The JAX face: values and gradients against the definition, errors, dtypes. test_jax_transforms.py has the rest."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
import nearfield  # noqa: E402
import nearfield.jax  # noqa: E402
from jax.test_util import check_grads  # noqa: E402
from jax_problems import DIFFERENTIABLE, NAMES, Problem, attention, random_problem  # noqa: E402
from nearfield import ArgumentError, Neighborhood, UnsupportedError, _library  # noqa: E402
from nearfield._jax import handlers  # noqa: E402

enable_x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64

# out and logsumexp, largest error; out, relative L2; gradients, relative L2.
TOLERANCES = {
    "float64": (1e-12, 1e-12, 1e-12, 1e-11),
    "float32": (2e-5, 2e-5, 1e-5, 1e-5),
    "bfloat16": (2e-2, 1e-3, 4e-3, 1e-2),
    "float16": (3e-3, 1e-3, 1e-3, 3e-3),
}


def attend(problem: Problem, arrays: dict[str, Any] | None = None) -> tuple[Any, Any]:
    """out and logsumexp of the problem, or of other arrays in its place."""
    arrays = problem.arrays if arrays is None else arrays
    modifiers = {name: arrays[name] for name in NAMES[3:] if name in arrays}
    return nearfield.jax.attend(
        problem.pattern,
        arrays["query"],
        arrays["key"],
        arrays["value"],
        return_lse=True,
        **modifiers,
        **problem.keywords(),
    )


def as_jax(problem: Problem, dtype: str, seed: int = 0) -> Problem:
    """The problem with arrays of that dtype; bias and weights of it or of float32."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, array in problem.arrays.items():
        own = "bool" if name == "key_mask" else dtype
        if name in ("bias", "key_weights") and dtype != "float64" and rng.integers(2):
            own = "float32"
        arrays[name] = jnp.asarray(array, own)
    return Problem(
        problem.pattern, arrays, problem.scale, problem.softcap, f"{problem.about}, {dtype}", problem.options
    )


def gradients_of(problem: Problem, dout: Any, dlse: Any) -> dict[str, Any]:
    """Of all arrays that have one, by name."""
    wanted = {name: problem.arrays[name] for name in DIFFERENTIABLE if name in problem.arrays}

    def outputs(arrays: dict[str, Any]) -> Any:
        return attend(problem, {**problem.arrays, **arrays})

    return jax.vjp(outputs, wanted)[1]((dout, dlse))[0]


def f64(array: Any) -> Any:
    return np.asarray(array).astype(np.float64)


def check_close(name: str, got: Any, want: Any, tolerance: float, relative: float, about: str) -> None:
    """Largest error, and relative L2; NaN and a wrong infinity fail both."""
    got, want = f64(got), f64(want)
    assert got.shape == want.shape, f"{name}: {about}"
    empty = np.isneginf(want)
    assert np.array_equal(empty, np.isneginf(got)), f"{name}: -inf elsewhere: {about}"
    difference = np.where(empty, 0, got) - np.where(empty, 0, want)
    scale = 1 + np.abs(np.where(empty, 0, want)) if name == "logsumexp" else 1
    largest = np.max(np.abs(difference) / scale, initial=0.0)
    assert largest <= tolerance, f"{name}: off by {largest}: {about}"
    norm = np.linalg.norm(difference)
    assert norm <= relative * np.linalg.norm(np.where(empty, 0, want)) + tolerance * 1e-3, f"{name}: {norm}: {about}"


def check_against_definition(problem: Problem, dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    problem = as_jax(problem, dtype, seed)
    arrays = problem.arrays
    lse_dtype = "float64" if dtype == "float64" else "float32"
    shape = (*arrays["query"].shape[:-1], arrays["value"].shape[-1])
    dout = jnp.asarray(rng.standard_normal(shape), dtype)
    dlse = jnp.asarray(rng.standard_normal(shape[:-1]), lse_dtype)
    out, lse = attend(problem)
    assert (out.dtype, lse.dtype) == (dtype, lse_dtype), problem.about
    want_out, want_lse, want, sizes = attention(problem, f64(dout), f64(dlse))
    out_max, lse_max, out_relative, relative = TOLERANCES[dtype]
    check_close("out", out, want_out, out_max, out_relative, problem.about)
    check_close("logsumexp", lse, want_lse, lse_max, lse_max, problem.about)
    got = gradients_of(problem, dout, dlse)
    assert set(got) == set(want), problem.about
    for name, gradient in got.items():
        assert (gradient.dtype, gradient.shape) == (arrays[name].dtype, arrays[name].shape), f"{name}: {problem.about}"
        error = np.linalg.norm(f64(gradient) - want[name])
        size = max(np.linalg.norm(want[name]), 1e-2 * np.linalg.norm(sizes[name]))
        assert error <= relative * size, f"gradient of {name}: {error / max(size, 1e-300)}: {problem.about}"


@pytest.mark.parametrize("seed", range(60))
def test_float64_against_definition(seed: int) -> None:
    with enable_x64(True):
        check_against_definition(random_problem(seed), "float64", seed)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("seed", range(100, 120))
def test_other_dtypes_against_definition(seed: int, dtype: str) -> None:
    check_against_definition(random_problem(seed), dtype, seed)


@pytest.mark.parametrize("seed", range(200, 206))
def test_float32_with_64_bit_types_enabled(seed: int) -> None:
    with enable_x64(True):
        check_against_definition(random_problem(seed), "float32", seed)


@pytest.mark.parametrize("seed", range(300, 308))
def test_gradients_by_finite_differences(seed: int) -> None:
    problem = random_problem(seed)
    # A weight of 0 is at the edge of where attention is defined, and a masked query's logsumexp is no number.
    if "key_weights" in problem.arrays:
        problem.arrays["key_weights"] = np.maximum(problem.arrays["key_weights"], 0.1)
    problem.arrays.pop("key_mask", None)
    with enable_x64(True):
        problem = as_jax(problem, "float64")
        check_grads(
            lambda arrays: attend(problem, {**problem.arrays, **arrays}), (problem.arrays,), order=1, modes=["rev"]
        )


@pytest.mark.parametrize("boundary", ["clamp", "cut", "wrap"])
@pytest.mark.parametrize(
    "options", [{"engine": "reference"}, {"kernel": "band"}, {"kernel": "tile"}, {"isa": "portable"}]
)
def test_options_reach_the_library(options: dict[str, str], boundary: str) -> None:
    problem = random_problem(7, modifiers=False, rank=2)
    problem.pattern = Neighborhood(3, boundary=boundary)
    problem.options = {**options, "num_threads": 2}
    with enable_x64(True):
        check_against_definition(problem, "float64", 7)


def test_any_number_of_threads_gives_the_same_bits() -> None:
    problem = as_jax(random_problem(11, rank=2), "float32")
    results = []
    for threads in (1, 2, 5):
        problem.options = {"num_threads": threads}
        out, lse = attend(problem)
        results.append([out, lse, *jax.tree.leaves(gradients_of(problem, out, lse))])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_empty_batch() -> None:
    q, bias = jnp.zeros((0, 5, 2, 4)), jnp.ones((2, 5))

    def total(q: Any, bias: Any) -> Any:
        out, lse = nearfield.jax.attend(Neighborhood(3), q, q, q, bias=bias, return_lse=True)
        assert (out.shape, lse.shape) == ((0, 5, 2, 4), (0, 5, 2))
        return out.sum() + lse.sum()

    dq, dbias = jax.jit(jax.grad(total, (0, 1)))(q, bias)
    assert dq.shape == q.shape
    np.testing.assert_array_equal(dbias, np.zeros((2, 5)))


def test_a_query_that_sees_nothing() -> None:
    x = jnp.ones((1, 4, 1, 2))
    mask = jnp.array([[False, False, True, True]])

    def outputs(x: Any) -> Any:
        return nearfield.jax.attend(Neighborhood(1), x, x, x, key_mask=mask, return_lse=True)

    out, lse = outputs(x)
    np.testing.assert_array_equal(out[0, :, 0, 0], [0, 0, 1, 1])
    np.testing.assert_array_equal(np.isneginf(lse[0, :, 0]), [True, True, False, False])
    gradient = jax.grad(lambda x: outputs(x)[0].sum())(x)
    np.testing.assert_array_equal(gradient[0, :, 0], [[0, 0], [0, 0], [1, 1], [1, 1]])


def results_computed(function: Any, *arguments: Any) -> dict[str, int]:
    """How many results each handler is asked for in the function's program."""
    counts: dict[str, int] = {}

    def visit(jaxpr: Any) -> None:
        for equation in jaxpr.eqns:
            if equation.primitive.name == "ffi_call":
                target = equation.params["target_name"]
                counts[target] = counts.get(target, 0) + len(equation.outvars)
            for each in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda e: hasattr(e, "jaxpr")):
                if hasattr(each, "jaxpr"):
                    visit(each.jaxpr)

    visit(jax.make_jaxpr(function)(*arguments).jaxpr)
    return counts


def test_only_wanted_gradients_are_computed() -> None:
    problem = as_jax(random_problem(11, rank=1), "float32")
    arrays = [problem.arrays[name] for name in ("query", "key", "value")]

    def total(q: Any, k: Any, v: Any) -> Any:
        return nearfield.jax.attend(problem.pattern, q, k, v).sum()

    assert results_computed(total, *arrays) == {"nearfield_forward": 1}
    for argnums in ((0,), (1,), (0, 2), (0, 1, 2)):
        counts = results_computed(jax.grad(total, argnums), *arrays)
        assert counts == {"nearfield_forward": 2, "nearfield_backward": len(argnums)}
    mapped = [jnp.stack([each] * 2) for each in arrays]
    counts = results_computed(jax.vmap(jax.grad(total, 2)), *mapped)
    assert counts == {"nearfield_forward": 2, "nearfield_backward": 1}


def test_gradient_of_logsumexp_alone_and_of_out_alone() -> None:
    problem = as_jax(random_problem(3, rank=2), "float32")
    dout, dlse = attend(problem)
    dlse = jnp.where(jnp.isfinite(dlse), dlse, 0)

    def output(i: int, query: Any) -> Any:
        return attend(problem, {**problem.arrays, "query": query})[i]

    for i, given in ((0, (dout, 0 * dlse)), (1, (0 * dout, dlse))):
        both = gradients_of(problem, *given)
        alone = jax.vjp(partial(output, i), problem.arrays["query"])[1]
        np.testing.assert_allclose(alone(given[i])[0], both["query"], rtol=1e-6, atol=1e-7)


# ---- errors ---------------------------------------------------------------------------------------------------------

X = np.zeros((2, 6, 5, 4, 8), np.float32)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"pattern": 7}, TypeError, "pattern: is a int: must be a nearfield pattern"),
        ({"pattern": Neighborhood(0)}, ArgumentError, r"kernel_size\[0\]=0: must be at least 1"),
        ({"pattern": Neighborhood((3, 3, 3))}, ArgumentError, "has 3 values, but the grid has 2 axes"),
        ({"query": X[0, 0, 0]}, ArgumentError, r"query: shape \(4, 8\): has 2 dimensions, must be \(batch, \*grid"),
        ({"query": X.astype("int32")}, TypeError, "query: dtype int32: must be float64, float32, bfloat16 or float16"),
        ({"key": X[:, :4]}, ArgumentError, r"key.sizes\[1\]=4 \(axis 0\): must be 6, as in query"),
        ({"key": X[..., :3, :]}, ArgumentError, r"key.sizes\[3\]=3 \(heads_kv\): must divide the 4 heads of query"),
        ({"key": X.astype("float16")}, ArgumentError, "key.dtype=float16: must be float32, as in query"),
        ({"value": None}, TypeError, "value: is None: must be a jax.Array or numpy.ndarray, as query is"),
        ({"value": np.zeros((1,) * 7, np.float32)}, ArgumentError, "has more than 6 dimensions"),
        ({"additional_keys": X[:, :3, 0]}, ArgumentError, "additional_values: must not be None"),
        ({"key_mask": X[..., 0, 0]}, ArgumentError, "key_mask.dtype=float32: must be bool"),
        ({"key_mask": X[..., 0, 0].astype("int32")}, TypeError, "key_mask: dtype int32: must be bool"),
        ({"key_weights": X[0]}, ArgumentError, "key_weights.rank=4: must be 2"),
        ({"bias": X[0, 0]}, ArgumentError, "bias.sizes"),
        ({"bias": np.zeros((4, 5, 5), np.float16)}, ArgumentError, "bias.dtype=float16: must be float32, as in query"),
        ({"softcap": -1.0}, ArgumentError, "softcap=-1: must be finite and at least 0"),
        ({"scale": float("inf")}, ArgumentError, "scale=inf: must be finite"),
        ({"scale": "large"}, TypeError, "scale='large': must be a number"),
        ({"softcap": None}, TypeError, "softcap=None: must be a number"),
        ({"engine": "gpu"}, ArgumentError, "engine='gpu': must be one of 'auto', 'reference', 'cpu', 'block_sparse', "),
        ({"num_threads": -1}, ArgumentError, "num_threads=-1: must be"),
    ],
)
@pytest.mark.parametrize("compiled", [False, True])
def test_wrong_arguments(change: dict[str, Any], error: type[Exception], message: str, compiled: bool) -> None:
    keywords = {"pattern": Neighborhood(3), "query": X, "key": X, "value": X, **change}
    arrays = {name: each for name, each in keywords.items() if isinstance(each, np.ndarray)}
    others = {name: each for name, each in keywords.items() if name not in arrays}

    def call(arrays: dict[str, Any]) -> Any:
        return nearfield.jax.attend(**arrays, **others)

    with pytest.raises(error, match=message):
        (jax.jit(call) if compiled else call)(arrays)


def test_a_traced_scale_is_refused() -> None:
    with pytest.raises(TypeError, match="scale: is traced: must be a number"):
        jax.jit(lambda s: nearfield.jax.attend(Neighborhood(3), X, X, X, scale=s))(1.0)


def test_what_only_the_backward_pass_cannot_do_is_said_while_tracing() -> None:
    x = jax.ShapeDtypeStruct((1, 4, 300, 1, 64), "float32")

    def call(x: Any) -> Any:
        return nearfield.jax.attend(Neighborhood((3, 300), boundary="cut"), x, x, x, kernel="band").sum()

    assert jax.eval_shape(call, x).shape == ()
    with pytest.raises(UnsupportedError, match="kernel=band: the window's key lines are too large"):
        jax.eval_shape(jax.grad(call), x)


def test_what_only_values_tell_is_an_error_of_the_program() -> None:
    weights = np.ones((6, 5), np.float32)
    weights[1, 2] = -0.5
    call = jax.jit(lambda w: nearfield.jax.attend(Neighborhood(3), X, X, X, key_weights=w))
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"key_weights\[1\]\[2\]=-0.5: must be finite and at least 0"):
        call(weights).block_until_ready()


def test_forward_mode_and_second_derivatives_are_refused() -> None:
    x = jnp.asarray(X)

    def total(x: Any) -> Any:
        return nearfield.jax.attend(Neighborhood(3), x, x, x).sum()

    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(total, (x,), (x,))
    with pytest.raises(ValueError, match="cannot be differentiated"):
        jax.grad(lambda x: jax.grad(total)(x).sum())(x)


# ---- what is registered and loaded ----------------------------------------------------------------------------------


def test_other_platforms_get_a_clear_error() -> None:
    """The handler that other platforms have, run on this one under a name of its own."""
    library = ctypes.CDLL(str(_library.path.with_name("libnearfield_jax.so")))
    jax.ffi.register_ffi_target("elsewhere", jax.ffi.pycapsule(library.nf_jax_elsewhere), platform="cpu")
    with pytest.raises(jax.errors.JaxRuntimeError, match="nearfield runs on the CPU only"):
        jax.ffi.ffi_call("elsewhere", jax.ShapeDtypeStruct((2,), "float32"))(jnp.ones(2)).block_until_ready()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pattern": np.array([112, 1 << 32 | 1])}, "pattern: must be as many words as its struct_size says"),
        ({"operands": np.int64(3)}, "operands=3: must have one bit"),
        ({"results": np.int64(1 << 40 | 1)}, "results=1099511627777: must have one bit"),
        ({"kernel": np.int64(1 << 32)}, "kernel=4294967296: must fit in 32 bits"),
        ({"softcap": np.int64(0)}, "softcap: "),
        ({"engine": np.int64(9)}, "engine=9: must be 0 "),
    ],
)
def test_handlers_trust_no_caller(change: dict[str, Any], message: str) -> None:
    handlers.register()
    x = jnp.ones((1, 4, 1, 2))
    numbers = dict.fromkeys(("operands", "results", "engine", "isa", "kernel", "num_threads"), np.int64(0))
    attributes = {
        **numbers,
        "pattern": np.array(Neighborhood(3).words(1), np.int64),
        "operands": np.int64(7),
        "results": np.int64(1),
        "softcap": np.float64(0),
        **change,
    }
    run = jax.ffi.ffi_call("nearfield_forward", [jax.ShapeDtypeStruct(x.shape, x.dtype)])
    with pytest.raises(jax.errors.JaxRuntimeError, match=message):
        run(x, x, x, **attributes)[0].block_until_ready()


def test_nearfield_alone_does_not_import_jax() -> None:
    program = "import sys, nearfield; assert 'jax' not in sys.modules and 'jaxlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_library_without_handlers_is_named(tmp_path: Path) -> None:
    alone = shutil.copy(_library.path, tmp_path)
    program = "import numpy, nearfield.jax as nj, nearfield as nf; x = numpy.ones((1, 4, 1, 2), 'float32'); "
    program += "nj.attend(nf.Neighborhood(3), x, x, x)"
    environment = {**os.environ, "NEARFIELD_LIBRARY": str(alone)}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert f"LibraryError: {tmp_path}/libnearfield_jax.so: no such file: this nearfield was built without" in run.stderr


def test_equals_torch() -> None:
    """Both faces on one problem. The torch face may call another kernel in its backward pass, so to a tolerance."""
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("nearfield.functional")
    problem = as_jax(random_problem(11, rank=2), "float32")
    arrays = {name: torch.from_numpy(np.array(each)) for name, each in problem.arrays.items()}
    for name in arrays:
        arrays[name].requires_grad_(name in DIFFERENTIABLE)
    out, lse = functional.attend(problem.pattern, return_lse=True, **arrays, **problem.keywords())
    ours_out, ours_lse = attend(problem)
    np.testing.assert_allclose(ours_out, out.detach(), rtol=0, atol=2e-5)
    np.testing.assert_allclose(ours_lse, lse.detach(), rtol=1e-5, atol=1e-5)
    out.sum().backward()
    ours = gradients_of(problem, jnp.ones_like(ours_out), jnp.zeros_like(ours_lse))
    for name, gradient in ours.items():
        want = arrays[name].grad.numpy()
        assert np.linalg.norm(gradient - want) <= 1e-5 * max(np.linalg.norm(want), 1e-2), name
