"""Attention over neighborhoods and other patterns, for torch, numpy and JAX arrays alike.

Shapes, heads last as in NATTEN (a heads-first tensor is a transposed view of one, and is not copied):

    query                (batch, *grid, heads, head_dim)
    key                  (batch, *grid, heads_kv, head_dim)        heads % heads_kv == 0: grouped-query attention
    value                (batch, *grid, heads_kv, head_dim_v)
    out                  (batch, *grid, heads, head_dim_v)         dtype of query
    logsumexp            (batch, *grid, heads)                     float32; float64 for float64

The grid has 1 to 3 axes. dtypes: float64, float32, bfloat16, float16; sums are float32, float64 for float64. On the sphere
key and value, and with them key_mask and key_weights, have the grid of the pattern's keys, which may be another.
"""

from __future__ import annotations

from typing import Any, TypeVar

from nearfield._errors import ArgumentError
from nearfield._faces import face_of
from nearfield._options import Settings, settings_of
from nearfield._values import flag
from nearfield.patterns import (
    Bools,
    Ints,
    Names,
    Pattern,
    cached_neighborhood_words,
    cached_words,
    check_pattern,
    neighborhood_words,
)
from nearfield.unfused import attend_weights

Array = TypeVar("Array")


def attend(
    pattern: Pattern,
    query: Array,
    key: Array,
    value: Array,
    *,
    scale: float | None = None,
    bias: Array | None = None,
    key_mask: Array | None = None,
    key_weights: Array | None = None,
    softcap: float = 0.0,
    additional_keys: Array | None = None,
    additional_values: Array | None = None,
    return_lse: bool = False,
    return_weights: bool = False,
    precision: str = "highest",
    engine: str = "auto",
    isa: str = "auto",
    kernel: str = "auto",
    num_threads: int = 0,
) -> Any:
    """Attention in which every token sees the keys that a pattern gives it.

    out[i] = sum over j in N(i) of p_ij value[j], with p_ij = softmax over j in N(i) of
    softcap(scale query[i].key[j]) + bias[j - i] + log key_weights[j].

    Differentiable in torch and JAX with respect to every floating-point argument. Results are the same bits from run
    to run and for any number of threads.

    Parameters
    ----------
    pattern
        Which keys a query sees, e.g. ``Neighborhood(7)``, ``HilbertWindow(8)`` or ``SphereNeighborhood((91, 180))``.
    query, key, value
        torch.Tensor, numpy.ndarray or jax.Array, all of one kind; shapes as above. Strides are free, but channels
        that are not adjacent in memory are copied (`explain` says so). With a pattern on the sphere they are on its grids.
    scale
        Factor of the logits; None is 1/sqrt(head_dim), 0 is allowed.
    bias
        Relative position bias (heads, 2*kernel_size-1 per axis), entry key - query + kernel_size - 1 on each axis; in
        place of kernel_size a window's size, or what `bias_extents` says of a curve on this grid. Not on the sphere.
        float32 (float64 with float64) or of the query's dtype.
    key_mask
        (batch, *grid) bool, of the keys' grid: True where the key takes part. A query that sees no key has out 0 and
        logsumexp -inf.
    key_weights
        (*grid) or (batch, *grid), of the keys' grid, at least 0: weight w adds log(w) to the logit, 0 masks; on the
        sphere it multiplies the key's area. dtype as for bias.
    softcap
        c > 0: logits become c*tanh(logit/c), before bias and weights are added. 0: not.
    additional_keys, additional_values
        (batch, M, heads_kv, head_dim) and (batch, M, heads_kv, head_dim_v): tokens that every query sees in the same
        softmax, never masked.
    return_lse
        Whether to return the logsumexp of the logits, too. It is differentiable.
    return_weights
        Whether to return the weights p, too, (batch, *grid, heads, slots + M) in the layout of `qk`, 0 in hidden slots,
        of logsumexp's dtype. They are differentiable, too. `explain` says what memory they take. Not with key_weights,
        softcap or a pattern on the sphere; engine is "auto", "gemm", "naive" or "reference".
    precision
        "highest", "high" or "medium": the least precision of float32 products, in torch's words. Every engine of this
        version computes in the highest.
    engine, isa, kernel
        "auto", or which to take: engine "reference" (float64, slow: the oracle), "cpu", or to compare with
        "block_sparse" (forward only), "naive" and "gemm" (explicit weights); isa "portable", "avx2", "avx512" or
        "neon"; kernel "band" or "tile". `info` and `explain` list and explain them.
    num_threads
        0: torch's own number for torch; else NEARFIELD_NUM_THREADS or the number of cores.

    Returns
    -------
    out, or (out, logsumexp) if `return_lse`, (out, weights) or (out, logsumexp, weights) if `return_weights`
        Arrays of the same kind as the query.

    Raises
    ------
    ArgumentError
        (a ValueError) An argument breaks a rule; the message names it, its value and the rule.
    TypeError
        An argument is of a type or dtype that can't be taken.
    MemoryError
        The weights are larger than this machine's memory.

    Examples
    --------
    >>> import numpy, nearfield
    >>> x = numpy.ones((1, 8, 8, 2, 4), "float32")
    >>> nearfield.attend(nearfield.Neighborhood(3, boundary=("clamp", "wrap")), x, x, x).shape
    (1, 8, 8, 2, 4)
    """
    check_pattern(pattern)
    arrays = (query, key, value, additional_keys, additional_values, key_mask, key_weights, bias)
    face, rank = face_of(arrays), grid_rank(query)
    words = pattern.words(rank) if face.is_tracing() else cached_words(pattern, rank)
    settings = settings_of(words, scale, softcap, engine, isa, kernel, num_threads, precision)
    return _attend(face, arrays, settings, return_lse, return_weights)


