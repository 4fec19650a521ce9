"""Entries for the drop-down menus of ComfyUI's KSampler nodes."""

from __future__ import annotations

from typing import Any

import comfy.samplers
from comfy.k_diffusion import sampling
from torch import Tensor

from stiffguide.adapters.kdiffusion import NOISY_SAMPLERS

from .functions import SamplerFunction, sampler_function
from .mix_grid import mix_sigmas
from .noisy import noisy_function

GRID = "stiffguide_mix"


def paper_settings(steps: int) -> dict[str, Any]:
    """The weights of ERK-Guid (arXiv 2603.03692) for 8, 16 or 32 steps, whichever is near."""
    if steps < 12:
        return {"w_stiff": 0.5, "w_con": 0.1}
    return {"w_stiff": 0.75, "w_con": 0.3} if steps < 24 else {"w_stiff": 1.0, "w_con": 0.5}


def erk_guid_function(name: str) -> SamplerFunction:
    """A sampler with ERK-Guid, at the paper's settings for its number of steps."""
    inner = sampler_function(name, guidance="erk_guid")

    def sample(
        model: Any,
        x: Tensor,
        sigmas: Tensor,
        extra_args: Any = None,
        callback: Any = None,
        disable: bool | None = None,
        **options: Any,
    ) -> Tensor:
        told = {**paper_settings(len(sigmas) - 1), **options}
        return inner(model, x, sigmas, extra_args, callback, disable, **told)

    sample.__name__ = sample.__qualname__ = f"sample_{name}_erk_guid"
    return sample


ENTRIES: dict[str, SamplerFunction] = {
    "stiffguide_emg": sampler_function("stiffguide_emg"),
    "stiffguide_heun_edg": sampler_function("stiffguide_heun", guidance="error_direction"),
    "stiffguide_heun_edg3": sampler_function("stiffguide_heun", order=3),
    "stiffguide_heun_erk_guid": erk_guid_function("stiffguide_heun"),
    "stiffguide_dpm2_erk_guid": erk_guid_function("stiffguide_dpm2"),
    "stiffguide_deis3_erk_guid": erk_guid_function("stiffguide_deis3"),
    **{name: noisy_function(name) for name in NOISY_SAMPLERS},
}


def register() -> None:
    """Add the entries; a second call changes nothing.

    ComfyUI looks a sampler up as `sample_<name>` in its k_diffusion.sampling, and a scheduler in
    SCHEDULER_HANDLERS, which versions before 2025 do not have.
    """
    for name, function in ENTRIES.items():
        setattr(sampling, f"sample_{name}", function)
        _append(name, comfy.samplers.SAMPLER_NAMES, comfy.samplers.KSampler.SAMPLERS)
    handlers = getattr(comfy.samplers, "SCHEDULER_HANDLERS", None)
    if handlers is not None:
        handlers[GRID] = comfy.samplers.SchedulerHandler(mix_sigmas)
        _append(GRID, comfy.samplers.SCHEDULER_NAMES, comfy.samplers.KSampler.SCHEDULERS)


def _append(name: str, *menus: list[str]) -> None:
    for menu in menus:
        if name not in menu:
            menu.append(name)
