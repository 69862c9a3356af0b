"""The unfused operators on JAX arrays: functions that JAX traces, differentiates (once, in reverse mode) and maps."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from nearfield import _abi, _abi_unfused, _weights
from nearfield._errors import ArgumentError
from nearfield._jax import handlers, manual
from nearfield._jax.call import words_of
from nearfield._options import Settings
from nearfield.patterns._words import slots_of


class QkTensors(NamedTuple):
    """What qk reads, or gradients of it."""

    query: Any
    key: Any
    additional_keys: Any
    key_mask: Any
    bias: Any


class AvTensors(NamedTuple):
    """What av reads, or gradients of it."""

    weights: Any
    value: Any
    additional_values: Any
    key_mask: Any


class AttendTensors(NamedTuple):
    """What the attention that leaves its weights reads, or gradients of it."""

    query: Any
    key: Any
    value: Any
    additional_keys: Any
    additional_values: Any
    key_mask: Any
    bias: Any


# In the order of the C structs of gradients.
_QK_GRADIENTS = ("query", "key", "additional_keys", "bias")
_AV_GRADIENTS = ("weights", "value", "additional_values")


def qk(arrays: Sequence[Any], names: Sequence[str], settings: Settings, wide: bool) -> jax.Array:
    """The weights; arrays: query, key, additional_keys, key_mask, bias."""
    tensors = _tensors(QkTensors, arrays)
    shape = _shape(settings, tensors.query, tensors.additional_keys, wide)
    dtype = _dtype(tensors.query, wide)
    _check("qk", settings, tensors, {"weights": (shape, dtype)})
    return _qk_compiled(settings, wide, tensors)


def av(arrays: Sequence[Any], names: Sequence[str], settings: Settings) -> jax.Array:
    """out; arrays: weights, value, additional_values, key_mask."""
    tensors = _tensors(AvTensors, arrays)
    weights, value = tensors.weights, tensors.value
    _check("av", settings, tensors, {"out": ((*weights.shape[:-1], value.shape[-1]), value.dtype)})
    return _av_compiled(settings, tensors)


def attend_weights(
    arrays: Sequence[Any], names: Sequence[str], settings: Settings
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """out, logsumexp, weights; arrays: query, key, value, additional_keys, additional_values, key_mask, bias."""
    tensors = _tensors(AttendTensors, arrays)
    query, value = tensors.query, tensors.value
    shape = _shape(settings, query, tensors.additional_keys, True)
    kind = _dtype(query, True)
    results = {
        "out": ((*query.shape[:-1], value.shape[-1]), query.dtype),
        "logsumexp": (query.shape[:-1], kind),
        "weights": (shape, kind),
    }
    _check("forward_weights", settings, tensors, results)
    return _attend_compiled(settings, tensors)


def _tensors(kind: Any, arrays: Sequence[Any]) -> Any:
    """The arrays as JAX's, all varying over the same axes of a mesh."""
    given = [None if each is None else jnp.asarray(each) for each in arrays]
    axes = manual.varying_axes(*(each for each in given if each is not None))
    return kind(*(None if each is None else manual.varying(each, axes) for each in given))


def _dtype(query: Any, wide: bool) -> Any:
    return jnp.dtype(handlers.accumulator(query.dtype)) if wide else query.dtype


# ---- checks, on shapes and dtypes alone ------------------------------------------------------------------------------


def _is_known(*shapes: Sequence[Any]) -> bool:
    """Whether all sizes are numbers; jax.export has symbols for some, which the program checks when it runs."""
    return all(isinstance(size, int) for shape in shapes for size in shape)


def _shape(settings: Settings, query: Any, additional_keys: Any, wide: bool) -> tuple[int, ...]:
    """The weights' shape."""
    more = None if additional_keys is None else additional_keys.shape
    if not _is_known(query.shape, more or ()):
        return (*query.shape[:-1], slots_of(settings.pattern) + (more[1] if more else 0))
    dtype = words_of("query", query.shape, str(query.dtype))[1] & 0xFFFFFFFF
    return _weights.shape_of(settings.pattern, query.shape, more, _weights.accumulator(dtype) if wide else dtype)


_Kind = tuple[str, tuple[int, ...], str]  # a tensor's name, shape and dtype


