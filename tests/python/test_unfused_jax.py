"""qk, av and the weights of attend in JAX: values and gradients against numpy's, jit, vmap, what is refused."""

import numpy as np
import pytest
import unfused_problems
from drawn_patterns import KINDS
from unfused_problems import ATTEND, AV, QK

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
import nearfield as nf  # noqa: E402

enable_x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64


@pytest.fixture(autouse=True)
def doubles():
    with enable_x64(True):
        yield


def close(found, expected, about):
    """NaN is close to nothing, -inf to itself."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, about
    hidden = expected == -np.inf
    assert (found[hidden] == -np.inf).all(), about
    assert np.abs(found[~hidden] - expected[~hidden]).max(initial=0) <= 1e-11, about


def finite(array):
    return jnp.where(array == -jnp.inf, 0, array)


@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_are_those_of_numpy(kind):
    for seed in range(2):
        problem = unfused_problems.draw(seed, kind)
        pattern, scale, arrays = problem.pattern, problem.scale, problem.arrays
        for names, function, vjp, more in (
            (QK, nf.qk, nf.numpy.vjp_qk, {"scale": scale}),
            (AV, nf.av, nf.numpy.vjp_av, {}),
        ):
            given = {name: arrays[name] for name in names if name in arrays}
            expected, pullback = vjp(pattern, **given, **more)
            upstream = np.random.default_rng(seed).standard_normal(expected.shape)
            gradients = pullback(upstream)
            mask = given.pop("key_mask", None)

            def total(moved, pattern=pattern, upstream=upstream, mask=mask, function=function, more=more):
                found = function(pattern, **moved, **more, key_mask=None if mask is None else jnp.asarray(mask))
                return (finite(found) * upstream).sum(), found

            moved = {name: jnp.asarray(each) for name, each in given.items()}
            (_, found), grads = jax.jit(jax.value_and_grad(total, has_aux=True))(moved)
            close(found, expected, problem.about)
            for name, each in grads.items():
                close(each, getattr(gradients, name), (name, problem.about))


def test_weights_of_attend_have_the_gradients_of_the_composition():
    problem = unfused_problems.draw(4)
    pattern, mask = problem.pattern, jnp.asarray(problem.arrays["query"][..., 0, 0] < 0.5)
    moved = {
        name: jnp.asarray(problem.arrays[name]) for name in ATTEND if name in problem.arrays and name != "key_mask"
    }

    def attended(a):
        out, lse, weights = nf.attend(pattern, **a, key_mask=mask, return_lse=True, return_weights=True)
        return jnp.sin(out).sum() + finite(lse).sum() + (weights**2).sum()

    def composed(a):
        more = {name: a[name] for name in QK if name in a}
        logits = nf.qk(pattern, **more, key_mask=mask)
        hidden = logits == -jnp.inf
        empty = hidden.all(-1, keepdims=True)
        weights = jnp.where(hidden, 0, jax.nn.softmax(jnp.where(empty, 0, logits), -1))
        more = {name: a[name] for name in AV[1:] if name in a}
        out = nf.av(pattern, weights, **more, key_mask=mask)
        lse = jnp.where(empty[..., 0], 0, jax.nn.logsumexp(jnp.where(empty, 0, logits), -1))
        return jnp.sin(out).sum() + lse.sum() + (weights**2).sum()

    (found, gradients), (expected, right) = (jax.jit(jax.value_and_grad(each))(moved) for each in (attended, composed))
    close(found, expected, problem.about)
    for name in moved:
        close(gradients[name], right[name], (name, problem.about))
    only = jax.grad(lambda v: attended({**moved, "value": v}))(moved["value"])
    close(only, right["value"], problem.about)


def test_vmap_of_calls_and_gradients():
    random = np.random.default_rng(0)
    q, k, v = (jnp.asarray(random.standard_normal((3, 2, 6, 2, 4))) for _ in range(3))
    bias = jnp.asarray(random.standard_normal((3, 2, 5)))
    pattern = nf.Neighborhood(3, boundary="wrap")

    def total(q, k, v, bias):
        out = nf.av(pattern, jax.nn.softmax(nf.qk(pattern, q, k, bias=bias), -1), v)
        _, weights = nf.attend(pattern, q, k, v, bias=bias, return_weights=True)
        return jnp.sin(out).sum() + (weights**3).sum()

    function = jax.grad(total, argnums=(0, 1, 2, 3))
    for places in ((0, 0, 0, 0), (0, None, 0, None), (None, 0, None, None)):
        chosen = [each if place == 0 else each[0] for each, place in zip((q, k, v, bias), places, strict=True)]
        found = jax.vmap(function, in_axes=places)(*chosen)
        for i in range(3):
            own = [each[i] if place == 0 else each for each, place in zip(chosen, places, strict=True)]
            for a, b in zip(found, function(*own), strict=True):
                close(a[i], b, places)


def test_narrow_types_and_empty_batches():
    x = jnp.ones((0, 4, 2, 3), jnp.bfloat16)
    pattern = nf.Neighborhood(3)
    assert nf.qk(pattern, x, x).shape == (0, 4, 2, 3)
    x = jnp.ones((1, 4, 2, 3), jnp.bfloat16)
    assert nf.qk(pattern, x, x).dtype == jnp.bfloat16 and nf.qk(pattern, x, x, wide=True).dtype == jnp.float32
    out, weights = nf.jax.attend(pattern, x, x, x, return_weights=True)
    assert out.dtype == jnp.bfloat16 and weights.dtype == jnp.float32 and np.abs(weights.sum(-1) - 1).max() <= 1e-6


def test_what_is_refused():
    x, w, pattern = jnp.ones((2, 6, 2, 4)), jnp.ones((2, 6, 2, 3)), nf.Neighborhood(3)
    for call, error, message in (
        (
            lambda: jax.jit(lambda x: nf.qk(pattern, x, x[..., :3]))(x),
            nf.ArgumentError,
            r"key.sizes\[3\]=3 \(head_dim\)",
        ),
        (
            lambda: nf.qk(pattern, x, x[:1]),
            nf.ArgumentError,
            r"key: shape \(1, 6, 2, 4\): must have the batch of query, 2",
        ),
        (lambda: nf.qk(pattern, x, x, bias=w[0, :2]), nf.ArgumentError, r"bias.rank=3|bias.sizes"),
        (lambda: nf.qk(pattern, x.astype(int), x), TypeError, "query: dtype int64: must be float64"),
        (lambda: nf.qk(pattern, x, x, engine="cpu"), nf.UnsupportedError, "engine=cpu: has no explicit weights"),
        (lambda: nf.qk(nf.Neighborhood(0), x, x), nf.ArgumentError, r"kernel_size\[0\]=0"),
        (lambda: nf.qk(nf.Neighborhood(1 << 40), x, x), MemoryError, "this machine has"),
        (lambda: nf.av(pattern, w[..., :2], x), nf.ArgumentError, r"weights.sizes\[3\]=2 \(slots\): must be 3"),
        (lambda: nf.av(pattern, w, jnp.ones(())), nf.ArgumentError, r"value: shape \(\)"),
        (lambda: nf.attend(pattern, x, x, x[:, :5], return_weights=True), nf.ArgumentError, r"value.sizes\[1\]=5"),
    ):
        with pytest.raises(error, match=message):
            call()
