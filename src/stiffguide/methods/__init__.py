"""Methods by name: every tableau of the catalogue that has a stepper.

Read `explicit_rk`, then `rosenbrock`, `esdirk`, `radau`, `rkc`, `secant_heun`, `bdf` and `adams`
(no tableaux): one family a file, or few, and none knows another. Of `stepping` only `contracts`,
`guards` and `interpolate` may be imported; never `guidance`, a controller, `problems` or `fields`.
"""

from __future__ import annotations

import difflib
from functools import cache

from stiffguide import foreign
from stiffguide.catalogue import TABLEAUX
from stiffguide.catalogue.backward_differences import ORDERS
from stiffguide.catalogue.esdirk import PAIRS
from stiffguide.errors import InputError
from stiffguide.methods.adams import Adams as Adams
from stiffguide.methods.bdf.method import BDF
from stiffguide.methods.esdirk import Esdirk, Imex
from stiffguide.methods.explicit_rk import ExplicitRK
from stiffguide.methods.radau.method import FullyImplicit, radau5
from stiffguide.methods.rkc import RKC
from stiffguide.methods.rosenbrock import Rosenbrock
from stiffguide.methods.secant_heun import SecantHeun
from stiffguide.stepping.contracts import Method
from stiffguide.tableaux.rosenbrock import RosenbrockTableau
from stiffguide.tableaux.tableau import Tableau

AUTO = "rodas5p"  # the one to take where only one can be
ANY = ("auto", "lsoda")  # names under which none is meant
_OTHERS: tuple[Method, ...] = (
    SecantHeun(),
    BDF(),
    *map(BDF, ORDERS),
    radau5(),
    RKC(),
    Adams(implicit=False, max_order=5),  # as stable as one may expect, and of no lower order
    Adams(),
)
OTHERS = {method.name: method for method in _OTHERS}  # methods that are no tableau, or more
# of fields in two parts, under the names of their implicit halves
ADDITIVE = {pair.name: Imex(pair) for pair in PAIRS}
AUTO_ADDITIVE = "kencarp4"


def names() -> list[str]:
    """The methods that `solve` can step with."""
    return [*TABLEAUX, *OTHERS]


def from_tableau(tableau: Tableau | RosenbrockTableau) -> Method:
    """The method of a tableau; the family follows from its structure."""
    if isinstance(tableau, RosenbrockTableau):
        return Rosenbrock(tableau)
    if tableau.explicit:
        return ExplicitRK(tableau)
    if tableau.singly_diagonal:
        return Esdirk(tableau)
    return FullyImplicit(tableau)


@cache
def get(name: str) -> Method:
    """The method of that name; raises InputError with the nearest names."""
    given, name = name, name.lower()
    if name in ANY:
        name = AUTO
    if name == "radau":
        name = "radau5"
    if name in OTHERS:
        return OTHERS[name]
    if name not in TABLEAUX:
        if elsewhere := foreign.method(given):
            raise InputError(f"method: {elsewhere}")
        near = difflib.get_close_matches(name, [*TABLEAUX, *OTHERS], n=3, cutoff=0.5)
        hint = (
            f"did you mean {' or '.join(map(repr, near))}?" if near else "see `stiffguide methods`"
        )
        raise InputError(f"method: {name!r} is unknown; {hint}")
    return from_tableau(TABLEAUX[name])
