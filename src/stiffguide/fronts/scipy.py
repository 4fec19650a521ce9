"""`solve_ivp` with the signature, the result and the habits of scipy.integrate.solve_ivp.

numpy arrays in, numpy arrays out; tensors in, tensors out, gradients included.
"""

from __future__ import annotations

import cmath
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult
from torch import Tensor

from stiffguide import choices, methods
from stiffguide.errors import InputError, Status
from stiffguide.fields.array_function import ArrayFunction
from stiffguide.fronts import events as front_events
from stiffguide.fronts.arrays import Arrays, arrays_of
from stiffguide.fronts.first_step import Remembered, first_step
from stiffguide.fronts.ode_solution import OdeSolution, standstill
from stiffguide.fronts.options import Options
from stiffguide.inputs import Array, Events, Number, Times
from stiffguide.kernels import way
from stiffguide.saying import warn
from stiffguide.solution import Solution
from stiffguide.solve import solve
from stiffguide.stepping.contracts import Controller, Method
from stiffguide.stepping.controllers import PID
from stiffguide.stepping.output import End, EveryStep
from stiffguide.stepping.trajectory import Trajectory
from stiffguide.tableaux.rosenbrock import RosenbrockTableau
from stiffguide.tableaux.tableau import Tableau

Numbers = NDArray[np.float64]

NAMES = {"RK23": "bosh3", "RK45": "dopri5", "DOP853": "dop853", "BDF": "bdf"}
ALIKE = {"Radau": "radau5", "LSODA": "auto"}  # by other rules for dt, or for which method
FINISHED = "The solver successfully reached the end of the integration interval."
STOPPED = "A termination event occurred."
TOO_SMALL = "Required step size is less than spacing between numbers"
CONTROL = PID()  # scipy's, of those
FEW = 64  # components, of which python asks faster than torch
SMALLEST_RTOL = float(100 * np.finfo(float).eps)


def solve_ivp(
    fun: Callable[..., Any],
    t_span: Sequence[Number] | Array | Tensor,
    y0: Sequence[complex | np.number[Any]] | Array | Tensor,
    method: str | type | Tableau | RosenbrockTableau | Method = "RK45",
    t_eval: Times | None = None,
    dense_output: bool = False,
    events: Events | None = None,
    vectorized: bool = False,
    args: Sequence[Any] | None = None,
    **options: Unpack[Options],
) -> OptimizeResult:
    """Solve dy/dt = fun(t, y, *args) as scipy.integrate.solve_ivp does.

    `method` is RK23, RK45 or DOP853, with scipy's steps, BDF or Radau, with about these, LSODA,
    which is `auto`, or any method of stiffguide; implicit ones may use `jac`. y0 is (n,), and so
    is fun(t, y); the result's t is (n_points,), its y (n, n_points). Steps end on events, and
    their times are as good as the solution. A failure is returned with status -1, never raised.
    Raises ValueError for arguments that cannot be used, InputError, which is one, where `fun` is
    a pair of functions, TypeError for `args` that is no tuple.
    """
    if isinstance(fun, (tuple, list)):
        raise InputError(
            "fun: a pair (explicit, implicit) goes to stiffguide.solve; give their sum"
        )
    stepper, controller = _method(method)
    watched = front_events.listed(events)
    t0, t1 = map(float, t_span)
    arrays = arrays_of(y0)
    start = _checked(arrays.state(y0))
    times = None if t_eval is None else _times(t_eval, t0, t1)
    chosen, more = _settings(options, stepper, start, abs(t1 - t0)), _unpacked(args)
    if stepper.implicit:
        jac = options.get("jac")
        chosen["jac"] = arrays.jacobian(_bind(jac, more))
        chosen["jac_sparsity"] = options.get("jac_sparsity") if jac is None else None
        chosen["linear_solver"] = options.get("linear_solver")
    asked, twice = arrays.field(fun, vectorized, more), 0
    field, given = asked.field, asked.args
    if start.numel() == 0 or t0 == t1:
        asked(start.new_tensor(t0, dtype=torch.float64), start)  # once, as scipy does
        return _stand(start, (t0, t1), times, dense_output, arrays, watched)
    kept = {"save_at": _output(times), "dense": dense_output}
    if controller is not None and chosen["first_step"] is None and stepper.error_order is not None:
        known = Remembered(asked, start.new_tensor(t0, dtype=torch.float64), start)
        first = first_step(asked, known.value, (t0, t1), start, stepper.error_order, chosen)
        twice = 1
        if way(chosen["backend"]) == "eager":  # a kernel is made of fun itself
            field, given = known, ()
        chosen["first_step"] = first if 0 < first < np.inf else None
    if watched is not None:
        raw = field is asked.field and isinstance(field, ArrayFunction)
        kept["events"] = watched if raw else front_events.bound(watched, arrays, more)
    chosen |= {"controller": controller, "max_attempts": sys.maxsize}
    chosen["method"] = "auto" if choices.automatic(_name(method)) else stepper
    chosen["checks"] = False  # fun is called as often as scipy calls it
    solution = solve(field, start, t0, t1, args=given, **kept, **chosen)
    result = _result(solution, arrays, times, watched)
    result.nfev += twice
    if options.get("jac") is not None and not callable(options["jac"]):
        result.njev = 0  # a constant, as scipy counts
    return result


