"""examples/sphere: its networks are what they say, and the script trains, compares and draws them."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

EXAMPLE = Path(__file__).parents[2] / "examples" / "sphere"


@pytest.fixture(scope="module")
def example():
    """The example's modules. Those of other examples have the same names, so that none may stay imported."""
    names = ("progress", "attentions", "model", "skill", "spherical_harmonics", "shallow_water", "states", "train")
    before = {name: sys.modules.pop(name, None) for name in names}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # train sets them, too: here it is undone
        patch.setenv("OPENBLAS_NUM_THREADS", "1")
        patch.syspath_prepend(str(EXAMPLE))
        yield {name: importlib.import_module(name) for name in names}
    for name, module in before.items():
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module


def small(example, **changes):
    return example["model"].Sizes(**{"nlat": 12, "width": 32, "depth": 1} | changes)


def network(example, geometry, seed=0, **changes):
    """With a head that isn't 0."""
    torch.manual_seed(seed)
    model = example["model"].Forecaster(geometry, small(example, **changes))
    torch.nn.init.normal_(model.head[-1].weight)
    return model


def run(*arguments):
    return subprocess.run([sys.executable, str(EXAMPLE / "train.py"), *arguments], capture_output=True, text=True)


@pytest.mark.parametrize(("nlat", "key_nlat", "size"), [(6, 6, 5), (4, 8, 5), (8, 4, 3)])
def test_the_plane_sees_rectangles_of_the_keys_grid(example, nlat, key_nlat, size):
    generator = torch.Generator().manual_seed(1)
    query, key, value = (torch.randn(1, n, 2 * n, 2, 8, generator=generator) for n in (nlat, key_nlat, key_nlat))
    row, column = torch.arange(nlat), torch.arange(2 * nlat)
    # The key above which the query lies, and a window around it: shifted at the poles, periodic in longitude.
    first = (row * key_nlat // nlat - size // 2).clamp(0, key_nlat - size)
    rows = (torch.arange(key_nlat) - first[:, None] >= 0) & (torch.arange(key_nlat) - first[:, None] < size)
    left = column * key_nlat // nlat - size // 2
    columns = (torch.arange(2 * key_nlat) - left[:, None]) % (2 * key_nlat) < size
    seen = rows[:, None, :, None] & columns[:, None]
    logits = torch.einsum("yxhd,vuhd->hyxvu", query[0], key[0]) / 8**0.5
    weights = logits.masked_fill(~seen, -torch.inf).flatten(3).softmax(-1).view(logits.shape)
    expected = torch.einsum("hyxvu,vuhd->yxhd", weights, value[0])
    out = example["attentions"].plane_attend(nlat, key_nlat, size)(query, key, value)
    assert (out[0] - expected).abs().max().item() <= 1e-5


@pytest.mark.parametrize(("nlat", "key_nlat", "size"), [(6, 6, 5), (4, 8, 5), (8, 4, 3)])
def test_the_sphere_sees_discs_of_the_keys_grid(example, nlat, key_nlat, size):
    attentions = example["attentions"]
    generator = torch.Generator().manual_seed(2)
    query, key, value = (torch.randn(1, n, 2 * n, 2, 8, generator=generator) for n in (nlat, key_nlat, key_nlat))
    places, keys = (attentions.sphere_places(n)[0].flatten(0, 1) for n in (nlat, key_nlat))
    seen = (places @ keys.T).clamp(-1, 1).acos() <= 1.001 * size * torch.pi**0.5 / key_nlat
    area = torch.tensor(attentions.grid_of(key_nlat).area_weights).repeat_interleave(2 * key_nlat)
    logits = torch.einsum("qhd,khd->hqk", query[0].flatten(0, 1), key[0].flatten(0, 1)) / 8**0.5 + area.log()
    weights = logits.masked_fill(~seen, -torch.inf).softmax(-1)
    expected = torch.einsum("hqk,khd->qhd", weights, value[0].flatten(0, 1).double())
    out = attentions.sphere_attend(nlat, key_nlat, size)(query, key, value)
    assert (out[0].flatten(0, 1) - expected).abs().max().item() <= 1e-5


@pytest.mark.parametrize("geometry", ["sphere", "plane"])
def test_places_and_directions(example, geometry):
    """Directions are orthonormal, and what one gains by going south or east is what they say."""
    places, directions = example["attentions"].GEOMETRIES[geometry].places(20)
    assert (directions @ directions.mT - torch.eye(3)).abs().max().item() <= 1e-14
    up, south, east = directions.unbind(-2)
    step = (places[1:] - places[:-1])[4:-4]
    assert ((step * south[4:-5]).sum(-1) / step.norm(dim=-1)).min().item() > 0.95
    step = places.roll(-1, 1) - places
    assert ((step * east).sum(-1) / step.norm(dim=-1)).min().item() > 0.95
    assert ((step * up).sum(-1) < 0).all()  # the nearest place is the largest


@pytest.mark.parametrize("geometry", ["sphere", "plane"])
def test_turning_the_input_turns_the_forecast(example, geometry):
    """By whole steps of the coarse grid: no longitude is special, though latitudes are."""
    model = network(example, geometry)
    states = torch.randn(1, 3, 12, 24, generator=torch.Generator().manual_seed(3))
    expected = model(states).roll(6, -1)
    assert (model(states.roll(6, -1)) - expected).abs().max().item() <= 1e-4 * expected.abs().max().item()


def test_the_sphere_sees_across_the_pole(example):
    """A token next to the pole depends on the opposite longitude: a step away there, and out of reach on the plane."""
    states = torch.randn(1, 3, 24, 48, generator=torch.Generator().manual_seed(4), requires_grad=True)
    found = {}
    for geometry in ("sphere", "plane"):
        out = network(example, geometry, nlat=24)(states)
        found[geometry] = torch.autograd.grad(out[0, :, 0, 0].sum(), states)[0][0, :, 0].abs().amax(0)
    assert found["sphere"][24].item() > 1e-3 * found["sphere"].max().item()
    assert found["plane"][24].item() == 0 and found["plane"][2].item() > 0


def test_both_begin_as_persistence_with_the_same_weights_and_all_of_them_learn(example):
    models = {}
    for geometry in ("sphere", "plane"):
        torch.manual_seed(5)
        models[geometry] = example["model"].Forecaster(geometry, small(example))
    states = torch.randn(2, 3, 12, 24, generator=torch.Generator().manual_seed(6))
    pairs = zip(models["sphere"].named_parameters(), models["plane"].named_parameters(), strict=True)
    for (name, one), (other_name, other) in pairs:
        assert name == other_name and torch.equal(one, other), name
    for geometry, model in models.items():
        assert not model(states).any(), geometry
        torch.nn.init.normal_(model.head[-1].weight)
        model(states).square().sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), (geometry, name)
            assert parameter.grad.any(), (geometry, name)


