"""How often solvers return a wrong answer as success, on problems that tempt them to.

python benchmarks/honesty.py --out docs/honesty_benchmark.md
"""

from __future__ import annotations

import one_thread  # noqa: F401  before the libraries that read its settings

# isort: split
import argparse
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import page
import torch
from random_traps import random_traps
from scipy.integrate import solve_ivp
from traps import TRAPS, Trap

import stiffguide as sg

RTOL = (1e-2, 1e-3, 1e-4, 1e-6)
WRONG = 1e3  # tolerances
ATTEMPTS = 3000  # of one of our solves: what does not end by then has been refused
EVALUATIONS = 40_000  # of the others'
OURS = ("rodas5p", "rodas4", "rodas3", "rosenbrock23", "kvaerno3", "kvaerno5", "kencarp4", "trbdf2")
KERNELS = ("rodas5p", "kvaerno5")
DRAWN = (
    *("rodas5p", "rodas4", "kvaerno5", "kencarp4"),
    *("scipy BDF", "scipy Radau", "scipy LSODA", "CVODE"),
)
TEXT = """\
# Wrong answers returned as success

Written by `python benchmarks/honesty.py --out docs/honesty_benchmark.md`. Every solver gets every
problem of `benchmarks/traps.py` at rtol = {rtol} and two absolute tolerances each. A
*silent failure* is a solve that reports success with an error of more than {wrong:,.0f}
(atol + rtol |y|) in some component at the end. A solve that says it failed is none.

## Silent failures, by kind of trap

{by_kind}

In brackets: solves that were refused, with a sentence. `spiral`: oscillations that grow from below
atol with more than a radian a step are damped by every solver here. A start below atol is zero to
a solver: atol must lie below what is to grow.

`e5` asks for digits that its four variables do not hold: y2 - y3 - y4 = 0 is kept by no more than
the rounding of J times dt, which grows to 1e-23 where y ends at 9e-23. The errors named below are
0.02 to 260 times y2; with y3 eliminated (`e5_reduced`) every method is right.

## Problem by problem

Of {solves} solves each.

{by_problem}

## Random fields

Fields with known solutions, {each} drawn of each kind of `benchmarks/random_traps.py`, at the same
tolerances. No solver that sees f at some points only can know of a pulse or a jump between them.

{drawn}

## Which

{which}
"""


class Verdict(NamedTuple):
    """One solve."""

    rtol: float
    atol: float  # the largest
    success: bool
    error: float  # in tolerances

    @property
    def silent(self) -> bool:
        """Wrong, and called right."""
        return self.success and not self.error <= WRONG


Contender = Callable[[Trap, Sequence[tuple[float, np.ndarray]]], list[tuple[bool, np.ndarray]]]


def tolerances(trap: Trap) -> list[tuple[float, np.ndarray]]:
    """(rtol, atol (F,)), two absolute ones for every rtol."""
    size = np.broadcast_to(np.asarray(trap.size, dtype=float), tuple(trap.y0.shape))
    return [(rtol, size * rtol * part) for rtol in RTOL for part in (1.0, 1e-3)]


def ours(method: str, backend: str) -> Contender:
    """This library: all tolerances are the rows of one batch."""

    def run(
        trap: Trap, wanted: Sequence[tuple[float, np.ndarray]]
    ) -> list[tuple[bool, np.ndarray]]:
        rtol = torch.tensor([[r] for r, _ in wanted], dtype=torch.float64)
        atol = torch.tensor(np.stack([a for _, a in wanted]))
        y0 = trap.y0.expand(len(wanted), -1).clone()
        found = sg.solve(
            *(trap.f, y0, 0.0, trap.t1),
            **{"batched": True, "method": method, "rtol": rtol, "atol": atol},
            max_attempts=ATTEMPTS,
            backend=backend,
        )
        success = (found.counts[0] == int(sg.Status.SUCCESS)).tolist()
        return list(zip(success, found.y[:, -1].numpy(), strict=True))

    return run


def counted(trap: Trap) -> Callable[[float, np.ndarray], np.ndarray]:
    """f on numpy arrays; raises StopIteration after too many evaluations."""
    left = iter(range(EVALUATIONS))

    def f(t: float, y: np.ndarray) -> np.ndarray:
        next(left)
        with torch.no_grad():
            state = torch.from_numpy(np.array(y))
            return trap.f(torch.tensor(t, dtype=torch.float64), state).numpy()

    return f


def scipy(method: str) -> Contender:
    """SciPy's own."""

    def one(trap: Trap, rtol: float, atol: np.ndarray) -> tuple[bool, np.ndarray]:
        try:
            found = solve_ivp(
                *(counted(trap), (0.0, trap.t1), trap.y0.numpy()),
                method=method,
                rtol=rtol,
                atol=atol,
            )
        except (StopIteration, RuntimeError, ValueError, np.linalg.LinAlgError):
            return False, np.full(trap.y0.shape, np.nan)
        return bool(found.success), found.y[:, -1]

    return lambda trap, wanted: [one(trap, *pair) for pair in wanted]


