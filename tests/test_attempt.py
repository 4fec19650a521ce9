"""An attempt is one program for all rows: nothing in it asks a tensor for a number."""

from __future__ import annotations

import pytest
import torch
from families import METHODS, NAMES, real, wavy
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

import stiffguide as sg
from stiffguide.fields.jacobian import AutogradJacobian
from stiffguide.stepping.attempt import attempt
from stiffguide.stepping.contracts import Tolerance
from stiffguide.stepping.live import Live, Problem, begin

NEWTON = {"ESDIRK", "SDIRK"}  # an iteration asks whether it is done


def attempted(name: str) -> Live:
    t0, y0 = real(0.0, 0.1), torch.stack((real(1.0, 2.0), real(1.1, 2.2)))
    paired = METHODS[name].error_order is not None
    p = Problem(
        f=AutogradJacobian(wavy),
        method=METHODS[name],
        controller=sg.PID() if paired else sg.Fixed(0.1),
        guidance=None,
        outputs=(sg.End(),),
        tolerance=Tolerance(1e-4, 1e-6),
        stops=real(1.0, 1.0).unsqueeze(1),
        max_step=float("inf"),
        max_attempts=9,
    )
    return attempt(p, begin(p, t0, y0, p.f(t0, y0), real(0.1, 0.2), 1))


@pytest.mark.parametrize("name", NAMES)
def test_an_attempt_waits_for_no_device(name: str) -> None:
    """A tensor without data cannot be asked for a number."""
    whole = attempted(name)  # constants are made once: not below, where they would have no data
    assert whole.attempts.tolist() == [1, 1]
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        if METHODS[name].family in NEWTON:
            with pytest.raises(DataDependentOutputException):
                attempted(name)
        else:
            assert attempted(name).y.shape == (2, 2)
