"""A kernel at work: tensors in, where every row ended out; threads share the rows."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch

from stiffguide.errors import Status, UnsupportedError
from stiffguide.graphs.graph import digest
from stiffguide.kernels.emitting import cpp, cuda
from stiffguide.kernels.emitting.coefficients import Coefficients
from stiffguide.kernels.emitting.parameters import parameters
from stiffguide.kernels.emitting.sensitivities import Directions
from stiffguide.kernels.running import build, compiler, device, packing
from stiffguide.kernels.running.task import (
    Derivatives,
    Ended,
    Happened,
    Pauses,
    Pieces,
    Shifts,
    Task,
)
from stiffguide.kernels.running.threads import Flags, alone, alternate, carry_out
from stiffguide.tracing.traced_field import Traced

FEW = 4  # up to so many rows, one lane at a time is faster than many lanes that idle
EACH = 4  # times that an event of a row is first given room for


@dataclass
class Kernel:
    """The solve of one field by one method; libraries are built or loaded when first used."""

    passes: ClassVar[int] = 1  # over a solve in the eager loop that does the same
    size: ClassVar[int] = 1  # of the text

    traced: Traced
    method: Coefficients
    directions: Directions | None = None  # by which states are differentiated
    _libraries: dict[tuple[bool, str], ctypes.CDLL] = field(default_factory=dict)
    _waited: dict[bool, float] = field(default_factory=dict)  # operations of eager solves so far
    _failed: dict[bool, str] = field(default_factory=dict)  # why a build did not succeed
    _programs: dict[tuple[torch.device, str], device.Program] = field(default_factory=dict)
    _most: int = 0  # events in a solve

    def __post_init__(self) -> None:
        self._own = repr(parameters(self.traced))  # not seen in the graph

    @property
    def parts(self) -> tuple[Kernel, ...]:
        """The kernels that share the rows, the explicit method's first; or this one alone."""
        return (self,)

    def key(self, *, wide: bool) -> str:
        """The name of a library: the hash of all that it depends on."""
        parts = [self.traced.key, self._own, repr(self.method), cpp.fingerprint()]
        parts += [] if self.directions is None else [repr(self.directions)]
        return digest(*parts, repr(compiler.flags()), compiler.cpu(), str(wide))

    def source(self) -> str:
        """The translation unit."""
        return cpp.source(self.traced, self.method, directions=self.directions)

    def ready(self, *, wide: bool) -> bool:
        """Whether the library is loaded or in the cache."""
        form = (wide, self._own)
        if form not in self._libraries:
            found = build.find(self.key(wide=wide))
            if found is not None:
                self._libraries[form] = found
        return form in self._libraries

    def built(self, *, wide: bool) -> ctypes.CDLL:
        """The library, built if need be; raises UnsupportedError."""
        if not self.ready(wide=wide):
            option = f"-DWIDE={int(wide)}"
            self._libraries[wide, self._own] = build.make(
                self.key(wide=wide), self.source, (option,)
            )
        return self._libraries[wide, self._own]

    def tried(self, *, wide: bool) -> bool:
        """Build the library unless that has failed before: whether it is there."""
        if wide not in self._failed:
            try:
                self.built(wide=wide)
            except UnsupportedError as error:
                self._failed[wide] = str(error)
        return wide not in self._failed

    def failure(self, *, wide: bool) -> str:
        """Why there is no library, if building it has failed."""
        return self._failed.get(wide, "")

    def waited(self, *, wide: bool, more: float) -> float:
        """What eager solves have taken in place of this kernel, `more` included."""
        self._waited[wide] = self._waited.get(wide, 0.0) + more
        return self._waited[wide]

    def prepare(self, place: torch.device, *, wide: bool) -> None:
        """Build what a solve on that device needs; raises UnsupportedError."""
        if place.type == "cpu":
            self.built(wide=wide)
        elif (place, self._own) not in self._programs:
            source = cuda.source(self.traced, self.method)
            self._programs[place, self._own] = device.compile(source, place)

    def solve(self, task: Task) -> Ended:
        """Solve every row."""
        return self._run(task, None)

    def trace_steps(self, task: Task, *, dense: bool) -> Ended:
        """Solve every row twice: to count the steps, then to keep them.

        An interrupt of the first leaves no pieces.
        """
        return self.keep_steps(task, self.solve(task), dense=dense)

    def keep_steps(self, task: Task, first: Ended, *, dense: bool) -> Ended:
        """Solve once more, and keep the steps; every row ends where it did first."""
        kept = first.counts[1] if first.happened is None else first.happened.kept
        if bool((first.counts[0] == int(Status.INTERRUPTED)).any()):
            return first
        n = max(int(kept.max()), 1) if task.rows else 1
        b, f = task.y0.shape
        degree = max(part.method.interpolant.degree for part in self.parts)
        pieces = Pieces(
            first.t.T.repeat(n, 1),
            first.t.T.repeat(n, 1),
            first.y.movedim(1, 0).repeat(n, 1, 1),
            first.y.movedim(1, 0).repeat(n, 1, 1),
            task.y0.new_zeros(n, degree, b, f) if dense else None,
        )
        if first.pauses is None or first.pauses.until is None:
            return self._run(task, pieces)
        ended = self.beginning(task, pieces)
        assert ended.pauses is not None
        assert ended.pauses.until is not None
        ended.pauses.until.copy_(first.counts[2])
        self.go_on(task, ended, int(first.counts[2].max()))
        ended.counts[0] = first.counts[0]  # somebody may have stopped a row there
        return ended

    def beginning(self, task: Task, pieces: Pieces | None = None) -> Ended:
        """A solve before its first attempt, for `go_on`."""
        b, _ = task.y0.shape
        until = torch.zeros(b, dtype=torch.int64, device=task.y0.device)
        ended = self._room(task, pieces)
        ended.t[:, 0], ended.y[:, 0], ended.counts[:] = task.t0, task.y0, 0
        ended.counts[0] = int(Status.RUNNING)
        carried = task.y0.new_zeros(b, cpp.carried(self.traced, self.directions))
        shifts = None if task.rules is None else Shifts(b)
        return ended._replace(pauses=Pauses(until, carried), shifts=shifts)

    def go_on(self, task: Task, ended: Ended, attempts: int) -> None:
        """Let every row go on that is RUNNING until it pauses, after so many attempts at most.

        Raises KeyboardInterrupt, after which rows are INTERRUPTED, or RUNNING where they paused.
        """
        if task.y0.device.type != "cpu":
            return self._on_device(task, ended, again=1)
        flags, rows = Flags(0, 0, 1), task.rows
        short = attempts <= alone(rows, task.y0.shape[1])
        alternate(self._calls(task, ended, flags), task, ended, flags, short=short)
        if flags[1]:
            raise KeyboardInterrupt

    def _run(self, task: Task, pieces: Pieces | None) -> Ended:
        """The same; once more with more room, where more happened than there was room for."""
        ended = self._tried(task, pieces)
        if ended.happened is not None and ended.happened.full:
            self._most = max(self._most, int(ended.happened.total))
            if not bool((ended.counts[0] == int(Status.INTERRUPTED)).any()):
                ended = self._tried(task, pieces)
        return ended

    def _happened(self, task: Task) -> Happened | None:
        """Where what happens is kept; how much that is shows in the end."""
        if task.happening is None:
            return None
        (b, f), e = task.y0.shape, len(task.happening.limit)
        room = max(EACH * b * e, self._most)
        new, whole = task.y0.new_empty, task.happening.limit.new_empty
        total, rows, events = task.happening.limit.new_zeros(1), whole(room), whole(room)
        times, states = new(room), new((room, f))
        return Happened(total, rows, events, times, states, whole(b), new((b, e)), new(b), whole(b))

    def _room(self, task: Task, pieces: Pieces | None) -> Ended:
        """Where a solve leaves what it reaches."""
        ended = space(task)._replace(pieces=pieces)
        if self.directions is None:
            return ended
        count = self.directions.count(self.traced.features)
        return ended._replace(derivatives=Derivatives.of(task, ended, count))

    def _tried(self, task: Task, pieces: Pieces | None) -> Ended:
        ended, (b, f) = self._room(task, pieces), task.y0.shape
        ended = ended._replace(happened=self._happened(task))
        if task.rules is not None:
            carried = task.y0.new_empty(b, cpp.carried(self.traced))
            ended = ended._replace(pauses=Pauses(None, carried), shifts=Shifts(b))
        if not b:
            return ended
        if task.y0.device.type != "cpu":
            self._on_device(task, ended)
            return ended
        attempts = alone(b, f)
        if 0 < attempts < task.max_attempts:  # nearly all solves are shorter than they may be
            brief = task._replace(max_attempts=attempts)
            self._call(brief, ended)
            if not bool((ended.counts[0] == int(Status.MAX_ATTEMPTS)).any()):
                return ended
        self._call(task, ended)
        return ended

    def _on_device(self, task: Task, ended: Ended, *, again: int = 0) -> None:
        place, b = task.y0.device, task.rows
        self.prepare(place, wide=b > FEW)
        flags = torch.tensor([0, 0, again], dtype=torch.int64, device=place)
        packed = packing.pack(task, ended, self.method.error_order + 1, flags.data_ptr())
        self._programs[place, self._own].run(packed, b)

    def _call(self, task: Task, ended: Ended) -> None:
        flags = Flags()
        if ended.happened is not None:
            ended.happened.total.zero_()
        if ended.shifts is not None:
            ended.shifts.clear()
        calls = self._calls(task, ended, flags)
        carry_out(calls[0], task, ended, flags)
        if len(calls) > 1:
            short = task.max_attempts <= alone(task.rows, task.y0.shape[1])
            alternate(calls, task, ended, flags, short=short)

    def _calls(self, task: Task, ended: Ended, flags: Any) -> list[Callable[[], int]]:
        """What every thread is to do, by part."""
        wide = task.rows > FEW
        return [
            partial(
                part.built(wide=wide).stiffguide_solve,
                packing.pack(of, ended, part.method.error_order + 1, ctypes.addressof(flags)),
            )
            for part, of in zip(self.parts, tasks(task), strict=True)
        ]


def tasks(task: Task) -> tuple[Task, ...]:
    """The task for every part of a kernel."""
    if task.explicit is None:
        return (task,)
    return task._replace(controller=task.explicit), task


def space(task: Task) -> Ended:
    """Where a solve leaves what it reaches."""
    (b, f), new = task.y0.shape, task.y0.new_empty
    counts = torch.empty((6, b), dtype=torch.int64, device=task.y0.device)
    saved = None
    if task.times is not None:
        saved = task.y0.new_full((b, task.times.shape[1], f), float("nan"))
    return Ended(new((b, 1)), new((b, 1, f)), new(b), counts, saved)
