"""Numbers and citations: every tableau of the package by its name.

Read `explicit`, then `esdirk`, `collocation` and `rosenbrock`: these gather the families. Large
pairs have files of their own (`tsitouras`, `verner`, `prince`, `dop853`; `kvaerno`, `kencarp`), and
`quadrature` derives what conditions determine.
Only `tableaux` may be imported: it proves what is typed here.
"""

from __future__ import annotations

from stiffguide.catalogue import collocation, esdirk, explicit, rosenbrock
from stiffguide.tableaux.rosenbrock import RosenbrockTableau
from stiffguide.tableaux.tableau import Tableau

TABLEAUX: dict[str, Tableau | RosenbrockTableau] = {
    tableau.name: tableau
    for family in (explicit.ALL, esdirk.ALL, collocation.ALL, rosenbrock.ALL)
    for tableau in family
}
"""Every tableau of the package by its name, which is the name of its method, too."""
