"""Native calls at work: threads share the rows, and methods take turns."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch

from stiffguide.errors import Status
from stiffguide.kernels.running.task import Ended, Task

PATIENCE = 0.05  # seconds between two looks for an interrupt
SHARE = 64  # rows that make another thread worth starting
ALONE = 256  # rows, up to which one thread is the calling one, if the solve is short:
SHORT = 10**9  # products at most, which take seconds
NO_MEMORY = "kernel: no memory for the lanes"
STIFF = -2  # the status of rows that the stiff one of two methods is to go on with
QUEUES = int(Status.RUNNING), STIFF  # the status of rows that wait for each part
# the next row, whether to stop, whether rows go on
Flags: type[ctypes.Array[ctypes.c_int64]] = ctypes.c_int64 * 3


def alternate(
    calls: Sequence[Callable[[], int]], task: Task, ended: Ended, flags: Any, *, short: bool
) -> None:
    """Let the parts of a kernel take turns, until no row waits for either.

    After an interrupt, rows that wait are INTERRUPTED, but where they only pause.
    """
    status, attempts = ended.counts[0], ended.counts[2]
    until = None if ended.pauses is None else ended.pauses.until
    count, idle, here = 0 if short else threads(task.rows), 0, 0
    while idle < len(calls) and not flags[1]:
        waiting = status == QUEUES[here]
        if until is not None:
            waiting = waiting & (attempts < until)
        if bool(waiting.any()):
            if ended.shifts is not None:
                ended.shifts.note(here, waiting, ended.t)
            idle, flags[0], flags[2] = 0, 0, 1
            work(calls[here], count, flags)
        idle, here = idle + 1, (here + 1) % len(calls)
    if flags[1] and until is None:
        status.masked_fill_(status < 0, int(Status.INTERRUPTED))
        if not bool((status == int(Status.INTERRUPTED)).any()):
            raise KeyboardInterrupt  # it came when all was done


def carry_out(
    run: Callable[[], int], task: Task, ended: Ended, flags: ctypes.Array[ctypes.c_int64]
) -> None:
    """Run a call in as many threads as it is worth; rows that an interrupt leaves are marked."""
    short = task.max_attempts <= alone(task.rows, task.y0.shape[1])
    work(run, 0 if short else threads(task.rows), flags)
    if flags[1]:
        _leave(task, ended, flags[0])
        status = ended.counts[0]  # of rows that wait for another method, too
        status.masked_fill_(status < 0, int(Status.INTERRUPTED))
        if not bool((ended.counts[0] == int(Status.INTERRUPTED)).any()):
            raise KeyboardInterrupt  # it came when all was done


def _leave(task: Task, ended: Ended, first: int) -> None:
    """The rows from `first` on, which an interrupt kept from beginning."""
    rest = slice(first, None)
    ended.t[rest, 0], ended.y[rest, 0], ended.dt[rest] = task.t0[rest], task.y0[rest], 0.0
    ended.counts[:, rest] = 0
    ended.counts[0, rest] = int(Status.INTERRUPTED)
    if ended.happened is not None:
        for part in (ended.happened.kept, ended.happened.sides, ended.happened.streak):
            part[rest] = 0
        ended.happened.since[rest] = task.t0[rest]


def threads(rows: int) -> int:
    """How many threads, at most as many as torch would use."""
    return max(min(torch.get_num_threads(), rows // SHARE), 1)


def alone(rows: int, features: int) -> int:
    """The attempts that the calling thread may take by itself, which cannot be interrupted then."""
    return SHORT // (rows * features**2) if rows <= ALONE and threads(rows) == 1 else 0


def work(run: Callable[[], int], count: int, flags: ctypes.Array[ctypes.c_int64]) -> None:
    """Run in so many threads; an interrupt stops them all."""
    begun: list[bool] = []
    results: list[int] = []
    ready = threading.Event()

    def share() -> None:
        begun.append(True)
        code = 1
        try:
            code = 0 if flags[1] else run()
        finally:
            results.append(code)
            if len(results) == count:
                ready.set()

    if not count:
        results.append(run())
    try:
        for thread in [threading.Thread(target=share) for _ in range(count)]:
            thread.start()
    except KeyboardInterrupt:
        flags[1] = 1
    except RuntimeError as error:  # of a lock that an interrupt met half released
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        flags[1] = 1
    # not by `join`, which takes a thread for ended when an interrupt meets it: what the threads
    # write to must outlive them, also if there is a second one
    while len(results) < (len(begun) if flags[1] else count):
        try:
            ready.wait(PATIENCE)  # a signal may wake another thread than this one
        except KeyboardInterrupt:
            flags[1] = 1
    if any(results):
        raise MemoryError(NO_MEMORY)
