"""`odeint_event`: an event's time and state, as they move with what they depend on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stiffguide.fronts.torchdiffeq.forward import odeint
from stiffguide.fronts.torchdiffeq.state import Function, State, like, parts
from stiffguide.saying import warn

GRAZED = "event_fn came to zero at no speed: its time has no derivative there, gradients are nan"


def odeint_event(
    func: Function,
    y0: State,
    t0: Tensor,
    *,
    event_fn: Function,
    reverse_time: bool = False,
    odeint_interface: Callable[..., Any] = odeint,
    **kwargs: Any,
) -> tuple[Tensor, Any]:
    """Solve from t0 until an entry of event_fn(t, y) changes its sign, as torchdiffeq does.

    Gives the time () and the states (2, *S) at t0 and there, both with their gradients: those of
    the event's time follow from the implicit function theorem (also by what event_fn depends on).
    `odeint_interface` is `odeint` or `odeint_adjoint`; other arguments go to it.
    """
    begin = t0.reshape(-1)
    t = torch.cat((begin, begin.detach() + (-1.0 if reverse_time else 1.0)))
    event_t, solution = odeint_interface(func, y0, t, event_fn=event_fn, **kwargs)
    last = [x[-1] for x in parts(solution)]
    event_t, moved = _moving(func, event_fn, (t[0], y0), event_t.detach(), like(y0, last))
    whole = zip(parts(solution), moved, strict=True)
    return event_t, like(y0, [torch.cat((x[:-1], y.unsqueeze(0))) for x, y in whole])


def _moving(
    func: Function, event_fn: Function, start: tuple[Tensor, Any], t: Tensor, y: Any
) -> tuple[Tensor, list[Tensor]]:
    """The event's time t () and state, as they move with what y and event_fn depend on."""
    tensors = list(parts(y))
    time = t.to(tensors[0].real.dtype)
    if not torch.is_grad_enabled():
        return t, tensors
    with torch.no_grad():
        t0, y0 = start
        signs = torch.sign(event_fn(t0.to(time.dtype), y0)).reshape(-1)
    values = event_fn(time, y).reshape(-1)
    first = int((values.detach() * signs).argmin())
    value = values[first]
    if not value.requires_grad:
        return t, tensors
    slopes = [f.detach() for f in parts(func(time, like(y, [x.detach() for x in tensors])))]
    speed = _speed(event_fn, time, y, first, slopes)
    if not bool(speed):
        warn(GRAZED)
    moved = -(value - value.detach()) / speed
    shifted = [x + f * moved.to(f.dtype) for x, f in zip(tensors, slopes, strict=True)]
    return t + moved.to(t.dtype), shifted


def _speed(event_fn: Function, time: Tensor, y: Any, entry: int, slopes: list[Tensor]) -> Tensor:
    """d event_fn / dt () of one entry along the solution."""
    with torch.enable_grad():
        s = time.detach().clone().requires_grad_()
        state = [x.detach().clone().requires_grad_() for x in parts(y)]
        value = event_fn(s, like(y, state)).reshape(-1)[entry]
        by_t, *by_y = torch.autograd.grad(value, (s, *state), allow_unused=True)
    speed = torch.zeros_like(time) if by_t is None else by_t
    for gradient, f in zip(by_y, slopes, strict=True):
        if gradient is not None:
            speed = speed + (gradient.conj() * f).real.sum()
    return speed
