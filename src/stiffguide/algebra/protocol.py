"""What every solver of linear systems does, whatever it makes of their sparsity.

The systems are those of implicit steps, W x = b with W = shift M - J in every row of a batch. The
*values* of J are a tensor: (B, F, F) where it is dense, (B, nnz) in the order of a `Pattern` where
it is not, so that rows of them can be selected like those of any state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from stiffguide.algebra.mass import Mass

Factors = Any  # of W, row by row: `tensors.select` takes them


class LinearSolver(Protocol):
    """Factorises once, solves for many right sides; states are like (B, F)."""

    @property
    def name(self) -> str:
        """How it is called in `solve(linear_solver=)`."""
        ...

    @property
    def exact(self) -> bool:
        """Whether it solves to rounding: an iteration only does to a tolerance of its own."""
        ...

    @property
    def dear(self) -> bool:
        """Whether factors cost much more than to solve with them, and are worth keeping."""
        ...

    @property
    def mass(self) -> Mass | None:
        """The M of W = shift M - J; None: the identity."""
        ...

    def zeros(self, like: Tensor) -> Tensor:
        """Values of a J that is 0."""
        ...

    def empty(self, like: Tensor) -> Factors:
        """Factors to be replaced before they are used."""
        ...

    def factor(
        self,
        shift: Tensor,
        jac: Tensor,
        scale: Tensor,
        mass: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Factors:
        """Factors of shift (B,) M - J; a singular matrix has solutions that are not finite.

        `scale` (B, F) is the tolerance on each unknown: rows are divided by it, so that pivots are
        compared in its units. Else a row takes up the rounding of another one whose unknown may be
        wrong by more: E5 in four components loses all digits that way, and neither equilibration
        nor refinement gives them back. `mass` has the layout of `jac`; None is the solver's own,
        the identity where it has none. Rows outside `where` (B,) bool may be left undone.
        """
        ...

    def solve(self, factors: Factors, rhs: Tensor) -> Tensor:
        """X (B, F) with W x = rhs; 0 in rows that were left undone."""
        ...

    def solve_transposed(self, factors: Factors, rhs: Tensor) -> Tensor:
        """X (B, F) with the transpose of W."""
        ...

    def place(self, index: tuple[int, ...]) -> tuple[int, int]:
        """The (i, j) of an entry of the values of one row."""
        ...

    def without(self, jac: Tensor, where: Tensor) -> Tensor:
        """The values of J with 0 in the rows `where` (B, F) bool."""
        ...

    def product(self, jac: Tensor, v: Tensor) -> Tensor:
        """J v (B, F)."""
        ...

    def weighed(self, v: Tensor) -> Tensor:
        """M v (B, F), and v itself where there is no M."""
        ...
