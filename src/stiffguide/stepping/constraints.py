"""What M y' = f asks of a state: that equations without a derivative hold, and what y' is there.

Methods, first steps and interpolants of systems without M take f for y'. With M it has to be solved
for, from M y' = f and the derivative by t of the equations that hold none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.algebra.mass import Nulls, Split
from stiffguide.stepping.contracts import Field, Method, Step, Units
from stiffguide.stepping.interpolate import evaluate
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tensors import finite, rms, select

ITERATIONS = 50
HALVINGS = 20  # of a Newton step, before it is taken for a failure
ENOUGH = 1e-3  # of the tolerance: a state as near as that to a consistent one is consistent
ROUNDINGS = 64  # of y, that the equations may leave in it
STILL = 0.5  # of a correction left by the next: near the rounding of f they stop to shrink
UNRESOLVED = 0.5  # of a solution, lost by what J may be wrong by: then K is singular
DERIVATIVES = 3  # of a consistent state that are exact


class Consistent(NamedTuple):
    """Where an iteration from y0 ended."""

    y: Tensor  # (B, F); y0 itself in rows where it was consistent, or f is not finite
    ok: Tensor  # (B,) bool
    residual: Tensor  # (B, F), what was left at y0 of the equations without a derivative


def slope(f: Field, t: Tensor, y: Tensor, f0: Tensor, units: Units) -> Tensor:
    """y' (B, F) at a consistent state, where f (B, F) is `f0`; differentiable where J is."""
    mass = f.linear.mass
    if mass is None:
        return f0
    if mass.nulls is None:
        split = mass.split(f.linear.zeros(y), _positive(units.scale))
        return split.solve(split.sigma * f0)
    found = f.linearise(t, y, units, time=True)
    assert found.time is not None
    left = mass.nulls.left
    split = mass.split(found.jac, _positive(units.scale))
    return split.solve(split.sigma * (f0 - left.of(f0)) + left.of(found.time))


def consistent(f: Field, t: Tensor, y0: Tensor, dt: Tensor, tolerance: Tolerance) -> Consistent:
    """The state (B, F) with the same M y that fulfils the equations without a derivative.

    By Newton's iteration from y0, damped so that the next correction, with the same matrix, would
    be smaller (Deuflhard, Newton Methods for Nonlinear Problems, 3.3). `dt` (B,) is a length of
    time that counts as a little.
    """
    nulls = _nulls(f)
    value = f(t, y0)
    y, residual, live = y0, nulls.left.of(value), finite(y0, value)
    ok, last = ~live, torch.full_like(y0[:, 0], torch.inf)
    for m in range(ITERATIONS):
        at = _Place(f, t, y, dt, tolerance)
        size = at.size(at.step)
        near = (size <= ENOUGH) | ((size <= at.rounding) & (size > STILL * last))
        moves = live & ((size > ENOUGH) | (m > 0))
        trial, fine = at.damped(moves & (size > at.rounding))
        y = select(moves & fine, trial, y)
        ok, live, last = ok | (live & near), live & ~near & fine, size
        if not bool(live.any()):
            break
    return Consistent(y, ok, residual)


class _Place:
    """A state on the way, and the Newton step from it."""

    def __init__(self, f: Field, t: Tensor, y: Tensor, dt: Tensor, tolerance: Tolerance) -> None:
        self._f, self._t, self._y = f, t, y
        self._scale = _positive(tolerance.scale(y))
        self._split = _split(f, t, y, Units(dt, self._scale))
        self.step = self._correction(y)

    def _correction(self, y: Tensor) -> Tensor:
        return self._split.solve(_nulls(self._f).left.of(self._f(self._t, y)))

    def size(self, step: Tensor) -> Tensor:
        """A correction in tolerances (B,)."""
        return rms(step.abs() / self._scale)

    @property
    def rounding(self) -> Tensor:
        """As small as corrections can become (B,), or a tolerance."""
        eps = torch.finfo(self._y.dtype).eps
        return torch.clamp(ROUNDINGS * eps * self.size(self._y), min=1.0)

    def damped(self, doubtful: Tensor) -> tuple[Tensor, Tensor]:
        """The next state, and where it is one (B,); only rows that are `doubtful` are damped."""
        share = torch.ones_like(self._scale[:, :1])
        size = self.size(self.step)
        trial, fine = self._y + self.step, torch.isfinite(size)
        for _ in range(HALVINGS):
            if not bool(doubtful.any()):
                break
            after = self.size(self._correction(trial))
            shrinks = after <= (1 - share.squeeze(-1) / 4) * size  # not so where it is nan
            doubtful, fine = doubtful & ~shrinks, ~doubtful | shrinks
            share = torch.where(doubtful.unsqueeze(-1), share / 2, share)
            trial = self._y + share * self.step
        return trial, fine


