"""The nodes that give a SAMPLER, and the table of all that the pack has."""

from __future__ import annotations

from typing import Any

import comfy.samplers

from stiffguide.adapters.kdiffusion import NOISY_SAMPLERS, SAMPLERS
from stiffguide.errors import UnsupportedError

from .adaptive import Adaptive
from .cfg_pp import CfgPlusPlus
from .functions import sampler_function
from .grids import (
    CalibratedScheduler,
    KarrasScheduler,
    MeasureCenter,
    MixScheduler,
    TimeScheduler,
)
from .inputs import Inputs, SamplerNode, number

APART = ("adaptive", "euler_cfg_pp", "dpmpp_2m_cfg_pp")  # samplers with a node of their own
NAMES = [name.removeprefix("stiffguide_") for name in SAMPLERS if name not in NOISY_SAMPLERS]
OURS = [name for name in NAMES if name not in APART]
CHURNED = ("heun", "dpm2", "euler")  # memory of the past and added noise exclude each other


class Emg(SamplerNode):
    """EMG, the guided exponential multistep sampler."""

    DESCRIPTION = "The sampler to use: guided, multistep, one model call a step, nothing to tune."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """One choice."""
        points = (
            ["automatic", "2", "3"],
            {
                "default": "automatic",
                "tooltip": "How many past model calls a step uses. automatic: 2 up to 8 steps, 3 "
                "from 9 on.",
            },
        )
        return {"required": {"points": points}}

    def get_sampler(self, points: str) -> tuple[Any]:
        """The SAMPLER."""
        count = None if points == "automatic" else int(points)
        function = sampler_function("stiffguide_emg")
        return (comfy.samplers.KSAMPLER(function, extra_options={"points": count}),)


class ErrorDirection(SamplerNode):
    """Heun's method with error-direction guidance."""

    DESCRIPTION = "Heun's method, corrected along its own error: two model calls a step."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """One choice."""
        order = (
            ["2", "3"],
            {
                "default": "2",
                "tooltip": "3 also uses the step before and is more accurate from about 12 steps "
                "on; neither costs a model call.",
            },
        )
        return {"required": {"order": order}}

    def get_sampler(self, order: str) -> tuple[Any]:
        """The SAMPLER."""
        options = {"guidance": "error_direction", "order": int(order)}
        function = sampler_function("stiffguide_heun")
        return (comfy.samplers.KSAMPLER(function, extra_options=options),)


class ErkGuid(SamplerNode):
    """ERK-Guid on the three solvers of its paper."""

    DESCRIPTION = "ERK-Guid (Error as Signal, ICLR 2026). Helps most at 6 to 8 model calls."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """The solver and the two weights."""
        solver = (
            ["heun", "dpm2", "deis3"],
            {
                "default": "heun",
                "tooltip": "heun and dpm2 call the model twice a step, deis3 once.",
            },
        )
        w_stiff = "Strength. The paper: 0.5 at 8 steps, 0.75 at 16, 0.5 to 2.5 at 32."
        w_con = "Stiffness below which nothing is corrected. The paper: 0.1, 0.3 and 0.5."
        return {
            "required": {
                "solver": solver,
                "w_stiff": number(0.75, 100.0, w_stiff),
                "w_con": number(0.3, 1000.0, w_con),
            }
        }

    def get_sampler(self, solver: str, w_stiff: float, w_con: float) -> tuple[Any]:
        """The SAMPLER."""
        options = {"guidance": "erk_guid", "w_stiff": w_stiff, "w_con": w_con}
        function = sampler_function(f"stiffguide_{solver}")
        return (comfy.samplers.KSAMPLER(function, extra_options=options),)


class Unguided(SamplerNode):
    """Every sampler of stiffguide as it is, to compare with."""

    DESCRIPTION = "The samplers without guidance (emg has its own built in), to compare with."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """The sampler and the churn of EDM."""
        sampler = (
            OURS,
            {"default": "heun", "tooltip": "heun and dpm2 call the model twice a step."},
        )
        only = "With heun, dpm2 and euler, and not for flow models (SD3, FLUX)."
        return {
            "required": {
                "sampler": sampler,
                "s_churn": number(0.0, 1000.0, f"Noise added on the way; 0 is none. {only}"),
                "s_tmin": number(0.0, 1000.0, "Smallest sigma at which noise is added."),
                "s_tmax": number(1000.0, 100000.0, "Largest sigma at which noise is added."),
                "s_noise": number(1.0, 100.0, "Factor on the noise that is added."),
            }
        }

    def get_sampler(
        self, sampler: str, s_churn: float, s_tmin: float, s_tmax: float, s_noise: float
    ) -> tuple[Any]:
        """The SAMPLER; raises UnsupportedError where it cannot add noise."""
        options: dict[str, Any] = {"guidance": None} if sampler == "heun" else {}
        if sampler in CHURNED:
            options |= {"s_churn": s_churn, "s_tmin": s_tmin, "s_tmax": s_tmax, "s_noise": s_noise}
        elif s_churn > 0:
            raise UnsupportedError(
                f"s_churn goes with {', '.join(CHURNED)}, not with {sampler}: set it to 0"
            )
        function = sampler_function(f"stiffguide_{sampler}")
        return (comfy.samplers.KSAMPLER(function, extra_options=options),)


NODE_CLASS_MAPPINGS = {
    "StiffguideSamplerEMG": Emg,
    "StiffguideSamplerErrorDirection": ErrorDirection,
    "StiffguideSamplerErkGuid": ErkGuid,
    "StiffguideSamplerUnguided": Unguided,
    "StiffguideSamplerAdaptive": Adaptive,
    "StiffguideSamplerCfgPlusPlus": CfgPlusPlus,
    "StiffguideMixScheduler": MixScheduler,
    "StiffguideKarrasScheduler": KarrasScheduler,
    "StiffguideTimeScheduler": TimeScheduler,
    "StiffguideCalibratedScheduler": CalibratedScheduler,
    "StiffguideMeasureCenter": MeasureCenter,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "StiffguideSamplerEMG": "Sampler EMG (stiffguide)",
    "StiffguideSamplerErrorDirection": "Sampler Heun + Error Direction (stiffguide)",
    "StiffguideSamplerErkGuid": "Sampler ERK-Guid (stiffguide)",
    "StiffguideSamplerUnguided": "Sampler Unguided (stiffguide)",
    "StiffguideSamplerAdaptive": "Sampler Adaptive (stiffguide)",
    "StiffguideSamplerCfgPlusPlus": "Sampler CFG++ (stiffguide)",
    "StiffguideMixScheduler": "Mix Scheduler (stiffguide)",
    "StiffguideKarrasScheduler": "Karras Scheduler (stiffguide)",
    "StiffguideTimeScheduler": "Time Scheduler (stiffguide)",
    "StiffguideCalibratedScheduler": "Calibrated Scheduler (stiffguide)",
    "StiffguideMeasureCenter": "Measure Center (stiffguide)",
}
