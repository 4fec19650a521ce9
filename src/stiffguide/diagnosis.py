"""Why a row failed, in one sentence: asked once, after the loop, of the rows that need it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import Status
from stiffguide.fields.layout import Layout
from stiffguide.stepping.attempt import Clip, aim
from stiffguide.stepping.contracts import Step, Units
from stiffguide.stepping.guards import sound
from stiffguide.stepping.live import Live, Problem
from stiffguide.tableaux.stability import negative_real_stability_limit
from stiffguide.tableaux.tableau import Tableau
from stiffguide.tensors import finite, real_dtype, rows, select

MOST_SENTENCES = 1000  # rows of a batch whose ending is put into words
AHEAD = 10  # steps, in which a jump of f is looked for
HALVINGS = 20  # of those steps, after which what is left of a difference is a jump
FAR = 1e4  # stiffness that many stages were made for


class Finding(NamedTuple):
    """What the last attempt of every row looked like."""

    component: Tensor  # (B,) int64, largest scaled error
    stiffness: Tensor  # (B,) |df|/|dy| |dt| between y1 and its embedded companion
    jumps: Tensor  # (B,) bool: f does, a little ahead
    grown: Tensor  # (B,) bool: the step would have to damp a growing mode
    infinite: Tensor | None  # (B, ...) bool: entries of the Jacobian that are not finite
    fallen: Tensor | None = None  # (B, F): how far below zero what must not be there would end
    immense: Tensor | None = None  # (B,) bool: the user's norm of a finite error is not


def examine(p: Problem, s: Live) -> Finding | None:
    """Repeat the last attempt: the state of a failed row is the one that it failed from.

    None where no row failed by itself, or f would not have it.
    """
    known = (Status.INTERRUPTED, Status.CHATTERING)
    stopped = [int(st) for st in Status if st.ok or st in known]
    if not bool((~torch.isin(s.status, torch.tensor(stopped, device=s.status.device))).any()):
        return None
    try:
        with torch.no_grad():
            return _examine(p, s)
    except Exception:  # of the user's f, beyond what it was made for: there is still a sentence
        return None


def _examine(p: Problem, s: Live) -> Finding:
    if p.nonnegative is not None:
        p, s = p.nonnegative.bounding(p, s)
        # the dt that was found too short may move nothing
        least = 8 * torch.finfo(s.t.dtype).eps * s.t.abs()
        s = s._replace(dt=torch.sign(s.dt) * torch.maximum(s.dt.abs(), least))
    clip = aim(p, s, s.status != int(Status.SUCCESS))
    step = p.method.step(p.f, clip.t0, clip.dt, s.y, s.f0, s.method, p.tolerance)
    dy = step.y1 - step.y0 if step.error is None else step.error
    t1 = clip.t0 + clip.dt
    df = p.f(t1, step.y1) - p.f(t1, step.y1 - dy)
    size = torch.linalg.vector_norm(dy, dim=-1)
    stiffness = torch.linalg.vector_norm(df, dim=-1) / size * step.dt.abs()
    grown = torch.zeros_like(s.status, dtype=torch.bool) if step.grown is None else step.grown
    fallen = None if p.nonnegative is None else p.nonnegative.fallen(p, step)
    infinite = _infinite(p, s, clip)
    immense = None
    if p.tolerance.given is not None and step.error is not None:
        immense = finite(step.error) & ~torch.isfinite(p.tolerance.ratio(step))
    return Finding(_worst(p, step), stiffness, _jumps(p, s, clip), grown, infinite, fallen, immense)


def _worst(p: Problem, step: Step) -> Tensor:
    error = step.y1 - step.y0 if step.error is None else step.error
    scaled = error.abs() / p.tolerance.scale(step.y0)
    # what is not finite is worst of all
    worst: Tensor = torch.nan_to_num(scaled, nan=float("inf")).argmax(-1)
    return worst


def _jumps(p: Problem, s: Live, clip: Clip) -> Tensor:
    """Rows (B,) in which f jumps a little ahead: its difference stays as the places meet."""
    if p.f.linear.mass is not None:  # f does not say where the solution goes
        return torch.zeros_like(s.status, dtype=torch.bool)
    eps = torch.finfo(real_dtype(s.y.dtype)).eps
    length = torch.clamp(AHEAD * clip.dt.abs(), min=2.0**HALVINGS * eps * clip.t0.abs())
    # not beyond the end, and nothing in rows that have no failure to explain
    length = torch.where(clip.live, torch.minimum(length, (clip.target - clip.t0).abs()), 0.0)
    length = torch.sign(clip.dt) * length
    t0, y0, f0 = clip.t0, s.y, s.f0
    t1, y1 = t0 + length, y0 + rows(length, y0).to(y0.dtype) * f0
    scale = p.tolerance.scale(s.y)

    def gap(a: Tensor, b: Tensor) -> Tensor:
        size: Tensor = torch.linalg.vector_norm((b - a) / scale, dim=-1)
        return size

    try:
        f1 = p.f(t1, y1)
        whole = gap(f0, f1)
        for _ in range(HALVINGS):
            t, y = (t0 + t1) / 2, (y0 + y1) / 2
            value = p.f(t, y)
            first = gap(f0, value) >= gap(value, f1)
            t0, y0, f0 = select(~first, (t, y, value), (t0, y0, f0))
            t1, y1, f1 = select(first, (t, y, value), (t1, y1, f1))
    except Exception:  # f may be undefined so far ahead
        return torch.zeros_like(s.status, dtype=torch.bool)
    seen = whole > 1e-3 * gap(torch.zeros_like(f0), s.f0)  # which is no rounding
    left = gap(f0, f1) / whole
    return seen & (left > 0.5) & (left < 2.0)  # at a pole it grows


def _infinite(p: Problem, s: Live, clip: Clip) -> Tensor | None:
    """Entries (B, ...) of the Jacobian that an implicit method could not make finite."""
    if not p.method.implicit:
        return None
    units = Units(clip.dt, p.tolerance.scale(s.y))
    found, fine = sound(p.f.linearise(clip.t0, s.y, units, time=False), p.f, clip.t0, s.y, units)
    return None if fine is None else ~torch.isfinite(found.jac)


def messages(p: Problem, s: Live, layout: Layout) -> dict[int, str]:
    """The sentence of every row that did not reach t1, up to a thousand of them."""
    if not s.status.any():  # SUCCESS is 0
        return {}
    ended = torch.nonzero(s.status).flatten()[:MOST_SENTENCES].tolist()
    found = examine(p, s)
    return {row: sentence(p, s, found, row, layout) for row in ended}


def sentence(p: Problem, s: Live, found: Finding | None, row: int, layout: Layout) -> str:
    """The failure of one row: which, where, why, and the way out."""
    status = Status(int(s.status[row]))
    who = f"row {row}: " if layout.batched else ""
    text = f"{who}{status.sentence} at t = {float(s.t[row]):.6g} (dt = {float(s.dt[row]):.3g}, "
    text += f"{int(s.attempts[row])} attempts with {p.method.name})"
    if status is Status.CHATTERING:
        return text + _chatter(s, row)
    if status in (Status.EVENT, Status.INTERRUPTED, Status.SUCCESS):
        return text + _stopped_by(p, s, status, row)
    if status is Status.NON_FINITE and not bool(torch.isfinite(s.f0[row]).all()):
        if int(s.accepted[row]):
            return text + "; y or f is not finite after a jump: check what sets the state anew"
        return text + "; f is not finite at the start: check y0 and the arguments of f"
    if found is None:
        return text + ". " + _advice(p, status, 0.0)
    text += f"; the largest scaled error is in {_value(s, layout, row, int(found.component[row]))}"
    stiffness = float(found.stiffness[row])
    if stiffness == stiffness and stiffness < float("inf"):
        text += f", local stiffness |df|/|dy| |dt| = {stiffness:.3g}"
    if bool(found.grown[row]):
        text += ", and a mode grows faster than the next step could see, which is refused"
    return (
        text + ". " + (_reason(p, s, found, status, row, layout) or _advice(p, status, stiffness))
    )


def _stopped_by(p: Problem, s: Live, status: Status, row: int) -> str:
    """The event that ended a row, if one did."""
    if p.events is None or status is not Status.EVENT:
        return ""
    counts = s.events.counts[row].tolist()
    for event, count in zip(p.events.triggers, counts, strict=True):
        if 0 < event.terminal <= count:
            return f": {event.name} happened" + (f" {count} times" if count > 1 else "")
    return ""


def _chatter(s: Live, row: int) -> str:
    x = s.events
    streak, since = int(x.streak[row]), float((s.t[row] - x.since[row]).abs())
    return (
        f": chattering, {streak} events within {since:.2g}, {int(x.counts[row].sum())} in all. A "
        "jump that leads back to its own event has no end: make it terminal, or let a mode of the "
        "state end it"
    )


def _value(s: Live, layout: Layout, row: int, component: int) -> str:
    return f"{layout.component(component)} = {s.y[row, component].item():.3g}"


def _reason(p: Problem, s: Live, found: Finding, status: Status, row: int, layout: Layout) -> str:
    """What is known to be in the way, or ""."""
    mass = p.f.linear.mass
    if mass is not None and mass.nulls is not None:
        if status is Status.NOT_CONVERGED and p.controller.adaptive:
            return (
                "The state after a jump is not consistent, and Newton's iteration on the "
                "components without a derivative does not make it so: let the jump set one nearer"
            )
        if status is Status.DT_TOO_SMALL:
            return (
                "The equations without a derivative have no solution beyond, or jump there: give "
                "the times of jumps as tstops, with a method that evaluates nothing beyond the end "
                "of its steps, such as 'rodas5p'"
            )
    bad = None if found.infinite is None else torch.nonzero(found.infinite[row])
    if bad is not None and len(bad):
        i, j = p.f.linear.place(tuple(bad[0].tolist()))
        return (
            f"The Jacobian is infinite at {_value(s, layout, row, j)} "
            f"(d {layout.component(i, 'f')}/d {layout.component(j)}), and so are differences "
            "of f: start beside that point, or use an explicit method such as 'tsit5'"
        )
    if status is Status.DT_TOO_SMALL and found.fallen is not None and bool(found.fallen[row].any()):
        i = int(found.fallen[row].argmax())
        return (
            f"{layout.component(i)} must not be negative, and every attempt leads below zero, the "
            f"last by {float(found.fallen[row, i]):.3g}, which is beyond its tolerance: check "
            "whether f can lead there, and whether atol is 0"
        )
    if found.immense is not None and bool(found.immense[row]):
        return "norm is infinite there, though the error is finite: no dt is short enough for it"
    if bool(found.jumps[row]) and status in (Status.MAX_ATTEMPTS, Status.DT_TOO_SMALL):
        return (
            "f jumps there, and no step across a jump is short enough: give the times of jumps as "
            "tstops, make the switch smooth, or take fixed steps with controller=Fixed(dt)"
        )
    return ""


def _advice(p: Problem, status: Status, stiffness: float) -> str:
    tableau = getattr(p.method, "tableau", None)
    if isinstance(tableau, Tableau) and tableau.explicit:
        limit = negative_real_stability_limit(tableau)
        if stiffness > 0.5 * limit and status is Status.MAX_ATTEMPTS:
            return (
                f"The step is limited by stability, not by accuracy ({p.method.name} is stable up "
                f"to {limit:.3g}): the problem is stiff, use method='rodas5p' or 'kvaerno5'"
            )
    if p.method.family == "stabilised explicit" and (
        status is Status.NOT_CONVERGED or (status is Status.MAX_ATTEMPTS and stiffness > FAR)
    ):
        return (
            "The spectral radius of the Jacobian asks for more stages than a step may have: use "
            "method='rodas5p' or 'bdf', or shorter steps where they are given"
        )
    if status is Status.NON_FINITE:
        return "f leaves its domain or overflows there: bound the interval or rewrite f"
    if status is Status.NOT_CONVERGED:
        other = "" if p.method.error_order is None else "an adaptive controller, "
        return f"Use a smaller dt, {other}or method='rodas5p', which does not iterate"
    if status is Status.DT_TOO_SMALL:
        return (
            "The solution has a singularity there, or the tolerances are below what "
            "the precision of y can resolve"
        )
    return "Raise max_attempts, loosen rtol, or choose a method of higher order"
