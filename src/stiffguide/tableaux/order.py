"""Order conditions: what a tableau claims is proved here, tree by tree.

All sums are carried in fixed-point integers of `BITS` binary places (120 decimal digits), so that a
condition is decided far below the tolerance of any tableau, and order 8 costs milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache

from stiffguide.errors import TableauError
from stiffguide.tableaux.exact import Matrix, Row, matmul
from stiffguide.tableaux.rosenbrock import RosenbrockTableau
from stiffguide.tableaux.tableau import Tableau
from stiffguide.tableaux.trees import ROSENBROCK, RUNGE_KUTTA, Letters, Tree, condition, trees

AnyTableau = Tableau | RosenbrockTableau
Number = Fraction | float

BITS = 400
GUARD = 40  # binary places given up at the end, so that rounding shows as exactly zero


def main_weights(tableau: AnyTableau) -> Row:
    """Weights of y1 on the stage derivatives k (textbook form for a Rosenbrock method)."""
    return tableau.b if isinstance(tableau, Tableau) else tableau.weights


def embedded_weights(tableau: AnyTableau) -> Row | None:
    """Weights of the embedded solution on the stage derivatives, if there is one."""
    if isinstance(tableau, Tableau):
        return tableau.b_hat
    if tableau.error_weights is None:
        return None
    pairs = zip(tableau.weights, tableau.error_weights, strict=True)
    return tuple(b - e for b, e in pairs)


def dense_weights(tableau: AnyTableau) -> Matrix | None:
    """`tableau.dense` as weights on the stage derivatives, one row per stage."""
    if tableau.dense is None or isinstance(tableau, Tableau):
        return tableau.dense
    powers = matmul(tuple(zip(*tableau.dense, strict=True)), tableau.big_gamma)
    return tuple(zip(*powers, strict=True))


def residuals(tableau: AnyTableau, weights: Sequence[Number], order: int) -> dict[Tree, Fraction]:
    """sum_i b_i Phi_i(t) - 1/gamma(t) for every tree t with `order` nodes.

    `weights` (S,) belong to the stages; one more entry belongs to f1.
    """
    row = [_fixed(w) for w in weights]
    return {
        tree: _fraction(_dot(row, phi) - (1 << BITS) // tree.density)
        for tree, phi in _of_order(tableau, order)
    }


def continuous_residuals(
    tableau: AnyTableau, weights: Sequence[Sequence[Number]], order: int
) -> dict[Tree, Row]:
    """Coefficients of sum_i b_i(theta) Phi_i(t) - theta^r/gamma(t), trees with r = `order` nodes.

    `weights[i][d]` is the coefficient of theta^(d+1) in b_i(theta), as in `Tableau.dense`. The
    continuous solution has order q when all of them vanish for r = 1 ... q (I, II.6, eq. 6.9).
    """
    powers = [[_fixed(w) for w in column] for column in zip(*weights, strict=True)]
    powers += [[0] * len(weights)] * (order - len(powers))

    def terms(tree: Tree, phi: Sequence[int]) -> Iterator[Fraction]:
        for d, row in enumerate(powers):
            due = (1 << BITS) // tree.density if d + 1 == order else 0
            yield _fraction(_dot(row, phi) - due)

    return {tree: tuple(terms(tree, phi)) for tree, phi in _of_order(tableau, order)}


def proven_order(tableau: AnyTableau) -> int:
    """Order of y1 that its conditions prove; at most one above the claim."""
    return _proven(tableau, main_weights(tableau), tableau.order + 1)


def proven_error_order(tableau: AnyTableau) -> int | None:
    """Order of the embedded solution that its conditions prove; at most one above the claim."""
    weights = embedded_weights(tableau)
    if weights is None or tableau.error_order is None:
        return None
    return _proven(tableau, weights, tableau.error_order + 1)


def proven_dense_order(tableau: AnyTableau) -> int | None:
    """Order of `tableau.dense` that its conditions prove; at most one above the claim."""
    if tableau.dense is None or tableau.dense_order is None:
        return None
    for order in range(1, tableau.dense_order + 2):
        if _violated_dense(tableau, order) is not None:
            return order - 1
    return tableau.dense_order + 1


def stage_order(tableau: Tableau) -> int:
    """Largest q with sum_j a_ij c_j^(k-1) = c_i^k / k for all i and k <= q, at most the order."""
    for k in range(1, tableau.order + 1):
        for row, node in zip(tableau.a, tableau.c, strict=True):
            moment = sum(
                (x * c ** (k - 1) for x, c in zip(row, tableau.c, strict=True)), Fraction()
            )
            if abs(moment - node**k / k) > tableau.tolerance:
                return k - 1
    return tableau.order


def prove(tableau: AnyTableau) -> None:
    """Raise TableauError unless y1, the embedded solution and `dense` have exactly their orders."""
    prove_order(tableau)
    prove_error_order(tableau)
    prove_dense_order(tableau)


def prove_order(tableau: AnyTableau) -> None:
    """Raise TableauError unless y1 has exactly the order that is claimed."""
    _prove_weights(tableau, "b", main_weights(tableau), "order", tableau.order)


def prove_error_order(tableau: AnyTableau) -> None:
    """Raise TableauError unless the embedded solution, if there is one, has exactly its order."""
    embedded = embedded_weights(tableau)
    if embedded is not None and tableau.error_order is not None:
        _prove_weights(tableau, "b_hat", embedded, "error_order", tableau.error_order)


def _prove_weights(tableau: AnyTableau, label: str, weights: Row, field: str, claim: int) -> None:
    """Refuse a claim that is too high (with the condition that fails) or too low."""
    for order in range(1, claim + 1):
        tree, residual = _worst(residuals(tableau, weights, order))
        if abs(residual) > tableau.tolerance:
            raise TableauError(
                f"{tableau.name}: {label} is not of {field} {claim}: the condition "
                f"{condition(tree, label, _letters(tableau))} of order {order} is missed by "
                f"{float(residual):.3g} (tree {tree})"
            )
    if _proven(tableau, weights, claim + 1) > claim:
        raise TableauError(
            f"{tableau.name}: {label} is of order {claim + 1} at least, {field} says {claim}"
        )


def prove_dense_order(tableau: AnyTableau) -> None:
    """Raise TableauError unless `dense`, if there is one, has exactly its order."""
    claim, proven = tableau.dense_order, proven_dense_order(tableau)
    if claim is None or proven is None:
        return
    if proven > claim:
        raise TableauError(
            f"{tableau.name}: dense is of order {proven} at least, dense_order says {claim}"
        )
    violated = _violated_dense(tableau, proven + 1) if proven < claim else None
    if violated is not None:
        tree, power, residual = violated
        raise TableauError(
            f"{tableau.name}: dense is not of dense_order {claim}: in the condition "
            f"{condition(tree, 'b', _letters(tableau))} theta^{proven + 1} the coefficient of "
            f"theta^{power} is off by {float(residual):.3g} (tree {tree})"
        )


def _violated_dense(tableau: AnyTableau, order: int) -> tuple[Tree, int, Fraction] | None:
    """Tree, power of theta and residual of the worst condition beyond the tolerance."""
    weights = dense_weights(tableau)
    if weights is None:
        return None
    found = continuous_residuals(tableau, weights, order)
    flat = {(tree, d): r for tree, row in found.items() for d, r in enumerate(row, 1)}
    (tree, power), residual = max(flat.items(), key=lambda item: abs(item[1]))
    return (tree, power, residual) if abs(residual) > tableau.tolerance else None


def _proven(tableau: AnyTableau, weights: Row, limit: int) -> int:
    for order in range(1, limit + 1):
        if abs(_worst(residuals(tableau, weights, order))[1]) > tableau.tolerance:
            return order - 1
    return limit


def _worst(found: dict[Tree, Fraction]) -> tuple[Tree, Fraction]:
    return max(found.items(), key=lambda item: abs(item[1]))


def _letters(tableau: AnyTableau) -> Letters:
    return RUNGE_KUTTA if isinstance(tableau, Tableau) else ROSENBROCK


def extra_stages(tableau: AnyTableau) -> Matrix:
    """Rows of `a` for f1 = f(t1, y1), which a solve evaluates anyway, unless it is a stage.

    A continuous extension may weigh f1 after the S stages. A Rosenbrock method has no such row.
    """
    if isinstance(tableau, RosenbrockTableau) or tableau.stiffly_accurate:
        return ()
    return (tableau.b,)


def elementary_weights(tableau: AnyTableau, order: int) -> dict[Tree, tuple[Fraction, ...]]:
    """Phi_i(t) of every tree with `order` nodes, for the stages and then for f1 if it is none."""
    found = _of_order(tableau, order)
    return {tree: tuple(_fraction(x) for x in phi) for tree, phi in found}


@lru_cache(maxsize=256)
def _of_order(tableau: AnyTableau, order: int) -> tuple[tuple[Tree, tuple[int, ...]], ...]:
    """Phi(t) in fixed point: the product over the children of (matrix times Phi(child)).

    The matrix is `a`; for a Rosenbrock method alpha + Gamma below a node with one child, and
    alpha below others (Hairer and Wanner II, IV.7, theorem 7.4).
    """
    several, single = _matrices(tableau)
    smaller = dict(item for r in range(1, order) for item in _of_order(tableau, r))
    images: dict[tuple[Tree, bool], list[int]] = {}
    found = []
    for tree in trees(order):
        alone = len(tree.children) == 1
        phi = [1 << BITS] * len(several)
        for child in tree.children:
            if (child, alone) not in images:
                matrix = single if alone else several
                images[child, alone] = [_dot(row, smaller[child]) for row in matrix]
            phi = [x * y >> BITS for x, y in zip(phi, images[child, alone], strict=True)]
        found.append((tree, tuple(phi)))
    return tuple(found)


@lru_cache(maxsize=64)
def _matrices(tableau: AnyTableau) -> tuple[list[list[int]], list[list[int]]]:
    """Matrices below nodes with several children and with one, in fixed point."""
    if isinstance(tableau, Tableau):
        rows = [[_fixed(x) for x in row] for row in (*tableau.a, *extra_stages(tableau))]
        return rows, rows
    alpha = [[_fixed(x) for x in row] for row in tableau.alpha]
    gamma = [[_fixed(x) for x in row] for row in tableau.big_gamma]
    pairs = zip(alpha, gamma, strict=True)
    return alpha, [[x + y for x, y in zip(p, q, strict=True)] for p, q in pairs]


def _fixed(x: Number) -> int:
    x = Fraction(x)
    return (x.numerator << BITS) // x.denominator


def _fraction(x: int) -> Fraction:
    return Fraction((x + (1 << (GUARD - 1))) >> GUARD, 1 << (BITS - GUARD))


def _dot(row: Sequence[int], phi: Sequence[int]) -> int:
    """Fixed-point product; the shorter of the two is completed with zeros."""
    return sum(x * y for x, y in zip(row, phi, strict=False) if x) >> BITS
