"""What is asked: the arguments of torchdiffeq's functions, checked as it checks them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from stiffguide.fronts.torchdiffeq.schemes import CALLBACKS, Scheme, scheme
from stiffguide.fronts.torchdiffeq.state import Function, parts, started, tolerance
from stiffguide.saying import warn


class Question(NamedTuple):
    """What is asked, checked."""

    func: Function
    y0: Any  # a tensor, or a tuple of them
    t: Tensor  # (T,), on the device of y0
    rtol: Any
    atol: Any
    scheme: Scheme
    options: dict[str, Any]
    callbacks: dict[str, Callable[..., Any]]
    back: bool = False  # it is the way back of an adjoint


def question(
    func: Function,
    y0: Any,
    t: Tensor,
    rtol: Any,
    atol: Any,
    method: Any,
    options: dict[str, Any] | None,
    *,
    to_event: bool = False,
) -> Question:
    """The arguments, checked as torchdiffeq checks them."""
    y0, options = started(y0), dict(options or {})
    _check_times(t, to_event=to_event)
    chosen = scheme(method, options)
    device = parts(y0)[0].device
    if t.device != device:
        warn("t is not on the same device as y0. Coercing to y0.device.")
        t = t.to(device)
    rtol, atol = tolerance("rtol", rtol, y0), tolerance("atol", atol, y0)
    return Question(func, y0, t, rtol, atol, chosen, options, _callbacks(func, chosen))


def _check_times(t: Any, *, to_event: bool) -> None:
    assert isinstance(t, Tensor), f"t must be a torch.Tensor, not {type(t)}"
    if not t.is_floating_point():
        raise TypeError(f"`t` must be a floating point Tensor but is a {t.type()}")
    assert t.ndim == 1, f"t must be one dimensional, not of shape {tuple(t.shape)}"
    assert len(t), "t is empty: give at least the time of y0"
    if to_event and len(t) != 2:
        raise ValueError(f"We require len(t) == 2 when in event handling mode, not {len(t)}.")
    steps = t.detach().diff()
    assert bool((steps > 0).all() | (steps < 0).all()), (
        "t must be strictly increasing or decreasing"
    )


def _callbacks(func: Function, chosen: Scheme) -> dict[str, Callable[..., Any]]:
    """Those of func that will be called; warns of others."""
    named = {name: getattr(func, name, None) for name in CALLBACKS}
    found = {name: callback for name, callback in named.items() if callback is not None}
    never = sorted(found.keys() - set(chosen.callbacks))
    if never:
        warn(f"{chosen.name} never calls the callbacks {never} of func")
    return {name: found[name] for name in chosen.callbacks if name in found}
