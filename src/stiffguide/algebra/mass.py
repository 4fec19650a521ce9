"""The matrix M of M y' = f(t, y), and the systems with shift M - J that its steps solve.

Where M is singular some combinations of the equations, P f = 0, hold no derivative: P projects on
the left null space of M. In a system of index 1 these determine what M does not see of y, so that
K = sigma M - P J is regular: systems with K keep M y and solve the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.algebra.protocol import Factors, LinearSolver


class Projection(NamedTuple):
    """On a null space of M."""

    of: Callable[[Tensor], Tensor]  # P v, for v (B, F)
    of_values: Callable[[Tensor], Tensor]  # P J, for values of J


class Nulls(NamedTuple):
    """The null spaces of a singular M."""

    left: Projection  # combinations of equations without a derivative
    right: Callable[[Tensor], Tensor]  # of v (B, F) what M does not see


class Mass:
    """M, as values in the layout of the Jacobian's."""

    def __init__(
        self, linear: LinearSolver, values: Tensor, diagonal: Tensor | None, nulls: Nulls | None
    ) -> None:
        """`values` (1, ...) or (B, ...); `diagonal` (1, F) and `nulls` where it has such."""
        self._linear = linear
        self._values = values
        self._diagonal = diagonal
        self.nulls = nulls

    def times(self, v: Tensor) -> Tensor:
        """M v (B, F)."""
        if self._diagonal is not None:
            return self._diagonal * v
        return self._linear.product(self._values, v)

    def sizes(self, scale: Tensor) -> Tensor:
        """|M| scale (B, F): what counts as a little of M y."""
        if self._diagonal is not None:
            return self._diagonal.abs() * scale
        return self._linear.product(self._values.abs(), scale)

    def factor(
        self, shift: Tensor, jac: Tensor, scale: Tensor, where: Tensor | None = None
    ) -> Factors:
        """Factors of shift (B,) M - J, whose equations are compared in units of their own terms.

        That is `scale` (B, F) where M is the identity. Of an equation without a derivative it is
        what y may be wrong by, times its derivatives.
        """
        with torch.no_grad():
            weight = shift.abs().unsqueeze(-1).to(scale.dtype) * self.sizes(scale)
            if self.nulls is not None:
                others = self._linear.product(jac.detach().abs(), scale)
                weight = torch.where(weight == 0, others, weight)
        return self._linear.factor(shift, jac, weight, mass=self._values, where=where)

    def split(self, jac: Tensor, scale: Tensor) -> Split:
        """Factors of K, with a sigma that gives both of its parts the same size."""
        left = jac * 0 if self.nulls is None else self.nulls.left.of_values(jac)
        with torch.no_grad():
            derivatives = self.sizes(scale)
            others = self._linear.product(left.detach().abs(), scale)
            sigma = others.amax(-1) / derivatives.amax(-1)
            sigma = torch.where((sigma > 0) & torch.isfinite(sigma), sigma, 1.0)
            weight = sigma.unsqueeze(-1) * derivatives + others
        factors = self._linear.factor(sigma, left, weight, mass=self._values)
        return Split(self._linear, factors, sigma.unsqueeze(-1))


class Split(NamedTuple):
    """K = sigma M - P J, ready to solve with."""

    linear: LinearSolver
    factors: Factors
    sigma: Tensor  # (B, 1)

    def solve(self, rhs: Tensor) -> Tensor:
        """X (B, F) with K x = rhs."""
        return self.linear.solve(self.factors, rhs)


class Weighted:
    """A linear solver (see `LinearSolver`) of systems with this M in the place of the identity."""

    def __init__(self, linear: LinearSolver, mass: Mass) -> None:
        self._linear = linear
        self.mass = mass
        self.name: str = linear.name
        self.exact: bool = linear.exact
        self.dear: bool = linear.dear

    def zeros(self, like: Tensor) -> Tensor:
        """Values of a J that is 0."""
        return self._linear.zeros(like)

    def empty(self, like: Tensor) -> Factors:
        """Factors to be replaced before they are used."""
        return self._linear.empty(like)

    def factor(
        self,
        shift: Tensor,
        jac: Tensor,
        scale: Tensor,
        mass: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Factors:
        """Factors of shift (B,) M - J, or with another `mass`."""
        if mass is not None:
            return self._linear.factor(shift, jac, scale, mass=mass, where=where)
        return self.mass.factor(shift, jac, scale, where=where)

    def solve(self, factors: Factors, rhs: Tensor) -> Tensor:
        """X (B, F)."""
        return self._linear.solve(factors, rhs)

    def solve_transposed(self, factors: Factors, rhs: Tensor) -> Tensor:
        """X (B, F)."""
        return self._linear.solve_transposed(factors, rhs)

    def place(self, index: tuple[int, ...]) -> tuple[int, int]:
        """The (i, j) of an entry of the values of one row."""
        return self._linear.place(index)

    def without(self, jac: Tensor, where: Tensor) -> Tensor:
        """The values of J with 0 in the rows `where` (B, F) bool."""
        return self._linear.without(jac, where)

    def product(self, jac: Tensor, v: Tensor) -> Tensor:
        """J v (B, F)."""
        return self._linear.product(jac, v)

    def weighed(self, v: Tensor) -> Tensor:
        """M v (B, F)."""
        return self.mass.times(v)