def _name(method: Any) -> Any:
    """The name of scipy's class, or what was given."""
    return method.__name__ if inspect.isclass(method) else method


def _method(method: Any) -> tuple[Method, Controller | None]:
    """The stepper, and scipy's control of dt where scipy's method is asked for."""
    name = _name(method)
    if isinstance(name, str):
        own = (NAMES | ALIKE).get(name, name)
        return methods.get(own), CONTROL if name in NAMES else None
    if isinstance(name, (Tableau, RosenbrockTableau)):
        return methods.from_tableau(name), None
    if not hasattr(name, "step"):
        raise InputError(f"`method` must be one of {(*NAMES, *ALIKE)} or a method's name")
    return name, None


def _unpacked(args: Any) -> tuple[Any, ...]:
    """The additional arguments."""
    try:
        return () if args is None else tuple(args)
    except TypeError as error:
        raise TypeError(
            "Supplied 'args' cannot be unpacked. Please supply `args` as a tuple "
            f"(e.g. `args=({args},)`)"
        ) from error


def _bind(fun: Any, more: tuple[Any, ...]) -> Any:
    """`fun` with the additional arguments; what is not callable stays what it is."""
    return (lambda t, y: fun(t, y, *more)) if callable(fun) and more else fun


def _checked(y0: Tensor) -> Tensor:
    if y0.ndim != 1:
        raise InputError(f"`y0` must be 1-dimensional, not of shape {tuple(y0.shape)}.")
    values = y0.detach()
    finite = values.tolist() if len(y0) <= FEW else [float(values.abs().max())]
    if not all(map(cmath.isfinite, finite)):
        raise InputError("All components of the initial state `y0` must be finite.")
    return y0


def _times(t_eval: Any, t0: float, t1: float) -> Numbers:
    times = _numbers(t_eval)
    if times.ndim != 1:
        raise InputError("`t_eval` must be 1-dimensional.")
    if not ((times >= min(t0, t1)) & (times <= max(t0, t1))).all():
        raise InputError("Values in `t_eval` are not within `t_span`.")
    ahead = times if t1 >= t0 else times[::-1]
    if t0 != t1 and (ahead[1:] <= ahead[:-1]).any():
        raise InputError("Values in `t_eval` are not properly sorted.")
    return times


def _settings(
    options: Mapping[str, Any], stepper: Method, y0: Tensor, length: float
) -> dict[str, Any]:
    """The arguments of `solve` that scipy calls options, checked as scipy checks them."""
    known = {"first_step", "max_step", "rtol", "atol", "backend", "nonnegative"} | (
        {"jac", "jac_sparsity", "linear_solver"} if stepper.implicit else set()
    )
    foreign = [f"`{name}`" for name in options if name not in known]
    if foreign:
        what = "The following arguments have no effect for a chosen solver"
        warn(f"{what}: {', '.join(foreign)}.", UserWarning)
    max_step, first_step = options.get("max_step", np.inf), options.get("first_step")
    if max_step <= 0:
        raise InputError("`max_step` must be positive.")
    if first_step is not None and first_step <= 0:
        raise InputError("`first_step` must be positive.")
    if first_step is not None and first_step > length:
        raise InputError("`first_step` exceeds bounds.")
    rtol, atol = _tolerances(options, tuple(y0.shape))
    return {
        "jac": "differences",  # explicit methods never ask
        "rtol": rtol,
        "atol": atol,
        "max_step": float(max_step),
        "first_step": first_step,
        "nonnegative": options.get("nonnegative"),
        "backend": options.get("backend", "auto"),
    }


