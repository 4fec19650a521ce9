"""`stiffguide work-precision`: what accuracy costs, method by method."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from stiffguide import methods as steppers
from stiffguide import problems
from stiffguide.cli import figures, runs
from stiffguide.cli.figures import Point
from stiffguide.cli.tables import Table, console, wrote
from stiffguide.errors import InputError
from stiffguide.problems import Problem
from stiffguide.tensors import one_thread

BEST_OF = 2  # solves per point; the faster one counts


def work_precision(
    *,
    problem: str,
    methods: str,
    rtols: str,
    max_attempts: int,
    plot: Path | None,
    save: Path | None,
    progress: bool | None,
) -> None:
    """Solve a problem with several methods at several tolerances; compare error, time and nfe."""
    figures.check(plot)
    chosen = problems.get(problem)
    names = [name.strip() for name in methods.split(",") if name.strip()]
    for name in names:
        steppers.get(name)  # an unknown name is refused before anything is solved
    if not names:
        raise InputError(f"methods: {methods!r} names none; see `stiffguide methods`")
    show = sys.stderr.isatty() if progress is None else progress
    points, failures = measure(chosen, names, tolerances(rtols), max_attempts, show)
    out = console()
    _table(chosen, points).show(out)
    for sentence in failures:
        out.print(sentence, style="red", markup=False)
    if save is not None:
        record = {"problem": chosen.name, "points": [point._asdict() for point in points]}
        save.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        wrote(out, save)
    if plot is not None and points:
        made = figures.work_precision(points, chosen.title)
        wrote(out, figures.save(made, plot))
    if not points:
        sys.exit(1)


def tolerances(text: str) -> list[float]:
    """Read "1e-3:1e-9" as decades and "1e-3,1e-5" as a list."""
    try:
        if ":" in text:
            first, last = (math.log10(float(word)) for word in text.split(":"))
            count = round(abs(last - first)) + 1
            step = (last - first) / max(count - 1, 1)
            values = [float(f"{10 ** (first + k * step):.3g}") for k in range(count)]
        else:
            values = [float(word) for word in text.split(",")]
    except (ValueError, OverflowError):  # of round(inf)
        raise InputError(f'rtols: {text!r} is neither "1e-3:1e-9" nor "1e-3,1e-5"') from None
    if not all(0 < value < 1 for value in values):
        raise InputError(f"rtols: every tolerance must lie between 0 and 1, not {text}")
    return values


def measure(
    problem: Problem,
    names: Sequence[str],
    rtols: Iterable[float],
    max_attempts: int,
    show: bool,
) -> tuple[list[Point], list[str]]:
    """The points of the solves that ended well, and a sentence for each of the others."""
    if problem.reference is None:
        raise InputError(f"{problem.name} has no reference solution to measure errors by")
    points: list[Point] = []
    failures: list[str] = []
    pairs = [(name, rtol) for name in names for rtol in rtols]
    for name, rtol in tqdm(pairs, disable=not show, leave=False, unit="point"):
        with one_thread():
            made = [
                runs.run(problem, name, rtol, max_attempts=max_attempts) for _ in range(BEST_OF)
            ]
        best = min(made, key=lambda run: run.seconds)
        if best.error is None:
            failures.append(f"{name} at rtol = {rtol:g}: {best.solution.message}")
            continue
        error = max(best.error, runs.TIGHTEST)
        nfe = int(best.solution.stats.nfe)
        points.append(Point(best.solution.method, rtol, error, best.seconds, nfe))
    return points, failures


def _table(problem: Problem, points: Sequence[Point]) -> Table:
    columns = ("method", "rtol", "error", "time (s)", "nfe")
    table = Table(f"{problem.title}: work and precision", columns, left=("method",))
    for p in points:
        table.add(p.method, f"{p.rtol:.0e}", f"{p.error:.1e}", f"{p.seconds:.3f}", f"{p.nfe:,}")
    return table
