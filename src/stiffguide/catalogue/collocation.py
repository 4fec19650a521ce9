"""Collocation methods, generated from their nodes: Gauss and Radau IIA."""

from __future__ import annotations

from fractions import Fraction as F

from stiffguide.catalogue.quadrature import collocation
from stiffguide.tableaux.exact import Row, sqrt
from stiffguide.tableaux.tableau import Tableau


def on_nodes(name: str, c: Row, order: int, source: str) -> Tableau:
    """The collocation method on the nodes c (S,)."""
    a, b = collocation(c)
    return Tableau(name=name, a=a, b=b, c=c, order=order, source=source)


GAUSS4 = on_nodes(
    "gauss4",
    (F(1, 2) - sqrt(3) / 6, F(1, 2) + sqrt(3) / 6),
    4,
    "Hammer and Hollingsworth, Math. Tables Aids Comput. 9 (1955) 92-96",
)

GAUSS6 = on_nodes(
    "gauss6",
    (F(1, 2) - sqrt(15) / 10, F(1, 2), F(1, 2) + sqrt(15) / 10),
    6,
    "Butcher, Math. Comp. 18 (1964) 50-64",
)

RADAU_IIA3 = on_nodes(
    "radau_iia3",
    (F(1, 3), F(1)),
    3,
    "Hairer and Wanner, Solving Ordinary Differential Equations II, IV.5, table 5.5",
)

RADAU_IIA5 = on_nodes(
    "radau_iia5",
    ((4 - sqrt(6)) / 10, (4 + sqrt(6)) / 10, F(1)),
    5,
    "Hairer and Wanner, Solving Ordinary Differential Equations II, IV.5, table 5.6",
)

ALL = (GAUSS4, GAUSS6, RADAU_IIA3, RADAU_IIA5)