def _tolerances(options: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[Any, Any]:
    """rtol and atol, numbers or tensors."""
    given = options.get("rtol", 1e-3), options.get("atol", 1e-6)
    if type(given[0]) is type(given[1]) is float and given[0] >= SMALLEST_RTOL and given[1] >= 0:
        return given  # the common case, quickly
    rtol, atol = map(_numbers, given)
    if (rtol < SMALLEST_RTOL).any():
        warn(
            "At least one element of `rtol` is too small. "
            f"Setting `rtol = np.maximum(rtol, {SMALLEST_RTOL})`.",
            UserWarning,
        )
        rtol = np.maximum(rtol, SMALLEST_RTOL)
    if atol.ndim > 0 and atol.shape != shape:
        raise InputError("`atol` has wrong shape.")
    if (atol < 0).any():
        raise InputError("`atol` must be positive.")
    rtol = np.broadcast_to(rtol, shape) if rtol.ndim else rtol
    return torch.tensor(rtol), torch.tensor(atol)


def _numbers(values: Any) -> Numbers:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
    return np.asarray(values, dtype=np.float64)


def _output(times: Numbers | None) -> Any:
    if times is None:
        return EveryStep()
    return torch.tensor(times) if times.size else End()


def _stand(
    y0: Tensor,
    span: tuple[float, float],
    times: Numbers | None,
    dense: bool,
    arrays: Arrays,
    watched: list[Any] | None,
) -> OptimizeResult:
    """The result where there is nothing to integrate: no component, or no interval."""
    t = torch.tensor(span if times is None else times, dtype=torch.float64, device=y0.device)
    counts = {"nfev": 1, "njev": 0, "nlu": 0, "status": 0, "message": FINISHED}
    trajectory = standstill(y0, *span) if dense else None
    found = _filled(t, y0.unsqueeze(1).repeat(1, len(t)), trajectory, arrays, counts)
    if watched is not None:
        found.t_events, found.y_events = front_events.nothing(watched, arrays, y0)
    return found


def _result(
    solution: Solution, arrays: Arrays, times: Numbers | None, watched: list[Any] | None
) -> OptimizeResult:
    status = Status(int(solution.status))
    code, message = (0, FINISHED) if status is Status.SUCCESS else (-1, solution.message)
    if status is Status.EVENT:
        code, message = 1, STOPPED
    if status in (Status.DT_TOO_SMALL, Status.NON_FINITE):
        message = f"{TOO_SMALL}: {message}"
    nfe, njac, nlu = solution.counts[3:].tolist()
    counts = {"nfev": nfe, "njev": njac, "nlu": nlu, "status": code, "message": message}
    t, y = solution.t, solution.y
    if times is not None and not times.size:
        t, y = t[:0], y[:0]
    elif code:
        reached = ~torch.isnan(y).any(1)
        t, y = t[reached], y[reached]
    y = y.T
    found = _filled(t, y, solution.trajectory, arrays, counts)
    if watched is not None:
        found.t_events, found.y_events = front_events.tables(solution.events, arrays)
    return found


def _filled(
    t: Tensor, y: Tensor, trajectory: Trajectory | None, arrays: Arrays, counts: dict[str, Any]
) -> OptimizeResult:
    times, states = arrays.points(t, y)
    return OptimizeResult(
        t=times,
        y=states,
        sol=None if trajectory is None else OdeSolution(trajectory, arrays),
        t_events=None,
        y_events=None,
        success=counts["status"] >= 0,
        **counts,
    )
