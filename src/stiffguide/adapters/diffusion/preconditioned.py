"""Networks inside EDM's preconditioning: D = c_skip x + c_out F(c_in x, c_noise).

With s the deviation of the data (Karras et al., arXiv 2206.00364, table 1):

    c_skip = s^2/(sigma^2 + s^2),  c_out = sigma s/sqrt(sigma^2 + s^2),
    c_in = 1/sqrt(sigma^2 + s^2),  c_noise = log(sigma)/4.

A model that holds all this, and is called with (x, sigma) for the denoised x, is a denoiser as it
is. For s = 1 the network predicts -v, in the time of `LogTime`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.prediction import Denoiser, Network
from stiffguide.errors import InputError
from stiffguide.tensors import rows


def preconditioned(
    net: Network, sigma_data: float = 0.5, *, dtype: torch.dtype | None = None
) -> Denoiser:
    """The denoiser(x, sigma (B,)) -> x0 of the network F(c_in x, c_noise (B,)) inside of EDM's.

    dtype: what the network computes in; c_noise comes in float32 or better, and x0 is put together
    in the dtype of x. A sigma (B, T) gives every token of x (B, T, ...) its own.

    Raises InputError unless sigma_data is positive and finite.
    """
    if not 0 < sigma_data < math.inf:
        raise InputError(f"sigma_data must be positive and finite, not {sigma_data}")

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        level = rows(sigma.to(torch.float64), x)
        root = torch.sqrt(level**2 + sigma_data**2)
        given = x * (1 / root).to(x.dtype)
        noise = torch.log(sigma.to(torch.float64)) / 4
        told = noise.to(torch.promote_types(x.dtype, torch.float32))
        out = net(given if dtype is None else given.to(dtype), told).to(x.dtype)
        skip, scale = (sigma_data / root) ** 2, level * sigma_data / root
        return skip.to(x.dtype) * x + scale.to(x.dtype) * out

    return denoiser
