"""`stiffguide demo`: the test set, a batch, a comparison and samples; tables and pictures."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor
from tqdm import tqdm

from stiffguide import problems
from stiffguide.cli import demo_samples, figures, runs, tables, work_precision
from stiffguide.cli.demo_samples import BUDGETS
from stiffguide.cli.figures import Panel
from stiffguide.cli.runs import Run
from stiffguide.cli.tables import Table
from stiffguide.errors import InputError, UnsupportedError, printable
from stiffguide.problems import Problem
from stiffguide.stepping.contracts import Output
from stiffguide.stepping.output import EveryStep
from stiffguide.tensors import one_thread

PROBLEMS = (
    "robertson",
    "van_der_pol",
    "van_der_pol_scaled",
    "hires",
    "orego",
    "e5_reduced",
    "pollu",
    "hydrogen_ignition",
    "brusselator",
    "brusselator_1d",
)
METHODS = ("rodas5p", "kvaerno5")
EXPLICIT, PATIENCE = "tsit5", 1000  # what goes wrong, and the attempts it is given
RTOL = 1e-6
TIMES = 400
STEPS_OF = "van_der_pol_scaled"  # shown by its steps, since its curve is that of van_der_pol
SPREAD = 1.0  # the rate constants of a row: a factor exp(z) each, z normal
COMPARED = "hires"
CURVES = ("rodas5p", "rodas4", "kvaerno5", "kencarp4")
RTOLS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)


def demo(folder: Path, rows: int, quick: bool, progress: bool | None) -> None:
    """Solve the stiff test set and a batch, compare methods, sample digits; about a minute."""
    start = time.perf_counter()
    folder.mkdir(exist_ok=True)
    out = tables.console()
    show = sys.stderr.isatty() if progress is None else progress
    with one_thread():
        written = _run_all(out, folder, rows, quick, show)
    out.print(f"{time.perf_counter() - start:.0f} s on one core; wrote")
    for path in written:
        out.print(f"  {printable(str(path))}", markup=False)


def _run_all(out: Console, folder: Path, rows: int, quick: bool, show: bool) -> list[Path]:
    runs.run(problems.brusselator(), METHODS[0], 1e-3)  # what torch does once, it does here
    results = _test_set(PROBLEMS[:1] if quick else PROBLEMS, show)
    solved = _results_table(results)
    solved.show(out)
    _explain(out, results)
    pictures = [figures.save(_panels(results), folder / "solutions.png")]
    counted, picture = _batch(rows, out, folder)
    counted.show(out)
    pictures.append(picture)
    names, rtols = (CURVES[:2], RTOLS[:2]) if quick else (CURVES, RTOLS)
    compared = problems.get(COMPARED)
    points, _ = work_precision.measure(compared, names, rtols, runs.MOST_ATTEMPTS, show)
    made = figures.work_precision(points, compared.title)
    pictures.append(figures.save(made, folder / "work_precision.png"))
    sampled, sheets = _digits(out, folder, BUDGETS[:2] if quick else BUDGETS)
    return pictures + sheets + tables.write((solved, counted, *sampled), folder, "demo")


def _test_set(names: Sequence[str], show: bool) -> list[Run]:
    results = []
    pairs = [(name, method) for name in names for method in (*METHODS, EXPLICIT)]
    for name, method in tqdm(pairs, disable=not show, leave=False, unit="solve"):
        problem = problems.get(name)
        save_at = _kept(problem) if method == METHODS[0] else None
        most = PATIENCE if method == EXPLICIT else runs.MOST_ATTEMPTS
        results.append(runs.run(problem, method, RTOL, save_at=save_at, max_attempts=most))
    return results


def _kept(problem: Problem) -> Tensor | Output:
    """What a picture needs: the solution at many times, or the steps themselves."""
    return EveryStep() if problem.name == STEPS_OF else runs.times(problem, TIMES)


def _results_table(results: Sequence[Run]) -> Table:
    columns = ("problem", "method", "steps", "rejected", "nfe", "njac", "nlu", "digits", "time")
    table = Table(
        f"The stiff test set at rtol = {RTOL:g}",
        (*columns, "status"),
        left=("problem", "method", "status"),
    )
    for result in results:
        stats = result.solution.stats
        counts = (stats.accepted, stats.rejected, stats.nfe, stats.njac, stats.nlu)
        digits = "-" if result.digits is None else f"{result.digits:.1f}"
        status = "ok" if result.ok else "failed"
        table.add(
            result.problem.name,
            result.method,
            *(f"{int(count):,}" for count in counts),
            digits,
            f"{result.seconds:.2f} s",
            status,
        )
    return table


def _explain(out: Console, results: Sequence[Run]) -> None:
    """The failure of the explicit method, in its own words."""
    failed = next((result for result in results if not result.ok), None)
    if failed is not None:
        out.print(f"Why {failed.method} fails on {failed.problem.name}:", style="bold")
        out.print(failed.solution.message + "\n", markup=False)


def _panels(results: Sequence[Run]) -> Any:
    shown = [result for result in results if result.method == METHODS[0]]
    return figures.solutions([_panel(result) for result in shown])


def _panel(result: Run) -> Panel:
    problem, t, y = result.problem, result.solution.t, result.solution.y
    own = figures.look(problem)
    if problem.name != STEPS_OF:
        return Panel(problem.title, t, y, own)
    lengths = replace(own, components=(0,), names=("dt",), value="dt, same unit", floor=1e-9)
    title = f"{problem.title}: the steps of {result.method}"
    return Panel(title, t[1:], t.diff().unsqueeze(-1), lengths)


def _batch(rows: int, out: Console, folder: Path) -> tuple[Table, Path]:
    """Perturbed Robertson problems in one solve, every row with its own steps."""
    problem = runs.perturbed(problems.robertson(), rows, seed=0, spread=SPREAD)
    results = {"eager": runs.run(problem, METHODS[0], RTOL, save_at=runs.times(problem, TIMES))}
    solution = results["eager"].solution
    made = figures.batch(problem, solution.t[0], solution.y, _steps(results["eager"]))
    try:
        first, results["kernel"] = (
            runs.run(problem, METHODS[0], RTOL, backend="kernel") for _ in range(2)
        )
    except UnsupportedError as error:
        out.print(f"No generated kernel here: {error}", markup=False)
    title = f"{rows:,} perturbed Robertson problems with {METHODS[0]}, one solve"
    table = Table(title, ("", *results), left=("",))
    good = [int(result.solution.success.sum()) for result in results.values()]
    table.add("rows that reached t1", *(f"{count:,}" for count in good))
    for name, pick in (("least steps of a row", "min"), ("median", "median"), ("most", "max")):
        table.add(name, *(int(getattr(_steps(result), pick)()) for result in results.values()))
    table.add("time", *(f"{result.seconds:.3g} s" for result in results.values()))
    table.add("rows per second", *(f"{rows / r.seconds:,.0f}" for r in results.values()))
    if "kernel" in results:
        table.add("first call, with the build", "", f"{first.seconds:.2g} s")
    return table, figures.save(made, folder / "batch.png")


def _digits(out: Console, folder: Path, budgets: tuple[int, ...]) -> tuple[list[Table], list[Path]]:
    """The part that samples, where its weights are to be found."""
    try:
        denoiser = demo_samples.digits()
    except InputError as error:
        out.print(f"No digits are sampled here: {error}", markup=False)
        return [], []
    sampled, pictures = demo_samples.sample_digits(denoiser, folder, budgets)
    sampled.show(out)
    return [sampled], pictures


def _steps(result: Run) -> Tensor:
    return result.solution.stats.accepted + result.solution.stats.rejected
