"""Laws of every controller: it reaches the end, judges each row alone, and remembers nothing."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from families import close, real
from torch import Tensor

import stiffguide as sg
from stiffguide.stepping import controllers
from stiffguide.stepping.contracts import Controller

GAPS = torch.linspace(0.0, 1.0, 12, dtype=torch.float64) ** 2
# for rows from 0 to these ends
CONTROLLERS: dict[str, Callable[[Tensor], Controller]] = {
    "PID": lambda ends: sg.PID(pcoeff=0.3, icoeff=0.4, dcoeff=0.1),
    "Fixed": lambda ends: sg.Fixed(0.11),
    "Grid": lambda ends: sg.Grid(ends.unsqueeze(1) * GAPS),
}
every_controller = pytest.mark.parametrize("name", CONTROLLERS)
ENDS, STARTS = real(1.0, -0.7), torch.stack((real(1.0, 0.0), real(0.0, 2.0)))


def ring(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack((3 * y[..., 1], -3 * y[..., 0]), -1)


def solved(controller: Controller, rows: slice) -> sg.Solution:
    """Rows that turn one way or the other, with all their steps."""
    settings = {"batched": True, "method": "bosh3", "rtol": 1e-3, "save_at": sg.EveryStep()}
    return sg.solve(ring, STARTS[rows], 0.0, ENDS[rows], controller=controller, **settings)


def test_every_controller_is_here() -> None:
    defined = {n for n, kind in vars(controllers).items() if hasattr(kind, "judge")}
    assert defined - {"Controller"} == set(CONTROLLERS)


@every_controller
def test_the_end_is_reached_in_both_directions(name: str) -> None:
    found = solved(CONTROLLERS[name](ENDS), slice(None))
    assert found.success.all()
    for row, end in enumerate(ENDS.tolist()):
        last = int(found.stats.accepted[row])
        assert float(found.t[row, last]) == end
        turn = real(math.cos(3 * end), math.sin(3 * end), -math.sin(3 * end), math.cos(3 * end))
        close(found.y[row, last], turn.reshape(2, 2) @ STARTS[row], rtol=0.02, atol=0.02)


@every_controller
def test_rows_are_judged_alone_and_again(name: str) -> None:
    controller = CONTROLLERS[name](ENDS)
    first, again = solved(controller, slice(None)), solved(controller, slice(None))
    close(again.t, first.t, rtol=0)
    for row in range(2):
        alone = solved(CONTROLLERS[name](ENDS[row : row + 1]), slice(row, row + 1))
        steps = alone.t.shape[1]
        close(first.t[row, :steps], alone.t[0], rtol=1e-10)
        close(first.y[row, :steps], alone.y[0], rtol=1e-9, atol=1e-12)
        assert first.t[row, steps:].isnan().all()
