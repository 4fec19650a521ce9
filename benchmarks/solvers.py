"""Solvers made ready: from a problem to a tolerance to a solve that can be timed.

All that can be prepared is prepared, so that only the solve is timed: objects are built and code is
compiled before. Nobody is given a Jacobian. A solve that says that it failed raises `Failed`; one
that says nothing and is wrong is found by its error.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import native
import numpy as np
import torch
from systems import Array, Case, System

import stiffguide as sg

Run = Callable[[], Array]  # the state at the end
ForRtol = Callable[[float], Run]
MOST_STEPS = 100_000
DIFFRAX_STEPS = 20_000  # four times what the hardest solve here needs
FEW_STEPS = 1_000  # of an explicit method that pays a millisecond for each


class Failed(Exception):
    """A contender says itself that it did not reach the end."""


def torch_field(system: System) -> Callable[..., torch.Tensor]:
    """The field for torch, with parameters behind y."""

    def field(t: torch.Tensor, y: torch.Tensor, *args: torch.Tensor) -> torch.Tensor:
        return torch.stack(system(t, y.unbind(-1), *args), -1)

    return field


def stiffguide(method: str, backend: str) -> Callable[[Case], ForRtol]:
    def make(case: Case) -> ForRtol:
        f, p = torch_field(case.system), case.problem

        def prepared(rtol: float) -> Run:
            settings = {"rtol": rtol, "atol": case.scale * rtol, "backend": backend}

            def run() -> Array:
                found = sg.solve(f, p.y0, p.t0, p.t1, method=method, **settings)
                try:
                    return found.raise_if_failed().y[-1].numpy()
                except sg.SolveFailed as error:
                    raise Failed(str(error)) from error

            return run

        return prepared

    return make


def compiled(system: System, form: str) -> Callable[..., Any]:
    """The field compiled by Numba: `form` "value" returns a tuple, "filled" writes its third
    argument."""
    import numba

    inner = numba.njit(system)

    @numba.njit
    def value(t: float, y: Array) -> tuple[float, ...]:
        return inner(t, y)  # a call with defaults left out would cost 40 us

    if form == "value":
        return value
    size = len(system(0.0, np.ones(32)))
    body = "".join(f"    out[{i}] = value[{i}]\n" for i in range(size))
    names: dict[str, Any] = {"inner": inner}
    exec(f"def fill(t, y, out):\n    value = inner(t, y)\n{body}", names)
    return numba.njit(names["fill"])


def scipy(method: str, *, numba: bool = False) -> Callable[[Case], ForRtol]:
    from scipy.integrate import solve_ivp

    def make(case: Case) -> ForRtol:
        system, y0 = case.system, case.y0

        def field(t: float, y: Array) -> tuple[float, ...]:
            return system(t, y.tolist())  # plain numbers: three times faster than NumPy's

        f = compiled(system, "value") if numba else field

        def prepared(rtol: float) -> Run:
            atol = case.scale * rtol

            def run() -> Array:
                found = solve_ivp(f, case.span, y0, method, rtol=rtol, atol=atol)
                if not found.success:
                    raise Failed(found.message)
                return found.y[:, -1]

            return run

        return prepared

    return make


def cvode(*, numba: bool) -> Callable[[Case], ForRtol]:
    def make(case: Case) -> ForRtol:
        from sksundae.cvode import CVODE

        system, y0, span = case.system, case.y0, np.array(case.span)

        def fill(t: float, y: Array, out: Array) -> None:
            out[:] = system(t, y.tolist())

        field = compiled(system, "filled") if numba else fill

        def prepared(rtol: float) -> Run:
            atol = case.scale * rtol
            solver = CVODE(field, rtol=rtol, atol=atol, max_num_steps=MOST_STEPS, method="BDF")

            def run() -> Array:
                found = solver.solve(span, y0)
                if not found.success:
                    raise Failed(found.message)
                return found.y[-1]

            return run

        return prepared

    return make


def in_c(which: str) -> Callable[[Case], ForRtol]:
    def make(case: Case) -> ForRtol:
        none = np.empty((1, 0))
        solve = native.solver(which, case.system, case.span, case.y0[None], none)

        def prepared(rtol: float) -> Run:
            def run() -> Array:
                found, failed = solve(rtol, case.scale * rtol)
                if failed:
                    raise Failed("it did not reach the end")
                return found[0]

            return run

        return prepared

    return make


def diffrax_solve(solver: str, *, newton: bool, pi: bool) -> Callable[..., Any]:
    """(system, span) -> (y0, rtol, atol, args) -> (state at the end, whether it got there).

    `newton` for a new Jacobian in every iteration, else its default, which keeps one for a step;
    `pi` for a PI controller, else its default, which is an I controller.
    """
    import diffrax
    import jax
    import jax.numpy as jnp
    import optimistix

    jax.config.update("jax_enable_x64", True)
    settings = {}
    if newton:
        settings["root_finder"] = diffrax.with_stepsize_controller_tols(optimistix.Newton)()
    method = getattr(diffrax, solver)(**settings)
    gains = {"pcoeff": 0.3, "icoeff": 0.4} if pi else {}

    def of(system: System, span: tuple[float, float]) -> Callable[..., Any]:
        term = diffrax.ODETerm(lambda t, y, args: jnp.stack(system(t, y, *args)))

        def solve(y0: Any, rtol: Any, atol: Any, args: Any) -> Any:
            found = diffrax.diffeqsolve(
                *(term, method, *span, None, y0, args),
                saveat=diffrax.SaveAt(t1=True),
                stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol, **gains),
                max_steps=DIFFRAX_STEPS,
                throw=False,
            )
            return found.ys[-1], found.result == diffrax.RESULTS.successful

        return solve

    return of


def diffrax(solver: str, *, newton: bool = False, pi: bool = False) -> Callable[[Case], ForRtol]:
    def make(case: Case) -> ForRtol:
        import jax
        import jax.numpy as jnp

        solve = jax.jit(diffrax_solve(solver, newton=newton, pi=pi)(case.system, case.span))
        y0 = jnp.asarray(case.y0)

        def prepared(rtol: float) -> Run:
            tolerances = jnp.asarray(rtol), jnp.asarray(rtol * case.scale)

            def run() -> Array:
                y, reached = solve(y0, *tolerances, ())
                if not reached:
                    raise Failed(f"more than {DIFFRAX_STEPS:,} steps, or Newton's method diverged")
                return np.array(y)

            return run

        return prepared

    return make


def torchode(method: str, most_steps: int) -> Callable[[Case], ForRtol]:
    def make(case: Case) -> ForRtol:
        import torchode as to

        f, y0 = torch_field(case.system), case.problem.y0.unsqueeze(0)
        problem = to.InitialValueProblem(
            *(y0, *torch.tensor(case.span, dtype=torch.float64).unsqueeze(1))
        )
        term = to.ODETerm(f)

        def prepared(rtol: float) -> Run:
            controller = to.IntegralController(atol=rtol * case.scale, rtol=rtol, term=term)
            solver = to.AutoDiffAdjoint(
                getattr(to, method)(term=term), controller, max_steps=most_steps
            )

            def run() -> Array:
                with torch.no_grad():
                    found = solver.solve(problem)
                if int(found.status[0]) != 0:
                    raise Failed(f"more than {most_steps:,} steps, or dt became 0")
                return found.ys[0, -1].numpy()

            return run

        return prepared

    return make


def torchdiffeq(method: str, most_steps: int) -> Callable[[Case], ForRtol]:
    def make(case: Case) -> ForRtol:
        from torchdiffeq import odeint

        f, y0 = torch_field(case.system), case.problem.y0
        times = torch.tensor(case.span, dtype=torch.float64)
        options: dict[str, Any] = {"max_num_steps": most_steps}
        if method == "BDF":
            options = {"solver": method}
        name = "scipy_solver" if method == "BDF" else method
        warnings.filterwarnings("ignore", "The following arguments have no effect", UserWarning)

        def prepared(rtol: float) -> Run:
            settings = {"rtol": rtol, "atol": rtol * case.scale, "options": options}

            def run() -> Array:
                try:
                    with torch.no_grad():
                        return odeint(f, y0, times, method=name, **settings)[-1].numpy()
                except AssertionError as error:
                    raise Failed(str(error).split(" [")[0] or "an assertion") from error

            return run

        return prepared

    return make
