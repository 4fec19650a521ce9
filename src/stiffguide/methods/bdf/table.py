"""Tables of backward differences: polynomials of each row's own order, as arrays of numpy.

A table (B, 8, F) holds nabla^j y(t) at one spacing h per row: those up to the order k of the row
are its polynomial, and the two beyond tell how good other orders would be. On small vectors numpy
is several times as fast as torch, which shares its memory. Rows are worked on by order; each of
them goes through the same products whatever rows are beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stiffguide.catalogue.backward_differences import ERROR, GAMMA, LEADING, ORDERS, before
from stiffguide.tableaux.exact import floats

Array = NDArray[Any]
Where = slice | Array  # of rows

DIFFERENCES = ORDERS[-1] + 3
LEADING_OF = np.array(floats(LEADING))
ERROR_OF = np.array(floats(ERROR))


def by_order(order: Array, among: Array | None = None) -> Iterator[tuple[int, Where]]:
    """Each order that occurs in the rows `among` (B,) bool, and its rows."""
    if len(order) == 1 or (among is None and (order == order[0]).all()):
        if among is None or among.any():
            yield int(order[0]), slice(None)
        return
    for k in np.unique(order if among is None else order[among]):
        rows = order == k
        yield int(k), np.flatnonzero(rows if among is None else rows & among)


def by_row(values: Array, like: Array) -> Array:
    """Numbers (B,) beside an array (B, F), in its precision."""
    return values[:, None].astype(like.dtype)


def of_order(table: Array, order: Array) -> Array:
    """The differences (B, F) of these orders (B,)."""
    found: Array = table[np.arange(len(order)), order] if len(order) > 1 else table[:, order[0]]
    return found


def begun(y0: Array, rise: Array) -> Array:
    """The table of order 1 whose polynomial is y0 + theta rise."""
    table = np.zeros((len(y0), DIFFERENCES, y0.shape[1]), y0.dtype)
    table[:, 0], table[:, 1] = y0, rise
    return table


def rescaled(table: Array, order: Array, stretch: Array, among: Array) -> Array:
    """The same polynomials at `stretch` (B,) times the spacing, in the rows `among`."""
    if not among.any():
        return table
    made = np.empty_like(table) if among.all() else table.copy()
    for k, rows in by_order(order, among):
        change = _change(k, stretch[rows]).astype(table.dtype)
        made[rows, : k + 1] = change @ table[rows, : k + 1]
        power = (stretch[rows] ** (k + 1))[:, None].astype(table.dtype)
        made[rows, k + 1] = table[rows, k + 1] * power  # which is not of the polynomial
    return made


def moved(table: Array, order: int, theta: Array, rise: Array) -> Array:
    """The table of polynomials of one order `rise` (M, F) above those of `table`, at t + theta h.

    Between the new value and those that the old polynomial has at the spacing before.
    """
    shares = np.ones((len(theta), order + 1))
    for i in range(1, order + 1):
        shares[:, i] = shares[:, i - 1] * (theta + i - 1) / i
    shift = np.zeros((len(theta), order + 1, order + 1))
    for j in range(order + 1):
        shift[:, j, j:] = shares[:, : order + 1 - j]
    made = np.zeros_like(table)
    made[:, : order + 1] = shift.astype(table.dtype) @ table[:, : order + 1] + rise[:, None]
    return made


def predicted(table: Array, order: Array) -> tuple[Array, Array]:
    """The polynomials one spacing on, and the weighted differences that the formula asks for.

    The latter divided by its leading coefficient (B, F).
    """
    ahead = np.empty((len(table), 2, table.shape[2]), table.dtype)
    for k, rows in by_order(order):
        ahead[rows] = _ahead(k, table.dtype) @ table[rows, : k + 1]
    return ahead[:, 0], ahead[:, 1]


def summed(table: Array, order: Array) -> Array:
    """The polynomials one spacing on (B, F), of any order from 0."""
    ahead = np.empty_like(table[:, 0])
    for k, rows in by_order(order):
        ahead[rows] = table[rows, : k + 1].sum(1)
    return ahead


def advanced(table: Array, order: Array, rise: Array) -> Array:
    """The tables one spacing on, where y is `rise` (B, F) above the prediction."""
    made = np.empty_like(table)
    for k, rows in by_order(order):
        old, up = table[rows], rise[rows]
        new = made[rows] if isinstance(rows, slice) else np.empty_like(old)
        np.subtract(up, old[:, k + 1], out=new[:, k + 2])
        new[:, k + 1] = up
        for j in range(k, -1, -1):
            np.add(old[:, j], new[:, j + 1], out=new[:, j])
        new[:, k + 3 :] = 0
        if not isinstance(rows, slice):
            made[rows] = new
    return made


def along(table: Array, order: Array) -> Array:
    """Coefficients (D, B, F) by powers of theta from 1, of polynomials from t - h to t."""
    made = np.zeros((ORDERS[-1], len(table), table.shape[2]), table.dtype)
    for k, rows in by_order(order):
        powers = np.array([(*floats(before(i)[1:]), *[0.0] * (k - i)) for i in range(1, k + 1)])
        found = powers.T.astype(table.dtype) @ table[rows, 1 : k + 1]
        made[:k, rows] = found.swapaxes(0, 1)
    return made


@lru_cache
def _ahead(k: int, dtype: Any) -> Array:
    """(2, k + 1): by ones, and by gamma_j over the leading coefficient."""
    weights = [[1.0] * (k + 1), [float(g / LEADING[k]) for g in GAMMA[: k + 1]]]
    return np.array(weights, dtype)


@lru_cache
def _differencing(k: int) -> Array:
    """nabla^j of values 0, 1, ..., k spacings back, (k + 1, k + 1)."""
    return np.array([[(-1.0) ** m * comb(j, m) for m in range(k + 1)] for j in range(k + 1)])


def _change(k: int, stretch: Array) -> Array:
    """Of each row (M,), the matrix (M, k + 1, k + 1) that changes the spacing."""
    back = -stretch[:, None] * np.arange(k + 1)
    values = np.ones((len(stretch), k + 1, k + 1))  # of b_i, that many spacings back
    for i in range(1, k + 1):
        values[:, :, i] = values[:, :, i - 1] * (back + (i - 1)) / i
    changed: Array = _differencing(k) @ values
    return changed
