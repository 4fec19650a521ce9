"""Ignitions of hydrogen and of methane beside Cantera: one, and batches.

python benchmarks/ignition.py --out docs/ignition_benchmark.md
"""

from __future__ import annotations

import one_thread  # noqa: F401  before the libraries that read its settings

# isort: split
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import contenders
import page
import study
import torch
from contenders import Contender
from torch import Tensor

import stiffguide as sg

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.append(str(EXAMPLES))
from delay import HOTTER, delays  # noqa: E402
from mechanism import HYDROGEN, Mechanism, read  # noqa: E402

RTOL, ATOL = 1e-6, 1e-12
TIGHT = 1e-4  # of these, for the references
CHECKED = 10  # rows, spread over a batch, that Cantera solves: its loops are linear
TEXT = """\
# Ignitions beside Cantera

Written by `python benchmarks/ignition.py --out docs/ignition_benchmark.md`: fuel and air burn in an
adiabatic reactor at constant pressure; rtol = 1e-6 and atol = 1e-12 for everybody, float64, one
thread. The field is that of `examples/mechanism.py`, written in torch; Cantera's reactors are
written in C++ and stepped by CVODE, with differences for a dense Jacobian or preconditioned.
{left_out}

## CPU milliseconds an ignition

Medians of {rounds} runs taken in turn; in brackets how many times the rate of "Cantera, dense".
Rows of a batch start at temperatures spread evenly, one row at the lowest. Cantera solves {checked}
rows of a batch, one after the other.

{times}

## Errors

The largest over {checked} rows against {reference} at tolerances ten thousand times smaller: of the
temperature at the end, of the mass fractions at the end, and of the delay (rodas5p), the time at
which a gas is 400 K hotter.

{errors}

## Rates

The largest difference from Cantera's rates of change over its gross rates, at {states} states.

{rates}

## The first run

Seconds of wall time to the first batch, tracing and compiling included.

{first}
"""


@dataclass(frozen=True)
class Fire:
    """A mechanism, a fuel, and where it ignites."""

    name: str
    path: str
    fuel: str
    pressure: float
    coldest: float
    hottest: float
    until: float

    def start(self, gas: Mechanism, rows: int) -> Tensor:
        """Stoichiometric mixtures (rows, 1 + K)."""
        T = torch.linspace(self.coldest, self.hottest, rows, dtype=torch.float64)
        return gas.mixture(self.fuel, torch.ones_like(T), T)


SMALL = Fire("hydrogen", str(HYDROGEN), "H2", 101325.0, 1000.0, 1400.0, 2e-3)
LARGE = Fire("GRI-Mech 3.0", "gri30.yaml", "CH4", 1013250.0, 1400.0, 1700.0, 5e-3)
Solve = Callable[[Tensor, float], Tensor]  # mixtures, part of the tolerances -> their ends


def stiffguide(method: str) -> Callable[[Fire, Mechanism], Solve]:
    """By a kernel."""

    def make(fire: Fire, gas: Mechanism) -> Solve:
        def solve(y0: Tensor, part: float) -> Tensor:
            settings: dict[str, Any] = {"method": method, "rtol": part * RTOL, "atol": part * ATOL}
            settings |= {"batched": True, "args": (fire.pressure,), "backend": "kernel"}
            found = sg.solve(gas.at_pressure, y0, 0.0, fire.until, **settings)
            return found.raise_if_failed().y[:, -1]

        return solve

    return make


def cantera(*, dense: bool) -> Callable[[Fire, Mechanism], Solve]:
    """Row by row."""

    def make(fire: Fire, gas: Mechanism) -> Solve:
        import cantera as ct

        phase = ct.Solution(fire.path)
        kind = ct.IdealGasConstPressureReactor if dense else ct.IdealGasConstPressureMoleReactor

        def end(row: list[float], part: float) -> list[float]:
            phase.TPY = row[0], fire.pressure, row[1:]
            reactor = kind(phase, clone=False)
            net = ct.ReactorNet([reactor])
            net.rtol, net.atol = part * RTOL, part * ATOL
            if not dense:
                net.preconditioner = ct.AdaptivePreconditioner()
            net.advance(fire.until)
            return [reactor.T, *reactor.phase.Y]

        return lambda y0, part: torch.tensor(
            [end(row, part) for row in y0.tolist()], dtype=torch.float64
        )

    return make


CONTENDERS = [
    Contender("stiffguide rodas5p", stiffguide("rodas5p"), ours=True),
    Contender("stiffguide kvaerno5", stiffguide("kvaerno5"), ours=True),
    Contender("Cantera, dense", cantera(dense=True), ("cantera",)),
    Contender("Cantera, preconditioned", cantera(dense=False), ("cantera",)),
]


