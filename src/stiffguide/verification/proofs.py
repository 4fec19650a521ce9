"""What the coefficients of a tableau prove, in exact arithmetic: orders and stability."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from stiffguide.errors import InputError, TableauError
from stiffguide.tableaux import order, stability
from stiffguide.tableaux.order import AnyTableau
from stiffguide.verification.report import Check
from stiffguide.verification.subject import AnyMethod, Subject, subject

Stability = Literal["A", "L"]


def order_conditions(method: AnyMethod | Subject) -> Check:
    """The condition of every rooted tree up to the order of y1, and that one fails beyond it.

    Hairer, Norsett and Wanner I, II.2; for Rosenbrock methods Hairer and Wanner II, IV.7. What is
    violated is named: the condition, its tree, and by how much it is missed.
    """
    name, tableau = "order conditions", subject(method).tableau
    if tableau is None:
        return Check.left_out(name, _without(method))
    return _proof(name, tableau, tableau.order, order.prove_order, order.proven_order)


def embedded_conditions(method: AnyMethod | Subject) -> Check:
    """The same for the embedded solution."""
    name, tableau = "embedded conditions", subject(method).tableau
    if tableau is None:
        return Check.left_out(name, _without(method))
    if tableau.error_order is None:
        return Check.left_out(name, f"{tableau.name} has no embedded pair")
    claim = tableau.error_order
    return _proof(name, tableau, claim, order.prove_error_order, order.proven_error_order)


def dense_conditions(method: AnyMethod | Subject) -> Check:
    """The conditions of the dense output, power by power of theta (I, II.6, theorem 6.1)."""
    name, tableau = "dense conditions", subject(method).tableau
    if tableau is None:
        return Check.left_out(name, _without(method))
    if tableau.dense_order is None:
        return Check.left_out(name, f"{tableau.name} brings no dense output of its own")
    claim = tableau.dense_order
    return _proof(name, tableau, claim, order.prove_dense_order, order.proven_dense_order)


def linear_stability(method: AnyMethod | Subject, claim: Stability | None = None) -> Check:
    """What R(z) says of stability, and whether that is what is claimed: "A" or "L".

    The figure is |R(infinity)|. By Routh's scheme and Sturm's theorem, see `tableaux.stability`.
    Raises InputError for another claim.
    """
    if claim not in (None, "A", "L"):
        raise InputError(f"stability: give 'A' or 'L', not {claim!r}")
    name, tableau = "stability", subject(method).tableau
    if tableau is None:
        return Check.left_out(name, _without(method))
    kind, end = stability.kind(tableau), abs(stability.r_infinity(tableau))
    stable = {"A": ("A-stable", "L-stable"), "L": ("L-stable",), None: (kind,)}[claim]
    words = kind if kind.endswith("stable") else f"stable on the negative real axis {kind}"
    return Check.judged(
        name,
        kind in stable,
        end,
        "-" if claim is None else f"{claim}-stable",
        f"{tableau.name}: {words}, |R(infinity)| = {end:.3g}",
        f"{tableau.name}: {words}, |R(infinity)| = {end:.3g}; {claim}-stable is claimed",
    )


def _proof(
    name: str,
    tableau: AnyTableau,
    claim: int,
    prove: Callable[[AnyTableau], None],
    proven: Callable[[AnyTableau], int | None],
) -> Check:
    try:
        prove(tableau)
        wrong = ""
    except TableauError as error:
        wrong = str(error)
    found = proven(tableau) or 0
    fine = f"{tableau.name}: every condition up to order {claim} holds, and one of the next fails"
    return Check.judged(name, not wrong, float(found), str(claim), fine, wrong)


def _without(method: AnyMethod | Subject) -> str:
    return f"{subject(method).name} has no tableau"
