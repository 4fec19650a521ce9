"""How nodes say what they take and give."""

from __future__ import annotations

from typing import Any, ClassVar

Inputs = dict[str, dict[str, tuple[Any, dict[str, Any]]]]
TO_CUSTOM = "Connect it to the sampler input of SamplerCustom or SamplerCustomAdvanced."


def number(
    default: float, largest: float, tooltip: str, least: float = 0.0, step: float = 0.01
) -> tuple[str, dict[str, Any]]:
    """A FLOAT, by default from 0 on."""
    limits = {"default": default, "min": least, "max": largest, "step": step, "round": False}
    return ("FLOAT", {**limits, "tooltip": tooltip})


class SamplerNode:
    """What ComfyUI is told of every node here that gives a SAMPLER."""

    CATEGORY = "sampling/custom_sampling/samplers"
    RETURN_TYPES: ClassVar = ("SAMPLER",)
    OUTPUT_TOOLTIPS: ClassVar = (TO_CUSTOM,)
    FUNCTION = "get_sampler"
