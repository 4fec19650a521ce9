"""What every row of a solve needs: `Problem` (constant) and `Live` (committed row by row)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import Status
from stiffguide.stepping.contracts import Controller, Field, Guidance, Method, Output, State
from stiffguide.stepping.initial_dt import initial_dt
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tensors import finite, real_dtype

if TYPE_CHECKING:
    from stiffguide.stepping.events import Watched
    from stiffguide.stepping.nonnegative import Nonnegative


AT_ENDS = ("end", "steps", "chords", "instants")  # kept without a look at f


class Open(NamedTuple):
    """Rows (B,) bool that are stopped at t0, or at t1: f is not asked there, but beside it."""

    start: Tensor
    end: Tensor


class Problem(NamedTuple):
    """What stays the same during a solve."""

    f: Field
    method: Method
    controller: Controller
    guidance: Guidance | None
    outputs: tuple[Output, ...]
    tolerance: Tolerance
    stops: Tensor  # (B, K) times to step on exactly, in order; the last is t1
    max_step: float
    max_attempts: int
    first_step: float | None = None
    events: Watched | None = None
    jump_at: Callable[[Tensor, Tensor], Tensor] | None = None  # at inner stops: t, y -> y (B, F)
    nonnegative: Nonnegative | None = None
    on_attempt: Callable[..., None] | None = None  # of t0, y0, dt, accept and live rows
    open: Open | None = None
    min_step: float = 0.0  # attempts of this length are accepted whatever their error


class Live(NamedTuple):
    """What changes, row by row."""

    t: Tensor  # (B,) float64
    y: Tensor  # (B, F)
    f0: Tensor  # (B, F), f(t, y)
    dt: Tensor  # (B,) the next attempt, signed
    method: State
    controller: State
    guidance: State
    status: Tensor  # (B,) int64, see errors.Status
    stop: Tensor  # (B,) int64, index into stops
    attempts: Tensor  # (B,) int64
    accepted: Tensor  # (B,) int64
    work: Tensor  # (3, B) int64: nfe, njac, nlu
    events: State = ()
    side: State = ()  # (B,), where there are stops: t, or on one where f was asked beyond it
    wide: State = ()  # (B,) int64, steps accepted with an error above the tolerance


def begin(p: Problem, t0: Tensor, y0: Tensor, f0: Tensor, dt: Tensor, nfe: int) -> Live:
    """The state before the first attempt; `nfe` evaluations were spent on f0 and dt."""
    dt, controller = p.controller.init(t0, p.stops[:, -1], dt)
    zero = torch.zeros_like(t0, dtype=torch.int64)
    status = torch.full_like(zero, int(Status.RUNNING))
    status = torch.where(p.stops[:, -1] == t0, int(Status.SUCCESS), status)
    status = torch.where(finite(y0, f0), status, int(Status.NON_FINITE))
    # a row without an interval is computed all the same: give it a step that harms nobody
    idle = torch.clamp(t0.abs(), min=1.0) * 1e-12
    work = torch.zeros((3, t0.shape[0]), dtype=torch.int64, device=t0.device)
    work[0] += nfe
    return Live(
        t=t0.clone(),
        y=y0.clone(),
        f0=f0,
        dt=torch.where(dt == 0, idle, limited(p, dt) if p.controller.adaptive else dt),
        method=p.method.init(p.f, t0, y0),
        controller=controller,
        guidance=() if p.guidance is None else p.guidance.init(t0, y0),
        status=status,
        stop=zero,
        attempts=zero.clone(),
        accepted=zero.clone(),
        work=work,
        events=() if p.events is None else p.events.start(t0, y0),
        side=opened(p, t0, y0) if p.stops.shape[1] > 1 else (),
        wide=zero.clone() if p.min_step else (),
    )


def first_dt(p: Problem, t0: Tensor, y0: Tensor, f0: Tensor) -> tuple[Tensor, int]:
    """The first dt (B,) of a solve from (t0, y0), where f is f0, and the evaluations it took."""
    t1, first = closed(p, t0, y0), p.first_step
    if first is not None or not p.controller.adaptive:
        return torch.sign(t1 - t0) * torch.clamp((t1 - t0).abs(), max=first or float("inf")), 0
    order = p.method.error_order or p.method.order
    nfe = 1 if p.f.linear.mass is None else 3
    return initial_dt(p.f, t0, t1, y0, f0, p.tolerance, order), nfe


def unasked(p: Problem) -> bool:
    """Whether nobody looks at f where the steps end: it may not even have a value there."""
    if p.controller.adaptive or p.events is not None or p.guidance is not None:
        return False
    return all(getattr(output, "kept", None) in AT_ENDS for output in p.outputs)


def next_stop(p: Problem, s: Live) -> Tensor:
    """The stop (B,) that each row goes to."""
    return p.stops.gather(1, s.stop.unsqueeze(1)).squeeze(1)


def sliver(t: Tensor, y: Tensor) -> Tensor:
    """A length of time (B,) around t (B,) that f can tell, and the solution cannot."""
    return 4 * torch.finfo(real_dtype(y.dtype)).eps * t.abs()


def beyond(t: Tensor, way: Tensor, y: Tensor) -> Tensor:
    """A length of time (B,), signed as `way`, that leads to where f may be asked beside t (B,)."""
    kind = torch.finfo(real_dtype(y.dtype))
    # beside 0 any number can be told: one from which a root of t has derivatives
    least = torch.clamp(kind.eps * way.abs(), kind.tiny, kind.tiny**0.5)
    return torch.copysign(torch.maximum(sliver(t, y), least), way)


def opened(p: Problem, t0: Tensor, y0: Tensor) -> Tensor:
    """Where f is asked at the start (B,): at the number t0, or just after it."""
    if p.open is None:
        return t0
    way = p.stops[:, 0] - t0
    length = beyond(t0, way, y0)
    short = torch.where(way == 0, length, torch.minimum(length.abs(), way.abs() / 4))
    return torch.where(p.open.start, t0 + torch.copysign(short, way), t0)


def closed(p: Problem, t0: Tensor, y0: Tensor) -> Tensor:
    """The last time (B,) at which f may be asked: the number t1, or just before it."""
    t1 = p.stops[:, -1].detach()
    if p.open is None:
        return t1
    short = sliver(torch.maximum(t0.abs(), t1.abs()), y0)
    short = torch.minimum(short, (t1 - t0).abs() / 4)
    return torch.where(p.open.end & torch.isfinite(t1), t1 - torch.copysign(short, t1 - t0), t1)


def asked(s: Live) -> Tensor:
    """Where f is asked for its value at s.t (B,)."""
    side: Tensor = s.t if isinstance(s.side, tuple) else s.side
    return side


def limited(p: Problem, dt: Tensor) -> Tensor:
    """No step is longer than `max_step`, nor shorter than `min_step`."""
    if p.min_step:
        dt = torch.copysign(torch.clamp(dt.abs(), min=p.min_step), dt)
    return dt if p.max_step == float("inf") else torch.clamp(dt, -p.max_step, p.max_step)
