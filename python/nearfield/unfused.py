"""Attention with explicit weights: `qk` and `av`, between which anything may happen.

    weights = qk(pattern, query, key)                            (batch, *grid, heads, slots + M)
    out = av(pattern, softmax(weights), value)                   (batch, *grid, heads, head_dim_v)

A query's slots are row-major over the axes of the grid, kernel_size of them on each; slot j on an axis is the j-th key of
the query's window there (`nearfield.geometry.weight_keys` lists them). Along a curve there is one axis, of its positions.
The M columns after them belong to the additional keys. A slot is hidden where the query's window is shorter than the
slots (cut, causal, or near the end of a short axis) or the key is masked: `qk` has -inf there, `av` does not read it.

Weights take tokens x heads x slots elements: for wide windows far more than all else. `attend` needs none of them.
"""

from __future__ import annotations

from typing import Any, TypeVar

from nearfield._errors import ArgumentError, UnsupportedError
from nearfield._faces import face_of
from nearfield._options import Settings, settings_of
from nearfield._values import flag
from nearfield.patterns import Pattern, cached_words, check_pattern
from nearfield.patterns._words import is_on_sphere

Array = TypeVar("Array")

# The arrays of each call in their order; the first two (three) have to be there.
QK_NAMES = ("query", "key", "additional_keys", "key_mask", "bias")
AV_NAMES = ("weights", "value", "additional_values", "key_mask")
ATTEND_NAMES = ("query", "key", "value", "additional_keys", "additional_values", "key_mask", "bias")


def qk(
    pattern: Pattern,
    query: Array,
    key: Array,
    *,
    scale: float | None = None,
    bias: Array | None = None,
    key_mask: Array | None = None,
    additional_keys: Array | None = None,
    wide: bool = False,
    engine: str = "auto",
    isa: str = "auto",
    num_threads: int = 0,
) -> Array:
    """The logits of every query and the keys in its window: weights before any softmax.

    weights[i, j] = scale query[i].key[j-th of N(i)] + bias, the operator "PN" of [1]_.

    Differentiable, to any order, in torch and (once, in reverse mode) in JAX.

    Parameters
    ----------
    pattern
        Which keys a query sees, e.g. ``Neighborhood(7, dilation=2)``: kernel_size, stride and so on are the pattern's,
        as in `attend`. Not one on the sphere.
    query, key
        (batch, *grid, heads, head_dim) and (batch, *grid, heads_kv, head_dim): torch.Tensor, numpy.ndarray or jax.Array,
        both of one kind; heads_kv divides heads.
    scale
        Factor of the products; None is 1/sqrt(head_dim), 0 is allowed.
    bias
        Relative position bias (heads, 2*kernel_size-1 per axis), as in `attend`.
    key_mask
        (batch, *grid) bool: True where the key takes part; others get -inf.
    additional_keys
        (batch, M, heads_kv, head_dim): keys that every query sees, the last M columns of the weights.
    wide
        Whether the weights are float32 though query is of 16 bits: what a softmax had better read.
    engine, isa
        "auto", or which to take: engine "gemm", "naive" or "reference".
    num_threads
        As in `attend`.

    Returns
    -------
    weights
        (batch, *grid, heads, slots + M), of the query's kind and dtype, or of logsumexp's if `wide`; -inf in hidden
        slots. A softmax of a row of nothing but -inf is NaN: with a mask that hides whole windows look to that.

    Raises
    ------
    ArgumentError
        (a ValueError) An argument breaks a rule; the message names it, its value and the rule.
    MemoryError
        The weights are larger than this machine's memory.
    TypeError, UnsupportedError
        An argument is of a type, or a pattern, that can't be taken.

    References
    ----------
    .. [1] Hassani et al., "Faster Neighborhood Attention", NeurIPS 2024.

    Examples
    --------
    >>> import numpy, nearfield
    >>> x = numpy.ones((1, 8, 8, 2, 4), "float32")
    >>> nearfield.qk(nearfield.Neighborhood(3), x, x).shape
    (1, 8, 8, 2, 9)
    """
    check_pattern(pattern)
    arrays = (query, key, additional_keys, key_mask, bias)
    face = face_of(arrays, QK_NAMES, 2)
    words = _words_of(pattern, "query", query, face)
    settings = settings_of(words, scale, 0.0, engine, isa, "auto", num_threads, "highest")
    result: Array = face.unfused.qk(arrays, QK_NAMES, settings, flag("wide", wide))
    return result


