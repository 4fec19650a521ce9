"""Batched dense linear systems.

An elimination written in torch operations across the batch was measured and lost to batched
LAPACK at every size (n = 3: 3 us against 116 us for one matrix, 0.6 ms against 3.5 ms for ten
thousand), so LAPACK it is; the generated kernels do their own elimination.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.algebra.weights import weights


class Factors(NamedTuple):
    """P D^-1 W = L U of W (B, F, F), D = diag(weight); for F = 1 the matrix itself."""

    lu: Tensor  # (B, F, F)
    pivots: Tensor  # (B, F) int32
    weight: Tensor  # (B, F)


class Dense:
    """LU factors of every row's whole matrix: see `LinearSolver` for the meanings."""

    name = "dense"
    exact = True
    dear = False
    mass = None

    def zeros(self, like: Tensor) -> Tensor:
        """(B, F, F)."""
        return like.new_zeros(*like.shape, like.shape[-1])

    def empty(self, like: Tensor) -> Factors:
        """To be replaced before they are used."""
        pivots = torch.ones(like.shape, dtype=torch.int32, device=like.device)
        return Factors(self.zeros(like), pivots, torch.ones_like(like))

    def factor(
        self,
        shift: Tensor,
        jac: Tensor,
        scale: Tensor,
        mass: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Factors:
        """All rows at once, wanted or not; differentiable."""
        if mass is None:
            w = jac.neg().to(torch.promote_types(jac.dtype, shift.dtype))
            w.diagonal(dim1=-2, dim2=-1).add_(shift.unsqueeze(-1))
        else:
            w = shift[:, None, None] * mass - jac
        if w.shape[-1] == 1:
            return Factors(w, torch.ones_like(scale, dtype=torch.int32), scale)
        weight = weights(scale)
        lu, pivots, _ = torch.linalg.lu_factor_ex(w / weight.unsqueeze(-1))
        return Factors(lu, pivots, weight)

    def solve(self, factors: Factors, rhs: Tensor) -> Tensor:
        """X (B, F), differentiable."""
        if rhs.shape[-1] == 1:
            return rhs / factors.lu[..., 0]
        rhs = (rhs / factors.weight).unsqueeze(-1)
        x: Tensor = torch.linalg.lu_solve(factors.lu, factors.pivots, rhs)
        return x.squeeze(-1)

    def solve_transposed(self, factors: Factors, rhs: Tensor) -> Tensor:
        """X (B, F), differentiable."""
        if rhs.shape[-1] == 1:
            return rhs / factors.lu[..., 0]
        right = rhs.unsqueeze(-1).conj()  # the adjoint is the transpose of the conjugate
        x: Tensor = torch.linalg.lu_solve(factors.lu, factors.pivots, right, adjoint=True)
        return x.squeeze(-1).conj() / factors.weight

    def place(self, index: tuple[int, ...]) -> tuple[int, int]:
        """The index itself."""
        i, j = index
        return i, j

    def without(self, jac: Tensor, where: Tensor) -> Tensor:
        """Row by row."""
        return torch.where(where.unsqueeze(-1), 0.0, jac)

    def product(self, jac: Tensor, v: Tensor) -> Tensor:
        """J v (B, F)."""
        return torch.matmul(jac, v.unsqueeze(-1)).squeeze(-1)

    def weighed(self, v: Tensor) -> Tensor:
        """V itself."""
        return v


DENSE = Dense()
