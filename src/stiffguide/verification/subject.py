"""What is verified: a method of this package, a tableau that steps by one, or somebody else's step.

Whoever checks it sees one thing, `Subject`: claims, `march` through given times, and one `step` of
which the error estimate and the dense output are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from stiffguide import methods
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.fields import jacobian
from stiffguide.methods.bdf.method import BDF
from stiffguide.solve import solve
from stiffguide.stepping.contracts import Method
from stiffguide.stepping.controllers import Grid
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tableaux.order import AnyTableau
from stiffguide.tableaux.rosenbrock import RosenbrockTableau
from stiffguide.tableaux.tableau import Tableau

NEWTON = 1e-14  # tolerance of the nonlinear solver: its error must not be seen
EXPLICIT = 1e-12  # how near steps without one come: rounding, and some room

Rates = Callable[[Tensor, Tensor], Tensor]  # f(t (B,), y (B, F)) -> (B, F)


class Taken(NamedTuple):
    """One step in every row."""

    y1: Tensor  # (B, F); nan where it failed
    error: Tensor | None  # (B, F), the estimate
    dense: Callable[[float], Tensor] | None  # theta in [0, 1] -> y(t + theta dt) (B, F)


class Subject(Protocol):
    """What steps, and what it claims."""

    name: str
    order: int
    error_order: int | None
    tableau: AnyTableau | None
    accuracy: float  # to which its steps are what they claim to be
    noise: float  # what its nonlinear solver leaves in a step
    rows: int  # that a measurement may start, by what a row costs
    batched: bool
    why: str  # there is nothing to measure; empty where there is

    @property
    def dense_order(self) -> int | None:
        """Of the interpolant; None without one."""
        ...

    def march(self, f: Rates, y0: Tensor, times: Tensor, jac: Rates | None = None) -> Tensor:
        """The state (B, F) after the steps between times (B, N); nan where one failed."""
        ...

    def step(self, f: Rates, t: Tensor, dt: Tensor, y0: Tensor, jac: Rates | None = None) -> Taken:
        """One step of dt (B,) from t (B,)."""
        ...


@dataclass(frozen=True)
class Stepper:
    """A step of another library, and what it claims.

    step(f, t, dt, y) returns y1, (y1, error) or (y1, error, dense): the state after one step of
    length dt, its error estimate (or None), and dense(theta), the state at t + theta dt. With
    arrays="torch", y (F,) and what f returns are float64 tensors, t and dt are tensors without
    axes; with "numpy", arrays and floats. Where step takes rows (B, F) with one t and dt for all
    of them, say batched=True: then rows are compared with each other. `accuracy` is how near steps
    with a nonlinear solver come to what they mean to be: some 100 times its tolerance.
    `tableau` is the one that it claims to step by, from which the orders follow.

    A whole solve from t to t + dt is a step as well: with batched=True it is asked whether its rows
    are problems of their own.
    """

    step: Callable[..., Any]
    order: int | None = None
    error_order: int | None = None
    dense_order: int | None = None
    name: str = "step"
    arrays: Literal["torch", "numpy"] = "torch"
    batched: bool = False
    accuracy: float | None = None
    tableau: AnyTableau | None = None


AnyMethod = str | Tableau | RosenbrockTableau | Method | Stepper
"""What is verified: a name, a tableau, a method, or the step of another library."""


def subject(given: AnyMethod | Subject) -> Subject:
    """The subject that a name, a tableau, a Method or a Stepper is; subjects are what they are.

    A plain function is refused: its order is not known. Raises InputError.
    """
    if isinstance(given, (Ours, Foreign)):
        return given
    if isinstance(given, Stepper):
        return Foreign(given)
    if isinstance(given, str):
        return Ours(methods.get(given))
    if isinstance(given, (Tableau, RosenbrockTableau)):
        try:
            return Ours(methods.from_tableau(given))
        except UnsupportedError:
            return Ours(None, given)
    if all(hasattr(given, verb) for verb in ("step", "order", "interpolant")):
        return Ours(given)  # type: ignore[arg-type]  # a Method, by its verbs
    raise InputError(
        f"verify: {given!r} is neither a name, a tableau nor a Method; give the step of another "
        "library as Stepper(step, order=...)"
    )


class Ours:
    """A method of this package, or a tableau that nothing steps with."""

    batched: bool = True
    accuracy: float = 1e-11
    noise: float = 0.0
    rows: int = 25

    def __init__(self, method: Method | None, tableau: AnyTableau | None = None) -> None:
        self.method = method
        self.tableau: AnyTableau | None = getattr(method, "tableau", tableau)
        known: Any = method if method is not None else tableau
        self.name: str = known.name
        self.order: int = known.order
        self.error_order: int | None = known.error_order
        self.why: str = ""
        if method is None:
            self.why = "tableau only"
        elif isinstance(method, BDF) and method.fixed_order is None:
            self.why = "order by order: bdf1 to bdf5"

    @property
    def dense_order(self) -> int | None:
        """Of the interpolant, where there is one."""
        return None if self.method is None else min(self.method.dense_order, self.order)

    def march(self, f: Rates, y0: Tensor, times: Tensor, jac: Rates | None = None) -> Tensor:
        """By a solve with given steps."""
        found = self._solved(f, y0, times, jac, dense=False)
        return torch.where(found.success.unsqueeze(-1), found.y[:, -1], float("nan"))

    def _solved(
        self, f: Rates, y0: Tensor, times: Tensor, jac: Rates | None, *, dense: bool
    ) -> Any:
        assert self.method is not None
        return solve(
            f,
            y0,
            times[:, 0],
            times[:, -1],
            method=self.method,
            rtol=NEWTON,
            atol=NEWTON,
            batched=True,
            jac=jac,
            controller=Grid(times),
            dense=dense,
            checks=False,
        )

    def step(self, f: Rates, t: Tensor, dt: Tensor, y0: Tensor, jac: Rates | None = None) -> Taken:
        """One step as the method makes it; its dense output by a solve."""
        assert self.method is not None
        field: Any = jacobian.AutogradJacobian(f)
        if jac is not None:
            field = jacobian.GivenJacobian(f, jac)
        tolerance = Tolerance(NEWTON, NEWTON)
        with torch.no_grad():
            state = self.method.init(field, t, y0)
            made = self.method.step(field, t, dt, y0, field(t, y0), state, tolerance)
        failed = torch.zeros_like(t, dtype=torch.bool) if made.ok is None else ~made.ok
        hidden = failed.unsqueeze(-1)
        error = None if made.error is None else torch.where(hidden, float("nan"), made.error)
        solution: list[Any] = []

        def dense(theta: float) -> Tensor:
            if not solution:
                times = torch.stack((t, t + dt), -1)
                solution.append(self._solved(f, y0, times, jac, dense=True))
            found: Tensor = solution[0].at((t + theta * dt).unsqueeze(-1))[:, 0]
            return torch.where(solution[0].success.unsqueeze(-1), found, float("nan"))

        return Taken(torch.where(hidden, float("nan"), made.y1), error, dense)


class Foreign:
    """The step of another library, row by row."""

    rows: int = 4
    why: str = ""

    def __init__(self, given: Stepper) -> None:
        claims = given.tableau
        order = given.order if claims is None or given.order is not None else claims.order
        if order is None:
            raise InputError(
                f"verify: which order does {given.name} claim? Give order=, or a tableau"
            )
        known = None if claims is None else claims.estimate_order
        self.given = given
        self.name: str = given.name
        self.batched: bool = given.batched
        self.accuracy: float = EXPLICIT if given.accuracy is None else given.accuracy
        self.noise: float = 0.0 if given.accuracy is None else given.accuracy / 100
        self.tableau: AnyTableau | None = claims
        self.order: int = order
        self.error_order: int | None = given.error_order if given.error_order is not None else known
        self._numpy = given.arrays == "numpy"
        self._known: tuple[Rates | None, Any] = (None, None)

    @property
    def dense_order(self) -> int | None:
        """As it was given."""
        return self.given.dense_order

    def march(self, f: Rates, y0: Tensor, times: Tensor, jac: Rates | None = None) -> Tensor:
        """Row by row and step by step."""
        return torch.stack([self._row(f, i, y0, times) for i in range(len(y0))])

    def _row(self, f: Rates, i: int, y0: Tensor, times: Tensor) -> Tensor:
        y = y0[i]
        for k in range(times.shape[1] - 1):
            if not bool(torch.isfinite(y).all()):  # which others refuse to step from
                return torch.full_like(y, float("nan"))
            y = self.one(f, times[i, k], times[i, k + 1] - times[i, k], y).y1
        return y

    def step(self, f: Rates, t: Tensor, dt: Tensor, y0: Tensor, jac: Rates | None = None) -> Taken:
        """One step of every row."""
        rows = [self.one(f, *row) for row in zip(t, dt, y0, strict=True)]
        errors = [row.error for row in rows if row.error is not None]
        denses = [row.dense for row in rows if row.dense is not None]

        def dense(theta: float) -> Tensor:
            return torch.stack([each(theta) for each in denses])

        return Taken(
            torch.stack([row.y1 for row in rows]),
            torch.stack(errors) if errors else None,
            dense if denses else None,
        )

    def one(self, f: Rates, t: Tensor, dt: Tensor, y: Tensor) -> Taken:
        """A step from y (F,), or from rows (B, F) with one t () and dt ()."""
        if self._known[0] is not f:  # one object for all steps: others compile what they are given
            self._known = f, _in_numpy(f) if self._numpy else _in_torch(f)
        field = self._known[1]
        if not self._numpy:
            return self._taken(self.given.step(field, t, dt, y), y)
        array = y.detach().numpy()
        return self._taken(self.given.step(field, float(t), float(dt), array), y)

    def _taken(self, found: Any, y: Tensor) -> Taken:
        parts: Sequence[Any] = found if isinstance(found, tuple) else (found,)
        y1, error, dense = (*parts, None, None)[:3]
        values = [None if x is None else self._state(x, y) for x in (y1, error)]
        if values[0] is None or len(parts) > 3:
            raise InputError(f"{self.name}: a step returns y1, (y1, error) or (y1, error, dense)")
        return Taken(values[0], values[1], dense and (lambda theta: self._state(dense(theta), y)))

    def _state(self, value: Any, y: Tensor) -> Tensor:
        """What it returned as a tensor in the shape of the state."""
        found = value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
        if found.shape != y.shape:
            raise InputError(
                f"{self.name}: a step from {tuple(y.shape)} returned the shape {tuple(found.shape)}"
            )
        return found.to(y.dtype)


def _in_torch(f: Rates) -> Rates:
    """f for a state (F,) or rows (B, F), all at one time."""

    def one(t: Any, y: Tensor) -> Tensor:
        rows = y if y.ndim > 1 else y.unsqueeze(0)
        value = f(torch.as_tensor(t, dtype=torch.float64).expand(len(rows)), rows)
        return value if y.ndim > 1 else value[0]

    return one


def _in_numpy(f: Rates) -> Callable[[Any, Any], Any]:
    of_tensors = _in_torch(f)
    # a copy: other libraries hand the same array on, changed
    return lambda t, y: of_tensors(t, torch.tensor(y, dtype=torch.float64)).numpy()
