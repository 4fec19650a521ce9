"""Noise schedules: x_t = alpha(t) x0 + sigma(t) eps, their derivatives, and the way to VE form.

Every schedule is the variance-exploding one in disguise: x_t/alpha(t) = x0 + level eps with
level = sigma/alpha. The package samples in that form; a schedule only says what time a network is
told, and how its input is scaled. All functions take t or a level of any shape and answer in
float64. `log_snr` is log(alpha/sigma), half the logarithm of the signal-to-noise ratio: the
lambda of DPM-Solver (Lu et al., arXiv 2206.00927).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.positive import check_positive, is_positive
from stiffguide.errors import InputError

SIGMA_MIN, SIGMA_MAX = 0.002, 80.0  # where EDM samples
UNBOUNDED = 1e9  # no level was trained beyond it


def double(value: Tensor | float) -> Tensor:
    """A time or a level in float64."""
    return torch.as_tensor(value, dtype=torch.float64)


class Schedule(ABC):
    """alpha(t) and sigma(t) on [t_min, t_max], with sigma/alpha rising (`Reversed`: falling)."""

    t_min: float = 0.0
    t_max: float = 1.0

    @abstractmethod
    def alpha(self, t: Tensor | float) -> Tensor:
        """How much of x0 is left at t, in the shape of t."""

    @abstractmethod
    def sigma(self, t: Tensor | float) -> Tensor:
        """How much noise there is at t, in the shape of t."""

    @abstractmethod
    def d_alpha(self, t: Tensor | float) -> Tensor:
        """The derivative of alpha by t, in the shape of t."""

    @abstractmethod
    def d_sigma(self, t: Tensor | float) -> Tensor:
        """The derivative of sigma by t, in the shape of t."""

    @abstractmethod
    def time(self, level: Tensor | float) -> Tensor:
        """The t at which sigma/alpha is `level`, in its shape."""

    def level(self, t: Tensor | float) -> Tensor:
        """sigma/alpha at t, in its shape: the noise level in VE form."""
        return self.sigma(t) / self.alpha(t)

    def range(self) -> tuple[float, float]:
        """The lowest and the highest level in training, for `grid.karras(n, *schedule.range())`.

        Where an end is 0, or infinite but for rounding, it is that of EDM (arXiv 2206.00364).
        """
        low, high = (float(self.level(t)) for t in (self.t_min, self.t_max))
        return low if low > 0 else SIGMA_MIN, high if high < UNBOUNDED else SIGMA_MAX

    def log_snr(self, t: Tensor | float) -> Tensor:
        """log(alpha/sigma) at t, in its shape, without the factor 2 of the power ratio."""
        return -torch.log(self.level(t))

    def trained(self) -> Schedule:
        """The same path in the time that a network is told."""
        return self

    def to_ve(self, x: Tensor, t: Tensor | float) -> Tensor:
        """x_t (B, ...) in VE form, at `level(t)`."""
        return x / _like(self.alpha(t), x)

    def from_ve(self, x: Tensor, t: Tensor | float) -> Tensor:
        """A state (B, ...) in VE form as this schedule has it at t."""
        return x * _like(self.alpha(t), x)


def _like(value: Tensor, x: Tensor) -> Tensor:
    """A value per row, or one for all, against a state (B, ...)."""
    value = value.to(dtype=x.dtype, device=x.device)
    return value.reshape(value.shape + (1,) * (x.ndim - 1)) if value.ndim else value


@dataclass(frozen=True)
class VE(Schedule):
    """alpha = 1, sigma = t: the form of EDM (Karras et al., arXiv 2206.00364)."""

    t_max: float = math.inf

    def alpha(self, t: Tensor | float) -> Tensor:
        """1."""
        return torch.ones_like(double(t))

    def sigma(self, t: Tensor | float) -> Tensor:
        """t."""
        return double(t)

    def d_alpha(self, t: Tensor | float) -> Tensor:
        """0."""
        return torch.zeros_like(double(t))

    def d_sigma(self, t: Tensor | float) -> Tensor:
        """1."""
        return torch.ones_like(double(t))

    def time(self, level: Tensor | float) -> Tensor:
        """The level itself."""
        return double(level)


class VariancePreserving(Schedule):
    """alpha^2 + sigma^2 = 1; a kind says only level^2 = 1/alpha^2 - 1 and its derivative."""

    @abstractmethod
    def level_squared(self, t: Tensor) -> Tensor:
        """(sigma/alpha)^2."""

    @abstractmethod
    def d_log_alpha(self, t: Tensor) -> Tensor:
        """The derivative of log alpha by t: minus half of DDPM's beta(t)."""

    def alpha(self, t: Tensor | float) -> Tensor:
        """1/sqrt(1 + level^2)."""
        return torch.rsqrt(1 + self.level_squared(double(t)))

    def sigma(self, t: Tensor | float) -> Tensor:
        """level/sqrt(1 + level^2)."""
        square = self.level_squared(double(t))
        return torch.sqrt(square / (1 + square))

    def d_alpha(self, t: Tensor | float) -> Tensor:
        """alpha d(log alpha)/dt."""
        return self.alpha(t) * self.d_log_alpha(double(t))

    def d_sigma(self, t: Tensor | float) -> Tensor:
        """-alpha^2/sigma d(log alpha)/dt; infinite at sigma = 0."""
        return -(self.alpha(t) ** 2) / self.sigma(t) * self.d_log_alpha(double(t))

    def level(self, t: Tensor | float) -> Tensor:
        """sigma/alpha."""
        return torch.sqrt(self.level_squared(double(t)))


