"""Continuous extensions: dense output that a Runge-Kutta method has for free.

y(t0 + theta dt) = y0 + dt sum_i b_i(theta) k_i with b_i(theta) = sum_d p_id theta^(d+1) has order q
when sum_i b_i(theta) Phi_i(t) = theta^r/gamma(t) for every tree t of order r <= q, power by power
of theta (Hairer, Norsett and Wanner I, II.6, theorem 6.1). These conditions are linear in p.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from stiffguide.errors import TableauError
from stiffguide.tableaux.exact import Matrix
from stiffguide.tableaux.order import elementary_weights, extra_stages, prove
from stiffguide.tableaux.tableau import Tableau
from stiffguide.tableaux.trees import trees
from stiffguide.tensors import one_thread

RESIDUAL = 1e-11  # a condition that float64 meets no better cannot be met
LARGEST = 50.0  # weights beyond this amplify rounding and the errors of the stages
NEGLIGIBLE = 1e-13
SAME = 1e-9  # an extension that is as near to the cubic Hermite polynomial is that
RIDGES = (1e-3, 1e-1, 10.0)  # prices of large weights against the leading error, tried in turn

Array = NDArray[np.floating[Any]]
System = tuple[Array, Array]  # matrix and right-hand side


class Extension(NamedTuple):
    """`weights[i][d]` multiplies theta^(d+1) k_i: a row per stage, and one for f1 where used."""

    weights: Matrix
    order: int


class Damped(NamedTuple):
    """An extension whose part beside the cubic Hermite polynomial goes through a filter.

    `weights[i][d]` multiplies theta^(d+1) times k_i, and behind the stages theta^(d+1) times what
    the filter makes of sum_i filters[r][i] k_i: a row for each r.
    """

    weights: Matrix
    filters: Matrix
    order: int


@lru_cache(maxsize=128)
def continuous_extension(tableau: Tableau) -> Extension:
    """The `dense` of the tableau, proved; else the extension of highest order that can be derived.

    The row of f1 is left out where f1 is a stage or not needed. An extension is C1 where f0 and f1
    are both at hand and this costs no order. A method whose first stage is not f0 uses its stages
    (and f1), but not f0: a stiff problem multiplies the error of y0 by dt lambda in f0.

    Raises TableauError where there is none whose weights are small enough to be of use.
    """
    if tableau.dense is not None and tableau.dense_order is not None:
        prove(tableau)
        return Extension(tableau.dense, tableau.dense_order)
    for order in range(tableau.order, 0, -1):
        for rows, smooth, degree in _shapes(tableau, order):
            # matrices of 100 rows: threads that wait for each other take a hundred times as long
            with one_thread():
                weights = _derive(tableau, order, rows, degree, smooth)
            if weights is not None:
                return Extension(weights, order)
    raise TableauError(f"{tableau.name}: no continuous extension with weights below {LARGEST:g}")


@lru_cache(maxsize=128)
def damped_extension(tableau: Tableau) -> Damped:
    """The extension of a method that begins at f0 and ends in f1 by implicit stages.

    What an extension has beside the cubic Hermite polynomial, for a higher order, is made of inner
    stages: of fast modes these show their own low order, and it may be off by hundreds of
    tolerances. It is of the size of the error of that polynomial, dt^4, so that
    (I - dt gamma J)^-1 damps the fast modes in it and leaves the order alone.
    """
    weights, order = continuous_extension(tableau)
    if tableau.gamma is None or not (tableau.fsal and tableau.explicit_first_stage):
        return Damped(weights, (), order)
    hermite = _hermite(tableau, max(len(weights[0]), 3))
    if _stiff_error(tableau, hermite) > _stiff_error(tableau, weights):
        return Damped(weights, (), order)
    wide = [row + (Fraction(0),) * (len(hermite[0]) - len(row)) for row in weights]
    beside = [
        [x - y for x, y in zip(one, other, strict=True)]
        for one, other in zip(zip(*wide, strict=True), zip(*hermite, strict=True), strict=True)
    ]
    shares, filters = _factors(beside)
    return Damped(hermite + shares, filters, order)


def _hermite(tableau: Tableau, degree: int) -> Matrix:
    """The cubic Hermite polynomial of a method whose first stage is f0 and whose last is f1."""
    found = []
    for i, b in enumerate(tableau.b):
        first, last = Fraction(int(i == 0)), Fraction(int(i == tableau.stages - 1))
        row = (first, 3 * b - 2 * first - last, first + last - 2 * b)
        found.append(row + (Fraction(0),) * (degree - 3))
    return tuple(found)


def _stiff_error(tableau: Tableau, weights: Matrix) -> float:
    """The largest error on t^3 where f holds the stages to it, as an infinitely fast mode does.

    So do Prothero and Robinson's problem, and the algebraic part of a system of index 1.
    """
    k: list[Fraction] = []
    for i, (row, c) in enumerate(zip(tableau.a, tableau.c, strict=True)):
        gap = c**3 - sum((a * x for a, x in zip(row, k, strict=False)), Fraction(0))
        k.append(gap / row[i] if row[i] else Fraction(0))  # f0 is the derivative at 0
    theta = np.linspace(0, 1, 21)
    powers = theta[:, None] ** np.arange(1, len(weights[0]) + 1)
    found = powers @ np.array(weights, dtype=float).T @ np.array(k, dtype=float)
    return float(abs(found - theta**3).max())


def _factors(matrix: list[list[Fraction]]) -> tuple[Matrix, Matrix]:
    """(columns, rows), few of them, such that the matrix is the sum of their products."""
    columns: list[tuple[Fraction, ...]] = []
    rows: list[tuple[Fraction, ...]] = []
    while True:
        size, d, i = max((abs(x), d, i) for d, row in enumerate(matrix) for i, x in enumerate(row))
        if size < SAME:
            return tuple(columns), tuple(rows)
        pivot = matrix[d]
        column = tuple(row[i] / pivot[i] for row in matrix)
        columns.append(column)
        rows.append(tuple(pivot))
        matrix = [
            [x - share * p for x, p in zip(row, pivot, strict=True)]
            for share, row in zip(column, matrix, strict=True)
        ]


def _shapes(tableau: Tableau, order: int) -> Iterator[tuple[int, bool, int]]:
    """(rows, smooth, degree) to try for an order: C1 first, then few rows and low degrees."""
    most = tableau.stages + len(extra_stages(tableau))
    if tableau.explicit_first_stage:
        yield from ((most, True, max(degree, 3)) for degree in (order, order + 1))
    for rows, degree in product(range(tableau.stages, most + 1), (order, order + 1)):
        yield rows, False, degree


def _derive(tableau: Tableau, order: int, rows: int, degree: int, smooth: bool) -> Matrix | None:
    """Weights of an order, with the least leading error among those of moderate size."""
    due = [_conditions(tableau, range(1, order + 1), rows, degree), _end(tableau, rows, degree)]
    if smooth:
        due.append(_slopes(rows, degree))
    wanted = _conditions(tableau, range(order + 1, order + 2), rows, degree)
    for solution in _constrained(_stack(due), wanted):
        if abs(solution).max() <= LARGEST:
            return tuple(tuple(map(Fraction, row)) for row in solution.reshape(rows, -1).tolist())
    return None


def _conditions(tableau: Tableau, orders: range, rows: int, degree: int) -> System:
    """Continuous conditions of all trees of these orders, as few rows with the same residual."""
    phi = np.concatenate([_phi(tableau, order)[:, :rows] for order in orders])
    right: Array = np.zeros((len(phi), degree))
    trees_of_all = [tree for order in orders for tree in trees(order)]
    for line, tree in zip(right, trees_of_all, strict=True):
        if tree.order <= degree:
            line[tree.order - 1] = 1 / tree.density
    triangle: Array = np.linalg.qr(np.concatenate((phi, right), axis=1))[1]
    matrix: Array = np.kron(triangle[:, :rows], np.eye(degree))
    return matrix, triangle[:, rows:].ravel()


@lru_cache(maxsize=32)
def _phi(tableau: Tableau, order: int) -> Array:
    """Phi_i(t), one line for each tree."""
    found = elementary_weights(tableau, order)
    return np.array([[float(x) for x in row] for row in found.values()])


def _end(tableau: Tableau, rows: int, degree: int) -> System:
    """b_i(1) = b_i: the extension ends in y1."""
    ends = [float(x) for x in (*tableau.b, Fraction(0))[:rows]]
    matrix: Array = np.kron(np.eye(rows), np.ones(degree))
    return matrix, np.array(ends)


def _slopes(rows: int, degree: int) -> System:
    """b_i'(0) and b_i'(1): the slope is f0, the first row, at 0 and f1, the last row, at 1."""
    first, last = np.eye(rows)[0], np.eye(rows)[-1]
    at_0 = np.kron(np.eye(rows), np.eye(degree)[0])
    at_1 = np.kron(np.eye(rows), np.arange(1.0, degree + 1))
    return _stack([(at_0, first), (at_1, last)])


def _constrained(due: System, wanted: System) -> Iterator[Array]:
    """Least squares of `wanted` and of size, among the solutions of `due` if there are any."""
    matrix, right = due
    u, s, vt = (part.numpy() for part in torch.linalg.svd(torch.from_numpy(matrix)))
    rank = int((s > 1e-10 * s[0]).sum())
    inverse: Array = (vt[:rank].T / s[:rank]) @ u[:, :rank].T
    least, free = inverse @ right, vt[rank:].T
    if abs(matrix @ least - right).max() > RESIDUAL:
        return
    for ridge in RIDGES:
        goal = np.concatenate((wanted[0], ridge * np.eye(len(least))))
        gap = np.concatenate((wanted[1], np.zeros(len(least)))) - goal @ least
        part = torch.linalg.lstsq(torch.from_numpy(goal @ free), torch.from_numpy(gap[:, None]))
        solution: Array = least + free @ part.solution[:, 0].numpy()
        solution += inverse @ (right - matrix @ solution)
        solution[abs(solution) < NEGLIGIBLE] = 0.0
        yield solution


def _stack(systems: list[System]) -> System:
    matrices, sides = zip(*systems, strict=True)
    return np.concatenate(matrices), np.concatenate(sides)
