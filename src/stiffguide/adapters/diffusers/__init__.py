"""Schedulers for Hugging Face diffusers, and `sample_pipeline` for samplers that are none.

Read `scheduler_base` (what `step` does) and `resumed_run` (a sampler that waits for a pipeline's
next call), then `heun_scheduler`, `flow_heun_scheduler` and `multistep_scheduler` with its
`multistep_grid`. What a configuration says: `source_keys`, `configuration`, `pipeline_state`,
`trained_schedule`, `flow_shift`; what a step is told: `given_time`. Only here may diffusers be
imported; of the adapters, only `diffusion`.
"""

try:
    # diffusers looks for it here when it loads a pipeline that was saved with one of these
    from diffusers import SchedulerMixin as SchedulerMixin
except ImportError as _error:
    raise ImportError(
        "stiffguide.adapters.diffusers needs Hugging Face diffusers: "
        "pip install 'stiffguide[diffusers]'"
    ) from _error

from stiffguide.adapters.diffusers.flow_heun_scheduler import StiffguideFlowMatchHeunScheduler
from stiffguide.adapters.diffusers.heun_scheduler import StiffguideHeunScheduler
from stiffguide.adapters.diffusers.multistep_scheduler import StiffguideMultistepScheduler
from stiffguide.adapters.diffusers.pipeline import sample_pipeline

__all__ = [
    "StiffguideFlowMatchHeunScheduler",
    "StiffguideHeunScheduler",
    "StiffguideMultistepScheduler",
    "sample_pipeline",
]
