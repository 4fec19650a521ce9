"""Solves of the test set: one problem, or a batch of perturbed ones, timed and compared."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from stiffguide import problems
from stiffguide.errors import InputError
from stiffguide.kernels.names import Backend
from stiffguide.problems import Problem
from stiffguide.solution import Solution
from stiffguide.solve import solve
from stiffguide.stepping.contracts import Output

SPREAD = 0.1  # of the parameters of a perturbed batch: a factor exp(0.1 z), z normal
NUDGE = 0.01  # of the initial values where a problem has no parameters per row
LONG = 1e4  # intervals beyond this are looked at in logarithmic time
FIRST = 1e-5  # the earliest time there
# shorter ones whose first moments matter, too
EARLY = {"hires": 1e-3, "pollu": 1e-3, "hydrogen_ignition": 1e-5}
TIGHTEST = 1e-16  # an error that float64 cannot tell from zero
MOST_ATTEMPTS = 100_000

# Problems whose field takes one set of parameters per row: the two functions, and the parameters.
FIELDS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], str, tuple[float, ...]]] = {
    "robertson": (problems.robertson_field, problems.robertson_jac, "k", (0.04, 3e7, 1e4)),
    "van_der_pol": (problems.van_der_pol_field, problems.van_der_pol_jac, "mu", (1e3,)),
    "van_der_pol_scaled": (
        problems.van_der_pol_scaled_field,
        problems.van_der_pol_scaled_jac,
        "eps",
        (1e-6,),
    ),
}


@dataclass(frozen=True)
class Run:
    """A solve of the test set: what came out, how long it took, and how good it is."""

    problem: Problem
    method: str
    rtol: float
    solution: Solution
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every row reached the end."""
        return bool(self.solution.success.all())

    @property
    def error(self) -> float | None:
        """Relative error of the worst component (of row 0); None where nothing is known."""
        first = int(self.solution.status.reshape(-1)[0])
        return relative_error(self.problem, self._end()) if first == 0 else None

    @property
    def digits(self) -> float | None:
        """Correct digits of the worst component (of row 0); None where nothing is known."""
        return None if self.error is None else -math.log10(max(self.error, TIGHTEST))

    def _end(self) -> Tensor:
        y: Tensor = self.solution.y
        return y[0, -1] if self.solution.layout.batched else y[-1]


def run(
    problem: Problem,
    method: str,
    rtol: float,
    *,
    atol: float | None = None,
    max_attempts: int = MOST_ATTEMPTS,
    save_at: Tensor | Output | None = None,
    backend: Backend = "eager",
    progress: bool = False,
) -> Run:
    """Solve a problem; its y0 may hold rows. `atol` defaults to what the problem asks for."""
    tolerance = torch.tensor(problem.atol_for(rtol) if atol is None else atol, dtype=torch.float64)
    batched = problem.y0.ndim == 2
    start = time.perf_counter()
    solution = solve(
        problem.f,
        problem.y0,
        problem.t0,
        problem.t1,
        method=method,
        rtol=rtol,
        atol=tolerance.reshape(1, -1) if batched and tolerance.ndim else tolerance,
        jac=problem.jac,
        mass=problem.mass,
        batched=batched,
        save_at=save_at,
        max_attempts=max_attempts,
        backend=backend,
        progress=progress,
    )
    return Run(problem, method, rtol, solution, time.perf_counter() - start)


def relative_error(problem: Problem, y1: Tensor) -> float | None:
    """Largest |y1 - reference| / |reference| over the components that are not zero."""
    if problem.reference is None:
        return None
    reference = y1.new_tensor(problem.reference)
    known = y1[list(problem.probes)] if problem.probes else y1
    away = reference != 0
    return float(((known - reference).abs() / reference.abs())[away].max())


def perturbed(problem: Problem, rows: int, seed: int, spread: float = SPREAD) -> Problem:
    """`rows` variants of a problem as one batch; row 0 is the problem itself."""
    random = torch.Generator().manual_seed(seed)

    def factors(width: int, spread: float) -> Tensor:
        normal = torch.randn(rows, width, generator=random, dtype=torch.float64)
        normal[0] = 0.0
        return torch.exp(spread * normal)

    y0 = problem.y0.expand(rows, -1)
    if problem.name not in FIELDS:
        return replace(problem, y0=y0 * factors(problem.size, NUDGE))
    field, jac, name, values = FIELDS[problem.name]
    made = torch.tensor(values, dtype=torch.float64) * factors(len(values), spread)
    bound = {name: made if len(values) > 1 else made[:, 0]}
    return replace(problem, y0=y0.clone(), f=partial(field, **bound), jac=partial(jac, **bound))


def until(problem: Problem, t1: float) -> Problem:
    """The problem with another end; its reference is kept where it is known there."""
    if t1 == problem.t0:
        raise InputError(f"t1 is {t1:g}, which is where {problem.name} starts")
    if problem.name == "robertson":
        return problems.robertson(t1)
    end = torch.tensor(t1, dtype=torch.float64)
    exact = None if problem.exact is None else tuple(problem.exact(end).tolist())
    return replace(problem, t1=t1, reference=exact, probes=())


def logarithmic(problem: Problem) -> bool:
    """Whether only logarithmic time shows what happens."""
    return problem.t0 == 0 and (problem.t1 > LONG or problem.name in EARLY) and problem.t1 > 0


def times(problem: Problem, count: int) -> Tensor:
    """Times (count,) at which a picture looks at the solution; the last one is t1."""
    first = EARLY.get(problem.name, FIRST)
    if logarithmic(problem) and first < problem.t1:
        ends = math.log10(first), math.log10(problem.t1)
        t = torch.logspace(*ends, count, dtype=torch.float64)
    else:
        t = torch.linspace(problem.t0, problem.t1, count, dtype=torch.float64)
    t[-1] = problem.t1
    return t
