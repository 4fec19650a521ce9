"""Problems that are not stiff, one at a time beside other solvers: work and precision.

python benchmarks/nonstiff.py --out docs/nonstiff_benchmark.md
"""

from __future__ import annotations

import one_thread  # noqa: F401  before the libraries that read its settings

# isort: split
import contenders
import study
import systems

GROUPS = {
    "the best of diffrax Tsit5": ("diffrax Tsit5", "diffrax Tsit5, PI"),
    "the best of diffrax": ("diffrax Tsit5", "diffrax Tsit5, PI", "diffrax Dopri8"),
    "scipy RK45": ("scipy RK45",),
    "scipy DOP853": ("scipy DOP853",),
    "scipy LSODA": ("scipy LSODA",),
    "torchdiffeq dopri5": ("torchdiffeq dopri5",),
    "torchode Tsit5": ("torchode Tsit5",),
    "ours, eager": ("stiffguide tsit5, eager",),
}
TEXT = (
    """\
# Problems that are not stiff

Written by `python benchmarks/nonstiff.py --out docs/nonstiff_benchmark.md`: median CPU time, one
thread, contenders taken in turn, float64, atol = rtol / 100. The error is max|dy| / max|y| at the
end; Arenstorf's orbit passes close by the Moon, which multiplies errors by thousands. {left_out}

![CPU time over error]({picture})

## At the same error

That of {reference} at rtol = 1e-6. `*` marks an error outside those measured: there the cheapest
run counts where it is more accurate than asked for, and the last two runs are extended where it is
not.

{at_error}

How many times longer others take than `{ours}`:

{quotients}

## At the same tolerance

{at_rtol}

"""
    + study.CALLS
    + """\
## What fails

A run whose error exceeds one half counts as failed, whatever the solver says. On Arenstorf's orbit
that happens to nearly everybody at loose tolerances: a tolerance bounds the error of a step, and
what the Moon makes of it is another matter.

{failures}

"""
    + study.FIRST
)


if __name__ == "__main__":
    options = study.chosen(__doc__)
    study.Study(
        cases=systems.nonstiff(),
        contenders=contenders.nonstiff(),
        ours="stiffguide tsit5",
        reference="diffrax Tsit5",
        groups=GROUPS,
        methods=("tsit5", "verner65"),
        text=TEXT,
    ).write("nonstiff_benchmark", options.out, quick=options.quick)
