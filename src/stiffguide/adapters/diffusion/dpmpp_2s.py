"""DPM-Solver++ with one evaluation halfway: 2S (Lu et al., arXiv 2211.01095), and for the SDE.

With the middle m = sqrt(a b) and D = D(x, a):

    x_m = (m/a) x + (1 - m/a) D          x_b = (b/a) x + (1 - b/a) D(x_m, m)

As "ancestral" 2S ends lower and noise follows. `dpmpp_sde` has noise at m too: both formulas are
then steps of k-diffusion's ancestral splitting, from a to m and from a to b, along one motion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.sampler import Advance, Denoise, Interval, Splitting
from stiffguide.adapters.diffusion.splitting import ancestral
from stiffguide.errors import UnsupportedError
from stiffguide.stepping.contracts import Guidance, State


@dataclass(frozen=True)
class Dpmpp2s:
    """Two evaluations a step, no memory; with splitting "sde" noise is added halfway, too.

    Without noise the two are one sampler.
    """

    name: str = "dpmpp_2s"
    splitting: Splitting | None = "ancestral"
    order: int = 2
    error_order: int | None = None
    memory: bool = False
    reversible: bool = True
    carrier: str = "data"

    def bind(self, rule: Guidance) -> Dpmpp2s:
        """Refused: it interpolates the data, and has no pair of slopes."""
        raise UnsupportedError(
            f"{self.name} has no embedded pair for {type(rule).__name__}: use method='heun' or "
            "'dpm2', or guidance=None"
        )

    def init(self, x: Tensor, levels: Sequence[float]) -> State:
        """Nothing to remember."""
        return ()

    def step(self, denoise: Denoise, interval: Interval, x: Tensor, state: State) -> Advance:
        """Two evaluations; one in a step to 0."""
        a, b = interval.start, interval.end
        denoised = denoise(x, a)
        if b == 0:
            return Advance(denoised, x, denoised, state)
        middle = math.sqrt(a * b)
        x_middle = _moved(interval, x, denoised, middle)
        return Advance(_moved(interval, x, denoise(x_middle, middle), b), x, denoised, state)


def _moved(interval: Interval, x: Tensor, denoised: Tensor, end: float) -> Tensor:
    """The state (B, F) at a level, were D constant from the start on, and the noise until there."""
    if interval.noise is None:
        return torch.lerp(denoised, x, end / interval.start)
    lower, up = ancestral(interval.start, end, interval.noise.eta)
    moved = torch.lerp(denoised, x, lower / interval.start)
    return moved + interval.noise.scaled(interval.start, end, up)


DPMPP_2S = Dpmpp2s()
DPMPP_SDE = Dpmpp2s("dpmpp_sde", "sde")
