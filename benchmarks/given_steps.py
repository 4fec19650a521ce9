"""Small networks over given steps, and by dopri5, beside torchdiffeq: CPU time in one process.

    python benchmarks/given_steps.py               # all
    python benchmarks/given_steps.py rk4 dopri5    # some methods

The state is a batch (128, 8) that f takes as a whole, as torchdiffeq does: one row of 1024 numbers.
f is a network of one hidden layer, or -y, and a function made anew for every solve, as in training
loops; with gradients the way back is timed, too. Times are medians of runs that take turns; errors
are the largest ones at the end, in units of the largest state, beside a solve at rtol 1e-10.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import one_thread  # noqa: F401  before the libraries that read its settings
import torch
from in_turn import medians
from torch import Tensor, nn

import stiffguide as sg
from stiffguide.adapters.diffusion.curves import markdown

ROUNDS = 21
ROWS, FEATURES, HIDDEN = 128, 8, 64
GIVEN, STEPS = ("euler", "midpoint", "rk4"), (10, 100)
RTOL = 1e-5
HEAD = ["f", "method", "steps", "gradient", "ms", "torchdiffeq, ms", "ratio", "errors"]


class Case(NamedTuple):
    """A solve; without steps it chooses its own."""

    field: str
    method: str
    steps: int | None
    gradient: bool


def cases(methods: Sequence[str]) -> list[Case]:
    """Those of the table."""
    kinds = [(field, gradient) for field in ("network", "-y") for gradient in (False, True)]
    given = [(method, steps) for method in GIVEN for steps in STEPS]
    every = [*given, ("dopri5", None)]
    return [Case(f, m, n, g) for f, g in kinds for m, n in every if not methods or m in methods]


def fields(dtype: torch.dtype) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Functions of t and y (128, 8)."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, FEATURES))
    net = net.to(dtype)
    return {"network": lambda t, y: net(y), "-y": lambda t, y: -y}


def solvers(case: Case, y0: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Ours and theirs: functions that return the end (128, 8)."""
    from torchdiffeq import odeint

    field = fields(torch.float32)[case.field]
    ends = torch.tensor([0.0, 1.0])
    if case.steps is None:
        ours: dict[str, Any] = {"rtol": RTOL, "atol": RTOL}
        theirs: dict[str, Any] = {"rtol": RTOL, "atol": RTOL}
    else:
        times = torch.linspace(0.0, 1.0, case.steps + 1)
        ours = {"controller": sg.Grid(times)}
        theirs = {"options": {"grid_constructor": lambda f, y, t: times}}

    def solve() -> Tensor:
        f = lambda t, y: field(t, y)  # noqa: E731 - a new one
        return sg.solve(f, y0, 0.0, 1.0, method=case.method, **ours).y[-1]

    def odeint_solve() -> Tensor:
        f = lambda t, y: field(t, y)  # noqa: E731 - a new one
        return odeint(f, y0, ends, method=case.method, **theirs)[-1]

    return {"ours": solve, "theirs": odeint_solve}


def errors(case: Case, y0: Tensor, solves: dict[str, Callable[[], Tensor]]) -> str:
    """Of ours and theirs."""
    f = fields(torch.float64)[case.field]
    more = {"method": "dop853", "rtol": 1e-10, "atol": 1e-10, "checks": False}
    with torch.no_grad():
        exact = sg.solve(f, y0.double(), 0.0, 1.0, **more).y[-1]
        found = [(solve() - exact).abs().max() / exact.abs().max() for solve in solves.values()]
    return ", ".join(f"{float(x):.0e}" for x in found)


def line(case: Case) -> list[str]:
    """A line of the table."""
    torch.manual_seed(1)
    y0 = torch.randn(ROWS, FEATURES, requires_grad=case.gradient)
    solves = solvers(case, y0)
    with torch.set_grad_enabled(case.gradient):
        if case.gradient:
            runs = {k: lambda f=f: f().sum().backward() for k, f in solves.items()}  # type: ignore[misc]
        else:
            runs = dict(solves)
        ours, theirs = medians(runs, ROUNDS).values()
    times = [f"{ours * 1e3:.2f}", f"{theirs * 1e3:.2f}", f"{ours / theirs:.2f}"]
    kind = [case.field, case.method, str(case.steps or "own"), "yes" if case.gradient else "no"]
    return [*kind, *times, errors(case, y0, solves)]


def main(methods: Sequence[str]) -> str:
    """The table."""
    return markdown(HEAD, [line(case) for case in cases(methods)])


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(main(sys.argv[1:]))