def cvode() -> Contender:
    """SUNDIALS' BDF, by scikit-sundae; raises ImportError without it."""
    from sksundae.cvode import CVODE

    def one(trap: Trap, rtol: float, atol: np.ndarray) -> tuple[bool, np.ndarray]:
        f = counted(trap)

        def fill(t: float, y: np.ndarray, out: np.ndarray) -> None:
            out[:] = f(t, y)

        try:
            solver = CVODE(fill, rtol=rtol, atol=atol.copy(), max_num_steps=EVALUATIONS)
            found = solver.solve(np.array([0.0, trap.t1]), trap.y0.numpy())
        except (StopIteration, RuntimeError, ValueError):
            return False, np.full(trap.y0.shape, np.nan)
        return bool(found.success), np.asarray(found.y)[-1]

    return lambda trap, wanted: [one(trap, *pair) for pair in wanted]


def contenders() -> tuple[dict[str, Contender], list[str]]:
    """All of them by name, and who is not installed."""
    found = {f"{m}": ours(m, "eager") for m in OURS}
    found |= {f"{m}, kernel": ours(m, "kernel") for m in KERNELS}
    found |= {f"scipy {m}": scipy(m) for m in ("BDF", "Radau", "LSODA")}
    try:
        return found | {"CVODE": cvode()}, []
    except ImportError:
        return found, ["CVODE"]


def judged(trap: Trap, contender: Contender, reference: np.ndarray) -> list[Verdict]:
    """What a contender makes of a problem at all tolerances."""
    wanted = tolerances(trap)
    verdicts = []
    for (rtol, atol), (success, y) in zip(wanted, contender(trap, wanted), strict=True):
        with np.errstate(all="ignore"):
            error = np.max(np.abs(y - reference) / (atol + rtol * np.abs(reference)))
        verdicts.append(Verdict(rtol, float(atol.max()), success, float(error)))
    return verdicts


Results = dict[str, dict[str, list[Verdict]]]  # by problem, by contender


def measured(traps: Sequence[Trap], solvers: dict[str, Contender]) -> Results:
    """Everybody on everything."""
    results: Results = {}
    for trap in traps:
        reference = trap.reference().numpy()
        results[trap.name] = {who: judged(trap, run, reference) for who, run in solvers.items()}
    return results


def counts(verdicts: Sequence[Verdict], of: str = "") -> str:
    """Silent failures, and refusals in brackets."""
    refused = sum(not v.success for v in verdicts)
    return f"{sum(v.silent for v in verdicts)}{of}" + (f" ({refused})" if refused else "")


def tally(verdicts: Sequence[Verdict]) -> str:
    """The same, of all."""
    return counts(verdicts, f" of {len(verdicts)}")


def by_kinds(results: Results, traps: Sequence[Trap], *, across: bool) -> str:
    """A table of kinds and contenders; the kinds stand side by side, or one below the other."""
    who = list(next(iter(results.values())))
    kinds = list(dict.fromkeys(trap.kind for trap in traps))
    of_kind = {k: [results[t.name] for t in traps if t.kind == k] for k in kinds}
    cells = [[tally([v for r in of_kind[k] for v in r[name]]) for k in kinds] for name in who]
    if across:
        return page.table(["", *kinds], [[w, *c] for w, c in zip(who, cells, strict=True)])
    turned = [list(column) for column in zip(*cells, strict=True)]
    turned.append([tally([v for r in results.values() for v in r[name]]) for name in who])
    return page.table(["", *who], [[k, *c] for k, c in zip([*kinds, "all"], turned, strict=True)])


def by_problems(results: Results, traps: Sequence[Trap], who: Sequence[str]) -> str:
    """A table of problems and some of the contenders."""
    lines = [[t.name, *(counts(results[t.name][name]) for name in who)] for t in traps]
    return page.table(["", *who], lines)


def text(results: Results, traps: Sequence[Trap], drawn: str, each: int) -> str:
    """The page."""
    who = list(next(iter(results.values())))
    others = [name for name in who if name.startswith(("scipy", "CVODE"))]
    own = [name for name in who if name not in others]
    loops, kernels = ([name for name in own if (", kernel" in name) == k] for k in (False, True))
    which = [
        [t.name, name, f"{v.rtol:g}", f"{v.atol:.0e}", f"{v.error:.1e}"]
        for t in traps
        for name in own
        for v in results[t.name][name]
        if v.silent
    ]
    return TEXT.format(
        rtol=", ".join(f"{r:g}" for r in RTOL),
        wrong=WRONG,
        by_kind=by_kinds(results, traps, across=True),
        drawn=drawn,
        each=each,
        solves=2 * len(RTOL),
        by_problem="\n".join(
            by_problems(results, traps, part) for part in (loops, kernels + others)
        ),
        which=page.table(["problem", "ours", "rtol", "atol", "error in tolerances"], which)
        if which
        else "None of ours.",
    )


def main() -> None:
    """Measure, and write or print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", help="names of problems, separated by commas")
    parser.add_argument("--each", type=int, default=3, help="random fields of each kind")
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # of solvers that overflow on their way
    chosen = [t for t in TRAPS if given.only is None or t.name in given.only.split(",")]
    solvers, missing = contenders()
    fields = list(random_traps(given.each))
    few = {name: run for name, run in solvers.items() if name in DRAWN}
    drawn = by_kinds(measured(fields, few), fields, across=False) if fields else "None were drawn."
    found = text(measured(chosen, solvers), chosen, drawn, given.each)
    found += "".join(f"\n{name} was not installed.\n" for name in missing)
    if given.out is None:
        print(found)
    else:
        given.out.write_text(found)


if __name__ == "__main__":
    main()
