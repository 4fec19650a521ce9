"""Rows of parameters as weighted residuals and their derivatives: one solve of a batch.

Every row of parameters is as many rows of the solve as there are experiments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stiffguide.fitting import augmented
from stiffguide.fitting.experiments import Measured
from stiffguide.fitting.levenberg_marquardt import Residuals
from stiffguide.fitting.parameters import Parameters
from stiffguide.solution import Solution
from stiffguide.solve import solve

LARGEST = 8_000_000  # numbers of derivatives that one solve may keep
FEWEST = 2  # rows: of a single one, nobody can tell what is by row


@dataclass(frozen=True)
class Settings:
    """How `solve` is asked, in its own words."""

    method: Any
    rtol: Any  # a number, or (1, F)
    atol: Any
    first_step: float | None
    max_step: float | None
    max_attempts: int
    backend: Any

    def solve(self, field: Callable[..., Any], *ends: Any, **more: Any) -> Solution[Tensor]:
        """A field from where to where, and more that `solve` takes."""
        found: Solution[Tensor] = solve(
            field,
            *ends,
            **more,
            method=self.method,
            rtol=self.rtol,
            atol=self.atol,
            first_step=self.first_step,
            max_step=self.max_step,
            max_attempts=self.max_attempts,
            backend=self.backend,
        )
        return found


class Derived(NamedTuple):
    """States at the times of the data, and their derivatives, for rows of a solve."""

    y: Tensor  # (B, T, F)
    success: Tensor  # (B,)
    by_p: Tensor  # (B, T, F, n)
    by_y0: Tensor | None  # (B, T, F, F), where initial values are sought
    messages: dict[int, str]  # of rows that failed


@dataclass(frozen=True)
class Model:
    """A field of rows, what was measured of it, and what is sought.

    `own` (E, ...) are the known inputs that differ between experiments, `free` (K,) the components
    whose initial values are sought. `target` (N,), or (D, N) with one line for each row, and
    `weights` (N,) are the measured values and one over their deviations. Derivatives are those of
    a kernel, or the loop's, of the field `grown` by them.
    """

    field: Callable[..., Any]
    parameters: Parameters
    measured: Measured
    own: tuple[Tensor, ...]
    free: Tensor
    settings: Settings
    target: Tensor
    weights: Tensor
    grown: augmented.Field | None = None
    why: str = ""  # it is the loop's

    def __call__(self, u: Tensor, rows: Tensor) -> Residuals:
        """Residuals at coordinates u (R, P), which are those of `rows` (R,)."""
        m, count = self.measured, len(u)
        each = m.times.numel() * m.y0.shape[1] * (self.parameters.own + m.y0.shape[1])
        most = max(LARGEST // each, FEWEST)
        if count > most:
            parts = [self(*x) for x in zip(u.split(most), rows.split(most), strict=True)]
            return Residuals(*map(torch.cat, zip(*parts, strict=True)))
        theta = self.parameters.values(u)
        found = self._derived(theta)
        ok = found.success.reshape(-1, len(m.y0))[:count].all(1)
        target = self.target if self.target.ndim == 1 else self.target[rows]
        r = (self._values(found)[:count] - target) * self.weights
        j = self._derivatives(found)[:count] * self.weights.unsqueeze(1)
        return Residuals(r, j * self.parameters.slopes(theta).unsqueeze(1), ok)

    def in_loop(self, why: str) -> Model:
        """The same by the loop in torch."""
        sizes = self.measured.y0.shape[1], self.parameters.own
        grown = augmented.augmented(self.field, *sizes, len(self.free) > 0)
        return replace(self, grown=grown, why=why)

    def sentence(self, u: Tensor) -> str:
        """How the solve at coordinates (P,) ends."""
        said = self._derived(self.parameters.values(u.unsqueeze(0))).messages
        return next(iter(said.values())).removeprefix("row 0: ")

    def _asked(self, theta: Tensor) -> tuple[Any, ...]:
        """y0, t0, t1, and what else `solve` is told."""
        theta = torch.cat((theta, theta[-1:])) if len(theta) < FEWEST else theta
        m, count = self.measured, len(theta)
        t0, t1, times = m.t0, m.times[:, -1], m.times
        if len(m.y0) == 1:
            t0, t1, times = t0[0], t1[0], times[0]
        else:
            t0, t1, times = t0.repeat(count), t1.repeat(count), times.repeat(count, 1)
        rates = theta[:, : self.parameters.own].repeat_interleave(len(m.y0), 0)
        known = [x.repeat(count, *[1] * (x.ndim - 1)) for x in self.own]
        more = {"args": (rates, *known), "save_at": times, "batched": True}
        return self.starts(theta), t0, t1, more

    def _derived(self, theta: Tensor) -> Derived:
        y0, t0, t1, more = self._asked(theta)
        start, s = len(self.free) > 0, self.settings
        if self.grown is None:
            more["sensitivities"] = [0, "y0"] if start else [0]
            found = s.solve(self.field, y0, t0, t1, **more)
            return Derived(found.y, found.success, found.dy_dp, found.dy_dy0, found.messages)
        features, count = y0.shape[1], self.parameters.own
        state = augmented.begun(y0, count, start)
        rtol, atol = augmented.tolerances(s.rtol, s.atol, features, count + features * start)
        looped = replace(s, rtol=rtol, atol=atol, backend="eager")
        found = looped.solve(self.grown, state, t0, t1, **more)
        y, by_p, by_y0 = augmented.apart(found.y, features, count)
        return Derived(y, found.success, by_p, by_y0 if start else None, found.messages)

    def starts(self, theta: Tensor) -> Tensor:
        """Initial states (R E, F)."""
        own = self.parameters.own
        states = self.measured.y0.expand(len(theta), -1, -1).clone()
        if len(self.free):
            states[..., self.free] = theta[:, own:].reshape(len(theta), len(states[0]), -1)
        return states.flatten(0, 1)

    def tolerance(self) -> Tensor:
        """The error (N,) of weighted residuals that the solve is allowed to make."""
        m, s = self.measured, self.settings
        relative, absolute = (
            torch.as_tensor(x, dtype=m.y0.dtype).expand(1, m.y0.shape[1])[:, m.observed]
            for x in (s.rtol, s.atol)
        )
        size = (relative * m.data.abs() + absolute)[m.present]
        return size * self.weights

    def _values(self, found: Derived) -> Tensor:
        """What was measured, as the model has it (R, N)."""
        y = found.y[..., self.measured.observed]
        return y.reshape(-1, self.measured.data.numel())[:, self.measured.present.flatten()]

    def _derivatives(self, found: Derived) -> Tensor:
        """(R, N, P), by the parameters themselves."""
        m, present = self.measured, self.measured.present.flatten()
        by = found.by_p[:, :, m.observed]  # (R E, T, O, n)
        by = by.reshape(-1, m.data.numel(), by.shape[-1])[:, present]
        if found.by_y0 is None:
            return by
        count, k = len(m.y0), len(self.free)
        start = found.by_y0[:, :, m.observed][..., self.free]
        start = start.reshape(-1, count, m.data[0].numel(), k)
        spread = start.new_zeros((*start.shape[:3], count, k))  # each experiment has its own
        own = torch.arange(count)
        spread[:, own, :, own] = start.transpose(0, 1)
        spread = spread.reshape(len(start), m.data.numel(), count * k)[:, present]
        return torch.cat((by, spread), -1)
