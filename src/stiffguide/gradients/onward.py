"""One row, recorded as it goes: attempts with autograd, of which the rejected ones are let go.

Where there are several rows an attempt is rejected by a mask, and what was in it stays in the
graph; of one row nothing is left. So the steps need not be chosen first and repeated.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from stiffguide.gradients import recorder
from stiffguide.stepping import loop
from stiffguide.stepping.attempt import attempt
from stiffguide.stepping.live import Live, Problem
from stiffguide.stepping.output import kept
from stiffguide.tensors import transformed

# of which an attempt costs no more for being recorded in vain
FAMILIES = ("explicit RK", "predictor-corrector", "Rosenbrock")
BETWEEN = 64  # attempts, until the size of the graph is looked at


def serves(p: Problem, y0: Tensor) -> bool:
    """Whether a solve can be recorded so."""
    happens = (p.guidance, p.events, p.jump_at, p.nonnegative, p.f.linear.mass) != (None,) * 5
    if transformed() or happens or len(y0) != 1 or p.method.family not in FAMILIES:
        return False
    return p.controller.adaptive and all(kept(output) is not None for output in p.outputs)


def solve(
    p: Problem, s: Live, look: Callable[[Live], Tensor | None], *, bounded: bool
) -> Live | None:
    """The state after all attempts; None where it is `bounded` and the graph outgrows `ROOM`."""
    with recorder.Saved() as saved:
        s = loop.solve(p, s, look, _tried, recorder.SAMPLE)
    a_step = saved.size / max(1, int(s.accepted[0]))
    while loop.running(s):
        s = loop.solve(p, s, look, _tried, BETWEEN)
        if bounded and a_step * int(s.accepted[0]) > recorder.ROOM:
            return None
    return s


def _tried(p: Problem, s: Live) -> Live:
    """An attempt; its dt is a number, and where it is rejected nothing hangs on it."""
    after = attempt(p, s)
    # t1 may have a history, which a dt that comes of its rejection has not
    after = after._replace(dt=after.dt.detach())
    if int(after.accepted[0]) > int(s.accepted[0]):
        return after
    return after._replace(t=s.t, y=s.y, f0=s.f0)
