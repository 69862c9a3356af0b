"""Attention on JAX arrays: traced, differentiated, mapped and compiled like any function of JAX.

`nearfield.attend` and `nearfield.na1d`, `na2d` and `na3d` take JAX arrays, too, and end up here; so do `nearfield.qk` and
`nearfield.av`, of which all below is as true.

What JAX's transformations do
    jit, scan, checkpoint, pmap, shard_map
        One call of the library for each attention and device. Sharded arrays outside of shard_map are gathered first,
        as XLA does for every call that it can't look into.
    grad, value_and_grad, vjp
        Reverse mode, with respect to every floating-point argument; only the gradients that are asked for are
        computed. The backward pass recomputes the probabilities from `logsumexp`, so that forward keeps its arguments
        and results, and nothing of size tokens x window. Forward mode and second derivatives are JAX's own errors.
    vmap
        One call over a larger batch if every argument with a batch is mapped, or has a batch of 1, and no other is
        mapped; gradients of `bias` and of `key_weights` without a batch count as mapped. Otherwise a call for each
        element, inside of the one custom call. Results are the same bits either way. Mapped axes may be nested.
    platforms
        The CPU. On any other the compiled program fails with an error that says so.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from nearfield import functional
from nearfield._faces import JAX, check_kind
from nearfield.patterns import Pattern

__all__ = ["attend"]


def attend(
    pattern: Pattern,
    query: Any,
    key: Any,
    value: Any,
    *,
    scale: float | None = None,
    bias: Any = None,
    key_mask: Any = None,
    key_weights: Any = None,
    softcap: float = 0.0,
    additional_keys: Any = None,
    additional_values: Any = None,
    return_lse: bool = False,
    return_weights: bool = False,
    precision: str = "highest",
    engine: str = "auto",
    isa: str = "auto",
    kernel: str = "auto",
    num_threads: int = 0,
) -> Any:
    """Attention in which every token sees the keys that a pattern gives it, on JAX or numpy arrays.

    out[i] = sum over j in N(i) of p_ij value[j], with p_ij = softmax over j in N(i) of
    softcap(scale query[i].key[j]) + bias[j - i] + log key_weights[j].

    Parameters
    ----------
    pattern
        Which keys a query sees, e.g. ``Neighborhood(7)`` or ``HilbertWindow(8)``.
    query, key, value
        (batch, *grid, heads, head_dim), (batch, *grid, heads_kv, head_dim) and (batch, *grid, heads_kv, head_dim_v),
        with a grid of 1 to 3 axes, on the sphere one for query and one for keys; heads_kv divides heads. float32, bfloat16, float16, or float64 where JAX has it
        enabled.
    scale
        Factor of the logits, no traced value; None is 1/sqrt(head_dim), 0 is allowed.
    bias
        Relative position bias (heads, 2*kernel_size-1 per axis), entry key - query + kernel_size - 1 on each axis; in
        place of kernel_size a window's size, or what `bias_extents` says of a curve on this grid. Not on the sphere.
        float32 (float64 with float64) or of the query's dtype.
    key_mask
        (batch, *grid) bool: True where the key takes part. A query that sees no key has out 0 and logsumexp -inf.
    key_weights
        (*grid) or (batch, *grid), at least 0: weight w adds log(w) to the logit, 0 masks. dtype as for bias.
    softcap
        c > 0: logits become c*tanh(logit/c), before bias and weights are added; no traced value. 0: not.
    additional_keys, additional_values
        (batch, M, heads_kv, head_dim) and (batch, M, heads_kv, head_dim_v): tokens that every query sees in the same
        softmax, never masked.
    return_lse
        Whether to return the logsumexp of the logits, too. It is differentiable.
    return_weights
        Whether to return the weights, too, as `nearfield.attend` does.
    precision, engine, isa, kernel
        As in `nearfield.attend`.
    num_threads
        0: NEARFIELD_NUM_THREADS or the number of cores.

    Returns
    -------
    out, or (out, logsumexp) if `return_lse`, and the weights last if `return_weights`
        (batch, *grid, heads, head_dim_v) of the query's dtype, and (batch, *grid, heads), float32 (float64 for
        float64): natural logarithms.

    Raises
    ------
    ArgumentError
        (a ValueError) An argument breaks a rule; the message names it, its value and the rule. Raised while JAX traces.
    TypeError
        An argument is of a type or dtype that can't be taken.
    jax.errors.JaxRuntimeError
        What only values tell, with the library's message: a negative weight.
    LibraryError
        nearfield was built without its handlers for JAX.

    References
    ----------
    .. [1] Hassani et al., "Faster Neighborhood Attention", NeurIPS 2024: the fused operation and its gradients.

    Examples
    --------
    >>> import jax, nearfield.jax
    >>> x = jax.numpy.ones((1, 8, 8, 2, 4))
    >>> pattern = nearfield.Neighborhood(3, boundary=("clamp", "wrap"))
    >>> jax.jit(lambda x: nearfield.jax.attend(pattern, x, x, x))(x).shape
    (1, 8, 8, 2, 4)
    """
    check_kind(JAX, (query,), ("query",))
    return functional.attend(
        pattern,
        jnp.asarray(query),
        key,
        value,
        scale=scale,
        bias=bias,
        key_mask=key_mask,
        key_weights=key_weights,
        softcap=softcap,
        additional_keys=additional_keys,
        additional_values=additional_values,
        return_lse=return_lse,
        return_weights=return_weights,
        precision=precision,
        engine=engine,
        isa=isa,
        kernel=kernel,
        num_threads=num_threads,
    )
