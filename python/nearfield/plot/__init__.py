"""Pictures of patterns, curves, the sphere, plans and attention weights, with matplotlib.

    figure = nearfield.plot.window(nearfield.Neighborhood(7), (24, 32), query=(3, 10))
    figure.savefig("window.svg")

Every function returns a matplotlib Figure, draws into `axes` if they are given, and shows nothing by itself: no display
is needed. Colours can be told apart without colour vision and in print.
"""

try:
    import matplotlib as _matplotlib
except ImportError as _error:
    raise ImportError("nearfield.plot needs matplotlib: pip install nearfield[plot]") from _error

from nearfield.plot._attention import attention, attention_weights
from nearfield.plot._blocks import block_map
from nearfield.plot._curve import curve
from nearfield.plot._mask import block_mask
from nearfield.plot._sphere import sphere, sphere_attention
from nearfield.plot._window import window
from nearfield.plot._windows import windows

__all__ = [
    "attention",
    "attention_weights",
    "block_map",
    "block_mask",
    "curve",
    "sphere",
    "sphere_attention",
    "window",
    "windows",
]

del _matplotlib
