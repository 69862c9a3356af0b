"""qk, av and the weights of attend on numpy arrays, against their definition; their gradients; what is refused."""

import definition
import definition_weights as literal
import nearfield as nf
import numpy as np
import pytest
import unfused_problems
from drawn_patterns import KINDS
from unfused_problems import ATTEND, AV, QK

SEEDS = range(10)


def check(found, expected, tolerance, about):
    """Equal up to a tolerance, -inf where that is expected; NaN never."""
    assert found.shape == expected.shape, about
    hidden = expected == -np.inf
    assert (found[hidden] == -np.inf).all(), about
    error = np.abs(found[~hidden].astype("float64") - expected[~hidden]).max(initial=0)
    assert error <= tolerance * max(1, np.abs(expected[~hidden]).max(initial=0)), (error, about)


@pytest.mark.parametrize("kind", KINDS)
def test_qk_and_av_are_their_definitions(kind):
    for seed in SEEDS:
        problem = unfused_problems.draw(seed, kind)
        (query, key), given = problem.of(QK, 2)
        for engine in ("auto", "gemm", "naive", "reference"):
            logits = nf.qk(problem.pattern, query, key, scale=problem.scale, engine=engine, **given)
            check(logits, literal.qk(problem.defined(), problem.arrays, problem.scale), 1e-13, problem.about)
            (weights, value), rest = problem.of(AV, 2)
            weights = np.where(logits == -np.inf, np.nan, weights)  # what hidden slots hold is not read
            out = nf.av(problem.pattern, weights, value, engine=engine, **rest)
            check(out, literal.av(problem.defined(), problem.arrays), 1e-13, problem.about)
        keys = nf.geometry.weight_keys(problem.pattern, query.shape[1:-2])
        seen = [[{k for k, _ in definition.sights(problem.defined(), t)} for t in np.ndindex(*query.shape[1:-2])]]
        for row, tokens in zip(keys, seen[0], strict=True):
            places = {tuple(map(int, np.unravel_index(k, query.shape[1:-2]))) for k in row if k >= 0}
            assert places == tokens, problem.about
        plain = nf.qk(problem.pattern, query, key)
        assert ((plain[0, ..., 0, :].reshape(keys.shape) == -np.inf) == (keys < 0)).all(), problem.about


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_the_transposes_of_the_definitions(kind):
    """Both are linear in each argument: <upstream, f(move)> = <gradient, move> for any move."""
    for seed in SEEDS:
        problem = unfused_problems.draw(seed, kind)
        random, defined, arrays = np.random.default_rng(seed), problem.defined(), problem.arrays
        (query, key), given = problem.of(QK, 2)
        logits, pullback = nf.numpy.vjp_qk(problem.pattern, query, key, scale=problem.scale, **given)
        hidden = logits == -np.inf
        upstream = random.standard_normal(logits.shape)
        found = pullback(np.where(hidden, np.nan, upstream))
        for name in found._fields:
            if name not in arrays:
                assert getattr(found, name) is None
                continue
            move = random.standard_normal(arrays[name].shape)
            others = {each: arrays[each] for each in QK if each in arrays and each != "bias"}
            if name == "bias":
                others["query"] = 0 * query
            elif name == "key" and "additional_keys" in others:
                others["additional_keys"] = 0 * arrays["additional_keys"]
            elif name == "additional_keys":
                others["key"] = 0 * key
            moved = literal.qk(defined, {**others, name: move}, problem.scale)
            slope = (upstream * np.where(hidden, 0, moved)).sum()
            assert abs(slope - (getattr(found, name) * move).sum()) <= 1e-11 * (1 + abs(slope)), (name, problem.about)
        (weights, value), given = problem.of(AV, 2)
        out, pullback = nf.numpy.vjp_av(problem.pattern, weights, value, **given)
        upstream = random.standard_normal(out.shape)
        found = pullback(upstream)
        assert not found.weights[hidden].any()
        for name in found._fields:
            if name not in arrays:
                assert getattr(found, name) is None
                continue
            move = random.standard_normal(arrays[name].shape)
            others = {each: arrays[each] for each in AV if each in arrays}
            if name == "value" and "additional_values" in others:
                others["additional_values"] = 0 * arrays["additional_values"]
            elif name == "additional_values":
                others["value"] = 0 * value
            slope = (upstream * literal.av(defined, {**others, name: move})).sum()
            assert abs(slope - (getattr(found, name) * move).sum()) <= 1e-11 * (1 + abs(slope)), (name, problem.about)


