"""Solves that end when a function of the state changes its sign."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from stiffguide.errors import InputError
from stiffguide.events import Event
from stiffguide.fronts.torchdiffeq.question import Question
from stiffguide.fronts.torchdiffeq.schemes import SCIPY
from stiffguide.fronts.torchdiffeq.solving import solved, states
from stiffguide.fronts.torchdiffeq.state import Function, like, parts
from stiffguide.stepping.output import End
from stiffguide.tensors import tangles


def to_event(asked: Question, event_fn: Function) -> tuple[Tensor, Any]:
    """The time () of the event, a constant, and the states (2, *S) at t0 and there.

    The event is where the first entry of event_fn changes the sign that it has at the start.
    """
    if asked.scheme.name == SCIPY:
        raise ValueError("scipy_solver has no events; give another method")
    if asked.options.get("rows"):
        raise InputError("rows: every row would have an event of its own; leave out the option")
    y0, t = asked.y0, asked.t.detach()
    forwards = bool(t[1] > t[0])
    with torch.no_grad():
        start, y = t[0], like(y0, [x.detach() for x in parts(y0)])
        signs = torch.sign(event_fn(start.to(parts(y0)[0].real.dtype), y))
        if not bool((signs != 0).all()):
            return start.clone(), _both(y0, y0)

        def left(s: Tensor, state: Any) -> Tensor:
            return torch.min(event_fn(s, state) * signs)

        end = math.inf if forwards else -math.inf
        event = Event(left, terminal=True, direction=-1)
        quiet = asked._replace(y0=y, t=t)
        found = solved(quiet, t, end, events=event, save_at=End())
    time = found.t[-1].to(t.dtype)
    if not _recorded(asked):
        return time, _both(y0, like(y0, [x[-1] for x in parts(found.y)]))
    whole = torch.stack((asked.t[0].double(), found.t[-1]))
    return time, states(asked._replace(t=whole, callbacks={}))


def _recorded(asked: Question) -> bool:
    """Whether there is a gradient to record."""
    if not torch.is_grad_enabled():
        return False
    tensors = parts(asked.y0)
    if tangles(asked.t, *tensors):
        return True
    t0 = asked.t[0].to(tensors[0].real.dtype)
    return tangles(*parts(asked.func(t0, asked.y0)))


def _both(y0: Any, y1: Any) -> Any:
    """The states (2, *S)."""
    return like(y0, [torch.stack(pair) for pair in zip(parts(y0), parts(y1), strict=True)])
