"""Weekly doses over a year: every patient's own schedule, beside SciPy restarted at each dose.

python benchmarks/doses.py --out docs/doses_benchmark.md
"""

from __future__ import annotations

import one_thread  # noqa: F401  before the libraries that read its settings

# isort: split
import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import work_precision as wp
from scipy.integrate import solve_ivp

import stiffguide as sg

PATIENTS, CHECKED, FEW, YEAR, WEEKS = 10_000, 20, 2, 365.0, 52
RTOLS = tuple(10.0**-k for k in range(3, 9))
ATOL = 1e-3  # of rtol: concentrations are of the order of 1, and bound drug far below
ROUNDS, SMALL = 5, 2.0
F64 = torch.float64
TEXT = """\
# Weekly doses over a year

Written by `python benchmarks/doses.py --out docs/doses_benchmark.md`. A drug binds to its target
(target-mediated disposition: drug, free target and complex, stiff because binding takes minutes and
elimination weeks). {patients:,} patients, each with rate constants of their own (log-normal, 30 %),
get {weeks} doses of their own size, each on a day and at an hour of its own. stiffguide solves all
of them in one call: `tstops` (B, {weeks}) and `jump_at`, `backend="kernel"`. SciPy's `solve_ivp` is
started anew at every dose, for {checked} of the patients with LSODA and {few} with the others. CPU
time, one thread, contenders taken in turn in one process, the median of {rounds} runs; the absolute
tolerance is rtol times {atol:g}. The error is max|dy| / max|y| of a patient at the end of the year,
in the median of these patients, beside Radau at rtol = 1e-11. Nobody was left out.

## At the same error

Milliseconds of CPU time a patient, at the error of `scipy LSODA` at rtol = 1e-6, {error:.1e}. `*`
marks an error outside those measured: there the cheapest run counts where it is more accurate than
asked for, and the last two runs are extended where it is not.

| | ms a patient | times longer than `{ours}` |
| --- | --- | --- |
{matched}

## All runs

Milliseconds of CPU time a patient, and in brackets the error.

| rtol | {names} |
| --- | {rules} |
{table}
"""


class Cohort(NamedTuple):
    """Patients: rate constants (B, 5), days of doses (B, K), their sizes (B,)."""

    rates: np.ndarray[Any, Any]
    days: np.ndarray[Any, Any]
    doses: np.ndarray[Any, Any]

    def first(self, count: int) -> Cohort:
        return Cohort(*(x[:count] for x in self))

    @property
    def start(self) -> np.ndarray[Any, Any]:
        """No drug, and the target at rest (B, 3)."""
        rest = self.rates[:, 3] / self.rates[:, 4]
        return np.stack((np.zeros_like(rest), rest, np.zeros_like(rest)), -1)


def cohort(patients: int) -> Cohort:
    """The same patients in every run."""
    draw = np.random.default_rng(0)
    typical = np.array([0.05, 200.0, 0.02, 0.05, 0.1])  # kel, kon, koff, ksyn, kdeg, a day
    rates = typical * np.exp(0.3 * draw.standard_normal((PATIENTS, 5)))
    days = 7.0 * np.arange(WEEKS) + 0.5 + 3.0 * draw.random((PATIENTS, WEEKS))
    doses = np.exp(0.3 * draw.standard_normal(PATIENTS))
    return Cohort(rates, days, doses).first(patients)


def binding(t: torch.Tensor, y: torch.Tensor, rates: torch.Tensor, dose: torch.Tensor) -> Any:
    """Drug, target, complex; the complex is taken up at 0.04 a day."""
    drug, target, both = y.unbind(-1)
    kel, kon, koff, ksyn, kdeg = rates.unbind(-1)
    bind = kon * drug * target - koff * both
    return torch.stack((-kel * drug - bind, ksyn - kdeg * target - bind, bind - 0.04 * both), -1)


def given(t: torch.Tensor, y: torch.Tensor, rates: torch.Tensor, dose: torch.Tensor) -> Any:
    """The state after a dose."""
    return torch.stack((y[:, 0] + dose, y[:, 1], y[:, 2]), -1)


def in_one_call(method: str) -> Callable[[Cohort, float], np.ndarray[Any, Any]]:
    """All patients by a kernel."""

    def solve(c: Cohort, rtol: float) -> np.ndarray[Any, Any]:
        done = sg.solve(
            binding,
            torch.from_numpy(c.start),
            0.0,
            YEAR,
            method=method,
            rtol=rtol,
            atol=ATOL * rtol,
            batched=True,
            args=(torch.from_numpy(c.rates), torch.from_numpy(c.doses)),
            tstops=torch.from_numpy(c.days),
            jump_at=given,
            backend="kernel",
        )
        found: np.ndarray[Any, Any] = done.raise_if_failed().y[:, -1].numpy()
        return found

    return solve


