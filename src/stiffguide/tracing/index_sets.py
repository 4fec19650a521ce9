"""Sets of indices by number: on which components of the state an entry of a tensor depends.

Numbers 0 and 1 are empty sets: of a constant, and of what varies, but not with derivatives by the
state, such as the time, or a comparison. Sets that were made together are one boolean CSR matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stiffguide.graphs.refusal import UntraceableError

MOVING = 1  # varies; its derivatives by the state are 0
LARGEST = 30_000_000  # indices in the sets of one tensor: 150 MB
WORK = 500_000_000  # indices in all that is made, 5 s or so
HELD = 60_000_000  # indices that may be held before sets are dropped that nothing refers to


TOO_MANY = "the dependencies inside f are too many to be followed"


class CrowdedError(UntraceableError):
    """There are too many indices to be of use."""


def check(indices: int) -> None:
    """Raise CrowdedError if there are too many."""
    if indices > LARGEST:
        raise CrowdedError(TOO_MANY)


class IndexSets:
    """Blocks of sets; the numbers of a block's sets are consecutive."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._blocks: list[Any] = []
        self._starts = np.zeros(0, dtype=np.int64)
        self._next = 0
        self._held = self._made = 0
        self.add(self._matrix(np.zeros(0, dtype=np.int64), np.zeros(3, dtype=np.int64)))

    def identity(self) -> Tensor:
        """A set for each component, with that alone in it: (columns,)."""
        n = self._columns
        return self._fresh(self._matrix(np.arange(n), np.arange(n + 1)))

    def add(self, block: Any) -> int:
        """Keep new sets; the number of the first."""
        first = self._next
        self._blocks.append(block)
        self._starts = np.append(self._starts, first)
        self._next += block.shape[0]
        self._held += block.nnz
        self._made += block.nnz
        if self._made > WORK:
            raise CrowdedError(TOO_MANY)
        return first

    @property
    def full(self) -> bool:
        """Whether it is time to drop what nothing refers to."""
        return self._held > HELD

    def keep(self, numbers: Iterable[Tensor]) -> None:
        """Drop the blocks that none of these numbers refer to."""
        used = {0}
        for n in numbers:
            used.update(np.unique(self._places(n.numpy().ravel())).tolist())
        for k in range(len(self._blocks)):
            if k not in used:
                self._blocks[k] = None
        self._held = sum(b.nnz for b in self._blocks if b is not None)
        if self.full:
            raise CrowdedError(TOO_MANY)

    def matrix(self, numbers: Tensor) -> Any:
        """The sets of some numbers, in their order, as a boolean CSR matrix."""
        return self._rows(np.ascontiguousarray(numbers.numpy()).ravel())

    def union(self, operands: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
        """Numbers of the unions of what lies at the same place of all operands, broadcast."""
        found = torch.zeros((), dtype=torch.int64).expand(shape)
        for other in operands:
            if not bool(other.any()):
                continue
            other = other.expand(shape)
            both = (found > MOVING) & (other > MOVING) & (found != other)
            one = torch.maximum(found, other)  # where one of them is empty, or they are the same
            if bool(both.any()):
                a, b = (self.matrix(x[both]) for x in (found, other))
                check(a.nnz + b.nnz)
                one[both] = self._fresh(a + b)  # of truth values
            found = one
        return found

    def groups(self, numbers: Tensor) -> Tensor:
        """The union of every row of (G, m): (G,)."""
        g, m = numbers.shape
        if bool((numbers == numbers[:, :1]).all()):
            return numbers[:, 0]
        return self.product(np.arange(g * m), np.arange(0, g * m + 1, m), numbers)

    def product(self, inputs: Any, ends: Any, numbers: Tensor) -> Tensor:
        """Numbers of unions of some of `numbers`: those that a CSR matrix names, row by row."""
        given = np.ascontiguousarray(numbers.numpy()).ravel()
        table = self._rows(given)
        size = np.diff(table.indptr)
        check(int(size[inputs].sum()) // 8)  # each may be in many of the united
        made = self._matrix(inputs, ends, len(given)) @ table
        check(made.nnz)
        made.sort_indices()
        moves = np.concatenate(([0], np.cumsum(given[inputs] != 0)))
        found = (moves[ends[1:]] > moves[ends[:-1]]).astype(np.int64)  # MOVING, if not constant
        full = np.diff(made.indptr) > 0
        found[full] = self.add(made) + np.flatnonzero(full)
        return torch.from_numpy(found)

    def _fresh(self, block: Any) -> Tensor:
        check(block.nnz)
        first = self.add(block)
        return torch.arange(first, first + block.shape[0], device="cpu")

    def _places(self, numbers: Any) -> Any:
        """The blocks that numbers are in."""
        return np.searchsorted(self._starts, numbers, side="right") - 1

    def _rows(self, numbers: Any) -> Any:
        if not len(numbers):
            return self._matrix(np.zeros(0, dtype=np.int64), np.zeros(1, dtype=np.int64))
        first, last = self._places(np.array([numbers.min(), numbers.max()]))
        if first == last:
            return _rows(self._blocks[first], numbers - self._starts[first])
        from scipy import sparse

        where = self._places(numbers)
        order = np.argsort(where, kind="stable")
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        parts = [
            _rows(self._blocks[k], numbers[order[where[order] == k]] - self._starts[k])
            for k in np.unique(where)
        ]
        return sparse.vstack(parts, format="csr")[back]

    def _matrix(self, indices: Any, ends: Any, columns: int | None = None) -> Any:
        from scipy import sparse  # late: half a second, and most solves never need it

        shape = (len(ends) - 1, self._columns if columns is None else columns)
        return sparse.csr_matrix((np.ones(len(indices), dtype=bool), indices, ends), shape=shape)


def _rows(block: Any, k: Any) -> Any:
    """Rows of a matrix; neighbours are faster to take."""
    if k[-1] - k[0] == len(k) - 1 and bool((np.diff(k) == 1).all()):
        return block if len(k) == block.shape[0] else block[int(k[0]) : int(k[-1]) + 1]
    check(int(np.diff(block.indptr)[k].sum()))
    return block[k]
