"""Columns that share no row, in groups: one difference finds all columns of a group.

Curtis, Powell and Reid, J. Inst. Math. Appl. 13 (1974). On a grid the columns whose numbers leave
the same remainder are such groups, and few of them; elsewhere columns are taken one by one, each
into the first group that none of its rows is in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stiffguide.algebra.pattern import Pattern

Groups = NDArray[np.int64]

TRIED = 2.0  # times the fullest row: as many groups by remainders as are worth looking at,
TURNS = 64  # in no more attempts than this
WIDE = 16  # places an entry: up to there they are counted in a table of all places


def full_rows(pattern: Pattern, price: int) -> Groups:
    """Rows (M,) so full that they are cheaper one by one, at a price of so many columns each.

    There are as many groups as entries in the fullest row: one that everything enters, such as a
    mean or a total, leaves none but single columns.
    """
    counts = np.bincount(pattern.rows, minlength=pattern.n)
    falling = np.argsort(-counts, kind="stable")
    most = counts[falling]
    return falling[: int(np.argmin(price * np.arange(pattern.n) + most))]


def colours(pattern: Pattern) -> Groups:
    """The group (n,) of every column, from 0; no two columns of one group have a row in common."""
    fullest = int(np.bincount(pattern.rows, minlength=pattern.n).max(initial=1))
    by_number = np.arange(pattern.n)
    most = min(int(TRIED * fullest), fullest + TURNS, pattern.n)
    for many in range(fullest, most + 1):
        if _apart(pattern, many):
            return by_number % many
    found = _greedy(pattern, by_number)
    if found.max(initial=0) + 1 > fullest + fullest // 4:  # hubs go first where that saves groups
        other = _greedy(pattern, np.argsort(-np.diff(pattern.indptr), kind="stable"))
        found = other if other.max() < found.max() else found
    return found


def _apart(pattern: Pattern, many: int) -> bool:
    """Whether columns of one remainder by `many` never meet in a row."""
    meetings = pattern.rows * many + pattern.columns % many
    if pattern.n * many > WIDE * pattern.nnz:  # a full row makes many groups, and a large table
        return len(np.unique(meetings)) == pattern.nnz
    return int(np.bincount(meetings).max(initial=0)) <= 1


def _greedy(pattern: Pattern, order: Groups) -> Groups:
    """Groups of columns, taken in this order."""
    indptr, rows = pattern.indptr.tolist(), pattern.rows.tolist()
    met = [0] * pattern.n  # the groups that a row is in, as the bits of a number
    group = np.zeros(pattern.n, dtype=np.int64)
    for j in order.tolist():
        mine = rows[indptr[j] : indptr[j + 1]]
        taken = 0
        for i in mine:
            taken |= met[i]
        first = ~taken & (taken + 1)  # the lowest bit that is not set
        for i in mine:
            met[i] |= first
        group[j] = first.bit_length() - 1
    return group
