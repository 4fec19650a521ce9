"""The samplers with noise on the way, whose noise belongs to ComfyUI's seed."""

from __future__ import annotations

from typing import Any

import comfy.samplers
import numpy as np
from torch import Tensor

from stiffguide.adapters.kdiffusion import NOISY_SAMPLERS

from .functions import SamplerFunction, sampler_function
from .nodes import Inputs, SamplerNode

AMOUNT = {"default": 1.0, "min": 0.0, "max": 100.0, "step": 0.01, "round": False}
NAMES = [name.removeprefix("stiffguide_") for name in NOISY_SAMPLERS]


def seeds_of_rows(seed: int, rows: int) -> list[int]:
    """One seed for each image of a batch: that of an image does not depend on how many follow."""
    words = [np.random.SeedSequence([seed, row]) for row in range(rows)]
    return [int(word.generate_state(1, np.uint64)[0]) for word in words]


def noisy_function(name: str, **fixed: Any) -> SamplerFunction:
    """A sampler that takes its noise from the seed in extra_args, where ComfyUI puts it."""
    inner = sampler_function(name, **fixed)

    def sample(
        model: Any,
        x: Tensor,
        sigmas: Tensor,
        extra_args: dict[str, Any] | None = None,
        callback: Any = None,
        disable: bool | None = None,
        **options: Any,
    ) -> Tensor:
        seed = (extra_args or {}).get("seed")
        if seed is not None and not {"seeds", "generator", "noise_sampler"} & options.keys():
            options["seeds"] = seeds_of_rows(int(seed), len(x))
        return inner(model, x, sigmas, extra_args, callback, disable, **options)

    sample.__name__ = sample.__qualname__ = f"sample_{name}"
    return sample


class Noisy(SamplerNode):
    """The samplers with noise on the way."""

    DESCRIPTION = "Ancestral and SDE samplers: noise is added after each step, from the seed."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """The sampler and how much noise."""
        sampler = (
            NAMES,
            {
                "default": "emg_sde",
                "tooltip": "dpmpp_sde, dpmpp_2s_ancestral and dpm2_ancestral call the model twice "
                "a step.",
            },
        )
        return {
            "required": {
                "sampler": sampler,
                "eta": ("FLOAT", {**AMOUNT, "tooltip": "How much noise; 0 is none."}),
                "s_noise": ("FLOAT", {**AMOUNT, "tooltip": "Factor on the noise that is added."}),
            }
        }

    def get_sampler(self, sampler: str, eta: float, s_noise: float) -> tuple[Any]:
        """The SAMPLER."""
        options = {"eta": eta, "s_noise": s_noise}
        function = noisy_function(f"stiffguide_{sampler}")
        return (comfy.samplers.KSAMPLER(function, extra_options=options),)


NOISY_CLASSES = {"StiffguideSamplerNoisy": Noisy}
NOISY_NAMES = {"StiffguideSamplerNoisy": "Sampler Noisy (stiffguide)"}