@pytest.mark.parametrize("kind", KINDS)
def test_attention_leaves_its_weights(kind):
    for seed in SEEDS:
        problem = unfused_problems.draw(seed, kind)
        (query, key, value), given = problem.of(ATTEND, 3)
        out, lse, weights = nf.attend(
            problem.pattern, query, key, value, scale=problem.scale, return_lse=True, return_weights=True, **given
        )
        expected = literal.softmax(literal.qk(problem.defined(), problem.arrays, problem.scale))
        check(weights, expected, 1e-13, problem.about)
        right, right_lse = definition.attention(problem.defined(), query, key, value, scale=problem.scale, **given)
        check(out, right, 1e-12, problem.about)
        check(lse, right_lse, 1e-12, problem.about)


def test_functions_of_a_rank_leave_weights_too():
    x = np.random.default_rng(0).standard_normal((1, 3, 4, 5, 2, 4))
    for rank, function in ((1, nf.na1d), (2, nf.na2d), (3, nf.na3d)):
        y = x.reshape(1, *((60,), (12, 5), (3, 4, 5))[rank - 1], 2, 4)
        out, weights = function(y, y, y, 3, return_weights=True)
        assert weights.shape == (*y.shape[:-1], 3**rank)
        assert np.abs(weights.sum(-1) - 1).max() <= 1e-14
        assert np.abs(out - function(y, y, y, 3)).max() <= 1e-13
        assert np.abs(nf.av(nf.Neighborhood(3), weights, y) - out).max() <= 1e-14


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_narrow_types(dtype):
    kind = pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    tolerance = {"float32": 2e-6, "float16": 2e-3, "bfloat16": 1e-2}[dtype]
    problem = unfused_problems.draw(3)
    narrow = {n: a if n == "key_mask" else a.astype(kind) for n, a in problem.arrays.items()}
    problem.arrays = {n: a if n == "key_mask" else a.astype("float64") for n, a in narrow.items()}
    expected = literal.qk(problem.defined(), problem.arrays, problem.scale)
    given = {name: narrow[name] for name in QK[2:] if name in narrow}
    for wide in (False, True):
        found = nf.qk(problem.pattern, narrow["query"], narrow["key"], scale=problem.scale, wide=wide, **given)
        assert found.dtype == ("float32" if wide else kind)
        check(found.astype("float64"), expected, 2e-6 if wide else tolerance, problem.about)
    expected = literal.av(problem.defined(), problem.arrays)
    given = {name: narrow[name] for name in AV[2:] if name in narrow}
    for weights in (narrow["weights"], narrow["weights"].astype("float32")):
        found = nf.av(problem.pattern, weights, narrow["value"], **given)
        assert found.dtype == kind
        check(found.astype("float64"), expected, tolerance, problem.about)
    _, weights = nf.attend(problem.pattern, *(narrow[n] for n in ATTEND[:3]), return_weights=True)
    assert weights.dtype == "float32"


def test_any_strides_and_misaligned_elements_give_the_same_bits():
    random, pattern = np.random.default_rng(0), nf.Neighborhood(3)
    x, w = (random.standard_normal((2, 5, 6, 3, each)).astype("float32") for each in (4, 9))
    logits, out = nf.qk(pattern, x, x), nf.av(pattern, w, x)

    def misaligned(array):
        raw = np.zeros(array.nbytes + 1, "uint8")[1:].view("float32").reshape(array.shape)
        raw[:] = array
        return raw

    for change in (np.asfortranarray, misaligned, lambda a: np.ascontiguousarray(a[:, ::-1])[:, ::-1]):
        assert (nf.qk(pattern, change(x), change(x)) == logits).all()
        assert (nf.av(pattern, change(w), change(x)) == out).all()


def test_empty_batches_and_grids():
    for shape in ((0, 5, 2, 4), (2, 0, 2, 4)):
        x = np.ones(shape)
        pattern = nf.Neighborhood(3)
        assert nf.qk(pattern, x, x).shape == (*shape[:-1], 3)
        out, weights = nf.attend(pattern, x, x, x, return_weights=True)
        assert out.shape == shape and weights.shape == (*shape[:-1], 3)
        logits, pullback = nf.numpy.vjp_qk(pattern, x, x, bias=np.ones((2, 5)))
        assert not pullback(logits).bias.any()


def test_explain_says_what_weights_take():
    x = np.zeros((2, 56, 56, 2, 32), "float16")
    more = np.zeros((2, 3, 2, 32), "float16")
    pattern = nf.Neighborhood(7)
    found = nf.explain(pattern, x, x, x, additional_keys=more, additional_values=more, return_weights=True)
    _, weights = nf.attend(pattern, x, x, x, additional_keys=more, additional_values=more, return_weights=True)
    assert found.weights == weights.nbytes and found.workspace == 0
    assert "weights" in str(found) and "(2, 56, 56, 2, 52) take" in found.reason
    assert nf.explain(pattern, x, x, x).weights == 0
    assert nf.explain(pattern, x, x, x, return_weights=True, backward=True).workspace == 4 * 2 * 3136 * 2 * 49 * 4


