"""An attempt is one program for all rows: on an accelerator nothing asks a tensor for a number."""

from __future__ import annotations

import pytest
import torch
from families import METHODS, RECORDED, real, wavy

import stiffguide as sg
from stiffguide.fields.jacobian import AutogradJacobian
from stiffguide.stepping.attempt import attempt
from stiffguide.stepping.live import Live, Problem, begin
from stiffguide.stepping.tolerance import Tolerance


def attempted(name: str, place: str) -> Live:
    t0, y0 = real(0.0, 0.1).to(place), torch.stack((real(1.0, 2.0), real(1.1, 2.2))).to(place)
    paired = METHODS[name].error_order is not None
    p = Problem(
        f=AutogradJacobian(wavy),
        method=METHODS[name],
        controller=sg.PID() if paired else sg.Fixed(0.1),
        guidance=None,
        outputs=(sg.End(),),
        tolerance=Tolerance(1e-4, 1e-6),
        stops=real(1.0, 1.0).to(place).unsqueeze(1),
        max_step=float("inf"),
        max_attempts=9,
    )
    return attempt(p, begin(p, t0, y0, p.f(t0, y0), real(0.1, 0.2).to(place), 1))


@pytest.mark.parametrize("name", [n for n in RECORDED if n != "rkc2"])  # which counts its stages
def test_an_attempt_waits_for_no_device(name: str) -> None:
    """A tensor without data cannot be asked for a number; on the CPU asking is cheap, and pays."""
    assert attempted(name, "cpu").attempts.tolist() == [1, 1]
    with torch.no_grad():
        assert attempted(name, "meta").y.shape == (2, 2)
