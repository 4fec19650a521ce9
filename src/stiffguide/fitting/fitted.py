"""What a fit returns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stiffguide.fitting.experiments import Measured
from stiffguide.fitting.written import Written
from stiffguide.markup import grid, table


class Restarts(NamedTuple):
    """Where every start ended, in the order of the starts; the first is the user's."""

    params: Tensor  # (R, P), in the order of `Fit.names`
    cost: Tensor  # (R,), infinite where the start could not be solved
    converged: Tensor  # (R,) bool


@dataclass(frozen=True)
class Fit:
    """Parameters that fit data, and how certain they are.

    `params` has the form of the start that was given, `y0` that of the initial state (a tuple of
    those of several experiments, as with `residuals` and `solution`). `names` (P) say what belongs
    to the rows of `covariance` (P, P) and `intervals` (P, 2), which are those of `level`; a
    parameter at a bound has none (nan), one that the data do not determine infinite ones.
    `residuals` (T, O) are model less data, divided by sigma, nan where nothing was measured, and
    `cost` the sum of their squares.
    """

    params: Any
    y0: Any
    cost: float
    names: tuple[str, ...]
    values: Tensor  # (P,) all that was sought
    covariance: Tensor
    intervals: Tensor
    level: float
    residuals: Any
    all: Restarts
    message: str
    written: Written

    @property
    def measured(self) -> Measured:
        """The data."""
        return self.written.model.measured

    @cached_property
    def solution(self) -> Any:
        """The `Solution` at the parameters found, with its interpolant: solved when asked for."""
        with torch.no_grad():
            return self.written.solutions(self.values)

    def plot(self) -> Any:
        """A figure of matplotlib: the data with their deviations, and the model through them."""
        from stiffguide.fitting.picture import picture  # late: it asks for matplotlib

        found = self.solution
        return picture(found if self.measured.several else (found,), self.measured)

    def _repr_html_(self) -> str:
        lines = [
            (name, f"{value:.6g}", "none" if low != low else f"{low:.6g} to {high:.6g}")
            for name, value, (low, high) in zip(
                self.names, self.values.tolist(), self.intervals.tolist(), strict=True
            )
        ]
        about = [("cost", f"{self.cost:.6g}"), ("end", self.message)]
        header = ("parameter", "value", f"interval of {self.level:.6g}")
        return table("Fit", about) + grid(header, lines)

    def __repr__(self) -> str:
        count = int(self.measured.present.sum())
        wide = max(map(len, self.names))
        lines = [f"Fit of {len(self.names)} parameters to {count} values: cost {self.cost:.6g}"]
        for name, value, (low, high) in zip(
            self.names, self.values.tolist(), self.intervals.tolist(), strict=True
        ):
            within = "no interval" if low != low else f"{low:.6g} to {high:.6g}"
            lines.append(f"  {name:{wide}}  {value:<12.6g}  {within}")
        return "\n".join([*lines, f"  {self.message}"])


def split(values: Tensor, measured: Measured) -> Any:
    """Values (N) that were measured as tables (T, O), nan elsewhere."""
    table = torch.full_like(measured.data, torch.nan)
    table[measured.present] = values
    found = tuple(x[:count] for x, count in zip(table, measured.counts, strict=True))
    return found if measured.several else found[0]
