"""The numpy face: forward against the definition, gradients by finite differences, layouts, dtypes."""

import definition
import nearfield as nf
import numpy as np
import problems
import pytest
from drawn_patterns import KINDS


def cast(array, dtype):
    if array is None or array.dtype == bool:
        return array
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    return array.astype(dtype)


def arguments(problem):
    arrays = [cast(each, problem.dtype) for each in (problem.query, problem.key, problem.value)]
    given = {
        name: cast(each, problem.dtype) if isinstance(each, np.ndarray) else each
        for name, each in problem.modifiers.items()
    }
    return arrays, given


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_the_forward_is_what_the_definition_says(dtype, kind):
    for seed in range(60):
        problem = problems.draw(seed, dtype, kind=kind)
        arrays, given = arguments(problem)
        out, lse = nf.attend(problem.pattern, *arrays, **given, return_lse=True)
        expected, expected_lse = problem.expected()
        assert out.dtype == arrays[0].dtype
        assert lse.dtype == (np.float64 if dtype == "float64" else np.float32)
        error = np.abs(out.astype(np.float64) - expected).max(initial=0)
        assert error <= 4 * problems.OUT[dtype], (str(problem), error)
        seen = np.isfinite(expected_lse)
        assert (np.isneginf(lse) == ~seen).all(), str(problem)
        error = np.abs(lse[seen] - expected_lse[seen]).max(initial=0)
        assert error <= 1e-11 if dtype == "float64" else error <= 5e-3, (str(problem), error)


def test_na1d_na2d_na3d_are_attend_with_a_neighborhood():
    random = np.random.default_rng(0)
    for rank, function in ((1, nf.na1d), (2, nf.na2d), (3, nf.na3d)):
        x = random.standard_normal((2, *(6, 5, 4)[:rank], 2, 8))
        pattern = nf.Neighborhood(3, stride=2, dilation=2, is_causal=True, boundary="cut")
        by_name = function(x, x, x, kernel_size=3, stride=2, dilation=2, is_causal=True, boundary="cut")
        assert (by_name == nf.attend(pattern, x, x, x)).all()
        assert (function(x, x, x, [3] * rank) == function(x, x, x, (3,) * rank)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_the_definitions_slopes(kind):
    for seed in range(12):
        problem = problems.draw(seed, most_tokens=12, kind=kind)
        arrays, given = arguments(problem)
        (out, lse), pullback = nf.numpy.vjp(problem.pattern, *arrays, **given, return_lse=True)
        random = np.random.default_rng(seed)
        dout, dlse = random.standard_normal(out.shape), random.standard_normal(lse.shape)
        gradients = pullback(dout, dlse)

        def total(out_and_lse, dout=dout, dlse=dlse):
            out, lse = out_and_lse
            return (out * dout).sum() + np.where(np.isfinite(lse), lse * dlse, 0).sum()

        sources = dict(zip(("query", "key", "value"), arrays, strict=True), **given)
        for name in nf.numpy.Gradients._fields:
            if name not in sources:
                assert getattr(gradients, name) is None
                continue
            step = random.standard_normal(sources[name].shape)
            if name == "key_weights":  # the slope at 0 would need a negative weight on its other side
                step[sources[name] == 0] = 0
            ends = []
            for sign in (1, -1):
                moved = dict(sources)
                moved[name] = sources[name] + sign * 1e-6 * step
                ends.append(total(definition.attention(problem.defined(), **moved)))
            slope = (ends[0] - ends[1]) / 2e-6
            assert abs(slope - (getattr(gradients, name) * step).sum()) <= 1e-6 * (1 + abs(slope)), (str(problem), name)


def test_any_strides_give_the_same_bits():
    random = np.random.default_rng(0)
    plain = [random.standard_normal((2, 5, 6, 3, 4)).astype("float32") for _ in range(3)]
    expected = nf.na2d(*plain, 3)
    heads_first = [np.ascontiguousarray(x.transpose(0, 3, 1, 2, 4)).transpose(0, 2, 3, 1, 4) for x in plain]
    packed = np.stack(plain, axis=-2)
    backwards = [np.ascontiguousarray(x[:, ::-1])[:, ::-1] for x in plain]
    fortran = [np.asfortranarray(x) for x in plain]
    raw = np.zeros(plain[0].nbytes + 1, "uint8")
    misaligned = raw[1:].view("float32").reshape(plain[0].shape)
    misaligned[:] = plain[0]
    for arrays in (
        heads_first,
        [packed[..., i, :] for i in range(3)],
        backwards,
        fortran,
        [misaligned, plain[1], plain[2]],
    ):
        assert (nf.na2d(*arrays, 3) == expected).all()
    assert nf.explain(nf.Neighborhood(3), *heads_first).copies == ()
    assert nf.explain(nf.Neighborhood(3), *fortran).copies[0] == "query: its channels are not adjacent in memory"
    one = np.broadcast_to(plain[0][:1], plain[0].shape)
    assert (nf.na2d(one, one, one, 3)[1] == nf.na2d(plain[0], plain[0], plain[0], 3)[0]).all()


def test_merging_is_one_softmax_over_all_keys():
    random = np.random.default_rng(0)
    q, k, v = (random.standard_normal((2, 12, 2, 4)) for _ in range(3))
    mask = random.random((2, 12)) < 0.5
    parts = [nf.na1d(q, k, v, 12, key_mask=m, return_lse=True) for m in (mask, ~mask)]
    out, lse = nf.merge(*zip(*parts, strict=True))
    expected, expected_lse = nf.na1d(q, k, v, 12, return_lse=True)
    assert np.abs(out - expected).max() <= 1e-14
    assert np.abs(lse - expected_lse).max() <= 1e-14


def test_only_wanted_gradients_are_computed():
    x = np.ones((1, 4, 1, 2))
    _, pullback = nf.numpy.vjp(nf.Neighborhood(3), x, x, x)
    gradients = pullback(x, wanted=("key",))
    assert gradients.key is not None and gradients.query is None and gradients.value is None
    with pytest.raises(nf.ArgumentError, match="wanted=.*must be among query, key"):
        pullback(x, wanted=("keys",))


def test_empty_problems_are_no_error():
    x = np.ones((0, 4, 1, 2), "float32")
    assert nf.na1d(x, x, x, 3).shape == x.shape
    x = np.ones((1, 0, 5, 1, 2), "float32")
    assert nf.na2d(x, x, x, 3).shape == x.shape


def test_other_python_threads_run_while_the_library_works():
    import threading
    import time

    x = np.random.default_rng(0).standard_normal((1, 1000, 2, 64))
    span = []

    def attend():
        start = time.perf_counter()
        nf.na1d(x, x, x, 301, engine="reference")
        span.extend((start, time.perf_counter()))

    thread = threading.Thread(target=attend)
    thread.start()
    seen = []
    while thread.is_alive():
        seen.append(time.perf_counter())
    start, end = span
    assert any(start + (end - start) / 4 < each < end - (end - start) / 4 for each in seen)
