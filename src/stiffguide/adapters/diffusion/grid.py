"""Grids: the noise levels (N + 1,) that a sampler visits, as falling float64 values on the CPU.

`name(n, sigma_min, sigma_max)` gives n intervals, that is n + 1 levels from sigma_max to sigma_min.
The ends are EDM's unless they are told: `*schedule.range()` are those of a schedule.
With `zero=True` the last interval goes to 0: n levels from sigma_max to sigma_min, then 0, as EDM
and k-diffusion count. In VE form log-SNR is -log sigma, so that `exponential` is uniform in it.
Numbers that make no grid raise InputError.
"""

from __future__ import annotations

import logging
import math
import reprlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stiffguide.adapters.diffusion.ddpm import DDPMTable
from stiffguide.adapters.diffusion.mix_density import mix_quantiles
from stiffguide.adapters.diffusion.positive import check_positive, is_positive
from stiffguide.adapters.diffusion.principal_deviation import (
    principal_deviation as principal_deviation,
)
from stiffguide.adapters.diffusion.schedule import SIGMA_MAX as SIGMA_MAX
from stiffguide.adapters.diffusion.schedule import SIGMA_MIN as SIGMA_MIN
from stiffguide.adapters.diffusion.schedule import Schedule
from stiffguide.errors import InputError

HIGH_DIMENSION = 16  # from here on mix asks where the data takes shape
LOG = logging.getLogger("stiffguide")
Array = NDArray[np.float64]


def karras(
    n: int,
    sigma_min: float = SIGMA_MIN,
    sigma_max: float = SIGMA_MAX,
    *,
    rho: float = 7.0,
    zero: bool = False,
) -> Tensor:
    """Uniform in sigma^(1/rho) (Karras et al., arXiv 2206.00364)."""
    _check(n, sigma_min, sigma_max)
    check_positive("karras: rho", rho)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return _levels(lambda u: (high + u * (low - high)) ** rho, n, (sigma_max, sigma_min), zero)


def exponential(
    n: int, sigma_min: float = SIGMA_MIN, sigma_max: float = SIGMA_MAX, *, zero: bool = False
) -> Tensor:
    """Uniform in log sigma: every step has the same ratio."""
    _check(n, sigma_min, sigma_max)
    ratio = math.log(sigma_min / sigma_max)
    return _levels(lambda u: sigma_max * np.exp(u * ratio), n, (sigma_max, sigma_min), zero)


def linear(
    n: int, sigma_min: float = SIGMA_MIN, sigma_max: float = SIGMA_MAX, *, zero: bool = False
) -> Tensor:
    """Uniform in sigma."""
    return karras(n, sigma_min, sigma_max, rho=1.0, zero=zero)


def quadratic(
    n: int, sigma_min: float = SIGMA_MIN, sigma_max: float = SIGMA_MAX, *, zero: bool = False
) -> Tensor:
    """Uniform in sqrt(sigma)."""
    return karras(n, sigma_min, sigma_max, rho=2.0, zero=zero)


log_snr = exponential


def scheduled(
    n: int,
    schedule: Schedule,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    *,
    power: float = 1.0,
    zero: bool = False,
) -> Tensor:
    """Uniform in t^(1/power) of a schedule, its shift included; the levels are sigma/alpha.

    Without ends of your own it goes over the whole `schedule.range()`.
    """
    lowest, highest = schedule.range()
    sigma_min = lowest if sigma_min is None else sigma_min
    sigma_max = highest if sigma_max is None else sigma_max
    _check(n, sigma_min, sigma_max)
    check_positive("scheduled: power", power)
    low, high = (float(schedule.time(s)) ** (1 / power) for s in (sigma_min, sigma_max))

    def level(u: Array) -> Array:
        t = torch.from_numpy((high + u * (low - high)) ** power)
        found: Array = schedule.level(t).numpy()
        return found

    return _levels(level, n, (sigma_max, sigma_min), zero)


