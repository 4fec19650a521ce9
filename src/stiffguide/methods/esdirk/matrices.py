"""The matrix of an attempt: J and the factors of W, renewed where they do not serve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from stiffguide.stepping.contracts import Field, Step, Units, Work
from stiffguide.stepping.guards import sound
from stiffguide.tensors import select

S = TypeVar("S", bound=Any)  # a NamedTuple with jac, factors, the dt they are made with, and keep


def renewed(
    f: Field, t0: Tensor, units: Units, y0: Tensor, state: S, gamma: float, lag: tuple[float, float]
) -> tuple[S, Work]:
    """Renew J where it must not be kept and the factors where J or dt is new.

    A dt is new outside `lag`, in parts of the one that factors were made with.
    """
    may_keep = y0.device.type == "cpu"  # elsewhere asking costs more than a new Jacobian
    stale = ~state.keep if may_keep else torch.ones_like(state.keep)
    jac: Tensor = state.jac
    nfe: Tensor | int = 0
    if bool(stale.any()) if may_keep else True:
        # where J is not finite even so, Newton will not converge
        fresh, _ = sound(f.linearise(t0, y0, units, time=False), f, t0, y0, units)
        jac, nfe = select(stale, fresh.jac, state.jac), fresh.nfe
    dt = units.dt
    stretch = dt / state.dt
    refactor = stale | ~((stretch >= lag[0]) & (stretch <= lag[1]))
    factors = state.factors
    if bool(refactor.any()) if may_keep else True:
        shift = 1 / (dt * gamma).to(y0.dtype)
        made = f.linear.factor(shift, jac, units.scale, where=refactor)
        factors = select(refactor, made, factors)
    work = Work(nfe=stale * nfe, njac=stale.long(), nlu=refactor.long())
    made_with = torch.where(refactor, dt, state.dt)
    return state._replace(jac=jac, factors=factors, dt=made_with, keep=~stale), work


def attempted(stages: Callable[[S], Step], renew: Callable[[S], tuple[S, Work]], state: S) -> Step:
    """The step by `stages` in every row; where an old J failed, once more with a new one."""
    with torch.no_grad():
        state, work = renew(state)
    kept = state.keep
    step = stages(state)
    spent = _add(work, step.work)
    assert step.ok is not None
    failed = kept & (~step.ok if step.grown is None else ~step.ok | step.grown)
    if kept.device.type == "cpu" and bool(failed.any()):
        with torch.no_grad():
            state, work = renew(state._replace(keep=~failed))
        again = stages(state)
        # the rows that had succeeded repeat what they did: keep their first result
        step = _choose(failed, again, step)
        spent = _add(spent, Work(*(failed * w for w in _add(work, again.work))))
    return step._replace(work=spent)


def _add(x: Work, y: Work) -> Work:
    return Work(*(p + q for p, q in zip(x, y, strict=True)))


def _choose(mask: Tensor, new: Step, old: Step) -> Step:
    """The rows of `new` where mask holds; `stages` has its rows on the second axis."""
    fields = ("y1", "ok", "state", "jac") + (("error",) if new.error is not None else ())
    fields += ("f1",) if new.f1 is not None else ()
    picked = {name: select(mask, getattr(new, name), getattr(old, name)) for name in fields}
    if new.grown is not None or old.grown is not None:
        before, now = (torch.zeros_like(mask) if s.grown is None else s.grown for s in (old, new))
        picked["grown"] = torch.where(mask, now, before)
    stages = torch.where(mask.unsqueeze(-1), new.stages, old.stages)
    return old._replace(stages=stages, **picked)
