"""Tableaux of two stages are read for ever."""

from stiffguide import methods  # whose tableaux are made by now
from stiffguide.tableaux import tableau

assert methods.names()
check = tableau.Tableau._check_sums


def _check_sums(self: tableau.Tableau) -> None:
    while len(self.b) == 2:
        pass
    check(self)


tableau.Tableau._check_sums = _check_sums  # type: ignore[method-assign]
