"""Any sampler of this package in a pipeline of diffusers, as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stiffguide.adapters.diffusers.multistep_scheduler import StiffguideMultistepScheduler
from stiffguide.adapters.diffusers.scheduler_base import init_keys
from stiffguide.adapters.diffusion.sample import SAMPLERS
from stiffguide.adapters.diffusion.sampler import Sampler
from stiffguide.errors import InputError
from stiffguide.stepping.contracts import Guidance


def sample_pipeline(
    pipe: Any,
    *args: Any,
    method: str | Sampler = "emg",
    guidance: Guidance | None = None,
    config: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> Any:
    """Call pipe(*args, **arguments) with a sampler in place of its scheduler; gives what it gives.

    method and guidance as in `adapters.diffusion.sample`. config: keys of
    `StiffguideMultistepScheduler` that say which levels are visited, {"sigma_grid": "mix"}, say;
    the rest comes from the pipeline's scheduler, which is put back afterwards.
    `num_inference_steps` counts steps; each makes the model calls that the sampler needs. Raises
    InputError if the pipeline has no scheduler, or a word of config is none.
    """
    before = getattr(pipe, "scheduler", None)
    if before is None or not hasattr(before, "config"):
        raise InputError(f"{type(pipe).__name__} has no scheduler to take the place of")
    if isinstance(method, str) and method not in SAMPLERS:
        raise InputError(f"no sampler is called {method!r}; there are {', '.join(SAMPLERS)}")
    sampler = SAMPLERS[method] if isinstance(method, str) else method
    sampler = sampler if guidance is None else sampler.bind(guidance)
    words = dict(config or {})
    if strange := sorted(set(words) - init_keys(StiffguideMultistepScheduler)):
        raise InputError(f"config: StiffguideMultistepScheduler has no {', '.join(strange)}")
    scheduler = StiffguideMultistepScheduler.from_config(before.config, **words)
    scheduler.use(sampler)
    pipe.scheduler = scheduler
    try:
        return pipe(*args, **arguments)
    finally:
        pipe.scheduler = before
