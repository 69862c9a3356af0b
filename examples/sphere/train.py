"""Trains a transformer on the sphere to forecast the rotating shallow-water equations, beside the same one on the plane.

python train.py --out demo-output/sphere            both
python train.py --geometry sphere --threads 2       one of them

Both begin with the same weights and see the same states, step by step in turns. States are made by a spectral solver
(shallow_water.py) in the first minutes, and kept in the folder.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

# Else torch's threads spin after each operation on the cores that nearfield's threads need.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the solver's matrices are small: its threads take trajectories

import numpy as np  # noqa: E402
import torch  # noqa: E402
from attentions import GEOMETRIES, grid_of
from model import Forecaster, Sizes
from progress import progress
from skill import Scale, errors, over_sphere, poleward, skill_table
from states import CHANNELS, Settings, load
from torch import Tensor


@dataclass
class Trainee:
    """A network in training."""

    name: str
    model: Forecaster
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def step(self, scale: Scale, states: Tensor, later: Tensor) -> None:
        """One step of gradient descent."""
        start = time.perf_counter()
        loss = scale.loss(self.model, states, later)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.losses.append(loss.item())
        self.seconds.append(time.perf_counter() - start)


def trainees(arguments: argparse.Namespace) -> list[Trainee]:
    """All networks, with the same weights."""
    made = []
    for name in arguments.geometry:
        torch.manual_seed(arguments.seed)
        model = Forecaster(name, Sizes(nlat=arguments.nlat, width=arguments.width))
        optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.rate, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, arguments.rate, total_steps=arguments.steps + 1, pct_start=0.15
        )
        made.append(Trainee(name, model, optimizer, schedule))
    return made


def train(scale: Scale, states: Tensor, arguments: argparse.Namespace) -> list[Trainee]:
    """A step of each network on the same states, in an order that turns: what else the machine does meets all alike."""
    generator = torch.Generator().manual_seed(arguments.seed)
    models = trainees(arguments)
    trajectories, snapshots, nlon = states.shape[0], states.shape[1] - 1, states.shape[-1]
    order, start = torch.empty(0, dtype=torch.int64), time.perf_counter()
    for step in range(arguments.steps):
        while len(order) < arguments.batch:
            order = torch.cat([order, torch.randperm(trajectories * snapshots, generator=generator)])
        index, order = order[: arguments.batch], order[arguments.batch :]
        # The equations don't know which longitude is 0.
        turn = int(torch.randint(nlon, (), generator=generator))
        now, later = (states[index // snapshots, index % snapshots + i].roll(turn, -1) for i in (0, 1))
        for i in range(len(models)):
            models[(step + i) % len(models)].step(scale, now, later)
        shown = ", ".join(f"{each.name} {statistics.fmean(each.losses[-20:]):.3f}" for each in models)
        progress(step + 1, arguments.steps, f"loss: {shown}; {time.perf_counter() - start:.0f} s")
    for each in models:
        each.model.eval()
    return models


def summary(trainee: Trainee) -> dict[str, float | str]:
    """What a training cost, and what it came to."""
    losses = trainee.losses
    return {
        "network": trainee.name,
        "attention": GEOMETRIES[trainee.name].words,
        "parameters": sum(each.numel() for each in trainee.model.parameters()),
        "loss": statistics.fmean(losses[-max(1, len(losses) // 10) :]),
        "seconds": sum(trainee.seconds),
        "milliseconds": 1e3 * statistics.median(trainee.seconds[1:] or trainee.seconds),  # the first one makes plans
    }


def table(rows: list[dict[str, float | str]]) -> str:
    """One line for each network."""
    lines = [f"{'network':<8}  {'attention':<36}  parameters   loss  seconds  ms per step"]
    for each in rows:
        lines.append(
            f"{each['network']:<8}  {each['attention']:<36}  {each['parameters']:>10,}  {each['loss']:5.3f}  "
            f"{each['seconds']:>7.0f}  {each['milliseconds']:>11.0f}"
        )
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    """The arguments, each within its bounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--geometry", nargs="+", choices=GEOMETRIES, default=list(GEOMETRIES), help="default: both")
    parser.add_argument("--steps", type=int, default=600, help="of each network (default 600)")
    parser.add_argument("--batch", type=int, default=2, help="states of a step (default 2)")
    parser.add_argument("--rate", type=float, default=2e-3, help="largest learning rate (default 0.002)")
    parser.add_argument("--nlat", type=int, default=64, help="circles of latitude (default 64)")
    parser.add_argument("--width", type=int, default=128, help="channels of a token (default 128)")
    parser.add_argument("--trajectories", type=int, default=40, help="an eighth is held out (default 40)")
    parser.add_argument("--snapshots", type=int, default=21, help="of a trajectory (default 21)")
    parser.add_argument("--hours", type=int, default=6, help="a forecast step (default 6)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order; states always are the same")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores")
    parser.add_argument("--out", type=Path, default=Path("demo-output/sphere"), help="folder for states and pictures")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    arguments = parser.parse_args()
    least = {"steps": 1, "batch": 1, "nlat": 8, "width": 32, "trajectories": 8, "snapshots": 3, "hours": 1}
    for name, value in (least | {"seed": 0, "threads": 1}).items():
        if getattr(arguments, name) < value:
            parser.error(f"--{name}={getattr(arguments, name)}: must be at least {value}")
    for name, unit in (("nlat", 2), ("width", 32)):
        if getattr(arguments, name) % unit:
            parser.error(f"--{name}={getattr(arguments, name)}: must be a multiple of {unit}")
    if not 0 < arguments.rate < 1:
        parser.error(f"--rate={arguments.rate}: must be above 0 and below 1")
    if arguments.seed >= 1 << 63:
        parser.error(f"--seed={arguments.seed}: must be below 2^63")
    arguments.geometry = list(dict.fromkeys(arguments.geometry))
    return arguments


