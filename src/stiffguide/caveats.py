"""What a status does not say: that nothing was controlled, or that a value left through zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from stiffguide.fields.layout import Layout
from stiffguide.stepping.contracts import Field
from stiffguide.stepping.controllers import PIDState
from stiffguide.stepping.events import Trigger
from stiffguide.stepping.live import Live, Problem
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tensors import real_dtype

Caveats = dict[int, tuple[str, ...]]  # the sentences of the rows that have any

COMMON = 1e-12  # an rtol from here on is one that float64 resolves
RESOLVED = 8  # roundings: a smaller rtol is not one that the states can keep to
ZERO = 1e-10  # scaled errors below are the same to a PID controller
# what callers can tell sentences by
UNRESOLVED, FELL = "is below what", "fell below zero by less than atol"
AWAY = 1e3  # times as large as it ever was, or as atol: a value that ran away
FEW = 4  # up to so many rows python asks faster than torch
MOST_ROWS = 1000  # of a batch that are put into words


class Witness:
    """What the end of a solve would not show: `look` is called after every attempt.

    It costs next to nothing: what the first steps rule out is not asked again, and a sign that
    changes is rare.
    """

    moves: ClassVar[tuple[str, ...]] = ("small", "exact", "fell", "_below", "_before")

    def __init__(self, p: Problem, y0: Tensor, layout: Layout) -> None:
        self._y0 = y0 = y0.detach()
        self._atol = p.tolerance.atol
        self.implicit: bool = p.method.implicit
        self.small = _small(y0, p.tolerance.atol) if p.controller.adaptive else None
        self.exact: Tensor | None = None if y0.shape[0] == 0 else y0.new_ones(1, dtype=torch.bool)
        self.fell: tuple[Tensor, Tensor] | None = None  # when (B, F), and y (B, F) then
        # neither a complex number nor a part of one leaves anything through zero
        self._below = None if layout.dtype.is_complex else y0 < 0
        self._before = y0  # what the last look saw

    def look(self, s: Live) -> None:
        """Take note of the state after an attempt."""
        if self.small is not None:
            self.small = _some(self.small & (s.y.abs() <= self._atol).all(-1))
        if self.exact is not None:
            judged = s.controller
            self.exact = (
                _some(self.exact & ((judged.last <= ZERO) | (s.accepted == 0)))
                if isinstance(judged, PIDState)
                else None
            )
        if self._below is not None:
            below = s.y < 0
            if not torch.equal(below, self._below):
                self._cross(s.t, s.y.detach(), below)
            self._before = s.y

    def pass_by(self, t: Tensor, y: Tensor) -> None:
        """Take note of the states (N, B, F) after N attempts, at t (N, B), as by N looks.

        Where none fell below zero by less than atol, there is nothing to keep.
        """
        if self._below is None:
            return
        if self.fell is None and not bool(((y < 0) & (y >= -self._atol)).any()):
            self._below, self._before = y[-1] < 0, y[-1]
            return
        for now, state in zip(t, y, strict=True):
            below = state < 0
            if not torch.equal(below, self._below):
                self._cross(now, state, below)
            self._before = state
        if self.fell is not None and bool(torch.isnan(self.fell[0]).all()):
            self.fell = None

    def _cross(self, t: Tensor, y: Tensor, below: Tensor) -> None:
        """Keep when and where a component went below zero, by less than atol."""
        when, where = self.fell or (torch.full_like(t.unsqueeze(1) * y, torch.nan), y)
        assert self._below is not None
        # what starts at zero and goes below is no surprise
        fell = below & ~self._below & (self._before.detach() > 0)
        entered = fell & (self._y0 >= 0) & (y >= -self._atol)
        when = torch.where(below, when, torch.nan)
        self.fell = (
            torch.where(entered, t.unsqueeze(1), when),
            torch.where(entered.any(-1, keepdim=True), y, where),
        )
        self._below = below

    def caveats(self, p: Problem, s: Live, layout: Layout) -> Caveats:
        """What is to be said of every row, given the end of the loop."""
        found: dict[int, list[str]] = {}
        moved = s.accepted > 0
        if self.small is not None:
            changing = ((s.y != 0) | (self._y0 != 0)).any(-1)
            for row in _rows(self.small & moved & changing):
                found.setdefault(row, []).append(
                    _uncontrolled(p.tolerance, row, "during the whole")
                )
        if self.exact is not None:
            for row in _rows(self.exact & moved & (s.f0 != 0).any(-1)):
                found.setdefault(row, []).append(
                    "the error estimate was zero in every accepted step although f is not: f looks "
                    "the same at every stage, and what it does between them was not seen; give "
                    "max_step, or tstops where f jumps"
                )
        if p.controller.adaptive:
            _add_unresolved(found, p.tolerance, s.y.dtype, moved)
        if p.min_step:
            _add_wide(found, p.min_step, s.wide, s.accepted)
        if self.fell is not None:
            self._add_runaways(found, p, s, layout)
        if p.events is not None:
            _add_idle_events(found, p.events.triggers, s.events.side, moved)
        if torch.is_autocast_enabled(s.y.device.type):
            _add_autocast(found, s)
        return {row: tuple(sentences) for row, sentences in found.items()}

    def _add_runaways(
        self, found: dict[int, list[str]], p: Problem, s: Live, layout: Layout
    ) -> None:
        """Components that went below zero by an error, and then on and on."""
        assert self.fell is not None
        if p.f.linear.mass is not None:  # f is not y'
            return
        when, where = self.fell
        size = torch.clamp(self._y0, min=torch.zeros_like(self._y0) + self._atol)
        ran = (s.y.detach() < -AWAY * size) & ~torch.isnan(when)
        if not bool(ran.any()):
            return
        slight = (where < 0) & (where >= -self._atol) & (self._y0 >= 0)
        ran = ran & _kept_out(p.f, when, torch.where(slight, 0.0, where))
        for row in _rows(ran.any(-1)):
            first = int(torch.where(ran[row], when[row], torch.inf).argmin())
            found.setdefault(row, []).append(
                f"{layout.component(first)} {FELL} at "
                f"t = {float(when[row, first]):.6g} and then ran away, to "
                f"{float(s.y[row, first]):.3g}: set atol far below the sizes that matter"
            )


def quiet(tolerance: Tolerance, y0: Tensor) -> bool:
    """Whether `at_ends` has nothing to say of a solve from y0, (B, F) or (F,), that went well."""
    rtol, atol = tolerance.rtol, tolerance.atol
    if not (isinstance(rtol, float) and rtol >= COMMON):
        return False
    if y0.ndim == 1:
        return _above(y0.tolist(), [atol] if isinstance(atol, float) else atol[0].tolist())
    return _small(y0, atol) is None


def at_ends(
    p: Problem, y0: Tensor, y1: Tensor, counts: Tensor, sides: Tensor | None = None
) -> Caveats:
    """What can be said of a solve in float64 whose steps nobody saw.

    From y0 (B, F), y1 (B, 1, F), counts (6, B), which are not even taken apart where nothing is to
    be said: a kernel solves in the time of twenty tensor operations. `sides` (B, E) are of events.
    """
    found: dict[int, list[str]] = {}
    small = _small(y0, p.tolerance.atol)
    if small is not None:
        end = y1.squeeze(1)
        small = small & (end.abs() <= p.tolerance.atol).all(-1) & (counts[1] > 0)
        for row in _rows(small & ((y0 != 0) | (end != 0)).any(-1)):
            found[row] = [_uncontrolled(p.tolerance, row, "at both ends of the")]
    rtol = p.tolerance.rtol
    if not isinstance(rtol, float) or rtol < COMMON:
        _add_unresolved(found, p.tolerance, torch.float64, counts[1] > 0)
    if p.events is not None and sides is not None:
        _add_idle_events(found, p.events.triggers, sides, counts[1] > 0)
    return {row: tuple(sentences) for row, sentences in found.items()}


def _small(y: Tensor, atol: Tensor | float) -> Tensor | None:
    """Rows (B,) in which atol exceeds every |y|; None: in none."""
    if y.shape[0] <= FEW:  # of few rows python asks faster than torch
        given = [[atol]] if isinstance(atol, float) else atol.tolist()
        limits = given * y.shape[0] if len(given) == 1 else given
        if all(_above(row, limit) for row, limit in zip(y.tolist(), limits, strict=True)):
            return None
    return _some((y.abs() <= atol).all(-1))


def _above(row: list[float], limits: list[float]) -> bool:
    """Whether a component is larger than its limit, or than the one for all."""
    if len(limits) == 1:
        return max(map(abs, row)) > limits[0]
    return any(abs(x) > limit for x, limit in zip(row, limits, strict=True))


def _some(rows: Tensor) -> Tensor | None:
    return rows if bool(rows.any()) else None


def _rows(which: Tensor) -> list[int]:
    found: list[int] = torch.nonzero(which).flatten()[:MOST_ROWS].tolist()
    return found


def _uncontrolled(tolerance: Tolerance, row: int, when: str) -> str:
    return (
        f"{_named('atol', tolerance.atol, row)} exceeds |y| in all components {when} "
        "solve: nothing was controlled; set atol below the sizes that matter"
    )


def _add_unresolved(
    found: dict[int, list[str]], tolerance: Tolerance, dtype: torch.dtype, moved: Tensor
) -> None:
    """Say where rtol asks for more digits than a state has; rtol = 0 asks for none."""
    least = RESOLVED * torch.finfo(real_dtype(dtype)).eps
    rtol: Any = tolerance.rtol
    if isinstance(rtol, float):
        if not 0 < rtol < least:
            return
        fine = moved
    else:
        fine = ((rtol > 0) & (rtol < least)).any(-1) & moved
    for row in _rows(fine):
        found.setdefault(row, []).append(
            f"{_named('rtol', rtol, row)} {UNRESOLVED} {str(dtype).removeprefix('torch.')} "
            f"resolves ({least:.2g}): errors are of that size at least, and steps follow rounding"
        )


def _add_wide(found: dict[int, list[str]], least: float, wide: Tensor, accepted: Tensor) -> None:
    """Say where errors had no say."""
    for row in _rows(wide > 0):
        found.setdefault(row, []).append(
            f"errors were above the tolerance in {int(wide[row])} of {int(accepted[row])} steps, "
            f"which could not be shorter than min_step = {least:g}: give a shorter one, or a "
            "looser rtol"
        )


def _add_idle_events(
    found: dict[int, list[str]], triggers: Sequence[Trigger], sides: Tensor, moved: Tensor
) -> None:
    zero = (sides == 0) & moved.unsqueeze(1)
    for row in _rows(zero.any(-1)):
        names = [e.name for e, z in zip(triggers, zero[row], strict=True) if z]
        found.setdefault(row, []).append(
            f"{names[0]} was zero wherever it was looked at, and crosses nothing"
        )


def _add_autocast(found: dict[int, list[str]], s: Live) -> None:
    """Say where every digit of f is one of the short numbers that autocast computes in."""
    short = torch.get_autocast_dtype(s.y.device.type)
    same = (s.f0.to(short).to(s.f0.dtype) == s.f0).all(-1) & (s.f0 != 0).any(-1)
    for row in _rows(same):
        found.setdefault(row, []).append(
            f"autocast is on, and f computes in {str(short).removeprefix('torch.')}: solve inside "
            "torch.autocast(..., enabled=False)"
        )


def _named(name: str, value: Tensor | float, row: int) -> str:
    """A tolerance of a row, with its value where that is one for all components."""
    if isinstance(value, Tensor):
        mine = value[min(row, value.shape[0] - 1)]
        low, high = float(mine.min()), float(mine.max())
        return f"{name} = {low:g}" if low == high else f"{name} = {low:g} to {high:g}"
    return f"{name} = {value:g}"


def _kept_out(f: Field, when: Tensor, y: Tensor) -> Tensor:
    """Where (B, F) no solution goes below zero from y (B, F): f_i is not negative at y_i = 0."""
    t = torch.nan_to_num(when, nan=-torch.inf).amax(-1)
    try:
        with torch.no_grad():
            value = f(torch.where(torch.isfinite(t), t, 0.0), y)
    except Exception:  # of the user's f: then nothing is known
        return torch.zeros_like(y, dtype=torch.bool)
    return (value >= 0) & (y == 0)
