"""The transformer block of NAT and DiNAT: attention and MLP, each on the normalised input and added to it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nearfield._errors import ArgumentError
from nearfield._values import number, shown
from nearfield.nn._projected import check_heads, check_input, check_probability
from nearfield.nn.attention import NeighborhoodAttention1D, NeighborhoodAttention2D, NeighborhoodAttention3D
from nearfield.patterns import Bools, Ints, Names, Neighborhood

_ATTENTION = (NeighborhoodAttention1D, NeighborhoodAttention2D, NeighborhoodAttention3D)


class NeighborhoodTransformerBlock(nn.Module):
    """x + gamma1 * attn(norm1(x)), then x + gamma2 * mlp(norm2(x)): the block of NAT [1]_ and DiNAT [2]_.

    Takes and gives (batch, *grid, embed_dim).

    Parameters
    ----------
    embed_dim, num_heads, kernel_size, stride, dilation, is_causal, boundary
        As in `NeighborhoodAttention2D`.
    rank
        Axes of the grid, 1 to 3. None: as many as a setting of the pattern has values.
    mlp_ratio
        Hidden channels of the MLP by `embed_dim`.
    drop
        Probability of dropping channels after each projection in training.
    drop_path
        Probability of leaving out each of the two branches for an image in training: stochastic depth [3]_.
    layer_scale
        First value of the factors `gamma1` and `gamma2` (embed_dim) of the branches [4]_; None: no such factors.
    qkv_bias, qk_scale, rel_pos_bias, qk_norm, attn_drop, num_heads_kv
        As in `NeighborhoodAttention2D`.
    device, dtype
        Of the parameters.

    Raises
    ------
    ArgumentError, TypeError
        An argument breaks a rule; the message names it, its value and the rule.

    References
    ----------
    .. [1] Hassani et al., "Neighborhood Attention Transformer", CVPR 2023.
    .. [2] Hassani and Shi, "Dilated Neighborhood Attention Transformer", 2022.
    .. [3] Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016.
    .. [4] Touvron et al., "Going deeper with Image Transformers", ICCV 2021.

    Examples
    --------
    >>> import torch
    >>> block = NeighborhoodTransformerBlock(64, num_heads=4, kernel_size=7, rank=2, rel_pos_bias=True)
    >>> block(torch.zeros(1, 14, 14, 64)).shape
    torch.Size([1, 14, 14, 64])
    """

    gamma1: nn.Parameter | None
    gamma2: nn.Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        kernel_size: Ints,
        stride: Ints = 1,
        dilation: Ints = 1,
        is_causal: Bools = False,
        *,
        rank: int | None = None,
        boundary: Names = "clamp",
        mlp_ratio: float = 4.0,
        drop: float = 0.0,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        rel_pos_bias: bool = False,
        qk_norm: bool | str = False,
        attn_drop: float = 0.0,
        num_heads_kv: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        if rank is None:
            rank = Neighborhood(kernel_size, stride, dilation, is_causal, boundary).rank()
        if not isinstance(rank, int) or rank not in (1, 2, 3):
            raise ArgumentError(
                f"rank={shown(rank)}: must be 1, 2 or 3 (None: where a setting has a value for each axis)"
            )
        self.drop_path = check_probability("drop_path", drop_path)
        self.layer_scale = None if layer_scale is None else number("layer_scale", layer_scale)
        check_heads(embed_dim, num_heads, num_heads if num_heads_kv is None else num_heads_kv)
        self.norm1 = nn.LayerNorm(embed_dim, **made)
        self.attn = _ATTENTION[rank - 1](
            embed_dim,
            num_heads,
            kernel_size,
            stride,
            dilation,
            is_causal,
            boundary=boundary,
            qkv_bias=qkv_bias,
            qk_scale=qk_scale,
            rel_pos_bias=rel_pos_bias,
            qk_norm=qk_norm,
            proj_drop=drop,
            attn_drop=attn_drop,
            num_heads_kv=num_heads_kv,
            **made,
        )
        self.norm2 = nn.LayerNorm(embed_dim, **made)
        self.mlp = _Mlp(embed_dim, int(embed_dim * number("mlp_ratio", mlp_ratio)), drop, made)
        for name in ("gamma1", "gamma2"):
            factors = None if layer_scale is None else nn.Parameter(torch.empty(embed_dim, **made))
            self.register_parameter(name, factors)
        self._reset_factors()

    def reset_parameters(self) -> None:
        """Draw all parameters anew, as the constructor does."""
        for each in (self.norm1, self.attn, self.norm2, self.mlp.fc1, self.mlp.fc2):
            each.reset_parameters()
        self._reset_factors()

    def _reset_factors(self) -> None:
        for factors in (self.gamma1, self.gamma2):
            if factors is not None and self.layer_scale is not None:
                nn.init.constant_(factors, self.layer_scale)

    def forward(self, x: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """The block's output (batch, *grid, embed_dim); `key_mask` as in the attention."""
        check_input(x, self.attn.rank, self.attn.embed_dim)
        x = x + self._branch(self.attn(self.norm1(x), key_mask), self.gamma1)
        return x + self._branch(self.mlp(self.norm2(x)), self.gamma2)

    def _branch(self, x: Tensor, factors: Tensor | None) -> Tensor:
        """A branch's result, scaled, and left out for some images in training."""
        if factors is not None:
            x = x * factors
        if not self.drop_path or not self.training:
            return x
        kept = 1 - self.drop_path
        # Dividing by the probability keeps the expectation.
        return x * (x.new_empty(x.shape[:1] + (1,) * (x.dim() - 1)).bernoulli_(kept) / kept)

    def extra_repr(self) -> str:
        """What tells this block from others, beyond its parts."""
        shown = [f"drop_path={self.drop_path}"] if self.drop_path else []
        if self.layer_scale is not None:
            shown.append(f"layer_scale={self.layer_scale}")
        return ", ".join(shown)


class _Mlp(nn.Module):
    """fc2(gelu(fc1(x))), with dropout after each projection."""

    def __init__(self, channels: int, hidden: int, drop: float, made: dict[str, Any]) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden, **made)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, channels, **made)
        self.drop = nn.Dropout(check_probability("drop", drop))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))
        return result
