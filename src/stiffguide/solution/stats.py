"""What the rows of a solve took, and who did the work."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stiffguide.stepping.course import Stretches


class Stats:
    """Counts per row, (B,) int64, or scalars when not batched; and what did the work."""

    NAMES = ("accepted", "rejected", "nfe", "njac", "nlu")

    def __init__(
        self,
        table: Tensor,
        backend: str,
        why: str,
        linear_solver: str = "",
        stretches: Stretches | None = None,
    ) -> None:
        # taken apart when somebody asks: tensors cost a small solve dearly
        self._table = table  # (6, B) or (6,): status, accepted, attempts, nfe, njac, nlu
        self.backend = backend
        """"kernel" or "eager", whichever solved."""
        self.why = why
        """Why it was that one, in a sentence."""
        self.linear_solver = linear_solver
        """What solved the linear systems of an implicit method in the eager loop, and why that."""
        self._stretches = stretches

    @property
    def methods(self) -> list[Any]:
        """What "auto" chose, and when: (t, name) for every change, first the one at t0.

        A list for each row when batched, as in `[(0.0, 'tsit5'), (0.0031, 'rodas5p')]`; empty where
        one method solved all.
        """
        if self._stretches is None:
            return []
        found = self._stretches.by_row(self._table[0].numel())
        return found if self._table.ndim > 1 else found[0]

    @property
    def accepted(self) -> Tensor:
        """Steps taken."""
        return self._table[1]

    @property
    def rejected(self) -> Tensor:
        """Attempts that failed."""
        return self._table[2] - self._table[1]

    @property
    def nfe(self) -> Tensor:
        """Evaluations of f."""
        return self._table[3]

    @property
    def njac(self) -> Tensor:
        """Jacobians."""
        return self._table[4]

    @property
    def nlu(self) -> Tensor:
        """Factorisations."""
        return self._table[5]

    def as_dict(self) -> dict[str, Tensor]:
        """All counts by their names."""
        return {name: getattr(self, name) for name in self.NAMES}

    def _repr_html_(self) -> str:
        from stiffguide.solution.portrait import counts

        return counts(self)

    def __repr__(self) -> str:
        counts = (f"{name}={brief(count)}" for name, count in self.as_dict().items())
        return f"Stats({', '.join(counts)}, backend={self.backend!r})"


def brief(values: Tensor) -> str:
    """A number, or the least and the largest of several."""
    if values.numel() == 1:
        return f"{values.item():g}"
    known = values[~torch.isnan(values)] if values.is_floating_point() else values
    if known.numel() == 0:
        return "nothing"
    return f"{known.min().item():g} to {known.max().item():g}"