X = np.ones((1, 6, 6, 2, 4), "float32")
W = np.ones((1, 6, 6, 2, 9), "float32")
P = nf.Neighborhood(3)
MORE = np.ones((1, 2, 2, 4), "float32")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nf.qk(3, X, X), TypeError, "pattern: is a int: must be a nearfield pattern"),
        (lambda: nf.qk(P, X[0, 0], X), nf.ArgumentError, r"query: shape \(6, 2, 4\): has 3 dimensions, must be"),
        (lambda: nf.qk(P, X, None), TypeError, "key: is None: must be a numpy.ndarray"),
        (lambda: nf.qk(P, X, X[..., :3]), nf.ArgumentError, "key.sizes.4.=3 .head_dim.: must be 4, as in query"),
        (lambda: nf.qk(P, X, X.astype(int)), TypeError, "key: dtype int64: must be float64"),
        (lambda: nf.qk(P, X, X, wide=1), TypeError, "wide=1: must be True or False"),
        (lambda: nf.qk(P, X, X, engine="cpu"), nf.UnsupportedError, "engine=cpu: has no explicit weights"),
        (lambda: nf.qk(P, X, X, engine="fast"), nf.ArgumentError, "engine='fast': must be one of"),
        (lambda: nf.qk(nf.Neighborhood(0), X, X), nf.ArgumentError, r"kernel_size\[0\]=0: must be at least 1"),
        (lambda: nf.qk(nf.SphereNeighborhood((6, 6)), X, X), nf.UnsupportedError, "no slots on the sphere"),
        (lambda: nf.qk(P, X, X, bias=W[0, 0]), nf.ArgumentError, r"bias.sizes\[0\]=6 "),
        (lambda: nf.av(P, W[..., :8], X), nf.ArgumentError, r"weights.sizes\[4\]=8 \(slots\): must be 9, the slots of nearf"),
        (lambda: nf.av(P, W, X, additional_values=MORE), nf.ArgumentError, r"weights.sizes\[4\]=9 \(slots\): must be 11"),
        (lambda: nf.av(P, W.astype("float64"), X), nf.ArgumentError, "weights.dtype=float64: must be float32, as in value"),
        (lambda: nf.av(P, np.moveaxis(W, -1, 1).copy(), X), nf.ArgumentError, "value.sizes"),
        (lambda: nf.av(P, W, np.ones((), "float32")), nf.ArgumentError, r"value: shape \(\): must be"),
        (lambda: nf.attend(P, X, X, X, return_weights=1), TypeError, "return_weights=1: must be True or False"),
        (lambda: nf.attend(P, X, X, X, return_weights=True, softcap=2.0), nf.UnsupportedError, "softcap=2.0: must be 0"),
        (
            lambda: nf.attend(P, X, X, X, return_weights=True, key_weights=X[..., 0, 0]),
            nf.UnsupportedError,
            "key_weights: must be None where return_weights is True",
        ),
        (lambda: nf.na2d(X, X, X, 3, return_weights=True, engine="cpu"), nf.UnsupportedError, "engine=cpu"),
        (lambda: nf.qk(nf.Neighborhood(1 << 20), X, X), MemoryError, r"weights: shape \(1, 6, 6, 2, 1099511627776\) of float32 takes"),
        (lambda: nf.na2d(X, X, X, 1 << 39, return_weights=True), MemoryError, "this machine has .*attend without"),
        (lambda: nf.numpy.vjp_qk(P, X, X)[1](W[..., :8]), nf.ArgumentError, r"dweights.sizes\[4\]=8"),
        (lambda: nf.numpy.vjp_qk(P, X, X)[1](None), TypeError, "dweights: is None"),
        (lambda: nf.numpy.vjp_qk(P, X, X)[1](W, wanted=["value"]), nf.ArgumentError, "wanted=.* must be among query, key"),
        (lambda: nf.numpy.vjp_av(P, W, X)[1](W), nf.ArgumentError, r"dout.sizes\[4\]=9"),
        (lambda: nf.numpy.vjp_av(P, W, 3), TypeError, "value: is a int: must be a numpy.ndarray"),
        (lambda: nf.geometry.weight_slots(nf.SphereGlobal((4, 8)), (4, 8)), nf.UnsupportedError, "sphere"),
    ],
)  # fmt: skip
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
