"""The node whose sampler chooses its own steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.samplers
from torch import Tensor

from .functions import model_sampling_of, sampler_function
from .inputs import Inputs, SamplerNode, number

SIGMA_DATA = 1.0  # of latents, which ComfyUI scales to it
OWN, TOGETHER = "each image its own", "all images together"


def adaptive_function() -> Callable[..., Tensor]:
    """The sampler, from the first sigma to the least that the model knows, and then to 0."""
    inner = sampler_function("stiffguide_adaptive", sigma_data=SIGMA_DATA)

    def sample(
        model: Any,
        x: Tensor,
        sigmas: Tensor,
        extra_args: Any = None,
        callback: Any = None,
        disable: bool | None = None,
        **options: Any,
    ) -> Tensor:
        kind = model_sampling_of(model)
        positive = sigmas[sigmas > 0]
        if kind is not None and len(positive) and float(sigmas[-1]) == 0:
            # a grid of few steps ends high above it, and the last step is one of Euler's method
            least = min(float(positive.min()), float(kind.sigma_min))
            if least < float(sigmas[0]):
                options = {"sigma_min": least, **options}
        return inner(model, x, sigmas, extra_args, callback, disable, **options)

    sample.__name__ = sample.__qualname__ = "sample_stiffguide_adaptive"
    return sample


class Adaptive(SamplerNode):
    """Steps by tolerance."""

    DESCRIPTION = (
        "Takes as many steps as the tolerance asks for. Of the sigmas only the first and the last "
        "count."
    )

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """The tolerance, the method, and whose steps they are."""
        rtol = "Error of a step, relative to the latent. 0.1: some 25 model calls, 0.01: 35 to 45."
        atol = "Error of a step, absolute; latents are about 1 in size. 0 takes rtol."
        method = (
            ["bosh3", "dopri5", "tsit5"],
            {
                "default": "bosh3",
                "tooltip": "dopri5 and tsit5 are of higher order, for more than 50 model calls.",
            },
        )
        steps = (
            [OWN, TOGETHER],
            {
                "default": OWN,
                "tooltip": "Each image its own: the same as alone, whatever the batch. Together: "
                "for nodes that look at one sigma, such as conditions for a part of the way.",
            },
        )
        return {
            "required": {
                "rtol": number(0.01, 1.0, rtol, least=1e-6, step=0.001),
                "atol": number(0.0, 1.0, atol, step=0.001),
                "method": method,
                "steps": steps,
            }
        }

    def get_sampler(self, rtol: float, atol: float, method: str, steps: str) -> tuple[Any]:
        """The SAMPLER."""
        options = {
            "rtol": rtol,
            "atol": atol or None,
            "method": method,
            "together": steps == TOGETHER,
        }
        return (comfy.samplers.KSAMPLER(adaptive_function(), extra_options=options),)
