"""The torch face: chooses the coat of autograd that a call needs (autograd.py)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

from nearfield._abi import TensorWords
from nearfield._errors import ArgumentError
from nearfield._faces import NAMES
from nearfield._options import Settings
from nearfield._torch import autograd, merging, ops, unfused, vmap  # noqa: F401  (vmap registers itself)
from nearfield._torch import call as direct
from nearfield._torch.call import Tensors, copied

__all__ = ["abstract", "attend", "copied", "dtype_of", "is_tracing", "merge", "num_threads", "unfused"]

_PLAIN = (Tensor, torch.nn.Parameter)
_modes = torch._C._len_torch_dispatch_stack
_transforms = torch._C._functorch.peek_interpreter_stack
_jit_trace = torch._C._get_tracing_state  # torch.jit.trace records operators only, not what the library writes


def attend(tensors: Tensors, settings: Settings, return_lse: bool) -> tuple[Tensor, Tensor | None]:
    """out and, if asked for or needed, logsumexp."""
    if torch.is_autocast_enabled("cpu"):
        _check(tensors)
        tensors = _autocast(tensors)
    if torch.compiler.is_compiling():
        return _operator(tensors, settings)
    if _transforms() is not None or forward_ad._current_level >= 0:
        _check(tensors)
        return autograd.Traced.apply(autograd.Fixed(settings), *tensors)  # type: ignore[no-any-return]
    plain, needs_grad = True, False
    for each in tensors:
        if each is None:
            continue
        if type(each) in _PLAIN:
            if not each.is_cpu:
                _check(tensors)
                plain = False
            needs_grad = needs_grad or each.requires_grad
        else:
            _check(tensors)
            plain = False
    if _modes() or not plain or _jit_trace() is not None:
        return _operator(tensors, settings)
    if needs_grad and torch.is_grad_enabled():
        query, key, value, a, b, c, d, e = tensors
        if a is None and b is None and c is None and d is None and e is None:
            found = autograd.apply_eager(settings, return_lse, query, key, value)
        else:
            found = autograd.apply_eager(settings, return_lse, *tensors)
        return found if return_lse else (found, None)
    return direct.forward(tensors, settings, return_lse)


def _check(tensors: Tensors) -> None:
    """Raise where there is no engine for a tensor's device, or no meaning in its layout."""
    for name, each in zip(NAMES, tensors, strict=True):
        if each is not None and each.device.type not in ("cpu", "meta"):
            raise ArgumentError(direct.not_on_cpu(name, each))
        if each is not None and each.layout is not torch.strided:
            raise direct.wrong_layout(name, each)


def _operator(tensors: Tensors, settings: Settings) -> tuple[Tensor, Tensor]:
    result: tuple[Tensor, Tensor] = torch.ops.nearfield.attention(*tensors, *ops.arguments_of(settings))
    return result


def _autocast(tensors: Tensors) -> Tensors:
    """Query, key, value and additional tokens in autocast's type, as scaled_dot_product_attention takes them; weights
    and biases stay: the library reads them in float32 too."""
    dtype = torch.get_autocast_dtype("cpu")

    def cast(tensor: Tensor | None) -> Tensor | None:
        if tensor is None or not tensor.is_floating_point() or tensor.dtype == torch.float64:
            return tensor
        return tensor.to(dtype)

    return (*(cast(each) for each in tensors[:5]), *tensors[5:])  # type: ignore[return-value]


def abstract(name: str, tensor: Tensor) -> TensorWords:
    """The tensor without its memory, for `explain`; it may be on the meta device."""
    if tensor.device.type not in ("cpu", "meta"):
        raise ArgumentError(direct.not_on_cpu(name, tensor))
    return direct.shape_words(name, direct.as_read(name, tensor), lambda: 0)


def dtype_of(tensor: Tensor) -> int | None:
    """Its dtype's number in the C ABI."""
    return direct.DTYPES.get(tensor.dtype)


num_threads = torch.get_num_threads
is_tracing = torch.compiler.is_compiling


def merge(outs: Sequence[Tensor], logsumexps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """One softmax of several (merging.py)."""
    if torch.compiler.is_compiling() or _transforms() is not None or _modes() or forward_ad._current_level >= 0:
        return merging.composed(outs, logsumexps)
    if _jit_trace() is not None or not all(type(each) in _PLAIN and each.is_cpu for each in (*outs, *logsumexps)):
        return merging.composed(outs, logsumexps)
    return merging.Merge.apply(len(outs), *outs, *logsumexps)  # type: ignore[no-any-return]
