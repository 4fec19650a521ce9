"""The form in which a sampler integrates what the caller has: as it is, or a flow in VE form.

A rectified flow obeys dx/dsigma = (x - D)/sigma, as a VE state does, so that every sampler can run
on it as it is, from sigma = 1 too. Methods that interpolate the slope do best so; those that
interpolate D do better in VE form, where log sigma is the log-SNR and EMG's Gaussian law holds.
Noise on the way is that of VE form, too: all samplers with eta run there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stiffguide.adapters.diffusion import grid
from stiffguide.adapters.diffusion.emg import Emg
from stiffguide.adapters.diffusion.flow_in_ve_form import (
    BESIDE,
    FromInfinity,
    from_ve,
    to_level,
    to_ve,
)
from stiffguide.adapters.diffusion.sampler import Sampler
from stiffguide.errors import InputError, UnsupportedError


def given_sigmas(sigmas: Any) -> Tensor:
    """Sigmas as the caller gave them, as a tensor; raises InputError."""
    if isinstance(sigmas, Tensor):
        return sigmas.detach()
    try:
        return torch.as_tensor(sigmas, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"sigmas are not numbers: {sigmas!r}") from error


def checked_sigmas(sigmas: Tensor, flow: bool) -> Tensor:
    """Sigmas (N + 1,) in float64 on the CPU, all 0 or above; raises InputError."""
    levels = grid.turning(sigmas)
    if flow and float(levels.max()) > 1 + BESIDE:
        raise InputError(
            f"a rectified flow has sigmas in [0, 1], and these reach {float(levels.max()):g}; for "
            "a model of the form x0 + sigma noise leave out flow"
        )
    return levels


@dataclass(frozen=True)
class StateForm:
    """How states and sigmas go in and out."""

    sampler: Sampler
    levels: Tensor  # (N + 1,) float64 on the CPU, what the sampler integrates over
    told: Mapping[float, float] | None = None  # the caller's sigmas by level, if that is VE form

    @classmethod
    def of(cls, sampler: Sampler, sigmas: Tensor, flow: bool, noisy: bool = False) -> StateForm:
        """The form for checked sigmas (N + 1,); noisy: with eta. Raises UnsupportedError."""
        if grid.rises(sigmas):
            if not sampler.reversible:
                raise UnsupportedError(
                    f"{sampler.name} runs down in sigma only, and these sigmas rise; for the way "
                    "back take stiffguide_heun with guidance=None"
                )
            return cls(sampler, sigmas)
        follows = isinstance(sampler, Emg)
        # noise of a level is noise of VE form, whatever the sampler interpolates
        if flow and not follows and (noisy or getattr(sampler, "carrier", "slope") == "data"):
            sampler, follows = FromInfinity(sampler), True
        if not (flow and follows):
            return cls(sampler, sigmas)
        told = {to_level(sigma): sigma for sigma in sigmas.tolist()}
        levels = [to_level(sigma) for sigma in sigmas.tolist()]
        return cls(sampler, torch.tensor(levels, dtype=torch.float64), told)

    def inward(self, x: Tensor, sigma: float) -> Tensor:
        """The caller's state (B, ...) as the sampler has it."""
        return x if self.told is None else to_ve(x, sigma)

    def outward(self, x: Tensor, level: float) -> Tensor:
        """The sampler's state (B, ...) as the caller has it."""
        return x if self.told is None else from_ve(x, level)

    def sigma(self, level: float) -> float:
        """The caller's sigma of a level: one of the grid as it was given, others by the formula."""
        if self.told is None:
            return level
        return self.told[level] if level in self.told else level / (1 + level)
