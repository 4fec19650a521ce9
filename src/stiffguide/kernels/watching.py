"""A solve by a kernel that somebody watches: rows pause, and between two slices there is a look."""

from __future__ import annotations

import torch

from stiffguide.errors import Status
from stiffguide.kernels.request import Request
from stiffguide.kernels.running.run import Kernel
from stiffguide.kernels.running.task import Ended, Task
from stiffguide.progress import Progress
from stiffguide.stepping.controllers import PIDState
from stiffguide.stepping.live import Live

RUNNING = int(Status.RUNNING)
LARGEST = 10_000_000  # products in a slice, which take some hundredths of a second
FEWEST, MOST = 10, 1000  # attempts


def solve(kernel: Kernel, r: Request, task: Task, watch: Progress) -> Ended:
    """The solve, attempt by attempt for a monitor, which may stop rows, and else in slices.

    An interrupt from the keyboard ends the running rows where they are; without any it goes on.
    """
    ended = kernel.beginning(task)
    assert ended.pauses is not None
    status, attempts, until = ended.counts[0], ended.counts[2], ended.pauses.until
    more = 1 if watch.monitored else _slice(task)
    try:
        with torch.no_grad(), watch:
            while bool((status < 0).any()):
                torch.add(attempts, more, out=until)
                kernel.go_on(task, ended, more)
                if bool(attempts.any()):  # else no row had any way to go
                    _look(r, ended, watch)
    except KeyboardInterrupt:
        left = status < 0
        if not bool((left | (status == int(Status.INTERRUPTED))).any()):
            raise
        status.masked_fill_(left, int(Status.INTERRUPTED))
    return ended


def _slice(task: Task) -> int:
    """How many attempts there are between two looks, so that a bar moves."""
    return min(max(LARGEST // (task.rows * task.y0.shape[1] ** 2), FEWEST), MOST)


def _look(r: Request, ended: Ended, watch: Progress) -> None:
    s, status = _live(r, ended), ended.counts[0]
    watch.show(s, "A looser rtol")
    if not watch.monitored:
        return
    watch.witness.look(s)
    stop = watch.ask(s)
    if stop is not None:
        status.masked_fill_(stop & (status < 0), int(Status.EVENT))


def _live(r: Request, ended: Ended) -> Live:
    """The rows as the loop would have them, in tensors that nobody writes to any more."""
    assert ended.pauses is not None
    counts, carried = ended.counts.clone(), ended.pauses.carried
    status, accepted, attempts = counts[:3].unbind()
    t, y = ended.t.squeeze(1).clone(), ended.y.squeeze(1)
    # an error of 1e-10 is a logarithm, and stays at most that
    last, before = torch.exp(carried[:, 1:3] - 1e-12).unbind(1)
    return Live(
        t=t,
        y=y.to(r.y0.dtype, copy=True),
        f0=carried[:, 3 : 3 + y.shape[1]].to(r.y0.dtype, copy=True),
        dt=ended.dt.clone(),
        method=(),
        controller=PIDState(last, before, torch.zeros_like(status, dtype=torch.bool)),
        guidance=(),
        status=torch.where(status < 0, RUNNING, status),  # whichever method is to go on
        stop=torch.zeros_like(status),
        attempts=attempts,
        accepted=accepted,
        work=counts[3:],
    )
