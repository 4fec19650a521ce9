"""Pairs of tableaux for a field that is a sum, f = f_E + f_I, and their order conditions.

The elementary differentials of a sum belong to rooted trees whose nodes have one of two colours: a
node of f_E hangs on its parent by the matrix of the explicit part, one of f_I by that of the other.
A method of order p in each part alone may be of a lower one in their sum: the conditions that mix
the colours are the coupling conditions (Araujo, Murua and Sanz-Serna, SIAM J. Numer. Anal. 34
(1997) 1926-1947; Kennedy and Carpenter 2003, section 2). They are decided in exact fractions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

from stiffguide.errors import TableauError
from stiffguide.tableaux.exact import Row
from stiffguide.tableaux.tableau import Tableau
from stiffguide.tableaux.trees import Tree, trees

SHARED = ("b", "c", "b_error", "dense", "order", "error_order", "dense_order", "digits")


class Violation(NamedTuple):
    """A condition that does not hold."""

    what: str  # b, b_hat, or the power of theta in dense
    tree: Tree
    residual: Fraction


@dataclass(frozen=True)
class AdditivePair:
    """An explicit and a diagonally implicit tableau, which differ in `a` only.

    Raises TableauError, naming what they do not share.
    """

    name: str
    explicit: Tableau
    implicit: Tableau

    def __post_init__(self) -> None:
        for field in SHARED:
            if getattr(self.explicit, field) != getattr(self.implicit, field):
                raise TableauError(f"{self.name}: the two parts differ in {field}")
        if not self.explicit.explicit or not self.implicit.diagonally_implicit:
            raise TableauError(f"{self.name}: one part must be explicit, one diagonally implicit")

    @cached_property
    def violation(self) -> Violation | None:
        """The condition that is missed by most, up to the orders that are claimed; None: none."""
        t = self.implicit
        due = [("b", t.b, t.order)]
        if t.b_hat is not None and t.error_order is not None:
            due.append(("b_hat", t.b_hat, t.error_order))
        found = [
            Violation(what, tree, _dot(weights, phi) - Fraction(1, tree.density))
            for what, weights, order in due
            for tree, phi in self._weights(order)
        ]
        if t.dense is not None and t.dense_order is not None:
            found += self._dense_residuals(t.dense, t.dense_order)
        worst = max(found, key=lambda x: abs(x.residual))
        return worst if abs(worst.residual) > t.tolerance else None

    def prove(self) -> None:
        """Raise TableauError unless y1, the embedded solution and `dense` have their orders."""
        if self.violation is not None:
            what, tree, residual = self.violation
            raise TableauError(
                f"{self.name}: {what} misses the coupling condition of the tree {tree}, of order "
                f"{tree.order}, by {float(residual):.3g} (e: explicit, i: implicit)"
            )

    def _dense_residuals(self, dense: Sequence[Row], order: int) -> list[Violation]:
        """Of all conditions of the continuous extension, power by power of theta."""
        powers = list(zip(*dense, strict=True))
        powers += [(Fraction(0),) * len(dense)] * (order - len(powers))
        return [
            Violation(
                f"dense, theta^{d}",
                tree,
                _dot(row, phi) - (Fraction(1, tree.density) if d == tree.order else 0),
            )
            for tree, phi in self._weights(order)
            for d, row in enumerate(powers, 1)
        ]

    def _weights(self, order: int) -> list[tuple[Tree, Row]]:
        """Phi_i(t) of every tree with at most `order` nodes, the root without a colour."""
        matrices = {"e": self.explicit.a, "i": self.implicit.a}
        images: dict[Tree, Row] = {}  # the matrix of a subtree's colour, times its Phi

        def phi(tree: Tree) -> Row:
            found = [Fraction(1)] * self.implicit.stages
            for child in tree.children:
                if child not in images:
                    below = phi(child)
                    images[child] = tuple(_dot(row, below) for row in matrices[child.colour])
                found = [x * y for x, y in zip(found, images[child], strict=True)]
            return tuple(found)

        return [(tree, phi(tree)) for r in range(1, order + 1) for tree in trees(r, "ei")]


def _dot(x: Row, y: Row) -> Fraction:
    return sum((p * q for p, q in zip(x, y, strict=True) if p), Fraction(0))
