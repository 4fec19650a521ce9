"""What a guided model would say unguided: told by the model, or where ComfyUI lets one listen.

In ComfyUI, and in programs that share its code, guidance is a part of the model call. Functions in
`model_options["sampler_post_cfg_function"]` are called after it, with what both branches estimate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from stiffguide.adapters.diffusion.evaluator import Guided
from stiffguide.errors import UnsupportedError

OPTIONS, LISTENERS = "model_options", "sampler_post_cfg_function"
EVEN_AT_ONE = "disable_cfg1_optimization"  # else a scale of 1 leaves the unguided branch out


def branches(
    model: Any, x: Tensor, sigma: Tensor, extra_args: Mapping[str, Any]
) -> tuple[Tensor, Tensor]:
    """D and the unguided estimate (B, ...) of x (B, ...), all rows at one sigma (B,)."""
    if isinstance(model, Guided):
        return model.branches_at(float(sigma[0]))(x, sigma)
    if OPTIONS not in extra_args:
        raise UnsupportedError(
            "CFG++ needs the unguided estimate: give a model made by classifier_free, or one that "
            f"takes {OPTIONS} and calls its {LISTENERS}, as those of ComfyUI do"
        )
    heard: list[Mapping[str, Any]] = []

    def listen(told: Mapping[str, Any]) -> Any:
        heard.append(told)
        return told["denoised"]

    options = dict(extra_args[OPTIONS] or {})
    options[LISTENERS] = [*options.get(LISTENERS, ()), listen]
    options[EVEN_AT_ONE] = True
    guided = model(x, sigma, **{**extra_args, OPTIONS: options})
    if not heard:
        raise UnsupportedError(f"CFG++ needs the unguided estimate: the model calls no {LISTENERS}")
    if "uncond" in heard[-1] and heard[-1]["uncond"] is None:
        raise UnsupportedError(
            "CFG++ needs a negative condition, and this guider has none: take CFGGuider or "
            "SamplerCustom"
        )
    return guided, heard[-1]["uncond_denoised"]
