"""Batches: one system, many rows, each with parameters of its own; and the solvers of a batch."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import native
import numpy as np
import solvers
import systems
import torch
from systems import Array
from torch import Tensor

import stiffguide as sg

RTOL, ATOL = 1e-6, 1e-9
Solve = Callable[[], Array]  # (rows, components) at the end


@dataclass(frozen=True)
class Population:
    """`rows` rows of a system from y0 to t1; `args` holds (rows,) for every parameter."""

    title: str
    system: systems.System
    y0: tuple[float, ...]
    t1: float
    args: tuple[Tensor, ...]

    @property
    def rows(self) -> int:
        return len(self.args[0])

    @property
    def states(self) -> Tensor:
        return torch.tensor(self.y0, dtype=torch.float64).repeat(self.rows, 1)

    def first(self, rows: int) -> Population:
        """The first rows of it."""
        return Population(
            self.title, self.system, self.y0, self.t1, tuple(x[:rows] for x in self.args)
        )


def robertson(rows: int) -> Population:
    """Rate constants spread log-normally by 30 percent about the usual ones."""
    spread = torch.randn(rows, 3, dtype=torch.float64, generator=_seeded())
    k = torch.tensor([0.04, 3e7, 1e4], dtype=torch.float64) * torch.exp(0.3 * spread)
    args = tuple(x.contiguous() for x in k.unbind(-1))
    return Population("Robertson to 1e4", systems.robertson, (1.0, 0.0, 0.0), 1e4, args)


def van_der_pol(rows: int) -> Population:
    """mu from 1 to 1000, log-uniform: hardly stiff to very stiff."""
    share = torch.rand(rows, dtype=torch.float64, generator=_seeded())
    mu = 10 ** (3 * share)
    return Population("van der Pol to 100", systems.van_der_pol, (2.0, 0.0), 100.0, (mu,))


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def stiffguide(method: str, backend: str) -> Callable[[Population], Solve]:
    def make(p: Population) -> Solve:
        f, y0 = solvers.torch_field(p.system), p.states
        settings = {"method": method, "rtol": RTOL, "atol": ATOL, "backend": backend}

        def solve() -> Array:
            found = sg.solve(f, y0, 0.0, p.t1, args=p.args, batched=True, **settings)
            try:
                return found.raise_if_failed().y[:, -1].numpy()
            except sg.SolveFailed as error:
                raise solvers.Failed(str(error)) from error

        return solve

    return make


def diffrax(*, newton: bool) -> Callable[[Population], Solve]:
    def make(p: Population) -> Solve:
        import jax
        import jax.numpy as jnp

        one = solvers.diffrax_solve("Kvaerno5", newton=newton, pi=True)(p.system, (0.0, p.t1))
        all_of = jax.jit(jax.vmap(one, in_axes=(0, None, None, 0)))
        y0 = jnp.asarray(p.states.numpy())
        args = tuple(jnp.asarray(x.numpy()) for x in p.args)

        def solve() -> Array:
            y, reached = all_of(y0, RTOL, ATOL, args)
            if not reached.all():
                raise solvers.Failed("a row failed")
            return np.array(y)

        return solve

    return make


def scipy_loop(p: Population) -> Solve:
    from scipy.integrate import solve_ivp

    rows = [tuple(row) for row in torch.stack(p.args, -1).tolist()]

    def one(args: tuple[float, ...]) -> Array:
        def field(t: float, y: Array) -> tuple[float, ...]:
            return p.system(t, y.tolist(), *args)

        found = solve_ivp(field, (0.0, p.t1), p.y0, "LSODA", rtol=RTOL, atol=ATOL)
        if not found.success:
            raise solvers.Failed(found.message)
        return found.y[:, -1]

    return lambda: np.stack([one(args) for args in rows])


def cvode_loop(p: Population) -> Solve:
    import numba
    from sksundae.cvode import CVODE

    inner, parameters = numba.njit(p.system), torch.stack(p.args, -1).numpy()
    names: dict[str, Any] = {"inner": inner}
    given = ", ".join(f"k[{i}]" for i in range(parameters.shape[1]))
    body = "".join(f"    out[{i}] = value[{i}]\n" for i in range(len(p.y0)))
    exec(f"def fill(t, y, out, k):\n    value = inner(t, y, {given})\n{body}", names)
    fill, k = numba.njit(names["fill"]), parameters[0].copy()  # every row writes its own into k

    def field(t: float, y: Array, out: Array) -> None:
        fill(t, y, out, k)

    solver = CVODE(field, rtol=RTOL, atol=ATOL, max_num_steps=solvers.MOST_STEPS)

    def one(row: Array) -> Array:
        k[:] = row
        found = solver.solve(np.array([0.0, p.t1]), np.array(p.y0))
        if not found.success:
            raise solvers.Failed(found.message)
        return found.y[-1]

    return lambda: np.stack([one(row) for row in parameters])


def loop_in_c(which: str) -> Callable[[Population], Solve]:
    def make(p: Population) -> Solve:
        parameters = torch.stack(p.args, -1).numpy()
        solve = native.solver(which, p.system, (0.0, p.t1), p.states.numpy(), parameters)

        def run() -> Array:
            found, failed = solve(RTOL, ATOL)
            if failed:
                raise solvers.Failed(f"{failed} of {p.rows} rows failed")
            return found

        return run

    return make


def torchode(p: Population) -> Solve:
    import torchode as to

    rows, field = p.rows, solvers.torch_field(p.system)
    term = to.ODETerm(lambda t, y: field(t, y, *p.args))
    ends = torch.zeros(rows, dtype=torch.float64), torch.full((rows,), p.t1, dtype=torch.float64)
    problem = to.InitialValueProblem(p.states, *ends)
    controller = to.IntegralController(atol=ATOL, rtol=RTOL, term=term)
    solver = to.AutoDiffAdjoint(to.Tsit5(term=term), controller, max_steps=solvers.FEW_STEPS)

    def solve() -> Array:
        with torch.no_grad():
            found = solver.solve(problem)
        if lost := int((found.status != 0).sum()):
            most = f"{solvers.FEW_STEPS:,} steps"
            raise solvers.Failed(f"{lost} of {rows} rows not done after {most}")
        return found.ys[:, -1].numpy()

    return solve


def reference(p: Population) -> Array:
    """(rows, components) by LSODA at the tightest tolerance it takes."""
    from scipy.integrate import solve_ivp

    ends = []
    for args in torch.stack(p.args, -1).tolist():
        found = solve_ivp(
            lambda t, y, args=args: p.system(t, y.tolist(), *args),
            *((0.0, p.t1), p.y0, "LSODA"),
            rtol=1e-12,
            atol=1e-16,
        )
        ends.append(found.y[:, -1])
    return np.stack(ends)


def median_error(found: Array, exact: Array) -> float:
    """The median over rows of max|dy| / max|y|."""
    rows = len(exact)
    return statistics.median(np.abs(found[:rows] - exact).max(1) / np.abs(exact).max(1))
