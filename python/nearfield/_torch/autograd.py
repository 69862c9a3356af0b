"""Derivatives of the attention, in three coats:

    Eager        plain tensors, no modes: straight to the library, as cheap as Python allows
    Traced       functorch and forward mode: setup_context, vmap, jvp; works on what nearfield's operators return
    operators    torch.compile, export, fake tensors and dispatch modes see nearfield::attention, whose autograd is
                 registered here

Second derivatives are composed (composed.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nearfield._options import Settings
from nearfield._torch import call as direct
from nearfield._torch import composed, ops

_TENSORS = 3 + 5  # query, key, value and the modifiers' tensors

vjp: Any = torch.func.vjp  # its type says that it may return three values

# The tensor arguments of every Function here, in this order, and for each the place of its gradient in GRADIENTS;
# the mask has none.
_GRADIENT_OF = (0, 1, 2, 3, 4, None, 5, 6)


def _wanted(needs: tuple[bool, ...]) -> tuple[bool, ...]:
    """Which of GRADIENTS are wanted, of which tensors need one."""
    return (*needs[:5], *needs[6:_TENSORS])


def _by_tensor(gradients: Any) -> list[Tensor | None]:
    """Gradients in the order of the tensors."""
    return [None if place is None else gradients[place] for place in _GRADIENT_OF]


class Eager(torch.autograd.Function):
    """apply(settings, with_logsumexp, query, key, value) or with all tensors: out, or out and logsumexp.

    Each argument and each result costs about a microsecond, so neither comes without need.
    """

    @staticmethod
    def forward(ctx: Any, settings: Settings, with_logsumexp: bool, *tensors: Any) -> Any:
        if len(tensors) == 3:
            out, logsumexp = direct.forward_unmodified(*tensors, settings, True)
        else:
            out, logsumexp = direct.forward(tensors, settings, True)
        ctx.save_for_backward(*tensors, out, logsumexp)
        ctx.settings = settings
        ctx.set_materialize_grads(False)
        return (out, logsumexp) if with_logsumexp else out

    @staticmethod
    def backward(ctx: Any, dout: Tensor | None, dlogsumexp: Tensor | None = None) -> Any:
        *tensors, out, logsumexp = ctx.saved_tensors
        count = len(tensors)
        if dout is None and dlogsumexp is None:
            return (None,) * (2 + count)
        if dout is None:
            dout = torch.zeros_like(out)
        needs = ctx.needs_input_grad[2:]
        if count == 3:
            tensors += _NONE
            needs += _FALSE
        wanted = _wanted(needs)
        if torch.is_grad_enabled() or torch._C._len_torch_dispatch_stack():
            found = Backward.apply(Fixed(ctx.settings, wanted), dout, dlogsumexp, out, logsumexp, *tensors)
        else:
            found = direct.backward(dout, dlogsumexp, out, logsumexp, tuple(tensors), ctx.settings, wanted)
        return (None, None, *_by_tensor(found)[:count])


# Function.apply without its look for functorch's transforms, a fifth of a small call's time: the caller knows that there
# are none.
apply_eager: Any = super(torch.autograd.Function, Eager).apply

_NONE = (None,) * 5
_FALSE = (False,) * 5


def _operator_backward(
    fixed: Fixed,
    dout: Tensor,
    dlogsumexp: Tensor | None,
    out: Tensor,
    logsumexp: Tensor,
    tensors: tuple[Tensor | None, ...],
) -> list[Tensor | None]:
    """The gradients in their order, None where not wanted."""
    wanted = fixed.wanted
    found = torch.ops.nearfield.attention_backward(
        dout, dlogsumexp, *tensors[:3], out, logsumexp, list(wanted), *tensors[3:], *ops.arguments_of(fixed.settings)
    )
    sources = direct.sources_of(tensors)
    return [
        each if want and source is not None else None for each, want, source in zip(found, wanted, sources, strict=True)
    ]


class Fixed:
    """What no transform may look into: functorch takes tuples apart."""

    __slots__ = ("settings", "wanted")

    def __init__(self, settings: Settings, wanted: tuple[bool, ...] = ()) -> None:
        self.settings, self.wanted = settings, wanted


class Traced(torch.autograd.Function):
    """apply(Fixed(settings), *tensors): out, logsumexp; under functorch's transforms."""

    generate_vmap_rule = True

    @staticmethod
    def forward(fixed: Fixed, *tensors: Tensor | None) -> Any:
        return torch.ops.nearfield.attention(*tensors, *ops.arguments_of(fixed.settings))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        fixed, *tensors = inputs
        ctx.settings = fixed.settings
        ctx.save_for_backward(*tensors, *output)
        ctx.save_for_forward(*tensors)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:
        dout, dlogsumexp = upstream
        *tensors, out, logsumexp = ctx.saved_tensors
        if dout is None and dlogsumexp is None:
            return (None,) * (1 + _TENSORS)
        if dout is None:
            dout = torch.zeros_like(out)
        wanted = _wanted(ctx.needs_input_grad[1:])
        found = Backward.apply(Fixed(ctx.settings, wanted), dout, dlogsumexp, out, logsumexp, *tensors)
        return (None, *_by_tensor(found))

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> Any:
        composed.warn_once("forward-mode differentiation")
        tensors = ctx.saved_tensors
        moving = [i for i, tangent in enumerate(tangents) if tangent is not None]

        def run(*primals: Tensor) -> tuple[Tensor, Tensor]:
            full: list[Tensor | None] = list(tensors)
            for place, primal in zip(moving, primals, strict=True):
                full[place] = primal
            return composed.attention(tuple(full), ctx.settings)  # type: ignore[arg-type]

        return _push(run, tuple(tensors[i] for i in moving), tuple(tangents[i] for i in moving))


