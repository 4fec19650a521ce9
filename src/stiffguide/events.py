"""Events as users write them, and as the loop takes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from stiffguide.errors import InputError
from stiffguide.fields.array_function import array, number
from stiffguide.fields.independence import draws, sizes
from stiffguide.fields.layout import Layout
from stiffguide.stepping.events import Trigger, Watched
from stiffguide.stepping.nonnegative import Nonnegative
from stiffguide.tensors import real_dtype

Function = Callable[..., Any]


@dataclass(frozen=True)
class Event:
    """A function of (t, y, *args) whose changes of sign are found, and what they do.

    fn: gets what f gets, and returns a number; (B,) when batched.
    terminal: True ends the row where it first happens, a number where it happens that often.
    direction: of the crossings that count: > 0 from below, < 0 from above, 0 both.
    jump: jump(t, y, *args) returns the state to go on from, in the shape of y.
    """

    fn: Function
    terminal: bool | int = False
    direction: float = 0.0
    jump: Function | None = None

    def __call__(self, t: Any, y: Any, *args: Any) -> Any:
        """The value of `fn`."""
        return self.fn(t, y, *args)


class Setting:
    """How the user's functions are called: with what arguments, in whose arrays."""

    def __init__(
        self,
        args: tuple[Any, ...],
        layout: Layout,
        *,
        arrays: bool,
        bounds: Nonnegative | None = None,
    ) -> None:
        self.args = args
        self.layout = layout
        self.arrays = arrays
        self.bounds = bounds

    def call(self, fn: Function, t: Tensor, y: Tensor, reader: str | None = None) -> Any:
        """fn(t, y, *args) as f would be called at t (B,), y (B, F), which it gets copies of.

        Raises InputError where `reader`, as sentences call it, writes to them.
        """
        layout = self.layout
        t, y = t.to(real_dtype(layout.dtype)).clone(), y.clone()
        if self.bounds is not None:  # interpolants may go below them
            y = self.bounds.inside(y)
        time, state = t if layout.batched else t[0], layout.unflatten(y)
        if self.arrays:
            time, state = number(time), tree_map(array, state)
        value = fn(time, state, *self.args)
        for name, copy in (("t", t), ("y", y)):
            # in inference mode a tensor keeps no count of its changes
            if reader and not copy.is_inference() and copy._version > 0:
                raise InputError(
                    f"{reader} changes {name} in place; return a new value instead "
                    f"({name}.clone() first)"
                )
        return value


def watched(events: Any, setting: Setting) -> Watched | None:
    """The events of a solve: one, or a sequence of them; raises InputError."""
    if events is None:
        return None
    several = list(events) if isinstance(events, Sequence) else [events]
    if not several:
        return None
    return Watched(tuple(_trigger(k, event, setting) for k, event in enumerate(several)))


def written(events: Any) -> tuple[tuple[Function, Function | None], ...]:
    """The user's own functions, each with its jump."""
    if events is None:
        return ()
    several = events if isinstance(events, Sequence) else [events]
    return tuple((e.fn if isinstance(e, Event) else e, getattr(e, "jump", None)) for e in several)


def title(k: int, event: Any) -> str:
    """How sentences call an event."""
    fn = event.fn if isinstance(event, Event) else event
    name = getattr(fn, "__name__", "")
    return f"event {k}" + (f" ({name})" if name and name != "<lambda>" else "")


def _trigger(k: int, event: Any, setting: Setting) -> Trigger:
    if not callable(event):
        raise InputError(
            f"events: give functions of (t, y, *args), or Event(...), not {type(event).__name__}"
        )
    what = title(k, event)
    if isinstance(event, Event) and not callable(event.fn):
        raise InputError(
            f"{what}: fn must be a function of (t, y, *args), not {type(event.fn).__name__}"
        )
    jump = getattr(event, "jump", None)
    return Trigger(
        value=lambda t, y: _number(setting.call(event, t, y, what), what, setting.layout, y),
        direction=_direction(getattr(event, "direction", None), what),
        terminal=_terminal(getattr(event, "terminal", None), what),
        jump=None if jump is None else jumping(jump, f"the jump of {what}", setting),
        name=what,
    )


def _terminal(given: Any, what: str) -> int:
    """How often it happens to a row before that stops; 0: it never does."""
    if given is None or (isinstance(given, (bool, np.bool_)) and not given):
        return 0
    if not isinstance(given, (bool, int, np.integer, np.bool_)) or given < 1:
        raise InputError(f"{what}: terminal must be True, False or a positive count, not {given!r}")
    return int(given)


