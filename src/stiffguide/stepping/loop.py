"""The only loop in the package: attempts until no row is live."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stiffguide.errors import Status
from stiffguide.stepping.attempt import attempt
from stiffguide.stepping.live import Live, Problem

ATTEMPTS_BETWEEN_CHECKS = 16  # on an accelerator, where asking "any row live?" stops the queue


def solve(
    p: Problem,
    s: Live,
    after: Callable[[Live], Tensor | None] | None = None,
    step: Callable[[Problem, Live], Live] = attempt,
) -> Live:
    """Repeat attempts until no row is live; `after` may name rows (B,) to stop.

    An interrupt from the keyboard ends the live rows where they are; without any it goes on.
    """
    every = 1 if s.t.device.type == "cpu" else ATTEMPTS_BETWEEN_CHECKS
    try:
        while bool((s.status == int(Status.RUNNING)).any()):
            for _ in range(every):
                s = step(p, s)
            stop = None if after is None else after(s)
            if stop is not None:
                s = _end(s, stop, Status.EVENT)
    except KeyboardInterrupt:
        if not bool((s.status == int(Status.RUNNING)).any()):
            raise
        s = _end(s, torch.ones_like(s.status, dtype=torch.bool), Status.INTERRUPTED)
    return s


def _end(s: Live, which: Tensor, status: Status) -> Live:
    running = s.status == int(Status.RUNNING)
    return s._replace(status=torch.where(running & which, int(status), s.status))
