"""What the training looked like, and where the trained model looks."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import torch  # noqa: E402
from attentions import KERNEL_SIZE, dense_mask  # noqa: E402
from model import Classifier  # noqa: E402
from torch import Tensor  # noqa: E402

BLUE, ORANGE = "#0072B2", "#E69F00"  # told apart by everyone


def learning_curve(history: list[tuple[float, float]], path: Path) -> None:
    """Loss, and accuracy on the held-out digits, by epoch."""
    figure, left = plt.subplots(figsize=(7, 4), layout="constrained")
    epochs = range(1, len(history) + 1)
    left.plot(epochs, [loss for loss, _ in history], color=BLUE, label="training loss")
    left.set_xlabel("epoch")
    left.set_ylabel("training loss", color=BLUE)
    right = left.twinx()
    right.plot(epochs, [100 * share for _, share in history], color=ORANGE, linestyle="--", label="held-out digits")
    right.set_ylabel("held-out digits right, %", color=ORANGE)
    right.set_ylim(min(90, 100 * min(share for _, share in history[len(history) // 3 :])), 100)
    right.axhline(98, color="grey", linewidth=0.8)
    figure.suptitle(f"Digits: {history[-1][1]:.2%} right after {len(history)} epochs")
    figure.savefig(path, dpi=120)
    plt.close(figure)


@torch.no_grad()
def weights_of(model: Classifier, images: Tensor, place: tuple[int, int]) -> list[Tensor]:
    """For each block the attention weights (batch, 8, 8) of the query at `place`, the mean over heads; NaN where it sees
    nothing."""
    model.eval()
    x = model.tokens(images[:, None]).permute(0, 2, 3, 1) + model.place
    found = []
    for block in model.blocks:
        query, key, _ = block.qkv(block.norm1(x)).unflatten(-1, (3, block.heads, -1)).unbind(3)
        logits = torch.einsum("bhd,byxhd->bhyx", query[:, place[0], place[1]], key) * query.shape[-1] ** -0.5
        seen = dense_mask(8, 8, block.dilation)[place[0] * 8 + place[1]].view(8, 8)
        weights = logits.masked_fill(~seen, -torch.inf).flatten(2).softmax(-1).view(logits.shape)
        found.append(weights.mean(1).masked_fill(~seen, torch.nan))
        x = block(x)
    return found


def attention_maps(model: Classifier, images: Tensor, path: Path, place: tuple[int, int] = (4, 4)) -> None:
    """Some digits, and the weights with which the query at `place` sees its neighborhood in each block."""
    images = images[:6]
    maps = weights_of(model, images, place)
    figure, axes = plt.subplots(1 + len(maps), len(images), figsize=(1.6 * len(images), 1.7 * (1 + len(maps))),
                                layout="constrained")  # fmt: skip
    top = max(each.nan_to_num().max().item() for each in maps)
    for column, image in enumerate(images):
        axes[0, column].imshow(image, cmap="gray_r")
        for row, weights in enumerate(maps, 1):
            axes[row, column].set_facecolor("0.92")
            drawn = axes[row, column].imshow(weights[column], cmap="viridis", vmin=0, vmax=top)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.plot(place[1], place[0], marker="s", markersize=11, markerfacecolor="none", markeredgecolor=ORANGE)
    axes[0, 0].set_ylabel("digit")
    for row, block in enumerate(model.blocks, 1):
        axes[row, 0].set_ylabel(f"block {row}\ndilation {block.dilation}")
    figure.colorbar(drawn, ax=axes[1:, :], label="weight, mean of heads", shrink=0.8)
    figure.suptitle(f"What the marked token sees: {KERNEL_SIZE}×{KERNEL_SIZE} neighborhoods")
    figure.savefig(path, dpi=120)
    plt.close(figure)
