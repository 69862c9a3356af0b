"""Derivatives of the unfused operators, each made of these operators: exact to any order, and no slower than they are.

qk is bilinear in the query and the keys and linear in the bias, av bilinear in weights and values. With S = qk(q; k, b) and
an upstream gradient dS, <dS, S> is one number; its gradients are qk_backward, and what these change by when q, k and b do
is qk and qk_backward again. Likewise av. The attention that leaves its weights P, with out = P v and P = softmax(S):

    dP_in = dP + dout v^T,   dS = P (dP_in - sum(P dP_in) + dlogsumexp)        (the gradient of softmax and of logsumexp)

Two coats: torch's own autograd has these formulas registered; functorch's transforms and forward mode see Functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from nearfield._torch import unfused_call
from nearfield._torch.ops import _library
from nearfield._torch.unfused_ops import TENSORS

Maybe = Tensor | None
Maybes = Sequence[Maybe]


def call(name: str, tensors: Maybes, rest: tuple[Any, ...]) -> Any:
    """The operator nearfield::name, in the coat that the moment needs."""
    if not torch.compiler.is_compiling():
        if torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0:
            return FUNCTIONS[name].apply(_Fixed(rest), *tensors)
        if _is_plain(tensors):
            return getattr(unfused_call, name)(*tensors, *rest)
    return getattr(torch.ops.nearfield, name)(*tensors, *rest)


def _is_plain(tensors: Maybes) -> bool:
    """Whether nothing looks on, and nothing is to be differentiated: the dispatcher would only cost time."""
    if torch._C._len_torch_dispatch_stack() or torch._C._get_tracing_state() is not None:
        return False
    no_grad = not torch.is_grad_enabled()
    return all(
        each is None
        or (type(each) in (Tensor, torch.nn.Parameter) and each.is_cpu and (no_grad or not each.requires_grad))
        for each in tensors
    )


class _Fixed:
    """What no transform may look into: functorch takes tuples apart."""

    __slots__ = ("rest",)

    def __init__(self, rest: tuple[Any, ...]) -> None:
        self.rest = rest


def _sum(terms: Maybes) -> Maybe:
    total = None
    for each in terms:
        if each is not None:
            total = each if total is None else total + each
    return total


def _or_zeros(tensor: Maybe, like: Maybe) -> Maybe:
    return torch.zeros_like(like) if tensor is None and like is not None else tensor


def _chosen(found: Sequence[Tensor], wanted: Sequence[bool]) -> list[Maybe]:
    return [each if want else None for each, want in zip(found, wanted, strict=True)]


def _moved_gradients(terms: Sequence[Maybes], wanted: Sequence[bool], sources: Maybes) -> list[Maybe]:
    """What gradients change by, from several causes: None where they are not wanted."""
    return [
        _or_zeros(_sum(each), source) if want else None
        for each, want, source in zip(zip(*terms, strict=True), wanted, sources, strict=True)
    ]


# ---- qk --------------------------------------------------------------------------------------------------------------


def _moved_qk(tensors: Maybes, moves: Maybes, pattern: Any, scale: Any, wide: bool, options: Any) -> Maybe:
    """What qk changes by when query, key, additional_keys and bias move by `moves`; 0 where it is -infinity."""
    query, key, additional, mask, _ = tensors
    dquery, dkey, dadditional, dbias = moves
    terms: list[Maybe] = []
    if dquery is not None or dbias is not None:
        near = (_or_zeros(dquery, query), key, additional, mask, dbias)
        terms.append(call("qk", near, (pattern, scale, wide, options)))
    if dkey is not None or dadditional is not None:
        far = (query, _or_zeros(dkey, key), _or_zeros(dadditional, additional), mask, None)
        terms.append(call("qk", far, (pattern, scale, wide, options)))
    return _sum([None if each is None else torch.where(each == -torch.inf, 0, each) for each in terms])


def _qk_gradients(
    dweights: Maybe, tensors: Maybes, wanted: Sequence[bool], pattern: Any, scale: Any, options: Any
) -> list[Maybe]:
    """Of query, key, additional_keys and bias."""
    given = [tensors[0], tensors[1], tensors[2], tensors[4]]
    wanted = [bool(want) and each is not None for want, each in zip(wanted, given, strict=True)]
    if dweights is None or not any(wanted):
        return [None] * 4
    return _chosen(call("qk_backward", (dweights, *tensors), (wanted, pattern, scale, options)), wanted)


def _qk_pull(saved: Maybes, rest: tuple[Any, ...], upstream: Maybes, needs: Sequence[bool]) -> list[Maybe]:
    pattern, scale, _, options = rest
    wanted = (needs[0], needs[1], needs[2], needs[4])
    query, key, additional, bias = _qk_gradients(upstream[0], saved[:5], wanted, pattern, scale, options)
    return [query, key, additional, None, bias]


def _qk_push(tensors: Maybes, rest: tuple[Any, ...], moves: Maybes) -> list[Maybe]:
    return [_moved_qk(tensors, (moves[0], moves[1], moves[2], moves[4]), *rest)]


def _is_wide(dweights: Tensor, query: Tensor) -> bool:
    return dweights.dtype != query.dtype


def _qk_backward_pull(saved: Maybes, rest: tuple[Any, ...], upstream: Maybes, needs: Sequence[bool]) -> list[Maybe]:
    dweights, query, key, additional, mask, _ = saved
    wanted, pattern, scale, options = rest
    assert dweights is not None and query is not None
    dquery, dkey, dadditional, dbias = moves = [
        each if want else None for each, want in zip(upstream, wanted, strict=True)
    ]
    to_weights = None
    if needs[0]:
        to_weights = _moved_qk(saved[1:], moves, pattern, scale, _is_wide(dweights, query), options)
    to_query = to_key = to_additional = None
    if needs[1] and (dkey is not None or dadditional is not None):
        far = (query, _or_zeros(dkey, key), _or_zeros(dadditional, additional), mask, None)
        to_query = _qk_gradients(dweights, far, (True, False, False, False), pattern, scale, options)[0]
    if (needs[2] or needs[3]) and dquery is not None:
        near = (dquery, key, additional, mask, None)
        _, to_key, to_additional, _ = _qk_gradients(
            dweights, near, (False, needs[2], needs[3], False), pattern, scale, options
        )
    return [to_weights, to_query, to_key, to_additional, None, None]


def _qk_backward_push(tensors: Maybes, rest: tuple[Any, ...], moves: Maybes) -> list[Maybe]:
    dweights, query, key, additional, mask, bias = tensors
    wanted, pattern, scale, options = rest
    moved, dquery, dkey, dadditional, _, _ = moves
    terms = [_qk_gradients(moved, tensors[1:], wanted, pattern, scale, options)]
    if dkey is not None or dadditional is not None:
        far = (query, _or_zeros(dkey, key), _or_zeros(dadditional, additional), mask, None)
        terms.append(_qk_gradients(dweights, far, (wanted[0], False, False, False), pattern, scale, options))
    if dquery is not None:
        near = (dquery, key, additional, mask, None)
        terms.append(_qk_gradients(dweights, near, (False, wanted[1], wanted[2], False), pattern, scale, options))
    return _moved_gradients(terms, wanted, (query, key, additional, bias))


# ---- av --------------------------------------------------------------------------------------------------------------


def _moved_av(tensors: Maybes, moves: Maybes, pattern: Any, options: Any) -> Maybe:
    """What av changes by when weights, value and additional_values move by `moves`."""
    weights, value, additional, mask = tensors
    dweights, dvalue, dadditional = moves
    terms: list[Maybe] = []
    if dweights is not None:
        terms.append(call("av", (dweights, value, additional, mask), (pattern, options)))
    if dvalue is not None or dadditional is not None:
        far = (weights, _or_zeros(dvalue, value), _or_zeros(dadditional, additional), mask)
        terms.append(call("av", far, (pattern, options)))
    return _sum(terms)


def _av_gradients(dout: Maybe, tensors: Maybes, wanted: Sequence[bool], pattern: Any, options: Any) -> list[Maybe]:
    """Of weights, value and additional_values."""
    wanted = [bool(want) and each is not None for want, each in zip(wanted, tensors[:3], strict=True)]
    if dout is None or not any(wanted):
        return [None] * 3
    return _chosen(call("av_backward", (dout, *tensors), (wanted, pattern, options)), wanted)


def _av_pull(saved: Maybes, rest: tuple[Any, ...], upstream: Maybes, needs: Sequence[bool]) -> list[Maybe]:
    return [*_av_gradients(upstream[0], saved[:4], needs[:3], *rest), None]


def _av_push(tensors: Maybes, rest: tuple[Any, ...], moves: Maybes) -> list[Maybe]:
    return [_moved_av(tensors, moves[:3], *rest)]


def _av_backward_pull(saved: Maybes, rest: tuple[Any, ...], upstream: Maybes, needs: Sequence[bool]) -> list[Maybe]:
    dout, weights, value, additional, mask = saved
    wanted, pattern, options = rest
    dweights, dvalue, dadditional = moves = [
        each if want else None for each, want in zip(upstream, wanted, strict=True)
    ]
    to_dout = _moved_av(saved[1:], moves, pattern, options) if needs[0] else None
    to_weights = to_value = to_additional = None
    if needs[1] and (dvalue is not None or dadditional is not None):
        far = (weights, _or_zeros(dvalue, value), _or_zeros(dadditional, additional), mask)
        to_weights = _av_gradients(dout, far, (True, False, False), pattern, options)[0]
    if (needs[2] or needs[3]) and dweights is not None:
        near = (dweights, value, additional, mask)
        _, to_value, to_additional = _av_gradients(dout, near, (False, needs[2], needs[3]), pattern, options)
    return [to_dout, to_weights, to_value, to_additional, None]


def _av_backward_push(tensors: Maybes, rest: tuple[Any, ...], moves: Maybes) -> list[Maybe]:
    dout, weights, value, additional, mask = tensors
    wanted, pattern, options = rest
    moved, dweights, dvalue, dadditional, _ = moves
    terms = [_av_gradients(moved, tensors[1:], wanted, pattern, options)]
    if dvalue is not None or dadditional is not None:
        far = (weights, _or_zeros(dvalue, value), _or_zeros(dadditional, additional), mask)
        terms.append(_av_gradients(dout, far, (wanted[0], False, False), pattern, options))
    if dweights is not None:
        near = (dweights, value, additional, mask)
        terms.append(_av_gradients(dout, near, (False, wanted[1], wanted[2]), pattern, options))
    return _moved_gradients(terms, wanted, (weights, value, additional))


# ---- the attention that leaves its weights ---------------------------------------------------------------------------


def _attention_pull(saved: Maybes, rest: tuple[Any, ...], upstream: Maybes, needs: Sequence[bool]) -> list[Maybe]:
    query, key, value, more_keys, more_values, mask, bias = saved[:7]
    weights = saved[9]
    dout, dlogsumexp, dweights = upstream
    pattern, scale, options = rest
    assert weights is not None
    reads = (weights, value, more_values, mask)
    _, to_value, to_more_values = _av_gradients(dout, reads, (False, needs[2], needs[4]), pattern, options)
    to_query = to_key = to_more_keys = to_bias = None
    wanted = (needs[0], needs[1], needs[3], needs[6])
    if any(wanted):
        from_out = _av_gradients(dout, reads, (True, False, False), pattern, options)[0]
        into = _sum((from_out, dweights))
        if into is None:
            into = torch.zeros_like(weights)
        hidden = weights == 0
        into = torch.where(hidden, 0, into)  # whatever a hidden slot's gradient holds
        dlogits = into - (weights * into).sum(-1, keepdim=True)
        if dlogsumexp is not None:
            dlogits = dlogits + dlogsumexp.unsqueeze(-1)
        dlogits = torch.where(hidden, 0, weights * dlogits)
        logits_of = (query, key, more_keys, mask, bias)
        to_query, to_key, to_more_keys, to_bias = _qk_gradients(dlogits, logits_of, wanted, pattern, scale, options)
    return [to_query, to_key, to_value, to_more_keys, to_more_values, None, to_bias]


def _attention_push(tensors: Maybes, rest: tuple[Any, ...], moves: Maybes) -> list[Maybe]:
    query, key, value, more_keys, more_values, mask, bias = tensors
    dquery, dkey, dvalue, dmore_keys, dmore_values, _, dbias = moves
    pattern, scale, options = rest
    out, logsumexp, weights = call("attention_weights", tensors, rest)
    dlogits = _moved_qk(
        (query, key, more_keys, mask, bias), (dquery, dkey, dmore_keys, dbias), pattern, scale, True, options
    )
    dweights, dlogsumexp = None, torch.zeros_like(logsumexp)
    if dlogits is not None:
        dlogits = dlogits.to(weights.dtype)
        dlogsumexp = (weights * dlogits).sum(-1)
        dweights = weights * (dlogits - dlogsumexp.unsqueeze(-1))
    dout = _moved_av((weights, value, more_values, mask), (dweights, dvalue, dmore_values), pattern, options)
    return [_or_zeros(dout, out), dlogsumexp, _or_zeros(dweights, weights)]


# ---- both coats ------------------------------------------------------------------------------------------------------


class _Derivatives(NamedTuple):
    """pull(saved, rest, upstream, needs): gradients of the tensors, from those of the results. push(tensors, rest,
    moves): what the results change by. keeps_results: whether `saved` has the results after the tensors."""

    pull: Callable[..., list[Maybe]]
    push: Callable[..., list[Maybe]]
    results: int
    keeps_results: bool = False


_DERIVATIVES = {
    "qk": _Derivatives(_qk_pull, _qk_push, 1),
    "qk_backward": _Derivatives(_qk_backward_pull, _qk_backward_push, 4),
    "av": _Derivatives(_av_pull, _av_push, 1),
    "av_backward": _Derivatives(_av_backward_pull, _av_backward_push, 3),
    "attention_weights": _Derivatives(_attention_pull, _attention_push, 3, keeps_results=True),
}


def _register(name: str) -> None:
    count, derivatives = TENSORS[name], _DERIVATIVES[name]

    def setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.rest = inputs[count:]
        ctx.save_for_backward(*inputs[:count], *(output if derivatives.keeps_results else ()))

    def backward(ctx: Any, *upstream: Maybe) -> tuple[Maybe, ...]:
        found = derivatives.pull(ctx.saved_tensors, ctx.rest, upstream, ctx.needs_input_grad)
        return (*found, *(None,) * len(ctx.rest))

    torch.library.register_autograd(f"nearfield::{name}", backward, setup_context=setup, lib=_library)


def _function(name: str) -> Any:
    count, derivatives = TENSORS[name], _DERIVATIVES[name]

    class Function(torch.autograd.Function):
        """apply(_Fixed(rest), *tensors): what the operator gives; under functorch's transforms and in forward mode."""

        generate_vmap_rule = True

        @staticmethod
        def forward(fixed: _Fixed, *tensors: Maybe) -> Any:
            return getattr(torch.ops.nearfield, name)(*tensors, *fixed.rest)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            fixed, *tensors = inputs
            ctx.rest = fixed.rest
            ctx.save_for_backward(*tensors, *(output if derivatives.keeps_results else ()))
            ctx.save_for_forward(*tensors)
            ctx.set_materialize_grads(False)

        @staticmethod
        def backward(ctx: Any, *upstream: Maybe) -> Any:
            if all(each is None for each in upstream):
                return (None,) * (1 + count)
            return (None, *derivatives.pull(ctx.saved_tensors, ctx.rest, upstream, ctx.needs_input_grad[1:]))

        @staticmethod
        def jvp(ctx: Any, _: None, *moves: Maybe) -> Any:
            tensors = ctx.saved_tensors[:count]
            found = derivatives.push(tensors, ctx.rest, moves)
            if derivatives.results == 1:
                return found[0]
            empty = next(each for each in tensors if each is not None)
            return tuple(empty.new_zeros(0) if each is None else each for each in found)

    Function.__name__ = Function.__qualname__ = name
    return Function


for _name in _DERIVATIVES:
    _register(_name)
FUNCTIONS: dict[str, Any] = {_name: _function(_name) for _name in _DERIVATIVES}
