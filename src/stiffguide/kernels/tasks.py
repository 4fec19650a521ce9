"""A request in the numbers that a kernel takes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stiffguide.kernels import happening
from stiffguide.kernels.request import Request
from stiffguide.kernels.running.run import Kernel
from stiffguide.kernels.running.task import Task
from stiffguide.sharing.pair import Pair
from stiffguide.stepping.contracts import Output
from stiffguide.stepping.controllers import PID
from stiffguide.stepping.output import AtTimes
from stiffguide.tensors import constant

F64, CPU = torch.float64, torch.device("cpu")


def task(kernel: Kernel, r: Request) -> Task:
    """What the kernel is to solve."""
    p = r.problem
    assert isinstance(p.controller, PID)
    times = times_of(p.outputs)
    if times is not None:
        times = torch.atleast_2d(times.detach()).to(r.y0.device).contiguous()
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
        stops=p.stops.contiguous() if p.stops.shape[1] > 1 else None,
        eps=torch.finfo(r.y0.dtype).eps,
        happening=happening.given(r),
        **({} if r.pair is None else _shared(r.pair)),
    )


def _shared(pair: Pair) -> dict[str, Any]:
    """What a task has beside, where two methods share its rows."""
    first = pair.price.first(1, 1)
    rules = (*pair.price[:2], pair.limit, pair.price.trial, first.patience[0], first.probe[0])
    explicit = pair.controllers[0]
    return {"rules": constant(tuple(map(float, rules)), F64, CPU), "explicit": explicit}


def times_of(outputs: tuple[Output, ...]) -> Tensor | None:
    """The times to save at, if that is what is kept."""
    return outputs[0].times if isinstance(outputs[0], AtTimes) else None


def _table(value: Tensor | float, place: torch.device) -> Tensor:
    if isinstance(value, Tensor):
        return _plain(value)
    return constant(((value,),), torch.float64, place)


def _plain(x: Tensor) -> Tensor:
    """The numbers of x in float64, one behind the other; asked first, for a call costs its time."""
    if x.dtype == torch.float64 and x.is_contiguous() and not x.is_neg():
        return x
    return x.detach().to(torch.float64).contiguous().resolve_neg()
