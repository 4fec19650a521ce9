"""Products of matrices and vectors, and small linear systems, in arrays of symbols."""

from __future__ import annotations

from typing import Any

import numpy as np

from stiffguide.graphs.scalars import array
from stiffguide.tracing import matrices
from stiffguide.tracing.arrays.symbol_arrays import plain
from stiffguide.tracing.arrays.symbols import (
    RUNNING,
    NeedsValueError,
    Run,
    Symbol,
    evaluated,
    refusal,
)
from stiffguide.tracing.arrays.ufuncs import total_of

LARGEST_SYSTEM = 8  # unknowns, where the matrix has symbols


def product(a: Any, b: Any) -> Any:
    """`a @ b`."""
    a, b = plain(a), plain(b)
    if not a.ndim or not b.ndim:
        raise ValueError("matmul: an operand has no axis")
    left = a[None, :] if a.ndim == 1 else a
    right = b[:, None] if b.ndim == 1 else b
    if left.shape[-1] != right.shape[-2]:
        raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not fit")
    pages = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    left = np.broadcast_to(left, pages + left.shape[-2:])
    right = np.broadcast_to(right, pages + right.shape[-2:])
    result = np.empty((*pages, left.shape[-2], right.shape[-1]), dtype=object)
    for page in np.ndindex(*pages):
        rows, columns = left[page].tolist(), right[page].T.tolist()
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                result[(*page, i, j)] = inner(row, column)
    if b.ndim == 1:
        result = result[..., 0]
    if a.ndim == 1:
        result = result[..., 0] if b.ndim == 1 else result[..., 0, :]
    return result if result.ndim else result[()]


def inner(row: list[Any], column: list[Any]) -> Any:
    """The sum of products; those with a constant 0 leave no trace."""
    terms = [
        evaluated("multiply", (x, y))
        for x, y in zip(row, column, strict=True)
        if not (_is_zero(x) or _is_zero(y))
    ]
    return total_of(terms) if terms else np.float64(0.0)


def _is_zero(x: Any) -> bool:
    return not isinstance(x, Symbol) and x == 0


def dot(a: Any, b: Any) -> Any:
    """`numpy.dot`."""
    a, b = plain(a), plain(b)
    if not a.ndim or not b.ndim:
        return np.multiply(a, b)
    if b.ndim <= 2:
        return product(a, b)
    return np.tensordot(a, b, axes=((-1,), (-2,)))


def solve(a: Any, b: Any) -> Any:
    """x of a x = b; a matrix of numbers may be as large as it likes."""
    a, b, run = plain(a), plain(b), RUNNING.get()
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise refusal(f"f solves a linear system with an array of shape {a.shape}")
    needed = [v for v in a.flat if isinstance(v, Symbol)]
    if a.shape[0] > LARGEST_SYSTEM and needed:
        sentence = f"f solves a linear system of {len(a)} unknowns; {LARGEST_SYSTEM} are the most"
        raise refusal(NeedsValueError(sentence, needed))
    sides = b.reshape(len(a), -1)
    found = matrices.solve(run.graph, _numbers(run, a), _numbers(run, sides))
    return _symbols(run, found.tolist(), b.shape)


def inverse(a: Any) -> Any:
    """The inverse of a matrix."""
    return solve(a, np.eye(len(a)))


def determinant(a: Any) -> Any:
    """The determinant of a matrix."""
    a = plain(a)
    if a.ndim != 2 or len(a) > LARGEST_SYSTEM:
        raise refusal(f"f takes the determinant of an array of shape {a.shape}")
    run = RUNNING.get()
    return Symbol(run, int(matrices.determinant(run.graph, _numbers(run, a))))


def _numbers(run: Run, values: Any) -> Any:
    entries = [v.number if isinstance(v, Symbol) else run.graph.const(v) for v in values.flat]
    return array(entries, values.shape)


def _symbols(run: Run, numbers: Any, shape: tuple[int, ...]) -> Any:
    result = np.empty(shape, dtype=object)
    result[...] = np.frompyfunc(lambda n: Symbol(run, n), 1, 1)(np.reshape(numbers, shape))
    return result
