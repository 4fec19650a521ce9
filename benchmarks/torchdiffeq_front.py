"""torchdiffeq's interface: our `odeint` beside torchdiffeq's own, in turn in one process.

python benchmarks/torchdiffeq_front.py --out docs/torchdiffeq_front_benchmark.md

torchcde and flow_matching, where they are installed, are imported twice: once with each.
"""

from __future__ import annotations

import one_thread  # noqa: F401  before the libraries that read its settings

# isort: split
import warnings
from types import ModuleType
from typing import Any

import page
import stiff_network
import study
import torch
import torchdiffeq as theirs
import torchdiffeq_packages
from detest import PROBLEMS
from in_turn import Run, medians, ratio
from torch import Tensor, nn
from work_precision import geometric_mean

from stiffguide.fronts import torchdiffeq as ours

F64 = torch.float64
ROUNDS = 7
GRIDS = ("euler", "midpoint", "rk4")
PAIRS = ("dopri5", "dopri8", "bosh3", "adaptive_heun")
STATES = {"(128, 2)": (128, 2), "(64, 32)": (64, 32)}
RTOLS = (1e-3, 1e-5, 1e-7)
TEXT = """\
# Beside torchdiffeq

Written by `python benchmarks/torchdiffeq_front.py --out docs/torchdiffeq_front_benchmark.md`: the
same call to `odeint` of `stiffguide.fronts.torchdiffeq` and of torchdiffeq {version}. CPU time of
one thread, medians of {rounds} rounds in which the two take turns. A ratio below 1 says that ours
is the faster. The field is a network of two layers of 64 (tanh), float32, and knows of time.
{left_out}

## Steps that are given

CPU time, ours over theirs, from t = 0 to 1 in so many steps, and in brackets our milliseconds. The
results agree to {agree:.0e}.

{grids}

## Steps that are chosen

At the same tolerance (`atol` is a tenth of `rtol`), with five output times. `odeint` with gradients
records what it does, `odeint_adjoint` solves backwards. The errors, of the states and of the
gradient by all weights, are relative, beside `dopri8` at rtol = 1e-10 in float64.

{pairs}

## Evaluations

Calls of `func`, ours over theirs, and in brackets ours, at rtol = 1e-6 on {count} problems of
DETEST (Hull, Enright, Fellen and Sedgwick, SIAM J. Numer. Anal. 9, 1972; t from 0 to 20). Theirs
may step over the last time; ours ends there.

{calls}

## Packages

`torchcde` (a controlled equation with 8 hidden channels, 32 rows, 20 times; with gradients) and
`flow_matching` (a batch of 256 in the plane, without), as they are, with torchdiffeq's place taken.

{packages}

## A stiff neural ODE

y' = A y + net(y), three components, with eigenvalues of A from -1 to -1e6, from t = 0 to 2, with a
gradient by the network's weights; `rtol=1e-5`, `atol=1e-8`. torchdiffeq is stopped after {most:,}
steps, and solving backwards after 100.

{stiff}

## Kernels

`odeint(..., method="rodas5p")` without gradients: `options={{"backend": "eager"}}` and `"kernel"`,
whose build is not in these times. CPU milliseconds of a solve.

{kernels}
"""


class Field(nn.Module):
    """A small network that knows of time."""

    def __init__(self, size: int, width: int = 64) -> None:
        super().__init__()
        self.enter, self.inner = nn.Linear(size + 1, width), nn.Linear(width, width)
        self.leave = nn.Linear(width, size)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        told = t.expand(*y.shape[:-1], 1)
        h = torch.tanh(self.inner(torch.tanh(self.enter(torch.cat((y, told), -1)))))
        return self.leave(h)


def field(shape: tuple[int, int]) -> tuple[Field, Tensor]:
    """A field and a start (B, F)."""
    torch.manual_seed(0)
    net = Field(shape[1])
    with torch.no_grad():
        net.leave.weight *= 8  # so that there is something to resolve
    return net, torch.randn(shape)


def solved(odeint: Any, net: nn.Module, y0: Tensor, t: Tensor, given: dict[str, Any]) -> Run:
    """A solve without gradients."""

    def run() -> Any:
        with torch.no_grad():
            return odeint(net, y0, t, **given)

    return run


def differentiated(
    odeint: Any, net: nn.Module, y0: Tensor, t: Tensor, given: dict[str, Any]
) -> Run:
    """A solve with gradients by the weights: states and gradients in one vector each."""

    def run() -> tuple[Tensor, Tensor]:
        y = odeint(net, y0, t, **given)
        gradients = torch.autograd.grad(y[-1].square().mean(), tuple(net.parameters()))
        return y.detach(), torch.cat([x.reshape(-1) for x in gradients])

    return run


