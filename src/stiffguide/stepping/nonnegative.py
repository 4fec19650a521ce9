"""Components that must not become negative: what f is asked, and where an attempt may end.

Shampine, Thompson, Kierzenka and Byrne, Appl. Math. Comput. 170 (2005) 556-569. Theirs is the
verdict: an undershoot within the tolerance is set to zero, a larger one is an attempt that failed,
and a component at zero is not led below by f. Two things are added. Where f is not finite at a
stage below zero, the stage counts as zero. And what nothing would bring back from zero, such as a
population, is not set to zero by an error: it goes on as its rate of growth says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from stiffguide.algebra.protocol import LinearSolver
from stiffguide.errors import InputError
from stiffguide.stepping.contracts import Field, Linearisation, Step, Units, Verdict
from stiffguide.tensors import finite, rows, select

if TYPE_CHECKING:
    from stiffguide.stepping.live import Live, Problem

LANDING = 0.5  # of the tolerance below zero: where a step that fell too deep is to end,
SHORTER = 0.9  # at the most this part of it


class Landed(NamedTuple):
    """An attempt whose end is allowed, and by how much it was not."""

    step: Step
    depth: Tensor | None  # (B,) of the undershoot in tolerances; None: there was none
    dt: Tensor  # (B,) that would have led to zero; nan where that is not the place to go to


class Nonnegative:
    """Holds the components `which` (F,) bool at zero or above."""

    def __init__(self, which: Tensor) -> None:
        self.which = which

    def inside(self, y: Tensor) -> Tensor:
        """The states (..., F) with zero in the place of what is below."""
        return torch.where(self.which & (y < 0), 0.0, y)

    def bounding(self, p: Problem, s: Live) -> tuple[Problem, Live]:
        """Both as an attempt is to see them: f from within, and led out by it nowhere."""
        resting = self.which & (s.y <= 0)
        if s.y.device.type == "cpu" and not bool(resting.any()):
            return p._replace(f=Within(p.f, self, None)), s
        held = torch.where(resting, torch.clamp(s.f0, min=0), s.f0)
        return p._replace(f=Within(p.f, self, resting)), s._replace(f0=held)

    def judged(self, p: Problem, s: Live, step: Step) -> tuple[Step, Verdict]:
        """The step with an end that is allowed, and the verdict on it."""
        ended = self._landed(p, step)
        verdict = p.controller.judge(ended.step, p.tolerance, s.controller)
        if ended.depth is None or not p.controller.adaptive:
            return ended.step, verdict
        # where nothing else is wrong with it, the step itself tells how long it may be
        fell = (ended.depth > 1) & (p.tolerance.ratio(step) <= 1) & ~torch.isnan(ended.dt)
        if step.ok is not None:
            fell = fell & step.ok
        return ended.step, verdict._replace(dt_next=torch.where(fell, ended.dt, verdict.dt_next))

    def _landed(self, p: Problem, step: Step) -> Landed:
        y0, y1 = step.y0, step.y1
        under = self.which & (y1 < 0)
        if y1.device.type == "cpu" and not bool(under.any()):
            return Landed(step, None, step.dt)
        moved = under.any(-1)
        t1, at_zero = step.t0 + step.dt, torch.where(under, 0.0, y1)
        f1 = p.f(t1, at_zero)
        lasting = under & (y0 > 0) & (f1 == 0)
        growth = _growth(step, p.f(t1, torch.where(under, -y1, y1)) - f1, under)
        nfe = 2 * moved.long()
        allowed = at_zero
        if y1.device.type != "cpu" or bool(lasting.any()):
            # not with the f0 of a step, which is as good as its iteration
            grown = _grown(step, p.f(step.t0, y0), lasting)
            allowed, nfe = torch.where(lasting, grown, at_zero), nfe + lasting.any(-1)
            if step.f1 is not None:
                f1, nfe = p.f(t1, allowed), nfe + lasting.any(-1)
        ended = step._replace(
            y1=allowed,
            f1=None if step.f1 is None else select(moved, f1, step.f1),
            state=p.method.displace(step.state, (allowed - y1).detach()),
            work=step.work._replace(nfe=step.work.nfe + nfe),
        )
        scale = p.tolerance.scale(y0, y1)
        depth = torch.where(under, (allowed - y1) / scale, 0.0).detach()
        depth = torch.maximum(depth, growth).amax(-1)
        if p.controller.adaptive:
            ended = ended._replace(size=torch.maximum(p.tolerance.ratio(step), depth))
        elsewhere = (lasting | (growth > 0)).any(-1)
        dt = torch.where(elsewhere, torch.nan, _landing(step, under, scale))
        return Landed(ended, depth, dt)

    def fallen(self, p: Problem, step: Step) -> Tensor:
        """How far (B, F) below zero an attempt ends, where that is beyond the tolerance."""
        under = torch.where(self.which, torch.clamp(-step.y1, min=0), 0.0)
        return torch.where(under > p.tolerance.scale(step.y0, step.y1), under, 0.0)

    def refuse(self, y: Tensor, where: Tensor, t: Tensor) -> None:
        """Raise InputError where a state (B, F) was set below zero in the rows `where` (B,)."""
        bad = torch.nonzero(self.which & (y < 0) & where.unsqueeze(1))
        if len(bad):
            row, i = bad[0].tolist()
            raise InputError(
                f"nonnegative: a jump sets component {i} to {float(y[row, i]):.3g} at "
                f"t = {float(t[row]):.6g}; return a state that is allowed"
            )


def _growth(step: Step, rise: Tensor, under: Tensor) -> Tensor:
    """What (B, F) components `under` zero grow by in the step, in parts of them; 0 up to 1.

    `rise` (B, F) is how much more f is as far above zero. What grows, and has turned round, was
    damped by an implicit step that is too long to see it.
    """
    h = rows(step.dt, step.y0).to(step.y0.dtype)
    growth = torch.where(under, h * rise / -step.y1, 0.0).detach()
    return torch.where(growth > 1, growth, 0.0)


def _grown(step: Step, f0: Tensor, where: Tensor) -> Tensor:
    """y0 (B, F) after dt at the relative rate f0/y0 that it had at the start."""
    h = rows(step.dt, step.y0).to(step.y0.dtype)
    rate = torch.where(where, f0, 0.0) / torch.where(where, step.y0, 1.0)
    return step.y0 * torch.exp(h * rate)


def _landing(step: Step, under: Tensor, scale: Tensor) -> Tensor:
    """The dt (B,) after which the first component `under` zero (B, F) would be little below it.

    As if all went evenly.
    """
    part = (step.y0 + LANDING * scale) / (step.y0 - step.y1)
    part = torch.where(under, part, SHORTER).amin(-1).to(step.dt.dtype)
    return step.dt * torch.clamp(part, max=SHORTER).detach()


class Within:
    """A field that is finite below zero if it is at zero, and leads `resting` ones nowhere below.

    These (B, F) are the components that begin an attempt at zero; None: there are none.
    """

    def __init__(self, f: Field, bounds: Nonnegative, resting: Tensor | None) -> None:
        self._f = f
        self._bounds = bounds
        self._resting = resting

    @property
    def linear(self) -> LinearSolver:
        """That of the field."""
        return self._f.linear

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """f(t (B,), y (B, F)) -> (B, F)."""
        value = self._value(t, y)
        if self._resting is None:
            return value
        return torch.where(self._resting & (y <= 0), torch.clamp(value, min=0), value)

    def _value(self, t: Tensor, y: Tensor) -> Tensor:
        """F at (t, y), or at the nearest state that is allowed in rows where it is not finite.

        No more is done where there is a value: f with a kink at zero would cost stages their order,
        and hide from an implicit step that a growing mode turned round in it.
        """
        value, on_cpu = self._f(t, y), y.device.type == "cpu"
        below = (self._bounds.which & (y < 0)).any(-1)
        if on_cpu and not bool(below.any()):
            return value
        lost = below & ~finite(value)
        if on_cpu and not bool(lost.any()):
            return value
        return self._f(t, select(lost, self._bounds.inside(y), y))

    def linearise(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """Those of the field, and 0 where it is held."""
        y = self._bounds.inside(y)
        return self._held(t, y, self._f.linearise(t, y, units, time=time))

    def by_differences(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """The same, by differences."""
        y = self._bounds.inside(y)
        return self._held(t, y, self._f.by_differences(t, y, units, time=time))

    def _held(self, t: Tensor, y: Tensor, found: Linearisation) -> Linearisation:
        if self._resting is None:
            return found
        held = self._resting & (y <= 0) & (self._f(t, y) < 0)
        time = None if found.time is None else torch.where(held, 0.0, found.time)
        nfe = found.nfe + self._resting.any(-1).long()
        return Linearisation(self.linear.without(found.jac, held), time, nfe)