def _check(function: str, settings: Settings, tensors: Any, results: dict[str, Any]) -> None:
    """Raises what the library would refuse, while JAX traces."""
    given = [(name, each.shape, each.dtype) for name, each in tensors._asdict().items() if each is not None]
    kinds = [(name, tuple(shape), str(dtype)) for name, shape, dtype in given]
    kinds += [(name, tuple(shape), str(dtype)) for name, (shape, dtype) in results.items()]
    if _is_known(*(shape for _, shape, _ in kinds)):
        _check_kinds(function, settings, tuple(kinds))


@lru_cache(maxsize=1024)
def _check_kinds(function: str, settings: Settings, kinds: tuple[_Kind, ...]) -> None:
    """The library itself checks the call, with a batch of 0: it computes nothing, and looks at no memory."""
    first, shape, _ = kinds[0]
    batch, words = shape[0], {}
    place = ctypes.c_double()  # of a bias, which has no batch: every element is this one
    for name, own, dtype in kinds:
        if name == "bias":
            code = words_of(name, own, dtype)[1] & 0xFFFFFFFF
            words[name] = _abi.tensor_words(name, ctypes.addressof(place), code, own, [0] * len(own))
            continue
        if own and own[0] != batch:
            raise ArgumentError(f"{name}: shape {own}: must have the batch of {first}, {batch}")
        words[name] = words_of(name, (0, *own[1:]), dtype)
    modifiers = _abi_unfused.modifiers_of(words)
    options = settings.abi()
    if function == "qk":
        _abi_unfused.qk(settings.pattern, words["query"], words["key"], words["weights"], modifiers, options)
    elif function == "av":
        _abi_unfused.av(settings.pattern, words["weights"], words["value"], words["out"], modifiers, options)
    else:
        inputs = [words[name] for name in ("query", "key", "value")]
        results = (words["out"], words["logsumexp"], words["weights"])
        _abi_unfused.forward_weights(settings.pattern, inputs, *results, modifiers, options)


# ---- calls of the handlers -------------------------------------------------------------------------------------------


def _run_qk(settings: Settings, wide: bool, tensors: QkTensors) -> jax.Array:
    query = tensors.query
    shape = _shape(settings, query, tensors.additional_keys, wide)
    result = manual.result_like(query, shape, _dtype(query, wide))
    return handlers.run("qk", settings, tensors._asdict(), [result], 1)[0]


def _run_av(settings: Settings, tensors: AvTensors) -> jax.Array:
    value = tensors.value
    result = manual.result_like(value, (*tensors.weights.shape[:-1], value.shape[-1]), value.dtype)
    return handlers.run("av", settings, tensors._asdict(), [result], 1)[0]


def _run_attend(settings: Settings, tensors: AttendTensors) -> tuple[jax.Array, jax.Array, jax.Array]:
    query, kind = tensors.query, _dtype(tensors.query, True)
    shape = _shape(settings, query, tensors.additional_keys, True)
    results = [
        manual.result_like(query, (*query.shape[:-1], tensors.value.shape[-1]), query.dtype),
        manual.result_like(query, query.shape[:-1], kind),
        manual.result_like(query, shape, kind),
    ]
    out, logsumexp, weights = handlers.run("forward_weights", settings, tensors._asdict(), results, 7)
    return out, logsumexp, weights


def _run_gradients(
    name: str, settings: Settings, operands: dict[str, Any], order: Sequence[str], wanted: Sequence[str]
) -> dict[str, jax.Array]:
    """The wanted gradients by name, from the backward pass `name`; order: that of its results."""
    names = [each for each in order if each in wanted and operands.get(each) is not None]
    if not names:
        return {}
    results = [manual.result_like(operands[each], operands[each].shape, operands[each].dtype) for each in names]
    bits = sum(1 << i for i, each in enumerate(order) if each in names)
    return dict(zip(names, handlers.run(name, settings, operands, results, bits), strict=True))


# ---- differentiation -------------------------------------------------------------------------------------------------


def _split(tensors: Any) -> tuple[Any, dict[str, None]]:
    """The values, and which of the tensors are differentiated: names as keys, which JAX leaves alone."""
    values = type(tensors)(*(None if each is None else each.value for each in tensors))
    wanted = [
        name for name, each in tensors._asdict().items() if name != "key_mask" and each is not None and each.perturbed
    ]
    return values, dict.fromkeys(wanted)


