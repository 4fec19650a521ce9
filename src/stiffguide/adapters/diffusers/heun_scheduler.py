"""Heun's method with guidance, for models of noise, v or data on a discrete schedule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers.configuration_utils import register_to_config
from numpy.typing import NDArray
from torch import Tensor

from stiffguide.adapters.diffusers.configuration import COMPATIBLE, Configuration, refuse_flow
from stiffguide.adapters.diffusers.flow_shift import from_noise_to_data
from stiffguide.adapters.diffusers.given_time import refuse_parts
from stiffguide.adapters.diffusers.pipeline_state import PipelineStateForm
from stiffguide.adapters.diffusers.resumed_run import two_a_step
from stiffguide.adapters.diffusers.scheduler_base import SchedulerBase, step_count
from stiffguide.adapters.diffusers.step_output import StepOutput
from stiffguide.adapters.diffusers.trained_schedule import (
    Betas,
    TrainedSchedule,
    chosen_grid,
    is_continuous,
    spaced_times,
    spread_levels,
)
from stiffguide.adapters.diffusion.heun import Heun
from stiffguide.adapters.diffusion.named_rules import named_rule
from stiffguide.errors import InputError

Array = NDArray[np.float64]


class StiffguideHeunScheduler(SchedulerBase):
    """Heun's method with error-direction guidance, in place of `HeunDiscreteScheduler`.

    Two model calls a step, one in the last; guidance adds none. guidance: "error_direction" (of
    `guidance_order` 2 or 3, nothing to tune), "erk_guid" (with `w_stiff` and `w_con`), or None for
    plain Heun. The other keys are those of `HeunDiscreteScheduler`. The state is
    x0 + sigma eps, which a model is given through `scale_model_input`.
    """

    __module__ = "stiffguide.adapters.diffusers"  # what a saved pipeline imports
    _compatibles = COMPATIBLE
    order = 2
    _shown: Tensor | None  # what the model is given in the call that is due
    _scales: bool  # whether it ever was, in this run

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        beta_schedule: str = "linear",
        trained_betas: Sequence[float] | NDArray[Any] | None = None,
        prediction_type: str = "epsilon",
        use_karras_sigmas: bool = False,
        use_exponential_sigmas: bool = False,
        use_beta_sigmas: bool = False,
        clip_sample: bool = False,
        clip_sample_range: float = 1.0,
        timestep_spacing: str = "linspace",
        steps_offset: int = 0,
        rescale_betas_zero_snr: bool = False,
        snr_shift_scale: float = 1.0,
        timestep_type: str = "discrete",
        guidance: str | None = "error_direction",
        guidance_order: int = 2,
        w_stiff: float = 1.0,
        w_con: float = 0.5,
    ) -> None:
        betas = Betas.of(self.config)
        self._grid_name = chosen_grid(use_karras_sigmas, use_exponential_sigmas, use_beta_sigmas)
        self._form = PipelineStateForm("ve", prediction_type)
        rule = named_rule(guidance, guidance_order, w_stiff, w_con)
        self._sampler = Heun() if rule is None else Heun().bind(rule)
        self.betas: Tensor = betas.values()
        self.alphas: Tensor = 1.0 - self.betas
        self.alphas_cumprod: Tensor = betas.kept(self.betas)
        continuous = is_continuous(timestep_type, prediction_type)
        self._schedule = TrainedSchedule(self.alphas_cumprod, continuous=continuous)
        self.set_timesteps(num_train_timesteps, None, num_train_timesteps)

    @classmethod
    def _understood(cls, words: dict[str, Any], given: Configuration) -> dict[str, Any]:
        refuse_flow({**words, **given}, "StiffguideFlowMatchHeunScheduler")
        return words

    @property
    def init_noise_sigma(self) -> Tensor:
        """What unit noise is multiplied with to start."""
        largest = self.sigmas.max()
        if self.config["timestep_spacing"] in ("linspace", "trailing"):
            return largest
        return torch.sqrt(largest**2 + 1)

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        num_train_timesteps: int | None = None,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> None:
        """Lay out a run: of n steps by the configuration, or at times or levels of the caller's.

        timesteps (n,): the times of the steps; a last step goes to 0. sigmas (n + 1,): the levels,
        with the one where the run ends. Raises InputError unless just one of the three is given.
        """
        if mu is not None:
            raise InputError("mu shifts flow-matching schedules; this one has none: leave it out")
        if sum(given is not None for given in (num_inference_steps, timesteps, sigmas)) != 1:
            raise InputError("pass exactly one of num_inference_steps, timesteps and sigmas")
        if num_inference_steps is None and self._grid_name is not None:
            raise InputError(
                f"timesteps and sigmas of your own exclude use_{self._grid_name}_sigmas = True"
            )
        if sigmas is not None:
            levels = from_noise_to_data(sigmas, "sigmas")
            if len(levels) < 2:
                raise InputError("sigmas end with the level where the run ends: give two or more")
            times = self._schedule.time(levels)
        else:
            if num_inference_steps is None:
                assert timesteps is not None
                low = -math.inf if self._schedule.continuous else 0.0
                times = from_noise_to_data(timesteps, "timesteps", low)
                levels = self._schedule.level(times)
            else:
                times, levels = self._own(step_count(num_inference_steps), num_train_timesteps)
            levels = np.append(levels, 0.0)
        self._visit(times, levels.astype(np.float32), device, counted=num_inference_steps is None)

    def _own(self, n: int, train: int | None) -> tuple[Array, Array]:
        """Times and levels of the configuration's grid."""
        c: Any = self.config
        steps = train or c.num_train_timesteps
        times = spaced_times(n, steps, c.timestep_spacing, c.steps_offset, ended=False)
        # rounded as diffusers does, so that equal configurations visit equal levels
        levels = self._schedule.entry(times.astype(np.float32))
        if self._grid_name is None:
            return self._schedule.told(times), levels
        low, high = c.get("sigma_min"), c.get("sigma_max")  # of the scheduler it came from
        low = float(levels[-1]) if low is None else low
        high = float(levels[0]) if high is None else high
        levels = spread_levels(self._grid_name, n, low, high)
        return self._schedule.time(levels), levels

    def _visit(self, times: Array, levels: Array, device: Any, *, counted: bool) -> None:
        self.num_inference_steps: int = len(levels) - 1
        calls = two_a_step(levels.tolist())
        visited = torch.tensor([call.level for call in calls], dtype=torch.float32)
        self.sigmas: Tensor = torch.cat([visited, torch.tensor([float(levels[-1])])])
        twice = [times[call.step if call.first else call.step + 1] for call in calls]
        at = torch.tensor(np.array(twice), dtype=torch.float32)
        self._lay_out(calls, levels.tolist(), at, device, counted=counted)
        self._shown, self._scales = None, False

    def scale_model_input(self, sample: Tensor, timestep: float | Tensor) -> Tensor:
        """x/sqrt(sigma^2 + 1) of x (B, ...), what the model is given."""
        level = self._calls[self._begin(timestep)].level
        self._shown, self._scales = sample / math.hypot(level, 1.0), True
        return self._shown

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        return_dict: bool = True,
        per_token_timesteps: Tensor | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
    ) -> StepOutput | tuple[Tensor, Tensor]:
        """The sample (B, ...) for the next call, after the model's output at this one.

        Shapes and dtype as the sample's; half precision is computed in float32. generator is taken
        and not used: no noise is added. With return_dict=False the tuple (prev_sample,
        pred_original_sample). Raises InputError for a sample that is not the state of
        `scale_model_input`.
        """
        refuse_parts(per_token_timesteps)
        self._refuse_other_states(sample)
        self._shown = None
        ahead, x0 = self._take(model_output, timestep, sample)
        return (
            StepOutput(prev_sample=ahead, pred_original_sample=x0) if return_dict else (ahead, x0)
        )

    def _refuse_other_states(self, sample: Tensor) -> None:
        """Raise InputError where a pipeline has no state of this scheduler's kind."""
        if self._scales and sample is not self._shown:
            return
        what = (
            "step was given what the model was given, in place of the state"
            if self._scales
            else "the model was given the state as it is, not scale_model_input(sample, t)"
        )
        raise InputError(
            f"{what}: pipelines that do so, as those of DDPM, DiT, Kandinsky and Marigold, take "
            "StiffguideMultistepScheduler, or sample_pipeline with method='heun'"
        )

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """x0 + sigma noise at the levels of timesteps (B,)."""
        return self._noisy(original_samples, noise, timesteps)

    def _level_at(self, time: float) -> float:
        return float(self._schedule.level(np.array([time]))[0])

    def _bounded(self, x0: Tensor) -> Tensor:
        if not self.config["clip_sample"]:
            return x0
        limit = self.config["clip_sample_range"]
        return x0.clamp(-limit, limit)
