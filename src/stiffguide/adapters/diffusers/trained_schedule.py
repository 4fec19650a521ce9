"""The discrete schedule that a model was trained on, and grids of its levels.

The arithmetic is float32 up to the levels, as it was in training: what a model calls step 0 has a
level that float64 would give otherwise in the third digit.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stiffguide.adapters.diffusion import grid
from stiffguide.adapters.diffusion.positive import check_positive, is_positive
from stiffguide.errors import InputError, StiffguideWarning

Array = NDArray[np.float64]
LARGEST_BETA = 0.999
BESIDE = 1.01  # rounding of an end, also in half precision, lies within
NO_SIGNAL = 2.0**-24  # what is left of alpha^2 where a schedule is rescaled to end in pure noise
MOST_TIMES = 1_000_000  # in training
SPACINGS = ("linspace", "leading", "trailing")


@dataclass(frozen=True)
class Betas:
    """How a schedule is made, in the words of diffusers' configurations."""

    steps: int
    start: float
    end: float
    schedule: str
    trained: Sequence[float] | NDArray[Any] | None = None
    zero_snr: bool = False
    snr_shift: float = 1.0

    @classmethod
    def of(cls, c: Any) -> Betas:
        """Those of a configuration."""
        ends, schedule = (c.beta_start, c.beta_end), (c.beta_schedule, c.trained_betas)
        further = (c.rescale_betas_zero_snr, c.snr_shift_scale)
        return cls(c.num_train_timesteps, *ends, *schedule, *further)

    def __post_init__(self) -> None:
        check_positive("snr_shift_scale", self.snr_shift)
        check_training(self.steps)
        for name, beta in (("beta_start", self.start), ("beta_end", self.end)):
            if not is_positive(beta) or beta >= 1:
                raise InputError(f"{name} must lie between 0 and 1, not {beta!r}")

    def values(self) -> Tensor:
        """Betas (T,) in float32."""
        if self.trained is not None:
            betas = self._given()
        elif self.schedule == "linear":
            betas = torch.linspace(self.start, self.end, self.steps, dtype=torch.float32)
        elif self.schedule == "scaled_linear":
            roots = (self.start**0.5, self.end**0.5)
            betas = torch.linspace(*roots, self.steps, dtype=torch.float32) ** 2
        elif self.schedule in ("squaredcos_cap_v2", "exp"):
            betas = _from_kept(self.schedule, self.steps)
        else:
            raise InputError(
                "beta_schedule is 'linear', 'scaled_linear', 'squaredcos_cap_v2' or 'exp', not "
                f"{self.schedule!r}; other betas go into trained_betas"
            )
        if self.snr_shift != 1:
            betas = _with_less_signal(betas, float(self.snr_shift))
        return _without_signal(betas) if self.zero_snr else betas

    def _given(self) -> Tensor:
        """The trained betas, checked: where no signal is to be left, the last ones may be 1."""
        try:
            betas = torch.as_tensor(np.asarray(self.trained, dtype=np.float32))
        except (TypeError, ValueError, OverflowError):
            betas = torch.empty(0)
        inside = (betas > 0) & (betas < 1)
        if self.zero_snr:
            inside |= (betas == 1) & (betas.cumsum(0) > betas)
        if betas.ndim != 1 or not len(betas) or not bool(inside.all()):
            raise InputError("trained_betas must be a list of numbers between 0 and 1")
        return betas

    def kept(self, betas: Tensor) -> Tensor:
        """alpha^2 (T,): how much of the data's variance is left."""
        kept = torch.cumprod(1.0 - betas, dim=0)
        if not self.zero_snr and not bool(((1 - kept) / kept).isfinite().all()):
            raise InputError(
                "the betas leave no signal at the end, where sigma/alpha is infinite: give "
                "rescale_betas_zero_snr=True, or less noise"
            )
        # below it levels are out of all proportion, and the entry before the last is among them
        return torch.clamp(kept, min=NO_SIGNAL) if self.zero_snr else kept


