"""The unfused operators as torch operators: what tracing, export, functorch and dispatch modes see. Tensors come first.

    nearfield::qk                   weights
    nearfield::qk_backward          gradients of query, key, additional_keys, bias; empty where not wanted
    nearfield::av                   out
    nearfield::av_backward          gradients of weights, value, additional_values; empty where not wanted
    nearfield::attention_weights    (out, logsumexp, weights) of one softmax

They are bilinear, or products of what is: every derivative of theirs is made of the same five (unfused_autograd.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from nearfield._errors import ArgumentError, UnsupportedError
from nearfield._options import Settings
from nearfield._torch import call as direct
from nearfield._torch import unfused_call
from nearfield._torch.ops import _library, pairs_of
from nearfield.patterns._words import is_on_sphere, slots_of

_QK = "Tensor? additional_keys, Tensor? key_mask, Tensor? bias"
_AV = "Tensor? additional_values, Tensor? key_mask"
_REST = "SymInt[] pattern, float? scale"
_DEFINITIONS = {
    "qk": f"(Tensor query, Tensor key, {_QK}, {_REST}, bool wide, int[] options) -> Tensor",
    "qk_backward": f"(Tensor dweights, Tensor query, Tensor key, {_QK}, bool[] wanted, {_REST}, int[] options) -> "
    "(Tensor, Tensor, Tensor, Tensor)",
    "av": f"(Tensor weights, Tensor value, {_AV}, SymInt[] pattern, int[] options) -> Tensor",
    "av_backward": f"(Tensor dout, Tensor weights, Tensor value, {_AV}, bool[] wanted, SymInt[] pattern, "
    "int[] options) -> (Tensor, Tensor, Tensor)",
    "attention_weights": "(Tensor query, Tensor key, Tensor value, Tensor? additional_keys, "
    f"Tensor? additional_values, Tensor? key_mask, Tensor? bias, {_REST}, int[] options) -> (Tensor, Tensor, Tensor)",
}

# How many tensors each takes, those that may be None among them.
TENSORS = {"qk": 5, "qk_backward": 6, "av": 4, "av_backward": 5, "attention_weights": 7}


def _no_engine(*tensors: object) -> NoReturn:
    raise ArgumentError(direct.not_on_cpu("query", next(each for each in tensors if isinstance(each, Tensor))))


for _name, _definition in _DEFINITIONS.items():
    _library.define(_name + _definition)
    _library.impl(_name, getattr(unfused_call, _name), "CPU")
    _library.impl(_name, _no_engine, "CUDA")


# ---- shapes --------------------------------------------------------------------------------------------------------


def _columns(pattern: Sequence[int], additional_keys: Tensor | None) -> int:
    if is_on_sphere(pattern):
        raise UnsupportedError("pattern: explicit weights have no slots on the sphere")
    more = 0 if additional_keys is None else additional_keys.shape[1]
    return slots_of(pattern) + more


def _check_rank(name: str, tensor: Tensor) -> None:
    if not 4 <= tensor.dim() <= 6:
        raise ArgumentError(
            f"{name}: shape {tuple(tensor.shape)}: must be (batch, *grid, heads, ...), with 1 to 3 axes of the grid"
        )


def _qk_fake(
    query: Tensor,
    key: Tensor,
    additional_keys: Tensor | None,
    key_mask: Tensor | None,
    bias: Tensor | None,
    pattern: Sequence[int],
    scale: float | None,
    wide: bool,
    options: Sequence[int],
) -> Tensor:
    _check_rank("query", query)
    dtype = direct.scalar_type(query) if wide else query.dtype
    return unfused_call.laid_out_like(direct.readable(query), _columns(pattern, additional_keys), dtype)


def _gradients_fake(sources: Sequence[Tensor | None], wanted: Sequence[bool], like: Tensor) -> tuple[Tensor, ...]:
    return tuple(
        direct.empty_as(direct.readable(source)) if want and source is not None else like.new_empty(0)
        for source, want in zip(sources, wanted, strict=True)
    )


def _qk_backward_fake(
    dweights: Tensor,
    query: Tensor,
    key: Tensor,
    additional_keys: Tensor | None,
    key_mask: Tensor | None,
    bias: Tensor | None,
    wanted: Sequence[bool],
    *rest: object,
) -> tuple[Tensor, ...]:
    *near, table = _gradients_fake((query, key, additional_keys, None), wanted, query)
    if wanted[3] and bias is not None:
        table = direct.empty_as(direct.plain(bias))
    return (*near, table)


def _av_fake(weights: Tensor, value: Tensor, *rest: object) -> Tensor:
    _check_rank("weights", weights)
    return unfused_call.laid_out_like(direct.readable(weights), value.shape[-1], value.dtype)


def _av_backward_fake(
    dout: Tensor,
    weights: Tensor,
    value: Tensor,
    additional_values: Tensor | None,
    key_mask: Tensor | None,
    wanted: Sequence[bool],
    *rest: object,
) -> tuple[Tensor, ...]:
    return _gradients_fake((weights, value, additional_values), wanted, value)


def _attention_weights_fake(
    query: Tensor, key: Tensor, value: Tensor, additional_keys: Tensor | None, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    _check_rank("query", query)
    kind, read = direct.scalar_type(query), direct.readable(query)
    weights = unfused_call.laid_out_like(read, _columns(rest[3], additional_keys), kind)
    return direct.empty_out(read, value), query.new_empty(query.shape[:-1], dtype=kind), weights


_FAKES: dict[str, Callable[..., Any]] = {
    "qk": _qk_fake,
    "qk_backward": _qk_backward_fake,
    "av": _av_fake,
    "av_backward": _av_backward_fake,
    "attention_weights": _attention_weights_fake,
}
for _name, _fake in _FAKES.items():
    torch.library.register_fake(f"nearfield::{_name}", _fake, lib=_library)


# ---- floating-point operations -------------------------------------------------------------------------------------


def pairs_of_qk(query: Tensor, key: Tensor, additional_keys: Tensor | None, pattern: Sequence[int]) -> float:
    """(query, key) pairs of all batches and heads, additional keys included."""
    return pairs_of((query, key, key, additional_keys), Settings(tuple(pattern)))


def pairs_of_av(weights: Tensor, value: Tensor, additional_values: Tensor | None, pattern: Sequence[int]) -> float:
    """The same of `av`, whose weights stand for the query: as many, with the value's channels."""
    query = torch.empty((*weights.shape[:-1], value.shape[-1]), dtype=value.dtype, device="meta")
    return pairs_of((query, value, value, additional_values), Settings(tuple(pattern)))