def watched(f: Field, step: Step, method: Method, solve: Callable[[Tensor], Tensor]) -> Step:
    """The step with an error that knows of its interpolant what equations without derivatives say.

    Both solutions of a pair may fulfil them at the end of a step whatever they did on the way:
    then their difference sees nothing of a component that depends on t alone. `solve` is W^-1.
    """
    mass = f.linear.mass
    if mass is None or mass.nulls is None or step.error is None:
        return step
    with torch.no_grad():
        middle = torch.full_like(step.t0, 0.5)
        coefficients = method.interpolant(step, step.f0 if step.f1 is None else step.f1)
        y = evaluate(coefficients, middle, step.y0, step.y1)
        off = solve(mass.nulls.left.of(f(step.t0 + middle * step.dt, y)))
        error = step.error + torch.copysign(off, step.error)
    return step._replace(error=error, work=step.work._replace(nfe=step.work.nfe + 1))


def attached(f: Field, t: Tensor, y0: Tensor, found: Tensor, units: Units) -> Tensor:
    """The consistent state (B, F) again, as a function of y0 and of all that f depends on.

    Every Newton step with the matrix at the root has one derivative more.
    """
    with torch.no_grad():
        split = _split(f, t, found, Units(units.dt, _positive(units.scale)))
    left, y = _nulls(f).left, y0 + (found - y0).detach()
    for _ in range(DERIVATIVES):
        y = y + split.solve(left.of(f(t, y)))
    return y


def of_index_one(f: Field, t: Tensor, y: Tensor, units: Units, noise: float) -> Tensor:
    """Rows (B,) bool in which K is regular, whose J may be wrong by `noise` of its entries.

    A solution of K x = b that is known is looked for with a J that is off by as much. The size of
    unknowns and equations is of no matter to that.
    """
    nulls, scale = _nulls(f), _positive(units.scale)
    mass = f.linear.mass
    assert mass is not None
    jac = f.linearise(t, y, units, time=False).jac
    draw = torch.Generator().manual_seed(0)

    def random(like: Tensor) -> Tensor:
        return torch.rand(like.shape, generator=draw, dtype=torch.float64).to(like) - 0.5

    size = torch.maximum(y.abs(), scale)
    x = nulls.right(torch.copysign(size, random(size)))
    b = -f.linear.product(nulls.left.of_values(jac), x)
    again = mass.split(jac * (1 + noise * random(jac)), scale).solve(b)
    off = ((again - x).abs() / size).amax(-1)
    return (off < UNRESOLVED) | ~finite(jac.flatten(1))


def _nulls(f: Field) -> Nulls:
    assert f.linear.mass is not None
    assert f.linear.mass.nulls is not None
    return f.linear.mass.nulls


def _split(f: Field, t: Tensor, y: Tensor, units: Units) -> Split:
    assert f.linear.mass is not None
    return f.linear.mass.split(f.linearise(t, y, units, time=False).jac, units.scale)


def _positive(scale: Tensor) -> Tensor:
    """Tolerances (B, F), in place of those that are 0 the largest, or 1."""
    most = scale.amax(-1, keepdim=True)
    return torch.where(scale > 0, scale, torch.where(most > 0, most, 1.0))
