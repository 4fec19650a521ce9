"""`solve`: checks its arguments, makes a flat problem of them, runs the loop, and gives back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, overload

import torch
from torch import Tensor

from stiffguide import (
    arguments,
    backends,
    checkpoints,
    choices,
    constrained,
    eager,
    kernels,
    linear_systems,
)
from stiffguide.algebra.krylov import Krylov
from stiffguide.caveats import Witness
from stiffguide.checkpoints import EVERY, File
from stiffguide.events import happening, written
from stiffguide.fields import jacobian
from stiffguide.fields import mass as masses
from stiffguide.fields.array_function import ArrayFunction
from stiffguide.fields.layout import Layout
from stiffguide.fields.listener import Listener
from stiffguide.fields.split import flat_field, parted
from stiffguide.gradients import modes, transforms
from stiffguide.gradients.modes import Gradient
from stiffguide.inputs import (
    Attempted,
    Events,
    Jacobian,
    Monitor,
    Nested,
    Norm,
    Number,
    Numbers,
    PerEntry,
    Rates,
    Sensitivity,
    State,
    Times,
)
from stiffguide.kernels import Backend
from stiffguide.linear_systems import Asked
from stiffguide.progress import Progress
from stiffguide.sensitivities import refuse, wanted
from stiffguide.signatures import answered
from stiffguide.solution import Solution, presented
from stiffguide.stepping.contracts import Controller, Guidance, Method, Output
from stiffguide.stepping.live import Problem
from stiffguide.tableaux.rosenbrock import RosenbrockTableau
from stiffguide.tableaux.tableau import Tableau
from stiffguide.tensors import transformed


# What y is depends on y0 alone; the rest is the signature below.
# fmt: off
@overload
def solve(
    f: Rates, y0: Tensor | complex, t0: Numbers, t1: Numbers, *,
    method: str | Tableau | RosenbrockTableau | Method = "auto",
    rtol: PerEntry = 1e-6, atol: PerEntry = 1e-9, args: tuple[Any, ...] = (), batched: bool = False,
    jac: Jacobian | None = None, jac_sparsity: Any = None,
    linear_solver: str | Krylov | None = None, mass: Any = None,
    save_at: Times | Output | None = None, dense: bool = False,
    tstops: Number | Times | None = None, first_step: Number | None = None,
    max_step: Number | None = None, max_attempts: int = 100_000, norm: Norm | None = None,
    on_attempt: Attempted | None = None, min_step: Number | None = None,
    controller: Controller | None = None, guidance: Guidance | None = None,
    events: Events | None = None, jump_at: Callable[..., Any] | None = None,
    nonnegative: Any = None, sensitivities: Sequence[Sensitivity] | None = None,
    backend: Backend = "auto", gradient: Gradient = "auto", progress: bool = False,
    monitor: Monitor | None = None, checks: bool = True,
    checkpoint: File | None = None, every: float = EVERY,
) -> Solution[Tensor]: ...
@overload
def solve(
    f: Rates, y0: Nested, t0: Numbers, t1: Numbers, *,
    method: str | Tableau | RosenbrockTableau | Method = "auto",
    rtol: PerEntry = 1e-6, atol: PerEntry = 1e-9, args: tuple[Any, ...] = (), batched: bool = False,
    jac: Jacobian | None = None, jac_sparsity: Any = None,
    linear_solver: str | Krylov | None = None, mass: Any = None,
    save_at: Times | Output | None = None, dense: bool = False,
    tstops: Number | Times | None = None, first_step: Number | None = None,
    max_step: Number | None = None, max_attempts: int = 100_000, norm: Norm | None = None,
    on_attempt: Attempted | None = None, min_step: Number | None = None,
    controller: Controller | None = None, guidance: Guidance | None = None,
    events: Events | None = None, jump_at: Callable[..., Any] | None = None,
    nonnegative: Any = None, sensitivities: Sequence[Sensitivity] | None = None,
    backend: Backend = "auto", gradient: Gradient = "auto", progress: bool = False,
    monitor: Monitor | None = None, checks: bool = True,
    checkpoint: File | None = None, every: float = EVERY,
) -> Solution[Any]: ...
# fmt: on
@answered
def solve(
    f: Rates,
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
    jac_sparsity: Any = None,
    linear_solver: str | Krylov | None = None,
    mass: Any = None,
    save_at: Times | Output | None = None,
    dense: bool = False,
    tstops: Number | Times | None = None,
    first_step: Number | None = None,
    max_step: Number | None = None,
    max_attempts: int = 100_000,
    norm: Norm | None = None,
    on_attempt: Attempted | None = None,
    min_step: Number | None = None,
    controller: Controller | None = None,
    guidance: Guidance | None = None,
    events: Events | None = None,
    jump_at: Callable[..., Any] | None = None,
    nonnegative: Any = None,
    sensitivities: Sequence[Sensitivity] | None = None,
    backend: Backend = "auto",
    gradient: Gradient = "auto",
    progress: bool = False,
    monitor: Monitor | None = None,
    checks: bool = True,
    checkpoint: File | None = None,
    every: float = EVERY,
) -> Solution[Any]:
    """Solve dy/dt = f(t, y, *args) from t0 to t1.

    f(t, y, *args) gets a scalar t and y in the shape (or nesting) of y0; with `batched`, the first
    axis of y0 is the rows, f gets t (B,) and all rows at once, and t0, t1, rtol, atol, save_at may
    have that axis too. Every row has its own steps and its own end (see `Solution.status`): a
    numerical failure is returned, never raised; Ctrl-C raises Interrupted. What y0, args, f, t0, t1
    and save_at require gradients of is differentiable. Arguments:

    f: or a pair (explicit, implicit) of such functions, whose sum is dy/dt: the implicit part is
        solved, and jac and jac_sparsity are its; the other is evaluated (docs: "Methods", IMEX).
    method: a name (`stiffguide methods` lists them), a tableau, or a Method. "auto" (or "lsoda")
        lets an explicit method and a stiff one share the rows, as these turn stiff and mild
        (`stats.methods`); with guidance, a mass or gradients to record, it is the stiff one alone.
    rtol, atol: numbers, one per component (the shape of y0), or (B,) or (B, 1) per row.
    jac: jac(t, y, *args) -> (F, F), or (B, F, F) when batched; a sparse matrix of scipy or torch,
        or a list of B; any of them as a constant; "autograd" (the default) or "differences".
        States are flattened in the order of y0; of a complex one it is the complex derivative.
    jac_sparsity: a matrix (F, F), not zero where the Jacobian may be; by default it is found by
        watching f, from 64 components on. One that lacks an entry is refused.
    linear_solver: "dense", "band", "sparse", "pardiso", "krylov" or a `Krylov` for the systems of
        implicit methods; by default what is cheapest (`stats.linear_solver` tells).
    mass: M of M dy/dt = f, a constant matrix (F, F) in the order of jac, sparse or not, or its
        diagonal (F,); it may be singular, in systems of index 1 (docs/dae.md). (B, F, F) per row.
    save_at: times, or an object of `stiffguide.output`; the default keeps the end only, T = 1.
    dense: keep the interpolant, for `Solution.at`.
    tstops: times that a step must end on, for example where f jumps; (T,) or (B, T) per row. f is
        asked on both sides of them and never there; at t0 and t1, if these are among them, inside.
    jump_at: jump_at(t, y, *args) returns the state to go on from at every one of `tstops` between
        t0 and t1, in the shape of y.
    events: event(t, y, *args), or several: a number, (B,) when batched, whose changes of sign are
        found; attributes `terminal` and `direction` as in scipy, or `stiffguide.Event`, which may
        set the state anew. What happened stands in `Solution.events`.
    nonnegative: True, indices of components, or truth values in the shape of a row's state: these
        are kept at zero or above (docs: "Solving", which says what that is not).
    sensitivities: what to differentiate the states by: indices into args, keys of dicts there, and
        "y0", as in [0, "y0"]; see `Solution.dy_dp` and `dy_dy0` (docs: "Gradients").
    first_step, min_step, max_step: lengths of dt, in units of t; a step of `min_step` is accepted
        whatever its error. max_attempts: per row.
    norm: norm(error), a number, (B,) when batched, of an error divided by the tolerance, in the
        shape of y; a step is accepted up to 1. By default the root mean square.
    on_attempt: on_attempt(t0, y0, dt, accepted), told of every attempt of the loop, once: where it
        began, how long it was, a bool; when batched (B,) each, with dt 0 in rows without a part.
    controller: `PID`, `Fixed` or `Grid` of `stiffguide.controllers`.
    backend: "kernel" solves by generated native code (`stiffguide.kernels`), with a Jacobian of its
        own, "eager" by the loop in torch. "auto" takes a kernel that is loaded or cached; else it
        begins eagerly, and builds the kernel once that has taken as long as the build will
        (`stats.backend` and `stats.why` tell). So f may be called by either.
    gradient: "direct" records the accepted steps for autograd, "checkpoint" does so in segments,
        for long solves, and "kernel" goes back along those of a kernel, far faster; "auto" takes a
        kernel as `backend` does, and else is direct while memory allows (docs/gradients.md).
    monitor: monitor(t, y), called after every attempt; a true value stops (all, or the rows of).
    checks: at the first solve with f, spend a few evaluations on whether its rows are independent,
        its values repeat, and its Jacobian is that of its values (`fields.checks`).
    checkpoint: a file, not there yet, in which the solve is kept on its way, `every` so many
        seconds (a float) or attempts (an int), and from which `stiffguide.resume` goes on. "auto"
        is eager then.

    Raises InputError (a ValueError) for arguments that cannot be used; where the call does not fit
    the signature, one that is a TypeError, too.
    """
    log = None if checkpoint is None else checkpoints.opened(checkpoint, every, locals())
    modes.check(gradient, backend)
    way, why = kernels.way(backend), kernels.ASKED["eager"]
    if modes.eager(gradient):
        way, why = "eager", modes.ASKED.format(name=gradient)
    elif modes.native(gradient):
        way = "kernel"
    elif way != backend:
        why = kernels.SWITCHED
    if transformed():
        transforms.enter(backend, (t0, t1, save_at), (y0, args))
        way, why = "eager", transforms.WHY
    if log is not None:
        way, why = checkpoints.way(way, why)
    whole = parted(f)
    Asked(jac, jac_sparsity, linear_solver).check()
    name, special = None, (method, controller, guidance, monitor, jac, linear_solver)
    seen = progress or monitor is not None
    happens = (events, tstops, jump_at, mass, nonnegative, sensitivities)
    beside = (*happens, norm, on_attempt, min_step, log)
    extra = dense or seen or [x for x in beside if x is not None]
    plain = gradient == "auto" and not extra
    if way != "eager" and plain:
        numbers = rtol, atol, save_at, max_step, max_attempts, batched, backend
        name = kernels.asked(whole, y0, numbers, special)
        known = kernels.known(name)
        if known is not None and (found := known(whole, y0, t0, t1, args, first_step)) is not None:
            return found
    layout = Layout(y0, batched=batched)
    stepper = choices.method(method, layout, whole)
    layout = choices.flat_layout(layout, stepper, guidance)
    start, end = arguments.times(t0, t1, layout)
    tolerance = arguments.tolerance(rtol, atol, layout, norm)
    matrix = masses.given(mass, layout)
    asked = wanted(sensitivities, args, layout)
    if asked is not None:
        clashes = {"events": events, "jump_at": jump_at, "guidance": guidance, "mass": mass}
        refuse({**clashes, "nonnegative": nonnegative, "dense": dense}, stepper)
    pair, alone = None, ""
    if choices.automatic(method) and stepper.family != "IMEX":
        large = way != "kernel" and linear_systems.large(layout)
        alone = choices.alone(layout, guidance, controller, matrix, save_at)
        if asked is not None and not alone:
            alone = choices.ALONE.format(name=stepper.name, reason=choices.OF_ONE)
        if not alone:
            pair = choices.pair(layout, tolerance, controller, large=large)
            stepper = pair.stiff
    flat0 = layout.flatten(y0, "y0")
    if flat0.is_inference() and not torch.is_inference_mode_enabled():
        flat0 = flat0.clone()  # autograd takes nothing that inference mode has left
    bounds = choices.nonnegative(nonnegative, layout, flat0.detach(), guidance)
    choices.check_additive(stepper, matrix, bounds)
    arrays = isinstance(whole, ArrayFunction)
    problem = Problem(
        f=jacobian.AutogradJacobian(flat_field(whole, args, layout)),
        method=stepper,
        controller=choices.controller(controller, stepper),
        guidance=choices.guidance(guidance, stepper),
        outputs=choices.outputs(save_at, dense, layout, tolerance),
        tolerance=tolerance,
        max_step=arguments.length(max_step, "max_step") or float("inf"),
        max_attempts=arguments.attempts(max_attempts),
        first_step=arguments.length(first_step, "first_step"),
        nonnegative=bounds,
        on_attempt=None if on_attempt is None else Listener(on_attempt, layout),
        min_step=arguments.shortest(min_step),
        **arguments.stops(tstops, start.detach(), end.detach(), layout),
        **happening(events, tstops, jump_at, args, layout, bounds, arrays=arrays),
    )
    arguments.check_lengths(problem)
    if matrix is not None:
        constrained.check(matrix, problem)
    if not (isinstance(t1, float) and math.isfinite(t1)):  # which is dear to ask of a tensor
        stopping = monitor is not None or (problem.events is not None and problem.events.terminal)
        choices.check_that_it_ends(end, problem.outputs, stopping=stopping)
    witness = Witness(problem, flat0, layout)
    watch = Progress(progress, monitor, layout, start.detach(), end.detach(), witness=witness)
    r = kernels.Request(
        *(whole, args, layout, problem, start, end, flat0, problem.first_step),
        *(watch if seen else None, jac, name, special, written(events), jump_at),
        *(jac_sparsity, linear_solver, pair, alone, matrix),
        gradient=gradient,
        sensitivities=asked,
        checkpoint=log,
    )
    try:
        result = backends.result(r, way, why, watch, checks=checks)
    except eager.WantsArrays as found:
        flat = flat_field(found.field, args, layout)
        more = happening(events, tstops, jump_at, args, layout, bounds, arrays=True)
        problem = problem._replace(f=jacobian.AutogradJacobian(flat), **more)
        r = r._replace(f=found.field, problem=problem)
        result = backends.result(r, way, why, watch, checks=checks)
    return presented(result, layout, result.method or stepper.name)
