"""Neighborhood attention as a layer, for 1, 2 and 3 axes: x (batch, *grid, embed_dim) to the same shape."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from nearfield._values import flag
from nearfield.nn._projected import ProjectedAttention, check_input, smallest_grid
from nearfield.patterns import Bools, Ints, Names, Neighborhood


class NeighborhoodAttention(ProjectedAttention):
    """What the layers for 1, 2 and 3 axes have in common; construct one of these.

    Every token attends to the `kernel_size` tokens around it [1]_, with gaps [2]_, in strides or causally [3]_.

    Parameters
    ----------
    embed_dim
        Channels of the input and of the output.
    num_heads
        Heads of the query; divides `embed_dim`.
    kernel_size, stride, dilation, is_causal, boundary
        The pattern, as `nearfield.Neighborhood` has it: one value, or one for each axis.
    qkv_bias
        Whether the projection to query, key and value has a bias.
    qk_scale
        Factor of the logits; None is 1/sqrt(head_dim), 0 is allowed.
    rel_pos_bias
        Whether to learn a bias of the logits for every relative position: `rpb` (num_heads, 2*kernel_size-1 per axis),
        drawn from a normal distribution of deviation 0.02.
    qk_norm
        Normalise every head's queries and keys before the attention [4]_: True or "layer" is LayerNorm, "rms" RMSNorm,
        False none.
    proj_drop
        Probability of dropping channels of the output in training.
    attn_drop
        Probability of dropping attention weights in training. Where it is not 0, training keeps the weights in memory,
        tokens x heads x slots and several times that backward (`qk` and `av`); evaluation needs none.
    num_heads_kv
        Heads of key and value, a divisor of `num_heads`: grouped-query attention [5]_. None: `num_heads`.
    device, dtype
        Of the parameters.

    Attributes
    ----------
    qkv, proj
        torch.nn.Linear: the projections. The rows of `qkv` are those of all query heads, all key heads, all value heads.
    rpb
        The relative position bias, or None.
    pattern
        nearfield.Neighborhood: which keys a query sees.

    Raises
    ------
    ArgumentError, TypeError
        An argument breaks a rule; the message names it, its value and the rule.

    Notes
    -----
    Parameters are named as NATTEN names them, so that state dicts of models trained with it load.

    References
    ----------
    .. [1] Hassani et al., "Neighborhood Attention Transformer", CVPR 2023.
    .. [2] Hassani and Shi, "Dilated Neighborhood Attention Transformer", 2022.
    .. [3] Hassani et al., "Generalized Neighborhood Attention", 2025.
    .. [4] Dehghani et al., "Scaling Vision Transformers to 22 Billion Parameters", ICML 2023.
    .. [5] Ainslie et al., "GQA: Training Generalized Multi-Query Transformer Models", EMNLP 2023.
    """

    rank: ClassVar[int]
    pattern: Neighborhood

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        kernel_size: Ints,
        stride: Ints = 1,
        dilation: Ints = 1,
        is_causal: Bools = False,
        *,
        boundary: Names = "clamp",
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        rel_pos_bias: bool = False,
        qk_norm: bool | str = False,
        proj_drop: float = 0.0,
        attn_drop: float = 0.0,
        num_heads_kv: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(embed_dim, num_heads, num_heads_kv, qk_scale, attn_drop)
        self.pattern = Neighborhood(kernel_size, stride, dilation, is_causal, boundary)
        axes = self.pattern.axes(self.rank)
        self.kernel_size, self.stride, self.dilation = axes["kernel_size"], axes["stride"], axes["dilation"]
        self.is_causal, self.boundary = axes["is_causal"], axes["boundary"]
        self._check_pattern(smallest_grid(self.pattern, self.rank))
        table = tuple(2 * k - 1 for k in self.kernel_size) if flag("rel_pos_bias", rel_pos_bias) else None
        self._make_parameters(table, qkv_bias, qk_norm, proj_drop, {"device": device, "dtype": dtype})

    def _check_input(self, x: Tensor) -> None:
        check_input(x, self.rank, self.embed_dim)

    def extra_repr(self) -> str:
        """What tells this layer from others."""
        shown = [f"embed_dim={self.embed_dim}", f"num_heads={self.num_heads}", f"kernel_size={self.kernel_size}"]
        plain: dict[str, Any] = {
            "stride": (1,) * self.rank,
            "dilation": (1,) * self.rank,
            "is_causal": (False,) * self.rank,
            "boundary": ("clamp",) * self.rank,
            "num_heads_kv": self.num_heads,
            "scale": self.head_dim**-0.5,
            "attn_drop": 0.0,
        }
        shown += [
            f"{name}={getattr(self, name)!r}" for name, default in plain.items() if getattr(self, name) != default
        ]
        if self.rpb is not None:
            shown.append("rel_pos_bias=True")
        return ", ".join(shown)


class NeighborhoodAttention1D(NeighborhoodAttention):
    """Neighborhood attention over a sequence: (batch, length, embed_dim) to the same shape.

    Parameters, attributes, errors and sources are those of `NeighborhoodAttention`.

    Examples
    --------
    >>> import torch
    >>> layer = NeighborhoodAttention1D(64, num_heads=4, kernel_size=7, is_causal=True)
    >>> layer(torch.zeros(2, 100, 64)).shape
    torch.Size([2, 100, 64])
    """

    rank = 1


class NeighborhoodAttention2D(NeighborhoodAttention):
    """Neighborhood attention over an image: (batch, height, width, embed_dim) to the same shape.

    Parameters, attributes, errors and sources are those of `NeighborhoodAttention`.

    Examples
    --------
    >>> import torch
    >>> layer = NeighborhoodAttention2D(64, num_heads=4, kernel_size=(3, 5), boundary=("clamp", "wrap"))
    >>> layer(torch.zeros(2, 16, 24, 64)).shape
    torch.Size([2, 16, 24, 64])
    """

    rank = 2


class NeighborhoodAttention3D(NeighborhoodAttention):
    """Neighborhood attention over a video or a volume: (batch, depth, height, width, embed_dim) to the same shape.

    Parameters, attributes, errors and sources are those of `NeighborhoodAttention`.

    Examples
    --------
    >>> import torch
    >>> layer = NeighborhoodAttention3D(64, num_heads=4, kernel_size=(3, 5, 5), is_causal=(True, False, False))
    >>> layer(torch.zeros(1, 4, 8, 8, 64)).shape
    torch.Size([1, 4, 8, 8, 64])
    """

    rank = 3
