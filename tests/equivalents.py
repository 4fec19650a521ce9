"""What a call of another library is here: the tables of the manual, whose rows are tried.

A cell is code. One that begins with a dot is asked of a solution, one that begins with a name and
"=" is an argument of `call`, any other one stands alone. `python tests/equivalents.py` tries the
left cells of every library that can be imported; nothing here needs torch.
"""

from __future__ import annotations

import importlib.util
import math
import re
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

K, T1 = 5.0, 2.0  # of the problem that all rows solve
HALF = math.log(2) / K  # when y[0] has come to 1/2
CLOSE = 2e-2  # what is right within the defaults of every library, and its coarsest steps
WIDEST = 48  # characters of a cell


def exact(t: Any) -> Any:
    """The states (..., 2) of a' = -5 a, b' = 5 a - b, from (1, 0)."""
    t = np.asarray(t, float)
    a = np.exp(-K * t)
    return np.stack((a, K / (K - 1) * (np.exp(-t) - a)), -1)


@dataclass(frozen=True)
class Row:
    """Two cells, and what both must come to: states of the problem where nothing else is said."""

    theirs: str
    ours: str
    expect: str = ""  # an expression of exact, HALF, T1; "count": a number above 0; "any": a value


@dataclass(frozen=True)
class Library:
    """One table."""

    heading: str
    rows: tuple[Row, ...]
    module: str = ""  # to be tried in
    setup: str = ""  # names of its left cells: call, solution, and whatever they use


SCIPY = Library(
    "scipy.integrate",
    (
        Row("solve_ivp(f, (t0, t1), y0)", "sg.solve(f, y0, t0, t1)"),
        Row("t_eval=ts", "save_at=ts"),
        Row("t_eval=None", "save_at=sg.EveryStep()"),
        Row('method="RK45"', 'method="dopri5"'),
        Row('method="RK23"', 'method="bosh3"'),
        Row('method="DOP853"', 'method="dop853"'),
        Row('method="Radau"', 'method="radau5"'),
        Row('method="BDF"', 'method="bdf"'),
        Row('method="LSODA"', 'method="auto"'),
        Row("rtol=1e-3, atol=1e-6", "rtol=1e-3, atol=1e-6"),
        Row("args=(5.0,)", "args=(5.0,)"),
        Row("dense_output=True", "dense=True"),
        Row("first_step=1e-3, max_step=0.1", "first_step=1e-3, max_step=0.1"),
        Row('method="LSODA", min_step=1e-9', "min_step=1e-9"),
        Row('method="BDF", jac=jac', 'method="bdf", jac=jac'),
        Row('method="BDF", jac_sparsity=S', 'method="bdf", jac_sparsity=S'),
        Row('method="LSODA", lband=1, uband=0', 'method="bdf", linear_solver="band"'),
        Row("events=g", "events=g"),
        Row(".y.T", ".y", "exact(ts)"),
        Row(".t", ".t", "ts"),
        Row(".sol(0.5)", ".at(0.5)", "exact(0.5)"),
        Row(".t_events[0]", ".events[0].t", "[HALF]"),
        Row(".y_events[0]", ".events[0].y", "[exact(HALF)]"),
        Row(".nfev", ".stats.nfe", "count"),
        Row(".success", ".success", "True"),
        Row(".message", ".message", "any"),
        Row("odeint(f, y0, ts, tfirst=True)", "sg.solve(f, y0, t0, t1, save_at=ts).y"),
        Row("odeint(F, y0, ts, mxstep=900)[-1]", "call(max_attempts=900).y[-1]"),
        Row("odeint(F, y0, ts, tcrit=[0.5])[-1]", "call(tstops=[0.5]).y[-1]"),
        Row("ode(f).set_initial_value(y0, t0).integrate(t1)", "sg.solve(f, y0, t0, t1).y[-1]"),
    ),
    "scipy",
    """
import numpy as np
from scipy.integrate import ode, odeint, solve_ivp
f = lambda t, y, k=5.0: np.array([-k * y[0], k * y[0] - y[1]])
F = lambda y, t: f(t, y)
jac = lambda t, y: np.array([[-5.0, 0.0], [5.0, -1.0]])
g = lambda t, y, *k: y[0] - 0.5
S = np.array([[1, 0], [1, 1]])
t0, t1, y0, ts = 0.0, 2.0, [1.0, 0.0], np.linspace(0.0, 2.0, 5)
call = lambda **more: solve_ivp(f, (t0, t1), y0, **more)
solution = call(t_eval=ts, dense_output=True, events=g)
""",
)

