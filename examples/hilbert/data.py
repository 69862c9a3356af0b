"""Small real images, held in scikit-learn itself: scans of digits, and tiles of two photographs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

TILE = 20  # pixels by the side of a tile


class Data(NamedTuple):
    """Images (n, 1, side, side) and their labels: those to learn from, and those held out."""

    classes: int
    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def digits() -> Data:
    """1,797 scans of 8x8 pixels, ten classes; every fifth of each kind is held out."""
    from sklearn.datasets import load_digits

    scans = load_digits()
    images = torch.tensor(scans.images, dtype=torch.float32)[:, None] / 8 - 1
    labels = torch.tensor(scans.target)
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for digit in range(10):
        held_out[(labels == digit).nonzero().flatten()[::5]] = True
    return Data(10, images[~held_out], labels[~held_out], images[held_out], labels[held_out])


def tiles() -> Data:
    """Tiles of scikit-learn's two photographs, a temple and a flower: which one is a tile from?

    1,344 tiles of 20x20 pixels, in grey and each with mean 0 and deviation 1 (less where it is nearly flat), since a
    tile's mean colour alone would tell 97% of them apart. They do not overlap; every fourth column of tiles is held out,
    in both photographs.
    """
    from sklearn.datasets import load_sample_images

    parts: list[list[Tensor]] = [[], [], [], []]
    for label, photograph in enumerate(load_sample_images().images):
        grey = torch.from_numpy(photograph.mean(-1))  # float64: means and deviations are exact enough
        cut = grey.unfold(0, TILE, TILE).unfold(1, TILE, TILE)  # (rows, columns, TILE, TILE)
        cut = (cut - cut.mean((2, 3), keepdim=True)) / cut.std((2, 3), keepdim=True).clamp(min=1)
        held_out = torch.arange(cut.shape[1]) % 4 == 3
        for first, chosen in ((0, ~held_out), (2, held_out)):
            images = cut[:, chosen].flatten(0, 1)[:, None].float()
            parts[first].append(images)
            parts[first + 1].append(torch.full((len(images),), label))
    return Data(2, *map(torch.cat, parts))


DATA: dict[str, Callable[[], Data]] = {"digits": digits, "tiles": tiles}


def load(name: str, side: int, score: int) -> Data:
    """The images of that name, up-scaled to side x side pixels; of those held out at most `score`, evenly spread."""

    def scaled(images: Tensor) -> Tensor:
        if images.shape[-1] == side:
            return images
        return functional.interpolate(images, (side, side), mode="bicubic", align_corners=False)

    data = DATA[name]()
    held_out = len(data.test_labels)
    kept = torch.arange(min(score, held_out)) * held_out // min(score, held_out)
    return data._replace(
        images=scaled(data.images), test_images=scaled(data.test_images[kept]), test_labels=data.test_labels[kept]
    )
