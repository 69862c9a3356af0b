"""Trains a small classifier with neighborhood attention on scikit-learn's 1,797 scans of handwritten digits.

python train.py --out demo-output/digits                  with nearfield
python train.py --attention dense-mask                    scaled_dot_product_attention and a mask
python train.py --attention flex                          FlexAttention
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import warnings
from pathlib import Path

# Else torch's threads spin after each operation on the cores that nearfield's threads need.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch  # noqa: E402
from attentions import ATTENTIONS
from model import Classifier
from pictures import attention_maps, learning_curve
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

TEST_SHARE = 5  # every fifth digit of each kind is held out


def load_digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images (n, 8, 8) in [0, 1] and labels, then those held out."""
    from sklearn.datasets import load_digits as load

    digits = load()
    images = torch.tensor(digits.images, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for digit in range(10):
        held_out[(labels == digit).nonzero().flatten()[::TEST_SHARE]] = True
    return images[~held_out], labels[~held_out], images[held_out], labels[held_out]


def moved(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image turned by up to 12 degrees, scaled by up to a tenth, moved by up to a pixel: what hands do, too."""
    turn, scale, dy, dx = torch.rand(4, len(images), generator=generator) * 2 - 1
    turn, scale = 0.2 * turn, 1 + 0.1 * scale
    pixel = 2 / images.shape[-1]
    rows = [
        torch.stack([scale * turn.cos(), -scale * turn.sin(), pixel * dx], -1),
        torch.stack([scale * turn.sin(), scale * turn.cos(), pixel * dy], -1),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1), [len(images), 1, *images.shape[1:]], align_corners=False)
    return functional.grid_sample(images[:, None], grid, align_corners=False)[:, 0]


@torch.no_grad()
def accuracy(model: Classifier, images: Tensor, labels: Tensor) -> float:
    """The share of images whose largest logit is the label's."""
    model.eval()
    return (model(images).argmax(-1) == labels).float().mean().item()


def progress(done: int, total: int, text: str) -> None:
    """A bar on a terminal, a line now and then elsewhere."""
    if sys.stdout.isatty():
        filled = 30 * done // total
        print(f"\r[{'#' * filled}{'.' * (30 - filled)}] {text}", end="" if done < total else "\n", flush=True)
    elif done == total or done % 10 == 0:
        print(f"{done}/{total} {text}", flush=True)


def train(name: str, epochs: int, seed: int) -> tuple[Classifier, list[tuple[float, float]], float]:
    """The trained model, (loss, accuracy on held-out digits) after each epoch, and the seconds that it took."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    images, labels, test_images, test_labels = load_digits()
    model = Classifier(ATTENTIONS[name])
    # What is scored and kept is the mean of the weights over the last steps: steadier than any one of them.
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.98))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    batches = len(images) // 64
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * batches, pct_start=0.15)
    history = []
    start = time.perf_counter()
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for index in torch.randperm(len(images), generator=generator)[: batches * 64].view(batches, 64):
            loss = functional.cross_entropy(model(moved(images[index], generator)), labels[index], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
            total += loss.item()
        history.append((total / batches, accuracy(average.module, test_images, test_labels)))
        text = f"epoch {epoch + 1}: loss {history[-1][0]:.3f}, held out {history[-1][1]:.2%}, {time.perf_counter() - start:.0f} s"
        progress(epoch + 1, epochs, text)
    return average.module, history, time.perf_counter() - start


@torch.no_grad()
def forward_milliseconds(name: str, repetitions: int = 5) -> float:
    """A forward pass over the held-out digits, the median."""
    torch.manual_seed(0)
    model, images = Classifier(ATTENTIONS[name]), load_digits()[2]
    times = []
    for _ in range(repetitions + 1):  # the first one is not counted
        start = time.perf_counter()
        model(images)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times[1:])


def main() -> int:
    """Returns 1 if the held-out digits are not recognised well enough."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attention", choices=ATTENTIONS, default="nearfield")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="more do not help with images this small (default 1)")
    parser.add_argument("--least", type=float, default=0.98, help="accuracy below which this fails")
    parser.add_argument("--out", type=Path, help="folder for the pictures; none: draw none")
    arguments = parser.parse_args()
    if arguments.epochs < 1:
        parser.error(f"--epochs={arguments.epochs}: must be at least 1")
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore", message=".*flex_attention.*without torch.compile.*")
    try:
        model, history, seconds = train(arguments.attention, arguments.epochs, arguments.seed)
    except NotImplementedError as error:
        print(f"{arguments.attention} can't train here: {error}")
        for name in (arguments.attention, "nearfield"):
            print(f"{name}: {forward_milliseconds(name):.1f} ms for a forward pass over the held-out digits")
        return 0
    print(
        f"{arguments.attention}: {history[-1][1]:.2%} of {len(load_digits()[2])} held-out digits right, "
        f"{seconds:.1f} s on {arguments.threads} thread{'s' * (arguments.threads > 1)}"
    )
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        learning_curve(history, arguments.out / "learning_curve.png")
        attention_maps(model, load_digits()[2], arguments.out / "attention.png")
        print(f"pictures: {arguments.out}/learning_curve.png, {arguments.out}/attention.png")
    return 0 if history[-1][1] >= arguments.least else 1


if __name__ == "__main__":
    sys.exit(main())