def _qk_flops(query: Tensor, key: Tensor, more: Tensor | None, *rest: Any, **_: object) -> int:
    return int(2 * pairs_of_qk(query, key, more, rest[2]) * query.shape[-1])


def _qk_backward_flops(_dw: Tensor, query: Tensor, key: Tensor, more: Tensor | None, *rest: Any, **_: object) -> int:
    products = sum([rest[2][0], rest[2][1] or rest[2][2]])  # of the weights' gradients with keys, and with queries
    return int(2 * products * pairs_of_qk(query, key, more, rest[3]) * query.shape[-1])


def _av_flops(weights: Tensor, value: Tensor, more: Tensor | None, *rest: Any, **_: object) -> int:
    return int(2 * pairs_of_av(weights, value, more, rest[1]) * value.shape[-1])


def _av_backward_flops(
    _do: Tensor, weights: Tensor, value: Tensor, more: Tensor | None, *rest: Any, **_: object
) -> int:
    products = sum([rest[1][0], rest[1][1] or rest[1][2]])
    return int(2 * products * pairs_of_av(weights, value, more, rest[2]) * value.shape[-1])


def _attention_weights_flops(
    query: Tensor, key: Tensor, value: Tensor, more: Tensor | None, *rest: Any, **_: object
) -> int:
    return int(2 * pairs_of_qk(query, key, more, rest[3]) * (query.shape[-1] + value.shape[-1]))


_FLOPS: dict[str, Callable[..., int]] = {
    "qk": _qk_flops,
    "qk_backward": _qk_backward_flops,
    "av": _av_flops,
    "av_backward": _av_backward_flops,
    "attention_weights": _attention_weights_flops,
}
for _name, _formula in _FLOPS.items():
    register_flop_formula(getattr(torch.ops.nearfield, _name), get_raw=True)(_formula)
