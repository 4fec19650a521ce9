"""Samplers on denoisers that are rough in sigma: the floor that all of them reach.

    python benchmarks/roughness.py                # about six minutes on one core
    python benchmarks/roughness.py --quick        # less than one
    python benchmarks/roughness.py --out docs/roughness_benchmark.md

Six analytic problems and the digits network, smooth and made rough (`problems.rough`), against a
fine run. Every error is a mean over slightly moved grids of a median over the samples; every cell a
geometric mean over problems and seeds of a ratio of such errors.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stiffguide.adapters.diffusion import grid, noise_like, problems, roughness, sample
from stiffguide.adapters.diffusion.curves import markdown
from stiffguide.adapters.diffusion.digits import digits_data, load_digits_denoiser
from stiffguide.adapters.diffusion.exponential import Multistep, Weights, midpoint_weights
from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.adapters.diffusion.rough_denoiser import RoughDenoiser

Array = NDArray[np.float64]
SIZES = (0.0, 0.06, 0.15)
BUDGETS = (8, 12, 16, 24, 32)
GRIDS = ("Karras", "centered")
MOVED, MOST = 3, 16  # grids that an error is averaged over, and grids to see how it varies
FINE = 800
OTHERS = {"DPM++ 2M": "dpmpp_2m", "UniPC2": "unipc2", "UniPC3": "unipc3", "DEIS3": "deis3"}
TEXT = """\
# Roughness in sigma, measured

Written by `{command}`: {names}; seeds {seeds}, {samples} samples.

Denoisers in closed form, and a small network that is nearly as smooth (0.2 %), made rough in log
sigma as trained networks are: `size` is the root mean square of what is added, over the change of D
in a window of 0.6 in log sigma, with a correlation length of 0.03 ([](roughness.md)). Distances are
to the end of {fine} steps over the same denoiser, medians over the samples, from sigma 80 to 0.002,
averaged over {moved} grids whose levels are moved by up to 0.09 in log sigma. *centered* is
`grid.mix` with `center` at 0.375 times the principal deviation of the data.

## What `roughness` finds

For EMG on the Karras grid, seed {first}: the share of the change of D over 0.6 in log sigma that is
not smooth, and the number of evaluations from which on a better sampler cannot help.

{found}

## Samplers come together

Error over that of EMG: geometric mean over the problems and seeds (worst).

{over_emg}

## What the floor is

*Floor*: the distance at which the flow ends that is integrated finely, with everything smooth known
exactly, and what is rough known at the N levels only, linear between them. Here it is one function
of sigma for all samples, and there is one seed. Geometric means (worst) of the error of EMG over
the floor, and means of the floor over the floor at 16 evaluations.

{floor}

## What averaging does

UniPC2 and UniPC3 take the line, or the parabola, through the last 2 or 3 evaluations. Here it goes
through more of them by least squares, which averages what is rough: error over that of UniPC2 on
the centered grid, geometric mean (worst).

{smoothed}

## One grid is luck

Error of EMG on {most} moved Karras grids over its mean, what is rough one function of sigma for all
samples, seed {first}: the least and the largest, in the median over the problems and in the worst.

{luck}

## The lagged correction of EMG

`emg_lagged` over EMG: geometric mean of the ratios of medians (worst), and of those of root mean
squares.

{lagged}
"""


@dataclass(frozen=True)
class Case:
    """A denoiser, start states (B, F), the flow's ends (B, F), and where the data take shape."""

    name: str
    denoiser: RoughDenoiser
    noise: Tensor
    end: Tensor
    center: float

    def levels(self, kind: str, n: int) -> Tensor:
        return grid.karras(n) if kind == "Karras" else grid.mix(n, center=self.center)

    @cache  # noqa: B019  cases live as long as the run
    def errors(self, method: Any, kind: str, n: int, count: int = MOVED) -> Array:
        """Median and root mean square distance on moved grids, (count, 2)."""
        found = []
        for seed in range(count):
            levels = grid.moved(self.levels(kind, n), seed=seed)
            away = sample(self.denoiser, self.noise, levels, method).x - self.end
            size = torch.linalg.vector_norm(away, dim=-1)
            found.append([float(size.median()), float(size.square().mean().sqrt())])
        return np.array(found)

    def error(self, method: Any, kind: str, n: int, which: int = 0) -> float:
        return float(self.errors(method, kind, n)[:, which].mean())


