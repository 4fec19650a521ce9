"""`sample_adaptive` by tolerance, beside samplers on grids of as many evaluations.

python benchmarks/adaptive_sampling.py
python benchmarks/adaptive_sampling.py --rough 0.06 --samples 16  # as trained networks are

Prints the tables of docs/diffusion.md: the six analytic problems, from sigma 80 to 0.002, distances
to the exact ends of the flow in units of the data (0.5), as the root mean square over a sample, in
the median over the samples; geometric means over the problems.
"""

from __future__ import annotations

import argparse
import math
import statistics

import torch
from page import number, table

from stiffguide.adapters.diffusion import grid, problems, sample, sample_adaptive
from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.adapters.diffusion.problems import AnalyticProblem, reference_end
from stiffguide.adapters.diffusion.rough_denoiser import RoughDenoiser

RTOLS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
METHODS = ("heun", "bosh3", "dopri5", "tsit5", "verner65", "verner76", "dop853")
BESIDE = {
    "EMG, Karras": (grid.karras, "emg", 1),
    "EMG, mix": (grid.mix, "emg", 1),
    "UniPC2, Karras": (grid.karras, "unipc2", 1),
    "DPM++ 2M, Karras": (grid.karras, "dpmpp_2m", 1),
    "Heun, Karras": (grid.karras, "heun", 2),
}
UNIT, DEAR = 0.5, 3e3  # of the data; evaluations beyond which nothing is measured


class Case:
    """A problem in the span of its data, its start states, and where they end."""

    def __init__(self, problem: AnalyticProblem, samples: int, rough: float) -> None:
        self.denoiser: Denoiser
        self.denoiser, self.noise = problem.folded(problem.noise(0, samples))
        self.size = problem.mixture.size
        if rough > 0:
            self.denoiser = RoughDenoiser(self.denoiser, rough)
        self.exact = reference_end(self.denoiser, self.noise, steps=4000)

    def error(self, x: torch.Tensor) -> float:
        return float((x - self.exact).norm(dim=-1).median()) / math.sqrt(self.size) / UNIT

    def adaptive(self, method: str, rtol: float) -> tuple[float, float]:
        """Evaluations a sample, and the error."""
        found = sample_adaptive(self.denoiser, self.noise, method=method, rtol=rtol)
        found.raise_if_failed()
        return float(found.nfe.double().mean()), self.error(found.x)

    def on_grid(self, name: str, nfe: float) -> float:
        make, method, each = BESIDE[name]
        return self.error(sample(self.denoiser, self.noise, make(round(nfe / each)), method).x)


def mean(values: list[float]) -> float:
    return statistics.geometric_mean(values)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--samples", type=int, default=64)
    torch.set_num_threads(1)
    arguments.add_argument("--rough", type=float, default=0.0, help="size of noise in log sigma")
    options = arguments.parse_args()
    cases = [Case(problems.get(n), options.samples, options.rough) for n in problems.NAMES]
    lines, beside = [], []
    for method in METHODS:
        row, nfe = [method], 0.0
        for rtol in RTOLS:
            if nfe > DEAR / 10:  # the next decade takes three times as many at least
                row.append("")
                continue
            found = [case.adaptive(method, rtol) for case in cases]
            nfe, error = (mean(list(x)) for x in zip(*found, strict=True))
            row.append(f"{number(nfe)}: {number(error / rtol)}")
            if method == "bosh3" and nfe < 200:
                others = [
                    mean([case.on_grid(name, n) for case, (n, _) in zip(cases, found, strict=True)])
                    for name in BESIDE
                ]
                beside.append([f"{rtol:g}", number(nfe), *map(number, (error, *others))])
        lines.append(row)
    print("Evaluations a sample: error over rtol.\n")
    print(table(["method", *(f"{rtol:g}" for rtol in RTOLS)], lines))
    print("\nErrors at as many evaluations.\n")
    print(table(["rtol", "NFE", "adaptive bosh3", *BESIDE], beside))


if __name__ == "__main__":
    main()
