"""Stiff ODEs in PyTorch: batched, differentiable, honest about failure."""

from stiffguide import controllers, output, problems
from stiffguide.contracts import Guidance, Method, Step
from stiffguide.controllers import PID, Fixed, Grid, Integral
from stiffguide.errors import (
    InputError,
    SolveFailed,
    Status,
    StiffguideError,
    TableauError,
    UnsupportedError,
)
from stiffguide.kernels import Compiled, compile
from stiffguide.output import AtTimes, End, EveryStep, SteadyState
from stiffguide.rosenbrock_tableau import RosenbrockTableau
from stiffguide.solution import Solution, Stats
from stiffguide.solve import solve
from stiffguide.tableau import Tableau

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
