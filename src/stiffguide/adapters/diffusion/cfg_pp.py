"""CFG++: the state is renoised by the weak branch of a guided model (arXiv 2406.08070).

With D the guided estimate, D = U + scale (C - U), and U that of the weak branch, a step from a to
b takes the noise from U and the data from D:

    x_b = D + (b/a) (x_a - U)                                      (euler_cfg_pp)

The guidance in one step is scale (C - U) however short the step is, where Euler's method has
(1 - b/a) scale (C - U): this is Euler's with the scale of step i made scale/(1 - b/a). So the scale
is small, 0 to 1 in the paper, and more steps guide more: a run has no limit for many steps, and no
flow whose error something could estimate. EMG and error-direction guidance, which read how D
changes along a flow, are therefore not offered in this form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.sampler import Advance, Branching, Denoise, Interval
from stiffguide.errors import UnsupportedError
from stiffguide.stepping.contracts import Guidance


class Before(NamedTuple):
    """The weak estimate (B, F) of the step before, where it is needed."""

    weak: Tensor | None


@dataclass(frozen=True)
class CfgPlusPlus:
    """One evaluation of both branches a step; with two points the line of DPM-Solver++ 2M.

    Then, with h = log(a/b) and r the step before over this one, x_b has (1 - b/a)/(2 r) (D - U_p)
    beside, U_p the weak estimate of the step before: the published form, in which the difference
    holds the guidance once more.
    """

    name: str
    points: int
    order: int = 1
    error_order: int | None = None
    reversible: bool = False
    carrier: str = "data"

    @property
    def memory(self) -> bool:
        """Of the weak estimate before."""
        return self.points > 1

    @property
    def splitting(self) -> None:
        """None: what noise would do to its two estimates is not known."""
        return None

    def bind(self, rule: Guidance) -> NoReturn:
        """Not offered: see above."""
        raise UnsupportedError(
            f"{self.name} follows no flow whose error a rule could read: leave out the guidance of "
            "the solver, or take 'heun' with classifier_free"
        )

    def init(self, x: Tensor, levels: Sequence[float]) -> Before:
        """No step yet."""
        return Before(None)

    def step(self, denoise: Denoise, interval: Interval, x: Tensor, state: Before) -> Advance:
        """One evaluation; a step to 0 gives D."""
        a, b = interval.start, interval.end
        if not isinstance(denoise, Branching):
            raise UnsupportedError(
                f"{self.name} needs both branches of a guided model, and this caller gives one"
            )
        guided, weak = denoise.branches(x, a)
        x1 = torch.add(guided, x - weak, alpha=b / a)
        if state.weak is not None and b > 0:
            r = math.log(interval.past[0] / a) / math.log(a / b)
            x1 = torch.add(x1, guided - state.weak, alpha=(1 - b / a) / (2 * r))
        return Advance(x1, x, guided, Before(weak if self.memory else None))


EULER_CFG_PP = CfgPlusPlus("euler_cfg_pp", 1)
DPMPP_2M_CFG_PP = CfgPlusPlus("dpmpp_2m_cfg_pp", 2)
FAMILY = (EULER_CFG_PP, DPMPP_2M_CFG_PP)
