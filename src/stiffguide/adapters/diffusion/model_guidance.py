"""Guidance of the model: which denoiser to follow, beside the solver's guidance of how.

Both kinds are one formula, D = D_weak + scale (D_strong - D_weak), and both may be limited to an
interval of sigma (Kynkaanniemi et al., arXiv 2404.07724); outside of it the strong branch is
followed alone, and inside `sample` the weak one is then not even called.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.errors import InputError
from stiffguide.tensors import rows

Span = tuple[float, float]
Conditioned = Callable[[Tensor, Tensor, Tensor], Tensor]  # net(x, sigma, condition) -> x0
Branches = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # two estimates of one state


@dataclass(frozen=True)
class ModelGuidance:
    """A denoiser made of two branches; `both` gives (weak, strong).

    Raises InputError for a scale that is not finite and an interval that is none.
    """

    strong: Denoiser
    both: Branches
    scale: float
    interval: Span | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.scale):
            raise InputError(f"scale must be finite, not {self.scale}")
        if self.interval is not None and not 0 <= self.interval[0] < self.interval[1]:
            raise InputError(
                f"interval is (low, high) of sigma with 0 <= low < high, not {self.interval}"
            )

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """D(x (B, ...), sigma (B,)) -> x0, each row by its own sigma."""
        weak, strong = self.both(x, sigma)
        guided = torch.lerp(weak, strong, self.scale)
        if self.interval is None:
            return guided
        inside = (sigma >= self.interval[0]) & (sigma <= self.interval[1])
        return torch.where(rows(inside, strong), guided, strong)

    def at_level(self, level: float) -> Denoiser:
        """The branch or branches that a level needs."""
        if self.interval is None or self.interval[0] <= level <= self.interval[1]:
            return self._guided
        return self.strong

    def branches_at(self, level: float) -> Branches:
        """What gives (guided, weak) there; outside of the interval both are the strong branch."""
        if self.interval is None or self.interval[0] <= level <= self.interval[1]:
            return self._with_weak
        return self._strong_alone

    def _with_weak(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        weak, strong = self.both(x, sigma)
        return torch.lerp(weak, strong, self.scale), weak

    def _strong_alone(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        strong = self.strong(x, sigma)
        return strong, strong

    def _guided(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self._with_weak(x, sigma)[0]


def classifier_free(
    cond: Denoiser, uncond: Denoiser, scale: float, interval: Span | None = None
) -> ModelGuidance:
    """Classifier-free guidance (Ho and Salimans, arXiv 2207.12598); scale 1 is `cond` alone."""
    return ModelGuidance(cond, _two_calls(cond, uncond), scale, interval)


def autoguidance(
    strong: Denoiser, weak: Denoiser, scale: float, interval: Span | None = None
) -> ModelGuidance:
    """Guidance by a worse version of the model (Karras et al., arXiv 2406.02507)."""
    return ModelGuidance(strong, _two_calls(strong, weak), scale, interval)


def classifier_free_batched(
    net: Conditioned, cond: Tensor, uncond: Tensor, scale: float, interval: Span | None = None
) -> ModelGuidance:
    """Classifier-free guidance with both branches in one call of net(x, sigma, condition).

    cond, uncond: conditions of every row (B, ...), or one for all rows (1, ...).

    Raises InputError where cond and uncond differ in shape, or net returns another number of rows.
    """
    if cond.shape[1:] != uncond.shape[1:] or cond.ndim == 0:
        raise InputError(
            f"cond {tuple(cond.shape)} and uncond {tuple(uncond.shape)} must be (B, ...) alike"
        )

    def strong(x: Tensor, sigma: Tensor) -> Tensor:
        return net(x, sigma, _spread(cond, x))

    def both(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        condition = torch.cat((_spread(uncond, x), _spread(cond, x)))
        out = net(torch.cat((x, x)), torch.cat((sigma, sigma)), condition)
        if len(out) != 2 * len(x):
            raise InputError(f"net was given {2 * len(x)} rows and returned {len(out)}")
        return out[: len(x)], out[len(x) :]

    return ModelGuidance(strong, both, scale, interval)


def _two_calls(strong: Denoiser, weak: Denoiser) -> Branches:
    return lambda x, sigma: (weak(x, sigma), strong(x, sigma))


def _spread(condition: Tensor, x: Tensor) -> Tensor:
    return condition.expand(len(x), *condition.shape[1:]) if len(condition) == 1 else condition
