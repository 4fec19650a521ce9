"""Guidance and samplers against the exact flow: two tables, on six analytic problems and a network.

    python benchmarks/guidance.py                 # about ten minutes on one core
    python benchmarks/guidance.py --quick         # less than one
    python benchmarks/guidance.py --out docs/guidance_benchmark.md

Every cell is a geometric mean, over problems and seeds, of a ratio of median end-point errors at
equal NFE: over Heun's method without guidance in the first table, over the best unguided sampler
(chosen anew for each problem, seed and NFE) in the second. EXPECTED holds what was measured when
the rules were designed, by other code; cells that leave it by more than half are listed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stiffguide.adapters.diffusion import grid, problems
from stiffguide.adapters.diffusion.calibrate import calibrate_grid
from stiffguide.adapters.diffusion.curves import Entry, curves, markdown
from stiffguide.adapters.diffusion.digits import load_digits_denoiser
from stiffguide.adapters.diffusion.exponential import (
    DPMPP_2M,
    DPMPP_3M,
    UNIPC2,
    UNIPC3,
    Multistep,
    Weights,
    slope_weights,
)
from stiffguide.adapters.diffusion.metrics import distance_to_flow
from stiffguide.adapters.diffusion.model_guidance import classifier_free
from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.contracts import Guidance
from stiffguide.guidance import ErkGuid, ErrorDirection

Array = NDArray[np.float64]
Errors = dict[str, dict[str, Array]]  # entry -> metric -> (NFE,)

HEUN_NFE = (6, 8, 12, 16, 24, 32, 48, 64)
BEST_NFE = (6, 8, 12, 16, 24, 32)
STIFF = (0.25, 0.5, 0.75, 1.0, 1.5)
CONFIDENCE = (0.1, 0.3, 0.5, 1.0, 2.0)
BASELINES = ("DPM++ 2M", "DPM++ 3M", "AB3 in sigma", "UniPC2", "UniPC3", "iPNDM4", "DPM-Solver-2")

EXPECTED_HEUN = {
    "Euler/DDIM": (0.11, 0.18, 0.26, 0.50, 0.91, 1.34, 2.15, 2.95),
    "ERK-Guid, paper": (0.49, 0.70, 1.28, 1.54, 1.74, 1.23, 2.24, 2.03),
    "ERK-Guid, best": (0.37, 0.54, 0.47, 0.43, 0.52, 0.47, 0.45, 0.41),
    "EDG": (0.31, 0.36, 0.24, 0.27, 0.38, 0.47, 0.56, 0.59),
    "EDG3": (0.31, 0.36, 0.23, 0.25, 0.27, 0.24, 0.20, 0.17),
    "DPM-Solver-2": (0.71, 0.44, 0.59, 0.56, 0.58, 0.59, 0.57, 0.56),
    "AB3 in sigma": (0.09, 0.11, 0.12, 0.19, 0.23, 0.23, 0.21, 0.18),
    "DEIS-tab3": (0.044, 0.057, 0.080, 0.128, 0.150, 0.155, 0.139, 0.120),
    "DPM++ 2M": (0.03, 0.05, 0.12, 0.19, 0.19, 0.19, 0.22, 0.23),
    "DPM++ 3M": (0.03, 0.10, 0.20, 0.18, 0.13, 0.11, 0.08, 0.06),
}
EXPECTED_BEST = {
    "Karras: UniPC2": (1.07, 1.07, 2.04, 1.56, 1.26, 1.38),
    "Karras: DPM++ 2M": (1.12, 1.09, 2.19, 2.22, 2.53, 2.96),
    "Karras: EMG": (1.08, 0.69, 0.65, 0.41, 0.38, 0.44),
    "mix: UniPC2": (0.65, 0.66, 0.63, 0.41, 0.42, 0.42),
    "mix: EMG": (0.40, 0.22, 0.18, 0.14, 0.16, 0.16),
    "calibrated: UniPC2": (0.68, 0.42, 0.31, 0.23, 0.22, 0.22),
    "calibrated: EMG": (0.26, 0.14, 0.13, 0.09, 0.10, 0.09),
}


@dataclass(frozen=True)
class Case:
    """A problem with start states (B, F) and the flow's end points (B, F)."""

    name: str
    denoiser: Denoiser
    noise: Tensor
    end: Tensor

    @classmethod
    def solved(cls, name: str, denoiser: Denoiser, noise: Tensor) -> Case:
        return cls(name, denoiser, noise, problems.reference_end(denoiser, noise))


@dataclass
class Study:
    """Errors of every case, and their ratios."""

    budgets: tuple[int, ...]
    errors: list[Errors] = field(default_factory=list)

    def ratios(self, over: Sequence[str], name: str, metric: str = "median") -> Array:
        """Errors (cases, NFE) of one entry over the smallest of some others."""
        rows = [e[name][metric] / np.min([e[o][metric] for o in over], 0) for e in self.errors]
        return np.array(rows)


def sigma_clock(sigma: Array) -> Array:
    return sigma


def adams_weights(nodes: tuple[float, ...], a: float, b: float) -> Weights:
    return slope_weights(nodes, a, b, sigma_clock)


def paper_settings(steps: int) -> ErkGuid:
    """What the paper used at 8, 16 and 32 steps, each up to the next."""
    if steps <= 8:
        return ErkGuid(0.5, 0.1)
    return ErkGuid(0.75, 0.3) if steps <= 16 else ErkGuid(1.0, 0.5)


def always(rule: Guidance) -> Callable[[int], Guidance | None]:
    return lambda steps: rule