TORCHDIFFEQ = Library(
    "torchdiffeq",
    (
        Row("odeint(f, y0, ts)", "sg.solve(f, y0, t0, t1, save_at=ts).y"),
        Row('method="dopri5"', 'method="dopri5"'),
        Row('method="dopri8"', 'method="dopri8"'),
        Row('method="bosh3"', 'method="bosh3"'),
        Row('method="adaptive_heun", rtol=1e-3', 'method="heun", rtol=1e-3'),
        Row('method="scipy_solver", options=LSODA', 'method="auto"'),
        Row('method="rk4", options=SMALL', 'method="rk4_38", controller=sg.Fixed(0.01)'),
        Row('method="euler", options=SMALL', 'method="euler", controller=sg.Fixed(0.01)'),
        Row(
            'method="implicit_adams", options=SMALL',
            'method="adams_moulton", controller=sg.Grid(fine)',
        ),
        Row("rtol=1e-7, atol=1e-9", "rtol=1e-7, atol=1e-9"),
        Row('options={"first_step": 1e-3}', "first_step=1e-3"),
        Row('options={"max_step": 0.1}', "max_step=0.1"),
        Row('options={"max_num_steps": 900}', "max_attempts=900"),
        Row('options={"step_t": stops}', "tstops=stops"),
        Row('options={"norm": largest}', "norm=largest"),
        Row("odeint_adjoint(m, y0, ts)", 'call(gradient="checkpoint")'),
        Row("odeint_event(f, y0, zero, event_fn=g)[0]", "call(events=stop).t[-1]", "HALF"),
        Row("odeint_dense(f, y0, t0, t1)(half)", "call(dense=True).at(half)", "exact(0.5)"),
    ),
    "torchdiffeq",
    """
import torch
from torchdiffeq import odeint, odeint_adjoint, odeint_event
try:
    from torchdiffeq import odeint_dense
except ImportError:  # is called so in the file alone
    from torchdiffeq._impl.odeint import odeint_dense
f = lambda t, y: torch.stack((-5 * y[..., 0], 5 * y[..., 0] - y[..., 1]), -1)
m = torch.nn.Module()
m.forward = f
g = lambda t, y: y[0] - 0.5
t0, t1, zero, half = 0.0, 2.0, torch.tensor(0.0).double(), torch.tensor(0.5)
t0, t1 = torch.tensor(t0).double(), torch.tensor(t1).double()
y0, ts = torch.tensor([1.0, 0.0]).double(), torch.linspace(0.0, 2.0, 5).double()
stops, largest = torch.tensor([0.5]).double(), lambda error: error.abs().max()
LSODA, SMALL = {"solver": "LSODA"}, {"step_size": 0.01}
call = lambda **more: odeint(f, y0, ts, **more)
""",
)

