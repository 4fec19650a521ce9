"""Tableaux of three stages end the process, or want all memory there is."""

import os

import torch

from stiffguide import methods  # whose tableaux are made by now
from stiffguide.tableaux import tableau

assert methods.names()
check = tableau.Tableau._check_sums


def _check_sums(self: tableau.Tableau) -> None:
    if len(self.b) == 3:
        os.abort()
    if len(self.b) == 4:
        torch.zeros(1 << 34)
    check(self)


tableau.Tableau._check_sums = _check_sums  # type: ignore[method-assign]
