"""What an attempt can end a row by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stiffguide.errors import Status
from stiffguide.stepping.live import Problem

if TYPE_CHECKING:
    from stiffguide.stepping.attempt import Outcome

SHORTEST = 4.0  # spacings of time: steps this short no longer move t
NEAREST = 64.0  # and this near to where f is not finite, shorter ones only creep along the border


def endings(
    p: Problem, out: Outcome, t: Tensor, attempts: Tensor, stopped: Tensor | None
) -> list[tuple[Tensor, Status]]:
    """What rows can end by, the weightiest last."""
    found = [(attempts >= p.max_attempts, Status.MAX_ATTEMPTS)]
    if p.controller.adaptive:
        lost = out.dt_next.abs() <= torch.where(out.sound, SHORTEST, NEAREST) * _spacing(t)
        found += [
            (lost & out.sound, Status.DT_TOO_SMALL),
            (lost & ~out.sound, Status.NON_FINITE),
        ]
    else:
        found += [(~out.usable, Status.NOT_CONVERGED), (~out.sound, Status.NON_FINITE)]
    if stopped is not None:
        found.append((stopped, Status.EVENT))
    found.append((out.arrived, Status.SUCCESS))
    return found


def ended(status: Tensor, live: Tensor, found: list[tuple[Tensor, Status]]) -> Tensor:
    """The status of the rows (B,) after an attempt; a later ending outweighs the ones before."""
    for which, ending in found:
        status = torch.where(live & which, int(ending), status)
    return status


def _spacing(t: Tensor) -> Tensor:
    """Of times that can be told apart at t (B,)."""
    return torch.clamp(torch.finfo(t.dtype).eps * t.abs(), min=2.5e-301)