def check_training(steps: Any) -> None:
    """Raises InputError unless it is a number of times."""
    if isinstance(steps, bool) or not isinstance(steps, int) or not 0 < steps <= MOST_TIMES:
        raise InputError(
            f"num_train_timesteps is a whole number from 1 to {MOST_TIMES:,}, not {steps!r}"
        )


def _from_kept(schedule: str, steps: int) -> Tensor:
    """Betas of a function that says what is left at time t."""

    def left(t: float) -> float:
        if schedule == "exp":
            return math.exp(-12.0 * t)
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    kept = [left(i / steps) for i in range(steps + 1)]
    betas = [min(1 - b / a, LARGEST_BETA) for a, b in pairwise(kept)]
    return torch.tensor(betas, dtype=torch.float32)


def _with_less_signal(betas: Tensor, factor: float) -> Tensor:
    """Betas of a schedule whose alpha^2/sigma^2 is divided by a factor (arXiv 2403.03206)."""
    kept = torch.cumprod(1.0 - betas.double(), dim=0)
    kept = kept / (factor + (1 - factor) * kept)
    return (1 - torch.cat([kept[:1], kept[1:] / kept[:-1]])).to(betas.dtype)


def _without_signal(betas: Tensor) -> Tensor:
    """The same betas, stretched so that nothing is left at its end (arXiv 2305.08891)."""
    alpha = torch.cumprod(1.0 - betas, dim=0).sqrt()
    alpha = (alpha - alpha[-1]) * (alpha[0] / (alpha[0] - alpha[-1]))
    kept = alpha**2
    return 1 - torch.cat([kept[:1], kept[1:] / kept[:-1]])


def is_continuous(timestep_type: str, prediction_type: str) -> bool:
    """Whether the model is told a quarter of log sigma, as `EulerDiscreteScheduler` understands it.

    That is Stable Video Diffusion's way, which diffusers follows for predictions of v alone.
    """
    if timestep_type not in ("discrete", "continuous"):
        raise InputError(f"timestep_type is 'discrete' or 'continuous', not {timestep_type!r}")
    return timestep_type == "continuous" and prediction_type == "v_prediction"


class TrainedSchedule:
    """Levels sigma/alpha of the entries, and the way between times and levels.

    A time is the number of an entry, or, if `continuous`, log(level)/4 (arXiv 2206.00364).
    """

    def __init__(
        self, kept: Tensor, lambda_min: float = -math.inf, continuous: bool = False
    ) -> None:
        self.levels: Array = (((1 - kept) / kept) ** 0.5).numpy().astype(np.float64)
        self.continuous = continuous
        self._log = np.log(self.levels)
        # entries with too much noise for what a caller calls stable
        try:
            usable = int((-self._log >= float(lambda_min)).sum())
        except (TypeError, ValueError, OverflowError):
            raise InputError(f"lambda_min_clipped must be a number, not {lambda_min!r}") from None
        if usable < 1:
            raise InputError(f"lambda_min_clipped = {lambda_min} leaves no level of the schedule")
        self.usable = usable

    def entry(self, numbers: Array) -> Array:
        """The levels of entries; linear in the level between two of them."""
        found: Array = np.interp(numbers, np.arange(len(self.levels)), self.levels)
        return found

    def told(self, numbers: Array) -> Array:
        """The times that the model is told at entries."""
        return self.time(self.entry(numbers)) if self.continuous else numbers

    def level(self, times: Array) -> Array:
        """The levels of times; a StiffguideWarning for those beyond the entries."""
        if not self.continuous:
            last = len(self.levels) - 1.0
            _warn("timesteps", times, (0.0, last), (-0.5, last * BESIDE))
            return self.entry(times)
        found: Array = np.exp(4 * times)
        return found

    def time(self, levels: Array) -> Array:
        """The times of levels: linear in log level between two entries; the ends beyond.

        A StiffguideWarning for levels beyond, but for 0, where a run ends and no model is asked.
        """
        at = np.log(np.maximum(levels, 1e-10))
        if self.continuous:
            return np.array(at / 4)
        low, high = float(self.levels[0]), float(self.levels[-1])
        _warn("levels", levels[levels > 0], (low, high), (low / BESIDE, high * BESIDE))
        found: Array = np.interp(at, self._log, np.arange(len(self.levels)))
        return found


