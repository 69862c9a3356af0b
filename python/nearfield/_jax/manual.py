"""Arrays inside of shard_map, of which newer versions of JAX know over which axes of the mesh they vary.

A custom call's operands have to agree on that, and its results have to say it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

# For what JAX has no types of, or not in every version.
_jax: Any = jax


def type_of(array: Any) -> Any:
    """What JAX knows of an array while it traces."""
    return _jax.typeof(array) if hasattr(jax, "typeof") else _jax.core.get_aval(array)


def _manual_axes(array: Any) -> tuple[frozenset[Any], dict[str, Any]]:
    """The axes over which the array varies, and how a ShapeDtypeStruct says so in this version of JAX."""
    kind = type_of(array)
    if hasattr(kind, "mat"):
        axes, keywords = kind.mat.varying, {"manual_axis_type": kind.mat}
    else:
        axes = frozenset(getattr(kind, "vma", ()))
        keywords = {"vma": axes}
    if not axes:
        return axes, {}
    # They need the mesh, which is in the sharding; inside of shard_map that has nothing else to say.
    whole = _jax.sharding.NamedSharding(kind.sharding.mesh, _jax.sharding.PartitionSpec())
    return axes, {**keywords, "sharding": whole}


def varying_axes(*arrays: Any) -> frozenset[Any]:
    """The axes of a shard_map over which any of the arrays varies."""
    return frozenset().union(*(_manual_axes(each)[0] for each in arrays))


def varying(array: Any, axes: frozenset[Any]) -> Any:
    """`array` as one that varies over `axes`, too."""
    missing = tuple(sorted(axes - varying_axes(array))) if axes else ()
    if not missing:
        return array
    if hasattr(jax.lax, "pcast"):
        return _jax.lax.pcast(array, missing, to="varying")
    return _jax.lax.pvary(array, missing)


def result_like(like: Any, shape: Sequence[int], dtype: Any) -> Any:
    """The shape and dtype of a result that varies as `like` does."""
    return _jax.ShapeDtypeStruct(tuple(shape), dtype, **_manual_axes(like)[1])
