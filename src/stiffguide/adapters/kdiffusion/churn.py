"""The noise that k-diffusion's `s_churn` and `eta` ask for, and where it is drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.brownian import Brownian, Drawn
from stiffguide.adapters.diffusion.noise import Source
from stiffguide.adapters.diffusion.sampler import Sampler
from stiffguide.adapters.diffusion.splitting import Motion
from stiffguide.adapters.diffusion.stochastic import Stochastic
from stiffguide.adapters.diffusion.stretches import stretches
from stiffguide.adapters.kdiffusion.state_form import StateForm
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.stepping.contracts import Guidance

NoiseSampler = Callable[[Tensor, Tensor], Tensor]  # (sigma, sigma_hat) -> unit noise (B, ...)


@dataclass(frozen=True)
class Churn:
    """How much noise is added before or after a step, and where it comes from."""

    s_churn: float = 0.0
    s_tmin: float = 0.0
    s_tmax: float = math.inf
    s_noise: float = 1.0
    noise_sampler: NoiseSampler | None = None
    generator: torch.Generator | None = None
    seeds: Sequence[int] | Tensor | None = None
    eta: float = 0.0

    def amounts(
        self, sampler: Sampler, rule: Guidance | None, flow: bool, rises: bool
    ) -> Stochastic:
        """The numbers, checked; raises InputError or UnsupportedError."""
        found = Stochastic(self.s_churn, self.s_tmin, self.s_tmax, self.s_noise, self.eta)
        found.check(sampler, rule)
        if self.s_churn > 0 and (flow or rises):
            raise UnsupportedError(
                "s_churn adds noise to x0 + sigma noise while sigma falls: it has no meaning "
                f"{'for a rectified flow' if flow else 'while sigma rises'}; leave it 0"
            )
        if self.eta > 0 and rises:
            raise UnsupportedError("eta adds noise while sigma falls, and it rises: set eta to 0")
        if sum(v is not None for v in (self.noise_sampler, self.generator, self.seeds)) > 1:
            raise InputError("give one of noise_sampler, generator and seeds, not several")
        return found

    def source(self, x: Tensor, levels: Sequence[float], amounts: Stochastic) -> Source:
        """Draws for a run of x (B, ...) along these levels."""
        steps = len(levels) - 1
        falling = [part.levels[:-1] for part in stretches(levels) if not part.rises]
        raised = [(s, amounts.raised(s, steps)) for part in falling for s in part]
        return Draws(self, x, [pair for pair in raised if pair[1] > pair[0]])

    def motion(self, x: Tensor, form: StateForm) -> Motion:
        """The noise (B, ...) of eta between levels of the form, in the caller's x (B, ...)."""
        sampler = self.noise_sampler
        if sampler is not None:
            return lambda *levels: asked(sampler, x, *map(form.sigma, levels))
        if self.seeds is not None:
            wide = torch.promote_types(x.dtype, torch.float32)
            return Brownian(self.seeds, tuple(x.shape), dtype=wide, device=x.device)
        return Drawn(lambda: drawn(x, self.generator))


def asked(sampler: NoiseSampler, x: Tensor, start: float, end: float) -> Tensor:
    """What the caller's noise sampler says of two sigmas, (B, ...)."""
    noise = sampler(*(torch.tensor(s, dtype=x.dtype, device=x.device) for s in (start, end)))
    if noise.shape != x.shape:
        raise InputError(f"noise_sampler returned {tuple(noise.shape)} for x of {tuple(x.shape)}")
    return noise.to(x.device)


def drawn(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Noise in the shape and dtype of x, as k-diffusion draws it."""
    if generator is None:
        return torch.randn_like(x)
    place = generator.device
    return torch.randn(x.shape, generator=generator, dtype=x.dtype, device=place).to(x.device)


class Draws(Source):
    """Unit noise (B, F) for one step after the other that asks for it."""

    def __init__(self, churn: Churn, x: Tensor, raised: list[tuple[float, float]]) -> None:
        super().__init__(churn.seeds, tuple(x.shape), x.dtype, x.device)
        self._churn, self._x, self._raised = churn, x, iter(raised)

    def draw(self) -> Tensor:
        """In the dtype of the caller's x, as k-diffusion draws it."""
        x, churn = self._x, self._churn
        sigma, sigma_hat = next(self._raised)
        if churn.noise_sampler is not None:
            noise = asked(churn.noise_sampler, x, sigma, sigma_hat)
        else:
            noise = drawn(x, churn.generator) if churn.seeds is None else super().draw()
        return noise.reshape(len(x), -1)
