"""Schedulers for Hugging Face diffusers, and `sample_pipeline` for samplers that are none."""

try:
    # diffusers looks for it here when it loads a pipeline that was saved with one of these
    from diffusers import SchedulerMixin as SchedulerMixin
except ImportError as error:
    raise ImportError(
        "stiffguide.adapters.diffusers needs Hugging Face diffusers: "
        "pip install 'stiffguide[diffusers]'"
    ) from error

from stiffguide.adapters.diffusers.flow_heun import StiffguideFlowMatchHeunScheduler
from stiffguide.adapters.diffusers.heun import StiffguideHeunScheduler
from stiffguide.adapters.diffusers.multistep import StiffguideMultistepScheduler
from stiffguide.adapters.diffusers.pipeline import sample_pipeline

__all__ = [
    "StiffguideFlowMatchHeunScheduler",
    "StiffguideHeunScheduler",
    "StiffguideMultistepScheduler",
    "sample_pipeline",
]