def restarted(method: str) -> Callable[[Cohort, float], np.ndarray[Any, Any]]:
    """One patient after the other, one solve from dose to dose."""

    def solve(c: Cohort, rtol: float) -> np.ndarray[Any, Any]:
        return np.stack([_patient(c, i, method, rtol) for i in range(len(c.doses))])

    return solve


def _patient(c: Cohort, i: int, method: str, rtol: float) -> np.ndarray[Any, Any]:
    kel, kon, koff, ksyn, kdeg = c.rates[i].tolist()

    def f(t: float, y: Any) -> list[float]:
        drug, target, both = y.tolist()
        bind = kon * drug * target - koff * both
        return [-kel * drug - bind, ksyn - kdeg * target - bind, bind - 0.04 * both]

    y, edges = c.start[i], [0.0, *c.days[i], YEAR]
    for place, (begin, end) in enumerate(itertools.pairwise(edges)):
        if place:
            y = y + np.array([c.doses[i], 0.0, 0.0])
        found = solve_ivp(f, (begin, end), y, method, rtol=rtol, atol=ATOL * rtol)
        assert found.success, found.message
        y = found.y[:, -1]
    return y


OURS, REFERENCE = "stiffguide rodas5p", "scipy LSODA"
CONTENDERS = {
    OURS: (in_one_call("rodas5p"), PATIENTS),
    "stiffguide rodas4": (in_one_call("rodas4"), PATIENTS),
    REFERENCE: (restarted("LSODA"), CHECKED),
    "scipy BDF": (restarted("BDF"), FEW),
    "scipy Radau": (restarted("Radau"), FEW),
}


def measured(rtols: tuple[float, ...], scale: int, rounds: int) -> list[wp.Curve]:
    """Every contender at every tolerance: seconds a patient, and errors."""
    checked = max(CHECKED // scale, 1)
    exact = restarted("Radau")(cohort(checked), 1e-3 * min(rtols))
    curves = [wp.Curve(name, ours=name.startswith("stiffguide")) for name in CONTENDERS]
    for rtol in rtols:
        spent: list[list[float]] = [[] for _ in curves]
        errors = [0.0] * len(curves)
        for again in range(rounds):
            for k, (solve, rows) in enumerate(CONTENDERS.values()):
                who = cohort(max(rows // scale, 1))
                if again and sum(spent[k]) * len(who.doses) > SMALL:
                    continue
                if not again and curves[k].ours:
                    solve(who, rtol)  # builds the kernel
                began = time.process_time()
                found = solve(who, rtol)
                spent[k].append((time.process_time() - began) / len(who.doses))
                errors[k] = _median_error(found, exact)
        for curve, seconds, error in zip(curves, spent, errors, strict=True):
            curve.points.append(wp.Point(rtol, statistics.median(seconds), error))
            print(f"{rtol:g} {curve.name}: {1e3 * curve.points[-1].seconds:.3g} ms, {error:.1e}")
    return curves


def _median_error(found: np.ndarray[Any, Any], exact: np.ndarray[Any, Any]) -> float:
    rows = min(len(found), len(exact))
    off = np.abs(found[:rows] - exact[:rows]).max(-1) / np.abs(exact[:rows]).max(-1)
    return max(float(np.median(off)), 1e-17)


def text(curves: list[wp.Curve]) -> str:
    """The page."""
    named = {c.name: c for c in curves}
    around = named[REFERENCE].at(wp.AROUND)
    assert around is not None
    at_error = {name: wp.matched(c.points, around.error) for name, c in named.items()}
    base = at_error[OURS]
    assert base is not None
    lines = []
    for name, one in at_error.items():
        if one is None:
            lines.append(f"| {name} | - | - |")
            continue
        mark = "*" * one.beyond
        times = one.seconds / base.seconds
        lines.append(f"| {name} | {1e3 * one.seconds:.3g}{mark} | {times:.3g}{mark} |")
    table = [
        f"| {points[0].rtol:.0e} | "
        + " | ".join(f"{1e3 * p.seconds:.3g} ({p.error:.0e})" for p in points)
        + " |"
        for points in zip(*(c.points for c in curves), strict=True)
    ]
    return TEXT.format(
        patients=PATIENTS,
        weeks=WEEKS,
        checked=CHECKED,
        few=FEW,
        rounds=ROUNDS,
        atol=ATOL,
        error=around.error,
        ours=OURS,
        matched="\n".join(lines),
        names=" | ".join(named),
        rules=" | ".join("---" for _ in named),
        table="\n".join(table),
    )


def main() -> None:
    """Measure, print, and write the page if a place is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true", help="few patients, two tolerances")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    quick = chosen.quick
    curves = measured(
        (1e-4, wp.AROUND) if quick else RTOLS, 20 if quick else 1, 1 if quick else ROUNDS
    )
    page = text(curves)
    print(page)
    if chosen.out is not None:
        chosen.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
