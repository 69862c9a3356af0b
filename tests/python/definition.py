"""Neighborhood attention by its definition, in float64 numpy, one query at a time: what the faces are compared with.

Written from the definitions alone: nothing of nearfield is used.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np


class Axis(NamedTuple):
    """One axis of a neighborhood."""

    length: int
    kernel_size: int
    stride: int = 1
    dilation: int = 1
    is_causal: bool = False
    boundary: str = "clamp"


def keys_of(axis: Axis, i: int) -> list[tuple[int, int]]:
    """(key, offset in the bias table) that query i sees, in the order of the window's slots."""
    g, x = i % axis.dilation, i // axis.dilation
    n = math.ceil((axis.length - g) / axis.dilation)
    k, s = axis.kernel_size, axis.stride
    left = k // 2
    right = k - 1 - left
    if axis.is_causal:
        leader = min(s * (x // s) + s - 1, n - 1)
        seen = [(y, y - x) for y in range(max(leader - k + 1, 0), x + 1)]
    else:
        leader = min(s * (x // s) + s // 2, n - 1)
        if axis.boundary == "wrap":
            if k >= n:
                seen = [(y, (y - x + (n - 1) // 2) % n - (n - 1) // 2) for y in range(n)]
            else:
                seen = [(y % n, y - x) for y in range(leader - left, leader + right + 1)]
        elif axis.boundary == "cut":
            seen = [(y, y - x) for y in range(max(leader - left, 0), min(leader + right + 1, n))]
        elif k >= n:
            seen = [(y, y - x) for y in range(n)]
        else:
            start = min(max(leader - left, 0), n - k)
            seen = [(y, y - x) for y in range(start, start + k)]
    return [(y * axis.dilation + g, offset + k - 1) for y, offset in seen]


def attention(
    axes: list[Axis],
    query,
    key,
    value,
    *,
    scale=None,
    bias=None,
    key_mask=None,
    key_weights=None,
    softcap=0.0,
    additional_keys=None,
    additional_values=None,
):
    """out and logsumexp in float64; arrays (batch, *grid, heads, channels)."""
    query, key, value = (np.asarray(each, np.float64) for each in (query, key, value))
    batch, grid, heads, head_dim = query.shape[0], query.shape[1:-2], query.shape[-2], query.shape[-1]
    scale = head_dim**-0.5 if scale is None else scale
    group = heads // key.shape[-2]
    out = np.zeros((*query.shape[:-1], value.shape[-1]))
    logsumexp = np.full(query.shape[:-1], -np.inf)
    if key_weights is not None:
        key_weights = np.broadcast_to(np.asarray(key_weights, np.float64), (batch, *grid))
    windows = [[keys_of(axis, i) for i in range(axis.length)] for axis in axes]
    for b, h, place in itertools.product(range(batch), range(heads), np.ndindex(*grid)):
        logits, values = [], []
        for seen in itertools.product(*(windows[a][i] for a, i in enumerate(place))):
            where = (b, *(y for y, _ in seen))
            if key_mask is not None and not key_mask[where]:
                continue
            weight = 1.0 if key_weights is None else key_weights[where]
            if weight == 0:
                continue
            logit = scale * float(query[(b, *place, h)] @ key[(*where, h // group)])
            logit = softcap * math.tanh(logit / softcap) if softcap else logit
            if bias is not None:
                logit += float(bias[(h, *(offset for _, offset in seen))])
            logits.append(logit + math.log(weight))
            values.append(value[(*where, h // group)])
        for m in range(0 if additional_keys is None else additional_keys.shape[1]):
            logit = scale * float(query[(b, *place, h)] @ np.asarray(additional_keys[b, m, h // group], np.float64))
            logits.append(softcap * math.tanh(logit / softcap) if softcap else logit)
            values.append(np.asarray(additional_values[b, m, h // group], np.float64))
        if not logits:
            continue
        weights = np.exp(np.array(logits) - max(logits))
        out[(b, *place, h)] = weights @ np.array(values) / weights.sum()
        logsumexp[(b, *place, h)] = max(logits) + math.log(weights.sum())
    return out, logsumexp
