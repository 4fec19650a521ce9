"""`sample`: from noise to data along a grid; `invert`: the way back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stiffguide.adapters.diffusion import exponential, grid
from stiffguide.adapters.diffusion.dpm2 import Dpm2
from stiffguide.adapters.diffusion.emg import Emg
from stiffguide.adapters.diffusion.evaluator import Evaluator, Kept
from stiffguide.adapters.diffusion.heun import Heun
from stiffguide.adapters.diffusion.noise import Source
from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.adapters.diffusion.result import Sample, verdict
from stiffguide.adapters.diffusion.sampler import Interval, Sampler
from stiffguide.adapters.diffusion.stochastic import Stochastic
from stiffguide.contracts import Guidance
from stiffguide.errors import InputError, UnsupportedError

SAMPLERS: dict[str, Sampler] = {
    sampler.name: sampler for sampler in (Heun(), Dpm2(), *exponential.FAMILY, Emg())
}
KEEP = ("end", "states", "denoised")
Callback = Callable[[dict[str, Any]], Any]


def sample(
    denoiser: Denoiser,
    noise: Tensor,
    sigmas: Any,
    method: str | Sampler = "heun",
    guidance: Guidance | None = None,
    *,
    callback: Callback | None = None,
    progress: bool = False,
    keep: str = "end",
    seeds: Sequence[int] | Tensor | None = None,
    init: Tensor | None = None,
    strength: float = 1.0,
    mask: Tensor | None = None,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
    eta: float = 0.0,
    denoise_to_zero: bool = False,
    dtype: torch.dtype | None = None,
    model_dtype: torch.dtype | None = None,
) -> Sample:
    """Integrate the probability flow of `denoiser(x, sigma (B,)) -> x0` over a falling grid.

    noise: (B, ...) of unit variance; the start is init + sigmas[0] noise. sigmas: `adapters.
    diffusion.grid` makes them; a last interval to 0 is one step of Euler (EMG takes its own).
    method: a name of `SAMPLERS`, or an object. guidance: a rule of `stiffguide.guidance`.
    callback: called once per interval with {x, i, sigma, sigma_hat, denoised}.
    keep: "states" at all N + 1 levels, or "denoised" of all N intervals, as `trajectory`.
    init, strength: start from an image, after (1 - strength) of the intervals. mask: 1 where
    something new is wanted, 0 where init is kept. seeds: per row, for s_churn and eta (see
    `Stochastic`). denoise_to_zero: a last step to 0 if the grid ends above it. dtype: of the
    state, model_dtype: what the denoiser is given and returns. Runs without autograd.
    """
    levels = grid.falling(sigmas)
    if denoise_to_zero and float(levels[-1]) > 0:
        levels = torch.cat((levels, levels.new_zeros(1)))
    random = Stochastic(s_churn, s_tmin, s_tmax, s_noise, eta)
    sampler = _sampler(method, guidance)
    random.check(sampler, guidance)
    levels = levels[_skipped(strength, init, len(levels) - 1) :]
    start = _Start.of(noise, init, mask, dtype)
    watch = _Watch(callback, progress, _choice(keep), start.shape)
    source = Source(seeds, start.shape, start.noise.dtype, start.noise.device)
    with torch.no_grad():
        x = torch.add(start.image, start.noise, alpha=float(levels[0])).flatten(1)
        calls = Evaluator(denoiser, start.shape, model_dtype, start.kept)
        return _run(sampler, calls, x, levels, random, source, watch)


def invert(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Any,
    method: str | Sampler = "heun",
    *,
    callback: Callback | None = None,
    progress: bool = False,
    keep: str = "end",
    dtype: torch.dtype | None = None,
    model_dtype: torch.dtype | None = None,
) -> Sample:
    """Run the flow from x (B, ...) at sigmas[0] > 0 up a rising grid: data to noise.

    The unit-variance noise that `sample` would start from is `result.x / sigmas[-1]`.
    """
    levels = grid.rising(sigmas)
    sampler = _sampler(method, None)
    if not sampler.reversible:
        raise UnsupportedError(f"{sampler.name} runs down in sigma only; invert with 'heun'")
    start = _Start.of(x, None, None, dtype)
    watch = _Watch(callback, progress, _choice(keep), start.shape)
    source = Source(None, start.shape, start.noise.dtype, start.noise.device)
    with torch.no_grad():
        calls = Evaluator(denoiser, start.shape, model_dtype)
        return _run(sampler, calls, start.noise.flatten(1), levels, Stochastic(), source, watch)


def _run(
    sampler: Sampler,
    calls: Evaluator,
    x: Tensor,
    levels: Tensor,
    random: Stochastic,
    source: Source,
    watch: _Watch,
) -> Sample:
    visited = levels.tolist()
    steps = len(visited) - 1
    state = sampler.init(x, steps)
    with watch.over(steps):
        for i in range(steps):
            calls.step = i
            sigma, end = visited[i], visited[i + 1]
            start, up = random.raised(sigma, steps) if random.s_churn > 0 else sigma, 0.0
            if start > sigma:
                lift = random.s_noise * math.sqrt(start**2 - sigma**2)
                x = torch.add(x, source.draw().flatten(1), alpha=lift)
            if random.eta > 0 and end > 0:
                end, up = random.lowered(start, end)
            past = tuple(visited[i - 1 :: -1]) if i else ()
            ahead = sampler.step(calls, Interval(start, end, past[:4], steps - i), x, state)
            x, state = ahead.x, ahead.state
            if up > 0:
                x = torch.add(x, source.draw().flatten(1), alpha=up * random.s_noise)
            watch.saw(i, sigma, start, ahead.start, ahead.denoised)
    status, message = verdict(calls, x)
    trajectory = watch.trajectory(x)
    shaped = x.reshape(watch.shape)
    return Sample(shaped, calls.nfe, levels, status, message, sampler.name, trajectory)


@dataclass(frozen=True)
class _Start:
    """Checked start: noise and image (B, ...) in the dtype of the state."""

    noise: Tensor
    image: Tensor
    kept: Kept | None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.noise.shape)

    @classmethod
    def of(
        cls, noise: Tensor, init: Tensor | None, mask: Tensor | None, dtype: torch.dtype | None
    ) -> _Start:
        if not isinstance(noise, Tensor) or not noise.is_floating_point():
            raise InputError("noise must be a real floating-point tensor (B, ...)")
        if noise.ndim < 2 or not noise.numel():
            raise InputError(
                f"noise has shape {tuple(noise.shape)}: the first axis is the batch, and a sample "
                "has at least one axis and one value"
            )
        kind = dtype or (noise.dtype if noise.dtype == torch.float64 else torch.float32)
        if kind not in (torch.float32, torch.float64):
            raise InputError(
                f"dtype is that of the state, float32 or float64, not {kind}; a model in "
                "half precision is model_dtype"
            )
        noise = noise.detach().to(kind)
        image = torch.zeros((), dtype=kind, device=noise.device)
        if init is not None:
            image = _fitting(init, noise, "init")
        if mask is None:
            return cls(noise, image, None)
        if init is None:
            raise InputError("mask says where init is kept: give init too")
        if mask.dtype != torch.bool and bool(((mask < 0) | (mask > 1)).any()):
            raise InputError("mask must lie in [0, 1]: 1 where something new is wanted")
        part = _fitting(mask, noise, "mask")
        return cls(noise, image, Kept(image, part, noise))


def _fitting(value: Tensor, noise: Tensor, name: str) -> Tensor:
    try:
        return value.detach().to(noise).expand(noise.shape)
    except RuntimeError as error:
        raise InputError(
            f"{name} has shape {tuple(value.shape)}, which does not fit noise {tuple(noise.shape)}"
        ) from error


def _sampler(method: str | Sampler, guidance: Guidance | None) -> Sampler:
    if isinstance(method, str):
        if method not in SAMPLERS:
            raise InputError(f"no sampler is called {method!r}; there are {', '.join(SAMPLERS)}")
        method = SAMPLERS[method]
    return method if guidance is None else method.bind(guidance)


def _choice(keep: str) -> str:
    if keep not in KEEP:
        raise InputError(f"keep is one of {', '.join(map(repr, KEEP))}, not {keep!r}")
    return keep


def _skipped(strength: float, init: Tensor | None, steps: int) -> int:
    """How many intervals an image lets us leave out."""
    if not 0 < strength <= 1:
        raise InputError(f"strength must lie in (0, 1], not {strength}")
    if init is None and strength < 1:
        raise InputError("strength below 1 starts from an image: give init")
    return steps - max(1, min(steps, int(steps * strength + 1e-9)))


class _Watch:
    """What looks on: the callback, the progress bar, and the trajectory."""

    def __init__(
        self, callback: Callback | None, progress: bool, keep: str, shape: tuple[int, ...]
    ) -> None:
        self._callback, self._progress, self._keep = callback, progress, keep
        self.shape = shape
        self._kept: list[Tensor] = []
        self._bar: Any = None

    @contextmanager
    def over(self, steps: int) -> Iterator[None]:
        """Show the way through so many steps."""
        if self._progress:
            try:
                from tqdm.auto import tqdm
            except ImportError as error:
                message = "progress=True needs tqdm: pip install 'stiffguide[cli]'"
                raise InputError(message) from error
            self._bar = tqdm(total=steps, unit="step")
        try:
            yield
        finally:
            if self._bar is not None:
                self._bar.close()

    def saw(self, i: int, sigma: float, sigma_hat: float, x: Tensor, denoised: Tensor) -> None:
        """One interval is done; x and denoised are at its start."""
        if self._keep != "end":
            self._kept.append(x if self._keep == "states" else denoised)
        if self._bar is not None:
            self._bar.update(1)
        if self._callback is None:
            return
        self._callback(
            {
                "x": x.reshape(self.shape),
                "i": i,
                "sigma": torch.tensor(sigma, dtype=torch.float64),
                "sigma_hat": torch.tensor(sigma_hat, dtype=torch.float64),
                "denoised": denoised.reshape(self.shape),
            }
        )

    def trajectory(self, x: Tensor) -> Tensor | None:
        """What was kept, (T, B, ...)."""
        if self._keep == "end":
            return None
        kept = [*self._kept, x] if self._keep == "states" else self._kept
        return torch.stack(kept).reshape(len(kept), *self.shape)