def test_errors_count_areas(example):
    """Against sums written out: a forecast that is always the first snapshot, and one that misses by a constant."""
    skill, attentions = example["skill"], example["attentions"]
    truth = torch.randn(3, 6, 3, 8, 16, generator=torch.Generator().manual_seed(7))
    scale = skill.Scale.of(truth)
    area = torch.tensor(attentions.grid_of(8).area_weights)[:, None]
    mean = (truth.double() * area).sum((-1, -2)).mean((0, 1)) / (4 * torch.pi)
    assert (scale.mean.flatten() - mean).abs().max().item() <= 1e-6
    squares = skill.errors(scale, None, truth, leads=2, stride=2)
    assert squares.shape == (3, 3, 8) and not squares[0].any()
    apart = torch.stack([truth[:, i + 2] - truth[:, i] for i in (0, 2)]).double().square().mean((0, 1))
    expected = ((apart * area).sum((-1, -2)) / (4 * torch.pi)).sqrt()
    assert (skill.over_sphere(scale, squares)[2] - expected).abs().max().item() <= 1e-6

    def constant(states):
        return torch.ones_like(states)

    same = truth[:, :1].expand_as(truth)
    off = skill.over_sphere(scale, skill.errors(scale, constant, same))
    assert (off[3] - 3 * scale.change.flatten()).abs().max().item() <= 1e-5
    caps = torch.tensor([True] + 6 * [False] + [True])
    assert (skill.over_sphere(scale, squares, caps) - squares[:, :, [0, 7]].mean(-1).sqrt()).abs().max().item() <= 1e-6


