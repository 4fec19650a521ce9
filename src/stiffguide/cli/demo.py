"""`stiffguide demo`: the test set, a batch and a comparison; tables and pictures in a folder."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from tqdm import tqdm

from stiffguide import problems
from stiffguide.cli import figures, runs, tables, work_precision
from stiffguide.cli.figures import Panel
from stiffguide.cli.runs import Run
from stiffguide.cli.tables import Table

PROBLEMS = (
    "robertson",
    "van_der_pol",
    "van_der_pol_scaled",
    "hires",
    "orego",
    "e5_reduced",
    "pollu",
    "brusselator",
    "brusselator_1d",
)
METHODS = ("rodas5p", "kvaerno5")
EXPLICIT, PATIENCE = "tsit5", 1000  # what goes wrong, and the attempts it is given
RTOL = 1e-6
TIMES = 400
ROWS = 1000
COMPARED = "hires"
CURVES = ("rodas5p", "rodas4", "kvaerno5", "kencarp4")
RTOLS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)


@click.command()
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out"),
    show_default=True,
    help="where tables and pictures go",
)
@click.option("--rows", type=click.IntRange(min=2), default=ROWS, show_default=True)
@click.option("--quick", is_flag=True, hidden=True, help="two problems, two tolerances")
@click.option("--progress/--no-progress", default=None, help="show how far it is")
def demo(folder: Path, rows: int, quick: bool, progress: bool | None) -> None:
    """Solve the stiff test set, a batch, and compare methods; about a minute."""
    start = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    out = tables.console()
    show = sys.stderr.isatty() if progress is None else progress
    runs.run(problems.brusselator(), METHODS[0], 1e-3)  # what torch does once, it does here
    results = _test_set(PROBLEMS[:2] if quick else PROBLEMS, show)
    first = _results_table(results)
    first.show(out)
    _explain(out, results)
    written = [figures.save(_panels(results), folder / "solutions.png")]
    second, picture = _batch(rows, folder)
    second.show(out)
    written.append(picture)
    points, _ = work_precision.measure(
        problems.get(COMPARED),
        CURVES[:2] if quick else CURVES,
        RTOLS[:2] if quick else RTOLS,
        runs.MOST_ATTEMPTS,
        show,
    )
    made = figures.work_precision(points, problems.get(COMPARED).title)
    written.append(figures.save(made, folder / "work_precision.png"))
    written += tables.write((first, second), folder, "demo")
    out.print(f"{time.perf_counter() - start:.0f} s; wrote " + ", ".join(map(str, written)))


def _test_set(names: Sequence[str], show: bool) -> list[Run]:
    results = []
    pairs = [(name, method) for name in names for method in (*METHODS, EXPLICIT)]
    for name, method in tqdm(pairs, disable=not show, leave=False, unit="solve"):
        problem = problems.get(name)
        save_at = runs.times(problem, TIMES) if method == METHODS[0] else None
        most = PATIENCE if method == EXPLICIT else runs.MOST_ATTEMPTS
        results.append(runs.run(problem, method, RTOL, save_at=save_at, max_attempts=most))
    return results


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
        status = "ok" if result.ok else f"stopped after {PATIENCE} attempts"
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


def _panels(results: Sequence[Run]) -> object:
    shown = [result for result in results if result.method == METHODS[0]]
    return figures.solutions(
        [Panel(r.problem, r.problem.title, r.solution.t, r.solution.y) for r in shown]
    )


def _batch(rows: int, folder: Path) -> tuple[Table, Path]:
    """Perturbed Robertson problems in one solve, every row with its own steps."""
    problem = runs.perturbed(problems.robertson(), rows, seed=0)
    result = runs.run(problem, METHODS[0], RTOL, save_at=runs.times(problem, TIMES // 2))
    solution = result.solution
    steps = solution.stats.accepted + solution.stats.rejected
    made = figures.batch(problem, solution.t[0], solution.y, steps)
    table = Table(
        f"{rows:,} perturbed Robertson problems with {METHODS[0]}", ("", "value"), left=("",)
    )
    table.add("rows that reached t1", f"{int(solution.success.sum()):,}")
    table.add("least steps of a row", int(steps.min()))
    table.add("median", int(steps.median()))
    table.add("most", int(steps.max()))
    table.add("time", f"{result.seconds:.2f} s")
    table.add("problems per second", f"{rows / result.seconds:,.0f}")
    return table, figures.save(made, folder / "batch.png")
