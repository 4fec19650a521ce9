"""The null spaces of a square matrix, block by block: M of a circuit or a grid falls apart.

Equations and unknowns that no entry ties together are looked at by themselves. So null vectors stay
as sparse as the matrix is, and what is small in one block is not lost beside another.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stiffguide.errors import UnsupportedError

LARGEST = 1000  # unknowns of a block that is taken apart by singular values
ROUNDINGS = 4  # times the usual bound: singular values below are zero
NOTHING = 1e-14  # among entries of a projection

Array = NDArray[Any]
Spaces = tuple[Any, Any]  # orthonormal columns of scipy's sparse arrays, left and right


def null_spaces(matrix: Any, eps: float) -> Spaces | None:
    """Orthonormal bases L, R (n, k) with L' M = 0, M R = 0 of a sparse matrix; None where k = 0.

    `eps` is the precision that the entries were given in.
    """
    from scipy.sparse import csr_array, hstack

    n, matrix = matrix.shape[0], csr_array(matrix)
    left, right = [], []
    for i, j in _blocks(matrix):
        u, v = _of_block(matrix, i, j, eps)
        left.append(_columns(u, i, n))
        right.append(_columns(v, j, n))
    if not left:
        return None
    first, second = hstack(left, format="csr"), hstack(right, format="csr")
    return (first, second) if first.shape[1] else None


def projection(vectors: Any) -> Any:
    """The sparse matrix (n, n) that projects on orthonormal columns (n, k)."""
    found = (vectors @ vectors.T).tocsr()
    found.data[abs(found.data) < NOTHING] = 0
    found.eliminate_zeros()
    return found


def is_unit(vectors: Any) -> bool:
    """Whether every column (n, k) is a column of the identity."""
    return bool(vectors.nnz == vectors.shape[1] and (np.diff(vectors.tocsc().indptr) == 1).all())


def _blocks(matrix: Any) -> list[tuple[Array, Array]]:
    """(rows, columns) that hang together, but for single entries, which are regular."""
    from scipy.sparse import block_array
    from scipy.sparse.csgraph import connected_components

    n = matrix.shape[0]
    both = block_array([[None, matrix], [matrix.T, None]], format="csr")
    label = connected_components(both, directed=False)[1]
    single = (np.bincount(label)[label] == 2) & (np.arange(2 * n) < n)
    alone = np.isin(label, label[single])
    places = np.flatnonzero(~alone)
    places = places[np.argsort(label[places], kind="stable")]
    ends = np.flatnonzero(np.diff(label[places])) + 1
    blocks = np.split(places, ends) if len(places) else []
    return [(block[block < n], block[block >= n] - n) for block in blocks]


def _of_block(matrix: Any, i: Array, j: Array, eps: float) -> tuple[Array, Array]:
    """The null vectors of one block, (len(i), .) and (len(j), .)."""
    if not (len(i) and len(j)):
        return np.eye(len(i)), np.eye(len(j))
    block = matrix[i][:, j]
    if max(block.shape) > LARGEST:
        _check_regular(block, eps)
        return np.zeros((len(i), 0)), np.zeros((len(j), 0))
    a = block.toarray()
    by_row = 1 / abs(a).max(1, keepdims=True)
    by_column = 1 / abs(a * by_row).max(0)
    u, s, v = np.linalg.svd(a * by_row * by_column)
    rank = int((s > ROUNDINGS * eps * max(a.shape) * s[0]).sum())
    first, second = u[:, rank:] * by_row, v[rank:].T * by_column[:, None]
    return np.linalg.qr(first)[0], np.linalg.qr(second)[0]


def _check_regular(block: Any, eps: float) -> None:
    """Raise UnsupportedError where a large block may be singular."""
    from scipy.sparse.linalg import LinearOperator, onenormest, splu

    n, m = block.shape
    if n == m:
        try:
            lu = splu(block.tocsc())
        except RuntimeError:  # "Factor is exactly singular"
            pass
        else:
            inverse = LinearOperator(
                (n, n), lu.solve, rmatvec=lambda b: lu.solve(b, "T"), dtype=block.dtype
            )
            if onenormest(inverse) * abs(block).sum(0).max() * n * eps < 1:
                return
    raise UnsupportedError(
        f"mass is singular in {n} equations that hang together, too many to find out which "
        "combinations of them hold no derivative: use combinations in their place, such that the "
        "rows without a derivative are zero"
    )


def _columns(vectors: Array, places: Array, n: int) -> Any:
    """Vectors on some places as columns (n, k) of a sparse array."""
    from scipy.sparse import csr_array

    k = vectors.shape[1]
    i, j = np.repeat(places, k), np.tile(np.arange(k), len(places))
    keep = vectors.ravel() != 0
    return csr_array((vectors.ravel()[keep], (i[keep], j[keep])), shape=(n, k))
