"""Six sampling problems with an exact denoiser, and their end points to near rounding.

They differ in what makes a probability-flow ODE hard: thin sheets, curves, branches, many points,
high dimension. All are Gaussian mixtures with equal weights. `rough` makes a version of each that
is rough in sigma, as trained networks are: its flow has no closed form, but a fine run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.grid import SIGMA_MAX, SIGMA_MIN
from stiffguide.adapters.diffusion.mixture import GaussianMixture
from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.adapters.diffusion.rough_denoiser import RoughDenoiser
from stiffguide.errors import InputError


@dataclass(frozen=True, eq=False)
class AnalyticProblem:
    """Data with a closed-form denoiser, and the number of start states it is measured with."""

    name: str
    mixture: GaussianMixture
    samples: int = 256

    def noise(self, seed: int = 0, count: int | None = None) -> Tensor:
        """Unit-variance start states (count, F)."""
        random = torch.Generator().manual_seed(seed)
        shape = (count or self.samples, self.mixture.size)
        return torch.randn(shape, generator=random, dtype=torch.float64)

    def folded(self, noise: Tensor) -> tuple[GaussianMixture, Tensor]:
        """The same trajectories in the span of the mixture: its denoiser, and the noise (B, S)."""
        folding = self.mixture.folded()
        return folding.mixture, folding.fold(noise)


@dataclass(frozen=True, eq=False)
class RoughProblem:
    """An analytic problem whose denoiser is rough in sigma."""

    smooth: AnalyticProblem
    denoiser: RoughDenoiser

    @property
    def name(self) -> str:
        """The name of the smooth one, and how rough this is."""
        return f"{self.smooth.name}, {100 * self.denoiser.size:g} % rough"

    def noise(self, seed: int = 0, count: int | None = None) -> Tensor:
        """Unit-variance start states (count, F), those of the smooth problem."""
        return self.smooth.noise(seed, count)

    def folded(self, noise: Tensor) -> tuple[RoughDenoiser, Tensor]:
        """The smooth problem in the span of its mixture, made rough there, and the noise (B, S).

        A problem of its own: what is rough has no fewer dimensions than the state.
        """
        mixture, noise = self.smooth.folded(noise)
        return self.denoiser.around(mixture), noise


def aniso2d(seed: int = 0) -> AnalyticProblem:
    """Eight thin strokes in the plane."""
    random = _random(seed)
    means = 0.5 * _normal(random, 8, 2)
    angles = 2 * math.pi * _uniform(random, 8, 1)
    lengths = 0.15 + 0.2 * _uniform(random, 8, 1)
    directions = torch.stack((angles.cos(), angles.sin()), -1)
    mixture = GaussianMixture(means, 0.02, directions, lengths.square())
    return AnalyticProblem("aniso2d", mixture)


def spiral2d(seed: int = 0) -> AnalyticProblem:
    """A spiral of one and seven eighths turns, as 300 points."""
    t = torch.linspace(0.25, 1.0, 300, dtype=torch.float64)
    angle = 5 * math.pi * t + seed
    means = t.unsqueeze(-1) * torch.stack((angle.cos(), angle.sin()), -1)
    return AnalyticProblem("spiral2d", GaussianMixture(means, 0.01))


def tree2d(seed: int = 0) -> AnalyticProblem:
    """A binary tree of five levels that grows upwards, as points along its branches."""
    random = _random(seed)
    tips = [(0.0, -1.0, math.pi / 2)]
    length, points = 0.6, []
    for _ in range(5):
        grown = []
        for x, y, angle in tips:
            count = max(3, round(60 * length))
            dx, dy = length * math.cos(angle), length * math.sin(angle)
            points += [(x + dx * i / count, y + dy * i / count) for i in range(1, count + 1)]
            for side in (-1, 1):
                turn = side * 0.5 * (0.8 + 0.4 * _uniform(random, 1).item())
                grown.append((x + dx, y + dy, angle + turn))
        tips, length = grown, 0.72 * length
    means = torch.tensor(points, dtype=torch.float64)
    return AnalyticProblem("tree2d", GaussianMixture(means - means.mean(0), 0.008))


def lr64(seed: int = 0) -> AnalyticProblem:
    """Forty flat patches of four dimensions in 64."""
    random = _random(seed)
    means = 0.5 * _normal(random, 40, 6) @ _frames(random, 1, 6, 64)[0]
    sizes = 0.1 + 0.4 * _uniform(random, 40, 4)
    mixture = GaussianMixture(means, 0.01, _frames(random, 40, 4, 64), sizes.square())
    return AnalyticProblem("lr64", mixture)


def pts64(seed: int = 0) -> AnalyticProblem:
    """Four hundred near-points in 64 dimensions: a denoiser that memorises."""
    random = _random(seed)
    means = 0.5 * _normal(random, 400, 8) @ _frames(random, 1, 8, 64)[0]
    return AnalyticProblem("pts64", GaussianMixture(means, 0.02))


def lr3072(seed: int = 0) -> AnalyticProblem:
    """Twenty flat patches of eight dimensions in as many dimensions as a 32 x 32 colour image."""
    random = _random(seed)
    spread = 0.5 * math.sqrt(3072 / 20) * 0.3
    means = spread * _normal(random, 20, 20) @ _frames(random, 1, 20, 3072)[0]
    sizes = 0.5 + 2.0 * _uniform(random, 20, 8)
    mixture = GaussianMixture(means, 0.02, _frames(random, 20, 8, 3072), sizes.square())
    return AnalyticProblem("lr3072", mixture, samples=64)


_PROBLEMS = (aniso2d, spiral2d, tree2d, lr64, pts64, lr3072)
NAMES = tuple(make.__name__ for make in _PROBLEMS)


def get(name: str, seed: int = 0) -> AnalyticProblem:
    """The problem of that name.

    Raises InputError for a name that is none.
    """
    for make in _PROBLEMS:
        if make.__name__ == name:
            return make(seed)
    raise InputError(f"no analytic problem is called {name!r}; there are {', '.join(NAMES)}")


def rough(
    problem: AnalyticProblem,
    size: float = 0.06,
    length: float = 0.03,
    seed: int = 0,
    *,
    shared: bool = False,
) -> RoughProblem:
    """A problem as smooth in x as the given one, and rough in log sigma: see `RoughDenoiser`."""
    denoiser = RoughDenoiser(problem.mixture, size, length, seed, shared=shared)
    return RoughProblem(problem, denoiser)


@torch.no_grad()
def reference_end(
    denoiser: Denoiser,
    noise: Tensor,
    sigma_max: float = SIGMA_MAX,
    sigma_min: float = SIGMA_MIN,
    steps: int = 250,
) -> Tensor:
    """The flow's end points at sigma_min from sigma_max * noise, by RK4 in log sigma.

    In l = log sigma the probability flow is dx/dl = x - D(x; e^l); four evaluations a step. Noise
    and end points are (B, ...).
    """
    h = math.log(sigma_min / sigma_max) / steps

    def slope(x: Tensor, l: float) -> Tensor:
        return x - denoiser(x, x.new_full((len(x),), math.exp(l)))

    x = sigma_max * noise
    for i in range(steps):
        l = math.log(sigma_max) + i * h
        k1 = slope(x, l)
        k2 = slope(x + h / 2 * k1, l + h / 2)
        k3 = slope(x + h / 2 * k2, l + h / 2)
        k4 = slope(x + h * k3, l + h)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x


def _random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _normal(random: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=random, dtype=torch.float64)


def _uniform(random: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(shape, generator=random, dtype=torch.float64)


def _frames(random: torch.Generator, count: int, rank: int, size: int) -> Tensor:
    """Random sets (count, rank, size) of orthonormal directions."""
    q: Tensor = torch.linalg.qr(_normal(random, count, size, rank)).Q
    return q.mT.contiguous()
