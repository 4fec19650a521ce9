"""Solves that a kernel has done, to be done again with other numbers and nothing else made.

A small system is solved in the time of some ten torch operations: whatever `solve` does for
everybody costs more than the solve. A `Call` keeps what stays the same from one to the next: how
the state is laid out, method, controller, tolerances, what is saved. The numbers that f is built of
are looked at in each call, as ever.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stiffguide import caveats
from stiffguide.errors import Status
from stiffguide.fields.array_function import ArrayFunction, user_function
from stiffguide.fields.flat import field
from stiffguide.fields.jacobian import AutogradJacobian
from stiffguide.kernels import room
from stiffguide.kernels.emitting.cpp import carried
from stiffguide.kernels.request import Request
from stiffguide.kernels.running import packing
from stiffguide.kernels.running.run import FEW, Kernel, tasks
from stiffguide.kernels.running.task import Ended, Shifts, Task
from stiffguide.kernels.running.threads import NO_MEMORY, SHARE, Flags, alone, alternate, carry_out
from stiffguide.kernels.turns import Lazily, failed, stretches, take_turns
from stiffguide.solution import Result, Solution, presented
from stiffguide.stepping.output import AtTimes, End, EveryStep
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tensors import tangles
from stiffguide.tracing import tracer
from stiffguide.tracing.traced_field import leaves_of

F64 = torch.float64
LARGEST = sys.float_info.max
OUT_OF_ATTEMPTS = int(Status.MAX_ATTEMPTS)
COUNTS = torch.empty(0, dtype=torch.int64, device="cpu")

Finish = Callable[[Kernel, Request, Task, Ended, str], Result]


class Given(NamedTuple):
    """What differs from call to call, besides the times."""

    f: Callable[..., Any]
    y0: Tensor
    args: tuple[Any, ...]
    parameters: Tensor
    first_step: float | None
    t0: float


class Call:
    """The solve with a kernel for other states, times and arguments than it was made from.

    It returns None for what it is not made for, which the whole way of `solve` then decides.
    """

    def __init__(self, r: Request, kernel: Kernel, task: Task, why: str, finish: Finish) -> None:
        layout, task, problem = r.layout, _owned(task), r.problem
        self._kernel, self._finish, self._why = kernel, finish, why
        self._arrays = isinstance(r.f, ArrayFunction)
        self._problem = problem._replace(tolerance=_copied(problem.tolerance))
        self._layout = layout
        self._task = task._replace(parameters=task.rtol, y0=task.rtol)
        self._tolerances = task.rtol.data_ptr(), task.atol.data_ptr()
        self._rows, self._features = task.y0.shape
        self._axis = (self._rows,) if layout.batched else ()
        self._entry = layout.feature_shape
        self._shape = torch.Size((*self._axis, *self._entry))
        self._times = None
        if task.times is not None:
            line = task.times[0]
            self._times = room.Times(line, float(line[0]), float(line[-1]))
        few = self._rows < 2 * SHARE  # which are one thread's, however many torch uses
        self._attempts = min(alone(self._rows, self._features) if few else 0, task.max_attempts)
        self._brief = self._task._replace(max_attempts=self._attempts or task.max_attempts)
        wide = self._rows > FEW
        self._orders = [part.method.error_order + 1 for part in kernel.parts]
        self._settings = self._packed(self._brief)
        self._steps = type(r.problem.outputs[0]) is EveryStep
        self._functions = [part.built(wide=wide).stiffguide_solve for part in kernel.parts]
        self._pair, self._carried = r.pair, carried(kernel.traced)
        self._rules = packing.ALONE if task.rules is None else (task.rules.data_ptr(), 0)

    def __call__(
        self,
        f: Callable[..., Any],
        y0: Any,
        t0: Any,
        t1: Any,
        args: tuple[Any, ...],
        first_step: Any,
    ) -> Solution[Any] | None:
        """Solve from t0 to t1; the first step, if any, is a positive number."""
        first = None if first_step is None else _number(first_step)
        begin, end = _number(t0), _number(t1)
        if begin is None or end is None or not self._takes(y0):
            return None
        if first_step is not None and not (first is not None and first > 0):
            return None
        if self._times is not None and not self._times.between(begin, end):
            return None
        traced, rows = self._kernel.traced, self._rows
        if args and tangles(*leaves_of(args)):
            return None
        found = traced.fitted(user_function(f), args, rows)
        if found is None:
            return None
        for captured in found.captured:
            if tangles(captured.tensor):
                return None
        if not found.sure:
            start, state = torch.full((rows,), begin, dtype=F64), y0.reshape(rows, self._features)
            known = ArrayFunction(f) if self._arrays and type(f) is not ArrayFunction else f
            if not tracer.holds(found, known, args, self._layout, start, state):
                return None
        parameters = found.parameter_table(args, rows)
        y0 = y0 if y0.is_contiguous() else y0.contiguous()
        return self._solved(Given(f, y0, args, parameters, first, begin), begin, end)

    def _packed(self, task: Task) -> list[bytes]:
        """The settings of every part of the kernel."""
        return [packing.settings(x, k) for x, k in zip(tasks(task), self._orders, strict=True)]

    def _takes(self, y0: Any) -> bool:
        return (
            type(y0) is Tensor
            and y0.shape == self._shape
            and y0.dtype is F64
            and y0.is_cpu
            and y0.layout is torch.strided
            and not y0.is_neg()
            and not (y0.requires_grad and torch.is_grad_enabled())
        )

    def _solved(self, x: Given, t0: float, t1: float) -> Solution[Any]:
        rows, axis, y0, parameters = self._rows, self._axis, x.y0, x.parameters
        settings = self._settings
        if x.first_step != self._brief.first_step:
            settings = self._packed(self._brief._replace(first_step=x.first_step))
        ends, here = room.ends(t0, t1, rows)
        # `new_empty` of single sizes takes half of the time of `torch.empty`
        t, y = y0.new_empty(*axis, 1), y0.new_empty(*axis, 1, *self._entry)
        counts, saved = COUNTS.new_empty(6, *axis), None
        places: tuple[int, ...] = (0, 0, 0, 0)
        if self._times is not None:
            line = self._times.line
            saved = y0.new_empty(*axis, len(line), *self._entry)
            places = (len(line), line.data_ptr(), 0, saved.data_ptr())
        flags, steps = Flags(), room.steps(y0, t0) if self._steps else None
        table = None if self._pair is None else y0.new_empty(rows * self._carried)

        def packed(part: int) -> bytes:
            return packing.joined(
                (rows, ctypes.addressof(flags)),
                (here, here + 8 * rows, y0.data_ptr(), parameters.data_ptr(), *self._tolerances),
                parameters.shape[1] if parameters.ndim == 2 and rows > 1 else 0,
                settings[part],
                (t.data_ptr(), y.data_ptr(), here + 16 * rows, counts.data_ptr()),
                places,
                packing.NONE if steps is None else steps.places(),
                pauses=(0, 0 if table is None else table.data_ptr()),
                sharing=self._rules,
            )

        # the second part is seldom needed at once
        runs = [Lazily(run, partial(packed, k)) for k, run in enumerate(self._functions)]
        ended = Ended(t, y, t, counts, saved)
        return self._presented(x, self._run(runs, ended, ends, flags, y0), ends, steps)

    def _run(
        self, runs: Sequence[Callable[[], int]], ended: Ended, ends: Any, flags: Any, y0: Tensor
    ) -> Ended:
        """The solve, by every part in its turn."""
        if self._pair is not None:
            ended = ended._replace(shifts=Shifts(self._rows))
        if not self._attempts:
            flat = self._flat(ended, ends)
            carry_out(runs[0], self._task._replace(y0=y0.reshape(self._rows, -1)), flat, flags)
        elif runs[0]():
            raise MemoryError(NO_MEMORY)
        if self._pair is None:
            return ended
        if self._attempts and self._rows == 1:
            take_turns(runs, ended, flags)
        elif failed(ended.counts, self._rows):
            short = bool(self._attempts)
            alternate(runs, self._task, self._flat(ended, ends), flags, short=short)
        return ended

    def _presented(
        self, given: Given, x: Ended, ends: Any, steps: room.Steps | None
    ) -> Solution[Any]:
        y0 = given.y0
        rows, layout, problem = self._rows, self._layout, self._problem
        start = y0 if y0.ndim == 1 == rows else y0.reshape(rows, -1)
        if failed(x.counts, rows) or not caveats.quiet(problem.tolerance, start):
            return self._explained(given, self._flat(x, ends), ends)
        t, y = x.t, x.y
        if self._times is not None:
            assert x.saved is not None
            line, y = self._times.line, x.saved
            t = line.clone()
            t = t.expand(rows, -1) if self._axis else t
        elif steps is not None:
            end = int(x.counts[1]) + 1
            if end > room.STEPS:
                return self._explained(given, self._flat(x, ends), ends)
            t = steps.t[:end].clone().reshape(*self._axis, end)
            y = steps.y[:end].clone().reshape(*self._axis, end, *self._entry)
        name = problem.method.name if self._pair is None else self._pair.name
        return Solution(
            *(t, y, x.counts, name, {}, layout, None, {}, "kernel", self._why),
            stretches=stretches(self._pair, given.t0, x),
        )

    def _explained(self, given: Given, x: Ended, ends: Any) -> Solution[Any]:
        """The same for a solve of which something is to be said.

        One that ran out of the attempts of the calling thread is solved once more, by others.
        """
        layout, (f, y0, args, parameters, first, _) = self._layout, given
        if self._arrays and not isinstance(f, ArrayFunction):
            f = ArrayFunction(f)
        t0, t1, _ = room.table(ends, self._rows)
        p = self._problem._replace(
            f=AutogradJacobian(field(f, args, layout)), stops=t1.unsqueeze(1)
        )
        flat = y0.reshape(self._rows, self._features)
        r = Request(f, args, layout, p, t0, t1, flat, first, None, pair=self._pair)
        task = self._task._replace(t0=t0, t1=t1, y0=flat, parameters=parameters, first_step=first)
        if self._steps:
            x = self._kernel.trace_steps(task, dense=False)
        elif self._attempts < task.max_attempts and bool((x.counts[0] == OUT_OF_ATTEMPTS).any()):
            x = self._kernel.solve(task)
        elif x.saved is not None:  # the kernel leaves alone what it did not come to
            assert task.times is not None
            sign = torch.where(t1 < t0, -1.0, 1.0).unsqueeze(1)
            missed = task.times * sign > x.t * sign
            x = x._replace(saved=x.saved.masked_fill(missed.unsqueeze(-1), float("nan")))
        found = self._finish(self._kernel, r, task, x, self._why)
        return presented(found, layout, found.method)

    def _flat(self, x: Ended, ends: Any) -> Ended:
        """What a kernel leaves, row by row."""
        rows, features = self._rows, self._features
        return Ended(
            x.t.view(rows, 1),
            x.y.view(rows, 1, features),
            room.table(ends, rows)[2],
            x.counts.view(6, rows),
            None if x.saved is None else x.saved.view(rows, -1, features),
            shifts=x.shifts,
        )


def possible(r: Request, task: Task) -> bool:
    """Whether a solve is one that a `Call` can repeat."""
    p, layout = r.problem, r.layout
    return (
        layout.single
        and layout.dtype == F64
        and r.y0.device.type == "cpu"
        and len(p.outputs) == 1
        and type(p.outputs[0])
        in ((End, AtTimes, EveryStep) if layout.rows == 1 else (End, AtTimes))
        and (task.times is None or task.times.shape[0] == 1)
    )


def _owned(task: Task) -> Task:
    """A task in which nothing is the user's to write to, but for the state and the parameters."""
    times = None if task.times is None else task.times.clone()
    return task._replace(rtol=task.rtol.clone(), atol=task.atol.clone(), times=times)


def _copied(tolerance: Tolerance) -> Tolerance:
    values = tolerance.rtol, tolerance.atol
    rtol, atol = (x.clone() if isinstance(x, Tensor) else x for x in values)
    return replace(tolerance, rtol=rtol, atol=atol)


def _number(value: Any) -> float | None:
    """A time that is a finite number, or a tensor of one."""
    if type(value) is Tensor and not value.ndim and not value.requires_grad:
        value = value.item()
    if isinstance(value, (float, int)) and abs(value) <= LARGEST:
        return float(value)
    return None
