"""Patterns along a curve by their definition, beside definition.py: literal, for small grids, and without nearfield.

The Hilbert curve itself is given as a permutation; test_orders.py tells whether it is one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import definition

Token = tuple[int, ...]


def morton(grid: Sequence[int]) -> list[Token]:
    """Tokens by the interleaved bits of their coordinates, the first axis's foremost."""
    bits = max([*grid, 1]).bit_length()

    def code(token: Token) -> int:
        found = 0
        for bit in reversed(range(bits)):
            for x in token:
                found = 2 * found + (x >> bit & 1)
        return found

    return sorted(row_major(grid), key=code)


def serpentine(grid: Sequence[int]) -> list[Token]:
    """Lines to and fro, and planes of lines, too: each begins beside the end of the one before it."""
    if not grid:
        return [()]
    inner = serpentine(grid[1:])
    return [(x, *rest) for x in range(grid[0]) for rest in (inner[::-1] if x % 2 else inner)]


def row_major(grid: Sequence[int]) -> list[Token]:
    return list(itertools.product(*map(range, grid)))


class Curve:
    """What queries see along an order. `tokens` are coordinates, position after position."""

    def __init__(
        self,
        tokens: Sequence[Token],
        form: str,
        size: int,
        shift: int = 0,
        stride: int = 1,
        dilation: int = 1,
        is_causal: bool = False,
    ) -> None:
        """form: "window", "slide" or "neighborhood"; size: tokens of a run, or of a window."""
        self.form, self.size, self.shift, self.stride = form, size, shift, stride
        self.dilation, self.is_causal = dilation, is_causal
        self.seen = {
            token: [tokens[q] for q in self._positions(len(tokens), p)] for p, token in enumerate(map(tuple, tokens))
        }
        rank = len(tokens[0]) if len(tokens) else 0
        self.extents = [
            1 + max(abs(key[axis] - token[axis]) for token, keys in self.seen.items() for key in keys)
            for axis in range(rank)
        ]

    def sights(self, token: Token) -> list[tuple[Token, Token]]:
        """(key, place in the bias table) that this query sees."""
        found = []
        for key in self.seen[tuple(token)]:
            place = tuple(y - x + e - 1 for x, y, e in zip(token, key, self.extents, strict=True))
            found.append((tuple(key), place))
        return found

    def _positions(self, length: int, p: int) -> list[int]:
        """The positions that position p sees."""
        if self.form == "neighborhood":
            axis = definition.Axis(length, self.size, self.stride, self.dilation, self.is_causal, "clamp")
            return [y for y, _ in definition.keys_of(axis, p)]
        g, x = p % self.dilation, p // self.dilation
        n = len(range(g, length, self.dilation))  # of the class that leaves the same rest
        if self.form == "window":
            seen = [y for y in range(n) if (y + self.shift) // self.size == (x + self.shift) // self.size]
            seen = [y for y in seen if y <= x or not self.is_causal]
        else:
            half, group = self.size // 2, x // self.stride * self.stride
            if self.is_causal:
                leader = min(group + self.stride - 1, n - 1)
                seen = [y for y in range(n) if leader - 2 * half <= y <= x]
            else:
                leader = min(group + self.stride // 2, n - 1)
                seen = [y for y in range(n) if abs(y - leader) <= half]
        return [y * self.dilation + g for y in seen]