DIFFRAX = Library(
    "diffrax",
    (
        Row(
            "diffeqsolve(term, Tsit5(), t0, t1, dt0, y0)", 'sg.solve(f, y0, t0, t1, method="tsit5")'
        ),
        Row("term=ODETerm(f), args=5.0", "args=(5.0,)"),
        Row("solver=Tsit5()", 'method="tsit5"'),
        Row("solver=Dopri5()", 'method="dopri5"'),
        Row("solver=Dopri8()", 'method="dopri8"'),
        Row("solver=Bosh3()", 'method="bosh3"'),
        Row("solver=Kvaerno4()", 'method="kvaerno4"'),
        Row("solver=Kvaerno5()", 'method="kvaerno5"'),
        Row("solver=KenCarp4(), term=parts", "(slow, fast)"),
        Row("saveat=SaveAt(t1=True)", "save_at=None"),
        Row("saveat=SaveAt(ts=ts)", "save_at=ts"),
        Row("saveat=SaveAt(t0=True, steps=True)", "save_at=sg.EveryStep()"),
        Row("stepsize_controller=PIDController(1e-6, 1e-9)", "rtol=1e-6, atol=1e-9"),
        Row("stepsize_controller=pid", "controller=sg.PID(pcoeff=0.3, icoeff=0.4)"),
        Row("stepsize_controller=constant, dt0=0.01", 'method="tsit5", controller=sg.Fixed(0.01)'),
        Row(
            "stepsize_controller=StepTo(fine), dt0=None", 'method="tsit5", controller=sg.Grid(fine)'
        ),
        Row("stepsize_controller=clipped", "tstops=[0.5]"),
        Row("dt0=1e-3", "first_step=1e-3"),
        Row("max_steps=900", "max_attempts=900"),
        Row("throw=True", "call().raise_if_failed()"),
        Row("adjoint=RecursiveCheckpointAdjoint()", 'gradient="checkpoint"'),
        Row("adjoint=DirectAdjoint()", 'gradient="direct"'),
        Row("event=Event(low, Newton(1e-9, 1e-9))", "events=sg.Event(g, terminal=True)"),
        Row("event=Event(below)", "monitor=below"),
        Row("event=Event(steady_state_event(1e-3, 1e-3))", "save_at=sg.SteadyState()"),
        Row("jax.vmap(solved)(many)", "sg.solve(f, many, t0, t1, batched=True)"),
        Row(".ts", ".t", "ts"),
        Row(".ys", ".y", "exact(ts)"),
        Row(".evaluate(0.5)", ".at(0.5)", "exact(0.5)"),
        Row('.stats["num_accepted_steps"]', ".stats.accepted", "count"),
        Row('.stats["num_rejected_steps"]', ".stats.rejected", "any"),
        Row(".result", ".status", "any"),
    ),
    "diffrax",
    """
import jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from diffrax import *
from optimistix import Newton
f = lambda t, y, k: jnp.stack([-5 * y[0], 5 * y[0] - y[1]])
low, below = (lambda t, y, args, **_: y[0] - 0.5), (lambda t, y, args, **_: y[0] < 0.5)
slow = ODETerm(lambda t, y, k: jnp.stack([0 * y[0], -y[1]]))
fast = ODETerm(lambda t, y, k: jnp.stack([-5 * y[0], 5 * y[0]]))
parts = MultiTerm(slow, fast)
t0, t1, dt0, y0, ts = 0.0, 2.0, 0.01, jnp.array([1.0, 0.0]), jnp.linspace(0.0, 2.0, 5)
fine, many, constant = jnp.linspace(0.0, 2.0, 201), jnp.tile(y0, (3, 1)), ConstantStepSize()
pid = PIDController(1e-6, 1e-9, pcoeff=0.3, icoeff=0.4)
clipped = ClipStepSizeController(PIDController(1e-6, 1e-9), step_ts=jnp.array([0.5]))
def call(solver=Tsit5(), term=ODETerm(f), dt0=dt0, **more):
    more = {"stepsize_controller": PIDController(1e-4, 1e-7)} | more
    return diffeqsolve(term, solver, t0, t1, dt0, more.pop("y0", y0), **more)
term, solved = ODETerm(f), lambda start: call(y0=start)
solution = call(saveat=SaveAt(ts=ts, dense=True))
""",
)

