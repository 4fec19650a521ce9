"""The members that laws are stated for: methods by structure, and one of each family."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stiffguide import methods

NAMES = methods.names()
METHODS = {name: methods.get(name) for name in NAMES}
EXPLICIT = [n for n, m in METHODS.items() if not m.implicit]
IMPLICIT = [n for n, m in METHODS.items() if m.implicit]
PAIRED = [n for n, m in METHODS.items() if m.error_order is not None]
UNPAIRED = [n for n in NAMES if n not in PAIRED]
STIFF = [n for n in IMPLICIT if n in PAIRED]
SOLVERS = ["tsit5", "rodas5p", "kvaerno5", "sdirk2"]  # one of each family

TABLEAU = {n: m.tableau for n, m in METHODS.items() if hasattr(m, "tableau")}

every_method = pytest.mark.parametrize("name", NAMES)
every_paired = pytest.mark.parametrize("name", PAIRED)
every_family = pytest.mark.parametrize("name", SOLVERS)


def rtol_for(name: str, rtol: float) -> float:
    """A tolerance that asks about as many steps of a method of low order as of the others."""
    return max(rtol, 1e-4) if METHODS[name].order < 3 else rtol


def real(*values: float) -> Tensor:
    """A float64 tensor."""
    return torch.tensor(values, dtype=torch.float64)


def close(found: Tensor, expected: Tensor, rtol: float = 1e-12, atol: float = 0.0) -> None:
    """Equal to within rtol of the expected size, entry by entry; nan meets nan."""
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol, equal_nan=True)
