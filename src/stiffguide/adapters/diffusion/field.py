"""The probability-flow ODE of a denoiser as a vector field that `stiffguide.solve` takes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.adapters.diffusion.schedule import Schedule
from stiffguide.errors import InputError
from stiffguide.tensors import rows

VectorField = Callable[[Tensor, Tensor], Tensor]
CLOCKS = ("sigma", "log_snr", "t")


def denoiser_field(
    denoiser: Denoiser,
    clock: str = "sigma",
    schedule: Schedule | None = None,
    *,
    shape: tuple[int, ...] | None = None,
) -> VectorField:
    """f(t (B,), y (B, ...)) -> (B, ...), the probability flow in one of three clocks.

    "sigma": dx/dsigma = (x - D)/sigma. "log_snr": lambda = -log sigma, dx/dlambda = D - x. Both
    in VE form. "t": the time of a schedule, with the state x_t of that schedule:
    dx_t/dt = alpha' D + sigma' eps. shape: of one sample, where y comes flattened as (B, F).
    Solve with `batched=True`, from the noisy end to the clean one.

    Raises InputError for another clock, and for a schedule where the clock has no use for one.
    """
    if clock not in CLOCKS:
        raise InputError(f"clock is one of {', '.join(map(repr, CLOCKS))}, not {clock!r}")
    if (clock == "t") != (schedule is not None):
        raise InputError("clock 't' needs the schedule whose time it is; the others take none")

    def call(x: Tensor, sigma: Tensor) -> Tensor:
        shaped = x if shape is None else x.reshape(len(x), *shape)
        return denoiser(shaped, sigma).reshape(x.shape)

    def by_sigma(t: Tensor, y: Tensor) -> Tensor:
        sigma = t.to(y.dtype).expand(len(y))
        return (y - call(y, sigma)) / rows(sigma, y)

    def by_log_snr(t: Tensor, y: Tensor) -> Tensor:
        return call(y, torch.exp(-t).to(y.dtype).expand(len(y))) - y

    def by_time(t: Tensor, y: Tensor) -> Tensor:
        assert schedule is not None
        t = t.to(torch.float64).expand(len(y))
        parts = (schedule.alpha(t), schedule.sigma(t), schedule.d_alpha(t), schedule.d_sigma(t))
        alpha, sigma, d_alpha, d_sigma = (rows(part.to(y.dtype), y) for part in parts)
        x0 = call(y / alpha, schedule.level(t).to(y.dtype))
        return d_alpha * x0 + d_sigma * (y - alpha * x0) / sigma

    return {"sigma": by_sigma, "log_snr": by_log_snr, "t": by_time}[clock]
