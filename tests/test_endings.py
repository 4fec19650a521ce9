"""Where f ends, a solve ends: soon, and with that for a reason."""

from __future__ import annotations

import pytest
import torch
from families import SOLVERS, real
from torch import Tensor

import stiffguide as sg

RATES = (0.3, 0.02, 0.01)  # of the way to the border: slow ones move y by less than its rounding
WALKS = [(name, "eager") for name in [*SOLVERS, "auto"]]
WALKS += [(name, "kernel") for name in ("dopri5", "rodas5p", "kvaerno5", "auto")]


@pytest.mark.usefixtures("plain_builds")
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("name", "backend"), WALKS)
def test_no_solve_creeps_along_the_border_of_f(name: str, backend: str, rate: float) -> None:
    """Steps that do not move y, because they are so short, would be accepted for ever."""

    def f(t: Tensor, y: Tensor, rate: float) -> Tensor:
        return 1e-30 * torch.sqrt(y + 1) - rate  # nan below -1, which y comes to at t = 1

    found = sg.solve(
        f, real(rate - 1), 0.0, 3.0, method=name, backend=backend, args=(rate,), max_attempts=2000
    )
    assert int(found.status) == int(sg.Status.NON_FINITE)
    assert int(found.stats.accepted + found.stats.rejected) < 500
    assert float(found.t[-1]) == pytest.approx(1, abs=1e-9)
    assert "leaves its domain" in found.message
