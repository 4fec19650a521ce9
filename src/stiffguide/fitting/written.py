"""The question as the user wrote it: solved again at parameters that were found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from stiffguide.fields.array_function import ArrayFunction
from stiffguide.fitting.model import Model, Settings
from stiffguide.solution import Solution


@dataclass(frozen=True)
class Written:
    """f of one state, and the model that was made of it."""

    f: Callable[..., Any]
    model: Model
    settings: Settings

    def state(self, values: Tensor, k: int) -> Any:
        """The initial state of an experiment at parameters (P,)."""
        flat = self.model.starts(values.unsqueeze(0))
        return self.model.measured.layout.unflatten(flat[k])

    def solution(self, values: Tensor, k: int) -> Solution[Any]:
        """An experiment at parameters (P,), with its interpolant."""
        m, p = self.model.measured, self.model.parameters
        leaves: list[Any] = p.form.leaves(values[: p.own])
        if isinstance(self.model.field, ArrayFunction):
            leaves = [x.numpy() if x.ndim else x.item() for x in leaves]
        times = m.times[k, : m.counts[k]]
        return self.settings.solve(
            self.f,
            self.state(values, k),
            float(m.t0[k]),
            float(times[-1]),
            args=(*p.form.arguments(leaves), *m.args[k]),
            save_at=times,
            dense=True,
        )

    def solutions(self, values: Tensor) -> Any:
        """All of them, or the only one."""
        found = tuple(self.solution(values, k) for k in range(len(self.model.measured.y0)))
        return found if self.model.measured.several else found[0]