class AtLevels(RoughDenoiser):
    """What is rough is known at some levels only: linear in log sigma between them."""

    def __init__(self, rough: RoughDenoiser, levels: Tensor) -> None:
        super().__init__(rough.smooth, rough.size, rough.length, rough.seed, shared=True)
        self.levels = levels.flip(0)

    def field(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        i = torch.searchsorted(self.levels, sigma.double()).clamp(1, len(self.levels) - 1)
        low, high = self.levels[i - 1], self.levels[i]
        share = ((sigma / low).log() / (high / low).log()).unsqueeze(-1)
        pairs = zip(super().field(x, low), super().field(x, high), strict=True)
        along, across = (torch.lerp(a, b, share) for a, b in pairs)
        return along, across


def floor(case: Case, kind: str, n: int) -> float:
    """The distance that no rule removes which knows what is rough at these levels only."""
    found = []
    for seed in range(2):
        known = AtLevels(case.denoiser, grid.moved(case.levels(kind, n), seed=seed))
        away = sample(known, case.noise, grid.log_snr(400), "unipc2").x - case.end
        found.append(float(torch.linalg.vector_norm(away, dim=-1).median()))
    return float(np.mean(found))


def fitted_weights(degree: int, nodes: tuple[float, ...], a: float, b: float) -> Weights:
    """b * integral ds of the polynomial in log sigma that is nearest to the values at the nodes."""
    at = -np.log(np.array(nodes))
    count = min(degree + 1, len(at))
    fit = np.linalg.pinv(np.vander(at, count, increasing=True))
    # the weights of UniPC, of as many values of the polynomial as it has coefficients
    places = {1: (a,), 2: (a, b), 3: (a, math.sqrt(a * b), b)}[count]
    powers = np.vander(-np.log(places), count, increasing=True)
    return tuple((np.array(midpoint_weights(places, a, b)) @ powers @ fit).tolist())


@cache
def averaged(degree: int, points: int) -> Multistep:
    """UniPC with a polynomial through more evaluations than it has coefficients."""
    rule = partial(fitted_weights, degree)
    return Multistep(f"degree {degree}, {points}", points, degree + 1, "data", rule, rule)


AVERAGED = {
    "line through 3": averaged(1, 3),
    "line through 4": averaged(1, 4),
    "UniPC3": "unipc3",
    "parabola through 4": averaged(2, 4),
    "parabola through 5": averaged(2, 5),
}


def cases(
    names: Sequence[str], size: float, seeds: Sequence[int], samples: int, shared: bool = False
) -> Iterator[Case]:
    for name in names:
        for seed in seeds:
            smooth, noise, center = source(name, seed, samples)
            rough = RoughDenoiser(smooth, size, seed=seed, shared=shared)
            if size == 0 and name != "digits":
                end = problems.reference_end(smooth, noise)
            else:
                end = sample(rough, noise, grid.log_snr(FINE), "unipc2").x
            yield Case(name, rough, noise, end, center)


def source(name: str, seed: int, samples: int) -> tuple[Denoiser, Tensor, float]:
    """The smooth denoiser, start states, and 0.375 times the principal deviation."""
    if name == "digits":
        first = 1000 * seed
        noise = noise_like((samples, 64), range(first, first + samples), dtype=torch.float64)
        denoiser = load_digits_denoiser(torch.arange(samples) % 10, torch.float64)
        return denoiser, noise, 0.375 * grid.principal_deviation(digits_data()[0])
    problem = problems.get(name, seed)
    data = problem.mixture.sample(2000, torch.Generator().manual_seed(seed))
    mixture, noise = problem.folded(problem.noise(1000 + seed, samples))
    return mixture, noise, 0.375 * grid.principal_deviation(data)


def mean(ratios: Sequence[float]) -> float:
    """The geometric mean."""
    return math.exp(np.log(ratios).mean())


def cell(ratios: Sequence[float]) -> str:
    return f"{mean(ratios):.2f} ({max(ratios):.2f})"


Studies = dict[float, list[Case]]
Rows = list[list[str]]


def found_by_the_tool(studies: Studies, names: Sequence[str], seed: int) -> str:
    rows: Rows = []
    for size, found in studies.items():
        cells = []
        for case in (c for c in found if c.denoiser.seed == seed):
            measured = roughness(case.denoiser, case.noise, seed=seed)
            cells.append(f"{100 * measured.share:.2g} %, {measured.floor_from or 'none'}")
        rows.append([f"{100 * size:g} %", *cells])
    return markdown(["size", *names], rows)


def over_emg(studies: Studies, kinds: Sequence[str], budgets: Sequence[int]) -> str:
    rows: Rows = []
    for size, found in studies.items():
        for kind in kinds:
            for title, method in OTHERS.items():
                ratios = [
                    [c.error(method, kind, n) / c.error("emg", kind, n) for c in found]
                    for n in budgets
                ]
                rows.append([f"{100 * size:g} %", kind, title, *map(cell, ratios)])
    return markdown(["size", "grid", "NFE", *map(str, budgets)], rows)


def floors(studies: Studies, kinds: Sequence[str], budgets: Sequence[int]) -> str:
    rows: Rows = []
    for size, found in studies.items():
        for kind in kinds:
            known = np.array([[floor(c, kind, n) for c in found] for n in budgets])
            own = np.array([[c.error("emg", kind, n) for c in found] for n in budgets])
            middle = known[list(budgets).index(16)]
            title = [f"{100 * size:g} %", kind]
            rows.append([*title, "EMG over the floor", *map(cell, (own / known).tolist())])
            falling = (f"{mean(r):.2f}" for r in (known / middle).tolist())
            rows.append([*title, "floor over that at 16", *falling])
    return markdown(["size", "grid", "NFE", *map(str, budgets)], rows)


def smoothed(studies: Studies, budgets: Sequence[int]) -> str:
    rows: Rows = []
    for size, found in studies.items():
        for title, method in AVERAGED.items():
            ratios = [
                [c.error(method, "centered", n) / c.error("unipc2", "centered", n) for c in found]
                for n in budgets
            ]
            rows.append([f"{100 * size:g} %", title, *map(cell, ratios)])
    return markdown(["size", "NFE", *map(str, budgets)], rows)


def luck(studies: Studies, budgets: Sequence[int]) -> str:
    rows: Rows = []
    for size, found in studies.items():
        for n in budgets:
            errors = np.array([c.errors("emg", "Karras", n, MOST)[:, 0] for c in found])
            share = errors / errors.mean(1, keepdims=True)
            cells = [np.median(share.min(1)), np.median(share.max(1)), share.min(), share.max()]
            rows.append([f"{100 * size:g} %", str(n), *(f"{v:.2f}" for v in cells)])
    return markdown(["size", "NFE", "least", "largest", "worst least", "worst largest"], rows)


def lagged(studies: Studies, kinds: Sequence[str], budgets: Sequence[int]) -> str:
    rows: Rows = []
    for size, found in studies.items():
        for kind in kinds:
            cells = []
            for n in budgets:
                pairs = [
                    [c.error("emg_lagged", kind, n, w) / c.error("emg", kind, n, w) for c in found]
                    for w in (0, 1)
                ]
                cells.append(f"{cell(pairs[0])} {mean(pairs[1]):.2f}")
            rows.append([f"{100 * size:g} %", kind, *cells])
    return markdown(["size", "grid, NFE", *map(str, budgets)], rows)


def report(quick: bool, say: Callable[[str], None], command: str) -> str:
    names = ("aniso2d", "lr64") if quick else (*problems.NAMES, "digits")
    sizes = (0.0, 0.15) if quick else SIZES
    seeds, samples = ((5,), 16) if quick else ((5, 6), 32)
    budgets = (8, 16) if quick else BUDGETS
    made = partial(cases, names, seeds=seeds, samples=samples)
    studies = {size: list(made(size)) for size in sizes}
    shared = {s: list(made(s, seeds=seeds[:1], shared=True)) for s in sizes if s}
    tables = {}
    for title, measure in {
        "found": lambda: found_by_the_tool(studies, names, seeds[0]),
        "over_emg": lambda: over_emg(studies, GRIDS, budgets),
        "floor": lambda: floors(shared, GRIDS, budgets),
        "smoothed": lambda: smoothed(studies, budgets),
        "luck": lambda: luck(shared, [n for n in budgets if n in (16, 24)]),
        "lagged": lambda: lagged(studies, GRIDS, budgets),
    }.items():
        say(title)
        tables[title] = measure()
    return TEXT.format(
        command=command,
        names=", ".join(names),
        seeds=", ".join(map(str, seeds)),
        first=seeds[0],
        fine=FINE,
        samples=samples,
        moved=MOVED,
        most=MOST,
        **tables,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two problems, two sizes, two NFE")
    parser.add_argument("--out", type=Path, help="write the page there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()

    def say(title: str) -> None:
        print(f"[{time.process_time() - start:6.1f} s] {title}", file=sys.stderr, flush=True)

    words = [*(["--quick"] if args.quick else []), *(["--out", str(args.out)] if args.out else [])]
    text = report(args.quick, say, " ".join(["python benchmarks/roughness.py", *words]))
    say("done")
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
