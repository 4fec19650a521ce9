"""Gaussian elimination of a sparse matrix, planned once: order of pivots, fill-in, operations.

Pivots are taken from the diagonal, cheapest first (Markowitz). W = I/(dt gamma) - J mostly allows
that; where it does not, the kernel sees it by the growth of the entries and pivots for itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Place = tuple[int, int]


@dataclass(frozen=True)
class Elimination:
    """How to factorise a matrix with a certain pattern; a slot is a place in a list of entries."""

    size: int
    slots: dict[Place, int]  # of L (below), the inverse pivots, and U (beyond), fill-in included
    original: frozenset[Place]  # what is not fill-in
    order: tuple[int, ...]  # of the pivots

    @property
    def operations(self) -> int:
        """Products of a factorisation."""
        return sum(len(self.below(k)) * (1 + len(self.beyond(k))) for k in self.order)

    def _rank(self) -> dict[int, int]:
        return {k: place for place, k in enumerate(self.order)}

    def below(self, k: int) -> list[int]:
        """Rows i that pivot k is subtracted from."""
        rank = self._rank()
        return [i for i in self.order if (i, k) in self.slots and rank[i] > rank[k]]

    def beyond(self, k: int) -> list[int]:
        """Columns j of row k that are eliminated later."""
        rank = self._rank()
        return [j for j in self.order if (k, j) in self.slots and rank[j] > rank[k]]


def plan(size: int, pattern: Iterable[Place]) -> Elimination:
    """Plan the elimination of a matrix with entries at `pattern` and on the diagonal."""
    entries = set(pattern) | {(i, i) for i in range(size)}
    original = frozenset(entries)
    rows = {i: {j for a, j in entries if a == i} for i in range(size)}
    columns = {j: {i for i, b in entries if b == j} for j in range(size)}
    left, order = set(range(size)), []
    while left:
        k = min(left, key=lambda k: ((len(rows[k]) - 1) * (len(columns[k]) - 1), k))
        order.append(k)
        left.remove(k)
        below = [i for i in columns[k] if i != k]
        beyond = [j for j in rows[k] if j != k]
        for i in below:
            rows[i].discard(k)
            for j in beyond:
                rows[i].add(j)
                columns[j].add(i)
                entries.add((i, j))
        for j in beyond:
            columns[j].discard(k)
    rank = {k: place for place, k in enumerate(order)}
    # row by row in the order of elimination: what is used together lies together
    ordered = sorted(entries, key=lambda e: (rank[e[0]], rank[e[1]]))
    slots = {place: number for number, place in enumerate(ordered)}
    return Elimination(size, slots, original, tuple(order))
