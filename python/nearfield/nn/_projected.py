"""What the layers of attention share: the projection to query, key and value, the attention, the projection out.

    x (batch, *grid, embed_dim) -> qkv -> attend -> proj -> (batch, *grid, embed_dim)

Query, key and value are views of one projection's output: nothing is copied between it and the attention.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nearfield._errors import ArgumentError, UnsupportedError
from nearfield._values import flag, integer, number, shown
from nearfield.explain import explain
from nearfield.functional import attend
from nearfield.patterns import Neighborhood, Pattern, SpherePattern
from nearfield.unfused import av, qk

_NORMS: dict[str, type[nn.Module]] = {"layer": nn.LayerNorm, "rms": nn.RMSNorm}


class ProjectedAttention(nn.Module):
    """A layer; which keys a query sees is `pattern`, that a subclass sets before it makes the parameters."""

    pattern: Pattern
    rpb: nn.Parameter | None

    def __init__(
        self, embed_dim: int, num_heads: int, num_heads_kv: int | None, qk_scale: float | None, attn_drop: float
    ) -> None:
        super().__init__()
        heads_kv = num_heads if num_heads_kv is None else num_heads_kv
        check_heads(embed_dim, num_heads, heads_kv)
        self.embed_dim, self.num_heads, self.num_heads_kv = embed_dim, num_heads, heads_kv
        self.head_dim = embed_dim // num_heads
        self.scale = self.head_dim**-0.5 if qk_scale is None else number("qk_scale", qk_scale)
        self.attn_drop = check_probability("attn_drop", attn_drop)

    def _make_parameters(
        self,
        table: tuple[int, ...] | None,
        qkv_bias: bool,
        qk_norm: bool | str,
        proj_drop: float,
        made: dict[str, Any],
    ) -> None:
        """The submodules. table: entries of the relative position bias on each axis; None: no bias. made: device and
        dtype."""
        self._make_projections(flag("qkv_bias", qkv_bias), made)
        rpb = None if table is None else nn.Parameter(torch.empty(self.num_heads, *table, **made))
        self.register_parameter("rpb", rpb)
        self.q_norm = _norm(qk_norm, self.head_dim, made)
        self.k_norm = _norm(qk_norm, self.head_dim, made)
        self.proj = nn.Linear(self.embed_dim, self._out_dim(), **made)
        self.proj_drop = nn.Dropout(check_probability("proj_drop", proj_drop))
        self._reset_bias()

    def _make_projections(self, bias: bool, made: dict[str, Any]) -> None:
        """To query, key and value."""
        width = (self.num_heads + 2 * self.num_heads_kv) * self.head_dim
        self.qkv = nn.Linear(self.embed_dim, width, bias=bias, **made)

    def _out_dim(self) -> int:
        """Channels of the output."""
        return self.embed_dim

    def reset_parameters(self) -> None:
        """Draw all parameters anew, as the constructor does."""
        for each in self.children():
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
        self._check_input(x)
        query, key, value = self.project(x)
        if self.attn_drop and self.training:
            out = self._attend_dropping(query, key, value, key_mask)
        else:
            out = attend(self.pattern, query, key, value, scale=self.scale, bias=self.rpb, key_mask=key_mask)
        result: Tensor = self.proj_drop(self.proj(out.flatten(-2)))
        return result

    def _attend_dropping(self, query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor | None) -> Tensor:
        """The attention with weights dropped after the softmax: the one case that needs them in memory."""
        if isinstance(self.pattern, SpherePattern):
            raise UnsupportedError(
                f"attn_drop={self.attn_drop}: dropping attention weights needs explicit weights, which patterns on the "
                f"sphere have not: set attn_drop=0 to train, or call eval()"
            )
        logits = qk(self.pattern, query, key, scale=self.scale, bias=self.rpb, key_mask=key_mask, wide=True)
        weights = nn.functional.dropout(softmax(logits), self.attn_drop)
        return av(self.pattern, weights, value, key_mask=key_mask)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """query (batch, *grid, num_heads, head_dim), key and value (batch, *grid, num_heads_kv, head_dim).

        Views of one tensor, but for what `qk_norm` makes new.
        """
        wide, narrow = self.num_heads * self.head_dim, self.num_heads_kv * self.head_dim
        query, key, value = (
            each.unflatten(-1, (-1, self.head_dim)) for each in self.qkv(x).split((wide, narrow, narrow), -1)
        )
        return self.q_norm(query), self.k_norm(key), value

    def _check_input(self, x: Tensor) -> None:
        """Raise unless it is (batch, *grid, embed_dim) of a grid that the pattern fits."""
        raise NotImplementedError

    def _check_pattern(self, grid: tuple[int, ...]) -> None:
        """Raise what every call of `forward` would: the library itself checks the pattern, on an empty batch."""
        query = torch.empty(0, *grid, self.num_heads, self.head_dim, device="meta")
        key = torch.empty(*query.shape[:-2], self.num_heads_kv, self.head_dim, device="meta")
        explain(self.pattern, query, key, key)


def softmax(logits: Tensor) -> Tensor:
    """Softmax over the last dimension; a row of nothing but -infinity, of a query that sees no key, becomes zeros."""
    hidden = logits == -torch.inf
    empty = hidden.all(-1, keepdim=True)
    return torch.where(hidden, 0, torch.where(empty, 0, logits).softmax(-1))


def smallest_grid(pattern: Pattern, rank: int) -> tuple[int, ...]:
    """A grid of `rank` axes that the pattern fits whatever grids it is made for."""
    if isinstance(pattern, SpherePattern):
        return (pattern.grid.nlat, pattern.grid.nlon)
    if not isinstance(pattern, Neighborhood):
        return (1,) * rank
    axes = pattern.axes(rank)
    # A periodic axis has to be a multiple of its dilation; any other may have any length.
    return tuple(max(1, d) if b == "wrap" else 1 for d, b in zip(axes["dilation"], axes["boundary"], strict=True))


def check_input(x: Tensor, rank: int | None, embed_dim: int) -> None:
    """Raise unless it is (batch, *grid, embed_dim), with `rank` axes of the grid, or 1 to 3."""
    if not isinstance(x, Tensor):
        raise TypeError(f"x: is a {type(x).__name__}: must be a torch.Tensor")
    if x.dim() - 2 not in ((1, 2, 3) if rank is None else (rank,)) or x.shape[-1] != embed_dim:
        names = {None: "*grid", 1: "length", 2: "height, width", 3: "depth, height, width"}
        raise ArgumentError(f"x: shape {tuple(x.shape)}: must be (batch, {names[rank]}, {embed_dim})")


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


def _norm(kind: bool | str, head_dim: int, made: dict[str, Any]) -> nn.Module:
    if kind is False:
        return nn.Identity()
    name = "layer" if kind is True else kind
    if not isinstance(name, str) or name not in _NORMS:
        raise ArgumentError(f"qk_norm={shown(kind)}: must be False, True, 'layer' or 'rms'")
    return _NORMS[name](head_dim, **made)
