"""The Jacobian inside torch.func and forward mode, where no tensor may be told to require grad."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stiffguide.algebra.dense import DENSE
from stiffguide.algebra.protocol import LinearSolver
from stiffguide.fields.differences import differences
from stiffguide.fields.recording import UNRECORDABLE
from stiffguide.stepping.contracts import Linearisation, Units

Flat = Callable[[Tensor, Tensor], Tensor]  # f(t (B,), y (B, F)) -> (B, F)


class PulledJacobian:
    """A field whose Jacobian comes from pullbacks, one a component, as functions of all inside."""

    linear: LinearSolver = DENSE

    def __init__(self, f: Flat) -> None:
        self._f = f

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """f(t (B,), y (B, F)) -> (B, F)."""
        return self._f(t, y)

    def linearise(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """The Jacobian at (t, y) and, with `time`, the derivative by t."""
        try:
            found: tuple[Any, ...] = torch.func.vjp(self._f, t, y)
            value, pull = found
            seeds = torch.eye(y.shape[1], dtype=y.dtype, device=y.device)
            pulled = [pull(seed.expand_as(value)) for seed in seeds]
        except UNRECORDABLE:  # f turns into numbers what it is given
            return self.by_differences(t, y, units, time=time)
        by_t, by_y = (torch.stack(x, 1) for x in zip(*pulled, strict=True))
        return Linearisation(by_y, by_t.to(y.dtype) if time else None, 1)

    def by_differences(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """The same from values of f alone: finite where f is, even if its derivative is not."""
        return differences(self._f, t, y, units, time=time)
