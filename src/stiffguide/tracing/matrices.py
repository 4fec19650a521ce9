"""Products of matrices and small linear systems over arrays of node numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stiffguide.graphs.graph import Graph
from stiffguide.graphs.scalars import Scalar, array, sum_of, total

Numbers = list[list[int]]
Rows = list[list[Scalar]]


def matmul(graph: Graph, a: Tensor, b: Tensor) -> Tensor:
    """(..., I, K) times (..., K, J); products with a constant 0 leave no trace."""
    left, right = a.tolist(), b.mT.tolist()
    pages: list[Any]
    if a.ndim == 3:
        pages = [products(graph, m, n) for m, n in zip(left, right, strict=True)]
    else:
        pages = products(graph, left, right)
    shape = (*a.shape[:-1], b.shape[-1])
    return array(pages, shape)


def products(graph: Graph, rows: Numbers, columns: Numbers) -> Numbers:
    """The sum of products of every row with every column."""
    add = graph.add
    return [
        [sum_of(graph, [add("mul", x, y) for x, y in zip(r, c, strict=True)]) for c in columns]
        for r in rows
    ]


def _eliminate(rows: Rows) -> Scalar:
    """Bring the first columns to upper triangular form; 1 or -1 for the exchanges of rows.

    The larger pivot is found by comparison and chosen by `where`, so that any matrix will do.
    """
    sign = rows[0][0].const(1.0)
    for k in range(len(rows)):
        for i in range(k + 1, len(rows)):
            swap = rows[k][k].apply("abs") < rows[i][k].apply("abs")
            pairs = list(zip(rows[k], rows[i], strict=True))
            rows[k] = [swap.where(b, a) for a, b in pairs]
            rows[i] = [swap.where(a, b) for a, b in pairs]
            sign = swap.where(-sign, sign)
        for i in range(k + 1, len(rows)):
            factor = rows[i][k] / rows[k][k]
            tail = [a - factor * b for a, b in zip(rows[i][k + 1 :], rows[k][k + 1 :], strict=True)]
            rows[i] = [sign.const(0.0)] * (k + 1) + tail
    return sign


def _scalars(graph: Graph, numbers: Numbers) -> Rows:
    return [[Scalar(graph, n) for n in row] for row in numbers]


def solve(graph: Graph, matrix: Tensor, sides: Tensor) -> Tensor:
    """X (..., n, m) of A X = B for A (..., n, n)."""
    n, width = matrix.shape[-1], sides.shape[-1]
    pages = torch.cat((matrix, sides), -1).reshape(-1, n, n + width).tolist()
    solved = []
    for page in pages:
        rows = _scalars(graph, page)
        _eliminate(rows)
        for k in reversed(range(n)):
            for j in range(n, n + width):
                terms = [rows[k][i] * rows[i][j] for i in range(k + 1, n)]
                rest = rows[k][j] - total(terms) if terms else rows[k][j]
                rows[k][j] = rest / rows[k][k]
        solved.append([[x.number for x in row[n:]] for row in rows])
    return array(solved, sides.shape)


def determinant(graph: Graph, matrix: Tensor) -> Tensor:
    """The determinant of (..., n, n)."""
    found = []
    for page in matrix.reshape(-1, *matrix.shape[-2:]).tolist():
        rows = _scalars(graph, page)
        value = _eliminate(rows)
        for k, row in enumerate(rows):
            value = value * row[k]
        found.append(value.number)
    return array(found, matrix.shape[:-2])
