"""NATTEN's modules: constructors of all its releases, one implementation, `nearfield.nn`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nearfield.compat.natten._binding import Release, bind
from nearfield.compat.natten._fits import check_fits
from nearfield.nn._projected import check_input
from nearfield.nn.attention import NeighborhoodAttention

__all__ = ["NeighborhoodAttention1D", "NeighborhoodAttention2D", "NeighborhoodAttention3D"]

_FIRST = ("embed_dim", "num_heads", "kernel_size")
_RELEASES = (
    Release("0.20", (*_FIRST, "stride", "dilation", "is_causal", "qkv_bias", "qk_scale", "proj_drop")),
    Release(
        "0.17",
        (*_FIRST, "dilation", "is_causal", "rel_pos_bias", "qkv_bias", "qk_scale", "attn_drop", "proj_drop")
        + ("use_experimental_ops",),
    ),
)
_LAST = ("bias", "qkv_bias", "qk_scale", "attn_drop", "proj_drop")
_FLAT_014 = Release("0.14", (*_FIRST, "dilation", *_LAST))
_DEEP_014 = Release("0.15", (*_FIRST, "kernel_size_d", "dilation", "dilation_d", *_LAST))


class _Released(NeighborhoodAttention):
    """The constructors, and what a window does that is larger than its axis; the base of the three modules.

    NATTEN 0.14 and 0.15 pad such an input with zeros, later releases refuse it. A module is one of 0.14 if it was made
    with an argument that only they have: `bias`, `kernel_size_d` or `dilation_d`.
    """

    def __init__(self, *positional: Any, **keywords: Any) -> None:
        name = type(self).__name__
        if "dim" in keywords and "embed_dim" not in keywords:
            keywords["embed_dim"] = keywords.pop("dim")  # its name until 0.20.0
        oldest = _DEEP_014 if self.rank == 3 else _FLAT_014
        release, given = bind(name, (*_RELEASES, oldest), positional, keywords)
        for each in _FIRST:
            if each not in given:
                raise TypeError(f"{name}: {each}: must be given")
        given.pop("use_experimental_ops", None)
        self._pads = release is oldest
        if release is oldest:
            given["rel_pos_bias"] = given.pop("bias", True)
        depth_kernel, depth_dilation = given.pop("kernel_size_d", None), given.pop("dilation_d", None)
        if depth_kernel is not None:
            given["kernel_size"] = (depth_kernel, given["kernel_size"], given["kernel_size"])
        if depth_dilation is not None:
            dilation = given.get("dilation") or 1
            given["dilation"] = (depth_dilation, dilation, dilation)
        for each in ("qkv_bias", "rel_pos_bias"):
            if each in given:
                given[each] = bool(given[each])
        super().__init__(**{each: value for each, value in given.items() if value is not None})

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # NATTEN's take nothing else
        """(batch, *grid, embed_dim) to the same shape."""
        check_input(x, self.rank, self.embed_dim)
        grid = x.shape[1:-1]
        if not self._pads:
            check_fits(self.pattern, grid)
            return super().forward(x)
        missing = [max(0, k * d - n) for k, d, n in zip(self.kernel_size, self.dilation, grid, strict=True)]
        if not any(missing):
            return super().forward(x)
        padding = [0, 0] + [each for axis in reversed(missing) for each in (0, axis)]
        out = super().forward(torch.nn.functional.pad(x, padding))
        return out[(slice(None), *(slice(0, n) for n in grid))]


class NeighborhoodAttention1D(_Released):
    """Neighborhood attention over a sequence (batch, length, embed_dim), with the constructors of NATTEN 0.14 to 0.21.

    Parameters
    ----------
    embed_dim or dim, num_heads, kernel_size, stride, dilation, is_causal, qkv_bias, qk_scale, proj_drop
        As in `nearfield.nn.NeighborhoodAttention1D`; None for stride, dilation or is_causal is the default.
    rel_pos_bias
        (0.17) Whether to learn a relative position bias; it is not by default.
    bias
        (0.14, 0.15) The same, under its first name.
    attn_drop
        (until 0.17) Probability of dropping attention weights in training, as in 0.14 and 0.15: NATTEN 0.17 logged an
        error and ignored it. Where it is not 0, training keeps the weights in memory.
    use_experimental_ops
        (0.17) Without effect.

    Notes
    -----
    State dicts are NATTEN's: `qkv`, `proj` and `rpb` (heads, 2*kernel_size-1 per axis).
    """

    rank = 1


class NeighborhoodAttention2D(_Released):
    """Neighborhood attention over an image (batch, height, width, embed_dim); as `NeighborhoodAttention1D`."""

    rank = 2


class NeighborhoodAttention3D(_Released):
    """Neighborhood attention over a video (batch, depth, height, width, embed_dim); as `NeighborhoodAttention1D`.

    NATTEN 0.15's `kernel_size_d` and `dilation_d` are those of the first axis.
    """

    rank = 3
