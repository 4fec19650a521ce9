"""EMG as a scheduler: one model call a step, for any prediction, for images and video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from diffusers.configuration_utils import register_to_config
from numpy.typing import NDArray
from torch import Tensor

from stiffguide.adapters.diffusers.configuration import (
    COMPATIBLE,
    Configuration,
    as_flow_prediction,
)
from stiffguide.adapters.diffusers.flow_shift import FlowShift
from stiffguide.adapters.diffusers.given_time import refuse_parts
from stiffguide.adapters.diffusers.multistep_grid import MultistepGrid
from stiffguide.adapters.diffusers.pipeline_state import PipelineStateForm
from stiffguide.adapters.diffusers.resumed_run import one_a_step, rehearsed
from stiffguide.adapters.diffusers.scheduler_base import SchedulerBase
from stiffguide.adapters.diffusers.step_output import StepOutput
from stiffguide.adapters.diffusers.thresholding import thresholded
from stiffguide.adapters.diffusers.trained_schedule import (
    Betas,
    TrainedSchedule,
    chosen_grid,
    is_continuous,
)
from stiffguide.adapters.diffusion.emg import Emg
from stiffguide.adapters.diffusion.sampler import Sampler
from stiffguide.errors import InputError

Array = NDArray[np.float64]
GRIDS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas")


class StiffguideMultistepScheduler(SchedulerBase):
    """EMG, in place of `DPMSolverMultistepScheduler` and `UniPCMultistepScheduler`.

    One model call a step. points: of EMG, 2, 3, or None for 3 from nine steps on. sigma_grid: a
    grid by name ("mix", "karras", "exponential", "linear", "quadratic", "beta") over the levels
    that the model knows, whatever the `use_..._sigmas` say. Of "mix" are `center`, the sigma/alpha
    where its bump lies, or `sigma_data`, twice that; without both it is "karras", and the log says
    how to measure the center. The other keys are those of the two schedulers, as far as they
    describe model and grid; those that describe a solver have no meaning here.
    """

    __module__ = "stiffguide.adapters.diffusers"  # what a saved pipeline imports
    _compatibles = COMPATIBLE
    order: int = 1

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: Sequence[float] | NDArray[Any] | None = None,
        prediction_type: str = "epsilon",
        thresholding: bool = False,
        dynamic_thresholding_ratio: float = 0.995,
        sample_max_value: float = 1.0,
        use_karras_sigmas: bool = False,
        use_exponential_sigmas: bool = False,
        use_beta_sigmas: bool = False,
        use_lu_lambdas: bool = False,
        use_flow_sigmas: bool = False,
        flow_shift: float = 1.0,
        final_sigmas_type: str = "zero",
        lambda_min_clipped: float = -float("inf"),
        variance_type: str | None = None,
        timestep_spacing: str = "linspace",
        steps_offset: int = 0,
        rescale_betas_zero_snr: bool = False,
        use_dynamic_shifting: bool = False,
        time_shift_type: str = "exponential",
        sigma_min: float | None = None,
        sigma_max: float | None = None,
        shift_terminal: float | None = None,
        snr_shift_scale: float = 1.0,
        timestep_type: str = "discrete",
        clip_sample: bool = False,
        clip_sample_range: float = 1.0,
        sigma_grid: str | None = None,
        sigma_data: float | None = None,
        center: float | None = None,
        points: int | None = None,
    ) -> None:
        self._read(self.config)
        self.init_noise_sigma: float = 1.0
        self._sampler: Sampler = Emg(points)
        times, levels = self._grid.trained()
        self._visit(times, levels, None, counted=False)
        self.num_inference_steps = None

    def _read(self, c: Any) -> None:
        """What the configuration says of the model, and of the levels to visit."""
        flow = c.use_flow_sigmas or c.prediction_type == "flow_prediction"
        self._form = PipelineStateForm("flow" if flow else "vp", c.prediction_type)
        betas = Betas.of(c)
        self.betas: Tensor = betas.values()
        self.alphas: Tensor = 1.0 - self.betas
        self.alphas_cumprod: Tensor = betas.kept(self.betas)
        shift = (c.flow_shift, c.use_dynamic_shifting, c.time_shift_type, c.shift_terminal)
        self._grid = MultistepGrid(
            schedule=TrainedSchedule(
                self.alphas_cumprod,
                c.lambda_min_clipped,
                is_continuous(c.timestep_type, c.prediction_type),
            ),
            flow=flow,
            shift=FlowShift(*shift),
            named=_named(c),
            spacing=c.timestep_spacing,
            offset=c.steps_offset,
            final=c.final_sigmas_type,
            ends=(c.sigma_min, c.sigma_max),
            sigma_data=c.sigma_data,
            center=c.center,
        )

    @classmethod
    def _understood(cls, words: dict[str, Any], given: Configuration) -> dict[str, Any]:
        words = {**as_flow_prediction(words, given), **given}
        if given.get("sigma_grid") is not None:  # in the place of the grid that there was
            words.update({flag: False for flag in GRIDS if flag not in given})
        elif any(given.get(flag) for flag in GRIDS):
            words["sigma_grid"] = given.get("sigma_grid")
        return words

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
        timesteps: Sequence[float] | None = None,
    ) -> None:
        """Lay out a run of n steps.

        sigmas: levels of the caller's. For flow matching (n,), shifted as the configuration says;
        otherwise sigma/alpha (n + 1,) with the one where the run ends. timesteps (n,): times of
        the caller's; in flow matching with sigmas, what the model is told there. mu: the shift of
        flow matching where it depends on the size of an image.

        Raises InputError where none of these is given, or two that exclude each other.
        """
        if num_inference_steps is None and timesteps is None and sigmas is None:
            raise InputError("pass num_inference_steps, timesteps or sigmas")
        if timesteps is not None and num_inference_steps is not None:
            raise InputError("timesteps of your own exclude num_inference_steps")
        if timesteps is not None:
            times, levels = self._grid.at(timesteps, mu, sigmas)
        elif sigmas is not None:
            times, levels = self._grid.through(sigmas, mu)
        else:
            times, levels = self._grid.own(num_inference_steps, mu)
        counted = num_inference_steps is None
        self._visit(times, levels, device, counted=counted)
        self.num_inference_steps = len(levels) - 1

    def use(self, sampler: Sampler) -> None:
        """Drive another sampler of `adapters.diffusion`, from the next `set_timesteps` on.

        With as many calls a step as it makes: `timesteps` and `order` grow by that.
        """
        self._sampler = sampler
        in_noise = isinstance(sampler, Emg) or getattr(sampler, "carrier", "") == "data"
        if self._form.kind != "vp":
            self._form = replace(self._form, kind="flow" if in_noise else "line")

    def _visit(self, times: Array, levels: Array, device: Any, *, counted: bool) -> None:
        nodes = levels.astype(np.float32).tolist()
        visited = self._form.levels(nodes)
        if isinstance(self._sampler, Emg):
            calls = one_a_step(visited)
        else:
            calls = rehearsed(self._sampler, visited)
        sigmas = [nodes[c.step] if c.first else self._form.sigma(c.level) for c in calls]
        self.sigmas: Tensor = torch.tensor([*sigmas, nodes[-1]], dtype=torch.float32)
        at_node = dict(zip(visited, times.tolist(), strict=False))
        told = [
            at_node[c.level] if c.level in at_node else self._grid.time(s, c.step, nodes, times)
            for c, s in zip(calls, sigmas, strict=True)
        ]
        at = torch.tensor(np.array(told), dtype=torch.float32)
        if self._form.kind == "vp" and not self._grid.schedule.continuous and _whole(told):
            at = at.to(torch.int64)  # the numbers of entries, for programs that index with them
        self._lay_out(calls, visited, at, device, counted=counted)
        if not counted:
            # what pipelines multiply a number of steps with to find a call
            self.order = sum(call.step == 0 for call in calls)

    def _elsewhere(self, time: float, times: Tensor) -> int:
        # multistep schedulers have whole timesteps, and callers that round
        return int((times - time).abs().argmin())

    def scale_model_input(self, sample: Tensor, timestep: float | Tensor | None = None) -> Tensor:
        """The sample (B, ...) itself: the state is the one that the model was trained on."""
        return sample

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_dict: bool = True,
        per_token_timesteps: Tensor | None = None,
    ) -> StepOutput | tuple[Tensor]:
        """The sample (B, ...) for the next call, after the model's output at this one.

        Shapes and dtype as the sample's; half precision is computed in float32. generator is taken
        and not used: no noise is added. With return_dict=False the tuple (prev_sample,).

        Raises InputError before `set_timesteps` was called.
        """
        refuse_parts(per_token_timesteps)
        if self.num_inference_steps is None:
            raise InputError("call set_timesteps before step: the scheduler has no run laid out")
        if self.config["variance_type"] in ("learned", "learned_range"):
            model_output = model_output[:, : sample.shape[1]]
        ahead, x0 = self._take(model_output, timestep, sample)
        return StepOutput(prev_sample=ahead, pred_original_sample=x0) if return_dict else (ahead,)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Alpha x0 + sigma noise (B, ...) at the levels of timesteps, () or (B,)."""
        return self._noisy(original_samples, noise, timesteps)

    def scale_noise(
        self, sample: Tensor, timestep: float | Tensor, noise: Tensor | None = None
    ) -> Tensor:
        """As `add_noise`, (B, ...), in the order of arguments that flow-matching pipelines use."""
        return self._noisy(sample, noise, timestep)

    def _level_at(self, time: float) -> float:
        return self._form.levels([self._grid.sigma_at(time)])[0]

    def _bounded(self, x0: Tensor) -> Tensor:
        c: Any = self.config
        if c.thresholding:
            return thresholded(x0, c.dynamic_thresholding_ratio, c.sample_max_value)
        return x0.clamp(-c.clip_sample_range, c.clip_sample_range) if c.clip_sample else x0


def _whole(times: Sequence[float]) -> bool:
    return all(float(time).is_integer() for time in times)


def _named(c: Any) -> str | None:
    """The grid that a configuration names; raises InputError where it names two."""
    karras, exponential, beta, lu = (c[flag] for flag in GRIDS)
    flagged = chosen_grid(karras, exponential, beta, lu)
    if not isinstance(c.sigma_grid, str | None):
        raise InputError(f"sigma_grid is the name of a grid, not {c.sigma_grid!r}")
    if c.sigma_grid and flagged and c.sigma_grid != flagged:
        flags = " and ".join(flag for flag in GRIDS if c[flag])
        raise InputError(
            f"sigma_grid = {c.sigma_grid!r} and {flags} = True name two grids: leave one out"
        )
    named: str | None = c.sigma_grid or flagged
    return named
