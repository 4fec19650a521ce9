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


def pulled(f: Flat, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The derivatives of f by t (B, F) and by y (B, F, F)."""
    found: tuple[Any, ...] = torch.func.vjp(f, t, y)
    value, pull = found
    seeds = torch.eye(y.shape[1], dtype=y.dtype, device=y.device)
    rows = [pull(seed.expand_as(value)) for seed in seeds]
    by_t, by_y = (torch.stack(x, 1) for x in zip(*rows, strict=True))
    return by_t, by_y


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
            by_t, by_y = pulled(self._f, t, y)
        except UNRECORDABLE:  # f met an operation that it had not met at the start
            return self.by_differences(t, y, units, time=time)
        return Linearisation(by_y, by_t.to(y.dtype) if time else None, 1)

    def by_differences(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """The same from values of f alone: finite where f is, even if its derivative is not."""
        return differences(self._f, t, y, units, time=time)
