"""Many stiff problems at once beside other solvers: rows per second, and how that grows.

python benchmarks/batch.py --out docs/batch_benchmark.md
"""

from __future__ import annotations

import one_thread  # noqa: F401  before the libraries that read its settings

# isort: split
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import contenders
import page
import peak_memory
import populations
import study
import torch
from populations import Population, Solve
from solvers import Failed

CHECKED = 20  # rows that are compared with the reference
SMALL = 0.5  # CPU seconds: what takes less is timed more often


class Entry(NamedTuple):
    """A solver of batches, and the rows it gets of each population."""

    name: str
    make: Callable[[Population], Solve]
    rows: tuple[int, int]
    needs: tuple[str, ...] = ()


ENTRIES = [
    Entry("stiffguide rodas5p", populations.stiffguide("rodas5p", "kernel"), (10_000, 10_000)),
    Entry("stiffguide rodas4", populations.stiffguide("rodas4", "kernel"), (10_000, 10_000)),
    Entry("stiffguide rodas5p, eager", populations.stiffguide("rodas5p", "eager"), (10_000, 1_000)),
    Entry(
        name="diffrax Kvaerno5, PI, vmap",
        make=populations.diffrax(newton=False),
        rows=(10_000, 1_000),
        needs=("diffrax",),
    ),
    Entry(
        name="diffrax Kvaerno5, PI, Newton, vmap",
        make=populations.diffrax(newton=True),
        rows=(10_000, 1_000),
        needs=("diffrax",),
    ),
    Entry("LSODA in C, loop", populations.loop_in_c("liblsoda"), (10_000, 2_000), ("liblsoda",)),
    Entry("CVODE in C, loop", populations.loop_in_c("libcvode"), (10_000, 2_000), ("libcvode",)),
    Entry("scipy LSODA, loop", populations.scipy_loop, (100, 50)),
    Entry("CVODE, Numba, loop", populations.cvode_loop, (100, 50), ("sksundae", "numba")),
    Entry("torchode Tsit5", populations.torchode, (100, 100), ("torchode",)),
]
POPULATIONS = (populations.robertson, populations.van_der_pol)
TEXT = """\
# Many stiff problems at once

Written by `python benchmarks/batch.py --out docs/batch_benchmark.md`: rtol = 1e-6, atol = 1e-9,
float64, one thread unless said. Every row has parameters of its own: Robertson's reaction to 1e4
with rate constants spread log-normally by 30 %, van der Pol's oscillator to 100 with mu log-uniform
from 1 to 1000. {calls_of_python} {left_out}

![CPU time of a row over the number of rows](images/{picture}.png)

## Rows per CPU second

In brackets the rows that were solved for it, and the median error max|dy| / max|y| of the first
{checked} against LSODA at rtol = 1e-12. Others gain nothing from more rows than they were given:
their loops are linear, and a batch of diffrax takes all rows through as many steps as the longest
needs.

{speed}

How many times slower than `stiffguide rodas5p`:

{quotients}

## The cost of a row

CPU microseconds a row, rodas5p, over the size of the batch. A call costs the same whatever the
number of rows, and at its end lanes stand idle: both show for few rows.

{flatness}

## Two threads

Wall milliseconds, the least of {rounds} runs taken in turn. The last column says what two threads
work more than one: near 1, the gain is what cores are free to give.

{threads}

## Memory

By how much a process grows at most during a solve, beside what `Solution.y` holds.

{memory}
"""


