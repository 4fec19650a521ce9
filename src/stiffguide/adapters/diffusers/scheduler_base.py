"""What the schedulers have in common: a sampler driven by the calls of a pipeline.

A scheduler here lays out three things in `set_timesteps`: the calls of the model that its sampler
will make, the times that the model is told, and the form of the pipeline's state. `step` only
converts, hands the value to the sampler, and converts back. All numbers that depend on the grid
are numbers of the host, so that no step waits for the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from stiffguide.adapters.diffusers.configuration import (
    Configuration,
    chosen,
    completed,
    refuse_model,
    refuse_options,
    sorted_out,
    warn_of_left_out,
)
from stiffguide.adapters.diffusers.given_time import (
    HALVES,
    one_time,
    precision,
    refuse_unexpected,
    rounded,
    view_place,
)
from stiffguide.adapters.diffusers.pipeline_state import Conversion, PipelineStateForm
from stiffguide.adapters.diffusers.resumed_run import (
    ModelCall,
    ResumedRun,
    euler,
    refuse_part_of_a_step,
)
from stiffguide.adapters.diffusers.source_keys import ASIDES
from stiffguide.adapters.diffusion.heun import Heun
from stiffguide.adapters.diffusion.sampler import Sampler
from stiffguide.adapters.diffusion.stretches import stretches
from stiffguide.errors import InputError, UnsupportedError


class SchedulerBase(SchedulerMixin, ConfigMixin):  # type: ignore[misc]  # both name a config file
    """The part of a diffusers scheduler that does not depend on what it samples."""

    order: int  # an instance may count otherwise than its class, see `_lay_out`
    timesteps: Tensor
    sigmas: Tensor
    num_inference_steps: int | None
    _form: PipelineStateForm
    _sampler: Sampler
    _levels: list[float]
    _told: list[float]  # the times of the calls
    _calls: tuple[ModelCall, ...]
    _visited: list[float]  # the levels of the calls, and the last
    _conversions: tuple[Conversion, ...]
    _run: ResumedRun | None
    _due: int  # the call that the run waits for
    _step_index: int | None
    _begin_index: int | None

    @classmethod
    def from_config(
        cls, config: Any = None, return_unused_kwargs: bool = False, **kwargs: Any
    ) -> Any:
        """A scheduler from the configuration of another, as diffusers makes them.

        What describes model and grid is taken over, what describes a solver is not. Raises
        InputError where the old scheduler's model cannot be sampled (see `source_keys`), or an
        option is none; warns of what else is left out.
        """
        if not isinstance(config, Mapping):
            return super().from_config(config, return_unused_kwargs, **kwargs)
        own, ours = init_keys(cls), cls.__name__
        if not return_unused_kwargs:
            refuse_options(ours, kwargs, own | ASIDES)
        asides = {key: kwargs.pop(key) for key in ASIDES - own if key in kwargs}
        words = chosen({**completed(config), **asides}, *asides)
        refuse_model({**words, **kwargs}, ours, own)
        given = {key: value for key, value in kwargs.items() if key in own}
        understood = cls._understood(words, given)
        warn_of_left_out(understood, ours, own)
        words, others = sorted_out(understood, own)
        made: Any = super().from_config(words, return_unused_kwargs, **kwargs)
        # as diffusers does between its own: the way back finds them again
        (made[0] if return_unused_kwargs else made).register_to_config(**others)
        return made

    @classmethod
    def _understood(cls, words: dict[str, Any], given: Configuration) -> dict[str, Any]:
        """A configuration in this scheduler's words; given are those of the caller."""
        raise NotImplementedError

    @property
    def step_index(self) -> int | None:
        """The number of the call that comes next; None before the first."""
        return self._step_index

    @property
    def begin_index(self) -> int | None:
        """The number of the first call, where a pipeline has said it."""
        return self._begin_index

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Start at `timesteps[begin_index]`, or go on there."""
        self._begin_index = begin_index
        self._run, self._step_index = None, None

    def __len__(self) -> int:
        return int(self.config["num_train_timesteps"])

    def index_for_timestep(
        self, timestep: float | Tensor, schedule_timesteps: Tensor | None = None
    ) -> int:
        """The number of the call at a time; of several, the second, with which a step begins."""
        times = self.timesteps if schedule_timesteps is None else schedule_timesteps
        times = times.detach().cpu()
        time = one_time(timestep)
        found = self._place(time, times, precision(timestep))
        return self._elsewhere(time, times) if found is None else found

    def _elsewhere(self, time: float, times: Tensor) -> int:
        """The number of the call for a time at which none is made; raises InputError."""
        raise InputError(
            f"{time:g} is not one of the {len(times)} timesteps; pass an element of "
            "scheduler.timesteps"
        )

    @staticmethod
    def _place(time: float, times: Tensor, dtype: torch.dtype | None = None) -> int | None:
        """Where a time stands, told in this precision if it is a half one."""
        places = (rounded(times, dtype) == time).nonzero().flatten().tolist()
        if len({float(times[i]) for i in places}) > 1:
            raise InputError(
                f"{time:g} in {dtype} stands for {len(places)} of the {len(times)} timesteps: pass "
                "elements of scheduler.timesteps, or set_begin_index"
            )
        if not places:
            return None
        return int(places[1 if len(places) > 1 and places[0] > 0 else 0])

    def _lay_out(
        self,
        calls: Sequence[ModelCall],
        levels: Sequence[float],
        times: Tensor,
        device: Any,
        *,
        counted: bool,
    ) -> None:
        """Get ready for a run along levels, with one time a call.

        counted: the caller takes len(timesteps) for the number of steps, as pipelines do that
        bring a grid of their own. It then multiplies by `order` where it should not: 1 is right.
        """
        for i, (a, b) in enumerate(pairwise(levels)):
            if b > a == 0:
                raise InputError(
                    f"sigmas rise from 0 to {b:g} in place {i}: the flow has no direction there; "
                    "leave the 0 out"
                )
        self._levels, self._calls = list(levels), tuple(calls)
        self._visited = [*(call.level for call in calls), levels[-1]]
        self._conversions = self._form.conversions(self._visited)
        self.timesteps, self._told = times.to(device=device), times.double().tolist()
        self.order = 1 if counted else type(self).order
        self._run, self._due = None, 0
        self._step_index = self._begin_index = None

    def _begin(self, timestep: float | Tensor) -> int:
        """The number of this call; after the last one a run begins anew."""
        if self._step_index is None or self._step_index >= len(self._calls):
            begin = self._begin_index
            self._step_index = self._found(timestep) if begin is None else begin
        if not 0 <= self._step_index < len(self._calls):
            raise InputError(
                f"begin_index {self._step_index} lies outside of the {len(self._calls)} timesteps"
            )
        refuse_unexpected(timestep, self.timesteps, self._told, self._step_index)
        return self._step_index

    def _found(self, timestep: float | Tensor) -> int:
        """The number of the first call of a run."""
        place = view_place(timestep, self.timesteps)
        return self.index_for_timestep(timestep) if place is None else place

    def _take(self, out: Tensor, timestep: float | Tensor, sample: Tensor) -> tuple[Tensor, Tensor]:
        """The next x and the present x0, in the dtype of the sample."""
        i = self._begin(timestep)
        wide = torch.float32 if sample.dtype in HALVES else sample.dtype
        x, out = sample.to(wide), out.to(wide)
        now, then = self._conversions[i], self._conversions[i + 1]
        x0 = self._bounded(_combined(now, x, out))
        scaled = x if now.scale == 1 else x * now.scale
        flat = (len(x), -1)
        ahead = self._ahead(i, scaled.reshape(flat), x0.reshape(flat)).reshape(x.shape)
        self._step_index = i + 1
        ahead = ahead if then.scale == 1 else ahead * (1 / then.scale)
        return ahead.to(sample.dtype), x0.to(sample.dtype)

    def _ahead(self, i: int, x: Tensor, x0: Tensor) -> Tensor:
        """The sampler's state for call i + 1."""
        call = self._calls[i]
        start, end = self._levels[call.step : call.step + 2]
        if end == start:  # nothing happens, and what a run remembers stays
            self._due += self._due == i
            return x
        if end > start:
            self._run = None
            return euler(x, x0, start, end)
        run = self._run
        if run is not None and self._due == i and not run.fits(x):
            if not run.between_steps:
                raise refuse_part_of_a_step(x.shape)
            run = None
        if run is None or self._due != i:
            if not call.first:
                # began in the middle of a step: go to the next call by Euler's method
                return euler(x, x0, call.level, self._visited[i + 1])
            refuse_without_float64(x.device, self._sampler)
            levels = stretches(self._levels, call.step)[0].levels
            run = self._run = ResumedRun(self._sampler, levels)
        self._due = i + 1
        return run.take(x, x0)

    def _bounded(self, x0: Tensor) -> Tensor:
        """x0, clipped or thresholded where the configuration says so."""
        return x0

    def _noisy(self, clean: Tensor, noise: Tensor | None, timesteps: float | Tensor) -> Tensor:
        """Clean samples with noise of the levels at timesteps, one a row or one for all."""
        if noise is None:
            raise InputError("scale_noise mixes a sample with noise: give the noise")
        times = torch.as_tensor(timesteps).detach().cpu().reshape(-1).to(torch.float32)
        if self._begin_index is None:
            schedule = self.timesteps.detach().cpu()
            places = [self._place(time, schedule) for time in times.tolist()]
        elif self._step_index is not None:  # an inpainting pipeline, after a step
            places = [self._step_index] * len(times)
        else:  # an image-to-image pipeline, before the first
            places = [self._begin_index] * len(times)
        at = [
            self._level_at(time) if place is None else self._visited[place]
            for place, time in zip(places, times.tolist(), strict=True)
        ]
        parts = self._form.parts(torch.tensor(at, dtype=torch.float64))
        shape = (-1,) + (1,) * (clean.ndim - 1)
        alpha, sigma = (p.to(clean.dtype).to(clean.device).reshape(shape) for p in parts)
        return alpha * clean + sigma * noise.to(clean)

    def _level_at(self, time: float) -> float:
        """The level of a time that is not in the schedule."""
        raise NotImplementedError


