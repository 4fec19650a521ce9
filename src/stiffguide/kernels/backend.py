"""Whether a solve can and should be a kernel's, and the solve itself in the terms of the loop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from stiffguide import caveats
from stiffguide.errors import UnsupportedError
from stiffguide.fields.flat import refuse_mixed_dtypes
from stiffguide.fields.layout import Layout
from stiffguide.kernels.emitting import coefficients
from stiffguide.kernels.names import Backend
from stiffguide.kernels.request import Request
from stiffguide.kernels.running import device
from stiffguide.kernels.running.run import FEW, Kernel
from stiffguide.kernels.running.task import Ended, Pieces, Task
from stiffguide.stepping.contracts import Method
from stiffguide.stepping.controllers import PID
from stiffguide.stepping.live import Live, Problem
from stiffguide.stepping.output import AtTimes, EveryStep, Trajectory, kept
from stiffguide.tensors import constant, tangles
from stiffguide.tracing import tracer

LOG = logging.getLogger("stiffguide")
LARGEST = 64  # components
WORTH_BUILDING = 4096  # rows times components: an eager solve of so many takes longer than a build
NO_GRADIENT = "it records no gradient: use torch.no_grad() or detach"


class Solved(NamedTuple):
    """A solve that a kernel did."""

    kept: tuple[Tensor, Tensor]  # (B, T), (B, T, F)
    counts: Tensor  # (6, B) int64: status, accepted, attempts, nfe, njac, nlu
    live: Live | None  # the end as the loop would leave it, if a row failed
    trajectory: Trajectory | None
    warnings: caveats.Caveats


def solve(r: Request, backend: Backend) -> Solved | None:
    """Solve by a kernel; None where "auto" prefers the eager loop (a log line says why).

    And None for a batch without rows.

    "auto" takes the kernel where it is loaded or cached already, or where rows times components
    are at least `WORTH_BUILDING`: below that, building takes longer than solving.
    """
    if not r.layout.rows:  # nothing to trace with, and nothing to do
        return None
    try:
        _refuse(r)
        kernel = prepare(r.f, r.args, r.layout, r.problem.method, r.t0, r.y0)
        if tangles(*(captured.tensor for captured in kernel.traced.captured)):
            raise _unusable(NO_GRADIENT)
        wide = r.layout.rows > FEW
        small = r.layout.rows * r.layout.features < WORTH_BUILDING
        if backend == "auto" and small and not kernel.ready(wide=wide):
            LOG.info("eager, because a kernel is not built yet and costs more than this solve")
            return None
        kernel.prepare(r.y0.device, wide=wide)
        return _run(kernel, r)
    except UnsupportedError as error:
        if backend == "kernel":
            raise
        LOG.info("eager, because %s", error)
        return None
    except RuntimeError as error:
        refuse_mixed_dtypes(error, r.y0.dtype)
        raise


def prepare(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    layout: Layout,
    method: Method,
    t0: Tensor,
    y0: Tensor,
) -> Kernel:
    """The kernel of a field and a method, traced if it is new; raises UnsupportedError."""
    if layout.features > LARGEST:
        raise UnsupportedError(
            f"kernel: {layout.features} components, at most {LARGEST} can be generated: "
            "use backend='eager'"
        )
    numbers = coefficients.of(method)
    traced = tracer.trace(f, args, layout, t0, y0)
    key = (traced.key, method.name)
    known = _KERNELS.get(key)
    if known is None or (known.method is not numbers and known.method != numbers):
        known = _KERNELS[key] = Kernel(traced, numbers)
    elif known.traced is not traced:  # one graph, other captured tensors: they share libraries
        known = _KERNELS[key] = replace(known, traced=traced)
    return known


_KERNELS: dict[tuple[str, str], Kernel] = {}


def forget() -> None:
    """Drop the kernels that are loaded; those in the cache stay."""
    _KERNELS.clear()


def _refuse(r: Request) -> None:
    p, reason = r.problem, ""
    if p.guidance is not None:
        reason = "guidance moves states between steps"
    elif r.watched:
        reason = "`monitor` and `progress` look at every attempt"
    elif r.layout.dtype.is_complex:
        reason = f"it computes in real numbers and y0 is {r.layout.dtype}"
    elif not device.supported(r.y0.device):
        reason = (
            f"y0 is on {r.y0.device}, and it runs on CPUs, and on GPUs of NVIDIA with a torch that "
            "can compile for them (torch.cuda._compile_kernel)"
        )
    elif p.stops.shape[1] > 1:
        reason = "it knows no `tstops`"
    elif not isinstance(p.controller, PID):
        reason = "it chooses dt by a PID controller only"
    elif not all(map(kept, p.outputs)):
        reason = "it keeps ends, given times and steps, and no other output"
    elif tangles(r.y0, *(tree_leaves(r.args) if r.args else ())):
        reason = NO_GRADIENT
    if reason:
        raise _unusable(reason)


def _unusable(reason: str) -> UnsupportedError:
    return UnsupportedError(f"kernel: cannot be used here, {reason}; use backend='eager'")


def _run(kernel: Kernel, r: Request) -> Solved:
    p, task = r.problem, _task(kernel, r)
    keeps = {kept(o) for o in p.outputs}
    dense = "pieces" in keeps
    for output in p.outputs:
        if isinstance(output, AtTimes):
            output.start(r.t0, r.t1, r.y0)  # it checks the times
    ended = (
        kernel.trace_steps(task, dense=dense) if dense or "steps" in keeps else kernel.solve(task)
    )
    live = _live(p, r, ended) if _failed(ended) else None
    trajectory = None
    if dense and ended.pieces is not None and ended.pieces.coefficients is not None:
        x, sign = ended.pieces, torch.where(task.t1 < task.t0, -1.0, 1.0)
        y0, y1, c = x.y0.to(r.y0.dtype), x.y1.to(r.y0.dtype), ended.pieces.coefficients
        trajectory = Trajectory(x.before, x.after, y0, y1, c.to(r.y0.dtype), sign)
    said = caveats.at_ends(p, task.y0, ended.y, ended.counts)
    found = _kept(p.outputs[0], task, ended, r.y0.dtype)
    return Solved(found, ended.counts, live, trajectory, said)


def _task(kernel: Kernel, r: Request) -> Task:
    p = r.problem
    assert isinstance(p.controller, PID)
    times = None
    if isinstance(p.outputs[0], AtTimes):
        times = torch.atleast_2d(p.outputs[0].times).to(r.y0.device).contiguous()
    return Task(
        t0=r.t0,
        t1=r.t1,
        y0=_plain(r.y0),
        parameters=_plain(kernel.traced.parameter_table(r.args, r.layout.rows)),
        rtol=_table(p.tolerance.rtol, r.y0.device),
        atol=_table(p.tolerance.atol, r.y0.device),
        controller=p.controller,
        max_step=p.max_step,
        first_step=r.first_step,
        max_attempts=p.max_attempts,
        times=times,
    )


def _table(value: Tensor | float, place: torch.device) -> Tensor:
    if isinstance(value, Tensor):
        return _plain(value)
    return constant(((value,),), torch.float64, place)


def _plain(x: Tensor) -> Tensor:
    """The numbers of x in float64, one behind the other; asked first, for a call costs its time."""
    if x.dtype == torch.float64 and x.is_contiguous():
        return x
    return x.detach().to(torch.float64).contiguous()


def _live(p: Problem, r: Request, ended: Ended) -> Live:
    """The end of the solve as the loop would leave it, for the messages."""
    status, accepted, attempts = ended.counts[:3].unbind()
    t, y = ended.t.squeeze(1), ended.y.squeeze(1).to(r.y0.dtype)
    with torch.no_grad():
        f0 = p.f(t, y)
    return Live(
        t=t,
        y=y,
        f0=f0,
        dt=ended.dt,
        method=p.method.init(t, y),
        controller=(),
        guidance=(),
        status=status,
        stop=torch.zeros_like(status),
        attempts=attempts,
        accepted=accepted,
        work=ended.counts[3:],
    )


def _failed(ended: Ended) -> bool:
    """Whether any row did not succeed."""
    # SUCCESS is 0; of few rows, python asks faster than torch
    if ended.counts.shape[1] <= FEW:
        return any(ended.counts.tolist()[0])
    return bool(ended.counts[0].any())


def _kept(output: Any, task: Task, ended: Ended, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Times (B, T) and states (B, T, F) that were asked for."""
    if isinstance(output, AtTimes):
        assert task.times is not None
        assert ended.saved is not None
        return task.times.expand(task.rows, -1), ended.saved.to(dtype)
    if isinstance(output, EveryStep):
        if ended.pieces is None:  # after an interrupt: start and end
            ends = torch.cat((task.t0.unsqueeze(1), ended.t), 1)
            return ends, torch.cat((task.y0.unsqueeze(1), ended.y), 1).to(dtype)
        return _steps(task, ended.pieces, ended.counts[1], dtype)
    return ended.t, ended.y if ended.y.dtype == dtype else ended.y.to(dtype)


def _steps(
    task: Task, pieces: Pieces, accepted: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Start and end of every accepted step, nan behind the last one of a row."""
    longest = int(accepted.max()) if accepted.numel() else 0
    times = torch.cat((task.t0.unsqueeze(1), pieces.after[:longest].T), 1)
    states = torch.cat((task.y0.unsqueeze(1), pieces.y1[:longest].movedim(0, 1)), 1)
    beyond = torch.arange(longest + 1, device=accepted.device) > accepted.unsqueeze(1)
    times = times.masked_fill(beyond, float("nan"))
    return times, states.masked_fill(beyond.unsqueeze(-1), float("nan")).to(dtype)