def _cotangents(values: Any, found: dict[str, Any]) -> Any:
    """The gradients, with JAX's own zero where there is none."""
    for name, each in values._asdict().items():
        if name not in found and name != "key_mask" and each is not None:
            found[name] = SymbolicZero(manual.type_of(each).to_tangent_aval())
    return type(values)(*(found.get(name) for name in values._fields))


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _qk(settings: Settings, wide: bool, tensors: QkTensors) -> jax.Array:
    return _run_qk(settings, wide, tensors)


def _qk_forward(settings: Settings, wide: bool, tensors: Any) -> tuple[jax.Array, Any]:
    values, wanted = _split(tensors)
    return _run_qk(settings, wide, values), (values, wanted)


def _qk_backward(settings: Settings, wide: bool, kept: Any, dweights: Any) -> tuple[QkTensors]:
    values, wanted = kept
    found: dict[str, Any] = {}
    if not isinstance(dweights, SymbolicZero):
        operands = {**values._asdict(), "dweights": dweights}
        found = _run_gradients("qk_backward", settings, operands, _QK_GRADIENTS, tuple(wanted))
    return (_cotangents(values, found),)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _av(settings: Settings, tensors: AvTensors) -> jax.Array:
    return _run_av(settings, tensors)


def _av_forward(settings: Settings, tensors: Any) -> tuple[jax.Array, Any]:
    values, wanted = _split(tensors)
    return _run_av(settings, values), (values, wanted)


def _av_backward(settings: Settings, kept: Any, dout: Any) -> tuple[AvTensors]:
    values, wanted = kept
    found: dict[str, Any] = {}
    if not isinstance(dout, SymbolicZero):
        operands = {**values._asdict(), "dout": dout}
        found = _run_gradients("av_backward", settings, operands, _AV_GRADIENTS, tuple(wanted))
    return (_cotangents(values, found),)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(settings: Settings, tensors: AttendTensors) -> tuple[jax.Array, jax.Array, jax.Array]:
    return _run_attend(settings, tensors)


def _attend_forward(settings: Settings, tensors: Any) -> tuple[tuple[jax.Array, jax.Array, jax.Array], Any]:
    values, wanted = _split(tensors)
    results = _run_attend(settings, values)
    return results, (values, results[2], wanted)


def _attend_backward(settings: Settings, kept: Any, upstream: Any) -> tuple[AttendTensors]:
    """dP_in = dP + dout v^T, dS = P (dP_in - sum(P dP_in) + dlogsumexp): the gradients of softmax and of logsumexp."""
    values, weights, wanted = kept
    dout, dlogsumexp, dweights = (None if isinstance(each, SymbolicZero) else each for each in upstream)
    found: dict[str, Any] = {}
    into = jnp.zeros_like(weights) if dweights is None else dweights
    if dout is not None:
        operands = {"weights": weights, "dout": dout}
        operands |= {name: getattr(values, name) for name in ("value", "additional_values", "key_mask")}
        names = [*wanted, "weights"] if any(name in wanted for name in _QK_GRADIENTS) else list(wanted)
        found = _run_gradients("av_backward", settings, operands, _AV_GRADIENTS, names)
        into = into + found.pop("weights", 0)
    if any(name in wanted for name in _QK_GRADIENTS):
        hidden = weights == 0
        into = jnp.where(hidden, 0, into)  # whatever a hidden slot's gradient holds
        dlogits = into - (weights * into).sum(-1, keepdims=True)
        if dlogsumexp is not None:
            dlogits = dlogits + dlogsumexp[..., None]
        dlogits = jnp.where(hidden, 0, weights * dlogits)
        operands = {"dweights": dlogits, "key_mask": values.key_mask}
        operands |= {name: getattr(values, name) for name in _QK_GRADIENTS}
        found |= _run_gradients("qk_backward", settings, operands, _QK_GRADIENTS, list(wanted))
    return (_cotangents(values, found),)


_qk.defvjp(_qk_forward, _qk_backward, symbolic_zeros=True)
_av.defvjp(_av_forward, _av_backward, symbolic_zeros=True)
_attend.defvjp(_attend_forward, _attend_backward, symbolic_zeros=True)

# Compiled once for each call and shapes, so that calls outside of jit don't trace anew.
_qk_compiled: Callable[..., jax.Array] = jax.jit(_qk, static_argnums=(0, 1))
_av_compiled: Callable[..., jax.Array] = jax.jit(_av, static_argnums=(0,))
_attend_compiled: Callable[..., tuple[jax.Array, jax.Array, jax.Array]] = jax.jit(_attend, static_argnums=(0,))
