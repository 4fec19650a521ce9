"""The only loop in the package: attempts until no row is live."""

from __future__ import annotations

import math
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
    most: float = math.inf,
) -> Live:
    """Repeat attempts until no row is live, at `most` so many; `after` may name rows (B,) to stop.

    An interrupt from the keyboard ends the live rows where they are; without any it goes on.
    """
    every = 1 if s.t.device.type == "cpu" else ATTEMPTS_BETWEEN_CHECKS
    try:
        while most > 0 and running(s):
            for _ in range(int(min(every, most))):
                s = step(p, s)
            most -= every
            stop = None if after is None else after(s)
            if stop is not None:
                s = _end(s, stop, Status.EVENT)
    except KeyboardInterrupt:
        if not running(s):
            raise
        s = _end(s, torch.ones_like(s.status, dtype=torch.bool), Status.INTERRUPTED)
    return s


def running(s: Live) -> bool:
    """Whether any row is live."""
    return bool((s.status == int(Status.RUNNING)).any())


def _end(s: Live, which: Tensor, status: Status) -> Live:
    live = s.status == int(Status.RUNNING)
    return s._replace(status=torch.where(live & which, int(status), s.status))