def grids(rounds: int, *, quick: bool) -> tuple[str, float]:
    """The table of given steps, and the largest difference of results."""
    lines, agree = [], 0.0
    for name, shape in list(STATES.items())[: 1 if quick else None]:
        net, y0 = field(shape)
        for method in list(GRIDS)[: 1 if quick else None]:
            cells = []
            for way in (solved, differentiated):
                for steps in (10,) if quick else (10, 40, 200):
                    t, given = torch.linspace(0, 1, steps + 1), {"method": method}
                    runs = {
                        who.__name__: way(who.odeint, net, y0, t, given) for who in (ours, theirs)
                    }
                    one, two = (run() for run in runs.values())
                    one, two = (x if isinstance(x, Tensor) else x[0] for x in (one, two))
                    agree = max(agree, float((one - two).abs().max() / two.abs().max()))
                    cells.append(ratio(medians(runs, rounds)))
            lines.append([name, method, *cells])
    counts = ("10",) if quick else ("10", "40", "200")
    head = ["state", "method", *(f"{n} steps" for n in counts)]
    return page.table([*head, *(f"{n}, with gradients" for n in counts)], lines), agree


def pairs(rounds: int, *, quick: bool) -> str:
    """The table of chosen steps."""
    lines = []
    for name, shape in list(STATES.items())[: 1 if quick else None]:
        net, y0 = field(shape)
        t = torch.linspace(0, 2, 5)
        exact = _exact(net, y0, t)
        for method in PAIRS[: 1 if quick else 2]:
            for rtol in RTOLS[: 1 if quick else None]:
                given = {"method": method, "rtol": rtol, "atol": rtol / 10}
                cells: list[str] = []
                for way, which in _WAYS:
                    runs = {
                        who.__name__: way(getattr(who, which), net, y0, t, given)
                        for who in (ours, theirs)
                    }
                    cells.append(ratio(medians(runs, rounds)))
                    if which == "odeint":
                        errors = [_errors(run, net, exact) for run in runs.values()]
                        pick = 0 if way is solved else 1
                        cells.append(" / ".join(f"{e[pick]:.0e}" for e in errors))
                lines.append([name, method, f"{rtol:.0e}", *cells])
    head = ["state", "method", "rtol", "odeint", "errors", "with gradients"]
    return page.table([*head, "errors of gradients", "odeint_adjoint"], lines)


_WAYS = ((solved, "odeint"), (differentiated, "odeint"), (differentiated, "odeint_adjoint"))


def _exact(net: nn.Module, y0: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """States and gradients to ten digits."""
    given = {"method": "dopri8", "rtol": 1e-10, "atol": 1e-12}
    found = differentiated(ours.odeint, net.double(), y0.double(), t.double(), given)()
    net.float()
    return found


def _errors(run: Run, net: nn.Module, exact: tuple[Tensor, Tensor]) -> tuple[float, ...]:
    """Relative errors of the states, and of the gradients if there are any."""
    found = run()
    several = (found,) if isinstance(found, Tensor) else found
    whole = zip(several, exact, strict=False)
    return tuple(float((x - y).norm() / y.norm()) for x, y in whole)


def evaluations(*, quick: bool) -> str:
    """The table of calls of func."""
    lines, ratios = [], {method: [] for method in PAIRS}
    for name, (f, y0) in list(PROBLEMS.items())[: 1 if quick else None]:
        cells = []
        for method in PAIRS:
            mine, other = (_calls(who, method, f, y0) for who in (ours, theirs))
            ratios[method].append(mine / other)
            cells.append(f"{mine / other:.2f} ({mine})")
        lines.append([name, *cells])
    lines.append(["geometric mean", *(f"{geometric_mean(r):.2f}" for r in ratios.values())])
    return page.table(["problem", *PAIRS], lines)


def _calls(who: ModuleType, method: str, f: Any, y0: Tensor) -> int:
    counted = 0

    def func(t: Tensor, y: Tensor) -> Tensor:
        nonlocal counted
        counted += 1
        return f(t, y)

    given = {"method": method, "rtol": 1e-6, "atol": 1e-6}
    if who is ours:
        given["options"] = {"backend": "eager"}
    who.odeint(func, y0, torch.tensor([0.0, 20.0], dtype=F64), **given)
    return counted


def main() -> None:
    """Measure and write."""
    chosen = study.chosen(__doc__)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "rtol = ")  # of float32 at 1e-7, which is asked of both
    quick, rounds = chosen.quick, 1 if chosen.quick else ROUNDS
    packages, missing = torchdiffeq_packages.table(rounds, quick=quick)
    given, agree = grids(rounds, quick=quick)
    text = TEXT.format(
        version=theirs.__version__,
        rounds=rounds,
        left_out=page.left_out(missing),
        agree=agree,
        grids=given,
        pairs=pairs(rounds, quick=quick),
        count=len(PROBLEMS),
        calls=evaluations(quick=quick),
        packages=packages,
        most=stiff_network.MOST,
        stiff=stiff_network.gradients(quick=quick),
        kernels=stiff_network.kernels(rounds, quick=quick),
    )
    print(text)
    if chosen.out is not None:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
