"""The records and protocols that the floors exchange. Read this file first.

Letters: B rows, F features, S stages. A *row* is one initial value problem of a batch; it has its
own t, dt and status. Shared arguments are documented once, here:

- `t0`, `dt` (B,): start and signed step of an attempt, float64; `y0`, `y1` (B, F): state at both
  ends; `f0`, `f1` (B, F): the vector field there.
- `error` (B, F): y1 minus the embedded solution, signed and unscaled, because a controller takes
  its norm and a guidance rule its direction.
- A state (of a method, a controller, a rule) is a NamedTuple of tensors with leading axis B:
  state in, state out, committed row by row where an attempt was accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from stiffguide.algebra.protocol import LinearSolver
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tensors import constant

State = Any
"""What a method, a controller or a rule remembers: a NamedTuple of (B, ...) tensors, or ()."""


class Linearisation(NamedTuple):
    """f(t, y) to first order."""

    jac: Tensor  # d f_i / d y_j, the values that `Field.linear` works with: (B, F, F), (B, nnz)
    time: Tensor | None  # (B, F), d f / d t, when asked for
    nfe: Tensor | int  # evaluations of f that it took beyond the Jacobian itself; (B,) by row


class Units(NamedTuple):
    """What counts as a little of t and of y, for derivatives that are made by differences."""

    dt: Tensor  # (B,), the step about to be tried
    scale: Tensor  # (B, F), atol + rtol |y|


class Field(Protocol):
    """A vector field whose row i depends on row i only, and what solves systems with its J."""

    @property
    def linear(self) -> LinearSolver:
        """For systems with W = shift M - J."""
        ...

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """f(t (B,), y (B, F)) -> (B, F)."""
        ...

    def linearise(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """The Jacobian at t (B,), y (B, F) and, with `time`, the derivative by t."""
        ...

    def by_differences(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """The same from values of f alone: finite where f is, even if its derivative is not."""
        ...


class SplitField(Field, Protocol):
    """A field that is a sum of two, of which only the implicit part is linearised."""

    @property
    def implicit(self) -> Field:
        """The stiff part."""
        ...

    @property
    def explicit(self) -> Callable[[Tensor, Tensor], Tensor]:
        """The other part: t (B,), y (B, F) -> (B, F)."""
        ...


class Work(NamedTuple):
    """What one attempt cost a row: a number for all rows, or one per row (B,)."""

    nfe: Tensor | int
    njac: Tensor | int = 0
    nlu: Tensor | int = 0


class Secant(NamedTuple):
    """Two states and what f says at both: a difference that knows the Jacobian along itself."""

    dx: Tensor  # (B, F)
    df: Tensor  # (B, F)
    dt: Tensor  # (B,), the step whose length and sign go with it


class Step(NamedTuple):
    """What an attempt found out; rows with `ok` False are never read."""

    t0: Tensor
    dt: Tensor
    y0: Tensor
    f0: Tensor
    y1: Tensor
    error: Tensor | None
    error_order: Tensor | int | None  # the error is O(dt^(error_order + 1)); (B,) by row
    ok: Tensor | None  # (B,) bool; None: every row
    state: State
    work: Work
    stages: Any  # (S, B, F), or S of (B, F): whatever the method's interpolant is made of
    f1: Tensor | None = None  # f(t1, y1), only if it came free
    f_low: Tensor | None = None  # f(t1, y1 - error), likewise
    pair: Secant | None = None  # where the method has one of its own, not the last error's
    f: Field | None = None  # kept where the interpolant evaluates it
    dense_nfe: int = 0  # how often it does
    grown: Tensor | None = None  # (B,) bool, where a growing mode may have been damped
    growth: Tensor | None = None  # (B,) of dt after acceptance, where that is the method's choice
    longest: Tensor | None = None  # (B,) |dt| that the method can take; the next one is no longer
    size: Tensor | None = None  # (B,) of the error in tolerances, where the method knows it
    jac: Tensor | None = None  # (B, ...), values of the Jacobian that an implicit step used


class Method(Protocol):
    """A method; pure functions of their arguments.

    Where the order varies, `order` is the highest and `error_order` that of the first step.
    """

    name: str
    family: str
    order: int
    error_order: int | None
    implicit: bool
    multistep: bool  # steps before the last one count: begin anew where f jumps

    @property
    def dense_order(self) -> int:
        """Order of the interpolant."""
        ...

    def init(self, f: Field, t0: Tensor, y0: Tensor) -> State:
        """The state before the first attempt; it must not alias its arguments."""
        ...

    def step(
        self,
        f: Field,
        t0: Tensor,
        dt: Tensor,
        y0: Tensor,
        f0: Tensor,
        state: State,
        tolerance: Tolerance,
    ) -> Step:
        """Attempt one step in every row; the tolerance gives Newton and estimates their units."""
        ...

    def retry(self, before: State, tried: State) -> State:
        """The state for the next attempt of a row whose attempt was rejected."""
        ...

    def displace(self, state: State, delta: Tensor) -> State:
        """The state after y1 was moved by delta (B, F)."""
        ...

    def restart(self, state: State, where: Tensor) -> State:
        """The state of a new solve in the rows `where` (B,) bool, whose y was set anew."""
        ...

    def interpolant(self, step: Step, f1: Tensor) -> Tensor:
        """Coefficients (D, B, F): y(t0 + theta dt) = y0 + sum_d coefficient_d theta^(d+1)."""
        ...


class Verdict(NamedTuple):
    """A controller's judgement of an attempt."""

    accept: Tensor  # (B,) bool
    dt_next: Tensor  # (B,)
    state: State


