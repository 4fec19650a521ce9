"""`solve`: checks its arguments, makes a flat problem of them, runs the loop, and gives back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor

from stiffguide import arguments, choices, diagnosis, kernels
from stiffguide.caveats import Caveats, Witness
from stiffguide.errors import Interrupted, Status
from stiffguide.fields import jacobian, parts
from stiffguide.fields.checks import evaluations
from stiffguide.fields.flat import Flat, field, first_value
from stiffguide.fields.flat import jacobian as flat_jacobian
from stiffguide.fields.independence import Start
from stiffguide.fields.layout import Layout
from stiffguide.gradients import direct as gradient
from stiffguide.gradients.unreached import without_gradient
from stiffguide.inputs import (
    Jacobian,
    Monitor,
    Nested,
    Number,
    Numbers,
    PerEntry,
    State,
    Times,
)
from stiffguide.kernels import Backend
from stiffguide.progress import Progress
from stiffguide.solution import Solution
from stiffguide.stepping import loop
from stiffguide.stepping.contracts import Controller, Guidance, Method, Output
from stiffguide.stepping.initial_dt import initial_dt
from stiffguide.stepping.live import Live, Problem, begin
from stiffguide.stepping.output import Dense, Trajectory
from stiffguide.tableaux.rosenbrock import RosenbrockTableau
from stiffguide.tableaux.tableau import Tableau


# What y is depends on y0 alone; the rest is the signature below.
# fmt: off
@overload
def solve(
    f: Callable[..., Any], y0: Tensor | complex, t0: Numbers, t1: Numbers, *,
    method: str | Tableau | RosenbrockTableau | Method = "auto",
    rtol: PerEntry = 1e-6, atol: PerEntry = 1e-9, args: tuple[Any, ...] = (), batched: bool = False,
    jac: Jacobian | None = None, save_at: Times | Output | None = None, dense: bool = False,
    tstops: Number | Times | None = None, first_step: Number | None = None,
    max_step: Number | None = None, max_attempts: int = 100_000,
    controller: Controller | None = None, guidance: Guidance | None = None, events: None = None,
    backend: Backend = "eager", progress: bool = False, monitor: Monitor | None = None,
    checks: bool = True,
) -> Solution[Tensor]: ...
@overload
def solve(
    f: Callable[..., Any], y0: Nested, t0: Numbers, t1: Numbers, *,
    method: str | Tableau | RosenbrockTableau | Method = "auto",
    rtol: PerEntry = 1e-6, atol: PerEntry = 1e-9, args: tuple[Any, ...] = (), batched: bool = False,
    jac: Jacobian | None = None, save_at: Times | Output | None = None, dense: bool = False,
    tstops: Number | Times | None = None, first_step: Number | None = None,
    max_step: Number | None = None, max_attempts: int = 100_000,
    controller: Controller | None = None, guidance: Guidance | None = None, events: None = None,
    backend: Backend = "eager", progress: bool = False, monitor: Monitor | None = None,
    checks: bool = True,
) -> Solution[Any]: ...
# fmt: on
def solve(
    f: Callable[..., Any],
    y0: State,
    t0: Numbers,
    t1: Numbers,
    *,
    method: str | Tableau | RosenbrockTableau | Method = "auto",
    rtol: PerEntry = 1e-6,
    atol: PerEntry = 1e-9,
    args: tuple[Any, ...] = (),
    batched: bool = False,
    jac: Jacobian | None = None,
    save_at: Times | Output | None = None,
    dense: bool = False,
    tstops: Number | Times | None = None,
    first_step: Number | None = None,
    max_step: Number | None = None,
    max_attempts: int = 100_000,
    controller: Controller | None = None,
    guidance: Guidance | None = None,
    events: None = None,
    backend: Backend = "eager",
    progress: bool = False,
    monitor: Monitor | None = None,
    checks: bool = True,
) -> Solution[Any]:
    """Solve dy/dt = f(t, y, *args) from t0 to t1.

    f(t, y, *args) gets a scalar t and y in the shape (or nesting) of y0; with `batched`, the first
    axis of y0 is the rows, f gets t (B,) and all rows at once, and t0, t1, rtol, atol, save_at may
    have that axis too. Every row has its own steps and its own end (see `Solution.status`): a
    numerical failure is returned, never raised; Ctrl-C raises Interrupted. Arguments:

    method: a name (`stiffguide methods` lists them), a tableau, or a Method; "auto" is rodas5p.
    rtol, atol: numbers, one per component (the shape of y0), or (B,) or (B, 1) per row.
    jac: jac(t, y, *args) -> (F, F), or (B, F, F) when batched; a constant tensor; "autograd"
        (the default) or "differences". States are flattened in the order of y0; of a complex one
        it is the complex derivative.
    save_at: times, or an object of `stiffguide.output`; the default keeps the end only, T = 1.
    dense: keep the interpolant, for `Solution.at`.
    tstops: times that a step must end on, for example where f jumps.
    first_step, max_step: lengths of dt, in units of t. max_attempts: per row.
    controller: `PID`, `Fixed` or `Grid` of `stiffguide.controllers`.
    backend: "kernel" solves by generated native code (`stiffguide.kernels`), with a Jacobian of its
        own; "auto" does so where a kernel is loaded or cached, or where rows times components
        exceed 4095, which takes longer than a build, and else falls back to "eager" (see the log).
    monitor: monitor(t, y), called after every attempt; a true value stops (all, or the rows of).
    checks: at the first solve with f, spend a few evaluations on whether its rows are independent,
        its values repeat, and its Jacobian is that of its values (`fields.checks`).

    Raises InputError (a ValueError) for arguments that cannot be used.
    """
    choices.refuse_events(events)
    kernels.check(backend)
    layout = Layout(y0, batched=batched)
    stepper = choices.method(method, layout)
    layout = choices.flat_layout(layout, stepper, guidance)
    start, end = arguments.times(t0, t1, layout)
    tolerance = arguments.tolerance(rtol, atol, layout)
    flat0 = layout.flatten(y0, "y0")
    flat = field(f, args, layout)
    problem = Problem(
        f=jacobian.AutogradJacobian(flat),
        method=stepper,
        controller=choices.controller(controller, stepper),
        guidance=choices.guidance(guidance, stepper),
        outputs=choices.outputs(save_at, dense, layout, tolerance),
        tolerance=tolerance,
        stops=arguments.stops(tstops, start, end, layout),
        max_step=arguments.length(max_step, "max_step") or float("inf"),
        max_attempts=arguments.attempts(max_attempts),
    )
    if not (isinstance(t1, float) and math.isfinite(t1)):  # which is dear to ask of a tensor
        choices.check_that_it_ends(end, problem.outputs, monitor)
    first = arguments.length(first_step, "first_step")
    watched = progress or monitor is not None
    r = kernels.Request(f, args, layout, problem, start, end, flat0, first, watched)
    if backend != "eager" and (solved := kernels.solve(r, backend)) is not None:
        why = {} if solved.live is None else diagnosis.messages(problem, solved.live, layout)
        return _solution(
            stepper, layout, *solved[:2], why, solved.trajectory, warnings=solved.warnings
        )
    witness = Witness(problem, flat0, layout)
    watch = Progress(progress, monitor, layout, start, end, witness=witness)
    return _eager(r, flat, jac, watch, checks)


def _eager(r: kernels.Request, flat: Flat, jac: Any, watch: Progress, checks: bool) -> Solution:
    """The solve by the loop in torch."""
    f0 = first_value(flat, r.t0, r.y0, r.layout)
    if not r.problem.method.implicit and jac is None:
        jac = "differences"  # nobody will ask for it: no need to try what autograd can do
    given = flat_jacobian(jac, r.args, r.layout)
    wrapped = jacobian.wrap(flat, given, r.t0, r.y0)
    problem = r.problem._replace(f=wrapped)
    recorded = gradient.wanted(r.f, r.args, r.y0, f0)
    spent = _check(r, flat, f0, wrapped, given, jac, recorded) if checks else 0
    ended, problem = _run(r, problem, f0, watch, recorded)
    t, y = problem.outputs[0].result(ended.t, ended.y)
    kept = t, without_gradient(y, ended.status, batched=r.layout.batched)
    counts = torch.stack((ended.status, ended.accepted, ended.attempts, *ended.work))
    counts[3] += spent
    pieces = next((o.trajectory() for o in problem.outputs if isinstance(o, Dense)), None)
    why = diagnosis.messages(problem, ended, r.layout)
    warnings = watch.witness.caveats(problem, ended, r.layout)
    return _solution(problem.method, r.layout, kept, counts, why, pieces, warnings=warnings)


def _check(
    r: kernels.Request,
    flat: Flat,
    f0: Tensor,
    wrapped: Any,
    given: Flat | str | None,
    jac: Any,
    recorded: bool,
) -> int:
    """Check f, if it is new, and say how many evaluations that took; raises InputError."""
    implicit = r.problem.method.implicit
    recorded = recorded or (implicit and isinstance(wrapped, jacobian.AutogradJacobian))
    by_hand = given if implicit and callable(given) else None
    y, layout = r.y0, r.layout
    shape = (layout.batched, layout.rows, layout.features, y.dtype, y.device, recorded)
    key = (r.f, r.args, jac if by_hand else None, shape)
    # steps of given lengths keep the rows at one time, and f may take the first for all
    start = Start(r.t0, r.t1 if r.problem.controller.adaptive else r.t0, y, f0)
    return evaluations(key, flat, start, by_hand, recorded=recorded)


def _run(
    r: kernels.Request, p: Problem, f0: Tensor, watch: Progress, recorded: bool
) -> tuple[Live, Problem]:
    t0, y0 = r.t0, r.y0
    if recorded:
        y, slope = y0.detach(), f0.detach()
        return gradient.direct(
            p, t0, y0, f0, lambda q: _start(q, t0, y, slope, r.first_step), watch
        )
    with torch.no_grad():
        s = _start(p, t0, y0, f0, r.first_step)
        for output in p.outputs:
            output.start(t0, p.stops[:, -1], y0)
        with watch:
            return loop.solve(p, s, watch.look), p


def _start(p: Problem, t0: Tensor, y0: Tensor, f0: Tensor, first: float | None) -> Live:
    t1 = p.stops[:, -1]
    nfe = 1
    if first is not None or not p.controller.adaptive:
        dt = torch.sign(t1 - t0) * torch.clamp((t1 - t0).abs(), max=first or float("inf"))
    else:
        dt = initial_dt(p.f, t0, t1, y0, f0, p.tolerance, p.method.error_order or p.method.order)
        nfe = 2
    return begin(p, t0, y0, f0, dt, nfe)


def _solution(
    stepper: Method,
    layout: Layout,
    kept: tuple[Tensor, Tensor],  # (B, T), (B, T, F)
    counts: Tensor,  # (6, B): status, accepted, attempts, nfe, njac, nlu
    messages: dict[int, str],
    trajectory: Trajectory | None,
    *,
    warnings: Caveats,
) -> Solution:
    t, y = kept
    if layout.split:
        layout, y, trajectory = layout.whole(), parts.join(y), _joined(trajectory)
    states = layout.unflatten(y, *t.shape) if layout.batched else layout.unflatten(y, t.shape[1])
    found = Solution(
        t=t if layout.batched else t.squeeze(0),
        y=states,
        counts=counts if layout.batched else counts.squeeze(1),
        method=stepper.name,
        messages=messages,
        layout=layout,
        trajectory=trajectory,
        warnings=warnings,
    )
    if messages and bool((counts[0] == int(Status.INTERRUPTED)).any()):
        raise Interrupted(found.message, found)
    return found


def _joined(x: Trajectory | None) -> Trajectory | None:
    """The trajectory of complex numbers from that of their parts."""
    if x is None:
        return None
    y0, y1, coefficients = map(parts.join, (x.y0, x.y1, x.coefficients))
    return x._replace(y0=y0, y1=y1, coefficients=coefficients)