def _direction(given: Any, what: str) -> float:
    try:
        value = 0.0 if given is None else float(given)
    except (TypeError, ValueError):
        value = math.nan
    if math.isnan(value):
        raise InputError(f"{what}: direction must be a number (its sign counts), not {given!r}")
    return float(np.sign(value))


def jumping(jump: Any, what: str, setting: Setting) -> Callable[[Tensor, Tensor], Tensor]:
    """A jump on flat states; raises InputError where it gives no state."""
    if not callable(jump):
        raise InputError(f"{what} must be a function of (t, y, *args), not {type(jump).__name__}")

    def flat(t: Tensor, y: Tensor) -> Tensor:
        try:
            value = setting.call(jump, t, y)
        except Exception as error:
            reason = str(error).strip().split("\n")[0]
            raise InputError(
                f"{what} failed at t = {float(t[0]):.6g} ({type(error).__name__}: {reason})"
            ) from error
        if setting.arrays:
            value = torch.as_tensor(np.asarray(value), device=y.device)
        return setting.layout.flatten(value, what)

    return flat


def _number(value: Any, what: str, layout: Layout, y: Tensor) -> Tensor:
    """The value of an event as (B,)."""
    if isinstance(value, (int, float, complex, np.ndarray, np.generic)):
        value = torch.as_tensor(value, device=y.device)
    if not isinstance(value, Tensor):
        raise InputError(f"{what} returned a {type(value).__name__}; return a number")
    expected: tuple[int, ...] = (layout.rows,) if layout.batched else ()
    single = not layout.batched and value.numel() == 1
    if tuple(value.shape) != expected and not single:
        say = f"({layout.rows},), a number for each row" if layout.batched else "one number"
        raise InputError(f"{what} returned shape {tuple(value.shape)}; return {say}")
    if value.dtype == torch.bool or value.is_complex():
        kind = "a truth value" if value.dtype == torch.bool else "a complex number"
        raise InputError(f"{what} returned {kind}; return a real number that changes its sign")
    return value.reshape(layout.rows)


def check(
    events: Watched | None,
    jump_at: Callable[[Tensor, Tensor], Tensor] | None,
    layout: Layout,
    t0: Tensor,
    y0: Tensor,
) -> None:
    """Try events and jumps where a solve begins; raises InputError.

    A jump that fails there may be made for the place where it happens, and is let be.
    """
    if jump_at is not None:
        _try(jump_at, t0, y0)
    for x in () if events is None else events.triggers:
        value = x.value(t0.clone(), y0.clone())
        bad = torch.nonzero(torch.isnan(value)).flatten()
        if len(bad):
            who = f" in row {int(bad[0])}" if layout.batched else ""
            raise InputError(f"{x.name} is nan at the start, t = {float(t0[bad[0]]):g}{who}")
        if layout.batched and layout.rows > 1:
            _check_rows(x, t0, y0, value)
        if x.jump is not None:
            _try(x.jump, t0, y0)


def _check_rows(x: Trigger, t0: Tensor, y0: Tensor, value: Tensor) -> None:
    odd = torch.arange(len(y0), device=y0.device) % 2 == 1
    moved = y0 + sizes(y0) * draws(0, y0) / 8
    for rows in (odd, ~odd):
        try:
            other = x.value(t0.clone(), torch.where(rows.unsqueeze(1), moved, y0))
        except InputError:
            raise
        except Exception:  # it may not be defined beside the start
            continue
        differ = ~rows & (other != value)
        eps = torch.finfo(value.dtype).eps if value.is_floating_point() else 0.0
        differ = differ & ((other - value).abs() > eps**0.7 * value.abs())
        if bool(differ.any()):
            raise InputError(
                f"row {int(differ.nonzero()[0])} of {x.name} depends on other rows of y: with "
                "batched=True y has shape (B, F); return y[:, i], not y[i]"
            )


def _try(jump: Callable[[Tensor, Tensor], Tensor], t0: Tensor, y0: Tensor) -> None:
    try:
        jump(t0.clone(), y0)
    except InputError as error:
        if error.__cause__ is None:  # it gave something that is no state
            raise


def happening(
    events: Any,
    tstops: Any,
    jump_at: Any,
    args: tuple[Any, ...],
    layout: Layout,
    bounds: Nonnegative | None,
    *,
    arrays: bool,
) -> dict[str, Any]:
    """The parts of a problem that may happen, from functions of tensors or of numpy arrays."""
    setting = Setting(args, layout, arrays=arrays, bounds=bounds)
    if jump_at is not None and tstops is None:
        raise InputError("jump_at: give the times as tstops")
    jump = None if jump_at is None else jumping(jump_at, "jump_at", setting)
    return {"events": watched(events, setting), "jump_at": jump}
