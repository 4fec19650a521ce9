"""The solve by the loop in torch: what kernels cannot do, and what is too short for one."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide import (
    choices,
    constrained,
    diagnosis,
    events,
    kernels,
    large,
    linear_systems,
    scrutiny,
)
from stiffguide.algebra.pattern import Pattern
from stiffguide.checkpoints import GRADIENTS
from stiffguide.errors import UnsupportedError
from stiffguide.fields import jacobian
from stiffguide.fields.array_function import ArrayFunction
from stiffguide.fields.flat import Flat, first_value
from stiffguide.fields.flat import jacobian as flat_jacobian
from stiffguide.fields.given_sparse import matrices
from stiffguide.fields.outside import Outside
from stiffguide.fields.split import joined, stiff, wanting_arrays
from stiffguide.gradients import direct as gradient
from stiffguide.gradients import modes, transforms
from stiffguide.gradients.times import Span
from stiffguide.gradients.unreached import without_gradient
from stiffguide.linear_systems import Situation
from stiffguide.progress import Onlookers, Progress
from stiffguide.sharing import solve as sharing
from stiffguide.solution import Result
from stiffguide.stepping import loop, plain
from stiffguide.stepping.attempt import attempt
from stiffguide.stepping.course import Stretches
from stiffguide.stepping.live import Live, Problem, begin, first_dt, opened
from stiffguide.stepping.output import Dense
from stiffguide.stepping.trajectory import Trajectory
from stiffguide.tensors import real_dtype, tangles, transformed

NO_STEPS = (
    "kernel: cannot be used here, native steps of {name} need a sparse Jacobian and a compiler, "
    "and take no events, jumps, tstops, nonnegative or monitor; use backend='eager'"
)
GRAZED = (
    "{name} came to zero at no speed: its time has no derivative there, and gradients through it "
    "are nan"
)
PATTERNS = 16  # that may turn out to lack an entry, before the Jacobian is taken to be dense


class WantsArrays(Exception):
    """f is a function of numpy arrays, which `field` is as a function of tensors."""

    def __init__(self, field: ArrayFunction) -> None:
        super().__init__("f wants arrays")
        self.field = field


def look_for_arrays(r: kernels.Request, error: Exception) -> None:
    """Raise WantsArrays where that is why f fails on tensors, or has no kernel."""
    if isinstance(r.f, ArrayFunction):
        return
    t = kernels.within(r).t0.detach().to(real_dtype(r.layout.dtype))
    found = wanting_arrays(r.f, r.args, t if r.layout.batched else t[0], r.layout.unflatten(r.y0))
    if found is not None:
        raise WantsArrays(found) from error


def solve(
    r: kernels.Request,
    flat: Flat,
    watch: Progress,
    why: str,
    patience: kernels.Patience | None,
    way: kernels.Way,
    *,
    checks: bool,
) -> Result:
    """Solve by the loop.

    Raises `kernels.Overtaken` when the patience is at its end, and WantsArrays.
    """
    run, tries = Run(flat, watch, why, patience, checks, way), 0
    if (log := r.checkpoint) is not None:
        run, tries = run._replace(known=log.pattern(r.y0.shape[1])), log.tries
    for _ in range(tries, PATTERNS):
        try:
            return _attempted(r, run)
        except kernels.Built as found:
            built = kernels.Outlook(found.loops, native=True)
            run = run._replace(outlook=built, checks=False)
        except Outside as found:
            known = linear_systems.mended(r.jac_sparsity, run.known, found, flat)
            if log is not None:
                log.again(known)
            run = run._replace(known=known, checks=False)  # which passed
    return _attempted(r._replace(linear_solver="dense", jac_sparsity=None), run)


class Run(NamedTuple):
    """How a solve is to go."""

    flat: Flat
    watch: Progress
    why: str
    patience: kernels.Patience | None
    checks: bool
    way: kernels.Way
    outlook: kernels.Outlook | None = None  # what was built on the way, or is there
    known: Pattern | None = None  # entries of the Jacobian beside those that are found
    systems: large.Later | None = None  # the linear systems


def _attempted(r: kernels.Request, run: Run) -> Result:
    """The solve; raises `Outside` where the Jacobian turns out to have more entries."""
    at = kernels.within(r)  # where f may be asked
    span, r = Span(r.t0, r.t1, at.t0), r._replace(t0=r.t0.detach(), t1=r.t1.detach())
    flat, part, checks = run.flat, stiff(run.flat), run.checks
    try:
        f0, jac = first_value(flat, at.t0, r.y0, r.layout), r.jac
    except Exception as error:  # whatever a function of arrays raises on tensors
        look_for_arrays(r, error)
        raise
    if transformed():
        transforms.check(at, f0)
    implicit, sparse = r.problem.method.implicit, None
    if implicit:
        sparse = matrices(jac, r.args, r.layout, at.t0, r.y0.detach())
    elif jac is None:
        jac = "differences"  # nobody will ask for it: no need to try what autograd can do
    given = flat_jacobian(jac if sparse is None else "differences", r.args, r.layout)
    wrapped = jacobian.wrap(part, given, at.t0, r.y0)
    timed = span.differentiable(r.problem.outputs)
    recorded = timed or gradient.wanted(r.problem._replace(f=wrapped), r.f, r.args, r.y0, f0)
    modes.found(r.gradient, recorded=recorded)
    if recorded and r.pair is not None:
        r = sharing.alone(r)
    problem, outlook = r.problem._replace(f=wrapped), kernels.Outlook()
    if implicit:
        outlook = run.outlook or large.outlook(at, run.way, recorded=recorded)
    situation = Situation(*(part, r.layout, at.t0, r.y0, problem.method, recorded, sparse, r.mass))
    systems = large.Later(r, situation, wrapped, outlook, run.known)
    run = run._replace(outlook=outlook, systems=systems)
    if large.alone(r, outlook, systems):
        why = choices.ALONE.format(name=problem.method.name, reason="its native steps are there")
        r = r._replace(pair=None, alone=why)
    if r.pair is not None:
        if not (jac is None or isinstance(jac, str)):
            sharing.try_jacobian(systems().field, at)
        problem = sharing.first(problem, r.pair)
    elif implicit:
        problem = problem._replace(f=joined(flat, systems().field))
    spent = scrutiny.check(at, flat, f0, wrapped, given, jac, recorded) if checks else 0
    if (log := r.checkpoint) is not None:
        if recorded:
            raise UnsupportedError(GRADIENTS)
        spent = log.begin(spent)
    if checks and recorded and (tangles(span.t1) or problem.events is not None):
        what = "t1 does" if tangles(span.t1) else "moves an event"
        scrutiny.check_time(flat, at.t0, r.y0, what)
    events.check(problem.events, problem.jump_at, r.layout, r.t0, r.y0.detach())
    if checks and recorded:
        scrutiny.check_seen(problem, r.t0, r.y0.detach())
    if r.mass is not None:
        r, problem, f0 = constrained.started(r, problem, f0, span if recorded else None)
    found = _recorded(r, problem, span, f0, run) if recorded else None
    result = _result(r, problem, run, found, f0, span if timed else None)
    result.counts[3] += spent
    return result._replace(linear_solver=systems.note)


def _result(
    r: kernels.Request,
    p: Problem,
    run: Run,
    found: gradient.Recorded | None,
    f0: Tensor,
    span: Span | None,
) -> Result:
    """What is given back; `span` is known where times are differentiable."""
    end, note = (End(found.ended), found.note) if found else (_run(r, p, f0, run), "")
    ended, native = end.live, end.native
    t, y = p.outputs[0].result(ended.t, ended.y)
    if found is not None and gradient.interrupted(ended):
        y = y.detach()  # who stops a solve is given what it came to, and no history
    if p.nonnegative is not None:
        y = p.nonnegative.inside(y)
    if found is not None and not gradient.interrupted(ended) and (span or tangles(found.ends)):
        span = span or Span(r.t0, r.t1)
        t, y = span.kept(p.f, p.outputs[0], found.ends, t, y)
    tables = () if p.events is None else p.events.tables(r.t0, r.y0)
    pieces = next((_trajectory(p, o) for o in p.outputs if isinstance(o, Dense)), None)
    return Result(
        t=t,
        y=y if r.sensitivities else without_gradient(y, ended.status, batched=r.layout.batched),
        counts=torch.stack((ended.status, ended.accepted, ended.attempts, *ended.work)),
        messages=end.messages or diagnosis.messages(p, ended, r.layout),
        warnings=_caveats(r, run.watch, p, ended, found),
        trajectory=pieces,
        backend="kernel" if native else "eager",
        why="; ".join(filter(None, (large.why(run.outlook) if native else run.why, r.alone, note))),
        events=tables if found is None else found.tables,
        stretches=end.stretches,
        method=r.problem.method.name if r.pair is None else r.pair.name,
    )


def _trajectory(p: Problem, dense: Dense) -> Trajectory:
    found = dense.trajectory()
    return found if p.nonnegative is None else found._replace(nonnegative=p.nonnegative.which)


def _recorded(
    r: kernels.Request, p: Problem, span: Span, f0: Tensor, run: Run
) -> gradient.Recorded:
    """The loop with a history."""
    y0 = span.start(p.f, r.y0)
    y, slope = y0.detach(), f0.detach()
    asked = gradient.Asked(r.gradient, (r.f, r.args, r.jac), run.patience)
    return gradient.direct(p, span, y0, f0, lambda q: _start(q, r.t0, y, slope), run.watch, asked)


def _caveats(
    r: kernels.Request, watch: Progress, p: Problem, s: Live, found: gradient.Recorded | None
) -> dict[int, tuple[str, ...]]:
    """What is to be said of every row."""
    caveats = watch.witness.caveats(p, s, r.layout)
    for row, said in r.caveats.items():
        caveats[row] = (said, *caveats.get(row, ()))
    if found is None or found.grazed is None or p.events is None:
        return caveats
    for row, k in torch.nonzero(found.grazed).tolist():
        said = GRAZED.format(name=p.events.triggers[k].name)
        caveats[row] = (*caveats.get(row, ()), said)
    return caveats


class End(NamedTuple):
    """How a solve went."""

    live: Live
    native: bool = False  # by native steps
    stretches: Stretches | None = None  # of two methods
    messages: dict[int, str] | None = None  # of the rows that failed, where somebody knows them


def _run(r: kernels.Request, p: Problem, f0: Tensor, run: Run) -> End:
    """The solve."""
    outlook = run.outlook or kernels.Outlook()
    # a monitor sees each attempt once: its solve ends where it began
    waiting = None if r.watch or p.on_attempt else outlook.waiting

    eyes = Onlookers(run.watch, run.patience, waiting)
    with torch.no_grad():
        s = _start(p, r.t0, r.y0, f0)
        for output in p.outputs:
            output.start(r.t0, p.stops[:, -1], r.y0)
        log = r.checkpoint
        if log is not None:
            log.follow(p, s, (*p.outputs, p.events, run.watch.witness))
        if r.pair is not None:
            assert run.systems is not None
            with run.watch:
                shared = sharing.solve(p, r.pair, run.systems, s, eyes.look, log)
            messages = sharing.messages(shared, r.layout)
            return End(shared.live, False, shared.stretches(r.pair, r.t0), messages)
        native = outlook.native and r.watch is None
        if native:
            from stiffguide.kernels.marching import march, marches

            native = marches(p, s)
        if run.way == "kernel" and p.method.family == "BDF" and len(s.t) == 1 and not native:
            raise UnsupportedError(NO_STEPS.format(name=p.method.name))
        if native:
            seen = partial(waiting.look, native=True) if waiting else lambda _: None
            s = march(p, s, seen)
            run.watch.witness.look(s)
        with run.watch:
            step = attempt if r.watch is not None else plain.Unmasked(p, eyes.pass_by)
            if log is None:
                return End(loop.solve(p, s, eyes.look, step), native)
            s = loop.solve(p, log.put(s), eyes.look, log.before(step))
            log.keep(s, s)
            return End(s)


def _start(p: Problem, t0: Tensor, y0: Tensor, f0: Tensor) -> Live:
    dt, nfe = first_dt(p, opened(p, t0, y0), y0, f0)
    return begin(p, t0, y0, f0, dt, 1 + nfe)
