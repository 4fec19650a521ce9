"""Events as scipy has them: what goes in, and the lists that come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stiffguide.errors import InputError
from stiffguide.events import Event
from stiffguide.fields.array_function import array, number
from stiffguide.fronts.arrays import Arrays, NumpyArrays
from stiffguide.solution import Occurrences

TERMINAL = "The `terminal` attribute of each event must be a boolean or positive integer."


def listed(events: Any) -> list[Event] | None:
    """The events, one or several; raises InputError for a `terminal` that scipy refuses."""
    if events is None:
        return None
    several = [events] if callable(events) else list(events)
    found = []
    for event in several:
        terminal = getattr(event, "terminal", None) or 0  # which scipy takes for False
        if int(terminal) != terminal or terminal < 0:
            raise InputError(TERMINAL)
        found.append(
            Event(
                event.fn if isinstance(event, Event) else event,
                terminal=int(terminal) or False,
                direction=getattr(event, "direction", 0.0),
                jump=getattr(event, "jump", None),
            )
        )
    return found


def bound(events: Sequence[Event], arrays: Arrays, more: tuple[Any, ...]) -> list[Event]:
    """The events as functions of tensors, with the additional arguments in them."""
    plain = isinstance(arrays, NumpyArrays)

    def wrapped(fn: Callable[..., Any]) -> Callable[[Tensor, Tensor], Any]:
        if plain:
            return lambda t, y: fn(number(t), array(y), *more)
        return lambda t, y: fn(t, y, *more)

    def set_anew(fn: Callable[..., Any]) -> Callable[[Tensor, Tensor], Any]:
        if plain:
            return lambda t, y: torch.as_tensor(np.asarray(wrapped(fn)(t, y)))
        return wrapped(fn)

    return [
        replace(
            event,
            fn=wrapped(event.fn),
            jump=None if event.jump is None else set_anew(event.jump),
        )
        for event in events
    ]


def tables(found: Sequence[Occurrences[Any]], arrays: Arrays) -> tuple[list[Any], list[Any]]:
    """`t_events` [(M,)] and `y_events` [(M, n)]; an event that never happened has (0,) in both."""
    times, states = [], []
    for event in found:
        empty = not len(event.t)
        times.append(arrays.give(event.t))
        states.append(arrays.give(event.t if empty else event.y))
    return times, states


def nothing(events: Sequence[Any], arrays: Arrays, y0: Tensor) -> tuple[list[Any], list[Any]]:
    """The same where there is no step."""
    empty = [arrays.give(y0.new_empty(0, dtype=y0.real.dtype)) for _ in events]
    return empty, [np.copy(e) if isinstance(e, np.ndarray) else e.clone() for e in empty]
