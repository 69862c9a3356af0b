"""NATTEN's functions with explicit attention weights: heads first, (batch, heads, *grid, head_dim), and unscaled.

    attn (batch, heads, *grid, slots)    slots row-major over the axes: a query's window, from its first key on

Signatures changed: the 3-D functions of 0.15 take the sizes of the depth and of the other axes apart, (kernel_size_d,
kernel_size, dilation_d, dilation); 0.17 takes one number, or one for each axis, as in 1-D and 2-D always.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

import nearfield.unfused as nearfield
from nearfield._errors import ArgumentError
from nearfield._faces import TORCH, check_kind
from nearfield.compat.natten._binding import Release, bind
from nearfield.compat.natten._fits import bias_of, check_fits
from nearfield.patterns import Neighborhood

_DEEP = ("kernel_size_d", "kernel_size", "dilation_d", "dilation")


def _bound(name: str, rank: int, more: tuple[str, ...], positional: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """The arguments after the tensors, by name; kernel_size and dilation with a value for each axis where NATTEN 0.15 has
    them apart."""
    apart = any(each in keywords for each in ("kernel_size_d", "dilation_d"))
    if rank == 3 and (apart or name.startswith("natten") or (len(positional) >= 4 and _are_integers(positional[:4]))):
        _, given = bind(name, [Release("0.15", (*_DEEP, more[0]))], positional, keywords)
        for each in _DEEP[:2]:
            if each not in given:
                raise TypeError(f"{name}: {each}: must be given")
        for each in ("kernel_size", "dilation"):
            depth, other = given.pop(f"{each}_d", 1), given.get(each, 1)
            given[each] = (depth, other, other)
        return given
    _, given = bind(name, [Release("0.17", ("kernel_size", "dilation", *more))], positional, keywords)
    if "kernel_size" not in given:
        raise TypeError(f"{name}: kernel_size: must be given")
    return given


def _are_integers(values: tuple[Any, ...]) -> bool:
    return all(isinstance(each, int) and not isinstance(each, bool) for each in values)


def _pattern(name: str, rank: int, tensor: Tensor, what: str, given: dict[str, Any]) -> Neighborhood:
    """The neighborhood, on the grid of a tensor (batch, heads, *grid, ...)."""
    if tensor.dim() != rank + 3:
        raise ArgumentError(
            f"{what}: shape {tuple(tensor.shape)}: has {tensor.dim()} dimensions, {name} takes {rank + 3}: "
            f"(batch, heads, *grid, ...)"
        )
    settings = {each: given[each] for each in ("dilation", "is_causal") if given.get(each) is not None}
    pattern = Neighborhood(given["kernel_size"], **settings)
    check_fits(pattern, tensor.shape[2:-1])
    return pattern


def _heads_last(tensor: Tensor) -> Tensor:
    """(batch, heads, *grid, ...) as (batch, *grid, heads, ...): a view."""
    return tensor.movedim(1, -2)


def _additional(name: str, tensor: Tensor | None) -> Tensor | None:
    """(batch, heads, M, ...) as (batch, M, heads, ...)."""
    if tensor is not None and tensor.dim() != 4:
        raise ArgumentError(f"{name}: shape {tuple(tensor.shape)}: must be (batch, heads, M, head_dim)")
    return None if tensor is None else tensor.transpose(1, 2)


def _qk(name: str, rank: int, query: Tensor, key: Tensor, rpb: Tensor | None, given: dict[str, Any]) -> Tensor:
    more = given.get("additional_keys")
    names = ("query", "key", "rpb", "additional_keys")
    check_kind(TORCH, (query, key, rpb, more), names, 2)
    pattern = _pattern(name, rank, query, "query", given)
    if key.dim() != query.dim():
        raise ArgumentError(f"key: shape {tuple(key.shape)}: must have {query.dim()} dimensions, as query has")
    weights = nearfield.qk(
        pattern,
        _heads_last(query),
        _heads_last(key),
        scale=1.0,
        bias=bias_of(rpb, query),
        additional_keys=_additional("additional_keys", more),
    )
    return weights.movedim(-2, 1)


def _av(name: str, rank: int, attn: Tensor, value: Tensor, given: dict[str, Any]) -> Tensor:
    more = given.get("additional_values")
    check_kind(TORCH, (attn, value, more), ("attn", "value", "additional_values"), 2)
    pattern = _pattern(name, rank, attn, "attn", given)
    if value.dim() != attn.dim():
        raise ArgumentError(f"value: shape {tuple(value.shape)}: must have {attn.dim()} dimensions, as attn has")
    out = nearfield.av(
        pattern,
        _heads_last(attn),
        _heads_last(value),
        additional_values=_additional("additional_values", more),
    )
    return out.movedim(-2, 1)


_Function = Callable[..., Tensor]
_GRIDS = {1: "length", 2: "height, width", 3: "depth, height, width"}


def _named(function: _Function, name: str, rank: int, doc: str) -> _Function:
    function.__name__ = function.__qualname__ = name
    sizes = "kernel_size_d, kernel_size, dilation_d, dilation" if rank == 3 else "kernel_size, dilation"
    function.__doc__ = doc.format(grid=_GRIDS[rank], sizes=sizes, rank=rank)
    return function


def _make_qk(name: str, rank: int) -> _Function:
    def function(query: Tensor, key: Tensor, *positional: Any, **keywords: Any) -> Tensor:
        given = _bound(name, rank, ("additional_keys", "is_causal", "rpb"), positional, keywords)
        return _qk(name, rank, query, key, given.get("rpb"), given)

    doc = """The logits of every query and the keys in its window, unscaled.

    Parameters
    ----------
    query, key
        (batch, heads, {grid}, head_dim).
    {sizes}
        Integers. kernel_size * dilation is at most the axis' length.
    additional_keys
        (batch, heads, M, head_dim): keys that every query sees, the last M columns.
    is_causal, rpb
        As in `na{rank}d`.

    Returns
    -------
    attn
        (batch, heads, {grid}, slots + M), -inf where a causal window has no key.

    Raises
    ------
    ArgumentError, TypeError
        An argument breaks a rule, or no release takes these arguments.
    """
    return _named(function, name, rank, doc)


def _make_biased(name: str, rank: int) -> _Function:
    def function(query: Tensor, key: Tensor, bias: Tensor | None, *positional: Any, **keywords: Any) -> Tensor:
        given = _bound(name, rank, ("additional_keys", "is_causal"), positional, keywords)
        return _qk(name, rank, query, key, bias, given)

    doc = """`na{rank}d_qk` with a relative position bias as third argument.

    Parameters
    ----------
    query, key
        (batch, heads, {grid}, head_dim).
    bias or rpb
        (heads, 2*kernel_size-1 per axis), or None.
    {sizes}
        Integers. kernel_size * dilation is at most the axis' length.

    Returns
    -------
    attn
        (batch, heads, {grid}, slots).

    Raises
    ------
    ArgumentError, TypeError
        An argument breaks a rule, or no release takes these arguments.
    """
    if name.endswith("rpb"):

        def by_name(query: Tensor, key: Tensor, rpb: Tensor | None, *positional: Any, **keywords: Any) -> Tensor:
            return function(query, key, rpb, *positional, **keywords)

        return _named(by_name, name, rank, doc)
    return _named(function, name, rank, doc)


def _make_av(name: str, rank: int) -> _Function:
    def function(attn: Tensor, value: Tensor, *positional: Any, **keywords: Any) -> Tensor:
        given = _bound(name, rank, ("additional_values", "is_causal"), positional, keywords)
        return _av(name, rank, attn, value, given)

    doc = """The sum of the values in every query's window, with weights of its own.

    Parameters
    ----------
    attn
        (batch, heads, {grid}, slots + M), as `na{rank}d_qk` lays it out.
    value
        (batch, heads, {grid}, head_dim).
    {sizes}
        Integers, as in `na{rank}d_qk`.
    additional_values
        (batch, heads, M, head_dim): values of the last M columns.
    is_causal
        As in `na{rank}d`.

    Returns
    -------
    out
        (batch, heads, {grid}, head_dim).

    Raises
    ------
    ArgumentError, TypeError
        An argument breaks a rule, or no release takes these arguments.
    """
    return _named(function, name, rank, doc)


na1d_qk, na2d_qk, na3d_qk = (_make_qk(f"na{rank}d_qk", rank) for rank in (1, 2, 3))
na1d_qk_with_bias, na2d_qk_with_bias, na3d_qk_with_bias = (
    _make_biased(f"na{rank}d_qk_with_bias", rank) for rank in (1, 2, 3)
)
na1d_av, na2d_av, na3d_av = (_make_av(f"na{rank}d_av", rank) for rank in (1, 2, 3))
natten1dqkrpb, natten2dqkrpb, natten3dqkrpb = (_make_biased(f"natten{rank}dqkrpb", rank) for rank in (1, 2, 3))
natten1dqk, natten2dqk, natten3dqk = (_make_qk(f"natten{rank}dqk", rank) for rank in (1, 2, 3))
natten1dav, natten2dav, natten3dav = (_make_av(f"natten{rank}dav", rank) for rank in (1, 2, 3))
