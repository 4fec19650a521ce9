"""A solve made ready: the same question for many states, spans and parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from typing import Any

from torch import Tensor

from stiffguide import arguments, choices, kernels
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.fields.flat import field
from stiffguide.fields.layout import Layout
from stiffguide.gradients import modes
from stiffguide.gradients.modes import Gradient
from stiffguide.inputs import Number, Numbers, PerEntry, State, Times
from stiffguide.kernels import Backend
from stiffguide.signatures import answered
from stiffguide.solution import Solution
from stiffguide.solve import solve
from stiffguide.stepping.contracts import Controller, Method, Output
from stiffguide.tensors import transformed

OWN = ("first_step", "nonnegative", "gradient")  # what no call of a kernel is known by


class Prepared:
    """What `prepare` made; called with a state, two times, and the arguments of f.

    `why` says why the kernel is not there, where it is not.
    """

    def __init__(self, f: Callable[..., Any], settings: dict[str, Any], why: str) -> None:
        self.why = why
        self._f = f
        self._settings = settings
        self._first_step = settings["first_step"]
        self._name = {k: v for k, v in settings.items() if k not in OWN}
        self._plain = settings["nonnegative"] is None and settings["gradient"] == "auto"
        self._call: kernels.Call | None = None

    def __call__(self, y0: State, t0: Numbers, t1: Numbers, *args: Any) -> Solution[Any]:
        """Solve dy/dt = f(t, y, *args) from t0 to t1; raises as `solve` does."""
        if self._call is not None and not transformed():
            found = self._call(self._f, y0, t0, t1, args, self._first_step)
            if found is not None:
                return found
        solution: Solution[Any] = solve(self._f, y0, t0, t1, args=args, **self._settings)
        if self._plain:
            self._call = kernels.known(_named(self._f, y0, **self._name))
        return solution

    def __getstate__(self) -> dict[str, Any]:
        """All but the call, which holds addresses of this process; the next one makes another."""
        return vars(self) | {"_call": None}


@answered
def prepare(
    f: Callable[..., Any],
    *,
    like: State,
    method: str | Method = "auto",
    rtol: PerEntry = 1e-6,
    atol: PerEntry = 1e-9,
    args: tuple[Any, ...] = (),
    batched: bool = False,
    save_at: Times | Output | None = None,
    first_step: Number | None = None,
    max_step: Number | None = None,
    max_attempts: int = 100_000,
    controller: Controller | None = None,
    nonnegative: Any = None,
    backend: Backend = "auto",
    gradient: Gradient = "auto",
    t0: Number = 0.0,
) -> Prepared:
    """Make ready what `solve` would: `prepared(y0, t0, t1, *args)` gives the same Solution.

    The kernel of f is built now, where there can be one: no call waits for it, and a call does
    little but solve. `like` is a state as the calls will get it, `args` are arguments as they will
    come (other values build nothing), `t0` is a time at which f can be evaluated; what else is
    given means what it does in `solve`. Raises InputError for what cannot be used, and
    UnsupportedError where backend="kernel" and there is no kernel.
    """
    modes.check(gradient, backend)
    layout = Layout(like, batched=batched)
    field(f, args, layout)  # which refuses what is no function, and no tuple
    stepper = choices.method(method, layout)
    tolerance = arguments.tolerance(rtol, atol, layout)
    if isinstance(save_at, Tensor) and save_at.requires_grad:
        raise UnsupportedError(
            "save_at requires grad, and prepare makes numbers of it: detach it, or call solve"
        )
    choices.outputs(save_at, False, layout, tolerance)
    choices.controller(controller, stepper)
    for name, value in (("first_step", first_step), ("max_step", max_step)):
        arguments.length(value, name)
    arguments.attempts(max_attempts)
    bounds = choices.nonnegative(nonnegative, layout, 0 * layout.flatten(like, "like"))
    why, way = "", kernels.way(backend)
    if bounds is not None and way != "eager":
        why = kernels.UNBOUNDED
        if way == "kernel":
            raise UnsupportedError(why)
    elif way != "eager":
        try:
            kernels.compile(
                f, like=like, method=method, batched=batched, args=args, t0=t0, rtol=rtol
            )
        except UnsupportedError as error:
            if way == "kernel":
                raise
            why = str(error)
        except InputError:
            raise
        except Exception as error:  # of the user's f, where a solve need not take it
            if way == "kernel":
                raise
            why = f"f fails near the start ({type(error).__name__}: {error})"
    settings = {
        "method": method,
        "rtol": _owned(rtol),
        "atol": _owned(atol),
        "save_at": _owned(save_at),
        "first_step": first_step,
        "max_step": max_step,
        "max_attempts": max_attempts,
        "controller": controller,
        "nonnegative": None if bounds is None else _owned(nonnegative),
        "batched": batched,
        "backend": backend,
        "gradient": gradient,
    }
    return Prepared(f, settings, why or kernels.ASKED["eager"] * (way == "eager"))


def _owned(value: Any) -> Any:
    """Numbers that nobody else writes to."""
    return value.detach().clone() if isinstance(value, Tensor) else copy.deepcopy(value)


def _named(
    f: Callable[..., Any],
    y0: State,
    *,
    method: Any,
    rtol: PerEntry,
    atol: PerEntry,
    save_at: Any,
    max_step: Number | None,
    max_attempts: int,
    controller: Controller | None,
    batched: bool,
    backend: Backend,
) -> Hashable | None:
    """The name under which a solve with these settings and no others may be known."""
    numbers = rtol, atol, save_at, max_step, max_attempts, batched, backend
    return kernels.asked(f, y0, numbers, (method, controller, None, None, None, None))