class Backward(torch.autograd.Function):
    """apply(Fixed(settings, wanted), dout, dlogsumexp, out, logsumexp, *tensors): the gradients in their order.

    As a function of dout, dlogsumexp and the tensors: out and logsumexp are functions of these, and only save work.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        fixed: Fixed,
        dout: Tensor,
        dlogsumexp: Tensor | None,
        out: Tensor,
        logsumexp: Tensor,
        *tensors: Tensor | None,
    ) -> Any:
        return tuple(_operator_backward(fixed, dout, dlogsumexp, out, logsumexp, tensors))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        fixed, dout, dlogsumexp, _, _, *tensors = inputs
        ctx.settings, ctx.wanted = fixed.settings, fixed.wanted
        ctx.save_for_backward(dout, dlogsumexp, *tensors)
        ctx.save_for_forward(dout, dlogsumexp, *tensors)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:
        composed.warn_once("a second derivative")
        run, primals, places = _gradients_of(ctx)
        returned = [
            i for i, (want, each) in enumerate(zip(ctx.wanted, upstream, strict=True)) if want and each is not None
        ]
        none: list[Tensor | None] = [None] * (5 + _TENSORS)
        if not returned:
            return tuple(none)
        _, pull = vjp(lambda *x: tuple(run(*x)[i] for i in returned), *primals)
        for place, gradient in zip(places, pull(tuple(upstream[i] for i in returned)), strict=True):
            none[place] = gradient
        return tuple(none)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Any:
        composed.warn_once("forward-mode differentiation")
        run, primals, places = _gradients_of(ctx)
        moved = tuple(
            torch.zeros_like(primal) if tangents[place] is None else tangents[place]
            for primal, place in zip(primals, places, strict=True)
        )
        left = iter(_push(lambda *x: tuple(g for g in run(*x) if g is not None), primals, moved))
        return tuple(
            next(left) if want and source is not None else None
            for want, source in zip(ctx.wanted, direct.sources_of(ctx.saved_tensors[2:]), strict=True)
        )


def _gradients_of(ctx: Any) -> tuple[Any, tuple[Tensor, ...], list[int]]:
    """The gradients as a function of the floating-point inputs, these, and their places in Backward's arguments."""
    saved = ctx.saved_tensors
    places = [i for i, each in enumerate(saved) if each is not None and each.is_floating_point()]

    def run(*primals: Tensor) -> list[Tensor | None]:
        full: list[Tensor | None] = list(saved)
        for place, primal in zip(places, primals, strict=True):
            full[place] = primal
        dout, dlogsumexp, *tensors = full
        inputs = [i for i in range(_TENSORS) if tensors[i] is not None and _is_wanted(ctx.wanted, i)]

        def attend(*chosen: Tensor) -> tuple[Tensor, Tensor]:
            mixed = list(tensors)
            for place, each in zip(inputs, chosen, strict=True):
                mixed[place] = each
            return composed.attention(tuple(mixed), ctx.settings)  # type: ignore[arg-type]

        (out, logsumexp), pull = vjp(attend, *(tensors[i] for i in inputs))
        found = pull((dout, torch.zeros_like(logsumexp) if dlogsumexp is None else dlogsumexp))
        gradients: list[Tensor | None] = [None] * len(direct.GRADIENTS)
        for place, gradient in zip(inputs, found, strict=True):
            gradients[_GRADIENT_OF[place]] = gradient  # type: ignore[index]
        return gradients

    # Of Backward's arguments dout and dlogsumexp come second and third, the tensors after out and logsumexp.
    return run, tuple(saved[i] for i in places), [i + 1 if i < 2 else i + 3 for i in places]


def _push(run: Any, primals: Any, tangents: Any) -> tuple[Tensor, ...]:
    """run's derivative along the tangents. Forward mode does not nest, so it is the transpose of the transpose: what
    pulls back is linear in what it is given."""
    results, pull = vjp(run, *primals)
    _, push = vjp(lambda *upstream: pull(upstream), *(torch.zeros_like(each) for each in results))
    moved: tuple[Tensor, ...] = push(tuple(tangents))
    return moved


def _is_wanted(wanted: tuple[bool, ...], tensor: int) -> bool:
    place = _GRADIENT_OF[tensor]
    return place is not None and wanted[place]


# ---- autograd of the operator ----------------------------------------------------------------------------------------


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    modifiers, ctx.settings = ops.split(inputs[3:])
    ctx.save_for_backward(*inputs[:3], *modifiers, *output)


def _operator_gradients(ctx: Any, dout: Tensor, dlogsumexp: Tensor) -> tuple[Any, ...]:
    *tensors, out, logsumexp = ctx.saved_tensors
    wanted = _wanted(ctx.needs_input_grad)
    found = Backward.apply(Fixed(ctx.settings, wanted), dout, dlogsumexp, out, logsumexp, *tensors)
    return (*_by_tensor(found), None, None, None, None)


torch.library.register_autograd("nearfield::attention", _operator_gradients, setup_context=_setup, lib=ops._library)
