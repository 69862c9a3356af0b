"""Offsets of packed sequences, for `attention`."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfield._errors import ArgumentError
from nearfield._values import shown


def generate_varlen_parameters(
    query: Tensor, key: Tensor, value: Tensor, seqlens_Q: Tensor | None = None, seqlens_KV: Tensor | None = None
) -> tuple[Tensor | None, Tensor | None, int, int]:
    """cumulative_seqlen_Q, cumulative_seqlen_KV, max_seqlen_Q and max_seqlen_KV of `attention`.

    Parameters
    ----------
    query, key, value
        (1, tokens, heads, channels); not read.
    seqlens_Q, seqlens_KV
        (sequences) integers: lengths; or both None.

    Returns
    -------
    tuple
        Offsets (sequences + 1) in int32 and largest lengths; None, None, 0, 0 without lengths.
    """
    if seqlens_Q is None and seqlens_KV is None:
        return None, None, 0, 0
    if seqlens_Q is None or seqlens_KV is None:
        raise ArgumentError("seqlens_Q, seqlens_KV: must both be given, or neither")
    offsets, largest = [], []
    for name, lengths in (("seqlens_Q", seqlens_Q), ("seqlens_KV", seqlens_KV)):
        if not isinstance(lengths, Tensor) or lengths.dim() != 1 or lengths.is_floating_point() or not lengths.numel():
            raise ArgumentError(f"{name}={shown(lengths)}: must be a tensor of integers with one dimension")
        offsets.append(torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).to(torch.int32))
        largest.append(int(lengths.max()))
    return offsets[0], offsets[1], largest[0], largest[1]
