"""The linear system of all stages at once, each with its own Jacobian: exact, for derivatives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from stiffguide.algebra.dense import DENSE
from stiffguide.algebra.pattern import Pattern
from stiffguide.algebra.protocol import LinearSolver
from stiffguide.algebra.rowwise import Rowwise
from stiffguide.algebra.sparse import Sparse
from stiffguide.methods.radau.spectrum import Floats
from stiffguide.tensors import constant


def coupled(
    linear: LinearSolver, inverse: Floats, h: Tensor, jacs: list[Tensor]
) -> Callable[[Tensor], Tensor]:
    """X (B, S F) of rhs (B, S F) with the transpose of A^-1/h (x) M - diag(J_1, ..., J_S).

    `jacs` are values of J at the stages, h is (B, 1). Sparse systems have no M.
    """
    shares = constant(inverse, h.dtype, h.device) / h.unsqueeze(-1)  # (B, S, S)
    if isinstance(linear, Rowwise):
        return _sparse(linear.pattern, shares, jacs)
    rows, n, _ = jacs[0].shape
    units = torch.eye(n, dtype=h.dtype, device=h.device)
    mass = torch.stack([linear.weighed(e.expand(rows, n)) for e in units], -1)
    blocks = h.new_zeros(rows, len(jacs), n, len(jacs), n)
    for i, jac in enumerate(jacs):
        blocks[:, i, :, i] -= jac
        for j in range(len(jacs)):
            blocks[:, i, :, j] += shares[:, i, j, None, None] * mass
    whole = blocks.reshape(rows, len(jacs) * n, len(jacs) * n)
    factors = DENSE.factor(torch.zeros_like(h[:, 0]), -whole, torch.ones_like(whole[:, 0]))
    return partial(DENSE.solve_transposed, factors)


def _sparse(own: Pattern, shares: Tensor, jacs: list[Tensor]) -> Callable[[Tensor], Tensor]:
    n, stages = own.n, len(jacs)
    every, k = np.arange(n, dtype=np.int64), range(stages)
    at = [(own.rows + m * n, own.columns + m * n) for m in k]
    at += [(every + m * n, every + l * n) for m in k for l in k]
    i, j = (np.concatenate(x) for x in zip(*at, strict=True))
    pattern = Pattern.at(i, j, n * stages)
    keys = pattern.columns * pattern.n + pattern.rows
    places = np.searchsorted(keys, j * pattern.n + i)
    values = [-jac for jac in jacs]
    values += [shares[:, i, j, None].expand(-1, n) for i in k for j in k]
    whole = jacs[0].new_zeros(len(jacs[0]), pattern.nnz)
    whole.index_add_(1, torch.from_numpy(places), torch.cat(values, 1))
    solver = Rowwise(pattern, Sparse(pattern))
    ones = torch.ones(len(whole), n * stages, dtype=whole.dtype)
    factors = solver.factor(torch.zeros_like(whole[:, 0]), -whole, ones)
    return partial(solver.solve_transposed, factors)
