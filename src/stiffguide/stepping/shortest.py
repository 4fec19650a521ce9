"""Attempts that must not be shorter: an error is no reason to reject them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from stiffguide.errors import Status
from stiffguide.stepping.contracts import Step, Verdict
from stiffguide.stepping.live import Live, Problem
from stiffguide.tensors import finite

if TYPE_CHECKING:
    from stiffguide.stepping.attempt import Clip, Outcome

Endings = list[tuple[Tensor, Status]]


def least(p: Problem, s: Live, clip: Clip) -> Tensor | None:
    """Rows (B,) bool whose attempt is no longer than `min_step`; None where there is none."""
    if not p.min_step:
        return None
    # where t is large the attempt is not quite as long as it was to be
    return (s.dt.abs() <= p.min_step) | (clip.dt.abs() <= p.min_step)


def vouched(p: Problem, step: Step, here: Tensor | None) -> Step:
    """The step, which an adaptive controller is to reject where a growing mode may be damped."""
    if step.grown is None or not p.controller.adaptive:
        return step
    grown = step.grown if here is None else step.grown & ~here
    return step._replace(ok=~grown if step.ok is None else step.ok & ~grown)


def granted(step: Step, verdict: Verdict, here: Tensor) -> tuple[Verdict, Tensor]:
    """The verdict, which errors have no say in at `here` (B,), and the rows where they had one.

    An error that is not finite is none, and nor is one of stages that were not solved for.
    """
    allowed = here if step.ok is None else here & step.ok
    if step.error is not None:
        allowed = allowed & finite(step.error)
    wide = allowed & (~verdict.accept if step.grown is None else ~verdict.accept | step.grown)
    return verdict._replace(accept=verdict.accept | wide), wide


def stuck(out: Outcome, step: Step, here: Tensor | None) -> Endings:
    """What rows end by at `here` (B,) that could not accept their attempt."""
    if here is None:
        return []
    sound = out.sound if step.error is None else out.sound & finite(step.error)
    failed = here & ~out.accept
    return [(failed, Status.NOT_CONVERGED), (failed & ~sound, Status.NON_FINITE)]