def av(
    pattern: Pattern,
    weights: Array,
    value: Array,
    *,
    key_mask: Array | None = None,
    additional_values: Array | None = None,
    engine: str = "auto",
    isa: str = "auto",
    num_threads: int = 0,
) -> Array:
    """The sum of the values in every query's window, with weights of its own.

    out[i] = sum over j of weights[i, j] value[j-th of N(i)], the operator "NN" of [1]_.

    Differentiable, to any order, in torch and (once, in reverse mode) in JAX.

    Parameters
    ----------
    pattern
        As in `qk`.
    weights
        (batch, *grid, heads, slots + M), as `qk` lays them out. What hidden slots hold is not read.
    value
        (batch, *grid, heads_kv, head_dim_v); heads_kv divides heads.
    key_mask
        (batch, *grid) bool: True where the key takes part.
    additional_values
        (batch, M, heads_kv, head_dim_v): values of the last M columns.
    engine, isa, num_threads
        As in `qk`.

    Returns
    -------
    out
        (batch, *grid, heads, head_dim_v), of the value's dtype; weights may be float32 with values of 16 bits.

    Raises
    ------
    ArgumentError
        (a ValueError) An argument breaks a rule: weights of another number of slots, say.
    TypeError, UnsupportedError
        As `qk` does.

    References
    ----------
    .. [1] Hassani et al., "Faster Neighborhood Attention", NeurIPS 2024.

    Examples
    --------
    >>> import numpy, nearfield
    >>> pattern = nearfield.Neighborhood(3)
    >>> x, mean = numpy.ones((1, 8, 8, 2, 4), "float32"), numpy.full((1, 8, 8, 2, 9), 1 / 9, "float32")
    >>> nearfield.av(pattern, mean, x).shape
    (1, 8, 8, 2, 4)
    """
    check_pattern(pattern)
    arrays = (weights, value, additional_values, key_mask)
    face = face_of(arrays, AV_NAMES, 2)
    words = _words_of(pattern, "weights", weights, face)
    _check_channels(value)
    settings = settings_of(words, None, 0.0, engine, isa, "auto", num_threads, "highest")
    result: Array = face.unfused.av(arrays, AV_NAMES, settings)
    return result


def _words_of(pattern: Pattern, name: str, array: Any, face: Any) -> tuple[int, ...]:
    """The pattern's words, for the grid of an array (batch, *grid, heads, ...)."""
    rank: int = array.ndim
    if not 4 <= rank <= 6:
        raise ArgumentError(
            f"{name}: shape {tuple(array.shape)}: has {rank} dimensions, must be (batch, *grid, heads, ...) with 1 to 3 grid axes"
        )
    words = pattern.words(rank - 3) if face.is_tracing() else cached_words(pattern, rank - 3)
    check_has_slots(words)
    return words


def check_has_slots(words: tuple[int, ...]) -> None:
    """Raises UnsupportedError of a pattern that has no explicit weights."""
    if is_on_sphere(words):
        raise UnsupportedError(
            "pattern: explicit weights have no slots on the sphere, where every latitude has windows of its own"
        )


def check_takes_weights(words: tuple[int, ...], key_weights: Any, softcap: float) -> None:
    """Raises UnsupportedError where an attention can't leave its weights."""
    check_has_slots(words)
    if key_weights is not None:
        raise UnsupportedError("key_weights: must be None where return_weights is True: add their logarithms to qk's")
    if softcap:
        raise UnsupportedError(
            f"softcap={softcap}: must be 0 where return_weights is True: apply it to the weights of qk"
        )


def attend_weights(face: Any, arrays: tuple[Any, ...], settings: Settings) -> tuple[Any, Any, Any]:
    """out, logsumexp and weights of an attention whose arrays are in the order of `nearfield._faces.NAMES`."""
    *attended, key_weights, bias = arrays
    check_takes_weights(settings.pattern, key_weights, settings.softcap)
    _check_channels(attended[2])
    found: tuple[Any, Any, Any] = face.unfused.attend_weights((*attended, bias), ATTEND_NAMES, settings)
    return found


def _check_channels(value: Any) -> None:
    if not value.ndim:
        raise ArgumentError("value: shape (): must be (batch, *grid, heads_kv, head_dim_v)")
