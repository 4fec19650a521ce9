"""The samplers as functions of k-diffusion's convention.

Shared arguments: `model(x, sigma (B,), **extra_args)` gives the denoised sample, as k-diffusion's
wrappers do; x (B, ...) is already scaled by sigmas[0]; sigmas (N + 1,) fall and usually end in 0.
`callback` is called once per interval with {x, i, sigma, sigma_hat, denoised}; `disable` is tqdm's.
`flow`: x and sigmas are those of a rectified flow, x = (1 - sigma) x0 + sigma eps with sigma in
[0, 1]. s_churn, s_tmin, s_tmax and s_noise are k-diffusion's; their noise comes from
`noise_sampler(sigma, sigma_hat)`, a torch `generator`, `seeds` (one per row), or torch.randn_like.

The result is in the dtype of x; the state in between is in float32 or better. Bad input raises
InputError or UnsupportedError. If no row ends finite SolveFailed is raised; if some do not, a
RuntimeWarning names one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from stiffguide.adapters import diffusion
from stiffguide.adapters.diffusion.emg import Emg
from stiffguide.adapters.diffusion.named_rules import named_rule
from stiffguide.adapters.diffusion.watch import Callback
from stiffguide.adapters.kdiffusion.adaptive import sample_stiffguide_adaptive
from stiffguide.adapters.kdiffusion.cfg_pp import (
    sample_stiffguide_dpmpp_2m_cfg_pp,
    sample_stiffguide_euler_cfg_pp,
)
from stiffguide.adapters.kdiffusion.churn import Churn, NoiseSampler
from stiffguide.adapters.kdiffusion.noisy_samplers import NOISY_SAMPLERS
from stiffguide.adapters.kdiffusion.sampler_call import Model, SamplerCall
from stiffguide.stepping.contracts import Guidance

KSampler = Callable[..., Tensor]


def sample_stiffguide_emg(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Mapping[str, Any] | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    points: int | None = None,
    flow: bool = False,
) -> Tensor:
    """EMG, the guided exponential multistep sampler: one evaluation a step, nothing to tune.

    points: 2 or 3; None takes 2 up to 8 steps and 3 from 9 on. Sigmas must fall.
    """
    call = SamplerCall(model, x, sigmas, extra_args, callback, disable)
    return call.sample(Emg(points), flow=flow)


def sample_stiffguide_heun(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Mapping[str, Any] | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    guidance: str | Guidance | None = "error_direction",
    order: int = 2,
    w_stiff: float = 1.0,
    w_con: float = 0.5,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
    noise_sampler: NoiseSampler | None = None,
    generator: torch.Generator | None = None,
    seeds: Sequence[int] | Tensor | None = None,
    flow: bool = False,
) -> Tensor:
    """Heun's method (Karras et al., arXiv 2206.00364) with a guidance rule: two evaluations a step.

    guidance: "error_direction" with its order (2 or 3), "erk_guid" with w_stiff and w_con
    (arXiv 2603.03692), a rule of `stiffguide.guidance`, or None for k-diffusion's sample_heun.
    s_churn goes with guidance=None only.
    """
    call = SamplerCall(model, x, sigmas, extra_args, callback, disable)
    churn = Churn(s_churn, s_tmin, s_tmax, s_noise, noise_sampler, generator, seeds)
    rule = named_rule(guidance, order, w_stiff, w_con)
    return call.sample(diffusion.SAMPLERS["heun"], rule, churn, flow)


def sample_stiffguide_dpm2(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Mapping[str, Any] | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    guidance: str | Guidance | None = None,
    w_stiff: float = 1.0,
    w_con: float = 0.5,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
    noise_sampler: NoiseSampler | None = None,
    generator: torch.Generator | None = None,
    seeds: Sequence[int] | Tensor | None = None,
    flow: bool = False,
) -> Tensor:
    """DPM-Solver-2 (Lu et al., arXiv 2206.00927): two evaluations a step.

    guidance: "erk_guid" with w_stiff and w_con, or None for k-diffusion's sample_dpm_2.
    """
    call = SamplerCall(model, x, sigmas, extra_args, callback, disable)
    churn = Churn(s_churn, s_tmin, s_tmax, s_noise, noise_sampler, generator, seeds)
    rule = named_rule(guidance, 2, w_stiff, w_con)
    return call.sample(diffusion.SAMPLERS["dpm2"], rule, churn, flow)


def sample_stiffguide_euler(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Mapping[str, Any] | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
    noise_sampler: NoiseSampler | None = None,
    generator: torch.Generator | None = None,
    seeds: Sequence[int] | Tensor | None = None,
    flow: bool = False,
) -> Tensor:
    """Euler's method in sigma, which is DDIM."""
    call = SamplerCall(model, x, sigmas, extra_args, callback, disable)
    churn = Churn(s_churn, s_tmin, s_tmax, s_noise, noise_sampler, generator, seeds)
    return call.sample(diffusion.SAMPLERS["euler"], None, churn, flow)


