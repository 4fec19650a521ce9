"""Gradients through a solve.

`direct`: the steps are first chosen without recording anything, then the accepted ones alone are
repeated with autograd recording. Rejected attempts leave no trace in the graph, so that a value
that was not finite in one of them cannot turn a gradient into nan, and memory is that of the
accepted steps. The step sizes are constants of the derivative (they follow tolerances, not y).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stiffguide.errors import Status
from stiffguide.progress import Progress
from stiffguide.stepping import loop
from stiffguide.stepping.controllers import Grid
from stiffguide.stepping.live import Live, Problem, begin
from stiffguide.stepping.output import EveryStep
from stiffguide.tensors import tangles


def wanted(y0: Tensor, f0: Tensor) -> bool:
    """Whether anything that f or y0 depends on requires a gradient."""
    return tangles(y0, f0)


def direct(
    p: Problem,
    t0: Tensor,
    y0: Tensor,
    start: Callable[[Problem], Live],
    watch: Progress,
) -> tuple[Live, Problem]:
    """Solve twice: to choose the steps, then over them with autograd."""
    steps = EveryStep()
    t1 = p.stops[:, -1]
    with torch.no_grad(), watch:
        # guidance, stopping outputs and the monitor decide in the first pass where a row ends
        scout = p._replace(outputs=(steps, *p.outputs))
        for output in scout.outputs:
            output.start(t0, t1, y0.detach())
        ended = loop.solve(scout, start(scout), watch.look)
        times, _ = steps.result(ended.t, ended.y)
    reached = ended.t
    sign = torch.where(t1 < t0, -1.0, 1.0).unsqueeze(1)
    # rows with fewer steps stay at their end
    times = torch.where(torch.isnan(times), reached.unsqueeze(1), times)
    for output in p.outputs:
        output.start(t0, t1, y0)
    if times.shape[1] < 2:
        return ended._replace(y=y0), p
    again = p._replace(
        controller=Grid(times),
        stops=torch.minimum(p.stops * sign, reached.unsqueeze(1) * sign) * sign,
        max_step=float("inf"),
        max_attempts=times.shape[1] + 1,
    )
    f0 = p.f(t0, y0)
    begun = begin(again, t0, y0, f0, times[:, 1] - t0, 0)
    replayed = loop.solve(again, begun)
    status = torch.where(replayed.status == int(Status.SUCCESS), ended.status, replayed.status)
    return ended._replace(t=replayed.t, y=replayed.y, f0=replayed.f0, status=status), p
