"""Unchanged numpy code: whole calls of our `solve_ivp` beside those of SciPy's, in turn in one run.

python benchmarks/scipy_front.py --out docs/scipy_front_benchmark.md
"""

from __future__ import annotations

import one_thread  # noqa: F401  before the libraries that read its settings

# isort: split
import warnings
from collections.abc import Callable
from typing import Any

import contenders
import numpy_code
import page
import study
import torch
import work_precision as wp
from contenders import Contender
from numpy_code import Code
from scipy.integrate import solve_ivp
from solvers import Failed, Run

import stiffguide as sg
from stiffguide.fronts import scipy as front

OURS, ROUNDS = "stiffguide rodas5p", 7
RTOLS = wp.RTOLS[:-1]
PEERS = ("LSODA", "BDF", "Radau")
TEXT = """\
# Numpy code as it is

Written by `python benchmarks/scipy_front.py --out docs/scipy_front_benchmark.md`: right-hand sides
as users of SciPy write them (`benchmarks/numpy_code.py`: numpy arrays and lists, `math`, classes
with matrices, `np.interp`, `args`, an `if`), given unchanged to `stiffguide.fronts.scipy.solve_ivp`
with `backend="kernel"` and to SciPy's `solve_ivp`. Median CPU time of whole calls, one thread,
contenders taken in turn in one process. Nobody is given a Jacobian. The absolute tolerance is rtol
times 1e-4 for Robertson and 1e-2 for the rest. The error is max|dy| / max|y| at the end, beside
Radau at rtol = 1e-11. {left_out}

![CPU time over error]({picture})

## At the same error

Times are compared at a common error: that of scipy LSODA at rtol = 1e-6. `*` marks an error outside
those measured: there the cheapest run counts where it is more accurate than asked for, and the last
two runs are extended where it is not.

{at_error}

How many times longer SciPy takes than `{ours}`:

{quotients}

## At the same tolerance

{at_rtol}

## What fails

A run whose error exceeds one half counts as failed, whatever the solver says.

{failures}

## The first call

Tracing and building the kernel, or loading it, are not in the times above: these are the seconds of
wall time to the first result.

{first}
"""


def solver(solve: Callable[..., Any], method: str, **settings: Any) -> Callable[[Code], Any]:
    """A `solve_ivp`, by one method."""

    def make(code: Code) -> Callable[[float], Run]:
        def prepared(rtol: float) -> Run:
            tolerances = {"rtol": rtol, "atol": code.scale * rtol}

            def run() -> Any:
                args = code.args or None
                try:
                    found = solve(
                        code.fun, code.span, code.y0, method, args=args, **tolerances, **settings
                    )
                except sg.StiffguideError as error:
                    raise Failed(str(error)) from error
                if not found.success:
                    raise Failed(found.message)
                return found.y[:, -1]

            return run

        return prepared

    return make


def entries() -> list[Contender]:
    """Ours by kernels, and SciPy's for stiff problems."""
    ours = [
        Contender(f"stiffguide {name}", solver(front.solve_ivp, name, backend="kernel"), ours=True)
        for name in ("rodas5p", "rodas4")
    ]
    return [*ours, *(Contender(f"scipy {name}", solver(solve_ivp, name)) for name in PEERS)]


def main() -> None:
    chosen = study.chosen(__doc__)
    torch.set_num_threads(1)
    warnings.filterwarnings("error", "The following arguments have no effect")  # no backend: none
    there, missing = contenders.present(entries())
    quick, curves = chosen.quick, {}
    for name, code in list(numpy_code.codes().items())[: 1 if quick else None]:
        print(f"{name} ...", flush=True)
        rtols = (1e-4, wp.AROUND) if quick else RTOLS
        curves[name] = wp.measure(code, there, rtols, 1 if quick else ROUNDS)
    errors = common_errors(curves)
    groups = {f"scipy {name}": (f"scipy {name}",) for name in PEERS}
    groups["the best of scipy"] = tuple(groups)
    ratios = page.quotients(curves, errors, groups, OURS)
    where = chosen.out.stem if chosen.out else "scipy_front_benchmark"
    text = TEXT.format(
        left_out=page.left_out(missing),
        picture=f"images/{where}.png",
        ours=OURS,
        at_error=page.at_error(curves, errors),
        quotients=page.quotient_table(ratios, list(curves)),
        at_rtol=page.at_rtol(curves, wp.AROUND),
        failures=page.failures(curves),
        first=page.first_runs(curves),
    )
    print(text)
    if chosen.out is not None:
        page.picture(curves, errors, chosen.out.parent / "images" / f"{where}.png")
        chosen.out.write_text(text, encoding="utf-8")


def common_errors(studies: page.Studies) -> dict[str, float]:
    """The error of LSODA at rtol 1e-6, by problem."""
    found = {}
    for name, curves in studies.items():
        point = next(c for c in curves if c.name == "scipy LSODA").at(wp.AROUND)
        assert point is not None
        found[name] = point.error
    return found


if __name__ == "__main__":
    main()
