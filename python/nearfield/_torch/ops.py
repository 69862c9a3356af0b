"""The attention as torch operators: what tracing, export, functorch and dispatch modes see.

    nearfield::attention            (out, logsumexp)
    nearfield::attention_backward   seven gradients, empty where not wanted
    nearfield::windows              which keys every query sees
    nearfield::area_weights         what a pattern on the sphere multiplies each key's exp(logit) by

Their kernels run on the CPU; fake kernels give shapes, so that nothing has to run to trace them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from nearfield import _abi
from nearfield._errors import ArgumentError
from nearfield._options import Settings
from nearfield._torch import call as direct
from nearfield.patterns._words import is_on_sphere, key_side_of, query_side_of

_MODIFIERS = (
    "Tensor? additional_keys, Tensor? additional_values, Tensor? key_mask, Tensor? key_weights, Tensor? bias, "
    "SymInt[] pattern, float? scale, float softcap, int[] options"
)
_library = torch.library.Library("nearfield", "DEF")
_library.define(f"attention(Tensor query, Tensor key, Tensor value, {_MODIFIERS}) -> (Tensor, Tensor)")
_library.define(
    "attention_backward(Tensor dout, Tensor? dlogsumexp, Tensor query, Tensor key, Tensor value, Tensor out, "
    f"Tensor logsumexp, bool[] wanted, {_MODIFIERS}) -> "
    "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)
_library.define("windows(SymInt[] pattern, SymInt[] grid) -> (Tensor, Tensor)")
_library.define("area_weights(SymInt[] pattern) -> Tensor")


def split(rest: Sequence[object]) -> tuple[tuple[Tensor | None, ...], Settings]:
    """An operator's last nine arguments: the modifiers' tensors and the settings."""
    *modifiers, pattern, scale, softcap, options = rest
    return tuple(modifiers), Settings(tuple(pattern), scale, softcap, tuple(options))  # type: ignore[arg-type]


def arguments_of(settings: Settings) -> tuple[object, ...]:
    """The last four of them."""
    return list(settings.pattern), settings.scale, settings.softcap, list(settings.options)


# ---- kernels -------------------------------------------------------------------------------------------------------


def _attention(query: Tensor, key: Tensor, value: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
    modifiers, settings = split(rest)
    out, logsumexp = direct.forward((query, key, value, *modifiers), settings, True)  # type: ignore[arg-type]
    assert logsumexp is not None
    return out, logsumexp


def _attention_backward(
    dout: Tensor,
    dlogsumexp: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    logsumexp: Tensor,
    wanted: Sequence[bool],
    *rest: object,
) -> tuple[Tensor, ...]:
    modifiers, settings = split(rest)
    tensors = (query, key, value, *modifiers)
    gradients = direct.backward(dout, dlogsumexp, out, logsumexp, tensors, settings, wanted)  # type: ignore[arg-type]
    return tuple(query.new_empty(0) if each is None else each for each in gradients)


def _windows(pattern: Sequence[int], grid: Sequence[int]) -> tuple[Tensor, Tensor]:
    tokens, slots = torch.Size(grid).numel(), torch.Size(_abi.window_slots(pattern, grid)).numel()
    keys, bias_index = (torch.full((tokens, slots), -1, dtype=torch.int64) for _ in range(2))
    _abi.windows(pattern, grid, 0, tokens, keys.data_ptr(), 0 if is_on_sphere(pattern) else bias_index.data_ptr())
    return keys, bias_index


def _area_weights(pattern: Sequence[int]) -> Tensor:
    keys, nlat, nlon = key_side_of(pattern)
    areas = torch.empty(nlat, dtype=torch.float64)
    _abi.sphere_latitudes((keys, nlat, nlon), 0, areas.data_ptr())
    return areas.repeat_interleave(nlon)


_library.impl("attention", _attention, "CPU")
_library.impl("attention_backward", _attention_backward, "CPU")
_library.impl("windows", _windows, "CompositeExplicitAutograd")
_library.impl("area_weights", _area_weights, "CompositeExplicitAutograd")


def _no_engine(*tensors: object) -> NoReturn:
    raise ArgumentError(direct.not_on_cpu("query", next(each for each in tensors if isinstance(each, Tensor))))


for _name in ("attention", "attention_backward"):
    _library.impl(_name, _no_engine, "CUDA")


# ---- shapes --------------------------------------------------------------------------------------------------------


def _check_shapes(query: Tensor, key: Tensor, value: Tensor, pattern: Sequence[int]) -> None:
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        if tensor.dim() != query.dim() or not 4 <= tensor.dim() <= 6:
            raise ArgumentError(
                f"{name}: shape {tuple(tensor.shape)}: must be (batch, *grid, heads, channels), with 1 to 3 axes"
            )
    if not is_on_sphere(pattern):
        return
    own, keys = query_side_of(pattern)[1:], key_side_of(pattern)[1:]
    for name, tensor, (nlat, nlon) in (("query", query, own), ("key", key, keys), ("value", value, keys)):
        if tensor.shape[1] != nlat or tensor.shape[2] != nlon:
            found = "x".join(map(str, tensor.shape[1:-2]))
            raise ArgumentError(f"{name}: has a grid of {found}: must have the pattern's {nlat}x{nlon}")


@torch.library.register_fake("nearfield::attention", lib=_library)
def _attention_fake(query: Tensor, key: Tensor, value: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
    _check_shapes(query, key, value, split(rest)[1].pattern)
    out = direct.empty_out(direct.readable(query), value)
    return out, query.new_empty(query.shape[:-1], dtype=direct.scalar_type(query))


@torch.library.register_fake("nearfield::attention_backward", lib=_library)
def _attention_backward_fake(
    dout: Tensor,
    dlogsumexp: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    logsumexp: Tensor,
    wanted: Sequence[bool],
    *rest: object,
) -> tuple[Tensor, ...]:
    sources = direct.sources_of(direct.as_read_all((query, key, value, *split(rest)[0])))
    return tuple(
        direct.empty_as(source) if want and source is not None else query.new_empty(0)
        for source, want in zip(sources, wanted, strict=True)
    )


@torch.library.register_fake("nearfield::windows", lib=_library)
def _windows_fake(pattern: Sequence[int], grid: Sequence[int]) -> tuple[Tensor, Tensor]:
    context = torch.library.get_ctx()
    tokens = 1
    for length in grid:
        tokens = tokens * length
    shape = (tokens, context.new_dynamic_size())
    return torch.empty(shape, dtype=torch.int64), torch.empty(shape, dtype=torch.int64)


@torch.library.register_fake("nearfield::area_weights", lib=_library)
def _area_weights_fake(pattern: Sequence[int]) -> Tensor:
    _, nlat, nlon = key_side_of(pattern)
    return torch.empty(nlat * nlon, dtype=torch.float64)


# ---- floating-point operations -------------------------------------------------------------------------------------


def pairs_of(tensors: Sequence[Tensor | None], settings: Settings) -> float:
    """(query, key) pairs that the attention has, over batch and heads, additional keys included."""

    def abstract(tensor: Tensor) -> _abi.TensorWords:
        strides = [1] * tensor.dim()
        for d in range(tensor.dim() - 2, -1, -1):
            strides[d] = strides[d + 1] * max(1, int(tensor.shape[d + 1]))
        return _abi.tensor_words(
            "tensor", 0, direct.DTYPES[tensor.dtype], [int(size) for size in tensor.shape], strides
        )

    query, key, value, additional_keys = tensors[:4]
    assert query is not None and key is not None and value is not None
    words = (abstract(query), abstract(key), abstract(value))
    pairs = _abi.explain(settings.pattern, *words, _abi.NO_MODIFIERS, _abi.Options()).useful_pairs
    if additional_keys is not None:
        pairs += query[..., 0].numel() * additional_keys.shape[1]
    return float(pairs)


def _flops(query: Tensor, key: Tensor, value: Tensor, *rest: object, **_: object) -> int:
    # Q K^T and P V.
    modifiers, settings = split(rest)
    return int(2 * pairs_of((query, key, value, *modifiers), settings) * (query.shape[-1] + value.shape[-1]))


def _backward_flops(*arguments: object, **_: object) -> int:
    # Q K^T again, dout V^T, and the products that give dQ, dK and dV, all as in torch's own formula.
    query, key, value = arguments[2:5]
    modifiers, settings = split(arguments[8:])
    assert isinstance(query, Tensor) and isinstance(key, Tensor) and isinstance(value, Tensor)
    return int(2 * pairs_of((query, key, value, *modifiers), settings) * (3 * query.shape[-1] + 2 * value.shape[-1]))


register_flop_formula(torch.ops.nearfield.attention, get_raw=True)(_flops)
register_flop_formula(torch.ops.nearfield.attention_backward, get_raw=True)(_backward_flops)
