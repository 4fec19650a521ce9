"""Guidance and samplers against the exact flow: two tables, on six analytic problems and a network.

    python benchmarks/guidance.py                 # about six minutes on one core
    python benchmarks/guidance.py --quick         # less than one
    python benchmarks/guidance.py --out docs/guidance_benchmark.md

Every cell is a geometric mean, over problems and seeds, of a ratio of median end-point errors at
equal NFE: over Heun's method without guidance in the first table, over the best unguided sampler
(chosen anew for each problem, seed and NFE) in the second. `guidance_entries` holds what was
measured when the rules were designed, by other code;
cells that leave it by more than half are listed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from guidance_entries import (
    BASELINES,
    BEST_NFE,
    CONFIDENCE,
    EXPECTED_BEST,
    EXPECTED_HEUN,
    HEUN_NFE,
    STIFF,
    Array,
    best_entries,
    guided_entries,
)
from torch import Tensor

from stiffguide.adapters.diffusion import grid, problems
from stiffguide.adapters.diffusion.calibrate import CalibratedGrid, calibrate_grid
from stiffguide.adapters.diffusion.curves import Entry, curves, markdown
from stiffguide.adapters.diffusion.digits import load_digits_denoiser
from stiffguide.adapters.diffusion.metrics import distance_to_flow
from stiffguide.adapters.diffusion.model_guidance import classifier_free
from stiffguide.adapters.diffusion.prediction import Denoiser

Errors = dict[str, dict[str, Array]]  # entry -> metric -> (NFE,)


@dataclass(frozen=True)
class Case:
    """A problem with start states (B, F), the flow's end points (B, F), and a grid of its own."""

    name: str
    denoiser: Denoiser
    noise: Tensor
    end: Tensor
    calibrated: CalibratedGrid

    @classmethod
    def solved(cls, name: str, denoiser: Denoiser, noise: Tensor, made: CalibratedGrid) -> Case:
        return cls(name, denoiser, noise, problems.reference_end(denoiser, noise), made)


@dataclass
class Study:
    """Errors of every case, and their ratios."""

    budgets: tuple[int, ...]
    errors: list[Errors] = field(default_factory=list)

    def ratios(self, over: Sequence[str], name: str, metric: str = "median") -> Array:
        """Errors (cases, NFE) of one entry over the smallest of some others."""
        rows = [e[name][metric] / np.min([e[o][metric] for o in over], 0) for e in self.errors]
        return np.array(rows)


def analytic(names: Sequence[str], seeds: Sequence[int], samples: int) -> Iterator[Case]:
    for name in names:
        for seed in seeds:
            problem = problems.get(name, seed)
            denoiser, noise = problem.folded(
                problem.noise(1000 + seed, min(problem.samples, samples))
            )
            _, others = problem.folded(problem.noise(2000 + seed, 32))
            yield Case.solved(name, denoiser, noise, calibrate_grid(denoiser, others))


def network(seeds: Sequence[int], samples: int, scale: float = 1.0) -> Iterator[Case]:
    """The digits, one class in ten; with classifier-free guidance if scale is not 1."""

    def denoiser(count: int) -> Denoiser:
        strong = load_digits_denoiser(torch.arange(count) % 10, torch.float64)
        return strong if scale == 1 else classifier_free(strong, strong.of_class(None), scale)

    def noise(seed: int, count: int) -> Tensor:
        random = torch.Generator().manual_seed(seed)
        return torch.randn(count, 64, generator=random, dtype=torch.float64)

    for seed in seeds:
        made = calibrate_grid(denoiser(32), noise(2000 + seed, 32))
        yield Case.solved("digits", denoiser(samples), noise(1000 + seed, samples), made)


def measure(case: Case, entries: Sequence[Entry], budgets: Sequence[int]) -> Errors:
    """Median and RMS distance to the flow (NFE,) for every entry."""
    metrics = {which: distance_to_flow(case.end, which) for which in ("median", "rms")}
    found: Errors = {}
    points = curves(case.denoiser, case.noise, entries, budgets, metrics)
    for entry in entries:
        mine = [point for point in points if point.sampler == entry.name]
        assert all(point.nfe == point.budget for point in mine), f"{entry.name}: NFE is off"
        found[entry.name] = {m: np.array([p.values[m] for p in mine]) for m in metrics}
    return found


def mean(ratios: Array) -> Array:
    """The geometric mean over cases."""
    found: Array = np.exp(np.log(ratios).mean(0))
    return found


def cells(values: Array, worst: Array | None = None) -> list[str]:
    texts = [f"{v:.2f}" if v >= 0.1 else f"{v:.3f}" for v in values]
    if worst is None:
        return texts
    return [f"{text} ({w:.2f})" for text, w in zip(texts, worst, strict=True)]


def off(values: Array, expected: Sequence[float], name: str, budgets: Sequence[int]) -> list[str]:
    """One sentence for every cell that is not where it was expected."""
    found = []
    for nfe, value, target in zip(budgets, values, expected, strict=True):
        allowed = 1.5 if target >= 0.1 else 2.0
        if not target / allowed <= value <= target * allowed:
            found.append(f"{name} at NFE {nfe}: {value:.3f}, expected {target:.3f}")
    return found


