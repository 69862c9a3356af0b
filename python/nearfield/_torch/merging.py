"""Merging attentions: elementwise, so plain torch does it wherever something looks on; else one call of the library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nearfield import _abi
from nearfield._torch import call as direct


def composed(outs: Sequence[Tensor], logsumexps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """logsumexp = ln(sum_i exp(lse_i)), out = sum_i exp(lse_i - logsumexp) out_i."""
    lse = torch.stack(list(logsumexps))
    largest = lse.detach().amax(0)
    largest = torch.where(largest == -torch.inf, 0, largest)
    weights = torch.exp(lse - largest)
    total = weights.sum(0)
    nothing = total == 0
    safe = torch.where(nothing, 1, total)
    merged = torch.zeros_like(outs[0], dtype=lse.dtype)
    for weight, out in zip(weights, outs, strict=True):
        # A part that counts for nothing may hold anything.
        merged = merged + torch.where((weight == 0)[..., None], 0, (weight / safe)[..., None] * out.to(lse.dtype))
    return merged.to(outs[0].dtype), torch.where(nothing, -torch.inf, largest + torch.log(safe))


class Merge(torch.autograd.Function):
    """apply(count, *outs, *logsumexps): out, logsumexp."""

    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor) -> Any:
        outs, logsumexps = _as_read(tensors, count)
        out, logsumexp = direct.empty_as(outs[0]), torch.empty_like(logsumexps[0])
        _abi.merge(
            _words(outs, logsumexps),
            direct.words_of("out", out),
            direct.words_of("logsumexp", logsumexp),
            _abi.Options(num_threads=torch.get_num_threads()),
        )
        ctx.save_for_backward(*tensors)
        ctx.count = count
        ctx.set_materialize_grads(False)
        return out, logsumexp

    @staticmethod
    def backward(ctx: Any, dout: Tensor | None, dlogsumexp: Tensor | None) -> Any:
        tensors, count = ctx.saved_tensors, ctx.count
        if dout is None and dlogsumexp is None:
            return (None,) * (1 + 2 * count)
        if dout is None:
            dout = torch.zeros_like(tensors[0])
        if torch.is_grad_enabled():
            return (None, *_composed_backward(tensors, count, dout, dlogsumexp))
        outs, logsumexps = _as_read(tensors, count)
        targets = [
            direct.empty_as(each) if need else None
            for each, need in zip((*outs, *logsumexps), ctx.needs_input_grad[1:], strict=True)
        ]
        # Copies have to live as long as they are in use.
        dout, dlogsumexp = direct.readable(dout), None if dlogsumexp is None else direct.plain(dlogsumexp)
        words = [None if each is None else direct.words_of("gradients", each) for each in targets]
        _abi.merge_backward(
            _words(outs, logsumexps),
            direct.words_of("dout", dout),
            None if dlogsumexp is None else direct.words_of("dlogsumexp", dlogsumexp),
            list(zip(words[:count], words[count:], strict=True)),
            _abi.Options(num_threads=torch.get_num_threads()),
        )
        return (None, *targets)


vjp: Any = torch.func.vjp  # its type says that it may return three values


def _composed_backward(
    tensors: Sequence[Tensor], count: int, dout: Tensor, dlogsumexp: Tensor | None
) -> tuple[Tensor, ...]:
    def run(*parts: Tensor) -> tuple[Tensor, Tensor]:
        return composed(parts[:count], parts[count:])

    (_, logsumexp), pull = vjp(run, *tensors)
    found: tuple[Tensor, ...] = pull((dout, torch.zeros_like(logsumexp) if dlogsumexp is None else dlogsumexp))
    return found


def _as_read(tensors: Sequence[Tensor], count: int) -> tuple[list[Tensor], list[Tensor]]:
    """outs and logsumexps, or the copies that the library reads in their place."""
    return [direct.readable(each) for each in tensors[:count]], [direct.plain(each) for each in tensors[count:]]


def _words(outs: Sequence[Tensor], logsumexps: Sequence[Tensor]) -> list[tuple[_abi.TensorWords, _abi.TensorWords]]:
    return [
        (direct.words_of(f"outs[{i}]", out), direct.words_of(f"logsumexps[{i}]", logsumexp))
        for i, (out, logsumexp) in enumerate(zip(outs, logsumexps, strict=True))
    ]
