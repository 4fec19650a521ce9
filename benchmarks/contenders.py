"""Who is compared with whom, under which names."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import native
import solvers
from solvers import ForRtol
from systems import Case

PACKAGES = {"sksundae": "scikit-sundae"}  # where the name is not that of the module
IN_C = {
    "liblsoda": "LSODA in C (not built by tools/anchors.py)",
    "libcvode": "CVODE in C (needs scikit-sundae and a C compiler)",
}


@dataclass(frozen=True)
class Contender:
    """A solver under a name; `make(case)(rtol)` is a solve that is ready to be timed."""

    name: str
    make: Callable[[Case], ForRtol]
    needs: tuple[str, ...] = ()  # modules, and names of `native.LIBRARIES`
    tightest: float = 0.0  # the smallest rtol it is asked for, where it is slow
    ours: bool = False


def present(contenders: list[Contender]) -> tuple[list[Contender], list[str]]:
    """Those whose needs are there, and a phrase for each need that is not."""
    missing: dict[str, str] = {}
    for name in dict.fromkeys(name for c in contenders for name in c.needs):
        try:
            native.LIBRARIES[name]() if name in IN_C else importlib.import_module(name)
        except ImportError:
            missing[name] = IN_C.get(name, f"{PACKAGES.get(name, name)} (not installed)")
    return [c for c in contenders if not missing.keys() & set(c.needs)], [*missing.values()]


def calls(there: Sequence[Any]) -> str:
    """A sentence on who pays a call of Python for every evaluation."""
    names = [c.name for c in there if IN_C.keys() & set(c.needs)]
    if not names:
        return "No solver here has f in C: SciPy and CVODE call Python for every evaluation of it."
    return (
        f"{' and '.join(names)} have f in C as well, and CVODE its Jacobian. The others of SciPy "
        "and CVODE call Python for every evaluation of f."
    )


def stiff() -> list[Contender]:
    """For one stiff problem at a time."""
    return [
        Contender("stiffguide rodas5p", solvers.stiffguide("rodas5p", "kernel"), ours=True),
        Contender("stiffguide rodas4", solvers.stiffguide("rodas4", "kernel"), ours=True),
        Contender("stiffguide kvaerno5", solvers.stiffguide("kvaerno5", "kernel"), ours=True),
        Contender(
            name="stiffguide rodas5p, eager",
            make=solvers.stiffguide("rodas5p", "eager"),
            tightest=1e-6,
            ours=True,
        ),
        Contender("LSODA in C", solvers.in_c("liblsoda"), ("liblsoda",)),
        Contender("CVODE in C", solvers.in_c("libcvode"), ("libcvode",)),
        Contender("scipy LSODA", solvers.scipy("LSODA")),
        Contender("scipy LSODA, Numba", solvers.scipy("LSODA", numba=True), ("numba",)),
        Contender("scipy BDF", solvers.scipy("BDF")),
        Contender("scipy Radau", solvers.scipy("Radau")),
        Contender("CVODE", solvers.cvode(numba=False), ("sksundae",)),
        Contender("CVODE, Numba", solvers.cvode(numba=True), ("sksundae", "numba")),
        Contender("diffrax Kvaerno5, defaults", solvers.diffrax("Kvaerno5"), ("diffrax",)),
        Contender("diffrax Kvaerno5, PI", solvers.diffrax("Kvaerno5", pi=True), ("diffrax",)),
        Contender(
            name="diffrax Kvaerno5, PI, Newton",
            make=solvers.diffrax("Kvaerno5", newton=True, pi=True),
            needs=("diffrax",),
        ),
        Contender(
            "torchdiffeq BDF",
            solvers.torchdiffeq("BDF", solvers.MOST_STEPS),
            ("torchdiffeq",),
            1e-6,
        ),
        Contender(
            "torchdiffeq dopri5",
            solvers.torchdiffeq("dopri5", solvers.FEW_STEPS),
            ("torchdiffeq",),
            1e-3,
        ),
        Contender(
            "torchode Tsit5", solvers.torchode("Tsit5", solvers.FEW_STEPS), ("torchode",), 1e-3
        ),
    ]


def nonstiff() -> list[Contender]:
    """For one problem that is not stiff at a time."""
    return [
        Contender("stiffguide tsit5", solvers.stiffguide("tsit5", "kernel"), ours=True),
        Contender("stiffguide verner65", solvers.stiffguide("verner65", "kernel"), ours=True),
        Contender("stiffguide dop853", solvers.stiffguide("dop853", "kernel"), ours=True),
        Contender("stiffguide tsit5, eager", solvers.stiffguide("tsit5", "eager"), ours=True),
        Contender("scipy RK45", solvers.scipy("RK45")),
        Contender("scipy DOP853", solvers.scipy("DOP853")),
        Contender("scipy LSODA", solvers.scipy("LSODA")),
        Contender("diffrax Tsit5", solvers.diffrax("Tsit5"), ("diffrax",)),
        Contender("diffrax Tsit5, PI", solvers.diffrax("Tsit5", pi=True), ("diffrax",)),
        Contender("diffrax Dopri8", solvers.diffrax("Dopri8"), ("diffrax",)),
        Contender(
            "torchdiffeq dopri5",
            solvers.torchdiffeq("dopri5", solvers.MOST_STEPS),
            ("torchdiffeq",),
        ),
        Contender("torchode Tsit5", solvers.torchode("Tsit5", solvers.MOST_STEPS), ("torchode",)),
    ]
