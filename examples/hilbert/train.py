"""Trains four small transformers on the same images: along the Hilbert curve (HWT, HNT) and not (Swin-like, NAT-like).

python train.py                                  scans of digits
python train.py --data tiles                     tiles of two photographs: which one is a tile from?
python train.py --config mini                    the paper's mini models, for a few steps

The models begin with the same weights and see the same images, step by step in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from dataclasses import asdict, dataclass, field

# Else torch's threads spin after each operation on the cores that nearfield's threads need.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch  # noqa: E402
from attentions import ATTENTIONS, Attention
from data import DATA, Data, load
from model import CONFIGURATIONS, Classifier, Configuration
from torch import Tensor
from torch.nn import functional


@dataclass
class Trainee:
    """A model in training."""

    attention: Attention
    model: Classifier
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def step(self, images: Tensor, labels: Tensor) -> None:
        """One step of gradient descent."""
        start = time.perf_counter()
        loss = functional.cross_entropy(self.model(images), labels, label_smoothing=0.1)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.losses.append(loss.item())
        self.seconds.append(time.perf_counter() - start)


@dataclass
class Row:
    """What became of a model."""

    model: str
    attention: str
    parameters: int
    first_loss: float  # of the first step
    last_loss: float  # mean over the last tenth of the steps
    accuracy: float  # share of the held-out images
    milliseconds: float  # of a step, median


def trainees(sizes: Configuration, data: Data, side: int, steps: int, seed: int) -> list[Trainee]:
    """All four models, with the same weights."""
    made = []
    for attention in ATTENTIONS.values():
        torch.manual_seed(seed)
        model = Classifier(attention.pattern, sizes, side, data.classes)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps + 1, pct_start=0.15)
        made.append(Trainee(attention, model, optimizer, schedule))
    return made


@torch.no_grad()
def accuracy(model: Classifier, data: Data, batch: int) -> float:
    """The share of held-out images whose largest logit is the label's."""
    model.eval()
    pairs = zip(data.test_images.split(batch), data.test_labels.split(batch), strict=True)
    right = sum((model(images).argmax(-1) == labels).sum().item() for images, labels in pairs)
    return right / len(data.test_labels)


def progress(done: int, total: int, text: str) -> None:
    """On stderr: a bar on a terminal, a line now and then elsewhere."""
    if sys.stderr.isatty():
        filled = 30 * done // total
        end = "" if done < total else "\n"
        print(f"\r[{'#' * filled}{'.' * (30 - filled)}] {text}\033[K", end=end, file=sys.stderr, flush=True)
    elif done == total or done % max(1, total // 10) == 0:
        print(f"{done}/{total} {text}", file=sys.stderr, flush=True)


def train(sizes: Configuration, data: Data, arguments: argparse.Namespace) -> list[Row]:
    """A step of each model on the same images, in an order that turns: what else the machine does meets all alike."""
    generator = torch.Generator().manual_seed(arguments.seed)
    models = trainees(sizes, data, arguments.side, arguments.steps, arguments.seed)
    start = time.perf_counter()
    order = torch.empty(0, dtype=torch.int64)
    for step in range(arguments.steps):
        while len(order) < arguments.batch:
            order = torch.cat([order, torch.randperm(len(data.labels), generator=generator)])
        index, order = order[: arguments.batch], order[arguments.batch :]
        images, labels = data.images[index], data.labels[index]
        for i in range(len(models)):
            models[(step + i) % len(models)].step(images, labels)
        shown = ", ".join(f"{each.attention.model} {each.losses[-1]:.2f}" for each in models)
        progress(step + 1, arguments.steps, f"loss: {shown}; {time.perf_counter() - start:.0f} s")
    return [row(each, data, arguments.batch) for each in models]


def row(trainee: Trainee, data: Data, batch: int) -> Row:
    """What became of it."""
    losses, seconds = trainee.losses, trainee.seconds
    return Row(
        trainee.attention.model,
        trainee.attention.words,
        sum(parameter.numel() for parameter in trainee.model.parameters()),
        losses[0],
        statistics.fmean(losses[-max(1, len(losses) // 10) :]),
        accuracy(trainee.model, data, batch),
        1e3 * statistics.median(seconds[1:] or seconds),  # the first one makes plans and is not counted
    )


def table(rows: list[Row]) -> str:
    """One line for each model."""
    lines = [f"{'model':<10}  {'attention':<34}  parameters   loss  held out  ms per step"]
    for each in rows:
        lines.append(
            f"{each.model:<10}  {each.attention:<34}  {each.parameters:>10,}  {each.last_loss:5.3f}  "
            f"{each.accuracy:>8.2%}  {each.milliseconds:>11.1f}"
        )
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    """The arguments, each within its bounds, with the configuration's values for those not given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=CONFIGURATIONS, default="tiny", help="sizes of the models (default tiny)")
    parser.add_argument("--data", choices=DATA, default="digits", help="what to learn (default digits)")
    parser.add_argument("--steps", type=int, help="of each model (default: the configuration's)")
    parser.add_argument("--batch", type=int, help="images of a step (default: the configuration's)")
    parser.add_argument("--side", type=int, help="pixels to up-scale images to (default: the configuration's)")
    parser.add_argument("--score", type=int, help="held-out images to score on, at most (default: the configuration's)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="default 1")
    parser.add_argument("--least", type=float, default=0.0, help="share of held-out images below which this fails")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    arguments = parser.parse_args()
    sizes = CONFIGURATIONS[arguments.config]
    for name in ("steps", "batch", "side", "score"):
        if getattr(arguments, name) is None:
            setattr(arguments, name, getattr(sizes, name))
    for name, least in (("steps", 1), ("batch", 1), ("side", 8), ("score", 1), ("seed", 0), ("threads", 1)):
        if getattr(arguments, name) < least:
            parser.error(f"--{name}={getattr(arguments, name)}: must be at least {least}")
    if arguments.seed >= 1 << 63:
        parser.error(f"--seed={arguments.seed}: must be below 2^63")
    if not 0 <= arguments.least <= 1:
        parser.error(f"--least={arguments.least}: must be from 0 to 1")
    return arguments


def main() -> int:
    """Returns 1 if a model does not recognise enough of the held-out images."""
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    data = load(arguments.data, arguments.side, arguments.score)
    rows = train(CONFIGURATIONS[arguments.config], data, arguments)
    if arguments.json:
        settings = {name: value for name, value in vars(arguments).items() if name not in ("json", "least")}
        print(json.dumps(settings | {"models": [asdict(each) for each in rows]}, indent=2))
    else:
        print(
            f"{arguments.config} models, {arguments.data}: {arguments.steps} steps of {arguments.batch} images of "
            f"{arguments.side}x{arguments.side} pixels, seed {arguments.seed}; {len(data.test_labels)} held-out images"
        )
        print(table(rows))
    return 0 if min(each.accuracy for each in rows) >= arguments.least else 1


if __name__ == "__main__":
    sys.exit(main())
