"""The sampler that chooses its own steps, as a function of k-diffusion's convention."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.adaptive import scale_of
from stiffguide.adapters.diffusion.adaptive_run import AdaptiveRun, Attempted, Demand, stepper
from stiffguide.adapters.diffusion.evaluator import Evaluator
from stiffguide.adapters.diffusion.hyperbolic_clock import OfFlow, OfNoise
from stiffguide.adapters.diffusion.watch import Callback
from stiffguide.adapters.kdiffusion.sampler_call import Model, check_state, progress_bar, report
from stiffguide.adapters.kdiffusion.state_form import checked_sigmas, given_sigmas
from stiffguide.errors import InputError, UnsupportedError


def sample_stiffguide_adaptive(
    model: Model,
    x: Tensor,
    sigmas: Tensor,
    extra_args: Mapping[str, Any] | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    rtol: float = 1e-2,
    atol: float | None = None,
    method: str = "bosh3",
    sigma_min: float | None = None,
    sigma_data: float = 0.5,
    together: bool = False,
    max_attempts: int = 1000,
    flow: bool = False,
) -> Tensor:
    """Steps by tolerance: see `stiffguide.adapters.diffusion.sample_adaptive` for the options.

    Of sigmas the ends are taken. Where the last is 0, one step of Euler's method goes there from
    sigma_min, the least of the others if it is not given. The model is called with the sigma of
    every row (B,), which differ unless `together`. `callback` is called after every attempt; its
    i is the interval of sigmas, and its sigma that of the row, that lies furthest behind.

    Raises UnsupportedError for sigmas that rise.
    """
    check_state(x)
    given = given_sigmas(sigmas)
    if given.ndim == 1 and len(given) < 2:
        return x
    levels = checked_sigmas(given, flow)
    if bool((levels[1:] > levels[:-1]).any()):
        raise UnsupportedError("adaptive runs down in sigma only, and these sigmas rise")
    ends = _Ends.of(levels.tolist(), sigma_min)
    if ends.high == ends.low:
        return x
    absolute = rtol * sigma_data if atol is None else atol
    demand = Demand(stepper(method), rtol, absolute, max_attempts, together)
    clock = (OfFlow if flow else OfNoise)(scale_of(sigma_data))
    evaluator = Evaluator(_by_rows(model, x.dtype, extra_args or {}), tuple(x.shape))
    # half precision is for the model: a state of it would lose every small step
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    with progress_bar(len(levels) - 1, disable) as bar:
        told = _told(callback, bar, levels, x)
        run = AdaptiveRun(evaluator.by_rows, clock, demand, told=told)
        found = run.integrate(wide, ends.high, ends.low, ends.zero)
    report(found)
    return found.x.to(x.dtype)


@dataclass(frozen=True)
class _Ends:
    """Between which sigmas the flow is solved, and whether a step to 0 follows."""

    high: float
    low: float
    zero: bool

    @classmethod
    def of(cls, levels: list[float], sigma_min: float | None) -> _Ends:
        """Of sigmas (N + 1,) that fall; raises InputError."""
        high, last = levels[0], levels[-1]
        if last > 0 or high == 0:
            return cls(high, last, False)
        others = [level for level in levels if 0 < level < high]
        if sigma_min is None and not others:
            raise InputError(
                f"sigmas go from {high:g} to 0 at once: give sigma_min, the sigma from which the "
                "last step goes to 0"
            )
        low = min(others) if sigma_min is None else sigma_min
        if not 0 < low < high:
            raise InputError(f"sigma_min = {low:g} must lie between 0 and sigmas[0] = {high:g}")
        return cls(high, low, True)


def _by_rows(
    model: Model, dtype: torch.dtype, extra_args: Mapping[str, Any]
) -> Callable[[Tensor, Tensor], Tensor]:
    """The caller's model in the dtype of the caller's x, told of every row's sigma."""

    def denoise(state: Tensor, sigma: Tensor) -> Tensor:
        x0 = model(state.to(dtype), sigma.to(dtype), **extra_args)
        return x0.to(state.dtype) if isinstance(x0, Tensor) else x0

    return denoise


def _told(
    callback: Callback | None, bar: Any, levels: Tensor, x: Tensor
) -> Callable[[Attempted], None] | None:
    """Tell the bar and the caller's callback of an attempt, where there is one of them."""
    if bar is None and callback is None:
        return None

    def tell(seen: Attempted) -> None:
        behind = float(seen.reached.max())
        passed = int((levels[1:-1] >= behind * (1 - 1e-6)).sum())  # a sigma, but for rounding
        if bar is not None:
            bar.update(passed + 1 - bar.n)
        if callback is None:
            return
        sigma = seen.sigma.max()
        callback(
            {
                "x": seen.x.reshape(x.shape).to(x.dtype),
                "i": passed,
                "sigma": sigma,
                "sigma_hat": sigma,
                "denoised": seen.denoised.reshape(x.shape).to(x.dtype),
            }
        )

    return tell
