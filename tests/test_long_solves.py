"""A long solve says where it is; the clock is asked once an attempt and decides nothing."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from families import real
from torch import Tensor

import stiffguide as sg
from stiffguide import progress


class Clock:
    """A second passes between two looks."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return 1000.0 + self.looks


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "monotonic", made)
    return made


def spring(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack((y[..., 1], -y[..., 0]), -1)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


@pytest.mark.usefixtures("eager")
def test_a_line_after_ten_seconds_and_one_a_minute(clock: Clock, caplog) -> None:
    settings = {"method": "tsit5", "max_step": 0.1}
    found = sg.solve(spring, real(1.0, 0.0), 0.0, 14.0, **settings)
    attempts = int(found.stats.accepted + found.stats.rejected)
    assert 131 < attempts < 190
    assert clock.looks == attempts + 1
    first, *later = lines(caplog)
    assert len(later) == 2
    assert first.startswith("this solve has taken 10 s so far: it is at t = 0.")
    assert later[0].startswith("this solve has taken 70 s so far")
    for part in ("with dt = 0.1 after 10 steps in 10 attempts (1 a second)", "% of the interval"):
        assert part in first
    assert "method='rodas5p'" in first


def test_the_clock_decides_nothing(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = sg.solve(spring, real(1.0, 0.0), 0.0, 3.0, max_step=0.1, checks=False)
    monkeypatch.undo()
    quick = sg.solve(spring, real(1.0, 0.0), 0.0, 3.0, max_step=0.1, checks=False)
    assert torch.equal(slow.y, quick.y)
    assert repr(slow) == repr(quick)


@pytest.mark.usefixtures("eager")
def test_the_slowest_row_is_told_whose_end_may_be_far(clock: Clock, caplog) -> None:
    y0, ends = real(1.0, 0.0).repeat(3, 1), real(1.0, 50.0, 5.0)
    y0[2] = math.nan  # which ends at once
    sg.solve(spring, y0, 0.0, ends, batched=True, max_step=0.2, max_attempts=30)
    (only,) = lines(caplog)
    assert "row 1, the slowest, is at t = " in only
    assert "backend='kernel'" in only
    caplog.clear()
    stop = lambda t, y: t > 5  # noqa: E731
    sg.solve(spring, real(1.0, 0.0), 0.0, math.inf, monitor=stop, max_step=0.2)
    (only,) = lines(caplog)
    assert "interval" not in only


def test_a_short_solve_is_silent(caplog) -> None:
    sg.solve(spring, real(1.0, 0.0), 0.0, 3.0)
    assert lines(caplog) == []
