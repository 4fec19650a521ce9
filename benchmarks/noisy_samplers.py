"""Samplers with noise on the way: how far off the law of the samples is, and how far off the path.

    python benchmarks/noisy_samplers.py [--paths]

Law: data N(0, c), c = 0.02^2, 0.2^2, 0.5^2, on Karras' grid from 80 to 0.002. There the samplers
are affine in start and noise, so that the variance of the samples is a number, not an estimate; the
table has its relative error, geometric mean over the three. Paths (some minutes): the median
distance of end points, on five analytic problems, from those of UniPC2 in 256 steps with the same
seeds; over that of UniPC2 at as many steps, geometric mean.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import torch

from stiffguide.adapters.diffusion import SAMPLERS, grid, noise_like, problems, sample

STEPS = (8, 12, 16, 24, 32)
VARIANCES = (0.02**2, 0.2**2, 0.5**2)
ONE_CALL = ("euler", "dpmpp_2m", "dpmpp_3m", "exponential_adams2", "unipc2", "unipc3", "emg")
TWO_CALLS = ("heun", "dpm2", "dpmpp_2s", "dpmpp_sde")
PROBLEMS = ("aniso2d", "spiral2d", "tree2d", "lr64", "pts64")
FINE, SAMPLES = 256, 48


def of_the_law(name: str, eta: float, calls: int) -> float:
    """The relative error of the variance for so many model calls."""
    moments = import_module("affine").moments
    levels = grid.karras(calls // (2 if name in TWO_CALLS else 1))
    errors = [
        abs(moments(SAMPLERS[name], levels, eta, 0.0, c).variance / (c + 0.002**2) - 1)
        for c in VARIANCES
    ]
    return geometric(errors)


def of_the_path(problem: str, eta: float) -> Callable[[str, int], float]:
    """The median distance from a fine run along the same noise."""
    mixture, seeds = problems.get(problem).mixture, range(SAMPLES)
    noise = noise_like((SAMPLES, mixture.size), seeds, dtype=torch.float64)

    def end(name: str, steps: int) -> torch.Tensor:
        return sample(mixture, noise, grid.karras(steps), name, eta=eta, seeds=seeds).x

    fine = end("unipc2", FINE)
    return lambda name, steps: float((end(name, steps) - fine).norm(dim=-1).median())


def geometric(values: Sequence[float]) -> float:
    return math.exp(sum(math.log(max(v, 1e-12)) for v in values) / len(values))


def table(title: str, names: Sequence[str], value: Callable[[str, int], float]) -> None:
    print(f"\n| {title} | " + " | ".join(map(str, STEPS)) + " |")
    print("|---" * (len(STEPS) + 1) + "|")
    for name in names:
        print(f"| `{name}` | " + " | ".join(f"{value(name, n):.2g}" for n in STEPS) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paths", action="store_true", help="measure paths, too")
    asked = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    for eta in (0.3, 1.0):
        table(
            f"law, eta = {eta}, at model calls",
            ONE_CALL + TWO_CALLS,
            lambda name, calls, eta=eta: of_the_law(name, eta, calls),
        )
    if not asked.paths:
        return
    for eta in (0.3, 1.0):
        measured = [of_the_path(problem, eta) for problem in PROBLEMS]
        names = tuple(n for n in ONE_CALL if SAMPLERS[n].splitting == "sde")
        table(
            f"path, eta = {eta}, at steps",
            names,
            lambda name, n, measured=measured: geometric(
                [one(name, n) / one("unipc2", n) for one in measured]
            ),
        )


if __name__ == "__main__":
    main()
