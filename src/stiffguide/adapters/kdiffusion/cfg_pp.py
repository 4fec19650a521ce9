"""CFG++ as functions of k-diffusion's convention, whose arguments `samplers` tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from stiffguide.adapters.diffusion.cfg_pp import DPMPP_2M_CFG_PP, EULER_CFG_PP
from stiffguide.adapters.diffusion.watch import Callback
from stiffguide.adapters.kdiffusion.sampler_call import Model, SamplerCall


def sample_stiffguide_euler_cfg_pp(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Mapping[str, Any] | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    flow: bool = False,
) -> Tensor:
    """CFG++ (arXiv 2406.08070) with Euler's method; the scale of the guidance is about 1.

    The model is one of `classifier_free`, or calls `model_options["sampler_post_cfg_function"]`,
    as those of ComfyUI do; else UnsupportedError is raised. x is (B, ...), sigmas (N + 1,) fall.
    """
    call = SamplerCall(model, x, sigmas, extra_args, callback, disable)
    return call.sample(EULER_CFG_PP, flow=flow)


def sample_stiffguide_dpmpp_2m_cfg_pp(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Mapping[str, Any] | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    flow: bool = False,
) -> Tensor:
    """CFG++ by the line of DPM-Solver++ 2M, x (B, ...): as `sample_stiffguide_euler_cfg_pp`."""
    call = SamplerCall(model, x, sigmas, extra_args, callback, disable)
    return call.sample(DPMPP_2M_CFG_PP, flow=flow)
