"""How a pipeline writes its state, and how the sampler's variables follow from it.

A pipeline's x is alpha x0 + sigma eps. Samplers integrate dX/dL = (X - D)/L in X = x scale:

    "ve"    x = x0 + L eps              X = x             the model is given x/sqrt(1 + L^2)
    "vp"    x = (x0 + L eps)/sqrt(1 + L^2)      X = x sqrt(1 + L^2)
    "flow"  x = (1 - s) x0 + s eps,  L = s/(1 - s),   X = x/(1 - s) = (1 + L) x
    "line"  the same x, but with s itself for L and X = x

The last is no change of variables: with D = x - s v the flow's own equation dx/ds = v *is*
dx/ds = (x - D)/s. A sampler run on it works in s, as flow-matching schedulers do, and s = 1 is a
level like any other. In "flow" it works in the noise level, where EMG's formulas hold; L is
infinite at s = 1, for which `flow_in_ve_form` has a level that stands in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.flow_in_ve_form import to_level
from stiffguide.adapters.diffusion.prediction import PREDICTIONS, Path
from stiffguide.errors import InputError

NAMES = {  # of diffusers, in the words of this package
    "epsilon": "epsilon",
    "v_prediction": "v",
    "sample": "x0",
    "flow_prediction": "velocity",
}


class Conversion(NamedTuple):
    """What one level makes of a pipeline's x and a model's output: numbers of the host."""

    scale: float  # X = x scale
    x: float  # x0 = x c_x + out c_out
    out: float


@dataclass(frozen=True)
class PipelineStateForm:
    """One of the forms above, with what the model predicts in diffusers' word."""

    kind: str
    prediction: str

    def __post_init__(self) -> None:
        flow = self.kind in ("flow", "line")
        known = [name for name in NAMES if flow or name != "flow_prediction"]
        if self.prediction not in known:
            raise InputError(
                f"prediction_type is one of {', '.join(map(repr, known))} here, not "
                f"{self.prediction!r}"
            )

    def levels(self, sigmas: Sequence[float]) -> list[float]:
        """The sampler's levels of what a scheduler calls sigmas."""
        if self.kind != "flow":
            return list(sigmas)
        return [to_level(s) for s in sigmas]

    def sigma(self, level: float) -> float:
        """What a scheduler calls sigma of a sampler's level."""
        return level / (1 + level) if self.kind == "flow" else level

    def parts(self, levels: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha and sigma of the pipeline's state at levels, in their dtype."""
        if self.kind == "ve":
            return torch.ones_like(levels), levels
        if self.kind == "vp":
            alpha = torch.rsqrt(1 + levels * levels)
            return alpha, levels * alpha
        if self.kind == "flow":
            return 1 / (1 + levels), levels / (1 + levels)
        return 1 - levels, levels

    def conversions(self, levels: Sequence[float]) -> tuple[Conversion, ...]:
        """Of every level."""
        at = torch.tensor(levels, dtype=torch.float64)
        alpha, sigma = self.parts(at)
        # a model is given what is noised as it was in training, whatever the state's scale
        inner = torch.rsqrt(1 + at * at) if self.kind == "ve" else torch.ones_like(at)
        one = torch.ones_like(at)
        c = PREDICTIONS[NAMES[self.prediction]](Path(alpha * inner, sigma * inner, -one, one))
        scale = one if self.kind in ("ve", "line") else 1 / alpha
        rows = zip(scale.tolist(), (c.x * inner).tolist(), c.out.tolist(), strict=True)
        return tuple(Conversion(*row) for row in rows)
