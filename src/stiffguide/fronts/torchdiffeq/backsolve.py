"""`odeint_adjoint`: gradients by solving backwards (Pontryagin; Chen et al., NeurIPS 2018).

The state is not kept but solved backwards with its adjoint. That needs no memory, and is not the
gradient of the steps taken: where solutions come together forwards, as in every stiff problem,
they fall apart backwards, and the gradient is worth nothing. How far the state has come from where
it was is measured, and said. `adjoint_options={"mode": "checkpoint"}` or "kernel" is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from stiffguide.errors import InputError
from stiffguide.fronts.torchdiffeq.forward import odeint
from stiffguide.fronts.torchdiffeq.question import question
from stiffguide.fronts.torchdiffeq.schemes import CALLBACKS, scheme
from stiffguide.fronts.torchdiffeq.solving import Failed, answer, states
from stiffguide.fronts.torchdiffeq.state import (
    Function,
    Methods,
    Norm,
    State,
    Tolerance,
    alike,
    flat,
    mixed,
    rms,
    shaped,
)
from stiffguide.saying import warn

MODES = ("backsolve", "checkpoint", "kernel", "direct")
LEAST, LONGER = 2_000, 100  # attempts on the way back, and as many times those of the way there
ADRIFT = 1e3  # tolerances that the state may be off, solved back, before somebody is told
ROUGH = 1.0  # of the state, where steps are given, and nobody looks at tolerances
UNSAFE = (
    "odeint_adjoint: solved backwards from t = {t1:g} to {t0:g} the state comes to a point "
    "{size:.1e} of its size away from where it was: the problem is stiff, or the tolerance loose, "
    "and gradients by solving backwards are not to be trusted; use adjoint_options={{'mode': "
    "'checkpoint'}}, or odeint"
)
LOST = (
    "odeint_adjoint: {why}. Solving backwards fails where the problem is stiff; use "
    "adjoint_options={{'mode': 'checkpoint'}}, or odeint"
)
NO_MODULE = (
    "func must be an instance of nn.Module to specify the adjoint parameters; alternatively give "
    "them as adjoint_params, () if there are none"
)
NO_OPTIONS = (
    "If `adjoint_method != method` then we cannot infer `adjoint_options` from `options`: give "
    "adjoint_options as well"
)
LEFT_OUT = (
    "an adjoint parameter requires no gradient: it is left out of the adjoint solve, and of what "
    "the adjoint norm is given"
)


class Backwards(NamedTuple):
    """The solve of a backward pass."""

    func: Function
    y0: Any  # as the user has it: what the states are like
    rtol: Any
    atol: Any
    method: Any
    options: dict[str, Any]


def odeint_adjoint(
    func: Function,
    y0: State,
    t: Tensor,
    *,
    rtol: Tolerance = 1e-7,
    atol: Tolerance = 1e-9,
    method: Methods = None,
    options: dict[str, Any] | None = None,
    event_fn: Function | None = None,
    adjoint_rtol: Tolerance | None = None,
    adjoint_atol: Tolerance | None = None,
    adjoint_method: Methods = None,
    adjoint_options: dict[str, Any] | None = None,
    adjoint_params: Sequence[Tensor] | None = None,
) -> Any:
    """`odeint`, whose gradients come of solving backwards, as in torchdiffeq.odeint_adjoint.

    Gives (T, *S) for y0 of shape S. The arguments without `adjoint_` are those of `odeint`, and the
    others their counterparts for the way back, which default to them. Gradients go to y0, t and
    `adjoint_params`, those of an nn.Module by default. adjoint_options: also `norm`, which may be
    "seminorm", and

    mode: "backsolve", the default, or how `solve` records the steps: "checkpoint" and "direct",
        the exact gradient of the steps taken in O(sqrt(steps)) and O(steps) memory, or "kernel",
        the same in native code. Then the other adjoint arguments mean nothing.

    Warns where the state, solved backwards, does not come back. Raises ValueError where func is no
    module and adjoint_params are not given, InputError for a mode that is none, and what `odeint`
    raises.
    """
    if adjoint_params is None and not isinstance(func, nn.Module):
        raise ValueError(NO_MODULE)
    if adjoint_method not in (None, method) and options is not None and adjoint_options is None:
        raise ValueError(NO_OPTIONS)
    forward: dict[str, Any] = {"rtol": rtol, "atol": atol, "method": method}
    forward["options"] = dict(options or {})
    inferred = {k: v for k, v in (options or {}).items() if k != "norm"}
    chosen = dict(inferred if adjoint_options is None else adjoint_options)
    mode = chosen.pop("mode", MODES[0])
    if mode not in MODES:
        raise InputError(f"mode: {mode!r} is unknown; give one of {MODES}")
    if mode != MODES[0]:
        forward["options"]["gradient"] = mode
        return odeint(func, y0, t, event_fn=event_fn, **forward)
    given = _parameters(func) if adjoint_params is None else tuple(adjoint_params)  # type: ignore[arg-type]
    params = tuple(p for p in given if p.requires_grad)
    if len(params) < len(given) and callable(chosen.get("norm")):
        warn(LEFT_OUT)
    chosen["norm"] = _norm(chosen.get("norm"), forward["options"].get("norm"), y0)
    back = Backwards(
        func,
        y0,
        rtol if adjoint_rtol is None else adjoint_rtol,
        atol if adjoint_atol is None else adjoint_atol,
        method if adjoint_method is None else adjoint_method,
        chosen,
    )
    found = _backsolve(back, forward, event_fn, t, flat(y0, y0), *params)
    if event_fn is None:
        return shaped(found, y0)
    event_t, whole = found
    return event_t, shaped(whole, y0)


def _parameters(module: nn.Module) -> tuple[Tensor, ...]:
    """The parameters of a module; those of a replica of DataParallel are plain attributes."""
    if not getattr(module, "_is_replica", False):
        return tuple(module.parameters())
    found = (x for m in module.modules() for x in vars(m).values() if isinstance(x, Tensor))
    return tuple(x for x in found if x.requires_grad)


def _norm(given: Any, of_state: Norm | None, y0: Any) -> Norm:
    """The norm of (t, y, adjoint of y, adjoints of the parameters), y and its adjoint flat."""
    if callable(given):
        user: Norm = given
        if isinstance(y0, Tensor):
            return user

        def unpacked(state: Any) -> Any:
            t, y, adjoint, *params = state
            return user((t, *shaped(y, y0), *shaped(adjoint, y0), *params))

        return unpacked
    if given not in (None, "seminorm"):
        raise InputError(f"adjoint norm: {given!r} is unknown; give a function or 'seminorm'")
    measure = of_state or (rms if isinstance(y0, Tensor) else mixed)

    def norm(state: Any) -> Any:
        t, y, adjoint, *params = state
        sizes = [t.abs(), *(measure(shaped(x, y0)) for x in (y, adjoint))]
        if given is None:
            sizes.append(torch.as_tensor(mixed(params)))
        return max(sizes)

    return norm


class Backsolve(torch.autograd.Function):
    """The states at all times, or up to an event, from the state at the first."""

    @staticmethod
    def forward(
        ctx: Any,
        back: Backwards,
        forward: dict[str, Any],
        event_fn: Function | None,
        t: Tensor,
        y0: Tensor,
        *params: Tensor,
    ) -> Any:
        """States (T, N) of tuples or (T, *S); with an event, its time before."""
        start, times, attempts = shaped(y0, back.y0), t, 0
        with torch.no_grad():
            if event_fn is None:
                found, attempts = answer(question(back.func, start, t, **forward))
            else:
                event_t, found = odeint(back.func, start, t, event_fn=event_fn, **forward)
                times = torch.stack((t[0], event_t.to(t)))
            y = flat(found, back.y0, 1)
        if attempts and _adaptive(back) and "max_num_steps" not in back.options:
            most = LEAST + LONGER * attempts
            back = back._replace(options={**back.options, "max_num_steps": most})
        ctx.back, ctx.event, ctx.adjoint_options = back, event_fn is not None, back.options
        ctx.save_for_backward(times, y, *params)
        return y if event_fn is None else (event_t, y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *bars: Tensor) -> tuple[Any, ...]:
        """The adjoint at t[0], and what it has gathered."""
        times, y, *params = ctx.saved_tensors
        timed = ctx.needs_input_grad[3]
        back = ctx.back._replace(options=ctx.adjoint_options)
        with torch.no_grad():
            way = Way(back, timed, tuple(params))
            by_t, by_y, by_params = way.gradients(times, y, bars[-1])
        if ctx.event:  # nothing is known of how the event moves
            by_t = torch.cat((by_t[:1], torch.zeros_like(by_t[1:])))
        wanted = (None, None, None, by_t if timed else None, by_y)
        fitted = (g if p.is_complex() else g.real for g, p in zip(by_params, params, strict=True))
        return (*wanted, *(g.to(p.dtype) for g, p in zip(fitted, params, strict=True)))


_backsolve: Callable[..., Any] = Backsolve.apply


class Way:
    """The way back: the state, its adjoint, and the sums for t and the parameters."""

    def __init__(self, back: Backwards, timed: bool, params: tuple[Tensor, ...]) -> None:
        self._back, self._timed, self._params = back, timed, params
        for name in CALLBACKS:
            found = getattr(back.func, name + "_adjoint", None)
            if found is not None:
                setattr(self, name, found)

    def __call__(self, t: Tensor, state: Any) -> tuple[Tensor, ...]:
        """The slopes of the whole state, (t, y, adjoint, parameters), by the time."""
        _, y, adjoint, *_ = state
        again = torch.is_grad_enabled()  # where somebody wants the Jacobian of this
        with torch.enable_grad():
            s = t if again and t.requires_grad else t.detach().requires_grad_(self._timed)
            y = y if again and y.requires_grad else y.detach().requires_grad_()
            value = flat(self._back.func(s, shaped(y, self._back.y0)), self._back.y0)
            wrt = (y, *((s,) if self._timed else ()), *self._params)
            found: tuple[Tensor | None, ...] = (None,) * len(wrt)
            if value.requires_grad:
                found = torch.autograd.grad(
                    value, wrt, -adjoint, allow_unused=True, create_graph=again
                )
        slopes = [torch.zeros_like(x) if g is None else g for g, x in zip(found, wrt, strict=True)]
        by_t = slopes.pop(1) if self._timed else torch.zeros_like(t)
        by_y, *by_params = slopes
        return (by_t, value if again else value.detach(), by_y, *by_params)

    def gradients(self, t: Tensor, y: Tensor, bars: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Those by t (T,), by the first state and by the parameters.

        y and bars are states (T, ...), and what the loss wants of them.
        """
        zeros = [torch.zeros_like(p) for p in self._params]
        whole = list(alike((y.new_zeros((), dtype=y.real.dtype), y[-1], bars[-1], *zeros)))
        by_t = torch.zeros_like(t)
        for i in range(len(t) - 1, 0, -1):
            if self._timed:
                slope = flat(self._slope(t[i], y[i]), self._back.y0)
                by_t[i] = (slope * bars[i].conj()).real.sum()
                whole[0] = whole[0] - by_t[i].to(whole[0].dtype)
            whole = self._solved(tuple(whole), t[i - 1 : i + 1].flip(0))
            self._look(t[i - 1 : i + 1], whole[1], y[i - 1])
            whole[1], whole[2] = y[i - 1].to(whole[1].dtype), whole[2] + bars[i - 1]
        by_t[0] = whole[0].real.to(by_t.dtype)
        return by_t, whole[2].to(y.dtype), whole[3:]

    def _slope(self, t: Tensor, y: Tensor) -> Any:
        return self._back.func(t.to(y.real.dtype), shaped(y, self._back.y0))

    def _solved(self, state: tuple[Tensor, ...], t: Tensor) -> list[Tensor]:
        """The state at the earlier of two times."""
        back = self._back
        options = {"backend": "eager", **back.options}
        asked = question(self, state, t, back.rtol, back.atol, back.method, options)
        try:
            return [x[1] for x in states(asked._replace(back=True))]
        except Failed as error:
            raise Failed(LOST.format(why=error)) from error

    def _look(self, t: Tensor, found: Tensor, known: Tensor) -> None:
        """Warn where the state has not come back to where it was."""
        size = float(rms(found - known) / rms(known).clamp(min=1e-300))
        least = max(float(torch.as_tensor(x).max()) for x in _numbers(self._back.rtol))
        if size > max(ADRIFT * least, 0.0 if _adaptive(self._back) else ROUGH):
            said = UNSAFE.format(t1=float(t[1]), t0=float(t[0]), size=size)
            warn(said)


def _adaptive(back: Backwards) -> bool:
    """Whether the way back chooses its steps."""
    return not scheme(back.method, dict(back.options)).given


def _numbers(given: Any) -> tuple[Any, ...]:
    return tuple(given) if isinstance(given, (tuple, list)) else (given,)