def grid_rank(query: Any) -> int:
    """Axes of the query's grid: 1 to 3."""
    rank: int = query.ndim
    if not 4 <= rank <= 6:
        raise ArgumentError(
            f"query: shape {tuple(query.shape)}: has {rank} dimensions, must be (batch, *grid, heads, head_dim) with 1 to 3 grid axes"
        )
    return rank - 3


def _attend(face: Any, arrays: tuple[Any, ...], settings: Settings, return_lse: bool, return_weights: bool) -> Any:
    if type(return_lse) is not bool:
        return_lse = flag("return_lse", return_lse)
    if return_weights is not False and flag("return_weights", return_weights):
        out, logsumexp, weights = attend_weights(face, arrays, settings)
        return (out, logsumexp, weights) if return_lse else (out, weights)
    out, logsumexp = face.attend(arrays, settings, return_lse)
    return (out, logsumexp) if return_lse else out


def na1d(
    query: Array,
    key: Array,
    value: Array,
    kernel_size: Ints,
    stride: Ints = 1,
    dilation: Ints = 1,
    is_causal: Bools = False,
    scale: float | None = None,
    additional_keys: Array | None = None,
    additional_values: Array | None = None,
    return_lse: bool = False,
    *,
    return_weights: bool = False,
    boundary: Names = "clamp",
    bias: Array | None = None,
    key_mask: Array | None = None,
    key_weights: Array | None = None,
    softcap: float = 0.0,
    precision: str = "highest",
    engine: str = "auto",
    isa: str = "auto",
    kernel: str = "auto",
    num_threads: int = 0,
) -> Any:
    """Neighborhood attention over a sequence.

    Every token sees the `kernel_size` tokens around it. Source: Hassani et al., "Faster Neighborhood
    Attention", NeurIPS 2024, and "Generalized Neighborhood Attention", 2025.

    Parameters
    ----------
    query, key, value
        (batch, length, heads, head_dim); value and heads as in `attend`.
    kernel_size, stride, dilation, is_causal, boundary
        As in `Neighborhood`: one value, or a sequence of one.
    scale, additional_keys, additional_values, return_lse, return_weights, and the other keywords
        As in `attend`.

    Returns
    -------
    out, or (out, logsumexp) if `return_lse`, and the weights last if `return_weights`
        (batch, length, heads, head_dim_v) and (batch, length, heads), of the query's kind.

    Raises
    ------
    ArgumentError, TypeError
        As `attend` does.

    Examples
    --------
    >>> import numpy
    >>> x = numpy.ones((1, 16, 2, 4), "float32")
    >>> na1d(x, x, x, kernel_size=7).shape
    (1, 16, 2, 4)
    """
    arrays = (query, key, value, additional_keys, additional_values, key_mask, key_weights, bias)
    face = face_of(arrays)
    words = _neighborhood(face, query, 1, kernel_size, stride, dilation, is_causal, boundary)
    settings = settings_of(words, scale, softcap, engine, isa, kernel, num_threads, precision)
    return _attend(face, arrays, settings, return_lse, return_weights)