def sample_stiffguide_deis3(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Mapping[str, Any] | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    guidance: str | Guidance | None = None,
    w_stiff: float = 1.0,
    w_con: float = 0.5,
    flow: bool = False,
) -> Tensor:
    """DEIS through three points (Zhang and Chen, arXiv 2204.13902): one evaluation a step.

    guidance: "erk_guid" with w_stiff and w_con, or None.
    """
    call = SamplerCall(model, x, sigmas, extra_args, callback, disable)
    rule = named_rule(guidance, 2, w_stiff, w_con)
    return call.sample(diffusion.SAMPLERS["deis3"], rule, flow=flow)


def _plain(name: str, evaluations: str = "one evaluation") -> KSampler:
    """A sampler without options of its own."""

    def sampler(
        model: Model,
        x: Tensor,
        sigmas: Tensor,
        extra_args: Mapping[str, Any] | None = None,
        callback: Callback | None = None,
        disable: bool | None = None,
        *,
        flow: bool = False,
    ) -> Tensor:
        call = SamplerCall(model, x, sigmas, extra_args, callback, disable)
        return call.sample(diffusion.SAMPLERS[name], flow=flow)

    sampler.__name__ = sampler.__qualname__ = f"sample_stiffguide_{name}"
    sampler.__doc__ = f"`{name}` of `stiffguide.adapters.diffusion`: {evaluations} a step."
    return sampler


sample_stiffguide_dpmpp_2s: KSampler = _plain("dpmpp_2s", "two evaluations")
sample_stiffguide_dpmpp_2m: KSampler = _plain("dpmpp_2m")
sample_stiffguide_dpmpp_3m: KSampler = _plain("dpmpp_3m")
sample_stiffguide_exponential_adams2: KSampler = _plain("exponential_adams2")
sample_stiffguide_exponential_adams3: KSampler = _plain("exponential_adams3")
sample_stiffguide_unipc2: KSampler = _plain("unipc2")
sample_stiffguide_unipc3: KSampler = _plain("unipc3")
sample_stiffguide_ipndm4: KSampler = _plain("ipndm4")
sample_stiffguide_emg_lagged: KSampler = _plain("emg_lagged")

SAMPLERS: dict[str, KSampler] = {
    function.__name__.removeprefix("sample_"): function
    for function in (
        sample_stiffguide_emg,
        sample_stiffguide_heun,
        sample_stiffguide_dpm2,
        sample_stiffguide_euler,
        sample_stiffguide_deis3,
        sample_stiffguide_dpmpp_2s,
        sample_stiffguide_dpmpp_2m,
        sample_stiffguide_dpmpp_3m,
        sample_stiffguide_exponential_adams2,
        sample_stiffguide_exponential_adams3,
        sample_stiffguide_unipc2,
        sample_stiffguide_unipc3,
        sample_stiffguide_ipndm4,
        sample_stiffguide_emg_lagged,
        sample_stiffguide_adaptive,
        sample_stiffguide_euler_cfg_pp,
        sample_stiffguide_dpmpp_2m_cfg_pp,
    )
} | NOISY_SAMPLERS
"""Every function by its name without `sample_`."""
