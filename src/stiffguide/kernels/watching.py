"""A solve by a kernel that is watched, or kept in a file: rows pause between slices of attempts."""

from __future__ import annotations

from contextlib import nullcontext

import torch

from stiffguide.checkpoints import Checkpoint
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
EARLY = 2.0**-10  # of the interval: a time that kernels might try


def solve(kernel: Kernel, r: Request, task: Task) -> Ended:
    """The solve, attempt by attempt for a monitor, which may stop rows, and else in slices.

    An interrupt from the keyboard ends the running rows where they are; without any it goes on.
    """
    watch, log, ended = r.watch, r.checkpoint, kernel.beginning(task)
    if log is not None:
        ended = _followed(r, log, task, ended)
    assert ended.pauses is not None
    status, attempts, until = ended.counts[0], ended.counts[2], ended.pauses.until
    more = 1 if watch is not None and watch.monitored else _slice(task)
    more = more if log is None else log.most(more)
    try:
        with torch.no_grad(), nullcontext() if watch is None else watch:
            while bool((status < 0).any()):
                if log is not None:
                    log.look(_live(r, ended), lambda: ended)
                torch.add(attempts, more, out=until)
                kernel.go_on(task, ended, more)
                if watch is not None and bool(attempts.any()):  # else no row had any way to go
                    _look(r, ended, watch)
    except KeyboardInterrupt:
        left = status < 0
        if not bool((left | (status == int(Status.INTERRUPTED))).any()):
            raise
        status.masked_fill_(left, int(Status.INTERRUPTED))
    if log is not None:
        log.keep(_live(r, ended), ended)
    return ended


def _followed(r: Request, log: Checkpoint, task: Task, ended: Ended) -> Ended:
    """The solve where it was, if it was kept; and what is to be kept of it from here on."""
    early = ((task.t1 - task.t0) * EARLY).nan_to_num(posinf=EARLY, neginf=-EARLY)
    monitored = r.watch is not None and r.watch.monitored  # else nothing but the rows moves
    log.begin(0)
    parts = (r.watch.witness,) if r.watch is not None and monitored else ()
    log.follow(r.problem, _live(r, ended)._replace(dt=early), parts)
    return log.put(ended)


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
