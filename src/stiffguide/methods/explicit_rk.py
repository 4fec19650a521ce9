"""Explicit Runge-Kutta methods: one step for every explicit tableau."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import TableauError
from stiffguide.stepping.contracts import Field, State, Step, Work, stage_times
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tableaux.continuous import continuous_extension
from stiffguide.tableaux.exact import floats
from stiffguide.tableaux.tableau import Tableau
from stiffguide.tensors import combine, real_dtype, rows

FEW = 7  # stages that are added up one by one as fast as by a product with a matrix

Terms = tuple[tuple[int, float], ...]  # places and weights in a sum


class Pace(NamedTuple):
    """How a step goes through time."""

    t0: Tensor  # (B,)
    dt: Tensor  # (B,)
    h: Tensor  # (B, 1), dt in the precision of y
    times: Sequence[Tensor]  # of the stages, S of (B,), in the precision in which f is given t


class ExplicitRK:
    """k_i = f(t0 + c_i dt, y0 + dt sum_{j<i} a_ij k_j), y1 = y0 + dt sum b_i k_i (Kutta 1901).

    Raises TableauError for a tableau that is not explicit.
    """

    family = "explicit RK"
    implicit = False
    multistep = False

    def __init__(self, tableau: Tableau) -> None:
        if not tableau.explicit:
            raise TableauError(f"{tableau.name}: a is not strictly lower triangular")
        self.tableau = tableau
        self.name: str = tableau.name
        self.order: int = tableau.order
        self.error_order: int | None = tableau.estimate_order
        lower = None if tableau.lower is None else tableau.lower.b_error
        end = [j for j, row in enumerate(tableau.a) if row == tableau.b and tableau.c[j] == 1]
        weights = [w for w in (tableau.b, tableau.b_error, lower) if w is not None]
        used = [j for j in range(tableau.stages) if any(w[j] for w in weights)]
        companion = tableau.companion_stage
        low = [] if companion is None else [companion]
        n = 1 + max([*used, *end, *low])  # what follows serves the interpolant alone
        self._needed, self._late = n, tableau.stages - n
        self._end = end[0] if end else None
        self._companion = companion
        self._closed = self._end == n - 1  # y1 is where the last stage is taken
        rows = [row[:i] for i, row in enumerate(tableau.a)]
        self._a = tuple(_terms(x, self._closed and i == n - 1) for i, x in enumerate(rows))
        self._b = _terms(tableau.b[:n], True)
        self._c = floats(tableau.c)
        self._b_error = None if tableau.b_error is None else _terms(tableau.b_error[:n])
        self._b_lower = None if lower is None else _terms(lower[:n])

    def __repr__(self) -> str:
        return f"ExplicitRK({self.name})"

    @property
    def evaluations(self) -> int:
        """Of f, in every accepted step."""
        return self._needed - (self._end is not None)

    @cached_property
    def _dense(self) -> tuple[tuple[tuple[float, ...], ...], int]:
        weights, order = continuous_extension(self.tableau)
        return tuple(zip(*(floats(row) for row in weights), strict=True)), order

    @property
    def dense_order(self) -> int:
        """Order of the continuous extension."""
        return self._dense[1]

    def init(self, f: Field, t0: Tensor, y0: Tensor) -> State:
        """Nothing is carried from step to step but f1, which is the loop's."""
        return ()

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
        """Attempt one step in every row."""
        return self.paced(f, self.pace(t0, dt, y0), y0, f0, state, tolerance)

    def pace(self, t0: Tensor, dt: Tensor, y0: Tensor) -> Pace:
        """The times of a step."""
        times = stage_times(t0, dt, self._c).to(real_dtype(y0.dtype))
        return Pace(t0, dt, dt.to(y0.dtype).unsqueeze(-1), times.unbind(0))

    def paces(self, t0: Tensor, dt: Tensor, y0: Tensor) -> list[Pace]:
        """The times of N steps (N, B) at once, or (N, 1) where rows share them."""
        n, b, s = len(t0), len(y0), len(self._c)
        times = stage_times(t0.flatten(), dt.flatten(), self._c).to(real_dtype(y0.dtype))
        each = times.reshape(s, n, -1).transpose(0, 1).expand(n, s, b).flatten(0, 1).unbind(0)
        stages = [each[i : i + s] for i in range(0, len(each), s)]
        h = dt.to(y0.dtype).unsqueeze(-1).expand(n, b, 1)
        given = (x.expand(n, b).unbind(0) for x in (t0, dt))
        return [Pace(*of) for of in zip(*given, h.unbind(0), stages, strict=True)]

    def paced(
        self, f: Field, pace: Pace, y0: Tensor, f0: Tensor, state: State, tolerance: Tolerance
    ) -> Step:
        """Attempt one step in every row through known times."""
        k = [f0]
        y = self._extend(k, self._needed, f, pace, y0)
        y1 = y if self._closed else _moved(y0, pace.h, self._b, k)
        late = self._late
        return Step(
            t0=pace.t0,
            dt=pace.dt,
            y0=y0,
            f0=f0,
            y1=y1,
            error=self._error(k, pace.h, y0, y1, tolerance),
            error_order=self.error_order,
            ok=None,
            state=state,
            work=Work(nfe=self._needed - 1),
            stages=tuple(k),
            f1=None if self._end is None else k[self._end],
            f_low=None if self._companion is None else k[self._companion],
            f=f if late else None,
            dense_nfe=late,
        )

    def _extend(self, k: list[Tensor], count: int, f: Field, pace: Pace, y0: Tensor) -> Tensor:
        """Evaluate stages until there are `count` of them; where the last one was taken."""
        y = y0
        for i in range(len(k), count):
            y = _moved(y0, pace.h, self._a[i], k)
            k.append(f(pace.times[i], y))
        return y

    def _error(
        self, k: list[Tensor], h: Tensor, y0: Tensor, y1: Tensor, tolerance: Tolerance
    ) -> Tensor | None:
        if self._b_error is None:
            return None
        error = h * _sum(self._b_error, k)
        if self._b_lower is None:
            return error
        # Hairer and Wanner's DOP853 (I, II.10): err = err5^2 / sqrt(err5^2 + 0.01 err3^2)
        high = tolerance.measure(error, y0, y1)
        low = tolerance.measure(h * _sum(self._b_lower, k), y0, y1)
        size = torch.hypot(high, 0.1 * low)
        return error * rows(torch.where(size == 0, 0.0, high / size), y0)

    def retry(self, before: State, tried: State) -> State:
        """Nothing to remember of a rejection."""
        return before

    def displace(self, state: State, delta: Tensor) -> State:
        """Nothing here depends on where y1 is."""
        return state

    def restart(self, state: State, where: Tensor) -> State:
        """Nothing is carried from step to step."""
        return state

    def interpolant(self, step: Step, f1: Tensor) -> Tensor:
        """Coefficients (D, B, F) of the continuous extension."""
        weights, k = self._dense[0], list(step.stages)
        pace = self.pace(step.t0, step.dt, step.y0)
        if step.f is not None:
            self._extend(k, self.tableau.stages, step.f, pace, step.y0)
        if len(weights[0]) > len(k):
            k.append(f1)
        return pace.h * combine(weights, torch.stack(k))


def _terms(weights: Sequence[Fraction], whole: bool = False) -> Terms:
    """The terms of a sum over stages that count.

    A `whole` one leaves none out: what is not finite in a stage that has no weight must not go
    unseen. Nor does a long one, which is a product.
    """
    whole = whole or len(weights) > FEW
    return tuple((j, w) for j, w in enumerate(floats(weights)) if w or whole)


def _sum(terms: Terms, k: Sequence[Tensor]) -> Tensor:
    """sum_j w_j k_j (B, F)."""
    if len(terms) > FEW:
        return combine(tuple(w for _, w in terms), torch.stack([k[j] for j, _ in terms]))
    (first, weight), *others = terms
    total = k[first] * weight
    for j, w in others:
        total = torch.add(total, k[j], alpha=w)
    return total


def _moved(y: Tensor, h: Tensor, terms: Terms, k: Sequence[Tensor]) -> Tensor:
    """y + h sum_j w_j k_j (B, F)."""
    if not terms:
        return y
    if len(terms) == 1:
        ((j, w),) = terms
        return torch.addcmul(y, h, k[j], value=w)
    return torch.addcmul(y, h, _sum(terms, k))
