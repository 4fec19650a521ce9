"""Gradients through a solve.

`direct`: the steps are first chosen without recording anything, then the accepted ones alone are
repeated with autograd recording. Rejected attempts leave no trace in the graph, so that a value
that was not finite in one of them cannot turn a gradient into nan, and memory is that of the
accepted steps. The step sizes are constants of the derivative (they follow tolerances, not y).

What f depends on may show only on the way, so the first pass looks out for it where neither y0 nor
f(t0, y0) requires a gradient but something within reach of f does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from stiffguide.algebra.protocol import LinearSolver
from stiffguide.errors import Status, UnsupportedError
from stiffguide.gradients import modes, onward
from stiffguide.gradients.occasions import Diary, Instants
from stiffguide.gradients.recorder import Asked as Asked
from stiffguide.gradients.recorder import Recorder
from stiffguide.gradients.replay import Place, Replay
from stiffguide.gradients.times import Span, nothing
from stiffguide.progress import Progress
from stiffguide.stepping import loop
from stiffguide.stepping.contracts import Field, Linearisation, Table, Units
from stiffguide.stepping.controllers import Fixed, Grid
from stiffguide.stepping.live import Live, Problem, begin, opened
from stiffguide.tensors import tangles, transformed
from stiffguide.tracing.fingerprint import fingerprint

UNTOLD = 1024  # steps, where a controller does not tell their lengths
UNRECORDED = ("BDF",)  # families whose steps rest on values that autograd has not seen


def wanted(p: Problem, f: Callable[..., Any], args: tuple[Any, ...], *values: Tensor) -> bool:
    """Whether anything requires a gradient: the values, or what functions may depend on."""
    if transformed():
        return True
    if not torch.is_grad_enabled():
        return False
    return tangles(*values) or within_reach(f, *args) or _moved(p)


def functions(p: Problem) -> list[tuple[str, Callable[[Tensor, Tensor], Tensor]]]:
    """The events and jumps of a problem, by what sentences call them."""
    found = [] if p.jump_at is None else [("jump_at", p.jump_at)]
    for x in () if p.events is None else p.events.triggers:
        found.append((x.name, x.value))
        if x.jump is not None:
            found.append((f"the jump of {x.name}", x.jump))
    return found


def _moved(p: Problem) -> bool:
    """Whether events or jumps may depend on something that requires a gradient."""
    return within_reach(*(function for _, function in functions(p)))


def within_reach(*functions: Any) -> bool:
    """Whether something that functions may depend on requires a gradient."""
    return bool(functions) and any(map(_differentiable, fingerprint(*functions).alive))


def interrupted(s: Live) -> bool:
    """Whether the keyboard ended a solve, of which nothing is recorded then."""
    return bool((s.status == int(Status.INTERRUPTED)).any())


def _differentiable(value: Any) -> bool:
    if isinstance(value, nn.Module):  # one that lies too deep to have been taken apart
        return tangles(*value.parameters(), *value.buffers())
    return tangles(value)


class Lookout:
    """A field that notices whether its values would require a gradient, were they recorded."""

    def __init__(self, f: Field) -> None:
        self._f = f
        self.linear: LinearSolver = f.linear
        self.seen: bool = False

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """f(t (B,), y (B, F)) -> (B, F), without a graph."""
        with torch.enable_grad():
            value = self._f(t, y)
        self.seen = self.seen or value.requires_grad
        return value.detach()

    def linearise(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """That of the field."""
        return self._f.linearise(t, y, units, time=time)

    def by_differences(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """Those of the field."""
        return self._f.by_differences(t, y, units, time=time)


class Recorded(NamedTuple):
    """A solve with a history."""

    ended: Live  # at numbers t
    ends: Tensor  # (B,) when the rows ended
    tables: tuple[Table, ...]  # what happened
    grazed: Tensor | None  # (B, E) bool, events whose times have no derivative
    note: str = ""  # on how it was recorded


def direct(
    p: Problem,
    span: Span,
    y0: Tensor,
    f0: Tensor,
    start: Callable[[Problem], Live],
    watch: Progress,
    asked: Asked,
) -> Recorded:
    """Solve twice: to choose the steps, then over them with autograd, if that finds anything.

    Once, where nothing is to be chosen. y0 (B, F) is the state at the number t0, and f0 the value
    of f there.
    """
    sure = transformed() or tangles(y0, f0) or span.differentiable(p.outputs) or _moved(p)
    if sure and p.method.family in UNRECORDED:
        raise _unrecorded(p)
    recorder, first = Recorder(asked, p), First(Diary(p), Instants())
    if sure and onward.serves(p, y0) and not (watch.monitored or asked.name == "checkpoint"):
        went = _onward(p, span, y0, f0, start, watch, asked)
        if went is not None:
            return went
    if sure and not (p.controller.adaptive or watch.monitored or functions(p)):
        ended = _at_once(p, span, y0, f0, first, watch, recorder)
        if _sound(ended) or interrupted(ended):
            ends = torch.where(ended.status == int(Status.SUCCESS), span.t1, ended.t.detach())
            return Recorded(ended._replace(t=ended.t.detach()), ends, (), None, recorder.note)
    else:
        parted = p.method.family == "IMEX"  # a lookout has no parts
        lookout = None if sure or parted else Lookout(p.f)
        with torch.no_grad(), watch:
            # guidance, stopping outputs and the monitor decide in the first pass where a row ends
            scout = p._replace(f=lookout or p.f, outputs=(*first, *p.outputs))
            for output in scout.outputs:
                output.start(span.t0.detach(), p.stops[:, -1], y0.detach())
            ended = loop.solve(scout, start(scout), partial(_look, watch, asked))
        # who stops a solve wants no second
        if (lookout is not None and not lookout.seen) or interrupted(ended):
            modes.found(asked.name, recorded=interrupted(ended))
            tables = () if p.events is None else p.events.tables(span.t0.detach(), y0.detach())
            return Recorded(ended, ended.t, tables, None)
        if p.method.family in UNRECORDED:
            raise _unrecorded(p)
    return _again(p, span, y0, ended, first, recorder)


def _look(watch: Progress, asked: Asked, s: Live) -> Tensor | None:
    if asked.waiting is not None:
        asked.waiting.look()
    return watch.look(s)


class First(NamedTuple):
    """What the first pass writes down for the second."""

    diary: Diary
    instants: Instants


def _at_once(
    p: Problem,
    span: Span,
    y0: Tensor,
    f0: Tensor,
    first: First,
    watch: Progress,
    recorder: Recorder,
) -> Live:
    """One pass over steps of given lengths, which only a row that fails makes worthless.

    What was not finite in its last attempt would reach the gradients of others.
    """
    t0 = span.t0.detach()
    stops = span.stops(p.stops, span.t1)
    again = p._replace(outputs=(first.instants, *p.outputs), stops=stops)
    for output in (first.diary, *again.outputs):  # nothing happens
        output.start(t0, p.stops[:, -1], y0)
    begins = t0
    if isinstance(p.controller, Grid) and tangles(p.controller.times):
        begins = p.controller.times[:, 0].expand(len(t0))  # its steps move with its times
    if tangles(span.t0, begins):
        f0 = p.f(opened(p, begins, y0), y0)
    begun = begin(again, begins, y0, f0, p.stops[:, -1] - t0, 1)

    def look(s: Live) -> None:
        with torch.no_grad():
            watch.look(s._replace(t=s.t.detach(), y=s.y.detach()))

    seen = watch.witness.pass_by
    with watch:
        return recorder.solve(again, begun, Replay(p, {}, t0), _about(p, t0), look, seen)


def _onward(
    p: Problem,
    span: Span,
    y0: Tensor,
    f0: Tensor,
    start: Callable[[Problem], Live],
    watch: Progress,
    asked: Asked,
) -> Recorded | None:
    """One pass of one row, or None where its graph grows too large."""
    again = p._replace(stops=span.stops(p.stops, span.t1))
    for output in p.outputs:
        output.start(span.t0.detach(), p.stops[:, -1], y0)
    with torch.no_grad():
        begun = start(p)
    if tangles(span.t0):
        f0 = p.f(opened(p, span.t0.detach(), y0), y0)
    begun = begun._replace(y=y0, f0=f0)

    def look(s: Live) -> Tensor | None:
        with torch.no_grad():
            return _look(watch, asked, s._replace(t=s.t.detach(), y=s.y.detach()))

    # who is told of attempts is told of each once: then nothing begins anew
    bounded = asked.name == "auto" and p.on_attempt is None
    with watch:
        ended = onward.solve(again, begun, look, bounded=bounded)
    if ended is None:
        return None
    ends = torch.where(ended.status == int(Status.SUCCESS), span.t1, ended.t.detach())
    return Recorded(ended._replace(t=ended.t.detach()), ends, (), None)


def _about(p: Problem, t0: Tensor) -> int:
    """How many steps of given lengths there will be, as far as that can be told."""
    if isinstance(p.controller, Grid):
        return p.controller.times.shape[1] - 1
    length = (p.stops[:, -1] - t0).abs().max().item() if len(t0) else 0.0
    if isinstance(p.controller, Fixed) and length < float("inf"):
        return math.ceil(length / p.controller.dt)
    return UNTOLD


def _sound(s: Live) -> bool:
    """Whether every row ended well."""
    return all(Status(x).ok for x in torch.unique(s.status).tolist())


def _again(
    p: Problem, span: Span, y0: Tensor, ended: Live, first: First, recorder: Recorder
) -> Recorded:
    """The steps of the first pass with autograd."""
    t0, reached = span.t0.detach(), ended.t.detach()
    times, _ = first.instants.result(reached, reached)
    times = torch.cat((times, reached.unsqueeze(1)), 1)
    for output in p.outputs:
        output.start(t0, p.stops[:, -1], y0)
    done = ended.status == int(Status.SUCCESS)
    ends = torch.where(done, span.t1, reached)
    again = p._replace(
        controller=Grid(times),
        stops=span.stops(p.stops, ends),
        max_step=float("inf"),
        max_attempts=times.shape[1] + 1,
        events=None,
        jump_at=None,
        on_attempt=None,
        open=p.open and p.open._replace(end=p.open.end & done),
        min_step=0.0,
    )
    replay = Replay(p, first.diary.by_steps(), ends)
    begun = begin(again, t0, y0, p.f(opened(again, t0, y0), y0), times[:, 1] - t0, 0)
    begun = replay.begin(again, begun, Place(t0, nothing(span.t0), span.at_start(p.f, y0)))
    replayed = recorder.solve(again, begun, replay, times.shape[1] - 2)
    status = torch.where(replayed.status == int(Status.SUCCESS), ended.status, replayed.status)
    ended = ended._replace(t=reached, y=replayed.y, f0=replayed.f0, status=status)
    tables = replay.tables(t0, y0)
    return Recorded(ended, replay.ends, tables, replay.grazed, recorder.note)


def _unrecorded(p: Problem) -> UnsupportedError:
    return UnsupportedError(
        f"{p.method.name} records no gradient, for its steps rest on all steps before; use "
        "'rodas5p' or 'kvaerno5', or solve under torch.no_grad()"
    )