def heun_table(study: Study) -> tuple[str, list[str]]:
    """The first table, with the worst case in brackets, and its surprises."""
    for errors in study.errors:
        tried = [errors[f"ERK-Guid {w} {c}"] for w in STIFF for c in CONFIDENCE]
        errors["ERK-Guid, best"] = {m: np.min([t[m] for t in tried], 0) for m in ("median", "rms")}
    lines, surprises = [], []
    for name, expected in EXPECTED_HEUN.items():
        ratios = study.ratios(["Heun"], name)
        lines.append([name, *cells(mean(ratios), ratios.max(0))])
        wanted = dict(zip(HEUN_NFE, expected, strict=True))
        surprises += off(mean(ratios), [wanted[n] for n in study.budgets], name, study.budgets)
    return markdown(["NFE", *map(str, study.budgets)], lines), surprises


def best_table(study: Study, metric: str = "median") -> tuple[str, list[str]]:
    """The second table, with the mean over all NFE and the worst cell, and its surprises."""
    lines, surprises = [], []
    for name, expected in EXPECTED_BEST.items():
        ratios = study.ratios([f"Karras: {b}" for b in BASELINES], name, metric)
        lines.append([name, *cells(mean(ratios)), *cells(extremes(ratios, study.budgets))])
        wanted = dict(zip(BEST_NFE, expected, strict=True))
        surprises += off(mean(ratios), [wanted[n] for n in study.budgets], name, study.budgets)
    for label in ("mix", "calibrated"):
        ratios = study.ratios([f"{label}: {b}" for b in BASELINES], f"{label}: EMG", metric)
        name = f"{label}: EMG over the best on {label}"
        lines.append([name, *cells(mean(ratios)), *cells(extremes(ratios, study.budgets))])
    header = ["NFE", *map(str, study.budgets), "all", "from 8 on", "worst"]
    return markdown(header, lines), surprises


def extremes(ratios: Array, budgets: Sequence[int]) -> Array:
    """The mean of all, the mean from NFE 8 on, the largest."""
    later = ratios[:, np.array(budgets) >= 8]
    return np.array([*(np.exp(np.log(r).mean()) for r in (ratios, later)), ratios.max()])


def digits_table(cases: Sequence[tuple[str, Case]], nfe: int = 16) -> str:
    """Distances to the flow on the network, not ratios."""
    entries = [e for e in guided_entries() if e.name in EXPECTED_HEUN or e.name == "Heun"]
    entries = [*entries, Entry("EMG", "emg"), Entry("EMG, mix grid", "emg", grid.mix)]
    columns = [measure(case, entries, [nfe]) for _, case in cases]
    lines = [
        [e.name, *(cell for c in columns for cell in cells(c[e.name]["median"]))] for e in entries
    ]
    return markdown([f"median distance at NFE {nfe}", *(label for label, _ in cases)], lines)


def report(
    names: Sequence[str], seeds: Sequence[int], quick: bool, say: Callable[[str], None]
) -> str:
    """Measure everything; the text of all tables."""
    samples = 64 if quick else 256
    heun = Study((8, 16) if quick else HEUN_NFE)
    best = Study((8, 16) if quick else BEST_NFE)
    for case in analytic(names, seeds, samples):
        say(case.name)
        heun.errors.append(measure(case, guided_entries(), heun.budgets))
        best.errors.append(measure(case, best_entries(case.calibrated), best.budgets))
    for case in network(seeds, samples):
        say(case.name)
        best.errors.append(measure(case, best_entries(case.calibrated), best.budgets))
    first, surprises = heun_table(heun)
    second, more = best_table(best)
    third, _ = best_table(best, "rms")
    branches = [("conditional", 1.0), ("guided by 2.5", 2.5)]
    odd = surprises + more if set(names) == set(problems.NAMES) else ["not all problems were run"]
    fourth = digits_table([(b, next(network(seeds[:1], samples, s))) for b, s in branches])
    where = f"problems: {', '.join(names)}; seeds {', '.join(map(str, seeds))}; {samples} samples"
    return "\n".join(
        [
            "# Guidance and samplers, measured\n",
            f"Written by `benchmarks/guidance.py` ({where}): distances to the exact end points of "
            "the flow from sigma 80 to 0.002. They are about analytic problems and a network of 64 "
            "numbers: what holds on image networks stands in [](image_model.md) and "
            "[](image_networks_benchmark.md).\n",
            "Median end-point error over Heun's: geometric mean (worst case).\n\n" + first,
            "\nMedian end-point error over the best unguided sampler on the Karras grid, with the "
            "digits network.\n\n" + second,
            "\nThe same for root mean squares.\n\n" + third,
            "\nThe digits network.\n\n" + fourth,
            f"\nCells that are not where they were expected: {'; '.join(odd) or 'none'}.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default=None, help="such as 0,1,2 (the default; --quick: 0)")
    parser.add_argument("--problems", default=None, help=f"of {', '.join(problems.NAMES)}")
    parser.add_argument("--quick", action="store_true", help="three problems, two NFE, 64 samples")
    parser.add_argument("--out", type=Path, help="write the tables there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    few = ("aniso2d", "lr64", "lr3072")
    names = args.problems.split(",") if args.problems else few if args.quick else problems.NAMES
    seeds = [int(s) for s in (args.seeds or ("0" if args.quick else "0,1,2")).split(",")]
    start = time.perf_counter()

    def say(name: str) -> None:
        print(f"[{time.perf_counter() - start:6.1f} s] {name}", file=sys.stderr, flush=True)

    text = report(names, seeds, args.quick, say)
    say("done")
    print(text)
    if args.out:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
