"""Schedulers in a bare loop: what a pipeline does with them, without a pipeline."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stiffguide.adapters.diffusers import (
    StiffguideFlowMatchHeunScheduler,
    StiffguideHeunScheduler,
    StiffguideMultistepScheduler,
)

Net = Callable[[Tensor, Tensor], Tensor]

NOISE = (StiffguideHeunScheduler, StiffguideMultistepScheduler)
ALL = (*NOISE, StiffguideFlowMatchHeunScheduler)
GRIDS = (None, "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
SPACINGS = ("linspace", "leading", "trailing")
BETAS = ("linear", "scaled_linear", "squaredcos_cap_v2", "exp")
PREDICTIONS = ("epsilon", "v_prediction", "sample")
RULES = (
    {"guidance": None},
    {"guidance": "error_direction"},
    {"guidance": "error_direction", "guidance_order": 3},
    {"guidance": "erk_guid", "w_stiff": 0.75, "w_con": 0.1},
)


def net(x: Tensor, t: Tensor) -> Tensor:
    """A network that depends on all that it is given; t is a number in [0, 1000]."""
    return torch.tanh(0.7 * x + t.to(x.dtype) / 400) - 0.3 * x


def unit_noise(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """Noise (B, ...) that is the same in every test."""
    random = torch.Generator().manual_seed(seed)
    return torch.randn(shape or (2, 3, 4, 4), generator=random, dtype=torch.float64).to(dtype)


def start(scheduler: Any, noise: Tensor) -> Tensor:
    """What a pipeline makes of unit noise."""
    return noise * getattr(scheduler, "init_noise_sigma", 1.0)


def drive(scheduler: Any, x: Tensor, network: Net = net, first: int = 0) -> Tensor:
    """Run from x at timesteps[first]."""
    for t in scheduler.timesteps[first:]:
        x = advance(scheduler, x, t, network)
    return x


def advance(scheduler: Any, x: Tensor, t: Tensor, network: Net = net) -> Tensor:
    """One call of the model and one of the scheduler."""
    return scheduler.step(network(shown(scheduler, x, t), t), t, x, return_dict=False)[0]


def shown(scheduler: Any, x: Tensor, t: Tensor) -> Tensor:
    """What a model is given."""
    return scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x


def nodes(scheduler: Any) -> list[float]:
    """The levels of a scheduler's steps, without repetitions."""
    return [level for level, _ in itertools.groupby(scheduler.sigmas.tolist())]


def times(scheduler: Any) -> dict[float, Tensor]:
    """The time that the model is told at every sigma."""
    return dict(zip(scheduler.sigmas.tolist(), scheduler.timesteps, strict=False))
