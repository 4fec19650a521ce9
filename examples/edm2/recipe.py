"""How samples are made of noise: sampler, rule, grid, and the guidance of the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from stiffguide.adapters.diffusion import grid
from stiffguide.adapters.diffusion.curves import COSTS
from stiffguide.cli import samplers
from stiffguide.errors import InputError
from stiffguide.stepping.contracts import Guidance

SIGMA_MIN, SIGMA_MAX = 0.002, 80.0
GRIDS: dict[str, Callable[..., Tensor]] = {
    "karras": grid.karras,
    "mix": grid.mix,
    "exponential": grid.exponential,
}


@dataclass(frozen=True)
class Recipe:
    """A sampler on a grid of `steps` intervals; with `zero` the last of them ends in 0, as EDM's.

    `w_stiff` and `w_con` are ERK-Guid's. `scale` is the weight of the strong network against the
    weak one, 1 without guidance of the model.
    """

    method: str = "heun"
    steps: int = 32
    rule: str = "none"
    w_stiff: float = 0.75
    w_con: float = 0.3
    grid: str = "karras"
    zero: bool = True
    scale: float = 1.0

    @property
    def nfe(self) -> int:
        """Evaluations of the denoiser per image; the step to 0 takes one."""
        if self.method not in COSTS:
            return self.steps
        return 2 * self.steps - 1 if self.zero else 2 * self.steps

    @property
    def label(self) -> str:
        """The rule with its parameters, where it has any."""
        return (
            f"erk-guid ({self.w_stiff:g}, {self.w_con:g})"
            if self.rule == "erk-guid"
            else ("" if self.rule == "none" else self.rule)
        )

    def levels(self, low: float = SIGMA_MIN, high: float = SIGMA_MAX) -> Tensor:
        """The noise levels (steps + 1,) in float64."""
        if self.grid not in GRIDS:
            raise InputError(f"no grid is called {self.grid!r}; there are {', '.join(GRIDS)}")
        return GRIDS[self.grid](self.steps, low, high, zero=self.zero)

    def guidance(self) -> Guidance | None:
        """The rule of the solver."""
        return samplers.guidance(self.rule, self.w_stiff, self.w_con)

    def settings(self) -> dict[str, Any]:
        """All of it, for the record."""
        return asdict(self)
