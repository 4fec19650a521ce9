"""A field that is evaluated as loops, for the solvers of one row."""

from __future__ import annotations

import torch
from torch import Tensor

from stiffguide.algebra.protocol import LinearSolver
from stiffguide.kernels.running.loops import Loops
from stiffguide.stepping.contracts import Field, Linearisation, Units
from stiffguide.tensors import tangles


class LoopedField:
    """`plain` as its loops say, whose linear systems have their pattern; it does all else."""

    def __init__(self, plain: Field, loops: Loops) -> None:
        self._plain = plain
        self.loops = loops

    @property
    def linear(self) -> LinearSolver:
        """That of the plain field."""
        return self._plain.linear

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """f(t (B,), y (B, F)); the plain field's of many rows, or where gradients are wanted."""
        if len(y) != 1 or tangles(t, y):
            return self._plain(t, y)
        return torch.from_numpy(self.loops.field(float(t), y[0].numpy()))[None]

    def linearise(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """The Jacobian's values (1, nnz), exact, and the derivative by t."""
        if len(y) != 1 or tangles(t, y):
            return self._plain.linearise(t, y, units, time=time)
        now, state = float(t), y[0].numpy()
        values = torch.from_numpy(self.loops.jacobian(now, state))[None]
        slope = torch.from_numpy(self.loops.slope(now, state))[None] if time else None
        return Linearisation(values, slope, 0)

    def by_differences(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """The same from values of f alone."""
        return self._plain.by_differences(t, y, units, time=time)
