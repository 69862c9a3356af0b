"""Attention with any pattern as a layer: windows, curves, neighborhoods."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfield._errors import ArgumentError
from nearfield._values import flag
from nearfield.grids import bias_extents, grid_lengths
from nearfield.nn._projected import ProjectedAttention, check_input, smallest_grid
from nearfield.patterns import Ints, Pattern, SpherePattern, check_pattern
from nearfield.patterns._words import order_of


class LocalAttention(ProjectedAttention):
    """Local attention with any pattern: (batch, *grid, embed_dim) to the same shape.

    Parameters
    ----------
    embed_dim
        Channels of the input and of the output.
    num_heads
        Heads of the query; divides `embed_dim`.
    pattern
        Which keys a query sees, e.g. ``HilbertWindow(8)`` or ``Window(7, shift=3)``.
    grid
        Lengths of the grid's 1 to 3 axes for which the table of `rel_pos_bias` is made. None will do without a table,
        and where a setting of the pattern has a value for each axis. With a pattern along a curve and a table all
        inputs have to be of this grid; else they may be of any that the pattern fits.
    qkv_bias
        Whether the projection to query, key and value has a bias.
    qk_scale
        Factor of the logits; None is 1/sqrt(head_dim), 0 is allowed.
    rel_pos_bias
        Whether to learn a bias of the logits for every relative position: `rpb` (num_heads, 2*e-1 per axis), with e
        from `bias_extents`, drawn from a normal distribution of deviation 0.02.
    qk_norm, proj_drop, attn_drop, num_heads_kv
        As in `NeighborhoodAttention2D`.
    device, dtype
        Of the parameters.

    Attributes
    ----------
    qkv, proj
        torch.nn.Linear: the projections. The rows of `qkv` are those of all query heads, all key heads, all value heads.
    rpb
        The relative position bias, or None.
    pattern
        Which keys a query sees.
    grid
        Lengths of the axes that were given, or None.

    Raises
    ------
    ArgumentError, TypeError
        An argument breaks a rule, or an input is of another grid than the table of a curve; the message names it, its
        value and the rule.

    Notes
    -----
    The state dict has ``qkv.weight``, ``qkv.bias``, ``proj.weight``, ``proj.bias``, with `rel_pos_bias` ``rpb`` and with
    `qk_norm` ``q_norm.weight``, ``k_norm.weight`` and, of LayerNorm, their biases: the names and shapes of
    `NeighborhoodAttention2D`. It knows nothing of the pattern: layers of other patterns load it, if tables are alike.

    References
    ----------
    .. [1] "Hilbert-Guided Block-Sparse Local Attention", 2025.
    .. [2] Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", ICCV 2021.

    Examples
    --------
    >>> import torch, nearfield
    >>> layer = LocalAttention(64, 4, nearfield.HilbertWindow(4), grid=(16, 16), rel_pos_bias=True)
    >>> layer(torch.zeros(2, 16, 16, 64)).shape, layer.rpb.shape
    (torch.Size([2, 16, 16, 64]), torch.Size([4, 7, 7]))
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        pattern: Pattern,
        *,
        grid: Ints | None = None,
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
        check_pattern(pattern)
        if isinstance(pattern, SpherePattern) and pattern.key_grid != pattern.grid:
            raise ArgumentError(
                f"pattern.key_grid={pattern.key_grid!r}: must be the pattern's grid; nn.SphereAttention takes another"
            )
        self.pattern = pattern
        self.grid = None if grid is None else grid_lengths(grid)
        self.rank = pattern.rank() if self.grid is None else len(self.grid)
        some = smallest_grid(pattern, self.rank or 1) if self.grid is None else self.grid
        self._check_pattern(some)
        table = None
        if flag("rel_pos_bias", rel_pos_bias):
            if self.rank is None:
                raise ArgumentError("grid=None: must be given where rel_pos_bias=True: its table depends on the grid")
            table = tuple(2 * e - 1 for e in bias_extents(pattern, some))
        # Along a curve, how far a window reaches depends on the grid.
        is_curve = order_of(pattern.words(len(some))) is not None
        self._only_grid = self.grid if table is not None and is_curve else None
        self._make_parameters(table, qkv_bias, qk_norm, proj_drop, {"device": device, "dtype": dtype})

    def _check_input(self, x: Tensor) -> None:
        check_input(x, self.rank, self.embed_dim)
        if self._only_grid is not None and x.shape[1:-1] != self._only_grid:
            raise ArgumentError(
                f"x: shape {tuple(x.shape)}: must be of grid={self._only_grid}, for which the table of rel_pos_bias is "
                f"made"
            )

    def extra_repr(self) -> str:
        """What tells this layer from others."""
        shown = [f"embed_dim={self.embed_dim}", f"num_heads={self.num_heads}", f"pattern={self.pattern!r}"]
        plain = {"grid": None, "num_heads_kv": self.num_heads, "scale": self.head_dim**-0.5, "attn_drop": 0.0}
        shown += [
            f"{name}={getattr(self, name)!r}" for name, default in plain.items() if getattr(self, name) != default
        ]
        if self.rpb is not None:
            shown.append("rel_pos_bias=True")
        return ", ".join(shown)
