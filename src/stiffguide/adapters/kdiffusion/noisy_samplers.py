"""The samplers with noise on the way, by k-diffusion's names and with its arguments.

x is (B, ...), already scaled by sigmas[0]; sigmas (N + 1,) fall and usually end in 0.
`eta` is how much, 1 by default; 0 is the sampler of the flow. `s_noise` is a factor on it. Noise
comes from `noise_sampler(sigma, sigma_next)`, of unit variance, as from a torch `generator`, as the
`Brownian` motions of `seeds`, one a row, or from torch. What else there is to say stands in
`samplers`. With the same noise each agrees with k-diffusion's function of its name, if it has one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from stiffguide.adapters import diffusion
from stiffguide.adapters.diffusion.watch import Callback
from stiffguide.adapters.kdiffusion.churn import Churn, NoiseSampler
from stiffguide.adapters.kdiffusion.sampler_call import Model, SamplerCall
from stiffguide.errors import InputError

KSampler = Callable[..., Tensor]
SOLVERS = {"midpoint": "dpmpp_2m", "heun": "exponential_adams2"}


def sample_stiffguide_dpmpp_2m_sde(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Mapping[str, Any] | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    eta: float = 1.0,
    s_noise: float = 1.0,
    noise_sampler: NoiseSampler | None = None,
    solver_type: str = "midpoint",
    *,
    generator: torch.Generator | None = None,
    seeds: Sequence[int] | Tensor | None = None,
    flow: bool = False,
) -> Tensor:
    """DPM-Solver++ 2M for the reverse SDE (arXiv 2211.01095): one evaluation a step.

    solver_type: "midpoint" is `dpmpp_2m` with noise, "heun" `exponential_adams2`.

    Raises InputError for a solver_type that is none.
    """
    if solver_type not in SOLVERS:
        raise InputError(f"solver_type is one of {', '.join(SOLVERS)}, not {solver_type!r}")
    call = SamplerCall(model, x, sigmas, extra_args, callback, disable)
    noise = Churn(
        s_noise=s_noise, noise_sampler=noise_sampler, generator=generator, seeds=seeds, eta=eta
    )
    return call.sample(diffusion.SAMPLERS[SOLVERS[solver_type]], None, noise, flow)


def _noisy(name: str, method: str, evaluations: str) -> KSampler:
    """A sampler of the package with noise by default."""

    def sampler(
        model: Model,
        x: Tensor,
        sigmas: Tensor,
        extra_args: Mapping[str, Any] | None = None,
        callback: Callback | None = None,
        disable: bool | None = None,
        eta: float = 1.0,
        s_noise: float = 1.0,
        noise_sampler: NoiseSampler | None = None,
        *,
        generator: torch.Generator | None = None,
        seeds: Sequence[int] | Tensor | None = None,
        flow: bool = False,
    ) -> Tensor:
        call = SamplerCall(model, x, sigmas, extra_args, callback, disable)
        noise = Churn(
            s_noise=s_noise, noise_sampler=noise_sampler, generator=generator, seeds=seeds, eta=eta
        )
        return call.sample(diffusion.SAMPLERS[method], None, noise, flow)

    sampler.__name__ = sampler.__qualname__ = f"sample_stiffguide_{name}"
    sampler.__doc__ = (
        f"`{method}` of `stiffguide.adapters.diffusion` with eta: {evaluations} a step."
    )
    return sampler


sample_stiffguide_euler_ancestral: KSampler = _noisy("euler_ancestral", "euler", "one evaluation")
sample_stiffguide_dpm2_ancestral: KSampler = _noisy("dpm2_ancestral", "dpm2", "two evaluations")
sample_stiffguide_dpmpp_2s_ancestral: KSampler = _noisy(
    "dpmpp_2s_ancestral", "dpmpp_2s", "two evaluations"
)
sample_stiffguide_dpmpp_sde: KSampler = _noisy("dpmpp_sde", "dpmpp_sde", "two evaluations")
sample_stiffguide_dpmpp_3m_sde: KSampler = _noisy("dpmpp_3m_sde", "dpmpp_3m", "one evaluation")
sample_stiffguide_unipc2_sde: KSampler = _noisy("unipc2_sde", "unipc2", "one evaluation")
sample_stiffguide_emg_sde: KSampler = _noisy("emg_sde", "emg", "one evaluation")

NOISY_SAMPLERS: dict[str, KSampler] = {
    function.__name__.removeprefix("sample_"): function
    for function in (
        sample_stiffguide_euler_ancestral,
        sample_stiffguide_dpm2_ancestral,
        sample_stiffguide_dpmpp_2s_ancestral,
        sample_stiffguide_dpmpp_sde,
        sample_stiffguide_dpmpp_2m_sde,
        sample_stiffguide_dpmpp_3m_sde,
        sample_stiffguide_unipc2_sde,
        sample_stiffguide_emg_sde,
    )
}
"""Those with noise on the way, by their names without `sample_`."""
