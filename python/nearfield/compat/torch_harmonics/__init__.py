"""torch-harmonics' attention on nearfield: `from nearfield.compat.torch_harmonics import NeighborhoodAttentionS2`.

`AttentionS2` and `NeighborhoodAttentionS2` take what those of torch-harmonics 0.9.1 to 0.9.3 take, start from the same
random weights, load each other's state dicts and compute the same function. What differs:

- float64, float32, bfloat16 and float16; on the CPU only.
- Queries that no key is near have the value 0, not NaN.
- `AttentionS2` takes more query than key longitudes, too.
- Every message about a wrong argument names it, its value and the rule; they are ValueErrors, there as here.
- `drop_rate` has to be 0 to train.

With these come `quadrature`'s latitudes, longitudes and `QuadratureS2`. Transforms, convolutions, resampling and examples
are not here: import them from torch_harmonics, whose modules go with these.

`__version__` is that of the newest torch-harmonics whose interface this is; nearfield's own is `nearfield.__version__`.
"""

from typing import NoReturn

from nearfield.compat.torch_harmonics import attention, quadrature
from nearfield.compat.torch_harmonics.attention import AttentionS2, NeighborhoodAttentionS2
from nearfield.compat.torch_harmonics.quadrature import QuadratureS2

__version__ = "0.9.3"

__all__ = ["AttentionS2", "NeighborhoodAttentionS2", "QuadratureS2", "__version__", "attention", "quadrature"]

_THEIRS = frozenset(
    ("RealSHT", "InverseRealSHT", "RealVectorSHT", "InverseRealVectorSHT", "SpectralConvS2", "truncate_sht")
    + ("DiscreteContinuousConvS2", "DiscreteContinuousConvTransposeS2", "ResampleS2")
    + ("cache", "disco", "distributed", "examples", "fft", "filter_basis", "legendre", "plotting", "random_fields")
    + ("resample", "sht", "spectral_convolution", "truncation", "utils")
)


def __getattr__(name: str) -> NoReturn:
    """Say where a name is that torch-harmonics has and this module has not."""
    if name in _THEIRS:
        # An ImportError: `from ... import RealSHT` would replace an AttributeError's message by its own.
        raise ImportError(
            f"{name}: nearfield has attention only: import it from torch_harmonics, it goes with these", name=name
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