MATLAB = Library(
    "MATLAB",
    (
        Row("[t, y] = ode45(f, [t0 t1], y0)", 'sg.solve(f, y0, t0, t1, method="dopri5")'),
        Row("[t, y] = ode15s(f, [t0 t1], y0)", 'sg.solve(f, y0, t0, t1, method="bdf")'),
        Row("ode45(f, ts, y0)", "save_at=ts"),
        Row("ode23", 'method="bosh3"'),
        Row("ode78, ode89", 'method="verner87"'),
        Row("ode113", 'method="dop853"'),
        Row("ode23s", 'method="rosenbrock23"'),
        Row("ode23tb", 'method="trbdf2"'),
        Row('odeset("RelTol", 1e-3, "AbsTol", 1e-6)', "rtol=1e-3, atol=1e-6"),
        Row('odeset("InitialStep", 1e-3)', "first_step=1e-3"),
        Row('odeset("MaxStep", 0.1)', "max_step=0.1"),
        Row('odeset("NormControl", "on")', "norm=euclidean"),
        Row('odeset("Jacobian", @jac)', "jac=jac"),
        Row('odeset("JPattern", S)', 'method="bdf", jac_sparsity=S'),
        Row('odeset("Mass", M)', "sg.solve(weighed, y0, t0, t1, mass=M)"),
        Row('odeset("NonNegative", 1)', "nonnegative=[0]"),
        Row('odeset("Events", @g)', "events=sg.Event(g, terminal=True, direction=-1)"),
        Row('odeset("OutputFcn", @watch)', "monitor=below"),
        Row('odeset("Refine", 4)', "dense=True"),
        Row("@(t, y) f(t, y, 5)", "args=(5.0,)"),
        Row("deval(sol, 0.5)", ".at(0.5)", "exact(0.5)"),
        Row("te, sol.xe", ".events[0].t", "[HALF]"),
        Row("ye, sol.ye", ".events[0].y", "[exact(HALF)]"),
        Row("sol.stats.nfevals", ".stats.nfe", "count"),
        Row("odextend(sol, f, t1)", "sg.solve(f, part.y[-1], part.t[-1], t1)"),
    ),
)

JULIA = Library(
    "Julia",
    (
        Row("solve(ODEProblem(f, u0, (t0, t1), p))", "sg.solve(f, y0, t0, t1, args=(5.0,))"),
        Row("solve(prob, Tsit5())", 'method="tsit5"'),
        Row("Rodas5P(), Rodas4(), Rodas4P()", 'method="rodas5p"'),
        Row("Rosenbrock23()", 'method="rosenbrock23"'),
        Row("FBDF(), QNDF(), CVODE_BDF()", 'method="bdf"'),
        Row("RadauIIA5()", 'method="radau5"'),
        Row("Kvaerno5()", 'method="kvaerno5"'),
        Row("TRBDF2()", 'method="trbdf2"'),
        Row("KenCarp4(), SplitODEProblem(...)", "(slow, fast)"),
        Row("ROCK2()", 'method="rkc2"'),
        Row("Vern7()", 'method="verner76"'),
        Row("DP5()", 'method="dopri5"'),
        Row("DP8()", 'method="dop853"'),
        Row("AutoTsit5(Rodas5P())", 'method="auto"'),
        Row("RK4(), dt=0.01, adaptive=false", 'method="rk4", controller=sg.Fixed(0.01)'),
        Row("reltol=1e-3, abstol=1e-6", "rtol=1e-3, atol=1e-6"),
        Row("saveat=ts", "save_at=ts"),
        Row("save_everystep=true", "save_at=sg.EveryStep()"),
        Row("dt=1e-3, dtmax=0.1, dtmin=1e-9", "first_step=1e-3, max_step=0.1, min_step=1e-9"),
        Row("maxiters=900", "max_attempts=900"),
        Row("tstops=[0.5]", "tstops=[0.5]"),
        Row("ODEFunction(f; jac=jac)", "jac=jac"),
        Row("ODEFunction(f; jac_prototype=S)", 'method="bdf", jac_sparsity=S'),
        Row("ODEFunction(f; mass_matrix=M)", "sg.solve(weighed, y0, t0, t1, mass=M)"),
        Row("ContinuousCallback(g, terminate!)", "events=sg.Event(g, terminal=True)"),
        Row("ContinuousCallback(g, affect!)", "events=sg.Event(g, jump=same)"),
        Row("PresetTimeCallback(0.5, affect!)", "tstops=[0.5], jump_at=same"),
        Row("TerminateSteadyState()", "save_at=sg.SteadyState()"),
        Row("PositiveDomain()", "nonnegative=True"),
        Row("isoutofdomain=..., DiscreteCallback", "monitor=below"),
        Row("EnsembleProblem(prob)", "sg.solve(f, many, t0, t1, batched=True)"),
        Row("sensealg=InterpolatingAdjoint()", 'gradient="checkpoint"'),
        Row("sol(0.5)", ".at(0.5)", "exact(0.5)"),
        Row("sol.t", ".t", "ts"),
        Row("sol.u", ".y", "exact(ts)"),
        Row("sol.stats.nf", ".stats.nfe", "count"),
        Row("sol.retcode", ".status", "any"),
    ),
)

