"""What k-diffusion hands to a sampler, and one run over it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stiffguide.adapters.diffusion import grid
from stiffguide.adapters.diffusion.evaluator import Evaluator
from stiffguide.adapters.diffusion.model_guidance import Branches
from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.adapters.diffusion.result import Ending
from stiffguide.adapters.diffusion.sampler import Sampler
from stiffguide.adapters.diffusion.sampling_run import SamplingRun
from stiffguide.adapters.diffusion.stretches import stretches
from stiffguide.adapters.diffusion.watch import Callback, Watch
from stiffguide.adapters.kdiffusion.churn import Churn
from stiffguide.adapters.kdiffusion.post_cfg import branches
from stiffguide.adapters.kdiffusion.state_form import StateForm, checked_sigmas, given_sigmas
from stiffguide.errors import InputError, SolveFailed, UnsupportedError
from stiffguide.saying import warn
from stiffguide.stepping.contracts import Guidance

Model = Callable[..., Tensor]  # model(x (B, ...), sigma (B,), **extra_args) -> x0 (B, ...)
NO_CHURN = Churn()


@dataclass(frozen=True)
class SamplerCall:
    """The six arguments that all of k-diffusion's samplers share."""

    model: Model
    x: Tensor  # (B, ...), scaled by sigmas[0]
    sigmas: Any  # (N + 1,), on any device
    extra_args: Mapping[str, Any] | None
    callback: Callback | None
    disable: bool | None

    @torch.no_grad()
    def sample(
        self,
        sampler: Sampler,
        rule: Guidance | None = None,
        churn: Churn = NO_CHURN,
        flow: bool = False,
    ) -> Tensor:
        """The state (B, ...) at the last sigma, in the dtype of x."""
        check_state(self.x)
        given = given_sigmas(self.sigmas)
        if given.ndim == 1 and len(given) < 2:
            return self.x
        sigmas = checked_sigmas(given, flow)
        rises = grid.rises(sigmas)
        if rises and rule is not None:
            raise UnsupportedError("guidance runs down in sigma only: set guidance=None")
        amounts = churn.amounts(sampler, rule, flow, rises)
        bound = sampler if rule is None else sampler.bind(rule)
        form = StateForm.of(bound, sigmas, flow, amounts.eta > 0)
        visited = form.levels.tolist()
        shape = tuple(self.x.shape)
        # half precision is for the model: a state of it would lose every small step
        wide = self.x.to(torch.promote_types(self.x.dtype, torch.float32))
        steps = sum(len(part.intervals) for part in stretches(visited))
        if steps == 0:
            return self.x
        with progress_bar(steps, self.disable) as bar:
            watch = Watch(self._told(form, given, bar), False, "end", shape)
            evaluator = Evaluator(ModelDenoiser(self, form), shape)
            source = churn.source(self.x, visited, amounts)
            motion = churn.motion(self.x, form)
            run = SamplingRun(form.sampler, evaluator, form.levels, amounts, source, motion, watch)
            found = run.integrate(form.inward(wide, sigmas[0].item()).reshape(len(wide), -1))
        report(found)
        return form.outward(found.x, visited[-1]).to(self.x.dtype)

    def _told(self, form: StateForm, sigmas: Tensor, bar: Any) -> Callback | None:
        """Tell the bar and the caller's callback of an interval, where there is one of them."""
        if bar is None and self.callback is None:
            return None
        visited = form.levels.tolist()

        def tell(step: dict[str, Any]) -> None:
            if bar is not None:
                bar.update(1)
            if self.callback is None:
                return
            i, level = step["i"], visited[step["i"]]
            lifted = float(step["sigma_hat"])
            sigma_hat = sigmas[i] if lifted == level else sigmas.new_tensor(lifted)
            self.callback(
                {
                    "x": form.outward(step["x"], level).to(self.x.dtype),
                    "i": i,
                    "sigma": sigmas[i],
                    "sigma_hat": sigma_hat,
                    "denoised": step["denoised"].to(self.x.dtype),
                }
            )

        return tell


class ModelDenoiser:
    """The caller's model as a denoiser of the sampler's states, told by a number of the host."""

    def __init__(self, call: SamplerCall, form: StateForm) -> None:
        self._call, self._form = call, form

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """D(x (B, ...), sigma (B,)) -> x0, all rows at the level of the first."""
        return self.at_level(float(sigma[0]))(x, sigma)

    def at_level(self, level: float) -> Denoiser:
        """D at this level."""
        call, form = self._call, self._form

        def denoise(state: Tensor, _: Tensor) -> Tensor:
            x = form.outward(state, level).to(call.x.dtype)
            x0 = call.model(x, self._told(x, level), **(call.extra_args or {}))
            return x0.to(state.dtype) if isinstance(x0, Tensor) else x0

        return denoise

    def branches_at(self, level: float) -> Branches:
        """D and the unguided estimate at this level; raises UnsupportedError if nobody tells it."""
        call, form = self._call, self._form

        def denoise(state: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
            x = form.outward(state, level).to(call.x.dtype)
            both = branches(call.model, x, self._told(x, level), call.extra_args or {})
            guided, weak = (part.to(state.dtype) for part in both)
            return guided, weak

        return denoise

    def _told(self, x: Tensor, level: float) -> Tensor:
        """The sigma (B,), in the dtype of x: k-diffusion's wrappers scale x by functions of it."""
        return x.new_full((len(x),), self._form.sigma(level))


def check_state(x: Any) -> None:
    """Raise InputError or UnsupportedError unless x is a tensor (B, ...) that can be sampled."""
    if getattr(x, "is_nested", False):
        raise UnsupportedError(
            "x is a nested tensor: sample its parts one by one, or pack them into one tensor"
        )
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise InputError("x must be a real floating-point tensor (B, ...)")
    if x.ndim == 0 or not x.numel():
        raise InputError(f"x has shape {tuple(x.shape)}: it needs a batch axis and a value")


def progress_bar(steps: int, disable: bool | None) -> Any:
    """tqdm's bar, or None where it is switched off or not installed."""
    if disable:
        return nullcontext()
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return nullcontext()
    return tqdm(total=steps, disable=disable)


def report(found: Ending) -> None:
    """Values that are not finite are said: the caller gets a bare tensor."""
    if not found.message:
        return
    if not bool(found.ok.any()):
        raise SolveFailed(found.message)
    warn(found.message, RuntimeWarning)
