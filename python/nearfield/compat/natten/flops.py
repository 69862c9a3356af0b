"""Counting the work of neighborhood attention with fvcore; torch.utils.flop_counter counts it without help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch

from nearfield._options import Settings
from nearfield._torch import ops

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
        (query, key) pairs that the attention has.
    """
    return flop_ctr.set_op_handle(**{"nearfield::attention": _macs})  # type: ignore[attr-defined,no-any-return]


def _macs(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Multiply-adds of one node nearfield::attention in a traced graph, whose arguments are those of the operator."""
    tensors = [None if _is_none(each) else _like(each) for each in inputs[:8]]
    pattern = tuple(each.toIValue() for each in inputs[8].node().inputs())
    query, value = tensors[0], tensors[2]
    assert query is not None and value is not None
    pairs = ops.pairs_of(tensors, Settings(pattern))
    return int(pairs * (query.shape[-1] + value.shape[-1]))


def _is_none(value: Any) -> bool:
    return isinstance(value.type(), torch._C.NoneType)


def _like(value: Any) -> torch.Tensor:
    """A tensor of a traced value's shape and type, in no memory."""
    kind = value.type()
    return torch.empty(kind.sizes(), dtype=kind.dtype(), device="meta")