def unguided(levels: Callable[[int], Tensor] = grid.karras) -> list[Entry]:
    """The unguided samplers; multistep ones lose order towards the end, as their papers advise."""
    ab3 = Multistep("ab3", 3, 3, "slope", adams_weights)
    methods = {
        "DPM-Solver-2": "dpm2",
        "AB3 in sigma": ab3,
        "DEIS-tab3": "deis3",
        "DPM++ 2M": replace(DPMPP_2M, ramp_down=True),
        "DPM++ 3M": replace(DPMPP_3M, ramp_down=True),
        "UniPC2": replace(UNIPC2, ramp_down=True),
        "UniPC3": replace(UNIPC3, ramp_down=True),
        "iPNDM4": "ipndm4",
    }
    return [Entry(name, method, levels) for name, method in methods.items()]


def guided_entries() -> list[Entry]:
    """The lines of the first table, ERK-Guid at every setting included."""
    search = [
        Entry(f"ERK-Guid {w} {c}", guidance=always(ErkGuid(w, c))) for w in STIFF for c in CONFIDENCE
    ]
    return [
        Entry("Heun"),
        Entry("Euler/DDIM", "euler"),
        Entry("ERK-Guid, paper", guidance=paper_settings),
        Entry("EDG", guidance=always(ErrorDirection())),
        Entry("EDG3", guidance=always(ErrorDirection(order=3))),
        *(e for e in unguided() if e.name in EXPECTED_HEUN),
        *search,
    ]


def best_entries(case: Case) -> list[Entry]:
    """The lines of the second table: every sampler on three grids, the last made for the case."""
    made = calibrate_grid(case.denoiser, case.noise[:32])
    found = [Entry("Karras: EMG", "emg")]
    found += [replace(e, name=f"Karras: {e.name}") for e in unguided() if e.name in BASELINES]
    for label, levels in (("mix", grid.mix), ("calibrated", made)):
        found.append(Entry(f"{label}: EMG", "emg", levels))
        found += [
            replace(e, name=f"{label}: {e.name}") for e in unguided(levels) if e.name in BASELINES
        ]
    return found


def analytic(names: Sequence[str], seeds: Sequence[int], samples: int) -> Iterator[Case]:
    for name in names:
        for seed in seeds:
            problem = problems.get(name, seed)
            count = min(problem.samples, samples)
            yield Case.solved(name, *problem.folded(problem.noise(1000 + seed, count)))


def network(seeds: Sequence[int], samples: int, scale: float = 1.0) -> Iterator[Case]:
    """The digits, one class in ten; with classifier-free guidance if scale is not 1."""
    denoiser: Denoiser = load_digits_denoiser(torch.arange(samples) % 10, torch.float64)
    if scale != 1:
        free = load_digits_denoiser(None, torch.float64)
        denoiser = classifier_free(denoiser, free, scale)
    for seed in seeds:
        random = torch.Generator().manual_seed(1000 + seed)
        noise = torch.randn(samples, 64, generator=random, dtype=torch.float64)
        yield Case.solved("digits", denoiser, noise)


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
    return np.exp(np.log(ratios).mean(0))


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
        errors["ERK-Guid, best"] = {
            m: np.min([t[m] for t in tried], 0) for m in ("median", "rms")
        }
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
        lines.append([name, *cells(mean(ratios)), *cells(extremes(ratios))])
        wanted = dict(zip(BEST_NFE, expected, strict=True))
        surprises += off(mean(ratios), [wanted[n] for n in study.budgets], name, study.budgets)
    for label in ("mix", "calibrated"):
        ratios = study.ratios([f"{label}: {b}" for b in BASELINES], f"{label}: EMG", metric)
        name = f"{label}: EMG over the best on {label}"
        lines.append([name, *cells(mean(ratios)), *cells(extremes(ratios))])
    header = ["NFE", *map(str, study.budgets), "all", "8 and more", "worst"]
    return markdown(header, lines), surprises


def extremes(ratios: Array) -> Array:
    """The mean of all, the mean from NFE 8 on (the columns after the first), the largest."""
    later = ratios[:, 1:] if ratios.shape[1] > 1 else ratios
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


def report(names: Sequence[str], seeds: Sequence[int], quick: bool, say: Callable[[str], None]) -> str:
    """Measure everything; the text of all tables."""
    samples = 64 if quick else 256
    heun = Study((8, 16) if quick else HEUN_NFE)
    best = Study((8, 16) if quick else BEST_NFE)
    for case in analytic(names, seeds, samples):
        say(case.name)
        heun.errors.append(measure(case, guided_entries(), heun.budgets))
        best.errors.append(measure(case, best_entries(case), best.budgets))
    for case in network(seeds, samples):
        say(case.name)
        best.errors.append(measure(case, best_entries(case), best.budgets))
    first, surprises = heun_table(heun)
    second, more = best_table(best)
    third, _ = best_table(best, "rms")
    branches = [("conditional", 1.0), ("guided by 2.5", 2.5)]
    fourth = digits_table([(b, next(network(seeds[:1], samples, s))) for b, s in branches])
    where = f"problems: {', '.join(names)}; seeds {', '.join(map(str, seeds))}; {samples} samples"
    return "\n".join(
        [
            f"<!-- benchmarks/guidance.py; {where} -->",
            "Median end-point error over Heun's: geometric mean (worst case).\n\n" + first,
            "\nMedian end-point error over the best unguided sampler on the Karras grid, the digits "
            "network included.\n\n" + second,
            "\nThe same for root mean squares.\n\n" + third,
            "\nThe digits network.\n\n" + fourth,
            "\nCells that are not where they were expected: "
            + ("; ".join(surprises + more) or "none") + ".",
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
