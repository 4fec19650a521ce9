"""What derivatives of a solve cost, beside the solve itself: CPU time of kernels, in one process.

    python benchmarks/gradients.py                 # all
    python benchmarks/gradients.py hires pollu     # some

Rates are spread by 10 % over the rows; times are medians, of runs that take turns.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import one_thread  # noqa: F401  before the libraries that read its settings
import torch
from torch import Tensor

import stiffguide as sg
from stiffguide.adapters.diffusion.curves import markdown
from stiffguide.problems.kinetics import HIRES
from stiffguide.problems.pollu import POLLU, pollu
from stiffguide.problems.robertson import RATES, robertson_field

D = torch.float64
ROUNDS, TIMES = 5, 20
Run = Callable[[], Any]


class Case(NamedTuple):
    """A field with rates (P,) as its argument, solved in so many rows."""

    f: Callable[..., Tensor]
    y0: Tensor
    t1: float
    rates: Tensor
    atol: Any
    rows: int


def real(*values: float) -> Tensor:
    """A float64 tensor."""
    return torch.tensor(values, dtype=D)


def cases() -> dict[str, Case]:
    """Those of the table."""
    dirty = pollu()
    first = real(1.0, *(6 * [0.0]), 0.0057)
    return {
        "robertson": Case(
            robertson_field, real(1.0, 0, 0), 40.0, real(*RATES), real(1e-8, 1e-12, 1e-8), 10_000
        ),
        "hires": Case(HIRES.field_of_rates(), first, 321.8122, HIRES.rates, 1e-8, 2000),
        "pollu": Case(
            POLLU.field_of_rates(), dirty.y0, 60.0, POLLU.rates, real(*dirty.atol_for(1e-6)), 1000
        ),
    }


def spread(case: Case) -> Tensor:
    """Rates (rows, P)."""
    dice = torch.Generator().manual_seed(1)
    noise = torch.randn(case.rows, len(case.rates), generator=dice, dtype=D)
    return case.rates * torch.exp(0.1 * noise)


def medians(runs: dict[str, Run]) -> dict[str, float]:
    """CPU seconds of each, in turn, so that a change of the machine's speed meets all of them."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(ROUNDS):
        for name, run in runs.items():
            before = time.process_time()
            run()
            found[name].append(time.process_time() - before)
    return {name: statistics.median(values) for name, values in found.items()}


def sensitivities(name: str, case: Case) -> list[list[str]]:
    """Lines of a table: all rates, at the end alone and at times on the way."""
    y0, k, lines = case.y0.expand(case.rows, -1), spread(case), []
    for kept, save_at in (("end", None), (f"{TIMES} times", torch.linspace(0, case.t1, TIMES))):

        def solve(asked: Sequence[Any] | None, save_at: Any = save_at) -> sg.Solution[Tensor]:
            return sg.solve(
                *(case.f, y0, 0.0, case.t1),
                args=(k,),
                atol=case.atol,
                batched=True,
                method="rodas5p",
                backend="kernel",
                save_at=save_at,
                sensitivities=asked,
            )

        before = time.perf_counter()
        asked = solve([0])
        first = time.perf_counter() - before
        plain = solve(None)
        assert torch.equal(asked.counts, plain.counts)
        cost = medians({"plain": lambda: solve(None), "asked": lambda: solve([0])})
        each = {which: 1e6 * seconds / case.rows for which, seconds in cost.items()}
        ratio = cost["asked"] / cost["plain"]
        numbers = (f"{each['plain']:.1f}", f"{each['asked']:.1f}", f"{ratio:.1f}", f"{first:.1f}")
        lines.append([f"{name}, {len(case.rates)} rates, {case.rows} rows", kept, *numbers])
    return lines


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    known = cases()
    head = ["problem", "kept", "solve, us a row", "with sensitivities", "ratio", "first call, s"]
    lines = [line for name in sys.argv[1:] or known for line in sensitivities(name, known[name])]
    print(markdown(head, lines))


if __name__ == "__main__":
    main()
