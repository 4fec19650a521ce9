"""Step-size control: where an error becomes a verdict and the next dt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import InputError
from stiffguide.inputs import Times
from stiffguide.stepping.contracts import State, Step, Verdict
from stiffguide.stepping.tolerance import Tolerance


class PIDState(NamedTuple):
    """Scaled errors of the last two accepted steps, and whether the last attempt failed."""

    last: Tensor  # (B,)
    before: Tensor  # (B,)
    rejected: Tensor  # (B,) bool


@dataclass(frozen=True)
class PID:
    """dt_next = dt safety r_n^(-(p+i+d)/k) r_{n-1}^((p+2d)/k) r_{n-2}^(-d/k), k = error_order + 1.

    Soderlind, ACM TOMS 29 (2003). `icoeff=1` alone is the classical I controller. A factor inside
    `hold` = (low, high) leaves dt as it is, so that a factorisation can be used again.

    Raises InputError for factors and coefficients with which no dt would settle.
    """

    pcoeff: float = 0.0
    icoeff: float = 1.0
    dcoeff: float = 0.0
    safety: float = 0.9
    min_factor: float = 0.2
    max_factor: float = 10.0
    hold: tuple[float, float] = (1.0, 1.0)
    adaptive: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.safety < 1:
            raise InputError(f"PID: safety must lie between 0 and 1, not {self.safety}")
        if not 0 < self.min_factor < 1 < self.max_factor:
            raise InputError("PID: needs 0 < min_factor < 1 < max_factor")
        if not self.pcoeff + self.icoeff + self.dcoeff > 0:
            raise InputError("PID: the coefficients must add up to a positive number")

    def init(self, t0: Tensor, t1: Tensor, dt: Tensor) -> tuple[Tensor, PIDState]:
        """Take the proposed dt; errors of steps before the first count as 1."""
        one = torch.ones_like(dt)
        return dt, PIDState(one, one.clone(), torch.zeros_like(dt, dtype=torch.bool))

    def judge(self, step: Step, tolerance: Tolerance, state: PIDState) -> Verdict:
        """Accept where the scaled error is at most 1."""
        assert step.error_order is not None
        k = step.error_order + 1
        ratio = tolerance.ratio(step).to(step.dt.dtype)
        accept = ratio <= 1
        if step.ok is not None:
            accept = accept & step.ok
            ratio = torch.where(step.ok, ratio, float("nan"))
        # 1e-10: a vanishing error must not make the next proposal infinite
        now = torch.clamp(ratio, min=1e-10)
        # one rejection: back to the I controller, whose memory is no longer to the point
        shrink = torch.clamp(self.safety * now ** (-1 / k), max=self.safety)
        growth = self._growth(now, k, state) if step.growth is None else step.growth
        factor = torch.where(accept, growth, shrink)
        # not finite, or no convergence: nothing is known but that dt was too long
        factor = torch.nan_to_num(factor, nan=self.min_factor)
        factor = torch.clamp(factor, self.min_factor, self.max_factor)
        low, high = self.hold
        if high > low and step.growth is None:
            factor = torch.where((factor >= low) & (factor <= high), 1.0, factor)
        if step.longest is not None:
            factor = torch.minimum(factor, step.longest / step.dt.abs())
        last = torch.where(accept, now, state.last)
        before = torch.where(accept, state.last, state.before) if self.dcoeff else state.before
        return Verdict(accept, step.dt * factor, PIDState(last, before, ~accept))

    def _growth(self, now: Tensor, k: Tensor | int, state: PIDState) -> Tensor:
        """The factor (B,) on dt after acceptance."""
        p, i, d = self.pcoeff, self.icoeff, self.dcoeff
        factor = self.safety * now ** (-(p + i + d) / k)
        if p or d:
            factor = factor * state.last ** ((p + 2 * d) / k)
        if d:
            factor = factor * state.before ** (-d / k)
        return torch.where(state.rejected, torch.clamp(factor, max=1.0), factor)


def Integral(**settings: float) -> PID:
    """The classical I controller (Hairer I, II.4.13)."""
    return PID(pcoeff=0.0, icoeff=1.0, dcoeff=0.0, **settings)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Fixed:
    """Steps of one length |dt|; every step is accepted.

    Raises InputError unless dt is positive and finite.
    """

    dt: float
    adaptive: bool = False

    def __post_init__(self) -> None:
        if not (self.dt > 0 and self.dt < float("inf")):
            raise InputError(f"Fixed: dt must be positive and finite, not {self.dt}")

    def init(self, t0: Tensor, t1: Tensor, dt: Tensor) -> tuple[Tensor, State]:
        """|dt| in the direction of the interval."""
        return torch.sign(t1 - t0) * self.dt, ()

    def judge(self, step: Step, tolerance: Tolerance, state: State) -> Verdict:
        """Accept."""
        signed = torch.sign(step.dt) * self.dt
        return Verdict(torch.ones_like(step.dt, dtype=torch.bool), signed, state)


class GridState(NamedTuple):
    """Which of the given times comes next."""

    place: Tensor  # (B,) int64


class Grid:
    """Steps between given times: (N,) for all rows or (B, N), first t0, then onwards to t1.

    Raises InputError for fewer than two times, and where they are not finite or not sorted.
    """

    adaptive = False

    def __init__(self, times: Times) -> None:
        given = torch.as_tensor(times, dtype=torch.float64)
        if given.ndim not in (1, 2) or given.shape[-1] < 2:
            raise InputError("Grid: needs at least two times, shape (N,) or (B, N)")
        if not bool(torch.isfinite(given).all()):
            raise InputError("Grid: the times must be finite")
        table: Tensor = given if given.ndim == 2 else given.unsqueeze(0)
        gaps = table.diff(dim=1)
        if bool((gaps > 0).all()) or bool((gaps < 0).all()):  # as grids mostly are
            self.times: Tensor = table.clone()
            return
        if not bool(((gaps >= 0).all(-1) | (gaps <= 0).all(-1)).all()):
            raise InputError("Grid: the times must be sorted, rising or falling")
        # a time given twice is no step: it waits at the end
        twice = torch.nn.functional.pad(gaps == 0, (1, 0))
        sign = torch.where(table[:, -1:] < table[:, :1], -1.0, 1.0)
        self.times = torch.where(twice, table[:, -1:], table).mul(sign).sort(1).values * sign

    def init(self, t0: Tensor, t1: Tensor, dt: Tensor) -> tuple[Tensor, GridState]:
        """The first gap."""
        times = self.times.to(t0.device)
        if times.shape[0] not in (1, t0.shape[0]):
            raise InputError(f"Grid: {times.shape[0]} rows of times for {t0.shape[0]} rows")
        if bool((times[:, 0] != t0).any()) or bool((times[:, -1] != t1).any()):
            raise InputError("Grid: the times must begin at t0 and end at t1")
        return (times[:, 1] - t0).clone(), GridState(torch.ones_like(t0, dtype=torch.int64))

    def judge(self, step: Step, tolerance: Tolerance, state: GridState) -> Verdict:
        """Accept, and go on to the next time."""
        times = self.times.to(step.dt.device).expand(step.dt.shape[0], -1)
        index = torch.clamp(state.place + 1, max=times.shape[1] - 1)
        here = times.gather(1, state.place.unsqueeze(1))
        ahead = times.gather(1, index.unsqueeze(1))
        accept = torch.ones_like(step.dt, dtype=torch.bool)
        return Verdict(accept, (ahead - here).squeeze(1), GridState(index))
