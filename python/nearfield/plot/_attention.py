"""The attention weights of one query, which the engines never store: computed again for it alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nearfield._errors import ArgumentError
from nearfield._values import integer
from nearfield.explain import explain
from nearfield.functional import grid_rank
from nearfield.geometry import windows
from nearfield.patterns import Ints, Pattern, SpherePattern
from nearfield.plot import _canvas
from nearfield.plot._window import refuse_key_grid, token_name

Array = NDArray[np.float64]


def attention_weights(
    pattern: Pattern,
    query: Any,
    key: Any,
    query_index: Ints,
    *,
    batch: int = 0,
    head: int = 0,
    scale: float | None = None,
    bias: Any = None,
    key_mask: Any = None,
    key_weights: Any = None,
    softcap: float = 0.0,
    additional_keys: Any = None,
) -> tuple[Array, Array]:
    """The weights of one query's keys, in float64: by the definition, not by the engine.

    Parameters
    ----------
    pattern, query, key, and the modifiers
        As in `attend`.
    query_index
        Coordinates of the query on the grid.
    batch, head
        Which batch and which head of the query.

    Returns
    -------
    weights, additional
        (*grid), of the keys, NaN where the query does not look, and (M,), the weights of `additional_keys`. What is not NaN sums
        up to 1, or to 0 where every key is masked.

    Raises
    ------
    ArgumentError
        The grid has no such query, the batch no such head, or shapes do not agree.

    Examples
    --------
    >>> import numpy, nearfield, nearfield.plot
    >>> x = numpy.ones((1, 6, 1, 4))
    >>> nearfield.plot.attention_weights(nearfield.Neighborhood(4), x, x, 3)[0]
    array([ nan, 0.25, 0.25, 0.25, 0.25,  nan])
    """
    # All that attend would refuse.
    given = {"scale": scale, "bias": bias, "key_mask": key_mask, "key_weights": key_weights, "softcap": softcap}
    explain(pattern, query, key, key, **given, additional_keys=additional_keys, additional_values=additional_keys)
    grid = tuple(int(each) for each in query.shape[1 : 1 + grid_rank(query)])
    token = _canvas.coordinates("query_index", query_index, grid)
    _check("batch", batch, query.shape[0], "the batch of query")
    _check("head", head, query.shape[-2], "the heads of query")
    kv_head = head * key.shape[-2] // query.shape[-2]
    number = int(np.ravel_multi_index(token, grid))
    keys, bias_index = (each[0] for each in windows(pattern, grid, number, 1))
    keys, bias_index = keys[keys >= 0], bias_index[keys >= 0]

    q = _float64(query[(batch, *token, head)])
    scale = 1 / np.sqrt(len(q)) if scale is None else float(scale)
    logits = _capped(scale * (_float64(key[batch][..., kv_head, :]).reshape(-1, len(q))[keys] @ q), softcap)
    if bias is not None:
        logits += _float64(bias[head]).reshape(-1)[bias_index]
    factors = np.ones(len(keys))
    if key_weights is not None:
        factors *= _float64(key_weights if len(key_weights.shape) == len(grid) else key_weights[batch]).reshape(-1)[
            keys
        ]
    if key_mask is not None:
        factors *= _float64(key_mask[batch]).reshape(-1)[keys]
    if isinstance(pattern, SpherePattern):
        factors *= pattern.key_grid.area_weights[keys // pattern.key_grid.nlon]
    more: NDArray[np.float64] = np.zeros(0)
    if additional_keys is not None:
        more = _capped(scale * (_float64(additional_keys[batch][..., kv_head, :]) @ q), softcap)

    chances = _softmax(np.concatenate((logits, more)), np.concatenate((factors, np.ones(len(more)))))
    weights = np.full(tuple(key.shape[1 : 1 + len(grid)]), np.nan)
    weights.reshape(-1)[keys] = chances[: len(keys)]
    return weights, chances[len(keys) :]


def attention(
    pattern: Pattern,
    query: Any,
    key: Any,
    query_index: Ints,
    *,
    batch: int = 0,
    head: int = 0,
    axes: Axes | None = None,
    title: str | None = None,
    **modifiers: Any,
) -> Figure:
    """Draws how much of each key goes into a query's result.

    Parameters
    ----------
    pattern, query, key, query_index, batch, head
        As in `attention_weights`; torch, numpy or JAX arrays.
    axes
        Where to draw; None makes a figure.
    title
        None names the query and, with additional keys, their share.
    **modifiers
        scale, bias, key_mask, key_weights, softcap and additional_keys as in `attend`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ArgumentError
        As `attention_weights` does.

    Examples
    --------
    >>> import numpy, nearfield, nearfield.plot
    >>> x = numpy.random.default_rng(0).normal(size=(1, 8, 8, 2, 4))
    >>> figure = nearfield.plot.attention(nearfield.Neighborhood(5), x, x, (1, 6), head=1)
    """
    refuse_key_grid(pattern, "sphere_attention")
    weights, more = attention_weights(pattern, query, key, query_index, batch=batch, head=head, **modifiers)
    token = _canvas.coordinates("query_index", query_index, weights.shape)
    seen = ~np.isnan(weights)
    sheet = _canvas.Sheet(axes, weights.shape, seen, 2.0 if weights.ndim == 1 else 1.0)
    sheet.cells(np.ones(weights.shape, bool), _canvas.OTHER)
    shown = sheet.values(weights, cmap="viridis", vmin=0, vmax=top_of(weights))
    sheet.mark(token)
    sheet.finish()
    text = f"weights of query {token_name(token)}, head {head}"
    if len(more):
        text += f"; additional keys have {more.sum():.1%}"
    sheet.axes.set_title(text if title is None else title, fontsize="medium")
    if shown is not None:
        place = "bottom" if weights.ndim == 1 else "right"
        sheet.figure.colorbar(
            shown, ax=sheet.axes, label="weight", location=place, shrink=0.8, aspect=60 if weights.ndim == 1 else 20
        )
    return sheet.figure


def top_of(weights: Array) -> float:
    """The largest weight; 1 where there is none."""
    most = float(np.nanmax(weights, initial=0.0))
    return most if most > 0 else 1.0


def _check(name: str, value: int, length: int, what: str) -> None:
    if not 0 <= integer(name, value) < length:
        raise ArgumentError(f"{name}={value}: must be at least 0 and below {length}, {what}")


def _float64(array: Any) -> Array:
    if hasattr(array, "detach"):  # torch, whose bfloat16 numpy does not know
        array = array.detach().cpu().double().numpy()
    return np.array(array, np.float64)


def _capped(logits: Array, softcap: float) -> Array:
    return softcap * np.tanh(logits / softcap) if softcap else logits


def _softmax(logits: Array, factors: Array) -> Array:
    """factors * exp(logits) / their sum, and 0 where that is 0; a factor of 0 hides whatever logit it has."""
    used = factors > 0
    result = np.zeros_like(logits)
    if used.any():
        exponentials = factors[used] * np.exp(logits[used] - logits[used].max())
        result[used] = exponentials / exponentials.sum()
    return result
