"""What happens where a row has come to an event or a stop: it ends, or goes on from a new state."""

from __future__ import annotations

import torch
from torch import Tensor

from stiffguide.errors import Status
from stiffguide.stepping.constraints import consistent
from stiffguide.stepping.constraints import slope as derivative
from stiffguide.stepping.contracts import State, Units
from stiffguide.stepping.events import SAME, Happened
from stiffguide.stepping.live import Live, Problem, asked, first_dt, limited
from stiffguide.tensors import finite, real_dtype, select

CHATTER = 200  # events in a row
WITHIN = 1e-6  # of the time since t0: so close that they will go on for ever
PROBE = 1e-3  # of the first step after a jump: where the side of an event shows
CLEAR = 4  # times what may be nothing but rounding


def settle(p: Problem, s: Live, which: Tensor | None, stopped: Tensor) -> Live:
    """Let happen what does at (s.t, s.y): events `which` (B, E), and stops (B,) with their jump."""
    quiet = s.t.device.type == "cpu" and not (
        (which is not None and bool(which.any())) or (p.jump_at is not None and bool(stopped.any()))
    )
    if quiet:
        return s
    before = s.events
    if which is not None:
        s = _count(p, s, which)
    for output in p.outputs:
        if hasattr(output, "happen"):
            output.happen(s, which, stopped)
    y, jumped = _jump(p, s, which, stopped)
    if p.nonnegative is not None:
        p.nonnegative.refuse(y, jumped, s.t)
    if which is not None:
        assert p.events is not None
        p.events.happened.append(Happened(which, s.t, s.y, jumped))
    if s.t.device.type == "cpu" and not bool(jumped.any()):
        return s
    s, y = _consistent(p, s, y, jumped, stopped)
    for output in p.outputs:
        if hasattr(output, "jump"):
            output.jump(s.t, y, jumped)
    return restart(p, s, y, jumped, stopped, before)


def _count(p: Problem, s: Live, which: Tensor) -> Live:
    """The same with what happened counted, and the rows that it ends."""
    assert p.events is not None
    x, any_, running = s.events, which.any(-1), s.status == int(Status.RUNNING)
    count = x.counts + which
    limit = torch.tensor([e.terminal for e in p.events.triggers], device=count.device)
    ends = (which & (limit > 0) & (count >= limit)).any(-1)
    near = (s.t - x.since).abs() <= WITHIN * (s.t - x.begun).abs()
    streak = torch.where(any_, torch.where(near, x.streak + 1, 1), x.streak)
    since = torch.where(any_ & ~near, s.t, x.since)
    status = torch.where(running & (streak >= CHATTER), int(Status.CHATTERING), s.status)
    status = torch.where(ends, int(Status.EVENT), status)
    state = x._replace(counts=count, streak=streak, since=since)
    return s._replace(events=state, status=status)


def _jump(p: Problem, s: Live, which: Tensor | None, stopped: Tensor) -> tuple[Tensor, Tensor]:
    """The states (B, F) after all jumps, one after the other, and which rows jumped (B,).

    Rows that end here do not: they keep the state before.
    """
    y, jumped = s.y, torch.zeros_like(stopped)
    goes_on = s.status == int(Status.RUNNING)
    jumps = [] if p.jump_at is None else [(p.jump_at, stopped & goes_on)]
    if which is not None:
        assert p.events is not None
        events = zip(p.events.triggers, which.unbind(-1), strict=True)
        jumps = [(x.jump, w & goes_on) for x, w in events if x.jump is not None] + jumps
    for jump, where in jumps:
        if where.device.type != "cpu" or bool(where.any()):
            y, jumped = select(where, jump(s.t, y), y), jumped | where
    return y, jumped


def _consistent(
    p: Problem, s: Live, y: Tensor, where: Tensor, stopped: Tensor
) -> tuple[Live, Tensor]:
    """The states (B, F) after jumps such that equations without a derivative hold; see `Mass`.

    Rows end where there are none.
    """
    mass = p.f.linear.mass
    if mass is None or mass.nulls is None:
        return s, y
    found = consistent(p.f, asked(s), y, s.dt, p.tolerance)
    lost = where & ~found.ok & (s.status == int(Status.RUNNING))
    status = torch.where(lost, int(Status.NOT_CONVERGED), s.status)
    return s._replace(status=status), select(where, found.y, y)


def restart(p: Problem, s: Live, y: Tensor, where: Tensor, stopped: Tensor, before: State) -> Live:
    """The rows `where` (B,) go on from (s.t, y) as a solve that begins there.

    `before` are their events as they were on the way here, `stopped` (B,) the rows on a stop.
    """
    t1 = p.stops[:, -1]
    t = asked(s)  # f may jump on a stop
    f0 = p.f(t, y)
    controller, dt, nfe = s.controller, s.dt, 1
    if p.controller.adaptive:
        dt, more = first_dt(p, t, y, f0)
        nfe += more
        dt, controller = p.controller.init(s.t, t1, dt)
        dt = limited(p, dt)
    work = s.work.clone()
    work[0] += where * nfe
    status = torch.where(where & ~finite(y, f0), int(Status.NON_FINITE), s.status)
    s = s._replace(
        y=select(where, y, s.y),
        f0=select(where, f0, s.f0),
        dt=torch.where(where, dt, s.dt),
        method=p.method.restart(s.method, where),
        controller=select(where, controller, s.controller),
        guidance=() if p.guidance is None else select(where, p.guidance.init(s.t, y), s.guidance),
        status=torch.where(s.status == int(Status.RUNNING), status, s.status),
        work=work,
    )
    return s if p.events is None else _sides(p, s, where, before)


def _sides(p: Problem, s: Live, where: Tensor, before: State) -> Live:
    """The events' sides after a jump, which crosses nothing itself.

    An event that has just happened may still be as near to zero as rounding can bring it. Then the
    side may show a little later along f0, and if it does not, it is that from before the event.
    """
    assert p.events is not None
    now, at_event = p.events.values(s.t, s.y), s.events.value
    length = PROBE * s.dt
    step = length.to(real_dtype(s.y.dtype)).unsqueeze(1)
    slope = derivative(p.f, asked(s), s.y, s.f0, Units(length, p.tolerance.scale(s.y)))
    probe = p.events.values(s.t + length, s.y + step * slope)
    rounding = SAME * torch.finfo(s.y.dtype).eps * s.t.abs() / length.abs()
    near = torch.maximum(at_event.abs(), (probe - now).abs() * rounding.unsqueeze(1))
    happened = s.events.counts > before.counts
    unclear = (now == 0) | (happened & (now.abs() <= CLEAR * near))
    later = torch.where(probe.abs() > CLEAR * now.abs(), torch.sign(probe), before.side)
    side = torch.where(unclear, later, torch.sign(now))
    mask = where.unsqueeze(1)
    state = s.events._replace(
        value=torch.where(mask, now, s.events.value),
        side=torch.where(mask, side, s.events.side),
        fresh=s.events.fresh | (happened & mask),
        repeats=s.events.repeats * ~mask,
    )
    return s._replace(events=state)
