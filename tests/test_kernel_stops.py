"""Kernels step on given times as the eager loop does: exactly, row by row, and never across."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch
from agreement import assert_same, assert_within, both
from torch import Tensor

import stiffguide as sg
from stiffguide import EveryStep

D = torch.float64
COMPILER = shutil.which("g++") or shutil.which("clang++")
pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler"),
    pytest.mark.usefixtures("plain_builds"),
]
START = torch.tensor([1.0, 0.0, 0.5, -0.5], dtype=D)
TOLERANCE = {"rtol": 1e-5, "atol": 1e-8}
STOPS = torch.tensor(
    [[0.5, 1.25, 2.0], [1.25, 0.5, 9.0], [0.5, 1.25, 3.5], [1.25, 0.5, 1.25], [-0.5, -1.0, 7.0]],
    dtype=D,
)  # within (0, 3), not in their order, beyond its ends, twice, and none
PUSHES = torch.tensor([5.0, -2.0, 1.0, 3.0, 0.0], dtype=D)


def switched(t: Tensor, y: Tensor, push: Tensor) -> Tensor:
    """Two coupled, damped oscillators, the second of which is pushed from |t| = 1/2 to 5/4."""
    a, b, c, d = y.unbind(-1)
    push = torch.where((t.abs() >= 0.5) & (t.abs() < 1.25), push, 0.0)
    return torch.stack((b, -torch.sin(a) - 0.1 * b + 0.3 * c, d, push - c - 0.2 * a), -1)


@pytest.mark.parametrize("method", ["rodas5p", "rodas3", "tsit5", "dop853"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_same_steps_onto_stops(method: str, sign: float) -> None:
    settings: dict[str, Any] = {"method": method, "batched": True, "args": (PUSHES,)}
    settings |= {"tstops": sign * STOPS, "first_step": 3.0, **TOLERANCE}
    y0 = START * torch.linspace(0.5, 1.5, len(STOPS), dtype=D).unsqueeze(1)
    kernel, eager = both(switched, y0, 0.0, sign * 3.0, save_at=EveryStep(), **settings)
    assert_same(kernel, eager, part=1.0, **TOLERANCE)
    met = (kernel.t.unsqueeze(1) == sign * STOPS.unsqueeze(2)).any(2)
    assert torch.equal(met, (STOPS >= 0) & (STOPS <= 3))
    assert torch.equal(kernel.stats.nfe + kernel.stats.njac, eager.stats.nfe)


@pytest.mark.parametrize("method", ["rodas5p", "tsit5", "kvaerno3"])
def test_the_same_states_onto_stops(method: str) -> None:
    times = torch.tensor([0.1, 0.5, 0.6, 1.25, 2.9], dtype=D)
    settings = {"method": method, "first_step": 3.0, "args": (PUSHES[0],), **TOLERANCE}
    for sign in (1.0, -1.0):
        settings["tstops"] = sign * STOPS[0]
        kernel, eager = both(
            switched, START, 0.0, sign * 3.0, save_at=sign * times, dense=True, **settings
        )
        assert kernel.status.tolist() == eager.status.tolist() == 0
        assert_within(kernel.y, eager.y, 1.0, **TOLERANCE)
        wanted = sign * torch.linspace(0.0, 3.0, 31, dtype=D)
        assert_within(kernel.at(wanted), eager.at(wanted), 1.0, **TOLERANCE)


def late(t: Tensor, y: Tensor, at: Tensor) -> Tensor:
    """From a time on another field, of which the steps that end there must not know."""
    return torch.where(t >= at, 1e6 - y, -y)


@pytest.mark.parametrize("dtype", [D, torch.float32])
@pytest.mark.parametrize("method", ["rodas5p", "tsit5", "kvaerno3"])
def test_neither_side_of_a_stop_sees_the_other(method: str, dtype: torch.dtype) -> None:
    y0, at = torch.ones(1, dtype=dtype), torch.tensor(0.3, dtype=dtype)  # beyond 0.3 in float32
    settings: dict[str, Any] = {"method": method, "rtol": 1e-4, "atol": 1e-5, "args": (at,)}
    settings |= {"tstops": [0.3], "save_at": EveryStep()}
    for begin, end in ((0.0, 1.0), (1.0, 0.0)):
        kernel, eager = both(late, y0, begin, end, **settings)
        assert kernel.stats.rejected == eager.stats.rejected
        there = [found.y[found.t == 0.3] for found in (kernel, eager)]
        assert_within(*there, 1.0, rtol=1e-4, atol=1e-5)
    stopped = sg.solve(late, y0, 0.0, 0.3 + 1e-6, backend="kernel", **settings)
    assert stopped.stats.rejected == 0


def test_a_thousand_rows_with_stops_of_their_own() -> None:
    rows = 1000
    stops = torch.linspace(0.01, 0.99, rows, dtype=D).unsqueeze(1)
    rate = torch.linspace(0.5, 2.0, rows, dtype=D)

    def dosed(t: Tensor, y: Tensor, at: Tensor, rate: Tensor) -> Tensor:
        return torch.where(t >= at, 1.0, 0.0).unsqueeze(-1) - rate.unsqueeze(-1) * y

    settings: dict[str, Any] = {"tstops": stops, "args": (stops.squeeze(1), rate), "batched": True}
    found = sg.solve(dosed, torch.zeros(rows, 1, dtype=D), 0.0, 1.0, backend="kernel", **settings)
    assert bool(found.success.all())
    exact = -torch.expm1(-rate * (1 - stops.squeeze(1))) / rate
    torch.testing.assert_close(found.y[:, 0, 0], exact, rtol=1e-5, atol=1e-8)
    assert int((found.stats.accepted + found.stats.rejected).max()) < 20


@pytest.mark.usefixtures("auto")
def test_a_call_with_other_stops_is_another_call() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.where(t >= 0.5, 1.0, 0.0) - y

    y0 = torch.zeros(1, dtype=D)
    sg.compile(f, like=y0)
    for tstops in (None, [0.5], [0.25, 0.5], None, [0.75]):
        found = sg.solve(f, y0, 0.0, 1.0, tstops=tstops, save_at=EveryStep())
        assert found.stats.backend == "kernel"
        assert set(tstops or ()) <= set(found.t.tolist())
        assert (0.5 in found.t.tolist()) == (0.5 in (tstops or ()))
