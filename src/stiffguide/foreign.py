"""Names of other libraries, and what is written here instead: one table, asked where a name fails.

Every row's `ours` runs as it stands in a call of `solve` (or, of results, after one); what a row of
`METHODS` names is the same method, or does the same work best. Theirs are documented by SciPy
(scipy.integrate), torchdiffeq, diffrax, MATLAB (ODE solvers), Julia (DifferentialEquations.jl) and
SUNDIALS. Nothing is imported here, because this is read when something has gone wrong already.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import NamedTuple

SCIPY, TORCHDIFFEQ, DIFFRAX = "SciPy", "torchdiffeq", "diffrax"
MATLAB, JULIA, SUNDIALS = "MATLAB", "Julia", "SUNDIALS"
BOTH = f"{DIFFRAX} and {JULIA}"


class Row(NamedTuple):
    """One name of another library."""

    theirs: str
    library: str
    ours: str  # python text, or "" where there is nothing of the kind
    note: str = ""  # what the name alone does not say

    @property
    def sentence(self) -> str:
        """Whose name it is, and what is to be written here."""
        if not self.ours:
            return f"a name of {self.library}; {self.note}"
        note = f" ({self.note})" if self.note else ""
        return f"a name of {self.library}; here it is {self.ours}{note}"


STIFF = "variable order, for stiff systems"
GIVEN = "on given steps; what chooses its steps is method='auto'"
EXPLICIT = "or 'auto', which turns to a stiff method where it should"
STEPS = "method='adams_moulton', controller=stiffguide.Fixed(0.1)"

METHODS = (
    Row("RK45", SCIPY, "method='dopri5'", EXPLICIT),
    Row("RK23", SCIPY, "method='bosh3'", EXPLICIT),
    Row("DOP853", SCIPY, "method='dop853'"),
    Row("Radau", SCIPY, "method='radau5'"),
    Row("BDF", SCIPY, "method='bdf'"),
    Row("LSODA", SCIPY, "method='auto'"),
    Row("vode", SCIPY, "method='bdf'", STIFF),
    Row("zvode", SCIPY, "method='bdf'", "complex states, too"),
    Row("adams", SCIPY, STEPS, GIVEN),
    Row("scipy_solver", TORCHDIFFEQ, "method='auto'", "or a method by its own name"),
    Row("implicit_adams", TORCHDIFFEQ, STEPS, GIVEN),
    Row("fixed_adams", TORCHDIFFEQ, STEPS, GIVEN),
    Row("explicit_adams", TORCHDIFFEQ, STEPS.replace("moulton", "bashforth"), GIVEN),
    Row("adaptive_heun", TORCHDIFFEQ, "method='heun'"),
    Row("heun2", TORCHDIFFEQ, "method='heun'"),
    Row("radauIIA3", TORCHDIFFEQ, "method='radau_iia3', controller=stiffguide.Fixed(0.1)"),
    Row("gl4", TORCHDIFFEQ, "method='gauss4', controller=stiffguide.Fixed(0.1)"),
    Row("gl6", TORCHDIFFEQ, "method='gauss6', controller=stiffguide.Fixed(0.1)"),
    Row("Tsit5", BOTH, "method='tsit5'"),
    Row("Kvaerno3", BOTH, "method='kvaerno3'"),
    Row("Kvaerno4", BOTH, "method='kvaerno4'"),
    Row("Kvaerno5", BOTH, "method='kvaerno5'"),
    Row("KenCarp3", BOTH, "method='kencarp3'"),
    Row("KenCarp4", BOTH, "method='kencarp4'", "with f=(explicit, implicit) for fields in parts"),
    Row("KenCarp5", BOTH, "method='kencarp5'"),
    Row("Heun", BOTH, "method='heun'"),
    Row("Midpoint", BOTH, "method='midpoint', controller=stiffguide.Fixed(0.1)"),
    Row("Euler", BOTH, "method='euler', controller=stiffguide.Fixed(0.1)"),
    Row("ImplicitEuler", BOTH, "method='implicit_euler', controller=stiffguide.Fixed(0.1)"),
    Row("Bosh3", DIFFRAX, "method='bosh3'"),
    Row("Dopri5", DIFFRAX, "method='dopri5'"),
    Row("Dopri8", DIFFRAX, "method='dopri8'"),
    Row("Ralston", DIFFRAX, "method='heun'", "of the same order"),
    Row("ode45", MATLAB, "method='dopri5'", EXPLICIT),
    Row("ode23", MATLAB, "method='bosh3'", EXPLICIT),
    Row("ode78", MATLAB, "method='verner87'"),
    Row("ode89", MATLAB, "method='dop853'", "of order 8"),
    Row("ode113", MATLAB, "method='verner76'", "for high accuracy where nothing is stiff"),
    Row("ode15s", MATLAB, "method='bdf'", STIFF),
    Row("ode23s", MATLAB, "method='rosenbrock23'"),
    Row("ode23t", MATLAB, "method='trbdf2'", "'trapezoid' is on given steps"),
    Row("ode23tb", MATLAB, "method='trbdf2'"),
    Row("ode15i", MATLAB, "mass=[1.0, 1.0]", "M y' = f(t, y); F(t, y, y') = 0 is not offered"),
    Row("Rosenbrock23", JULIA, "method='rosenbrock23'"),
    Row("Rodas3", JULIA, "method='rodas3'"),
    Row("Rodas4", JULIA, "method='rodas4'"),
    Row("Rodas4P", JULIA, "method='rodas4p'"),
    Row("Rodas5", JULIA, "method='rodas5p'", "of the same order"),
    Row("Rodas5P", JULIA, "method='rodas5p'"),
    Row("TRBDF2", JULIA, "method='trbdf2'"),
    Row("RadauIIA5", JULIA, "method='radau5'"),
    Row("FBDF", JULIA, "method='bdf'", STIFF),
    Row("QNDF", JULIA, "method='bdf'", STIFF),
    Row("ROCK2", JULIA, "method='rkc2'", "stabilised explicit, of order 2"),
    Row("ROCK4", JULIA, "method='rkc2'", "stabilised explicit, of order 2"),
    Row("BS3", JULIA, "method='bosh3'"),
    Row("DP5", JULIA, "method='dopri5'"),
    Row("DP8", JULIA, "method='dop853'"),
    Row("Vern6", JULIA, "method='verner65'"),
    Row("Vern7", JULIA, "method='verner76'"),
    Row("Vern8", JULIA, "method='verner87'"),
    Row("Vern9", JULIA, "method='verner87'", "of order 8"),
    Row("VCABM", JULIA, "method='verner76'", "for high accuracy where nothing is stiff"),
    Row("AutoTsit5", JULIA, "method='auto'"),
    Row("CVODE", SUNDIALS, "method='bdf'", STIFF),
    Row("CVODE_BDF", JULIA, "method='bdf'", STIFF),
    Row("CVODE_Adams", JULIA, "method='verner76'", "for high accuracy where nothing is stiff"),
    Row("ARKODE", SUNDIALS, "method='kencarp4'", "with f=(explicit, implicit)"),
    Row("IDA", SUNDIALS, "mass=[1.0, 1.0]", "M y' = f(t, y); F(t, y, y') = 0 is not offered"),
)

EVERY_STEP = "save_at=stiffguide.EveryStep()"
ARGUMENTS = (
    Row("fun", SCIPY, "f=f"),
    Row("t_span", SCIPY, "t0=0.0, t1=1.0"),
    Row("t_eval", SCIPY, "save_at=[0.5, 1.0]"),
    Row("dense_output", SCIPY, "dense=True", "and then solution.at(t)"),
    Row("vectorized", SCIPY, "batched=False", "True is for rows with steps of their own"),
    Row("lband", SCIPY, "linear_solver='band'", "its width is found"),
    Row("uband", SCIPY, "linear_solver='band'", "its width is found"),
    Row("max_num_steps", TORCHDIFFEQ, "max_attempts=1000"),
    Row("func", TORCHDIFFEQ, "f=f"),
    Row("t", TORCHDIFFEQ, "t0=0.0, t1=1.0, save_at=[0.5, 1.0]"),
    Row("options", TORCHDIFFEQ, "max_attempts=1000", "every option is an argument of its own"),
    Row("step_size", TORCHDIFFEQ, "controller=stiffguide.Fixed(0.1)"),
    Row("grid_constructor", TORCHDIFFEQ, "controller=stiffguide.Grid([0.0, 0.5, 1.0])"),
    Row("step_t", TORCHDIFFEQ, "tstops=[0.5]"),
    Row("jump_t", TORCHDIFFEQ, "tstops=[0.5]"),
    Row("event_fn", TORCHDIFFEQ, "events=stiffguide.Event(g, terminal=True)"),
    Row("adjoint_params", TORCHDIFFEQ, "gradient='checkpoint'", "parameters of f are found"),
    Row("adjoint_method", TORCHDIFFEQ, "gradient='checkpoint'", "by the steps that were made"),
    Row("adjoint_options", TORCHDIFFEQ, "gradient='checkpoint'"),
    Row("adjoint_rtol", TORCHDIFFEQ, "gradient='checkpoint'", "exact, without a tolerance"),
    Row("adjoint_atol", TORCHDIFFEQ, "gradient='checkpoint'", "exact, without a tolerance"),
    Row("safety", TORCHDIFFEQ, "controller=stiffguide.PID(safety=0.8)"),
    Row("perturb", TORCHDIFFEQ, "tstops=[0.5]", "f is asked on the side of the step"),
    Row("terms", DIFFRAX, "f=f"),
    Row("solver", DIFFRAX, "method='kvaerno5'"),
    Row("dt0", DIFFRAX, "first_step=0.1", "or controller=stiffguide.Fixed(0.1)"),
    Row("saveat", BOTH, "save_at=[0.5, 1.0]"),
    Row("stepsize_controller", DIFFRAX, "controller=stiffguide.PID()", "rtol and atol apart"),
    Row("max_steps", DIFFRAX, "max_attempts=1000"),
    Row("adjoint", DIFFRAX, "gradient='checkpoint'"),
    Row("event", DIFFRAX, "events=stiffguide.Event(g, terminal=True)"),
    Row("discrete_terminating_event", DIFFRAX, "monitor=lambda t, y: False"),
    Row("progress_meter", DIFFRAX, "progress=True"),
    Row("throw", DIFFRAX, "max_attempts=1000", "failures are returned: .raise_if_failed()"),
    Row("pcoeff", DIFFRAX, "controller=stiffguide.PID(pcoeff=0.4, icoeff=0.3)"),
    Row("icoeff", DIFFRAX, "controller=stiffguide.PID(pcoeff=0.4, icoeff=0.3)"),
    Row("tspan", JULIA, "t0=0.0, t1=1.0"),
    Row("u0", JULIA, "y0=y0"),
    Row("p", JULIA, "args=(p,)"),
    Row("alg", JULIA, "method='rodas5p'"),
    Row("reltol", f"{JULIA} and {MATLAB}", "rtol=1e-6"),
    Row("abstol", f"{JULIA} and {MATLAB}", "atol=1e-9"),
    Row("dt", JULIA, "first_step=0.1", "or controller=stiffguide.Fixed(0.1)"),
    Row("dtmax", BOTH, "max_step=0.5"),
    Row("dtmin", BOTH, "min_step=1e-9"),
    Row("adaptive", JULIA, "controller=stiffguide.Fixed(0.1)", "of given steps"),
    Row("maxiters", JULIA, "max_attempts=1000"),
    Row("save_everystep", JULIA, EVERY_STEP),
    Row("callback", JULIA, "events=stiffguide.Event(g, jump=lambda t, y, *args: y)"),
    Row("mass_matrix", JULIA, "mass=[1.0, 1.0]"),
    Row("jac_prototype", JULIA, "jac_sparsity=torch.eye(2)"),
    Row("sensealg", JULIA, "gradient='checkpoint'", "or sensitivities=['y0']"),
    Row("MaxStep", MATLAB, "max_step=0.5"),
    Row("InitialStep", MATLAB, "first_step=0.1"),
    Row("Events", MATLAB, "events=stiffguide.Event(g, terminal=True)"),
    Row("Jacobian", MATLAB, "jac='autograd'"),
    Row("JPattern", MATLAB, "jac_sparsity=torch.eye(2)"),
    Row("Mass", MATLAB, "mass=[1.0, 1.0]"),
    Row("NonNegative", MATLAB, "nonnegative=[0]"),
)

SOLVE = "stiffguide.solve(f, y0, 0.0, 1.0)"
FRONT = "from stiffguide.fronts.{} import {}"
NAMES = (
    Row("solve_ivp", SCIPY, FRONT.format("scipy", "solve_ivp"), f"or {SOLVE}"),
    Row("odeint", TORCHDIFFEQ, FRONT.format("torchdiffeq", "odeint"), f"or {SOLVE}"),
    *(
        Row(name, TORCHDIFFEQ, FRONT.format("torchdiffeq", name))
        for name in ("odeint_adjoint", "odeint_event", "odeint_dense")
    ),
    Row("ode", SCIPY, SOLVE),
    Row("diffeqsolve", DIFFRAX, SOLVE),
    Row("ODETerm", DIFFRAX, SOLVE, "f goes in as it is"),
    Row("MultiTerm", DIFFRAX, "stiffguide.solve((f, g), y0, 0.0, 1.0, method='kencarp4')"),
    Row("SaveAt", DIFFRAX, "stiffguide.solve(f, y0, 0.0, 1.0, save_at=[0.5, 1.0])"),
    Row("PIDController", DIFFRAX, "stiffguide.PID()"),
    Row("ConstantStepSize", DIFFRAX, "stiffguide.Fixed(0.1)"),
    Row("StepTo", DIFFRAX, "stiffguide.Grid([0.0, 0.5, 1.0])"),
    Row("ODEProblem", JULIA, SOLVE),
    Row("EnsembleProblem", JULIA, "stiffguide.solve(f, y0[None], 0.0, 1.0, batched=True)"),
    Row("SplitODEProblem", JULIA, "stiffguide.solve((f, g), y0, 0.0, 1.0, method='kencarp4')"),
    Row("ContinuousCallback", JULIA, "stiffguide.Event(g, jump=lambda t, y: y)"),
    Row("remake", JULIA, "stiffguide.prepare(f, like=y0)"),
    Row("odeset", MATLAB, SOLVE, "every option is an argument of solve"),
    Row("sdeint", "torchsde", "", "stochastic equations are not offered; torchsde solves them"),
    Row("cdeint", "torchcde", "", "controlled equations are not offered; torchcde solves them"),
    Row("solve_bvp", SCIPY, "", "boundary values are not offered; SciPy's solve_bvp takes them"),
    Row("DDEProblem", JULIA, "", "delays are not offered; DifferentialEquations.jl takes them"),
)

RESULT = (  # of a solve with dense=True and one event
    Row("nfev", SCIPY, "solution.stats.nfe"),
    Row("njev", SCIPY, "solution.stats.njac"),
    Row("nlu", SCIPY, "solution.stats.nlu"),
    Row("sol", SCIPY, "solution.at(0.5)", "of a solve with dense=True"),
    Row("t_events", SCIPY, "solution.events[0].t"),
    Row("y_events", SCIPY, "solution.events[0].y"),
    Row("ts", DIFFRAX, "solution.t"),
    Row("ys", DIFFRAX, "solution.y"),
    Row("result", DIFFRAX, "solution.status", "in words solution.message"),
    Row("evaluate", DIFFRAX, "solution.at(0.5)", "of a solve with dense=True"),
    Row("interpolation", DIFFRAX, "solution.at(0.5)", "of a solve with dense=True"),
    Row("event_mask", DIFFRAX, "solution.events"),
    Row("u", JULIA, "solution.y"),
    Row("retcode", JULIA, "solution.status", "in words solution.message"),
    Row("x", MATLAB, "solution.t"),
    Row("xe", MATLAB, "solution.events[0].t"),
    Row("ye", MATLAB, "solution.events[0].y"),
)

CALLS = (
    Row("solve(f, (t0, t1), y0)", SCIPY, "solve(f, y0, t0, t1)"),
    Row("solve(f, y0, t)", TORCHDIFFEQ, "solve(f, y0, t[0], t[-1], save_at=t)"),
    Row(
        "solve(terms, solver, t0, t1, dt0, y0)",
        DIFFRAX,
        "solve(f, y0, t0, t1, method='kvaerno5', first_step=0.1)",
    ),
)


def _table(rows: Iterable[Row]) -> Mapping[str, Row]:
    return {row.theirs.lower(): row for row in rows}


_METHODS, _ARGUMENTS, _NAMES, _RESULT = map(_table, (METHODS, ARGUMENTS, NAMES, RESULT))


def method(name: str) -> str:
    """What to write for another library's method, or "" where it is a name of nobody."""
    row = _METHODS.get(name.lower())
    return f"{name!r} is {row.sentence}" if row else ""


def argument(name: str, known: Collection[str]) -> str:
    """What to write for an argument that is none of the known ones."""
    row = _ARGUMENTS.get(name.lower())
    if row and row.ours.partition("=")[0] in known:
        return f"{name!r} is {row.sentence}"
    near = get_close_matches(name, known, n=2, cutoff=0.6)
    return f"{name!r} is unknown" + (f"; did you mean {' or '.join(near)}?" if near else "")


def public(name: str) -> str:
    """What to write for a name that the package does not have, or "" where it is nobody's."""
    row = _NAMES.get(name.lower()) or _METHODS.get(name.lower())
    return f"it is {row.sentence}" if row else ""


def attribute(name: str) -> str:
    """What to write for an attribute that a Solution does not have, or ""."""
    row = _RESULT.get(name)
    return f"it is {row.sentence}" if row else ""
