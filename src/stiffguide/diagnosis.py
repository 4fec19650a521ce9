"""Why a row failed, in one sentence: asked once, after the loop, of the rows that need it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import Status
from stiffguide.fields.layout import Layout
from stiffguide.stepping.attempt import aim
from stiffguide.stepping.contracts import Step
from stiffguide.stepping.live import Live, Problem
from stiffguide.tableaux.stability import negative_real_stability_limit
from stiffguide.tableaux.tableau import Tableau

MOST_SENTENCES = 1000  # rows of a batch whose ending is put into words


class Finding(NamedTuple):
    """What the last attempt of every row looked like."""

    component: Tensor  # (B,) int64, largest scaled error
    stiffness: Tensor  # (B,) |df|/|dy| |dt| between y1 and its embedded companion
    finite: Tensor  # (B,) bool: f at the ends of the attempt


def examine(p: Problem, s: Live) -> Finding | None:
    """Repeat the last attempt: the state of a failed row is the one that it failed from.

    None where no row failed by itself, or f would not have it.
    """
    stopped = [int(st) for st in Status if st.ok or st is Status.INTERRUPTED]
    if not bool((~torch.isin(s.status, torch.tensor(stopped, device=s.status.device))).any()):
        return None
    try:
        return _examine(p, s)
    except Exception:  # of the user's f, beyond what it was made for: there is still a sentence
        return None


def _examine(p: Problem, s: Live) -> Finding:
    with torch.no_grad():
        clip = aim(p, s, s.status != int(Status.SUCCESS))
        step = p.method.step(p.f, clip.t0, clip.dt, s.y, s.f0, s.method, p.tolerance)
        dy = step.y1 - step.y0 if step.error is None else step.error
        t1 = torch.where(clip.last, clip.target, clip.t0 + clip.dt)
        f1 = p.f(t1, step.y1)
        df = f1 - p.f(t1, step.y1 - dy)
        size = torch.linalg.vector_norm(dy, dim=-1)
        stiffness = torch.linalg.vector_norm(df, dim=-1) / size * step.dt.abs()
        return Finding(_worst(p, step), stiffness, torch.isfinite(f1).all(-1))


def _worst(p: Problem, step: Step) -> Tensor:
    error = step.y1 - step.y0 if step.error is None else step.error
    scaled = error.abs() / p.tolerance.scale(step.y0)
    # what is not finite is worst of all
    worst: Tensor = torch.nan_to_num(scaled, nan=float("inf")).argmax(-1)
    return worst


def messages(p: Problem, s: Live, layout: Layout) -> dict[int, str]:
    """The sentence of every row that did not reach t1, up to a thousand of them."""
    if not s.status.any():  # SUCCESS is 0
        return {}
    ended = torch.nonzero(s.status).flatten()[:MOST_SENTENCES].tolist()
    found = examine(p, s)
    worst = [None] * layout.rows if found is None else found.component.tolist()
    return {
        row: sentence(
            p,
            s,
            found,
            row,
            component=None if worst[row] is None else layout.component(worst[row]),
            many=layout.batched,
        )
        for row in ended
    }


def sentence(
    p: Problem, s: Live, found: Finding | None, row: int, component: str | None, many: bool
) -> str:
    """The failure of one row: which, where, why, and the way out."""
    status = Status(int(s.status[row]))
    who = f"row {row}: " if many else ""
    text = f"{who}{status.sentence} at t = {float(s.t[row]):.6g} (dt = {float(s.dt[row]):.3g}, "
    text += f"{int(s.attempts[row])} attempts with {p.method.name})"
    if status in (Status.EVENT, Status.INTERRUPTED, Status.SUCCESS):
        return text
    if status is Status.NON_FINITE and not bool(torch.isfinite(s.f0[row]).all()):
        return text + "; f is not finite at the start: check y0 and the arguments of f"
    if found is None:
        return text + ". " + _advice(p, status, 0.0)
    text += f"; the largest scaled error is in {component}"
    stiffness = float(found.stiffness[row])
    if stiffness == stiffness and stiffness < float("inf"):
        text += f", local stiffness |df|/|dy| |dt| = {stiffness:.3g}"
    return text + ". " + _advice(p, status, stiffness)


def _advice(p: Problem, status: Status, stiffness: float) -> str:
    tableau = getattr(p.method, "tableau", None)
    if isinstance(tableau, Tableau) and tableau.explicit:
        limit = negative_real_stability_limit(tableau)
        if stiffness > 0.5 * limit and status is Status.MAX_ATTEMPTS:
            return (
                f"The step is limited by stability, not by accuracy ({p.method.name} is stable up "
                f"to {limit:.3g}): the problem is stiff, use method='rodas5p' or 'kvaerno5'"
            )
    if status is Status.NON_FINITE:
        return "f leaves its domain or overflows there: bound the interval or rewrite f"
    if status is Status.NOT_CONVERGED:
        return (
            "Use a smaller dt, an adaptive controller, or method='rodas5p', which does not iterate"
        )
    if status is Status.DT_TOO_SMALL:
        return (
            "The solution has a singularity there, or the tolerances are below what "
            "the precision of y can resolve"
        )
    return "Raise max_attempts, loosen rtol, or choose a method of higher order"