def draw(
    found: dict[str, Tensor], models: list[Trainee], scale: Scale, truth: Tensor, arguments: argparse.Namespace
) -> None:
    """The pictures."""
    from pictures import by_latitude, by_lead, forecast_maps  # matplotlib takes a second

    latitudes = 90 - np.degrees(grid_of(arguments.nlat).colatitudes)
    leads = len(found["persistence"]) - 1
    roots = {name: squares.sqrt().numpy() for name, squares in found.items()}
    by_latitude(roots, latitudes, sorted({1, min(4, leads)}), arguments.hours, arguments.out / "error_by_latitude.png")
    over = {name: over_sphere(scale, squares).numpy() for name, squares in found.items()}
    by_lead(over, arguments.hours, arguments.out / "error_by_lead.png")
    lead, forecasts = min(4, leads), {}
    for each in models:
        state = truth[:1, 0]
        for _ in range(lead):
            with torch.no_grad():
                state = scale.next(each.model, state)
        forecasts[each.name] = state[0].numpy()
    for name in ("vorticity", "geopotential"):
        at = CHANNELS.index(name)
        fields = {each: state[at] for each, state in forecasts.items()}
        path = arguments.out / f"forecast_{name}.png"
        forecast_maps(name, truth[0, 0, at].numpy(), truth[0, lead, at].numpy(), fields, latitudes,
                      lead * arguments.hours, path)  # fmt: skip


def main() -> int:
    """Returns 1 if a network's forecast a step ahead is no better than persistence."""
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    settings = Settings(arguments.nlat, arguments.trajectories, arguments.snapshots, arguments.hours)
    states = torch.from_numpy(load(settings, arguments.out, arguments.threads))
    kept = len(states) - len(states) // 8
    scale = Scale.of(states[:kept])
    models = train(scale, states[:kept], arguments)
    found = {"persistence": errors(scale, None, states[kept:])}
    found |= {each.name: errors(scale, each.model, states[kept:]) for each in models}
    rows = [summary(each) for each in models]
    leads = [lead for lead in (1, 2, 4, 8) if lead < len(found["persistence"])]
    if arguments.json:
        result = {"networks": rows, "channels": CHANNELS, "hours": arguments.hours}
        for key, seen in (("errors", None), ("errors_poleward", poleward(arguments.nlat))):
            result[key] = {name: over_sphere(scale, squares, seen).tolist() for name, squares in found.items()}
        print(json.dumps(result, indent=2))
    else:
        print(
            f"{arguments.steps} steps of {arguments.batch} states of {arguments.nlat}x{2 * arguments.nlat} points, seed "
            f"{arguments.seed}; {kept} trajectories to learn from, {len(states) - kept} held out"
        )
        print(table(rows))
        print(skill_table(found, scale, arguments.hours, leads))
    draw(found, models, scale, states[kept:], arguments)
    print(f"pictures: {arguments.out}/error_by_latitude.png, error_by_lead.png, forecast_*.png", file=sys.stderr)
    better = [
        bool((over_sphere(scale, found[each.name])[1] < over_sphere(scale, found["persistence"])[1]).all())
        for each in models
    ]
    return 0 if all(better) else 1


if __name__ == "__main__":
    sys.exit(main())
