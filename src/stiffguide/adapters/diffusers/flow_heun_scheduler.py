"""Heun's method with guidance for flow matching: FLUX, SD3 and their like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers.configuration_utils import register_to_config
from numpy.typing import NDArray
from torch import Tensor

from stiffguide.adapters.diffusers.configuration import Configuration, as_shift
from stiffguide.adapters.diffusers.flow_shift import FlowShift, from_noise_to_data
from stiffguide.adapters.diffusers.given_time import refuse_index, refuse_parts
from stiffguide.adapters.diffusers.pipeline_state import PipelineStateForm
from stiffguide.adapters.diffusers.resumed_run import two_a_step
from stiffguide.adapters.diffusers.scheduler_base import SchedulerBase, step_count
from stiffguide.adapters.diffusers.step_output import StepOutput
from stiffguide.adapters.diffusers.trained_schedule import (
    check_training,
    chosen_grid,
    spread_levels,
)
from stiffguide.adapters.diffusion.heun import Heun
from stiffguide.adapters.diffusion.named_rules import named_rule
from stiffguide.errors import InputError

Array = NDArray[np.float64]


class StiffguideFlowMatchHeunScheduler(SchedulerBase):
    """Heun's method with guidance, in place of the flow-matching Euler and Heun schedulers.

    Two model calls a step, one in the last. guidance and its keys are those of
    `StiffguideHeunScheduler`, the others those of `FlowMatchEulerDiscreteScheduler`. It integrates
    dx/dsigma = v in sigma from 1 to 0, so that pure noise is a level like any other; rules act in
    that variable, and a `w_con` is one of 1/sigma there.
    """

    sigma_max: float
    sigma_min: float

    __module__ = "stiffguide.adapters.diffusers"  # what a saved pipeline imports
    _compatibles = [  # noqa: RUF012
        "FlowMatchEulerDiscreteScheduler",
        "FlowMatchHeunDiscreteScheduler",
    ]
    order = 2

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        shift: float = 1.0,
        use_dynamic_shifting: bool = False,
        base_shift: float | None = 0.5,
        max_shift: float | None = 1.15,
        base_image_seq_len: int = 256,
        max_image_seq_len: int = 4096,
        invert_sigmas: bool = False,
        shift_terminal: float | None = None,
        use_karras_sigmas: bool = False,
        use_exponential_sigmas: bool = False,
        use_beta_sigmas: bool = False,
        time_shift_type: str = "exponential",
        guidance: str | None = "error_direction",
        guidance_order: int = 2,
        w_stiff: float = 1.0,
        w_con: float = 0.5,
    ) -> None:
        self._grid_name = chosen_grid(use_karras_sigmas, use_exponential_sigmas, use_beta_sigmas)
        self._form = PipelineStateForm("line", "flow_prediction")
        rule = named_rule(guidance, guidance_order, w_stiff, w_con)
        self._sampler = Heun() if rule is None else Heun().bind(rule)
        self._shift = FlowShift(shift, use_dynamic_shifting, time_shift_type, shift_terminal)
        check_training(num_train_timesteps)
        steps = num_train_timesteps
        trained = np.linspace(steps, 1, steps) / steps
        trained = trained if use_dynamic_shifting else self._shift.once(trained)
        self.sigma_max, self.sigma_min = float(trained[0]), float(trained[-1])
        self._visit(trained, None, None, counted=False)
        self.num_inference_steps = None

    @classmethod
    def _understood(cls, words: dict[str, Any], given: Configuration) -> dict[str, Any]:
        return as_shift(words, given, "StiffguideHeunScheduler")

    @property
    def shift(self) -> float:
        """The static shift."""
        return self._shift.static

    def set_shift(self, shift: float) -> None:
        """Another static shift, from the next `set_timesteps` on."""
        c: Any = self.config
        self._shift = FlowShift(shift, c.use_dynamic_shifting, c.time_shift_type, c.shift_terminal)

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
        timesteps: Sequence[float] | None = None,
    ) -> None:
        """Lay out a run of n steps, the last of which goes to 0.

        sigmas (n,): levels of the caller's, which are then shifted as the configuration says. mu:
        the shift where it depends on the size of an image. timesteps (n,): the times that the
        model is told; without sigmas the levels are theirs over `num_train_timesteps`, shifted too.
        """
        steps = self.config["num_train_timesteps"]
        n = _count(num_inference_steps, sigmas, timesteps)
        times = None if timesteps is None else from_noise_to_data(timesteps, "timesteps")
        if sigmas is not None:
            given = from_noise_to_data(sigmas, "sigmas")
        elif times is not None:
            given = times / steps
        else:
            given = np.linspace(self.sigma_max, self.sigma_min, n)
        levels = self._shift(given, mu)
        if self._grid_name is not None:
            low, high = self.config.get("sigma_min"), self.config.get("sigma_max")
            low = float(levels[-1]) if low is None else low
            high = float(levels[0]) if high is None else high
            levels = spread_levels(self._grid_name, n, low, high)
        counted = sigmas is not None or timesteps is not None
        self._visit(levels, times, device, counted=counted)
        self.num_inference_steps = n

    def _visit(self, levels: Array, times: Array | None, device: Any, *, counted: bool) -> None:
        visited = np.append(levels, 0.0).astype(np.float32)
        if float(visited.max()) > 1:
            raise InputError(
                f"sigmas of flow matching lie in [0, 1], and these reach {visited.max():g}"
            )
        calls = two_a_step(visited.tolist())
        inverted = self.config["invert_sigmas"]
        at = torch.tensor([*(call.level for call in calls), 0.0], dtype=torch.float32)
        self.sigmas: Tensor = 1 - at if inverted else at
        told = self.sigmas[:-1] * self.config["num_train_timesteps"]
        if times is not None and not inverted:
            steps = [call.step if call.first else call.step + 1 for call in calls]
            told = torch.tensor(times[steps], dtype=torch.float32)
        self._lay_out(calls, visited.tolist(), told, device, counted=counted)

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        return_dict: bool = True,
        per_token_timesteps: Tensor | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
    ) -> StepOutput | tuple[Tensor]:
        """The sample (B, ...) for the next call, after the model's velocity at this one.

        Shapes and dtype as the sample's; half precision is computed in float32. generator is taken
        and not used: no noise is added. With return_dict=False the tuple (prev_sample,).
        """
        refuse_parts(per_token_timesteps)
        refuse_index(timestep)
        velocity = -model_output if self.config["invert_sigmas"] else model_output
        ahead, x0 = self._take(velocity, timestep, sample)
        return StepOutput(prev_sample=ahead, pred_original_sample=x0) if return_dict else (ahead,)

    def scale_noise(
        self, sample: Tensor, timestep: float | Tensor, noise: Tensor | None = None
    ) -> Tensor:
        """(1 - s) sample + s noise (B, ...), s the share of noise at timestep () or (B,)."""
        return self._noisy(sample, noise, timestep)

    def _level_at(self, time: float) -> float:
        level: float = time / self.config["num_train_timesteps"]
        return 1 - level if self.config["invert_sigmas"] else level


def _count(n: int | None, sigmas: Sequence[float] | None, timesteps: Sequence[float] | None) -> int:
    lengths = {len(given) for given in (sigmas, timesteps) if given is not None}
    if n is not None:
        lengths.add(step_count(n))
    if len(lengths) != 1:
        raise InputError(
            "pass num_inference_steps, sigmas or timesteps, and several only if they agree in "
            f"length; got lengths {sorted(lengths)}"
        )
    return lengths.pop()