def test_a_short_run_learns_compares_and_draws(example, tmp_path, monkeypatch, capsys):
    short = ("--nlat", "16", "--width", "32", "--trajectories", "8", "--snapshots", "7", "--threads", "1")
    found = run(*short, "--steps", "40", "--rate", "0.01", "--json", "--out", str(tmp_path))
    assert found.returncode == 0, found.stderr
    result = json.loads(found.stdout)
    assert [each["network"] for each in result["networks"]] == ["sphere", "plane"]
    assert result["networks"][0]["parameters"] == result["networks"][1]["parameters"]
    for each in result["networks"]:
        assert each["loss"] < 0.95 and each["milliseconds"] > 0, each  # persistence has about 1
    assert all(set(result[key]) == {"persistence", "sphere", "plane"} for key in ("errors", "errors_poleward"))
    errors = result["errors"]
    for name in ("sphere", "plane"):
        assert len(errors[name]) == 7 and errors[name][0] == [0, 0, 0]
        assert all(own < still for own, still in zip(errors[name][1], errors["persistence"][1], strict=True)), name
    for name in ("error_by_latitude", "error_by_lead", "forecast_vorticity", "forecast_geopotential"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")

    # Again, with the states that are kept, here and without pictures.
    arguments = [
        *short[:-1],
        str(torch.get_num_threads()),
        "--geometry",
        "sphere",
        "--steps",
        "1",
        "--out",
        str(tmp_path),
    ]
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    monkeypatch.setattr(example["train"], "draw", lambda *_: None)
    example["train"].main()
    printed, progress = capsys.readouterr()
    lines = printed.splitlines()
    assert lines[0] == "1 steps of 2 states of 16x32 points, seed 0; 7 trajectories to learn from, 1 held out"
    assert lines[1].split() == "network attention parameters loss seconds ms per step".split()
    assert lines[2].split()[:2] == ["sphere", "SphereNeighborhood"] and not lines[3].startswith("plane")
    assert "errors over the sphere" in lines[3] and any("poleward of 60" in line for line in lines)
    assert "1/1 loss" in progress and "trajectories:" not in progress


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--steps", "0"), "--steps=0: must be at least 1"),
        (("--batch", "-3"), "--batch=-3: must be at least 1"),
        (("--nlat", "6"), "--nlat=6: must be at least 8"),
        (("--nlat", "17"), "--nlat=17: must be a multiple of 2"),
        (("--width", "100"), "--width=100: must be a multiple of 32"),
        (("--trajectories", "7"), "--trajectories=7: must be at least 8"),
        (("--snapshots", "2"), "--snapshots=2: must be at least 3"),
        (("--hours", "0"), "--hours=0: must be at least 1"),
        (("--rate", "nan"), "--rate=nan: must be above 0 and below 1"),
        (("--seed", str(1 << 63)), f"--seed={1 << 63}: must be below 2^63"),
        (("--geometry", "torus"), "argument --geometry: invalid choice: 'torus'"),
    ],
)
def test_wrong_arguments_are_refused(example, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        example["train"].main()
    assert stopped.value.code == 2 and message in capsys.readouterr().err