@dataclass(frozen=True)
class VPLinear(VariancePreserving):
    """beta(t) = beta_min + t (beta_max - beta_min) (Song et al., arXiv 2011.13456)."""

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        _check_betas(self.beta_min, self.beta_max)

    def level_squared(self, t: Tensor) -> Tensor:
        """Exp of the integral of beta, minus 1."""
        return torch.expm1(t * (self.beta_min + t * (self.beta_max - self.beta_min) / 2))

    def d_log_alpha(self, t: Tensor) -> Tensor:
        """-beta(t)/2."""
        return -(self.beta_min + t * (self.beta_max - self.beta_min)) / 2

    def time(self, level: Tensor | float) -> Tensor:
        """The root of a quadratic, in the form that does not cancel."""
        integral = torch.log1p(double(level) ** 2)
        slope = self.beta_max - self.beta_min
        return 2 * integral / (self.beta_min + torch.sqrt(self.beta_min**2 + 2 * slope * integral))


@dataclass(frozen=True)
class VPScaledLinear(VariancePreserving):
    """sqrt(beta(t)) linear in t: the schedule of latent diffusion (arXiv 2112.10752)."""

    beta_min: float = 0.85
    beta_max: float = 12.0

    def __post_init__(self) -> None:
        _check_betas(self.beta_min, self.beta_max)

    @property
    def _roots(self) -> tuple[float, float]:
        low = math.sqrt(self.beta_min)
        return low, math.sqrt(self.beta_max) - low

    def level_squared(self, t: Tensor) -> Tensor:
        """Exp of the integral of beta, minus 1."""
        p, q = self._roots
        return torch.expm1(t * (p * p + t * q * (p + t * q / 3)))

    def d_log_alpha(self, t: Tensor) -> Tensor:
        """-beta(t)/2."""
        p, q = self._roots
        return -((p + q * t) ** 2) / 2

    def time(self, level: Tensor | float) -> Tensor:
        """The root of a cubic, in the form that does not cancel."""
        p, q = self._roots
        integral = torch.log1p(double(level) ** 2)
        y = (p**3 + 3 * q * integral) ** (1 / 3)
        return 3 * integral / (y * y + y * p + p * p)


@dataclass(frozen=True)
class VPCosine(VariancePreserving):
    """alpha = cos(u)/cos(u0), u = (t + s)/(1 + s) pi/2 (Nichol and Dhariwal, arXiv 2102.09672)."""

    offset: float = 0.008

    @property
    def _rate(self) -> float:
        return math.pi / 2 / (1 + self.offset)

    def level_squared(self, t: Tensor) -> Tensor:
        """sin(u - u0) sin(u + u0)/cos(u)^2."""
        turn, start = self._rate * t, self._rate * self.offset
        return torch.sin(turn) * torch.sin(turn + 2 * start) / torch.cos(turn + start) ** 2

    def d_log_alpha(self, t: Tensor) -> Tensor:
        """-tan(u) du/dt."""
        return -self._rate * torch.tan(self._rate * (t + self.offset))

    def time(self, level: Tensor | float) -> Tensor:
        """u - u0 from the difference of two tangents, so that small times keep their digits."""
        start = self._rate * self.offset
        rise = double(level) ** 2 / math.cos(start) ** 2
        before = math.tan(start)
        after = torch.sqrt(rise + before**2)
        turn = torch.atan2(rise, (after + before) * (1 + after * before))
        return turn / self._rate


@dataclass(frozen=True)
class RectifiedFlow(Schedule):
    """alpha = 1 - s, sigma = s, s = shift t/(1 + (shift - 1) t) (Esser et al., arXiv 2403.03206).

    The shift says which times are visited. A network is told s, and its velocity is
    dx/ds = eps - x0.

    Raises InputError for a shift that is not positive.
    """

    shift: float = 1.0

    def __post_init__(self) -> None:
        check_positive("RectifiedFlow: shift", self.shift)

    def alpha(self, t: Tensor | float) -> Tensor:
        """1 - s."""
        t = double(t)
        return (1 - t) / (1 + (self.shift - 1) * t)

    def sigma(self, t: Tensor | float) -> Tensor:
        """s."""
        t = double(t)
        return self.shift * t / (1 + (self.shift - 1) * t)

    def d_alpha(self, t: Tensor | float) -> Tensor:
        """-ds/dt."""
        return -self.d_sigma(t)

    def d_sigma(self, t: Tensor | float) -> Tensor:
        """ds/dt."""
        return self.shift / (1 + (self.shift - 1) * double(t)) ** 2

    def time(self, level: Tensor | float) -> Tensor:
        """level/(level + shift)."""
        level = double(level)
        return level / (level + self.shift)

    def trained(self) -> Schedule:
        """The path in s, which is what a network is told whatever the shift."""
        return RectifiedFlow()


def _check_betas(low: float, high: float) -> None:
    if not (is_positive(low) and is_positive(high) and low < high):
        raise InputError(f"betas must satisfy 0 < beta_min < beta_max, got {low} and {high}")
