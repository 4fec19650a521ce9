"""Numbers and citations: every tableau of the package by its name."""

from __future__ import annotations

from stiffguide.catalogue import collocation, esdirk, explicit, rosenbrock
from stiffguide.tableaux.rosenbrock import RosenbrockTableau
from stiffguide.tableaux.tableau import Tableau

TABLEAUX: dict[str, Tableau | RosenbrockTableau] = {
    tableau.name: tableau
    for family in (explicit.ALL, esdirk.ALL, collocation.ALL, rosenbrock.ALL)
    for tableau in family
}