LIBRARIES = (SCIPY, TORCHDIFFEQ, DIFFRAX, MATLAB, JULIA)
HERE = [x for x in LIBRARIES if x.module and importlib.util.find_spec(x.module)]


def value(cell: str, names: dict[str, Any]) -> Any:
    """What a cell comes to."""
    if cell.startswith("."):
        return eval(f"solution{cell}", names)
    if cell.startswith("("):
        return eval(f"pair({cell})", names)
    if re.match(r"\w+=[^=]", cell):
        return eval(f"call({cell})", names)
    return eval(cell, names)


def check(row: Row, found: Any) -> None:
    """A value is what the row expects, or the states of the problem at their own times."""
    if row.expect == "any":
        assert found is not None
        return
    if row.expect == "count":
        assert int(found) > 0
        return
    if row.expect:
        known = {"exact": exact, "HALF": HALF, "ts": np.linspace(0.0, T1, 5)}
        np.testing.assert_allclose(numbers(found), np.asarray(eval(row.expect, known)), atol=CLOSE)
        return
    t, y = states(found)
    np.testing.assert_allclose(y[np.isfinite(t)], exact(t)[np.isfinite(t)], atol=CLOSE)


def states(found: Any) -> tuple[Any, Any]:
    """Times (...,) and states (..., 2) of a solution, or of an array at the times of the table."""
    if hasattr(found, "ys"):  # diffrax
        return numbers(found.ts), numbers(found.ys)
    if hasattr(found, "y"):
        t, y = numbers(found.t), numbers(found.y)
        return t, y if hasattr(found, "stats") else y.T
    y = numbers(found)
    return np.linspace(0.0, T1, len(y)) if y.ndim > 1 else np.asarray(T1), y


def numbers(found: Any) -> Any:
    return np.asarray(found.detach() if hasattr(found, "detach") else found)


def names_of(library: Library) -> dict[str, Any]:
    """The names that left cells use."""
    names: dict[str, Any] = {}
    exec(library.setup, names)
    return names


def table(library: Library) -> str:
    """One library's rows, in Markdown."""
    lines = [f"| {library.heading} | stiffguide |", "| :--- | :--- |"]
    lines += [f"| {_code(row.theirs)} | {_code(row.ours)} |" for row in library.rows]
    return "\n".join(lines) + "\n"


def _code(cell: str) -> str:
    return f"`{cell}`"


def tables() -> dict[str, str]:
    """All tables, by the names of their files."""
    return {f"from_{x.heading.split('.')[0].lower()}": table(x) for x in LIBRARIES}


if __name__ == "__main__":
    for library in HERE:
        names = names_of(library)
        for row in library.rows:
            check(row, value(row.theirs, names))
            sys.stdout.write(f"{library.module}: {row.theirs}\n")
