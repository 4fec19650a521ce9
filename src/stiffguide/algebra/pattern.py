"""Where a Jacobian may differ from zero: the order of its values, column by column."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from stiffguide.errors import InputError

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pattern:
    """Compressed columns: those of entry k are `rows[k]`, and j with indptr[j] <= k < indptr[j+1].

    Rows are sorted in every column, and the diagonal is always there, which W = shift I - J needs.
    """

    n: int
    indptr: Indices  # (n + 1,)
    rows: Indices  # (nnz,)

    @classmethod
    def of(cls, matrix: Any, n: int | None = None, name: str = "jac_sparsity") -> Pattern:
        """The pattern of what is not zero in a matrix of scipy, numpy, torch, or lists.

        Raises InputError, speaking of `name`, if it is none, or not (n, n).
        """
        i, j, shape = entries(matrix, name)
        if len(shape) != 2 or shape[0] != shape[1] or (n is not None and shape[0] != n):
            wanted = "square" if n is None else f"({n}, {n})"
            raise InputError(f"{name}: must be a matrix {wanted}, not of shape {shape}")
        return cls.at(i, j, shape[0])

    @classmethod
    def at(cls, i: Indices, j: Indices, n: int) -> Pattern:
        """The pattern with entries at (i[k], j[k]), in any order, and the diagonal."""
        every = np.arange(n, dtype=np.int64)
        i, j = np.concatenate((i, every)), np.concatenate((j, every))
        keys = np.unique(j * n + i)
        indptr = np.searchsorted(keys, np.arange(n + 1, dtype=np.int64) * n)
        return cls(n, indptr.astype(np.int64), keys % n)

    @property
    def nnz(self) -> int:
        """How many entries it has."""
        return len(self.rows)

    @cached_property
    def columns(self) -> Indices:
        """The column of every entry (nnz,)."""
        return np.repeat(np.arange(self.n, dtype=np.int64), np.diff(self.indptr))

    @cached_property
    def diagonal(self) -> Indices:
        """Where the diagonal is among the entries (n,)."""
        return np.flatnonzero(self.rows == self.columns)

    @cached_property
    def bandwidth(self) -> tuple[int, int]:
        """(kl, ku): how many diagonals lie below and above the main one."""
        below = self.rows - self.columns
        return (int(below.max()), int(-below.min())) if self.nnz else (0, 0)

    @cached_property
    def flat(self) -> Indices:
        """Where the entries (nnz,) are in a dense matrix, row by row."""
        return self.rows * self.n + self.columns

    def matrix(self, values: Any) -> Any:
        """The matrix of scipy (CSC) with these values (nnz,)."""
        from scipy.sparse import csc_matrix

        found = csc_matrix((values, *self._narrow), shape=(self.n, self.n))
        found.has_sorted_indices = True
        return found

    @cached_property
    def _narrow(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The indices as libraries take them."""
        return self.rows.astype(np.int32), self.indptr.astype(np.int32)

    def united(self, other: Pattern) -> Pattern:
        """The entries of both."""
        i = np.concatenate((self.rows, other.rows))
        return Pattern.at(i, np.concatenate((self.columns, other.columns)), self.n)

    def without(self, rows: Indices) -> Pattern:
        """The pattern with nothing but the diagonal in these rows."""
        left = ~np.isin(self.rows, rows)
        return Pattern.at(self.rows[left], self.columns[left], self.n)

    def doubled(self) -> Pattern:
        """Four times the pattern, (2 n, 2 n): for numbers that have two parts."""
        i, j, n = self.rows, self.columns, self.n
        rows = np.concatenate((i, i, i + n, i + n))
        return Pattern.at(rows, np.concatenate((j, j + n, j, j + n)), 2 * n)

    def values_of(self, matrix: Any, name: str) -> NDArray[Any]:
        """The values (nnz,) of a sparse or dense matrix, in this order.

        Raises InputError, speaking of `name`, where it has an entry that the pattern lacks.
        """
        i, j, shape = entries(matrix, name)
        if shape != (self.n, self.n):
            raise InputError(f"{name} returned shape {shape}; y0 needs ({self.n}, {self.n})")
        data = numbers(matrix, i, j)
        keys, wanted = self.columns * self.n + self.rows, j * self.n + i
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        lost = keys[at] != wanted
        if lost.any():
            k = int(np.flatnonzero(lost)[0])
            raise InputError(
                f"{name} has an entry ({i[k]}, {j[k]}) where it, or jac_sparsity, had none before: "
                "give jac_sparsity with every entry that may differ from zero"
            )
        out = np.zeros(self.nnz, dtype=data.dtype)
        np.add.at(out, at, data)
        return out

    def __eq__(self, other: object) -> bool:
        """Whether both have the same entries."""
        if not isinstance(other, Pattern):
            return NotImplemented
        if self.n != other.n or self.nnz != other.nnz:
            return False
        return bool((self.rows == other.rows).all() and (self.indptr == other.indptr).all())

    __hash__: ClassVar[None] = None  # type: ignore[assignment]


def entries(matrix: Any, name: str) -> tuple[Indices, Indices, tuple[int, ...]]:
    """(rows, columns, shape) of what a matrix keeps, or, if it is dense, of what is not zero."""
    import torch

    if isinstance(matrix, torch.Tensor):
        matrix = matrix.detach()
        if matrix.layout != torch.strided:
            coo = matrix.to_sparse_coo().coalesce().cpu()
            i, j = coo.indices()[:2].numpy() if coo.ndim == 2 else (_NONE, _NONE)
            return i.astype(np.int64), j.astype(np.int64), tuple(matrix.shape)
        matrix = matrix.cpu().numpy()
    if hasattr(matrix, "tocoo"):
        coo = matrix.tocoo()
        return coo.row.astype(np.int64), coo.col.astype(np.int64), tuple(coo.shape)
    table = np.asarray(matrix)
    if table.ndim != 2:
        raise InputError(f"{name}: must be a matrix, not of shape {table.shape}")
    i, j = np.nonzero(table)
    return i.astype(np.int64), j.astype(np.int64), tuple(table.shape)


_NONE = np.zeros(0, dtype=np.int64)


def numbers(matrix: Any, i: Indices, j: Indices) -> NDArray[Any]:
    """The numbers that a matrix has at the places that `entries` found."""
    import torch

    if isinstance(matrix, torch.Tensor):
        matrix = matrix.detach()
        if matrix.layout != torch.strided:
            found: NDArray[Any] = matrix.to_sparse_coo().coalesce().values().cpu().numpy()
            return found
        matrix = matrix.cpu().numpy()
    if hasattr(matrix, "tocoo"):
        data: NDArray[Any] = matrix.tocoo().data
        return data
    table: NDArray[Any] = np.asarray(matrix)[i, j]
    return table