def na2d(
    query: Array,
    key: Array,
    value: Array,
    kernel_size: Ints,
    stride: Ints = 1,
    dilation: Ints = 1,
    is_causal: Bools = False,
    scale: float | None = None,
    additional_keys: Array | None = None,
    additional_values: Array | None = None,
    return_lse: bool = False,
    *,
    return_weights: bool = False,
    boundary: Names = "clamp",
    bias: Array | None = None,
    key_mask: Array | None = None,
    key_weights: Array | None = None,
    softcap: float = 0.0,
    precision: str = "highest",
    engine: str = "auto",
    isa: str = "auto",
    kernel: str = "auto",
    num_threads: int = 0,
) -> Any:
    """Neighborhood attention over an image.

    Every token sees the `kernel_size` tokens around it on each axis. Source: Hassani et al., "Faster Neighborhood
    Attention", NeurIPS 2024, and "Generalized Neighborhood Attention", 2025.

    Parameters
    ----------
    query, key, value
        (batch, height, width, heads, head_dim); value and heads as in `attend`.
    kernel_size, stride, dilation, is_causal, boundary
        As in `Neighborhood`: one value, or one for each axis.
    scale, additional_keys, additional_values, return_lse, return_weights, and the other keywords
        As in `attend`.

    Returns
    -------
    out, or (out, logsumexp) if `return_lse`, and the weights last if `return_weights`
        (batch, height, width, heads, head_dim_v) and (batch, height, width, heads), of the query's kind.

    Raises
    ------
    ArgumentError, TypeError
        As `attend` does.

    Examples
    --------
    >>> import numpy
    >>> x = numpy.ones((1, 8, 8, 2, 4), "float32")
    >>> na2d(x, x, x, kernel_size=3).shape
    (1, 8, 8, 2, 4)
    """
    arrays = (query, key, value, additional_keys, additional_values, key_mask, key_weights, bias)
    face = face_of(arrays)
    words = _neighborhood(face, query, 2, kernel_size, stride, dilation, is_causal, boundary)
    settings = settings_of(words, scale, softcap, engine, isa, kernel, num_threads, precision)
    return _attend(face, arrays, settings, return_lse, return_weights)


def na3d(
    query: Array,
    key: Array,
    value: Array,
    kernel_size: Ints,
    stride: Ints = 1,
    dilation: Ints = 1,
    is_causal: Bools = False,
    scale: float | None = None,
    additional_keys: Array | None = None,
    additional_values: Array | None = None,
    return_lse: bool = False,
    *,
    return_weights: bool = False,
    boundary: Names = "clamp",
    bias: Array | None = None,
    key_mask: Array | None = None,
    key_weights: Array | None = None,
    softcap: float = 0.0,
    precision: str = "highest",
    engine: str = "auto",
    isa: str = "auto",
    kernel: str = "auto",
    num_threads: int = 0,
) -> Any:
    """Neighborhood attention over a video or a volume.

    Every token sees the `kernel_size` tokens around it on each axis. Source: Hassani et al., "Faster Neighborhood
    Attention", NeurIPS 2024, and "Generalized Neighborhood Attention", 2025.

    Parameters
    ----------
    query, key, value
        (batch, depth, height, width, heads, head_dim); value and heads as in `attend`.
    kernel_size, stride, dilation, is_causal, boundary
        As in `Neighborhood`: one value, or one for each axis.
    scale, additional_keys, additional_values, return_lse, return_weights, and the other keywords
        As in `attend`.

    Returns
    -------
    out, or (out, logsumexp) if `return_lse`, and the weights last if `return_weights`
        (batch, depth, height, width, heads, head_dim_v) and (batch, depth, height, width, heads), of the query's kind.

    Raises
    ------
    ArgumentError, TypeError
        As `attend` does.

    Examples
    --------
    >>> import numpy
    >>> x = numpy.ones((1, 4, 8, 8, 2, 4), "float32")
    >>> na3d(x, x, x, kernel_size=(3, 5, 5)).shape
    (1, 4, 8, 8, 2, 4)
    """
    arrays = (query, key, value, additional_keys, additional_values, key_mask, key_weights, bias)
    face = face_of(arrays)
    words = _neighborhood(face, query, 3, kernel_size, stride, dilation, is_causal, boundary)
    settings = settings_of(words, scale, softcap, engine, isa, kernel, num_threads, precision)
    return _attend(face, arrays, settings, return_lse, return_weights)


def _neighborhood(
    face: Any,
    query: Any,
    rank: int,
    kernel_size: Ints,
    stride: Ints,
    dilation: Ints,
    is_causal: Bools,
    boundary: Names,
) -> tuple[int, ...]:
    """The words of a call's pattern, for a query whose grid has `rank` axes."""
    if query.ndim != rank + 3:
        raise ArgumentError(
            f"query: shape {tuple(query.shape)}: has {query.ndim} dimensions, na{rank}d takes {rank + 3}: "
            f"(batch, *grid, heads, head_dim)"
        )
    if face.is_tracing():  # whoever traces can't see into a cache
        return neighborhood_words(rank, kernel_size, stride, dilation, is_causal, boundary)
    try:
        return cached_neighborhood_words(rank, kernel_size, stride, dilation, is_causal, boundary)
    except TypeError:  # lists can't be looked up; other wrong types raise again
        return neighborhood_words(rank, kernel_size, stride, dilation, is_causal, boundary)
