"""f and further functions of its arguments, traced as one: they share parameters and a kernel.

Events give a number, jumps a state in the layout of y. Each has branches of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from stiffguide.fields.array_function import ArrayFunction, array, number, user_function
from stiffguide.fields.layout import Layout
from stiffguide.graphs.refusal import UntraceableError

Function = Callable[..., Any]


@dataclass(frozen=True)
class Together:
    """f, with events and jumps."""

    f: Function
    events: tuple[Function, ...] = ()
    jumps: tuple[Function, ...] = ()


class Part(NamedTuple):
    """One of the functions."""

    name: str
    function: Function
    state: bool  # it gives a state, else a number

    def flat(self, value: Any, layout: Layout) -> Tensor:
        """Its value as (B, F), or (B, 1)."""
        if self.state:
            return layout.flatten(value, self.name)
        if isinstance(value, (int, float, np.ndarray, np.generic)):
            value = torch.as_tensor(value, dtype=layout.dtype, device=layout.device)
        rows = layout.rows if layout.batched else 1
        fits = isinstance(value, Tensor) and value.is_floating_point()
        if not fits or value.numel() != rows or (layout.batched and value.ndim != 1):
            raise UntraceableError(f"{self.name} gives no real number for each row")
        single: Tensor = value.reshape(rows, 1)
        return single

    def value(self, t: Tensor, y: Tensor, args: tuple[Any, ...], layout: Layout) -> Tensor:
        """The same at t (B,), y (B, F), which the function may write to."""
        time, state = t if layout.batched else t[0], layout.unflatten(y.clone())
        if isinstance(self.function, ArrayFunction) and not self.state:
            value = self.function.function(number(time), tree_map(array, state), *args)
            return self.flat(value, layout)
        return self.flat(self.function(time, state, *args), layout)


def parts(f: Any) -> Iterator[Part]:
    """All functions, f first."""
    whole = f if isinstance(f, Together) else Together(f)
    arrays = isinstance(whole.f, ArrayFunction)
    yield Part("the value of f", whole.f, True)
    for kind, functions in (("event", whole.events), ("jump", whole.jumps)):
        for k, function in enumerate(functions):
            own = ArrayFunction(function) if arrays else function
            yield Part(f"{kind} {k}", own, kind == "jump")


def field(f: Any) -> Function:
    """f alone."""
    alone: Function = f.f if isinstance(f, Together) else f
    return alone


def written(f: Any) -> Any:
    """What the user wrote: a function, or a tuple of all."""
    if isinstance(f, Together):
        return user_function(f.f), *f.events, *f.jumps
    return user_function(f)
