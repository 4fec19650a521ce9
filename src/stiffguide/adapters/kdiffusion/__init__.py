"""Samplers with the calling convention of k-diffusion: `sample_xxx(model, x, sigmas, ...)`.

`SAMPLERS` has every one of them by its name without `sample_`. Nothing here imports k_diffusion.
"""

from stiffguide.adapters.kdiffusion.samplers import (
    SAMPLERS,
    sample_stiffguide_deis3,
    sample_stiffguide_dpm2,
    sample_stiffguide_dpmpp_2m,
    sample_stiffguide_dpmpp_3m,
    sample_stiffguide_emg,
    sample_stiffguide_euler,
    sample_stiffguide_exponential_adams2,
    sample_stiffguide_exponential_adams3,
    sample_stiffguide_heun,
    sample_stiffguide_ipndm4,
    sample_stiffguide_unipc2,
    sample_stiffguide_unipc3,
)

__all__ = [
    "SAMPLERS",
    "sample_stiffguide_deis3",
    "sample_stiffguide_dpm2",
    "sample_stiffguide_dpmpp_2m",
    "sample_stiffguide_dpmpp_3m",
    "sample_stiffguide_emg",
    "sample_stiffguide_euler",
    "sample_stiffguide_exponential_adams2",
    "sample_stiffguide_exponential_adams3",
    "sample_stiffguide_heun",
    "sample_stiffguide_ipndm4",
    "sample_stiffguide_unipc2",
    "sample_stiffguide_unipc3",
]
