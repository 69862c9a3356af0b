"""Attention on the sphere as a layer: on one grid, or from one to another."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nearfield._errors import ArgumentError
from nearfield._values import choice, integer
from nearfield.functional import attend
from nearfield.nn._projected import ProjectedAttention
from nearfield.nn.resample import SphereResample, check_field
from nearfield.patterns import SphereGlobal, SphereNeighborhood
from nearfield.patterns._sphere import TOLERANCE, Grid

_PATTERNS = ("neighborhood", "global")


class SphereAttention(ProjectedAttention):
    """Attention on the sphere [1]_: (batch, nlat, nlon, embed_dim), on one grid or from `key_grid` to `grid`.

    Down- and up-sampling is one call, ``layer(x)`` with x on `key_grid`: queries are made from x, interpolated to `grid`
    (`SphereResample`), and gather from x itself. ``layer(x, context)`` takes queries from x on `grid`, keys and values from
    the context on `key_grid`: a finer skip connection, say, or another field.

    Parameters
    ----------
    embed_dim
        Channels of the input.
    num_heads
        Heads of the query; divides `embed_dim`.
    grid
        `nearfield.SphereGrid` of queries and output, or (nlat, nlon) of an equiangular one.
    key_grid
        That of keys and values; None: the same. One's nlon divides the other's.
    pattern
        "neighborhood" or "global".
    cutoff, tolerance
        Of a neighborhood, as in `nearfield.SphereNeighborhood`.
    context_dim
        Channels of the context; None: `embed_dim`.
    out_dim
        Channels of the output; None: `embed_dim`.
    qkv_bias
        Whether the projections to query, key and value have a bias.
    qk_scale
        Factor of the logits; None is 1/sqrt(head_dim), 0 is allowed.
    qk_norm, proj_drop, num_heads_kv
        As in `NeighborhoodAttention2D`.
    device, dtype
        Of the parameters.

    Attributes
    ----------
    qkv, proj
        torch.nn.Linear: the projections. The rows of `qkv` are those of all query heads, all key heads, all value heads.
    q, kv
        torch.nn.Linear, in place of `qkv` where `context_dim` is another than `embed_dim`.
    pattern
        nearfield.SphereNeighborhood or nearfield.SphereGlobal.

    Raises
    ------
    ArgumentError, TypeError
        An argument breaks a rule, or an input is of another grid; the message names it, its value and the rule.

    Notes
    -----
    The state dict has ``qkv.weight`` and ``qkv.bias`` (or those of ``q`` and ``kv``), ``proj.weight``, ``proj.bias`` and with
    `qk_norm` ``q_norm.weight``, ``k_norm.weight`` and, of LayerNorm, their biases: the names and shapes of `LocalAttention`
    and `NeighborhoodAttention2D`. It knows nothing of grids: weights that were trained on one serve on others.

    References
    ----------
    .. [1] Bonev et al., "Attention on the Sphere", 2025.

    Examples
    --------
    >>> import torch
    >>> fine, coarse = (9, 16), (5, 8)
    >>> down, up = SphereAttention(32, 4, coarse, fine), SphereAttention(32, 4, fine, coarse)
    >>> x = torch.zeros(2, 9, 16, 32)
    >>> down(x).shape, up(down(x)).shape, up(x, down(x)).shape
    (torch.Size([2, 5, 8, 32]), torch.Size([2, 9, 16, 32]), torch.Size([2, 9, 16, 32]))
    """

    pattern: SphereNeighborhood | SphereGlobal
    resample: SphereResample | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        grid: Grid,
        key_grid: Grid | None = None,
        *,
        pattern: str = "neighborhood",
        cutoff: float | None = None,
        tolerance: float = TOLERANCE,
        context_dim: int | None = None,
        out_dim: int | None = None,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        qk_norm: bool | str = False,
        proj_drop: float = 0.0,
        num_heads_kv: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(embed_dim, num_heads, num_heads_kv, qk_scale, 0.0)
        if _PATTERNS[choice("pattern", pattern, _PATTERNS)] == "global":
            if cutoff is not None:
                raise ArgumentError(f"cutoff={cutoff!r}: must be None where pattern='global'")
            self.pattern = SphereGlobal(grid, key_grid)
        else:
            self.pattern = SphereNeighborhood(grid, key_grid, cutoff=cutoff, tolerance=tolerance)
        self.grid, self.key_grid = self.pattern.grid, self.pattern.key_grid
        self.context_dim = _channels("context_dim", context_dim, embed_dim)
        self.out_dim = _channels("out_dim", out_dim, embed_dim)
        self._make_parameters(None, qkv_bias, qk_norm, proj_drop, {"device": device, "dtype": dtype})
        own = self.grid == self.key_grid
        self.resample = None if own else SphereResample(self.key_grid, self.grid, device=device)

    def _make_projections(self, bias: bool, made: dict[str, Any]) -> None:
        if self.context_dim == self.embed_dim:
            super()._make_projections(bias, made)
            return
        self.q = nn.Linear(self.embed_dim, self.num_heads * self.head_dim, bias=bias, **made)
        self.kv = nn.Linear(self.context_dim, 2 * self.num_heads_kv * self.head_dim, bias=bias, **made)

    def _out_dim(self) -> int:
        return self.out_dim

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        context: Tensor | None = None,
        *,
        key_mask: Tensor | None = None,
        key_weights: Tensor | None = None,
    ) -> Tensor:
        """The layer's output (batch, nlat, nlon, out_dim) on `grid`.

        Parameters
        ----------
        x
            (batch, nlat, nlon, embed_dim): on `grid`; without a context on `key_grid`.
        context
            (batch, nlat, nlon, context_dim) on `key_grid`: what keys and values are made from. None: x.
        key_mask
            (batch, nlat, nlon) bool on `key_grid`: True where the point may be seen, e.g. the sea; None: all.
        key_weights
            (nlat, nlon) or (batch, nlat, nlon) on `key_grid`, at least 0: factors of the points' areas.
        """
        if context is None:
            if self.context_dim != self.embed_dim:
                raise ArgumentError(
                    f"context=None: must be given where context_dim={self.context_dim} is not embed_dim={self.embed_dim}"
                )
            more = ", on key_grid where there is no context" if self.resample is not None else ""
            check_field("x", x, self.key_grid, self.embed_dim, more)
        else:
            check_field("x", x, self.grid, self.embed_dim)
            check_field("context", context, self.key_grid, self.context_dim)
        query, key, value = self.project(x, context)
        out = attend(self.pattern, query, key, value, scale=self.scale, key_mask=key_mask, key_weights=key_weights)
        result: Tensor = self.proj_drop(self.proj(out.flatten(-2)))
        return result

    def project(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """query on `grid` (batch, nlat, nlon, num_heads, head_dim), key and value on `key_grid` (batch, nlat, nlon,
        num_heads_kv, head_dim), of the arguments of `forward`."""
        if context is None:
            if self.resample is None:
                return super().project(x)
            x, context = self.resample(x), x
        wide, narrow = self.num_heads * self.head_dim, self.num_heads_kv * self.head_dim
        if self.context_dim == self.embed_dim:
            weights = self.qkv.weight.split((wide, 2 * narrow))
            biases = (None, None) if self.qkv.bias is None else self.qkv.bias.split((wide, 2 * narrow))
            query, both = (
                nn.functional.linear(each, *parameters)
                for each, *parameters in zip((x, context), weights, biases, strict=True)
            )
        else:
            query, both = self.q(x), self.kv(context)
        query, key, value = (
            each.unflatten(-1, (-1, self.head_dim)) for each in (query, *both.split((narrow, narrow), -1))
        )
        return self.q_norm(query), self.k_norm(key), value

    def extra_repr(self) -> str:
        """What tells this layer from others."""
        shown = [f"embed_dim={self.embed_dim}", f"num_heads={self.num_heads}", f"pattern={self.pattern!r}"]
        plain = {
            "context_dim": self.embed_dim,
            "out_dim": self.embed_dim,
            "num_heads_kv": self.num_heads,
            "scale": self.head_dim**-0.5,
        }
        shown += [
            f"{name}={getattr(self, name)!r}" for name, default in plain.items() if getattr(self, name) != default
        ]
        return ", ".join(shown)


def _channels(name: str, value: int | None, default: int) -> int:
    if value is None:
        return default
    if integer(name, value) < 1:
        raise ArgumentError(f"{name}={value}: must be at least 1")
    return int(value)
