"""Whether a solve can and should be a kernel's, and the solve itself in the terms of the loop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from stiffguide import caveats, choices
from stiffguide.errors import UnsupportedError
from stiffguide.fields.flat import refuse_mixed_dtypes
from stiffguide.fields.layout import Layout
from stiffguide.fields.split import Split
from stiffguide.gradients import modes
from stiffguide.gradients.unreached import without_gradient
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.kernels import (
    calls,
    differentiable,
    happening,
    limits,
    looping,
    memory,
    reasons,
    refusals,
    sensitivity,
    tasks,
    turns,
    watching,
)
from stiffguide.kernels.emitting import coefficients
from stiffguide.kernels.emitting.coefficients import Coefficients
from stiffguide.kernels.jacobians import compare
from stiffguide.kernels.kept import kept_states
from stiffguide.kernels.names import ASKED, SWITCHED, Way
from stiffguide.kernels.patience import Patience
from stiffguide.kernels.request import Request
from stiffguide.kernels.running import compiler, pair
from stiffguide.kernels.running.adjoint import Adjoint
from stiffguide.kernels.running.run import FEW, Kernel
from stiffguide.kernels.running.task import Ended, Task
from stiffguide.kernels.sensitivity import AT_ONCE
from stiffguide.sharing.pair import Pair
from stiffguide.solution import Result
from stiffguide.stepping.contracts import Method
from stiffguide.stepping.output import AtTimes, kept
from stiffguide.stepping.trajectory import Trajectory
from stiffguide.tensors import tangles
from stiffguide.tracing import tracer
from stiffguide.tracing.traced_field import Traced

LOG = logging.getLogger("stiffguide")
LARGEST = 256  # components
REPEATED = "the kernel was there"
EARLIER = "earlier solves in the eager loop had taken as long as the build of a kernel"


class Eager(NamedTuple):
    """A solve that the eager loop is to do."""

    why: str
    patience: Patience | None = None  # until a kernel is built, if there can be one


def solve(r: Request, way: Way) -> Result | Eager:
    """Solve by a kernel, or say why the eager loop has to.

    "auto" takes a kernel that is loaded or cached; for another one it is patient (see `patience`).
    "kernel if possible" builds at once, "kernel" raises UnsupportedError where there is none.
    """
    try:
        return _solved(r, way)
    except UnsupportedError as error:
        if not modes.native(r.gradient):
            raise
        # the other way out would be refused beside gradient='kernel'
        text = str(error).replace("backend='eager'", "gradient='direct'")
        raise UnsupportedError(text) from error


def _solved(r: Request, way: Way) -> Result | Eager:
    if not r.layout.rows:  # nothing to trace with
        return Eager("there is no row")
    if r.mass is not None:
        if way == "kernel":
            raise limits.unusable("it solves y' = f, and a mass was given")
        return Eager("a mass was given")
    if isinstance(r.f, Split):
        if way == "kernel":
            raise limits.unusable("it solves one f, and f is a pair (explicit, implicit)")
        return Eager("f is a pair (explicit, implicit)")
    if looping.offers(r):
        return Eager("its steps are native where `stats.backend` says so")
    wide = r.layout.rows > FEW
    if way == "kernel":
        kernel = _kernel(r)
        native = modes.native(r.gradient)
        if native:
            modes.found(r.gradient, recorded=isinstance(kernel, Adjoint))
        kernel.prepare(r.y0.device, wide=wide)
        return run(kernel, r, modes.ASKED.format(name="kernel") if native else ASKED["kernel"])
    try:
        kernel = _found(r)
        there = r.y0.device.type != "cpu" or kernel.ready(wide=wide)
        if not there:
            compiler.command()  # without one there is nothing to wait for
    except UnsupportedError as error:
        return _eager(str(error).removesuffix("; use backend='eager'"))
    except Exception as error:  # of the user's f, where the solve itself need not take it
        reason = str(error).strip().split("\n")[0]
        return _eager(f"f fails near the start ({type(error).__name__}: {reason})")
    if there:
        kernel.prepare(r.y0.device, wide=wide)
        return run(kernel, r, REPEATED)
    if r.sensitivities is not None:
        at_once = kernel.tried(wide=wide)
        return run(kernel, r, AT_ONCE) if at_once else _eager(kernel.failure(wide=wide))
    if way == "kernel if possible" and kernel.tried(wide=wide):
        return run(kernel, r, SWITCHED)
    patience = Patience(kernel, rows=r.layout.rows, wide=wide, watch=r.watch)
    if patience.over:  # in earlier solves
        return run(kernel, r, EARLIER)
    if failure := kernel.failure(wide=wide):
        return _eager(failure)
    return Eager("the kernel was not built, and this solve was shorter than its build", patience)


def _eager(why: str) -> Eager:
    LOG.info("eager, because %s", why)
    return Eager(why)


def _kernel(r: Request) -> Kernel:
    """The kernel of a solve; raises UnsupportedError where it has none."""
    limits.refuse(r)
    recorded = _recorded(r)
    if recorded:
        limits.refuse_recorded(r)
    method = r.problem.method if recorded or r.pair is None else r.pair
    try:
        kernel = prepare(happening.traced(r), r.args, r.layout, method, r.t0, r.y0)
    except UnsupportedError:
        happening.check(r)  # an event that is none is the user's to see
        raise
    except RuntimeError as error:
        refuse_mixed_dtypes(error, r.y0.dtype)
        raise
    happening.check(r)
    if r.jac is not None:
        compare(r, kernel.traced)
    if r.sensitivities is not None:
        kernel = sensitivity.differentiating(kernel, r.sensitivities)
    if recorded or tangles(*(captured.tensor for captured in kernel.traced.captured)):
        limits.refuse_recorded(r)
        return differentiable.of(kernel, r)
    return kernel


def _recorded(r: Request) -> bool:
    """Whether a state or an argument requires a gradient; what f captures is known later."""
    return tangles(r.y0, *(tree_leaves(r.args) if r.args else ()))


def _found(r: Request) -> Kernel:
    """The same, without a second try of code that could not be traced."""
    f = happening.traced(r)
    key = (tracer.shape(f, r.layout, r.y0), (r.pair or r.problem.method).name)
    if (known := refusals.known(f, key)) is not None:
        raise UnsupportedError(known)
    try:
        return _kernel(r)
    except UntraceableError as error:
        refusals.remember(f, key, str(error))
        raise


def prepare(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    layout: Layout,
    method: Method | Pair,
    t0: Tensor,
    y0: Tensor,
) -> Kernel:
    """The kernel of a field and a method, traced if it is new; raises UnsupportedError.

    Of a pair that shares the rows, both kernels as one.
    """
    if layout.features > LARGEST:
        raise UnsupportedError(
            f"kernel: {layout.features} components, at most {LARGEST} can be generated: "
            "use backend='eager'"
        )
    both = (method.explicit, method.stiff) if isinstance(method, Pair) else (method,)
    numbers = [coefficients.of(one) for one in both]
    traced = tracer.trace(f, args, layout, t0, y0)
    kernels = [_of(traced, one) for one in numbers]
    if not isinstance(method, Pair):
        return kernels[0]
    key = (traced.key, method.name)
    known = _PAIRS.get(key)
    if known is None or any(old is not new for old, new in zip(known.parts, kernels, strict=True)):
        known = _PAIRS[key] = pair.Pair(traced, numbers[1], explicit=kernels[0], stiff=kernels[1])
    return known


def _of(traced: Traced, numbers: Coefficients) -> Kernel:
    key = (traced.key, numbers.name)
    known = _KERNELS.get(key)
    if known is None or (known.method is not numbers and known.method != numbers):
        known = _KERNELS[key] = Kernel(traced, numbers)
    elif known.traced is not traced:  # one graph, other captured tensors: they share libraries
        known = _KERNELS[key] = replace(known, traced=traced)
    return known


_PAIRS: dict[tuple[str, str], pair.Pair] = {}
_KERNELS: dict[tuple[str, str], Kernel] = {}


def forget() -> None:
    """Drop the kernels that are loaded, and what could not be; those in the cache stay."""
    _KERNELS.clear()
    _PAIRS.clear()
    differentiable.forget()
    sensitivity.forget()
    memory.forget()
    refusals.forget()
    looping.forget()


def run(kernel: Kernel, r: Request, why: str) -> Result:
    """The solve by a kernel that is there."""
    if isinstance(kernel, Adjoint):
        return _run_recorded(kernel, r, why)
    p, task = r.problem, tasks.task(kernel, r)
    keeps = {kept(o) for o in p.outputs}
    for output in p.outputs:
        if isinstance(output, AtTimes):
            output.start(r.t0, r.t1, r.y0)  # it checks the times
    seen = (r.watch, r.checkpoint) != (None, None)
    ended = watching.solve(kernel, r, task) if seen else kernel.solve(task)
    if keeps & {"pieces", "steps"}:
        ended = kernel.keep_steps(task, ended, dense="pieces" in keeps)
    if r.name is not None and calls.possible(r, task):
        kept_why = why if why in ASKED.values() else REPEATED
        call = calls.Call(r, kernel, task, kept_why, result)
        memory.remember(r.name, call, r.objects)
    return result(kernel, r, task, ended, why)


def _run_recorded(kernel: Adjoint, r: Request, why: str) -> Result:
    """The same with a history."""
    if r.pair is not None:
        name = r.problem.method.name
        reason = choices.ALONE.format(name=name, reason="gradients go through its steps")
        r = r._replace(pair=None, alone=reason)
    with torch.no_grad():
        task = tasks.task(kernel, r)
        for output in r.problem.outputs:
            if isinstance(output, AtTimes):
                output.start(r.t0, r.t1, r.y0)
        ended, tapes = kernel.record(task)
        found = result(kernel, r, task, ended, "; ".join(filter(None, (why, r.alone))))
    history = differentiable.History(kernel, task, ended, tapes)
    y = differentiable.attached(found.y, r, history)
    return found._replace(y=without_gradient(y, ended.counts[0], batched=r.layout.batched))


def result(kernel: Kernel, r: Request, task: Task, ended: Ended, why: str) -> Result:
    """What a kernel left, as what was asked for."""
    p = r.problem
    bad = turns.failed(ended.counts, task.rows)
    messages = reasons.messages(r, ended) | sensitivity.messages(r, ended) if bad else {}
    trajectory = None
    dense = any(kept(output) == "pieces" for output in p.outputs)
    if dense and ended.pieces is not None and ended.pieces.coefficients is not None:
        x, sign = ended.pieces, torch.where(task.t1 < task.t0, -1.0, 1.0)
        y0, y1, c = x.y0.to(r.y0.dtype), x.y1.to(r.y0.dtype), ended.pieces.coefficients
        trajectory = Trajectory(x.before, x.after, y0, y1, c.to(r.y0.dtype), sign)
    if r.watch is not None and r.watch.monitored:  # all attempts were seen
        warnings = r.watch.witness.caveats(p, reasons.live(p, r, ended), r.layout)
    else:
        sides = None if ended.happened is None else ended.happened.sides
        warnings = caveats.at_ends(p, task.y0, ended.y, ended.counts, sides)
    t, y = kept_states(p.outputs[0], task, ended, r.y0.dtype)
    tables = happening.tables(ended, r.y0.dtype)
    name = p.method.name if r.pair is None else r.pair.name
    why = f"{why}; {r.alone}" if r.sensitivities and r.alone else why
    return Result(
        *(t, y, ended.counts, messages, warnings, trajectory, "kernel", why, tables),
        stretches=turns.stretches(r.pair, r.t0, ended),
        method=name,
        slopes=sensitivity.slopes(r, kernel, task, ended, y),
    )
