"""`stiffguide solve`: one problem of the test set, or a batch of perturbed ones."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from stiffguide import problems
from stiffguide.cli import figures, runs
from stiffguide.cli.runs import Run
from stiffguide.cli.tables import Table, console, wrote
from stiffguide.errors import Interrupted
from stiffguide.kernels.names import Backend

TIMES = 400  # at which pictures and files hold the solution
STOPPED = 130  # the exit code of what Ctrl-C ended, by the custom of shells


def solve(
    *,
    problem: str,
    method: str,
    rtol: float,
    atol: float | None,
    t1: float | None,
    rows: int | None,
    seed: int,
    max_attempts: int,
    backend: Backend,
    plot: Path | None,
    save: Path | None,
    progress: bool | None,
) -> None:
    """Solve a problem and say how it went; exit code 1 if a row failed, 130 after Ctrl-C."""
    figures.check(plot)
    chosen = problems.get(problem)
    if t1 is not None:
        chosen = runs.until(chosen, t1)
    if rows is not None:
        chosen = runs.perturbed(chosen, rows, seed)
    start, status = time.perf_counter(), 0
    try:
        result = runs.run(
            chosen,
            method,
            rtol,
            atol=atol,
            max_attempts=max_attempts,
            save_at=runs.times(chosen, TIMES) if plot or save else None,
            backend=backend,
            progress=backend == "eager" and sys.stderr.isatty() if progress is None else progress,
        )
    except Interrupted as stopped:  # there is still something to show
        seconds = time.perf_counter() - start
        result, status = Run(chosen, method, rtol, stopped.solution, seconds), STOPPED
    out = console()
    _table(result).show(out)
    out.print(result.solution.message, style=None if result.ok else "red", markup=False)
    for path, write in ((save, _save), (plot, _plot)):
        if path is not None:
            write(result, path)
            wrote(out, path)
    if not result.ok:
        sys.exit(status or 1)


def _table(result: Run) -> Table:
    """The statistics: one number each, or least, median and most of the rows."""
    problem, solution = result.problem, result.solution
    batched = solution.layout.batched
    columns = ("least", "median", "most", "total") if batched else ("value",)
    title = f"{problem.title}, {solution.method}, rtol = {result.rtol:g}"
    table = Table(title, ("", *columns), left=("",))
    counts = {"attempts": solution.stats.accepted + solution.stats.rejected}
    for name, count in (counts | solution.stats.as_dict()).items():
        if batched:
            spread = (count.min(), count.median(), count.max(), count.sum())
            table.add(name, *(f"{int(n):,}" for n in spread))
        else:
            table.add(name, f"{int(count):,}")
    blank = ("",) * (len(columns) - 1)
    if batched:
        good = int(solution.success.sum())
        table.add("rows that reached t1", *blank, f"{good:,} of {solution.layout.rows:,}")
        table.add("rows per second", *blank, f"{solution.layout.rows / result.seconds:,.0f}")
    table.add("time", *blank, f"{result.seconds:.3g} s")
    which = "correct digits, row 0" if batched else "correct digits"
    known = "no reference" if problem.reference is None else "-"
    table.add(which, *blank, known if result.digits is None else f"{result.digits:.1f}")
    return table


def _save(result: Run, path: Path) -> None:
    solution = result.solution
    stats = {name: count.numpy() for name, count in solution.stats.as_dict().items()}
    with path.open("wb") as file:  # savez would add an ending to the name
        np.savez(
            file,
            t=solution.t.numpy(),
            y=solution.y.numpy(),
            status=solution.status.numpy(),
            stats=np.stack(list(stats.values()), -1),
            stats_names=np.array(list(stats)),
        )


def _plot(result: Run, path: Path) -> None:
    solution, problem = result.solution, result.problem
    if solution.layout.batched:
        steps = solution.stats.accepted + solution.stats.rejected
        made = figures.batch(problem, solution.t[0], solution.y, steps)
    else:
        title = f"{problem.title} ({solution.method})"
        panel = figures.Panel(title, solution.t, solution.y, figures.look(problem))
        made = figures.solutions([panel])
    figures.save(made, path)
