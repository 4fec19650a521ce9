"""Samplers with the calling convention of k-diffusion: `sample_xxx(model, x, sigmas, ...)`.

`SAMPLERS` has every one of them by its name without `sample_`, `NOISY_SAMPLERS` those with noise on
the way. Read `samplers` (the functions), `noisy_samplers`, `sampler_call` (what they share),
`state_form` (flows, as they are or in VE form), `churn` (where noise comes from); `adaptive`
has the one that chooses its own steps, `cfg_pp` CFG++, which needs `post_cfg`.
Nothing here imports k_diffusion; of the adapters, only `diffusion` may be imported.
"""

from stiffguide.adapters.kdiffusion.adaptive import sample_stiffguide_adaptive
from stiffguide.adapters.kdiffusion.cfg_pp import (
    sample_stiffguide_dpmpp_2m_cfg_pp,
    sample_stiffguide_euler_cfg_pp,
)
from stiffguide.adapters.kdiffusion.noisy_samplers import (
    NOISY_SAMPLERS,
    sample_stiffguide_dpm2_ancestral,
    sample_stiffguide_dpmpp_2m_sde,
    sample_stiffguide_dpmpp_2s_ancestral,
    sample_stiffguide_dpmpp_3m_sde,
    sample_stiffguide_dpmpp_sde,
    sample_stiffguide_emg_sde,
    sample_stiffguide_euler_ancestral,
    sample_stiffguide_unipc2_sde,
)
from stiffguide.adapters.kdiffusion.samplers import (
    SAMPLERS,
    sample_stiffguide_deis3,
    sample_stiffguide_dpm2,
    sample_stiffguide_dpmpp_2m,
    sample_stiffguide_dpmpp_2s,
    sample_stiffguide_dpmpp_3m,
    sample_stiffguide_emg,
    sample_stiffguide_emg_lagged,
    sample_stiffguide_euler,
    sample_stiffguide_exponential_adams2,
    sample_stiffguide_exponential_adams3,
    sample_stiffguide_heun,
    sample_stiffguide_ipndm4,
    sample_stiffguide_unipc2,
    sample_stiffguide_unipc3,
)

__all__ = [
    "NOISY_SAMPLERS",
    "SAMPLERS",
    "sample_stiffguide_adaptive",
    "sample_stiffguide_deis3",
    "sample_stiffguide_dpm2",
    "sample_stiffguide_dpm2_ancestral",
    "sample_stiffguide_dpmpp_2m",
    "sample_stiffguide_dpmpp_2m_cfg_pp",
    "sample_stiffguide_dpmpp_2m_sde",
    "sample_stiffguide_dpmpp_2s",
    "sample_stiffguide_dpmpp_2s_ancestral",
    "sample_stiffguide_dpmpp_3m",
    "sample_stiffguide_dpmpp_3m_sde",
    "sample_stiffguide_dpmpp_sde",
    "sample_stiffguide_emg",
    "sample_stiffguide_emg_lagged",
    "sample_stiffguide_emg_sde",
    "sample_stiffguide_euler",
    "sample_stiffguide_euler_ancestral",
    "sample_stiffguide_euler_cfg_pp",
    "sample_stiffguide_exponential_adams2",
    "sample_stiffguide_exponential_adams3",
    "sample_stiffguide_heun",
    "sample_stiffguide_ipndm4",
    "sample_stiffguide_unipc2",
    "sample_stiffguide_unipc2_sde",
    "sample_stiffguide_unipc3",
]
