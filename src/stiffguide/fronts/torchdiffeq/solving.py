"""The solve that answers a question."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stiffguide.caveats import FELL, UNRESOLVED
from stiffguide.errors import SolveFailed, Status
from stiffguide.fronts.torchdiffeq import grids, lean, rowwise, settings
from stiffguide.fronts.torchdiffeq.by_scipy import by_scipy
from stiffguide.fronts.torchdiffeq.effects import affects
from stiffguide.fronts.torchdiffeq.question import Question
from stiffguide.fronts.torchdiffeq.schemes import CALLBACKS, SCIPY
from stiffguide.fronts.torchdiffeq.settings import Options
from stiffguide.fronts.torchdiffeq.state import field, like, mixed, parts
from stiffguide.kernels import way
from stiffguide.saying import warn
from stiffguide.solution import Solution
from stiffguide.solve import solve

SMALL = 64  # numbers in a state, from which on tensors do as well as a kernel of one row
WORDS = {
    Status.DT_TOO_SMALL: "underflow in dt",
    Status.NON_FINITE: "non-finite values in state `y`",
    Status.MAX_ATTEMPTS: "max_num_steps exceeded",
}


class Failed(SolveFailed, AssertionError):
    """A solve that did not reach its end; an AssertionError, as torchdiffeq raises."""


def states(asked: Question) -> Any:
    """The states at all times."""
    return answer(asked)[0]


def answer(asked: Question) -> tuple[Any, int]:
    """The states at all times, and how many attempts they took."""
    if asked.scheme.name == SCIPY:
        given = asked.rtol, asked.atol, asked.options
        return by_scipy(asked.func, asked.y0, asked.t, *given), 0
    if len(asked.t) == 1:
        return like(asked.y0, [x.unsqueeze(0) for x in parts(asked.y0)]), 0
    leanly = lean.states(asked) if asked.scheme.given else None
    if leanly is not None:
        return leanly, 0
    found = solved(asked, asked.t)
    y, tensors = found.y, parts(asked.y0)
    if asked.scheme.given and len(asked.t) == 2:  # the end alone is kept
        pairs = zip(tensors, parts(y), strict=True)
        y = like(asked.y0, [torch.cat((start.unsqueeze(0), end)) for start, end in pairs])
    return y, int(found.counts[2].sum())


def solved(asked: Question, t: Tensor, end: Any = None, **more: Any) -> Solution[Any]:
    """The solution at t (T,), or up to `end`; raises Failed."""
    func, y0, chosen = asked.func, asked.y0, asked.scheme
    options = Options(asked.options)
    arguments: dict[str, Any] = {"method": chosen.method, "rtol": asked.rtol, "atol": asked.atol}
    arguments |= settings.common(options, chosen)
    rows = bool(options.take("rows", False))
    # of a tuple torchdiffeq takes the largest norm; a kernel, and rows, have that of all entries
    native = "kernel" in (arguments.get("backend"), arguments.get("gradient"))
    whole = chosen.own or native or rows or isinstance(y0, Tensor)
    norm = options.take("norm", None if whole else mixed)
    if norm is not None and not chosen.given:
        arguments["norm"] = norm
    arguments["save_at"] = t
    if chosen.given:
        arguments |= grids.settings(options, func, y0, t, to_event=end is not None)
    else:
        arguments |= settings.adaptive(options, chosen, t)
    if asked.callbacks:
        arguments["on_attempt"] = attempts(asked.callbacks)
    options.end(chosen.name)
    arguments |= more
    if "backend" not in arguments and not native:
        arguments["backend"] = _backend(asked, arguments)
    f = field(func, y0)
    if rows:
        f, arguments["batched"] = rowwise.field(f, y0, t), True
    # steps that are given move with their times, t0 among them
    t0, t1 = t[0].detach() if chosen.given else t[0], t[-1] if end is None else end
    found = solve(f, y0, t0, t1, **arguments)
    if found.messages and not bool(found.success.all()):
        raise Failed(_sentence(found))
    said = [] if asked.back else _said(found, own=chosen.own)
    if said:
        warn("; ".join(said))
    return rowwise.times_first(found) if rows else found


def _backend(asked: Question, arguments: dict[str, Any]) -> str:
    """Who is to solve: "auto", if a kernel may be had, and nobody counts the calls of func."""
    if asked.scheme.given or not {"norm", "on_attempt", "events"}.isdisjoint(arguments):
        return "eager"
    large = sum(x.numel() for x in parts(asked.y0)) > SMALL and not asked.options.get("rows")
    if way("auto") == "eager" or (large and not asked.scheme.own):
        return "eager"
    y = like(asked.y0, [x.detach() for x in parts(asked.y0)])
    with torch.no_grad():
        t0 = asked.t[0].detach().to(parts(y)[0].real.dtype)
        return "eager" if affects(asked.func, t0, y) else "auto"


def _said(found: Solution[Any], *, own: bool) -> list[str]:
    """What is to be said of the first row of which something is to be said.

    Of torchdiffeq's own methods not that their default rtol, which nobody has chosen, is below what
    float32 resolves, nor what only matters where states are never negative.
    """
    silent = () if own else (UNRESOLVED, FELL)
    rows = ([s for s in x if not any(w in s for w in silent)] for x in found.warnings.values())
    return next(filter(None, rows), [])


def _sentence(found: Solution[Any]) -> str:
    """Why a solve failed, in torchdiffeq's words and in ours."""
    bad = found.status.reshape(-1)[~found.success.reshape(-1)]
    words = WORDS.get(Status(int(bad[0])))
    return f"{words}: {found.message}" if words else found.message


def attempts(callbacks: dict[str, Callable[..., Any]]) -> Callable[..., None]:
    """What `solve` calls after every attempt."""
    first, accepted, rejected = (callbacks.get(name) for name in CALLBACKS)

    def on_attempt(t0: Tensor, y0: Any, dt: Tensor, accept: Any) -> None:
        verdict = accepted if bool(torch.as_tensor(accept).all()) else rejected
        for callback in (first, verdict):
            if callback is not None:
                callback(t0, y0, dt.abs())

    return on_attempt
