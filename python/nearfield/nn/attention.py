"""Neighborhood attention as a layer: the projection to query, key and value, the attention, the projection out.

    x (batch, *grid, embed_dim) -> qkv -> attend -> proj -> (batch, *grid, embed_dim)

Query, key and value are views of one projection's output: nothing is copied between it and the attention.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nearfield._errors import ArgumentError, UnsupportedError
from nearfield._values import flag, integer, number, shown
from nearfield.explain import explain
from nearfield.functional import attend
from nearfield.patterns import Bools, Ints, Names, Neighborhood

_NORMS: dict[str, type[nn.Module]] = {"layer": nn.LayerNorm, "rms": nn.RMSNorm}


class NeighborhoodAttention(nn.Module):
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
        Probability of dropping attention weights in training. No engine of this version can: unless it is 0, `forward`
        raises in training mode. In evaluation mode it means nothing.
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
    rpb: nn.Parameter | None

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
        super().__init__()
        heads_kv = num_heads if num_heads_kv is None else num_heads_kv
        check_heads(embed_dim, num_heads, heads_kv)
        self.embed_dim, self.num_heads, self.num_heads_kv = embed_dim, num_heads, heads_kv
        self.head_dim = embed_dim // num_heads
        self.scale = self.head_dim**-0.5 if qk_scale is None else number("qk_scale", qk_scale)
        self.pattern = Neighborhood(kernel_size, stride, dilation, is_causal, boundary)
        axes = self.pattern.axes(self.rank)
        self.kernel_size, self.stride, self.dilation = axes["kernel_size"], axes["stride"], axes["dilation"]
        self.is_causal, self.boundary = axes["is_causal"], axes["boundary"]
        self.attn_drop = check_probability("attn_drop", attn_drop)
        _check_pattern(self.pattern, self.rank, num_heads, heads_kv, self.head_dim)

        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.qkv = nn.Linear(
            embed_dim, (num_heads + 2 * heads_kv) * self.head_dim, bias=flag("qkv_bias", qkv_bias), **made
        )
        if flag("rel_pos_bias", rel_pos_bias):
            self.rpb = nn.Parameter(torch.empty(num_heads, *(2 * k - 1 for k in self.kernel_size), **made))
        else:
            self.register_parameter("rpb", None)
        self.q_norm = _norm(qk_norm, self.head_dim, made)
        self.k_norm = _norm(qk_norm, self.head_dim, made)
        self.proj = nn.Linear(embed_dim, embed_dim, **made)
        self.proj_drop = nn.Dropout(check_probability("proj_drop", proj_drop))
        self._reset_bias()

    def reset_parameters(self) -> None:
        """Draw all parameters anew, as the constructor does."""
        for each in (self.qkv, self.q_norm, self.k_norm, self.proj):
            if isinstance(each, (nn.Linear, *_NORMS.values())):
                each.reset_parameters()  # type: ignore[operator]
        self._reset_bias()

    def _reset_bias(self) -> None:
        if self.rpb is not None:
            nn.init.normal_(self.rpb, std=0.02)

    def forward(self, x: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """The layer's output (batch, *grid, embed_dim).

        Parameters
        ----------
        x
            (batch, *grid, embed_dim).
        key_mask
            (batch, *grid) bool: True where the token may be seen; None: all.
        """
        check_input(x, self.rank, self.embed_dim)
        if self.attn_drop and self.training:
            raise UnsupportedError(
                f"attn_drop={self.attn_drop}: dropping attention weights needs explicit weights, which no engine of this "
                f"version has: set attn_drop=0 to train, or call eval()"
            )
        query, key, value = self.project(x)
        out = attend(self.pattern, query, key, value, scale=self.scale, bias=self.rpb, key_mask=key_mask)
        result: Tensor = self.proj_drop(self.proj(out.flatten(-2)))
        return result

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """query (batch, *grid, num_heads, head_dim), key and value (batch, *grid, num_heads_kv, head_dim).

        Views of one tensor, but for what `qk_norm` makes new.
        """
        wide, narrow = self.num_heads * self.head_dim, self.num_heads_kv * self.head_dim
        query, key, value = (
            each.unflatten(-1, (-1, self.head_dim)) for each in self.qkv(x).split((wide, narrow, narrow), -1)
        )
        return self.q_norm(query), self.k_norm(key), value

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


def check_input(x: Tensor, rank: int, embed_dim: int) -> None:
    """Raise unless it is (batch, *grid, embed_dim)."""
    if not isinstance(x, Tensor):
        raise TypeError(f"x: is a {type(x).__name__}: must be a torch.Tensor")
    if x.dim() != rank + 2 or x.shape[-1] != embed_dim:
        axes = ("length", "height, width", "depth, height, width")[rank - 1]
        raise ArgumentError(f"x: shape {tuple(x.shape)}: must be (batch, {axes}, {embed_dim})")


def check_heads(embed_dim: int, num_heads: int, num_heads_kv: int) -> None:
    """Raise unless the heads divide what they have to."""
    for name, value in (("embed_dim", embed_dim), ("num_heads", num_heads), ("num_heads_kv", num_heads_kv)):
        if integer(name, value) < 1:
            raise ArgumentError(f"{name}={value}: must be at least 1")
    if embed_dim % num_heads:
        raise ArgumentError(f"num_heads={num_heads}: must divide embed_dim={embed_dim}")
    if num_heads % num_heads_kv:
        raise ArgumentError(f"num_heads_kv={num_heads_kv}: must divide num_heads={num_heads}")


def check_probability(name: str, value: float) -> float:
    """The probability of dropping something, as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}={shown(value)}: must be a number")
    if not 0 <= value < 1:
        raise ArgumentError(f"{name}={value!r}: must be at least 0 and below 1")
    return float(value)


def _check_pattern(pattern: Neighborhood, rank: int, num_heads: int, num_heads_kv: int, head_dim: int) -> None:
    """Raise what every call of `forward` would: the library itself checks the pattern, on an empty batch."""
    axes = pattern.axes(rank)
    # A periodic axis has to be a multiple of its dilation; any other may have any length.
    grid = (max(1, d) if b == "wrap" else 1 for d, b in zip(axes["dilation"], axes["boundary"], strict=True))
    query = torch.empty(0, *grid, num_heads, head_dim, device="meta")
    key = torch.empty(*query.shape[:-2], num_heads_kv, head_dim, device="meta")
    explain(pattern, query, key, key)


def _norm(kind: bool | str, head_dim: int, made: dict[str, Any]) -> nn.Module:
    if kind is False:
        return nn.Identity()
    name = "layer" if kind is True else kind
    if not isinstance(name, str) or name not in _NORMS:
        raise ArgumentError(f"qk_norm={shown(kind)}: must be False, True, 'layer' or 'rms'")
    return _NORMS[name](head_dim, **made)