def measured(
    make: Callable[[int], Population], entries: list[Entry], which: int, scale: int
) -> dict[str, tuple[int, float, float] | str]:
    """(rows, CPU seconds, error) of every entry on a population, or how it failed."""
    exact = populations.reference(make(10_000).first(CHECKED if scale == 1 else 2))
    solves, found = {}, {}
    for entry in entries:
        rows = max(entry.rows[which] // scale, 2)
        solve = entry.make(make(10_000).first(rows))
        try:
            error = populations.median_error(solve(), exact[:rows])
        except Failed as failure:
            found[entry.name] = str(failure)
            continue
        solves[entry.name] = rows, solve, error
    spent: dict[str, list[float]] = {name: [] for name in solves}
    for again in range(5):
        for name, (_, solve, _) in solves.items():
            if again < 2 or sum(spent[name]) < SMALL:
                began = time.process_time()
                solve()
                spent[name].append(time.process_time() - began)
    for name, (rows, _, error) in solves.items():
        found[name] = rows, statistics.median(spent[name]), error
    return {entry.name: found[entry.name] for entry in entries}


def speed(results: dict[str, dict[str, tuple[int, float, float] | str]]) -> str:
    """Rows per second, by contender and population."""
    lines = []
    for who in next(iter(results.values())):
        row = [who]
        for found in results.values():
            one = found[who]
            if isinstance(one, str):
                row.append(f"fails: {one}")
                continue
            rows, spent, error = one
            row.append(f"{rows / spent:,.0f} ({rows:,}; {error:.0e})")
        lines.append(row)
    return page.table(["rows per CPU second", *results], lines)


def quotients(results: dict[str, dict[str, tuple[int, float, float] | str]]) -> str:
    """Time of a row over ours."""
    lines = []
    for who in list(next(iter(results.values())))[1:]:
        row = [who]
        for found in results.values():
            one, own = found[who], next(iter(found.values()))
            if isinstance(one, str) or isinstance(own, str):
                row.append("")
            else:
                row.append(page.number(one[1] / one[0] / (own[1] / own[0])))
        lines.append(row)
    return page.table(["time / ours", *results], lines)


def flatness(sizes: list[int]) -> dict[str, list[float]]:
    """CPU seconds a row of rodas5p for every size of the batch."""
    found: dict[str, list[float]] = {}
    for make in POPULATIONS:
        for rows in sizes:
            p = make(rows)
            solve = populations.stiffguide("rodas5p", "kernel")(p)
            spent: list[float] = []
            while len(spent) < 2 or (sum(spent) < SMALL and len(spent) < 15):
                began = time.process_time()
                solve()
                spent.append(time.process_time() - began)
                if spent[0] > 5:
                    break
            found.setdefault(p.title, []).append(statistics.median(spent) / rows)
    return found


def threads(sizes: list[int], rounds: int) -> str:
    """The least wall time with one thread and with two."""
    lines = []
    for make in POPULATIONS:
        for rows in sizes:
            p = make(rows)
            solve = populations.stiffguide("rodas5p", "kernel")(p)
            solve()
            wall: dict[int, list[float]] = {1: [], 2: []}
            work: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(rounds):
                for count in wall:
                    torch.set_num_threads(count)
                    began, worked = time.perf_counter(), time.process_time()
                    solve()
                    wall[count].append(time.perf_counter() - began)
                    work[count].append(time.process_time() - worked)
            torch.set_num_threads(1)
            cells = [page.number(min(t) * 1e3) for t in wall.values()]
            gain, more = min(wall[1]) / min(wall[2]), min(work[2]) / min(work[1])
            lines.append([p.title, f"{rows:,}", *cells, f"{gain:.2f}", f"{more:.2f}"])
    return page.table(
        ["population", "rows", "one thread", "two threads", "gain", "CPU time, two over one"], lines
    )


def memory(shapes: list[tuple[int, int]]) -> str:
    """Bytes kept and grown."""
    lines = []
    for rows, times in shapes:
        kept, grown = peak_memory.measure(rows, times)
        cells = [f"{kept / 1e6:,.1f}", f"{grown / 1e6:,.1f}", f"{grown / rows / times:.0f}"]
        lines.append([f"{rows:,}", str(times), *cells])
    head = ["rows", "times saved", "y holds, MB", "grows by, MB", "bytes a row and time"]
    return page.table(head, lines)


def picture(sizes: list[int], found: dict[str, list[float]], where: Path) -> None:
    """Time of a row over the number of rows."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(5, 3.2))
    for name, values in found.items():
        axis.loglog(sizes, [v * 1e6 for v in values], "o-", label=name)
    axis.set_xlabel("rows")
    axis.set_ylabel("CPU microseconds a row")
    axis.set_ylim(bottom=0.5)
    axis.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    page.save(figure, where)


def main() -> None:
    chosen = study.chosen(__doc__)
    torch.set_num_threads(1)
    quick = chosen.quick
    sizes = [10, 100] if quick else [1_000, 10_000, 100_000, 1_000_000]
    shapes = [(100, 10)] if quick else [(100_000, 1), (1_000_000, 1)]
    shapes += [] if quick else [(100_000, 10), (100_000, 100), (1_000_000, 10)]
    rounds = 2 if quick else 9
    there, missing = contenders.present(ENTRIES)
    makers = POPULATIONS[:1] if quick else POPULATIONS
    scale = 1000 if quick else 1
    results = {make(2).title: measured(make, there, i, scale) for i, make in enumerate(makers)}
    flat = flatness(sizes)
    lines = [[title, *(page.number(v * 1e6) for v in values)] for title, values in flat.items()]
    name = chosen.out.stem if chosen.out else "batch_benchmark"
    text = TEXT.format(
        left_out=page.left_out(missing),
        calls_of_python=contenders.calls(there),
        picture=name,
        checked=CHECKED,
        speed=speed(results),
        quotients=quotients(results),
        flatness=page.table(["us a row", *(f"{n:,}" for n in sizes)], lines),
        rounds=rounds,
        threads=threads([100] if quick else [10_000, 100_000], rounds),
        memory=memory(shapes),
    )
    print(text)
    if chosen.out is not None:
        picture(sizes, flat, chosen.out.parent / "images" / f"{name}.png")
        chosen.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
