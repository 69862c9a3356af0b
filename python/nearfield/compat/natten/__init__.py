"""NATTEN's interface on nearfield: `from nearfield.compat import natten` in the place of `import natten`.

Calls written for NATTEN 0.14 to 0.21 run as they stand, on the CPU: the fused functions na1d, na2d and na3d, dense
attention, merging, the modules (whose state dicts load) and the switches. The same call gives the same numbers; where
releases disagree about what a positional argument means, and the call does not show which it was written for, it is
refused. What differs:

- Gradients flow through logsumexp and relative position biases, and biases go with causal axes: NATTEN has neither.
- `scale=0.0` and `qk_scale=0.0` mean 0; NATTEN took them for "not given".
- Windows of one key are allowed.
- `merge_attentions` returns (out, logsumexp), as since 0.21.5; before, it returned out alone.
- Names of kernels and tile shapes are accepted with one warning: nearfield chooses its own.
- Unfused functions (natten2dqkrpb, na2d_qk, na2d_av and their kin) take biases with causal axes, weights of float32 with
  values of 16 bits, and fewer heads of keys and values.
- `attn_drop` drops attention weights in training; NATTEN 0.17 logged an error and ignored it.

`__version__` is that of the newest NATTEN whose interface this is, so that a program that looks at it takes its path for
that release; nearfield's own is `nearfield.__version__`.
"""

from nearfield.compat.natten import context, flops, functional, modules, utils
from nearfield.compat.natten._dense import attention, merge_attentions
from nearfield.compat.natten.context import *  # noqa: F403  (nothing but its __all__)
from nearfield.compat.natten.functional import na1d, na2d, na3d
from nearfield.compat.natten.modules import (
    NeighborhoodAttention1D,
    NeighborhoodAttention2D,
    NeighborhoodAttention3D,
)

__version__ = "0.21.6"
HAS_LIBNATTEN = True  # "the fused functions can run"

__all__ = [
    "HAS_LIBNATTEN",
    "NeighborhoodAttention1D",
    "NeighborhoodAttention2D",
    "NeighborhoodAttention3D",
    "__version__",
    "attention",
    "context",
    "flops",
    "functional",
    "merge_attentions",
    "modules",
    "na1d",
    "na2d",
    "na3d",
    "utils",
    *context.__all__,
]
