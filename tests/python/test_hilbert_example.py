"""examples/hilbert: its four models are what they say, learn, and the script does what it says."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import nearfield
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

EXAMPLE = Path(__file__).parents[2] / "examples" / "hilbert"
NAMES = ["HWT", "HNT", "Swin-like", "NAT-like"]


@pytest.fixture(scope="module")
def example():
    """The example's modules. Those of other examples have the same names, so that none may stay imported."""
    names = ("attentions", "model", "data", "train")
    before = {name: sys.modules.pop(name, None) for name in names}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # train sets it, too: here it is undone
        patch.syspath_prepend(str(EXAMPLE))
        yield {name: importlib.import_module(name) for name in names}
    for name, module in before.items():
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module


def run(*arguments):
    return subprocess.run([sys.executable, str(EXAMPLE / "train.py"), *arguments], capture_output=True, text=True)


def test_a_short_run_learns_and_says_so_in_json():
    found = run("--data", "tiles", "--steps", "40", "--batch", "12", "--seed", "3", "--json")
    assert found.returncode == 0, found.stderr
    result = json.loads(found.stdout)
    assert (result["config"], result["data"], result["steps"], result["seed"]) == ("tiny", "tiles", 40, 3)
    assert [each["model"] for each in result["models"]] == NAMES
    for each in result["models"]:
        assert each["last_loss"] < each["first_loss"], each
        assert each["accuracy"] > 0.6, each  # chance is 0.5
        assert each["parameters"] > 100_000 and each["milliseconds"] > 0


def test_a_run_prints_a_table():
    found = run("--steps", "1", "--batch", "2", "--score", "10", "--side", "9")
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert lines[0] == "tiny models, digits: 1 steps of 2 images of 9x9 pixels, seed 0; 10 held-out images"
    assert lines[1].split() == "model attention parameters loss held out ms per step".split()
    assert [line.split()[0] for line in lines[2:]] == NAMES
    assert "1/1 loss" in found.stderr
    assert run("--steps", "1", "--batch", "2", "--score", "10", "--side", "9", "--least", "1").returncode == 1


