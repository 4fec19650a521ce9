"""Stiff problems one at a time beside other solvers, in turn in one run: work and precision.

python benchmarks/stiff.py --out docs/stiff_benchmark.md
"""

from __future__ import annotations

import one_thread  # noqa: F401  before the libraries that read its settings

# isort: split
import contenders
import study
import systems

GROUPS = {
    "LSODA in C": ("LSODA in C",),
    "CVODE in C": ("CVODE in C",),
    "scipy LSODA": ("scipy LSODA",),
    "scipy LSODA, Numba": ("scipy LSODA, Numba",),
    "the best of scipy": ("scipy LSODA", "scipy LSODA, Numba", "scipy BDF", "scipy Radau"),
    "CVODE": ("CVODE",),
    "CVODE, Numba": ("CVODE, Numba",),
    "diffrax, defaults": ("diffrax Kvaerno5, defaults",),
    "the best of diffrax": (
        "diffrax Kvaerno5, defaults",
        "diffrax Kvaerno5, PI",
        "diffrax Kvaerno5, PI, Newton",
    ),
    "torchdiffeq BDF": ("torchdiffeq BDF",),
    "ours, eager": ("stiffguide rodas5p, eager",),
}
TEXT = (
    """\
# Stiff problems, one at a time

Written by `python benchmarks/stiff.py --out docs/stiff_benchmark.md`: median CPU time, one thread,
contenders taken in turn, float64. Everybody gets the same expressions and, but for CVODE in C, no
Jacobian: ours are derived by the kernel generator or by autograd, those of diffrax by JAX, the
others take differences. The absolute tolerance is rtol times 1e-4 for Robertson, 1e-22 for E5, and
1e-2 for the rest; E5 is solved without y3, where float64 keeps every digit. The error is
max|dy| / max|y| at the end. {calls_of_python} {left_out}

![CPU time over error]({picture})

## At the same error

Errors at equal rtol differ between solvers by a factor of up to a thousand, so times are compared
at a common error: that of {reference} at rtol = 1e-6. `*` marks an error outside those measured:
there the cheapest run counts where it is more accurate than asked for, and the last two runs are
extended where it is not.

{at_error}

How many times longer others take than `{ours}`:

{quotients}

## At the same tolerance

{at_rtol}

"""
    + study.CALLS
    + """\
## What fails

A run whose error exceeds one half counts as failed, whatever the solver says. Explicit methods get
1,000 steps: these problems would take them from 1e5 to 1e13. A contender whose run takes more than
a second is asked for no tighter tolerance.

{failures}

"""
    + study.FIRST
)


if __name__ == "__main__":
    options = study.chosen(__doc__)
    study.Study(
        cases=systems.stiff(),
        contenders=contenders.stiff(),
        ours="stiffguide rodas5p",
        reference="scipy LSODA",
        groups=GROUPS,
        methods=("rodas5p", "rodas4"),
        text=TEXT,
    ).write("stiff_benchmark", options.out, quick=options.quick)
