"""The node of CFG++, which renoises by what the negative prompt alone would give."""

from __future__ import annotations

from typing import Any

import comfy.samplers

from .functions import sampler_function
from .inputs import Inputs, SamplerNode


class CfgPlusPlus(SamplerNode):
    """CFG++ (arXiv 2406.08070)."""

    DESCRIPTION = "CFG++: one step, two conditions. Set cfg near 1, and compare at the same steps."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """The solver."""
        solver = (
            ["euler", "dpmpp_2m"],
            {
                "default": "euler",
                "tooltip": "Of one step, or of the step before too. Both need a negative prompt.",
            },
        )
        return {"required": {"solver": solver}}

    def get_sampler(self, solver: str) -> tuple[Any]:
        """The SAMPLER."""
        return (comfy.samplers.KSAMPLER(sampler_function(f"stiffguide_{solver}_cfg_pp")),)