@pytest.mark.parametrize("name", ["hwt", "hnt", "swin", "nat"])
def test_mini_runs_a_step_forward_and_backward(example, name):
    sizes = example["model"].CONFIGURATIONS["mini"]
    model = example["model"].Classifier(example["attentions"].ATTENTIONS[name].pattern, sizes, side=224, classes=10)
    assert model.grids == [(56, 56), (28, 28), (14, 14), (7, 7)]
    logits = model(torch.randn(1, 1, 224, 224, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (1, 10)
    torch.nn.functional.cross_entropy(logits, torch.tensor([3])).backward()
    for where, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), where
        assert parameter.grad.abs().max() > 0, where


def test_patterns_of_the_stages(example):
    patterns = {name: each.pattern for name, each in example["attentions"].ATTENTIONS.items()}
    grid, last = (56, 56), (7, 7)
    assert [patterns["hwt"](7, grid, i) for i in range(3)] == [
        nearfield.HilbertWindow(7),
        nearfield.HilbertShiftedWindow(7),
        nearfield.HilbertWindow(7),
    ]
    assert patterns["hwt"](7, last, 1) == nearfield.HilbertWindow(7)  # one run is the grid: nothing to shift
    assert [patterns["swin"](7, grid, i) for i in range(2)] == [nearfield.Window(7), nearfield.Window(7, shift=4)]
    assert patterns["swin"](7, last, 1) == nearfield.Window(7)
    assert patterns["hnt"](7, grid, 1) == nearfield.HilbertNeighborhood(49)
    assert patterns["nat"](7, grid, 1) == nearfield.Neighborhood(7)


@pytest.mark.parametrize("name", ["hwt", "hnt", "swin", "nat"])
def test_a_block_attends_with_a_bias_of_the_true_offset(example, name):
    """The layer against a softmax over all pairs, with an entry of the bias looked up by offsets on the grid."""
    height, width, heads = 10, 9, 2
    pattern = example["attentions"].ATTENTIONS[name].pattern(5, (height, width), 1)
    torch.manual_seed(0)
    layer = example["model"].Attend(8, heads, pattern, (height, width))
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(1, height, width, 8)

    keys = torch.from_numpy(nearfield.geometry.windows(pattern, (height, width)).keys)
    tokens = height * width
    seen = torch.zeros(tokens, tokens + 1, dtype=torch.bool).scatter(1, keys.where(keys >= 0, tokens), True)[:, :tokens]
    query, key, value = layer.qkv(x).view(tokens, 3, heads, 4).unbind(1)
    row, column = torch.arange(tokens) // width, torch.arange(tokens) % width
    middle = [length // 2 for length in layer.bias.shape[1:]]
    bias = torch.zeros(heads, tokens, tokens)
    for i, j in seen.nonzero():
        bias[:, i, j] = layer.bias[:, row[j] - row[i] + middle[0], column[j] - column[i] + middle[1]]
    logits = (torch.einsum("ihd,jhd->hij", query, key) / 2 + bias).masked_fill(~seen, -torch.inf)
    expected = layer.proj(torch.einsum("hij,jhd->ihd", logits.softmax(-1), value).flatten(1)).view(x.shape)
    difference = (layer(x) - expected).abs().max().item()
    assert difference <= 1e-5


def test_models_begin_with_the_same_weights(example):
    models = []
    for each in example["attentions"].ATTENTIONS.values():
        torch.manual_seed(5)
        models.append(example["model"].Classifier(each.pattern, example["model"].CONFIGURATIONS["tiny"], 20, 10))
    for named in zip(*(each.named_parameters() for each in models), strict=True):
        name, first = named[0]
        for _, other in named[1:]:
            if name.endswith("attend.bias"):
                assert not first.any() and not other.any(), name
            else:
                assert torch.equal(first, other), name


def test_data_are_cut_and_scaled(example):
    digits = example["data"].load("digits", 16, 1000)
    assert digits.images.shape[1:] == (1, 16, 16) and digits.classes == 10
    assert len(digits.images) + len(digits.test_images) == 1797
    tiles = example["data"].load("tiles", 20, 50)
    assert len(tiles.images) == 1008 and len(tiles.test_images) == 50
    assert tiles.labels.bincount().tolist() == [504, 504] and tiles.test_labels.bincount().tolist() == [25, 25]
    assert tiles.images.mean((1, 2, 3)).abs().max().item() <= 1e-5


def test_wrong_images_are_refused(example):
    pattern = example["attentions"].ATTENTIONS["hwt"].pattern
    model = example["model"].Classifier(pattern, example["model"].CONFIGURATIONS["tiny"], 20, 10)
    with pytest.raises(ValueError, match=r"images.shape\[2:\]=\(20, 22\): must be \(20, 20\)"):
        model(torch.zeros(1, 1, 20, 22))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--steps", "0"), "--steps=0: must be at least 1"),
        (("--batch", "-3"), "--batch=-3: must be at least 1"),
        (("--side", "7"), "--side=7: must be at least 8"),
        (("--score", "0"), "--score=0: must be at least 1"),
        (("--seed", "-1"), "--seed=-1: must be at least 0"),
        (("--seed", str(1 << 63)), f"--seed={1 << 63}: must be below 2^63"),
        (("--threads", "0"), "--threads=0: must be at least 1"),
        (("--least", "nan"), "--least=nan: must be from 0 to 1"),
        (("--config", "large"), "argument --config: invalid choice: 'large'"),
        (("--data", "faces"), "argument --data: invalid choice: 'faces'"),
        (("--steps", "many"), "argument --steps: invalid int value: 'many'"),
    ],
)
def test_wrong_arguments_are_refused(example, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        example["train"].main()
    assert stopped.value.code == 2 and message in capsys.readouterr().err
