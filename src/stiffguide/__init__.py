"""Stiff ODEs in PyTorch: batched, differentiable, honest about failure."""

from typing import TYPE_CHECKING

from stiffguide.exports import lazily

if TYPE_CHECKING:
    from stiffguide import catalogue as catalogue
    from stiffguide import estimators as estimators
    from stiffguide import guidance as guidance
    from stiffguide import kernels as kernels
    from stiffguide import methods as methods
    from stiffguide import problems as problems
    from stiffguide import tableaux as tableaux
    from stiffguide.algebra.krylov import Krylov
    from stiffguide.errors import (
        InputError,
        Interrupted,
        SolveFailed,
        Status,
        StiffguideError,
        StiffguideWarning,
        TableauError,
        UnsupportedError,
        VerificationFailed,
    )
    from stiffguide.events import Event
    from stiffguide.explanation import Explanation, explain
    from stiffguide.fitting.experiments import Experiment
    from stiffguide.fitting.fit import fit
    from stiffguide.fitting.fitted import Fit
    from stiffguide.kernels import Compiled, compile
    from stiffguide.prepared import Prepared, prepare
    from stiffguide.resume import resume
    from stiffguide.solution import Occurrences, Solution, Stats
    from stiffguide.solve import solve
    from stiffguide.stepping import controllers, output
    from stiffguide.stepping.contracts import Guidance, Method, Step
    from stiffguide.stepping.controllers import PID, Fixed, Grid, Integral
    from stiffguide.stepping.output import AtTimes, End, EveryStep, SteadyState
    from stiffguide.studies import designs
    from stiffguide.studies.study import Study
    from stiffguide.studies.sweep import sweep
    from stiffguide.tableaux.rosenbrock import RosenbrockTableau
    from stiffguide.tableaux.tableau import Tableau
    from stiffguide.tables import Table, interpolate
    from stiffguide.verification.suite import verify

__version__ = "0.1.0"

__all__ = [
    "PID",
    "AtTimes",
    "Compiled",
    "End",
    "Event",
    "EveryStep",
    "Experiment",
    "Explanation",
    "Fit",
    "Fixed",
    "Grid",
    "Guidance",
    "InputError",
    "Integral",
    "Interrupted",
    "Krylov",
    "Method",
    "Occurrences",
    "Prepared",
    "RosenbrockTableau",
    "Solution",
    "SolveFailed",
    "Stats",
    "Status",
    "SteadyState",
    "Step",
    "StiffguideError",
    "StiffguideWarning",
    "Study",
    "Table",
    "Tableau",
    "TableauError",
    "UnsupportedError",
    "VerificationFailed",
    "compile",
    "controllers",
    "designs",
    "explain",
    "fit",
    "interpolate",
    "output",
    "prepare",
    "problems",
    "resume",
    "solve",
    "sweep",
    "verify",
]

# The same once more for who runs it: torch takes a second to load, and most names need it.
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "stiffguide.algebra.krylov": ("Krylov",),
            "stiffguide.errors": (
                *("InputError", "Interrupted", "SolveFailed", "Status"),
                *("StiffguideError", "StiffguideWarning", "TableauError", "UnsupportedError"),
                "VerificationFailed",
            ),
            "stiffguide.events": ("Event",),
            "stiffguide.explanation": ("Explanation", "explain"),
            "stiffguide.fitting.experiments": ("Experiment",),
            "stiffguide.fitting.fit": ("fit",),
            "stiffguide.fitting.fitted": ("Fit",),
            "stiffguide.kernels": ("Compiled", "compile"),
            "stiffguide.prepared": ("Prepared", "prepare"),
            "stiffguide.resume": ("resume",),
            "stiffguide.solution": ("Occurrences", "Solution", "Stats"),
            "stiffguide.solve": ("solve",),
            "stiffguide.stepping": ("controllers", "output"),
            "stiffguide.stepping.contracts": ("Guidance", "Method", "Step"),
            "stiffguide.stepping.controllers": ("PID", "Fixed", "Grid", "Integral"),
            "stiffguide.stepping.output": ("AtTimes", "End", "EveryStep", "SteadyState"),
            "stiffguide.studies": ("designs",),
            "stiffguide.studies.study": ("Study",),
            "stiffguide.studies.sweep": ("sweep",),
            "stiffguide.tableaux.rosenbrock": ("RosenbrockTableau",),
            "stiffguide.tableaux.tableau": ("Tableau",),
            "stiffguide.tables": ("Table", "interpolate"),
            "stiffguide.verification.suite": ("verify",),
        },
        foreign="stiffguide.foreign",
    )