def spread(y0: Tensor) -> Tensor:
    """Rows of a batch that Cantera solves."""
    return y0[:: max(len(y0) // CHECKED, 1)][:CHECKED]


def times(
    there: list[Contender], solves: dict[str, Solve], batches: dict[int, Tensor], rounds: int
) -> dict[str, list[float]]:
    """CPU seconds an ignition for every contender and size of batch."""
    spent: dict[tuple[str, int], list[float]] = {}
    for again in range(rounds + 1):
        for size, y0 in batches.items():
            for one in there:
                rows = y0 if one.ours else spread(y0)
                began = time.process_time()
                solves[one.name](rows, 1.0)
                if again:  # not the first, which warms up
                    took = (time.process_time() - began) / len(rows)
                    spent.setdefault((one.name, size), []).append(took)
    return {
        one.name: [statistics.median(spent[one.name, size]) for size in batches] for one in there
    }


def gross_error(fire: Fire, gas: Mechanism, states: int) -> float:
    """The largest error of our rates over Cantera's gross rates."""
    import cantera as ct

    phase, worst = ct.Solution(fire.path), 0.0
    draw = torch.Generator().manual_seed(0)
    for T in torch.linspace(400, 2600, states).tolist():
        Y = torch.rand(len(gas.names), generator=draw, dtype=torch.float64) ** 4
        Y = Y / Y.sum()
        phase.TPY = T, fire.pressure, Y.numpy()
        per_mass = torch.tensor(phase.molecular_weights / phase.density)
        made, gone = torch.tensor(phase.creation_rates), torch.tensor(phase.destruction_rates)
        y = torch.cat((torch.tensor([T], dtype=torch.float64), Y))
        found = gas.at_pressure(torch.zeros(()), y, fire.pressure)[1:]
        off = (found - (made - gone) * per_mass).abs() / ((made + gone) * per_mass + 1e-300)
        worst = max(worst, float(off.max()))
    return worst


def errors(
    fire: Fire, gas: Mechanism, solves: dict[str, Solve], rows: Tensor
) -> dict[str, list[str]]:
    """Of every contender: temperature, mass fractions, delay."""
    wanted = solves[reference(solves)](rows, TIGHT)
    sooner = delays(gas, rows, fire.pressure, fire.until, "pressure")
    found = {}
    for who, solve in solves.items():
        off = (solve(rows, 1.0) - wanted).abs()
        found[who] = [f"{float(off[:, 0].max()):.0e} K", f"{float(off[:, 1:].max()):.0e}", ""]
    if "Cantera, dense" in solves:
        known = torch.tensor([cantera_delay(fire, row) for row in rows.tolist()])
        found["stiffguide rodas5p"][2] = f"{float((sooner / known - 1).abs().max()):.0e}"
    return found


def cantera_delay(fire: Fire, row: list[float]) -> float:
    """When a mixture is 400 K hotter by Cantera at the tolerances of the reference."""
    import cantera as ct

    phase = ct.Solution(fire.path)
    phase.TPY = row[0], fire.pressure, row[1:]
    reactor = ct.IdealGasConstPressureReactor(phase, clone=False)
    net = ct.ReactorNet([reactor])
    net.rtol, net.atol = TIGHT * RTOL, TIGHT * ATOL
    before = 0.0, row[0]
    while net.time < fire.until:
        net.step()
        if row[0] + HOTTER < reactor.T:
            part = (row[0] + HOTTER - before[1]) / (reactor.T - before[1])
            return before[0] + part * (net.time - before[0])
        before = net.time, reactor.T
    return float("nan")


def reference(solves: dict[str, Solve]) -> str:
    return "Cantera, dense" if "Cantera, dense" in solves else "stiffguide rodas5p"


def mechanism(fire: Fire) -> Mechanism:
    """From the file, which may be one of Cantera's."""
    path = Path(fire.path)
    if not path.is_absolute():
        import cantera as ct

        path = Path(ct.__file__).parent / "data" / path
    return read(path)


def main() -> None:
    chosen = study.chosen(__doc__)
    torch.set_num_threads(1)
    there, missing = contenders.present(CONTENDERS)
    with_cantera = not missing
    fires = [SMALL, LARGE] if with_cantera and not chosen.quick else [SMALL]
    sizes = (1, 3) if chosen.quick else (1, 100, 200)
    rounds, states = (1, 2) if chosen.quick else (5, 40)
    lines: dict[str, list[list[str]]] = {"times": [], "errors": [], "rates": [], "first": []}
    for fire in fires:
        gas = mechanism(fire)
        batches = {size: fire.start(gas, size) for size in sizes}
        solves = {one.name: one.make(fire, gas) for one in there}
        for who, solve in solves.items():
            began = time.perf_counter()
            solve(spread(batches[sizes[-1]]), 1.0)
            seconds = f"{time.perf_counter() - began:.1f}"
            lines["first"].append([fire.name, who, seconds])
        found = times(there, solves, batches, rounds)
        for who, values in found.items():
            theirs = found.get("Cantera, dense", [math.nan] * len(values))
            pairs = zip(values, theirs, strict=True)
            cells = [f"{page.number(1e3 * own)} ({page.number(its / own)})" for own, its in pairs]
            lines["times"].append([fire.name, who, *cells])
        wrong = errors(fire, gas, solves, spread(batches[sizes[-1]]))
        lines["errors"] += [[fire.name, who, *cells] for who, cells in wrong.items()]
        worst = f"{gross_error(fire, gas, states):.0e}" if with_cantera else "not known"
        lines["rates"].append([fire.name, worst])
    heads = {
        "times": ["ms an ignition", "", "one", *map("of {}".format, sizes[1:])],
        "errors": ["largest error", "", "temperature", "mass fractions", "delay"],
        "rates": ["mechanism", "error / gross rate"],
        "first": ["seconds", "", "first batch"],
    }
    text = TEXT.format(
        left_out=page.left_out(missing),
        rounds=rounds,
        checked=CHECKED,
        reference="Cantera" if with_cantera else "rodas5p",
        states=states,
        **{name: page.table(heads[name], rows) for name, rows in lines.items()},
    )
    print(text)
    if chosen.out is not None:
        chosen.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
