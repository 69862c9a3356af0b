"""torch-harmonics' layers of attention on the sphere: its constructors and state dicts, nearfield's attention.

    query (batch, in_channels, nlat_out, nlon_out) -> 1x1 projection -> attention -> 1x1 projection
    key, value (batch, in_channels, nlat_in, nlon_in)                -> (batch, out_channels, nlat_out, nlon_out)

"in" is the grid of keys and values, "out" that of queries and of the result.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nearfield._errors import ArgumentError, UnsupportedError
from nearfield.compat.torch_harmonics._arguments import grid_of, positive, renamed, scale_of, shape_of
from nearfield.compat.torch_harmonics.quadrature import compute_theta_cutoff
from nearfield.functional import attend
from nearfield.nn._projected import check_probability
from nearfield.patterns import SphereGlobal, SphereGrid, SphereNeighborhood, SpherePattern

__all__ = ["AttentionS2", "NeighborhoodAttentionS2", "cuda_kernels_is_available", "optimized_kernels_is_available"]

# What the patterns call the modules' arguments.
_NAMES = {
    "key_grid.nlat": "in_shape[0]",
    "key_grid.nlon": "in_shape[1]",
    "grid.nlat": "out_shape[0]",
    "grid.nlon": "out_shape[1]",
    "cutoff": "theta_cutoff",
}


def optimized_kernels_is_available() -> bool:
    """True: nearfield's kernels are compiled."""
    return True


def cuda_kernels_is_available() -> bool:
    """False: nearfield computes on the CPU."""
    return False