def _warn(what: str, values: Array, ends: tuple[float, float], bounds: tuple[float, float]) -> None:
    """Say, once for each end, that values lie beyond it and its bound."""
    low, high = ends
    beyond = {
        f"below {low:.4g}": values < bounds[0],
        f"above {high:.4g}": values > bounds[1],
    }
    for where, outside in beyond.items():
        if outside.any():
            warnings.warn(
                f"{what} {where}, an end of the schedule in training, are asked for, which its "
                f"model has not seen: take {what} from {low:.4g} to {high:.4g}",
                StiffguideWarning,
                stacklevel=3,
            )


def spaced_times(n: int, steps: int, spacing: str, offset: int, *, ended: bool) -> Array:
    """Times of n calls, falling, of a schedule of so many steps (arXiv 2305.08891, table 2).

    ended: whether the last of n + 1 nodes is left out, being where the run ends.
    """
    nodes = n + 1 if ended else n
    if spacing == "linspace":
        times = np.linspace(0, steps - 1, nodes)[::-1]
        if not ended:
            return np.array(times)
        # whole times, unless there are more nodes than entries
        return np.array((times.round() if nodes <= steps else times)[:-1])
    if spacing == "leading":
        stride = steps // nodes
        if stride < 1:
            raise InputError(
                f"timestep_spacing='leading' takes whole strides, and {steps} entries have none "
                f"for {n} steps: take {steps - nodes + n} at most, or 'linspace'"
            )
        # an offset may lead beyond the table
        numbers = np.arange(nodes) * stride + float(offset)
        return np.array(np.minimum(numbers, steps - 1.0)[::-1][:n])
    if spacing == "trailing":
        ends = np.arange(steps, 0, -steps / n).round()[:n]
        return np.array(np.maximum(ends - 1.0, 0.0))
    raise InputError(
        f"timestep_spacing is one of {', '.join(map(repr, SPACINGS))}, not {spacing!r}"
    )


def spread_levels(
    kind: str,
    n: int,
    low: float,
    high: float,
    sigma_data: float | None = None,
    center: float | None = None,
) -> Array:
    """N levels from high to low of a named grid; "beta" is Beta(0.6, 0.6) (arXiv 2407.12173).

    sigma_data, center: of "mix", as sigma/alpha; it is "karras" without both.
    """
    if kind != "beta" and kind not in grid.GRIDS:
        known = ", ".join(map(repr, (*grid.GRIDS, "beta")))
        raise InputError(f"a grid of levels is one of {known}, not {kind!r}")
    if n == 1 or low == high:
        return np.full(n, high)
    if kind == "beta":
        from scipy import stats

        return np.array(low + stats.beta.ppf(np.linspace(1, 0, n), 0.6, 0.6) * (high - low))
    if kind == "mix":
        if sigma_data is not None:
            return grid.mix(n - 1, low, high, sigma_data=sigma_data, center=center).numpy()
        size = grid.HIGH_DIMENSION  # pipelines make images, or more
        return grid.mix(n - 1, low, high, center=center, dimension=size).numpy()
    return grid.GRIDS[kind](n - 1, low, high).numpy()


def chosen_grid(karras: bool, exponential: bool, beta: bool, lu: bool = False) -> str | None:
    """Which grid diffusers' flags ask for."""
    flags = {"karras": karras, "exponential": exponential, "beta": beta}
    set_ones = [name for name, on in flags.items() if on]
    if len(set_ones) > 1:
        words = " and ".join(f"use_{name}_sigmas" for name in set_ones)
        raise InputError(f"{words} exclude each other: set one of them")
    if lu and not karras:
        return "log_snr"
    return set_ones[0] if set_ones else None
