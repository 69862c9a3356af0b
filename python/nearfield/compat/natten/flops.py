"""Counting the work of neighborhood attention with fvcore; torch.utils.flop_counter counts it without help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch

from nearfield._options import Settings
from nearfield._torch import ops, unfused_ops

Counter = TypeVar("Counter")


def add_natten_handle(flop_ctr: Counter) -> Counter:
    """Teach fvcore's counter what neighborhood attention costs.

    Parameters
    ----------
    flop_ctr
        fvcore.nn.FlopCountAnalysis, or anything with its `set_op_handle`.

    Returns
    -------
    flop_ctr
        What `set_op_handle` returns. Like all of fvcore's counts, it is multiply-adds: those of Q K^T and P V, over the
        (query, key) pairs that the attention has. The unfused functions count one of them each.
    """
    handles = {"attention": _macs, "qk": _qk_macs, "av": _av_macs}
    return flop_ctr.set_op_handle(  # type: ignore[attr-defined,no-any-return]
        **{f"nearfield::{name}": handle for name, handle in handles.items()}
    )


def _macs(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Multiply-adds of one node nearfield::attention in a traced graph, whose arguments are those of the operator."""
    tensors, pattern = _tensors_of(inputs, 8), _pattern_of(inputs[8])
    query, value = tensors[0], tensors[2]
    assert query is not None and value is not None
    pairs = ops.pairs_of(tensors, Settings(pattern))
    return int(pairs * (query.shape[-1] + value.shape[-1]))


def _qk_macs(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Those of one node nearfield::qk."""
    query, key, more = _tensors_of(inputs, 3)
    assert query is not None and key is not None
    return int(unfused_ops.pairs_of_qk(query, key, more, _pattern_of(inputs[5])) * query.shape[-1])


def _av_macs(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Those of one node nearfield::av."""
    weights, value, more = _tensors_of(inputs, 3)
    assert weights is not None and value is not None
    return int(unfused_ops.pairs_of_av(weights, value, more, _pattern_of(inputs[4])) * value.shape[-1])


def _tensors_of(inputs: Sequence[Any], count: int) -> list[torch.Tensor | None]:
    return [None if _is_none(each) else _like(each) for each in inputs[:count]]


def _pattern_of(value: Any) -> tuple[int, ...]:
    return tuple(each.toIValue() for each in value.node().inputs())


def _is_none(value: Any) -> bool:
    return isinstance(value.type(), torch._C.NoneType)


def _like(value: Any) -> torch.Tensor:
    """A tensor of a traced value's shape and type, in no memory."""
    kind = value.type()
    return torch.empty(kind.sizes(), dtype=kind.dtype(), device="meta")