class Controller(Protocol):
    """Turns errors into acceptance and the next dt."""

    @property
    def adaptive(self) -> bool:
        """Whether it may reject, and needs an error."""
        ...

    def init(self, t0: Tensor, t1: Tensor, dt: Tensor) -> tuple[Tensor, State]:
        """The first dt (B,), given a proposal, and the first state."""
        ...

    def judge(self, step: Step, tolerance: Tolerance, state: State) -> Verdict:
        """Accept or reject each row, and propose its next dt."""
        ...


class Moment(NamedTuple):
    """An attempt after the verdict, as outputs see it."""

    t0: Tensor  # (B,)
    t1: Tensor  # (B,)
    y0: Tensor  # (B, F)
    y1: Tensor  # (B, F), guidance included
    f1: Tensor  # (B, F)
    accept: Tensor  # (B,) bool
    interpolant: Callable[[], Tensor]  # coefficients (D, B, F), made when asked for


class Guidance(Protocol):
    """Moves the result of an accepted step along what its error tells.

    Asked after the verdict, so that it can never buy acceptance. A rule without `needs_f1` moves
    y1 and f1 is evaluated there; a rule with it is given f1 at the unmoved y1 and returns what to
    add to it. With `needs_f_low` the step carries f(t1, y1 - error), evaluated if it did not come
    free.
    """

    @property
    def needs_f1(self) -> bool:
        """Whether `delta` wants f at the unmoved y1."""
        ...

    @property
    def needs_f_low(self) -> bool:
        """Whether `delta` wants f at the embedded solution."""
        ...

    def bind(self, method: Method) -> Guidance:
        """The rule for this method; raises UnsupportedError, saying why, where it is unsound."""
        ...

    def init(self, t0: Tensor, y0: Tensor) -> State:
        """The state before the first step."""
        ...

    def delta(self, step: Step, f1: Tensor | None, state: State) -> Move:
        """How far to move y1, and f1 where that is known."""
        ...


class Move(NamedTuple):
    """What a rule adds to y1 and f1; `df` None: evaluate f at the moved y1."""

    dy: Tensor  # (B, F)
    df: Tensor | None  # (B, F)
    state: State


class Output(Protocol):
    """What a solve keeps of its steps. `start` forgets the solve before.

    Which of its attributes move with the steps, it may say by `moves`, a tuple of their names: then
    solves that it is an output of can be kept in files.
    """

    def start(self, t0: Tensor, t1: Tensor, y0: Tensor) -> None:
        """Begin a solve from t0 (B,) to t1 (B,) at y0 (B, F)."""
        ...

    def record(self, moment: Moment) -> Tensor | None:
        """Keep what is wanted; return the rows (B,) bool that should stop here, or None."""
        ...

    def result(self, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """(times (B, T), states (B, T, F)), given where each row ended."""
        ...


class Slopes(NamedTuple):
    """Derivatives of the states that were kept; None of what was not asked for."""

    by_p: Tensor | None  # (B, T, F, P)
    by_y0: Tensor | None  # (B, T, F, F)
    names: tuple[str, ...]  # of the P


class Table(NamedTuple):
    """Every time that one event happened, by row and then by time."""

    row: Tensor  # (M,) int64
    t: Tensor  # (M,)
    y: Tensor  # (M, F), before any jump


def stage_times(t0: Tensor, dt: Tensor, c: Sequence[float]) -> Tensor:
    """t0 + c_i dt for all stages (S, B), in the precision of time."""
    nodes = constant(tuple(c), t0.dtype, t0.device)
    return torch.addcmul(t0, nodes.unsqueeze(-1), dt)