def _combined(c: Conversion, x: Tensor, out: Tensor) -> Tensor:
    """x0 of the state and the model's output."""
    if out.shape != x.shape:
        raise InputError(
            f"the model returned {tuple(out.shape)} for a sample of {tuple(x.shape)}: they must "
            "have one shape; a model that also learns the variance needs variance_type"
        )
    if c.x == 0:
        return out if c.out == 1 else out * c.out
    return torch.add(x if c.x == 1 else x * c.x, out, alpha=c.out)


def step_count(num_inference_steps: Any) -> int:
    """A number of steps, checked."""
    n = num_inference_steps
    if isinstance(n, bool) or int(n) != n or n < 1:
        raise InputError(f"num_inference_steps is a whole number from 1 on, not {n!r}")
    return int(n)


def refuse_without_float64(device: torch.device, sampler: Sampler) -> None:
    """Raise UnsupportedError on a device without float64, but for plain Heun."""
    plain = isinstance(sampler, Heun) and sampler.rule is None
    if device.type == "mps" and not plain:
        raise UnsupportedError(
            f"{sampler.name} counts in float64 here, which {device.type} devices do not have: move "
            "the pipeline to a CPU or CUDA device, or use StiffguideHeunScheduler with "
            "guidance=None"
        )


def init_keys(scheduler: Any) -> set[str]:
    """The keys of a scheduler's configuration."""
    return set(scheduler._get_init_keys(scheduler))
