"""The levels of flow matching, 1 to 0: where they are shifted to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stiffguide.adapters.diffusion.positive import check_positive, is_positive
from stiffguide.errors import InputError

Array = NDArray[np.float64]
KINDS = ("exponential", "linear")


@dataclass(frozen=True)
class FlowShift:
    """How a grid of flow levels s is moved, in the words of diffusers' configurations.

    static: s -> static s/(1 + (static - 1) s) (arXiv 2403.03206). dynamic: the same with m = mu
    or e^mu in place of `static`, where a pipeline gives mu for the size of an image. terminal:
    then the grid is stretched so that its last level is this.
    """

    static: float = 1.0
    dynamic: bool = False
    kind: str = "exponential"
    terminal: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(
                f"time_shift_type is one of {', '.join(map(repr, KINDS))}, not {self.kind!r}"
            )
        check_positive("shift", self.static)
        if self.terminal and not (is_positive(self.terminal) and self.terminal < 1):
            raise InputError(f"shift_terminal must lie between 0 and 1, not {self.terminal!r}")

    def once(self, s: Array) -> Array:
        """The static shift alone."""
        return np.array(self.static * s / (1 + (self.static - 1) * s))

    def __call__(self, s: Array, mu: float | None) -> Array:
        """Shifted and stretched."""
        if not self.dynamic:
            moved = self.once(s)
        elif mu is None:
            raise InputError(
                "use_dynamic_shifting wants mu: pass set_timesteps(..., mu=...), as a pipeline does"
            )
        else:
            factor = math.exp(mu) if self.kind == "exponential" else float(mu)
            if not factor > 0:
                raise InputError(f"time_shift_type='linear' wants a positive mu, not {mu}")
            moved = np.array(factor * s / (1 + (factor - 1) * s))
        return moved if not self.terminal else self._stretched(moved)

    def _stretched(self, s: Array) -> Array:
        assert self.terminal is not None
        gone = 1 - s
        if gone[-1] == 0:  # one level, of pure noise: there is no end to bring down
            return s
        return np.array(1 - gone * ((1 - self.terminal) / gone[-1]))


def from_noise_to_data(values: Sequence[float] | Tensor, what: str, low: float = 0.0) -> Array:
    """Levels or times as given by a caller, checked; they may repeat, and rise in between."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().tolist()
    try:
        found = np.asarray(values, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} are not numbers: {values!r}") from error
    if not len(found) or not np.isfinite(found).all():
        raise InputError(f"{what} must be one or more finite numbers")
    if found.min() < low:
        raise InputError(f"{what} reach down to {found.min():g}: they must lie at {low:g} or above")
    if len(found) > 1 and found[-1] > found[0] and bool((np.diff(found) >= 0).all()):
        raise InputError(f"{what} must fall, from noise to data: {found.tolist()}")
    return found
