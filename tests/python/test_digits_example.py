"""examples/digits: its three attentions are one, and the script does what it says."""

import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits"


def run(*arguments):
    return subprocess.run([sys.executable, str(EXAMPLE / "train.py"), *arguments], capture_output=True, text=True)


@pytest.mark.filterwarnings("ignore:.*flex_attention")
def test_three_attentions_agree(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    from attentions import ATTENTIONS

    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 8, 7, 3, 12, generator=generator) for _ in range(3))
    for dilation in (1, 2):
        expected = ATTENTIONS["nearfield"](query, key, value, dilation)
        for name in ("dense-mask", "flex"):
            assert torch.allclose(ATTENTIONS[name](query, key, value, dilation), expected, atol=2e-6), (name, dilation)


def test_an_epoch_trains_and_leaves_pictures(tmp_path):
    found = run("--epochs", "1", "--least", "0", "--out", str(tmp_path))
    assert found.returncode == 0, found.stderr
    assert "held-out digits right" in found.stdout
    for name in ("learning_curve.png", "attention.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert run("--epochs", "1", "--least", "1").returncode == 1


def test_wrong_arguments_are_refused():
    assert "--epochs=0: must be at least 1" in run("--epochs", "0").stderr
    assert "invalid choice" in run("--attention", "other").stderr