def ddpm(n: int, table: DDPMTable, *, spacing: str = "linspace", zero: bool = False) -> Tensor:
    """Entries of a discrete schedule: "linspace", "leading" or "trailing" timesteps.

    "linspace" interpolates between entries where its timesteps are not whole.
    """
    count = n if zero else n + 1
    last = len(table.betas) - 1
    _whole(n)
    if count > last + 1:
        raise InputError(f"ddpm: {count} levels of a table with {last + 1} entries")
    if spacing == "linspace":
        t = np.linspace(last, 0.0, count)
    elif spacing == "leading":
        t = (np.arange(count) * ((last + 1) // count))[::-1].astype(np.float64)
    elif spacing == "trailing":
        t = np.round(np.arange(last + 1, 0, -(last + 1) / count)[:count]) - 1.0
    else:
        raise InputError(f"spacing is 'linspace', 'leading' or 'trailing', not {spacing!r}")
    return _ended(table.level(torch.from_numpy(np.ascontiguousarray(t))), zero)


def mix(
    n: int,
    sigma_min: float = SIGMA_MIN,
    sigma_max: float = SIGMA_MAX,
    *,
    sigma_data: float = 0.5,
    center: float | None = None,
    dimension: int | None = None,
    zero: bool = False,
) -> Tensor:
    """A grid for multistep methods: equal quantiles of 0.3 of a bump and 0.7 of a slow density.

    center: the sigma at which the bump lies, where the data takes shape: 0.375 times their
    `principal_deviation`. Without it sigma_data/2, sigma_data the deviation of one number of the
    data, which was measured in low dimension. dimension: how many numbers a sample has; where it
    is told to be 16 or more, and no center, this is the Karras grid, and the log says so once.
    """
    _check(n, sigma_min, sigma_max)
    check_positive("mix: sigma_data", sigma_data)
    if dimension is not None and not (isinstance(dimension, int) and dimension >= 1):
        raise InputError(f"mix: dimension counts the numbers of a sample, not {dimension!r}")
    if center is None:
        if dimension is not None and dimension >= HIGH_DIMENSION:
            _say_how_to_measure()
            return karras(n, sigma_min, sigma_max, zero=zero)
        center = sigma_data / 2
    check_positive("mix: center", center)
    return _levels(mix_quantiles(sigma_min, sigma_max, center), n, (sigma_max, sigma_min), zero)


@cache
def _say_how_to_measure() -> None:
    LOG.warning(
        "grid.mix: without `center` samples of %d numbers or more get the Karras grid; measure the "
        "data once: center=0.375 * grid.principal_deviation(images), some 200 of them",
        HIGH_DIMENSION,
    )


def own(values: Sequence[float] | Tensor, *, zero: bool = False) -> Tensor:
    """The user's own levels (N + 1,), checked; with `zero`, 0 is appended if it is not there."""
    levels = falling(values)
    return _ended(levels, zero and float(levels[-1]) > 0)


def moved(sigmas: Sequence[float] | Tensor, size: float = 0.09, seed: int = 0) -> Tensor:
    """The grid (N + 1,) with its inner levels moved by up to `size` in log sigma, each at random.

    The ends stay, and a move takes 0.45 of the way to a neighbor at most, so that levels fall as
    before. Where a network is rough in sigma, an error is to be averaged over some of these grids.
    """
    levels = falling(sigmas)
    if not 0 <= size < math.inf:
        raise InputError(f"moved: size must be finite and not negative, not {size}")
    random = torch.Generator().manual_seed(seed)
    way = 2 * torch.rand(len(levels) - 2, generator=random, dtype=torch.float64) - 1
    # before a last 0 there is no neighbor below: the level above it is an end, too
    gaps = -0.45 * levels[: len(levels) - int(levels[-1] == 0)].log().diff()
    most = torch.minimum(gaps[:-1], gaps[1:]).clamp(max=size)
    inner = levels[1 : len(most) + 1] * (way[: len(most)] * most).exp()
    return torch.cat((levels[:1], inner, levels[len(most) + 1 :]))


def falling(sigmas: Any) -> Tensor:
    """Levels (N + 1,) in float64; raises InputError unless they fall strictly to 0 or above."""
    levels = _line(sigmas)
    if float(levels[-1]) < 0:
        raise InputError(f"sigmas end in {float(levels[-1]):g}: they must end in 0 or above it")
    climbs = torch.nonzero(levels[1:] >= levels[:-1]).flatten()
    if len(climbs):
        i = int(climbs[0])
        way_out = "reverse them" if len(climbs) == len(levels) - 1 else "sort them"
        raise InputError(
            f"sigmas must fall, but sigmas[{i + 1}] = {float(levels[i + 1]):g} does not lie below "
            f"sigmas[{i}] = {float(levels[i]):g}; {way_out}, or use `invert` to go from data to "
            "noise"
        )
    return levels


def rising(sigmas: Any) -> Tensor:
    """Levels (N + 1,) to invert along; raises InputError unless they rise strictly from above 0."""
    levels = _line(sigmas)
    if not bool((levels[1:] > levels[:-1]).all()):
        raise InputError("invert goes from data to noise: its sigmas must rise")
    if float(levels[0]) <= 0:
        raise InputError(
            "invert starts above sigma = 0, where the flow has no direction yet; start at 0.002, "
            "say"
        )
    return levels


def turning(sigmas: Any) -> Tensor:
    """Levels (N + 1,) that may repeat and rise; raises InputError for one below 0, or from 0 up."""
    levels = _line(sigmas)
    low = float(levels.min())
    if low < 0:
        raise InputError(f"sigmas reach down to {low:g}: they must lie at 0 or above it")
    if bool(((levels[:-1] == 0) & (levels[1:] > 0)).any()):
        raise InputError(
            "sigmas rise from 0, where the flow has no direction; leave the 0 out, or turn above it"
        )
    return levels


def rises(levels: Tensor) -> bool:
    """Whether levels (N + 1,) rise, repetitions apart, all the way."""
    return bool((levels[1:] >= levels[:-1]).all() and levels[-1] > levels[0])


def _line(sigmas: Any) -> Tensor:
    try:
        levels = torch.as_tensor(sigmas, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise InputError(f"sigmas are not numbers: {reprlib.repr(sigmas)}") from error
    if levels.ndim != 1 or len(levels) < 2:
        raise InputError(
            f"sigmas must be (N + 1,) with N >= 1 intervals, not {tuple(levels.shape)}"
        )
    if not bool(torch.isfinite(levels).all()):
        raise InputError("sigmas must be finite")
    return levels


def _levels(
    level: Callable[[Array], Array], n: int, ends: tuple[float, float], zero: bool
) -> Tensor:
    """level(u) at u from 0 to 1, with exact ends."""
    count = n if zero else n + 1
    nodes = level(np.linspace(0.0, 1.0, count)) if count > 1 else np.array([ends[0]])
    nodes[0] = ends[0]
    if count > 1:
        nodes[-1] = ends[1]
    return _ended(torch.from_numpy(np.ascontiguousarray(nodes, dtype=np.float64)), zero)


def _ended(levels: Tensor, zero: bool) -> Tensor:
    return torch.cat((levels, levels.new_zeros(1))) if zero else levels


def _whole(n: int) -> None:
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise InputError(f"n is the number of intervals, a whole number from 1 on, not {n!r}")


def _check(n: int, sigma_min: float, sigma_max: float) -> None:
    _whole(n)
    if not (is_positive(sigma_min) and is_positive(sigma_max)):
        raise InputError(
            f"sigma_min = {sigma_min} and sigma_max = {sigma_max} must be positive and finite; for "
            "a grid that ends in 0 use zero=True"
        )
    if not sigma_min < sigma_max:
        raise InputError(f"sigma_min = {sigma_min:g} must lie below sigma_max = {sigma_max:g}")


GRIDS: dict[str, Callable[..., Tensor]] = {
    "karras": karras,
    "exponential": exponential,
    "log_snr": log_snr,
    "linear": linear,
    "quadratic": quadratic,
    "mix": mix,
}