class _AttentionS2(nn.Module):
    """What both modules are: projections, attention with `pattern`, projection."""

    pattern: SpherePattern
    scale: float | Tensor | None
    q_bias: nn.Parameter | None
    k_bias: nn.Parameter | None
    v_bias: nn.Parameter | None
    proj_bias: nn.Parameter | None
    q_norm_weights: nn.Parameter | None
    k_norm_weights: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        num_heads: int,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        k_channels: int | None,
        out_channels: int | None,
    ) -> None:
        super().__init__()
        self.nlat_in, self.nlon_in = shape_of("in_shape", in_shape)
        self.nlat_out, self.nlon_out = shape_of("out_shape", out_shape)
        self.in_channels = positive("in_channels", in_channels)
        self.num_heads = positive("num_heads", num_heads)
        self.k_channels = self.in_channels if k_channels is None else positive("k_channels", k_channels)
        self.out_channels = self.in_channels if out_channels is None else positive("out_channels", out_channels)
        for name in ("k_channels", "out_channels"):
            if getattr(self, name) % self.num_heads:
                raise ArgumentError(f"num_heads={self.num_heads}: must divide {name}={getattr(self, name)}")
        self.drop_rate = 0.0

    def _grids(self, grid_out: str, grid_in: str) -> tuple[SphereGrid, SphereGrid]:
        """Of queries, of keys."""
        own = grid_of((self.nlat_out, self.nlon_out), grid_out, _names("out"))
        return own, grid_of((self.nlat_in, self.nlon_in), grid_in, _names("in"))

    # torch-harmonics' order of parameters, which optimizers' states depend on: a scale may stand before or after these.
    def _make_weights(self) -> None:
        self.q_weights = nn.Parameter(torch.empty(self.k_channels, self.in_channels, 1, 1))
        self.k_weights = nn.Parameter(torch.empty(self.k_channels, self.in_channels, 1, 1))
        self.v_weights = nn.Parameter(torch.empty(self.out_channels, self.in_channels, 1, 1))
        self.proj_weights = nn.Parameter(torch.empty(self.out_channels, self.out_channels, 1, 1))

    def _make_vectors(self, bias: bool, use_qknorm: bool) -> None:
        lengths = {"q_bias": self.k_channels, "k_bias": self.k_channels}
        lengths |= {"v_bias": self.out_channels, "proj_bias": self.out_channels}
        head_dim = self.k_channels // self.num_heads
        for name, length in lengths.items():
            self.register_parameter(name, nn.Parameter(torch.empty(length)) if bias else None)
        for name in ("q_norm_weights", "k_norm_weights"):
            self.register_parameter(name, nn.Parameter(torch.empty(head_dim)) if use_qknorm else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew, as the constructor does: Xavier's uniform weights, all else 0."""
        for name, each in self.named_parameters(recurse=False):
            if name.endswith("_weights") and each.dim() == 4:
                nn.init.xavier_uniform_(each)
            elif name != "scale":  # which is the caller's own
                nn.init.zeros_(each)

    def forward(self, query: Tensor, key: Tensor | None = None, value: Tensor | None = None) -> Tensor:
        """The attention's output (batch, out_channels, nlat_out, nlon_out).

        Parameters
        ----------
        query
            (batch, in_channels, nlat_out, nlon_out).
        key, value
            (batch, in_channels, nlat_in, nlon_in); None: the query, each.
        """
        key = query if key is None else key
        value = query if value is None else value
        self._check("query", query, "out_shape", (self.nlat_out, self.nlon_out))
        self._check("key", key, "in_shape", (self.nlat_in, self.nlon_in))
        self._check("value", value, "in_shape", (self.nlat_in, self.nlon_in))
        if self.drop_rate and self.training:
            raise UnsupportedError(
                f"drop_rate={self.drop_rate}: dropping attention weights needs explicit weights, which the sphere's "
                f"windows have not: set drop_rate=0 to train, or call eval()"
            )
        from_query = _channels_last(query)
        from_key = from_query if key is query else _channels_last(key)
        from_value = from_key if value is key else from_query if value is query else _channels_last(value)
        q = _normed(self._project(from_query, self.q_weights, self.q_bias), self.q_norm_weights)
        k = _normed(self._project(from_key, self.k_weights, self.k_bias), self.k_norm_weights)
        v = self._project(from_value, self.v_weights, self.v_bias)
        scale = self.scale
        if isinstance(scale, Tensor):
            q, scale = _scaled(q, scale), 1.0
        out = attend(self.pattern, q, k, v, scale=scale).flatten(-2)
        projected: Tensor = functional.linear(out, self.proj_weights.flatten(1), self.proj_bias)
        return projected.permute(0, 3, 1, 2).contiguous()

    def _project(self, x: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
        """(batch, nlat, nlon, heads, channels of a head)."""
        heads: Tensor = functional.linear(x, weights.flatten(1), bias).unflatten(-1, (self.num_heads, -1))
        return heads

    def _check(self, name: str, x: Tensor, of: str, shape: tuple[int, int]) -> None:
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}: is a {type(x).__name__}: must be a torch.Tensor")
        if x.dim() != 4 or x.shape[1:] != (self.in_channels, *shape):
            wanted = f"(batch, {self.in_channels}, {shape[0]}, {shape[1]})"
            raise ArgumentError(f"{name}: shape {tuple(x.shape)}: must be {wanted}: batch, in_channels, {of}")

    def extra_repr(self) -> str:
        """What tells this module from others."""
        names = ("in_channels", "out_channels", "k_channels", "num_heads", "pattern")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


class AttentionS2(_AttentionS2):
    """Global attention on the sphere, each key counting with the area of its grid point [1]_.

    Parameters
    ----------
    in_channels
        Channels of query, key and value.
    num_heads
        Heads; divides `k_channels` and `out_channels`.
    in_shape, out_shape
        (nlat, nlon) of the keys' and of the queries' grid. One's nlon divides the other's.
    grid_in, grid_out
        Their latitudes: "equiangular", "legendre-gauss", "lobatto" or "equiangular-trapezoidal".
    scale
        Factor of the logits; None is 1/sqrt(k_channels/num_heads). A tensor, to learn it, is one number or broadcasts
        against (num_heads, 1, k_channels/num_heads).
    use_qknorm
        Whether to divide each head's query and key by their root mean square, and to learn factors 1 + `q_norm_weights`
        and 1 + `k_norm_weights`.
    bias
        Whether the projections have biases.
    k_channels
        Channels of the projected query and key of all heads together; None is `in_channels`.
    out_channels
        Channels of the projected value and of the output; None is `in_channels`.
    drop_rate
        Probability of dropping an attention weight in training. It has to be 0 to train; in eval mode it has no effect.

    Attributes
    ----------
    q_weights, k_weights, v_weights, proj_weights
        The projections, as kernels of 1x1 convolutions: (k_channels, in_channels, 1, 1) the first two, (out_channels,
        in_channels, 1, 1), (out_channels, out_channels, 1, 1).
    q_bias, k_bias, v_bias, proj_bias
        Their biases, or None.
    q_norm_weights, k_norm_weights
        (k_channels/num_heads) each, or None.
    pattern
        `nearfield.SphereGlobal`, for nearfield's own functions.

    Raises
    ------
    ArgumentError, TypeError
        An argument breaks a rule; the message names it, its value and the rule.

    Notes
    -----
    The state dict has the parameters above that are not None, and `scale` if that is a torch.nn.Parameter.

    References
    ----------
    .. [1] Bonev et al., "Attention on the Sphere", 2025.

    Examples
    --------
    >>> import torch
    >>> down = AttentionS2(8, 2, in_shape=(9, 16), out_shape=(5, 8), grid_out="legendre-gauss")
    >>> coarse, fine = torch.zeros(1, 8, 5, 8), torch.zeros(1, 8, 9, 16)
    >>> down(coarse, fine, fine).shape
    torch.Size([1, 8, 5, 8])
    """

    def __init__(
        self,
        in_channels: int,
        num_heads: int,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        grid_in: str = "equiangular",
        grid_out: str = "equiangular",
        scale: Tensor | float | None = None,
        use_qknorm: bool = False,
        bias: bool = True,
        k_channels: int | None = None,
        out_channels: int | None = None,
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__(in_channels, num_heads, in_shape, out_shape, k_channels, out_channels)
        with renamed(_NAMES):
            self.pattern = SphereGlobal(*self._grids(grid_out, grid_in))
        self.drop_rate = check_probability("drop_rate", drop_rate)
        heads = (self.num_heads, 1, self.k_channels // self.num_heads)
        self.scale = None if scale is None else scale_of(scale, heads, f"one number, or broadcast against {heads}")
        self._make_weights()
        self._make_vectors(bias, use_qknorm)


class NeighborhoodAttentionS2(_AttentionS2):
    """Attention to the keys within a great-circle distance of the query, each counting with its area [1]_.

    Parameters
    ----------
    in_channels, in_shape, out_shape, grid_in, grid_out, num_heads, use_qknorm, bias, k_channels, out_channels
        As in `AttentionS2`.
    scale
        As there; a tensor has to be of one number.
    theta_cutoff
        The distance in radians; pi or more is the whole sphere. None: the largest step of latitude of the coarser grid,
        the keys' where queries have more longitudes than they, else the queries'. (Until torch-harmonics 0.9.2 it was
        pi/(nlat-1): where circles are not equally spaced a warning has both values.)
    optimized_kernel
        Without effect: nearfield's kernels are always used.

    Attributes
    ----------
    q_weights, k_weights, v_weights, proj_weights, q_bias, k_bias, v_bias, proj_bias, q_norm_weights, k_norm_weights
        As in `AttentionS2`.
    theta_cutoff
        The distance, also where none was given.
    upsample
        Whether queries have more longitudes than keys.
    pattern
        `nearfield.SphereNeighborhood`, for nearfield's own functions.

    Raises
    ------
    ArgumentError, TypeError
        An argument breaks a rule; the message names it, its value and the rule.

    Notes
    -----
    The state dict is that of `AttentionS2`. A query that no key is near has the value 0 before the last projection.

    References
    ----------
    .. [1] Bonev et al., "Attention on the Sphere", 2025.

    Examples
    --------
    >>> import torch
    >>> layer = NeighborhoodAttentionS2(8, in_shape=(9, 16), out_shape=(9, 16), num_heads=2, theta_cutoff=0.5)
    >>> layer(torch.zeros(1, 8, 9, 16)).shape
    torch.Size([1, 8, 9, 16])
    """

    def __init__(
        self,
        in_channels: int,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        grid_in: str = "equiangular",
        grid_out: str = "equiangular",
        num_heads: int = 1,
        scale: Tensor | float | None = None,
        use_qknorm: bool = False,
        bias: bool = True,
        theta_cutoff: float | None = None,
        k_channels: int | None = None,
        out_channels: int | None = None,
        optimized_kernel: bool = True,
    ) -> None:
        super().__init__(in_channels, num_heads, in_shape, out_shape, k_channels, out_channels)
        grid, key_grid = self._grids(grid_out, grid_in)
        self.upsample = grid.nlon > key_grid.nlon
        coarse = key_grid if self.upsample else grid
        with renamed(_NAMES):
            self.pattern = SphereNeighborhood(grid, key_grid, cutoff=theta_cutoff)
        if theta_cutoff is None:
            theta_cutoff = compute_theta_cutoff(coarse.nlat, coarse.latitudes)
            self.pattern = SphereNeighborhood(grid, key_grid, cutoff=theta_cutoff)
        self.theta_cutoff = self.pattern.distance
        self._make_weights()
        default = (self.k_channels // self.num_heads) ** -0.5
        self.scale = default if scale is None else scale_of(scale, (1, 1, 1), "one number")
        self._make_vectors(bias, use_qknorm)


def _names(side: str) -> dict[str, str]:
    """What a `SphereGrid` calls the arguments of one side, "in" or "out"."""
    return {"nlat": f"{side}_shape[0]", "nlon": f"{side}_shape[1]", "latitudes": f"grid_{side}"}


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).contiguous()


def _normed(x: Tensor, weights: Tensor | None) -> Tensor:
    return x if weights is None else functional.rms_norm(x, weights.shape) * (1 + weights)


def _scaled(x: Tensor, scale: Tensor) -> Tensor:
    """x (batch, nlat, nlon, heads, head_dim) by a scale that broadcasts against (heads, 1, head_dim)."""
    last = scale.reshape(scale.shape[-3:])
    return x * (last.squeeze(-2) if last.dim() > 1 else last)
