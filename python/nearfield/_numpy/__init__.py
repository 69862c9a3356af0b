"""The numpy face: arrays of float64, float32, float16 and, from ml_dtypes, bfloat16."""

from nearfield._numpy import unfused
from nearfield._numpy.call import (
    Array,
    Gradients,
    abstract,
    attend,
    backward,
    copied,
    dtype_of,
    is_tracing,
    merge,
    num_threads,
)

__all__ = [
    "Array",
    "Gradients",
    "abstract",
    "attend",
    "backward",
    "copied",
    "dtype_of",
    "is_tracing",
    "merge",
    "num_threads",
    "unfused",
]
