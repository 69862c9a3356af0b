"""Wrong calls: every message names the argument, its value and the rule."""

import os
import subprocess
import sys

import nearfield as nf
import pytest

numpy = pytest.importorskip("numpy")


def ones(*shape, dtype="float32"):
    return numpy.ones(shape, dtype)


X = ones(1, 6, 2, 4)

WRONG = [
    (lambda: nf.na1d(X, X, X, 0), ValueError, r"kernel_size\[0\]=0: must be at least 1"),
    (lambda: nf.na1d(X, X, X, 3, stride=4), ValueError, r"stride\[0\]=4: must be"),
    (lambda: nf.na1d(X, X, X, 3, dilation=4, boundary="wrap"), ValueError, r"dilation\[0\]=4: .*"),
    (lambda: nf.na1d(X, X, X, 3, is_causal=True, boundary="wrap"), ValueError, r"is_causal"),
    (lambda: nf.na1d(X, X, X, (3, 3)), ValueError, r"kernel_size=\(3, 3\): has 2 values, but the grid has 1 axis"),
    (lambda: nf.na2d(X, X, X, 3), ValueError, r"query: shape \(1, 6, 2, 4\): has 4 dimensions, na2d takes 5"),
    (lambda: nf.attend(nf.Neighborhood(3), X[0], X, X), ValueError, r"query: shape \(6, 2, 4\): has 3 dimensions"),
    (lambda: nf.attend(7, X, X, X), TypeError, r"pattern: is a int: must be a nearfield pattern"),
    (lambda: nf.na1d(X, X[:, :5], X, 3), ValueError, r"key"),
    (lambda: nf.na1d(X, X, ones(1, 6, 3, 4), 3), ValueError, r"value"),
    (lambda: nf.na1d(ones(1, 6, 3, 4), X, X, 3), ValueError, r"heads"),
    (lambda: nf.na1d(X.astype("int32"), X, X, 3), TypeError, r"query: dtype int32: must be float64"),
    (lambda: nf.na1d(X.astype(">f4"), X, X, 3), TypeError, r"query: dtype >f4: must be .* native byte order"),
    (lambda: nf.na1d(X, X.astype("float64"), X, 3), ValueError, r"key.*dtype"),
    (lambda: nf.na1d([1.0], X, X, 3), TypeError, r"query: is a list: must be a torch.Tensor, numpy.ndarray"),
    (lambda: nf.na1d(X, [1.0], X, 3), TypeError, r"key: is a list: must be a numpy.ndarray"),
    (lambda: nf.na1d(X, X, X, 3, bias=ones(2, 4)), ValueError, r"bias.*4"),
    (lambda: nf.na1d(X, X, X, 3, key_mask=ones(1, 6)), ValueError, r"key_mask.*bool"),
    (lambda: nf.na1d(X, X, X, 3, key_mask=ones(1, 5, dtype=bool)), ValueError, r"key_mask.*5"),
    (lambda: nf.na1d(X, X, X, 3, key_weights=-ones(6)), ValueError, r"key_weights.*-1"),
    (lambda: nf.na1d(X, X, X, 3, key_weights=ones(6) * numpy.nan), ValueError, r"key_weights.*nan"),
    (lambda: nf.na1d(X, X, X, 3, softcap=-1.0), ValueError, r"softcap=-1"),
    (lambda: nf.na1d(X, X, X, 3, softcap="a"), TypeError, r"softcap='a': must be a number"),
    (lambda: nf.na1d(X, X, X, 3, scale=True), TypeError, r"scale=True: must be a number"),
    (lambda: nf.na1d(X, X, X, 3, scale=float("nan")), ValueError, r"scale=nan"),
    (lambda: nf.na1d(X, X, X, 3, additional_keys=X), ValueError, r"additional_values"),
    (
        lambda: nf.na1d(X, X, X, 3, engine="gpu"),
        ValueError,
        r"engine='gpu': must be one of 'auto', 'reference', 'cpu', 'block_sparse', 'naive', 'gemm'",
    ),
    (lambda: nf.na1d(X, X, X, 3, isa="avx10"), ValueError, r"isa='avx10': must be one of"),
    (lambda: nf.na1d(X, X, X, 3, kernel="fast"), ValueError, r"kernel='fast': must be one of"),
    (lambda: nf.na1d(X, X, X, 3, precision="low"), ValueError, r"precision='low': must be one of"),
    (lambda: nf.na1d(X, X, X, 3, num_threads=-1), ValueError, r"num_threads=-1: must be 0"),
    (lambda: nf.na1d(X, X, X, 3, num_threads=1.5), TypeError, r"num_threads=1.5: must be an integer"),
    (lambda: nf.merge([], []), ValueError, r"outs: has 0 parts: must have 1 to 16"),
    (lambda: nf.merge([X], []), ValueError, r"logsumexps: has 0 parts: must have as many as outs"),
    (lambda: nf.merge([X, X], [X[..., 0], X[:, :5, :, 0]]), ValueError, r"5"),
    (lambda: nf.explain(nf.Neighborhood(3), X, X, X.astype("int8")), TypeError, r"value: dtype int8"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_calls_say_what_is_wrong(call, error, message):
    with pytest.raises(error, match=message) as raised:
        call()
    assert error is not ValueError or isinstance(raised.value, nf.ArgumentError)


def test_wrong_gradients_say_what_is_wrong():
    _, pullback = nf.numpy.vjp(nf.Neighborhood(3), X, X, X)
    with pytest.raises(nf.ArgumentError, match="dout"):
        pullback(X[:, :5])
    with pytest.raises(nf.ArgumentError, match="dlogsumexp"):
        pullback(X, X)


def test_torch_tensors_that_can_not_be_served():
    torch = pytest.importorskip("torch")
    x = torch.ones(1, 6, 2, 4)
    for wrong, error, message in (
        (x.int(), TypeError, "query: dtype torch.int32: must be float64, float32, bfloat16 or float16"),
        (x.to_sparse(), TypeError, "query: layout torch.sparse_coo: must be strided; .to_dense"),
        (torch.nested.nested_tensor([x[0]]), TypeError, "query: is nested: must be a dense tensor"),
        (torch.ones([1] * 8), ValueError, "query: shape .*: has 8 dimensions"),
    ):
        with pytest.raises(error, match=message):
            nf.na1d(wrong, wrong, wrong, 3) if wrong.dim() == 4 else nf.attend(nf.Neighborhood(3), wrong, wrong, wrong)
    with pytest.raises(TypeError, match="key: is a numpy.ndarray: must be a torch.Tensor, as query is"):
        nf.na1d(x, X, x, 3)
    with pytest.raises(nf.ArgumentError, match="key.*dtype"):
        nf.na1d(x, x.double(), x, 3)
    with pytest.raises(TypeError, match=r"outs\[1\]"):
        nf.merge([x, X], [x[..., 0], x[..., 0]])
    with pytest.raises(nf.ArgumentError, match=r"outs\[1\]: shape .*must be"):
        nf.merge([x, x[:, :5]], [x[..., 0], x[:, :5, :, 0]])


def test_tensors_on_devices_without_an_engine_are_refused():
    torch = pytest.importorskip("torch")
    from nearfield._torch import ops
    from torch._subclasses.fake_tensor import FakeTensorMode

    # A tensor that says it is on a GPU, which no test machine has to have.
    with FakeTensorMode():
        fake = torch.empty(1, 6, 2, 4, device="cuda")
        message = "query: is on device cuda:0: this build of nearfield runs on the CPU only .* move it with .cpu"
        with pytest.raises(nf.ArgumentError, match=message):
            nf.na1d(fake, fake, fake, 3)
        with pytest.raises(nf.ArgumentError, match=message):
            nf.explain(nf.Neighborhood(3), fake, fake, fake)
        with pytest.raises(nf.ArgumentError, match=message):
            ops._no_engine(fake)


def import_with(**environment):
    found = subprocess.run(
        [sys.executable, "-c", "import nearfield"],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert found.returncode != 0
    return found.stderr


def test_a_library_that_can_not_be_loaded_is_named(tmp_path):
    shown = import_with(NEARFIELD_LIBRARY=str(tmp_path / "none.so"))
    assert "none.so: no such file" in shown and "this machine: Linux" in shown
    (tmp_path / "text.so").write_text("no library")
    shown = import_with(NEARFIELD_LIBRARY=str(tmp_path / "text.so"))
    assert "text.so: cannot be loaded" in shown and "LibraryError" in shown
    libc = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, env={"PATH": "/sbin:/usr/sbin:/bin"})
    path = next((line.split()[-1] for line in libc.stdout.splitlines() if "libc.so.6" in line), None)
    assert path is not None
    shown = import_with(NEARFIELD_LIBRARY=path)
    assert "has no symbol nf_version" in shown
