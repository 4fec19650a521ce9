"""Stiff ODEs in PyTorch: batched, differentiable, honest about failure."""

from stiffguide import problems
from stiffguide.errors import (
    InputError,
    SolveFailed,
    Status,
    StiffguideError,
    TableauError,
    UnsupportedError,
)
from stiffguide.kernels import Compiled, compile
from stiffguide.solution import Solution, Stats
from stiffguide.solve import solve
from stiffguide.stepping import controllers, output
from stiffguide.stepping.contracts import Guidance, Method, Step
from stiffguide.stepping.controllers import PID, Fixed, Grid, Integral
from stiffguide.stepping.output import AtTimes, End, EveryStep, SteadyState
from stiffguide.tableaux.rosenbrock import RosenbrockTableau
from stiffguide.tableaux.tableau import Tableau

__version__ = "0.1.0"

__all__ = [
    "PID",
    "AtTimes",
    "Compiled",
    "End",
    "EveryStep",
    "Fixed",
    "Grid",
    "Guidance",
    "InputError",
    "Integral",
    "Method",
    "RosenbrockTableau",
    "Solution",
    "SolveFailed",
    "Stats",
    "Status",
    "SteadyState",
    "Step",
    "StiffguideError",
    "Tableau",
    "TableauError",
    "UnsupportedError",
    "compile",
    "controllers",
    "output",
    "problems",
    "solve",
]
