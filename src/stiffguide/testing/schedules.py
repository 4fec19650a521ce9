"""Noise schedules with drawn parameters, and the laws that every schedule obeys."""

from __future__ import annotations

import math

import torch
from hypothesis import strategies as st

from stiffguide.adapters.diffusion.ddpm import DDPMTable
from stiffguide.adapters.diffusion.log_time import LogTime
from stiffguide.adapters.diffusion.reversed_time import Reversed
from stiffguide.adapters.diffusion.schedule import (
    VE,
    RectifiedFlow,
    Schedule,
    VPCosine,
    VPLinear,
    VPScaledLinear,
)

Draw = st.DrawFn

LOW, HIGH = 0.05, 14.0  # levels that all of them have
CLOSE, SAME = 1e-12, 1e-14
STEP = 1e-6  # of a central difference, in units of the time between these levels


@st.composite
def schedules(draw: Draw, *, reverse: bool | None = None) -> Schedule:
    """Variance exploding, variance preserving, flows, tables, logarithmic time; either way round.

    With `reverse` False time runs from data to noise, as in most of them, with True the other way.
    """
    low, high = draw(st.floats(0.05, 0.9)), draw(st.floats(12.0, 40.0))
    steps = draw(st.integers(200, 1200))
    kinds: list[Schedule] = [
        RectifiedFlow(draw(st.floats(0.2, 8.0))),
        VPLinear(low, high),
        VPScaledLinear(low, high),
        VPCosine(draw(st.floats(0.001, 0.05))),
        LogTime(draw(st.floats(0.1, 1.0))),
        DDPMTable.linear(steps, low / steps, high / steps),
        DDPMTable.scaled_linear(steps, low / steps, high / steps),
        VE(),
    ]
    turn = draw(st.booleans()) if reverse is None else reverse
    chosen = draw(st.sampled_from(kinds[:-1] if turn else kinds))
    return Reversed(chosen) if turn else chosen


def assert_schedule(schedule: Schedule) -> None:
    """Raise AssertionError, saying which, where a law of schedules is broken.

    `time` inverts `level`; sigma/alpha is `level`, and rises or falls; `d_alpha` and `d_sigma` are
    the derivatives of `alpha` and `sigma`; `log_snr` is log(alpha/sigma); `to_ve` and `from_ve`
    invert each other; a range is one of positive levels. Looked at between the levels 0.05 and 14.
    """
    ends = [float(schedule.time(level)) for level in (LOW, HIGH)]
    length = ends[1] - ends[0]
    # off the nodes of a table, where derivatives jump
    t = torch.linspace(ends[0], ends[1], 12, dtype=torch.float64)[1:-1]
    t = t + 1e-3 * math.pi * length / 12
    levels = schedule.level(t)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    _say("level is sigma/alpha", levels, sigma / alpha, CLOSE)
    _say("time inverts level", schedule.level(schedule.time(levels)), levels, CLOSE)
    assert bool((levels.diff() > 0).all()), f"{schedule!r}: levels do not rise towards the noise"
    h = STEP * length
    for name in ("alpha", "sigma"):
        value, derivative = getattr(schedule, name), getattr(schedule, f"d_{name}")
        slope = (value(t + h) - value(t - h)) / (2 * h)
        size = value(t).abs().max() / abs(length)
        gap = (derivative(t) - slope).abs()
        assert bool((gap <= 2e-6 * slope.abs() + 1e-8 * size).all()), (
            f"{schedule!r}: d_{name} is not the derivative of {name}: off by {float(gap.max()):.2g}"
        )
    ratio = torch.log(alpha / sigma)
    gap = ((schedule.log_snr(t) - ratio).abs() / (1 + ratio.abs())).max()
    assert float(gap) <= CLOSE, f"log_snr is log(alpha/sigma): broken by {float(gap):.2g}"
    x = torch.outer(torch.linspace(1, 2, len(t), dtype=torch.float64), levels)
    _say("from_ve inverts to_ve", schedule.from_ve(schedule.to_ve(x, t), t), x, SAME)
    _say("to_ve divides by alpha", schedule.to_ve(x, t), x / alpha.unsqueeze(-1), SAME)
    low, high = schedule.range()
    assert 0 < low < high < math.inf, f"{schedule!r}: the range is from {low} to {high}"


def _say(law: str, found: torch.Tensor, due: torch.Tensor, rtol: float) -> None:
    gap = float(((found - due).abs() / due.abs().clamp_min(1e-6)).max())
    assert gap <= rtol, f"{law}: broken by {gap:.2g}"
