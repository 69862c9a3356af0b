"""NATTEN's functions with explicit attention weights. They need an unfused engine, which this version does not have: they
can be imported, and say so when they are called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn


def _missing(name: str, rank: int) -> Callable[..., NoReturn]:
    def function(*_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(
            f"{name}: explicit attention weights need the unfused engine, which this version of nearfield does not have "
            f"yet; call na{rank}d(query, key, value, kernel_size, dilation=..., rpb=..., scale=1.0), heads last: "
            f"(batch, *grid, heads, head_dim). It has the bias, the softmax and the product with the values in it; "
            f"return_lse=True gives the logsumexp"
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Raises NotImplementedError; `na{rank}d` does what `{name}` is called for, and its softmax."
    return function


na1d_qk = _missing("na1d_qk", 1)
na1d_qk_with_bias = _missing("na1d_qk_with_bias", 1)
na1d_av = _missing("na1d_av", 1)
na2d_qk = _missing("na2d_qk", 2)
na2d_qk_with_bias = _missing("na2d_qk_with_bias", 2)
na2d_av = _missing("na2d_av", 2)
na3d_qk = _missing("na3d_qk", 3)
na3d_qk_with_bias = _missing("na3d_qk_with_bias", 3)
na3d_av = _missing("na3d_av", 3)
natten1dqkrpb = _missing("natten1dqkrpb", 1)
natten1dqk = _missing("natten1dqk", 1)
natten1dav = _missing("natten1dav", 1)
natten2dqkrpb = _missing("natten2dqkrpb", 2)
natten2dqk = _missing("natten2dqk", 2)
natten2dav = _missing("natten2dav", 2)
natten3dqkrpb = _missing("natten3dqkrpb", 3)
natten3dqk = _missing("natten3dqk", 3)
natten3dav = _missing("natten3dav", 3)
