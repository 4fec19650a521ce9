"""Least squares by Levenberg and Marquardt, many problems at once, each with its own damping.

Rows that have ended are left out of the batch: whoever evaluates the model sees those that move.
See Moré (1978), The Levenberg-Marquardt algorithm, Lecture Notes in Mathematics 630, 105-116.
Bounds are kept by projection: what one stops is held there for the step, and the rest is cut off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.tensors import select

FIRST, LEAST, MOST = 1e-2, 1e-9, 1e10  # damping, in units of the diagonal of J^T J
FLAT = 1e-6  # of the largest entry of the diagonal: the least, for what hardly moves anything
PASSES = 4  # of fixing what meets a bound
EASED, RAISED = 1 / 5, 4.0
GOOD = 0.25  # of the reduction that the model promised: less is no reason to trust it further
SURE = 1.0  # damping, up to which a small promise means that little is left to gain
MOVING, CONVERGED, STUCK, FAILED = range(4)


class Residuals(NamedTuple):
    """What a model says at rows of coordinates (R, P)."""

    values: Tensor  # (R, N)
    jacobian: Tensor  # (R, N, P)
    ok: Tensor  # (R,) bool: the other rows have no values


class Box(NamedTuple):
    """Bounds of the coordinates; infinite where there are none."""

    lower: Tensor  # (P,)
    upper: Tensor  # (P,)

    def inside(self, u: Tensor) -> Tensor:
        """The nearest coordinates within."""
        return torch.minimum(torch.maximum(u, self.lower), self.upper)

    def held(self, u: Tensor, slope: Tensor) -> Tensor:
        """Coordinates (R, P) bool at a bound beyond which the cost falls."""
        return ((u <= self.lower) & (slope >= 0)) | ((u >= self.upper) & (slope <= 0))


class Aims(NamedTuple):
    """When a row is done, and how far one step may go."""

    ftol: float  # reduction that is left to promise of the cost, against the cost
    enough: Tensor  # a cost (R,), or what is left of it, that is as good as none
    longest: Tensor  # (P,) step
    attempts: int = 100


class Minimum(NamedTuple):
    """Where the rows are: coordinates, costs (sums of squares), and how they ended."""

    u: Tensor  # (R, P)
    cost: Tensor  # (R,), infinite where the model failed at the start
    status: Tensor  # (R,) int64
    evaluations: int  # of the model, each for the rows that moved


Model = Callable[[Tensor, Tensor], Residuals]  # of coordinates (R, P), and which rows they are (R,)


class _Normal(NamedTuple):
    """A place and its normal equations: all that a step needs."""

    u: Tensor  # (R, P)
    cost: Tensor  # (R,)
    slope: Tensor  # (R, P) J^T r
    square: Tensor  # (R, P, P) J^T J


def minimise(
    model: Model, u0: Tensor, box: Box, aims: Aims, look: Callable[[Tensor], None] | None = None
) -> Minimum:
    """Go down from every row of u0 (R, P); `look` is shown the status after every attempt."""
    at = _normal(model, u0, torch.arange(len(u0)))
    status = torch.where(at.cost < torch.inf, MOVING, FAILED)
    damping = torch.full_like(at.cost, FIRST)
    evaluations = 1
    for _ in range(aims.attempts):
        rows = (status == MOVING).nonzero().squeeze(1)
        here, own = _Normal(*(x[rows] for x in at)), damping[rows]
        step = _step(here, own, box, aims.longest)
        little = step.left <= torch.maximum(aims.ftol * here.cost, aims.enough[rows])
        done = (here.cost <= aims.enough[rows]) | (little & (own <= SURE))
        stuck = torch.where(own >= MOST, STUCK, MOVING)
        status[rows] = torch.where(done, CONVERGED, stuck)
        if look is not None:
            look(status)
        goes = status[rows] == MOVING
        rows, here = rows[goes], _Normal(*(x[goes] for x in here))
        step = _Step(*(x[goes] for x in step))
        if not len(rows):
            break
        trial = _normal(model, box.inside(here.u + step.by), rows)
        evaluations += 1
        gained = here.cost - trial.cost  # minus infinity where the trial has no value
        better = gained > 0
        trusted = gained >= GOOD * step.promised
        factor = torch.where(trusted, EASED, torch.where(better, 1.0, RAISED))
        damping[rows] = (own[goes] * factor).clamp(LEAST, MOST)
        kept = select(better, trial, here)
        at = _Normal(*(x.index_copy(0, rows, new) for x, new in zip(at, kept, strict=True)))
    return Minimum(at.u, at.cost, status, evaluations)


def _normal(model: Model, u: Tensor, rows: Tensor) -> _Normal:
    found = model(u, rows)
    r, j = found.values, found.jacobian
    ok = found.ok & torch.isfinite(r).all(1) & torch.isfinite(j).flatten(1).all(1)
    r = torch.where(ok[:, None], r, 0.0)
    j = torch.where(ok[:, None, None], j, 0.0)
    cost = torch.where(ok, r.square().sum(1), torch.inf)
    return _Normal(u, cost, torch.einsum("rnp,rn->rp", j, r), j.mT @ j)


class _Step(NamedTuple):
    """A damped step, and what the model promises of it."""

    by: Tensor  # (R, P)
    promised: Tensor  # (R,) reduction of the cost
    left: Tensor  # (R,) reduction by the same step without bounds and limits


def _step(at: _Normal, damping: Tensor, box: Box, longest: Tensor) -> _Step:
    held = box.held(at.u, at.slope)
    size = torch.diagonal(at.square, dim1=1, dim2=2) * longest.square()
    size = torch.maximum(size, FLAT * size.amax(1, keepdim=True)) / longest.square()
    size = torch.where(size > 0, size, 1.0)
    damped = at.square + torch.diag_embed(damping.unsqueeze(1) * size)
    step = _solved(damped, at.slope, size, held, torch.zeros_like(at.u))
    left = -(at.slope * step).sum(1)
    near = Box(torch.maximum(box.lower, at.u - longest), torch.minimum(box.upper, at.u + longest))
    for _ in range(PASSES):
        inside = near.inside(at.u + step) - at.u
        met = (inside != step) & ~held
        if not bool(met.any()):
            break
        held = held | met  # at the end, and the others make the best of that
        step = _solved(damped, at.slope, size, held, inside)
    step = near.inside(at.u + step) - at.u
    bent = torch.einsum("rp,rpq,rq->r", step, at.square, step)
    return _Step(step, -(2 * (at.slope * step).sum(1) + bent), left)


def _solved(square: Tensor, slope: Tensor, size: Tensor, held: Tensor, given: Tensor) -> Tensor:
    """The step (R, P) to the minimum of the damped model; where `held` it is the `given` one."""
    unit, free = size.rsqrt(), ~held
    known = torch.where(held, given, 0.0)
    right = -(slope + torch.einsum("rpq,rq->rp", square, known)) * unit * free
    scaled = square * unit.unsqueeze(1) * unit.unsqueeze(2)
    scaled = scaled * (free.unsqueeze(1) & free.unsqueeze(2)) + torch.diag_embed(1.0 * held)
    return torch.where(held, known, unit * torch.linalg.solve_ex(scaled, right)[0])
