"""Sparse linear systems of a batch: one factorisation a row, by a library for one matrix.

What a library is to do is a `Library`; the batch, the tolerances and the choice of rows are here.
Gradients flow to right sides, by the transposed systems; matrices are constants to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stiffguide.algebra.pattern import Pattern
from stiffguide.algebra.weights import weights
from stiffguide.tensors import tangles

Packed = list[tuple[Any, ...] | None]  # rows of factors, as numbers to make them of again

Vector = NDArray[Any]


class Factored(Protocol):
    """One matrix (n, n), ready to solve with.

    Where solutions decide how it goes on, `standing` says how it stands, and the library makes it
    so again by `again(values, standing)`.
    """

    def solve(self, b: Vector, transposed: bool) -> Vector:
        """X (n,); not finite where that is what the matrix says."""
        ...


class Library(Protocol):
    """Factorises one matrix of a pattern."""

    name: str
    exact: bool

    def factorise(self, values: Vector) -> Factored | None:
        """The factors of finite values (nnz,) in the order of the pattern; None: singular."""
        ...


class Row(NamedTuple):
    """The factors of D^-1 W of one row, D = diag(weight)."""

    factored: Factored | None  # None: singular
    weight: Vector  # (n,)
    values: Vector  # (nnz,) of that matrix


class Rows:
    """The factors of every row; None where they were left undone."""

    def __init__(self, rows: Sequence[Row | None], library: Library) -> None:
        self.rows: tuple[Row | None, ...] = tuple(rows)
        self._library = library

    def chosen(self, mask: Tensor, old: Rows) -> Rows:
        """These where mask (B,) holds, and the old ones elsewhere."""
        pairs = zip(mask.tolist(), self.rows, old.rows, strict=True)
        return Rows([new if which else before for which, new, before in pairs], self._library)

    def packed(self) -> Packed:
        """What they can be made of again."""
        return [
            None if row is None else (row.values, row.weight, getattr(row.factored, "standing", ""))
            for row in self.rows
        ]

    def unpacked(self, packed: Packed) -> Rows:
        """The same factors, made once more."""
        if len(packed) != len(self.rows):
            raise ValueError(f"factors have {len(self.rows)} rows")
        return Rows([None if row is None else self._again(*row) for row in packed], self._library)

    def _again(self, values: Vector, weight: Vector, standing: str) -> Row:
        library: Any = self._library
        if standing:
            return Row(library.again(values, standing), weight, values)
        return Row(factorised(library, values), weight, values)


def factorised(library: Library, values: Vector) -> Factored | None:
    """The factors; libraries hang or crash on what is no number."""
    return library.factorise(values) if np.isfinite(values).all() else None


class Rowwise:
    """A linear solver (see `LinearSolver`) that goes from row to row, on the CPU."""

    dear = True
    mass = None

    def __init__(self, pattern: Pattern, library: Library) -> None:
        self.pattern = pattern
        self.library = library
        self.name: str = library.name
        self.exact: bool = library.exact

    def zeros(self, like: Tensor) -> Tensor:
        """(B, nnz)."""
        return like.new_zeros(like.shape[0], self.pattern.nnz)

    def empty(self, like: Tensor) -> Rows:
        """Nothing is done in any row."""
        return Rows([None] * like.shape[0], self.library)

    def factor(
        self,
        shift: Tensor,
        jac: Tensor,
        scale: Tensor,
        mass: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Rows:
        """The rows of `where`, one by one."""
        wanted = [True] * len(jac) if where is None else where.tolist()
        weight = weights(scale.detach()).numpy()
        values, shifts = jac.detach().numpy(), shift.detach().tolist()
        masses = None if mass is None else mass.detach().expand_as(jac).numpy()
        return Rows(
            [
                self._row(shifts[b], values[b], weight[b], None if masses is None else masses[b])
                if wanted[b]
                else None
                for b in range(len(wanted))
            ],
            self.library,
        )

    def _row(self, shift: complex, jac: Vector, weight: Vector, mass: Vector | None) -> Row:
        w = -jac if mass is None else shift * mass - jac
        if mass is None:
            if isinstance(shift, complex):
                w = w.astype(np.result_type(w.dtype, np.complex64))
            w[self.pattern.diagonal] += shift
        w /= weight[self.pattern.rows]
        return Row(factorised(self.library, w), weight, w)

    def solve(self, factors: Rows, rhs: Tensor) -> Tensor:
        """X (B, F)."""
        return self._solved(factors, rhs, transposed=False)

    def solve_transposed(self, factors: Rows, rhs: Tensor) -> Tensor:
        """X (B, F)."""
        return self._solved(factors, rhs, transposed=True)

    def _solved(self, factors: Rows, rhs: Tensor, *, transposed: bool) -> Tensor:
        if tangles(rhs):
            return _solved(rhs, self, factors, transposed)
        return self.solve_rows(factors, rhs, transposed=transposed)

    def solve_rows(self, factors: Rows, rhs: Tensor, *, transposed: bool) -> Tensor:
        """X (B, F), without a gradient."""
        right = rhs.detach().numpy()
        out = np.zeros_like(right)
        for b, row in enumerate(factors.rows):
            if row is None:
                continue
            if row.factored is None:
                out[b] = np.nan
            elif transposed:
                out[b] = row.factored.solve(right[b], True) / row.weight
            else:
                out[b] = row.factored.solve(right[b] / row.weight, False)
        return torch.from_numpy(out)

    def place(self, index: tuple[int, ...]) -> tuple[int, int]:
        """Where the pattern has that entry."""
        (k,) = index
        return int(self.pattern.rows[k]), int(self.pattern.columns[k])

    def without(self, jac: Tensor, where: Tensor) -> Tensor:
        """Entry by entry."""
        return torch.where(where.index_select(-1, self._places[0]), 0.0, jac)

    def product(self, jac: Tensor, v: Tensor) -> Tensor:
        """J v (B, F)."""
        rows, columns = self._places
        out = torch.zeros_like(v)
        return out.index_add(-1, rows, jac * v.index_select(-1, columns))

    def weighed(self, v: Tensor) -> Tensor:
        """V itself."""
        return v

    @property
    def _places(self) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.pattern.rows), torch.from_numpy(self.pattern.columns)


class Solved(torch.autograd.Function):
    """W^-1 rhs as a function of rhs, differentiable as often as one likes."""

    @staticmethod
    def forward(ctx: Any, rhs: Tensor, solver: Rowwise, factors: Rows, transposed: bool) -> Tensor:
        """X (B, F)."""
        ctx.system = solver, factors, not transposed
        return solver.solve_rows(factors, rhs, transposed=transposed)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """By the other system."""
        return _solved(gradient, *ctx.system), None, None, None


_solved: Callable[..., Tensor] = Solved.apply
