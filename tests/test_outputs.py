"""Laws of every output: rows are kept alone, and the solve before is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from families import close, every_family, real
from torch import Tensor

import stiffguide as sg
from stiffguide.stepping import output
from stiffguide.stepping.contracts import Output

OUTPUTS: dict[str, Callable[[], Output]] = {
    "End": sg.End,
    "SteadyState": lambda: sg.SteadyState(rtol=1e-2),
    "AtTimes": lambda: sg.AtTimes(real(0.0, 0.3, 1.1, 2.0)),
    "Chords": lambda: output.Chords(real(0.0, 0.3, 1.1, 2.0)),
    "EveryStep": sg.EveryStep,
    "Dense": output.Dense,
}
every_output = pytest.mark.parametrize("kind", OUTPUTS)
RATES = real(0.5, 4.0, 40.0)


def solved(kept: Output, rates: Tensor, name: str) -> sg.Solution:
    """A row a rate, each of which settles at 2 in a time of its own."""
    f = lambda t, y: rates.unsqueeze(1) * (2 - y)  # noqa: E731
    settings: dict[str, Any] = {"method": name, "rtol": 1e-3, "save_at": kept}
    return sg.solve(f, real(0.0, 1.0).repeat(len(rates), 1), 0.0, 2.0, batched=True, **settings)


def test_every_output_is_here() -> None:
    defined = {n for n, kind in vars(output).items() if hasattr(kind, "record")}
    assert defined - {"Output"} == set(OUTPUTS)


@every_output
@every_family
def test_rows_are_kept_alone(kind: str, name: str) -> None:
    whole = solved(OUTPUTS[kind](), RATES, name)
    for row in range(len(RATES)):
        alone = solved(OUTPUTS[kind](), RATES[row : row + 1], name)
        kept = alone.t.shape[1]
        close(whole.t[row, :kept], alone.t[0], rtol=1e-9)
        close(whole.y[row, :kept], alone.y[0], rtol=1e-9)
        assert whole.t[row, kept:].isnan().all()
        assert int(whole.status[row]) == int(alone.status)


def test_chords_are_straight_and_no_kernel_bends_them() -> None:
    grid, t = sg.Grid([0.0, 0.5, 2.0]), real(0.25, 0.5, 1.25)
    given = {"method": "dopri5", "controller": grid}
    f = lambda t, y: -y  # noqa: E731
    kept = sg.solve(f, real(1.0), 0.0, 2.0, save_at=output.Chords(t), **given).y
    ends = sg.solve(f, real(1.0), 0.0, 2.0, save_at=sg.EveryStep(), **given).y
    close(kept[0], (ends[0] + ends[1]) / 2, rtol=1e-12)
    close(kept[1], ends[1], rtol=1e-12)
    close(kept[2], (ends[1] + ends[2]) / 2, rtol=1e-12)
    with pytest.raises(sg.UnsupportedError, match="no other output"):
        sg.solve(f, real(1.0), 0.0, 2.0, save_at=output.Chords(t), backend="kernel")


@every_output
def test_the_solve_before_is_forgotten(kind: str) -> None:
    used = OUTPUTS[kind]()
    solved(used, 3 * RATES[:2], "tsit5")
    again, fresh = solved(used, RATES, "tsit5"), solved(OUTPUTS[kind](), RATES, "tsit5")
    close(again.t, fresh.t, rtol=0)
    close(again.y, fresh.y, rtol=0)
