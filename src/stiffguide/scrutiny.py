"""What is asked of a field before the loop solves with it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from stiffguide import kernels
from stiffguide.errors import InputError
from stiffguide.fields import jacobian
from stiffguide.fields.checks import check_inside, evaluations
from stiffguide.fields.flat import Flat
from stiffguide.fields.independence import Start
from stiffguide.fields.recording import look
from stiffguide.fields.split import Split, stiff
from stiffguide.gradients import direct as gradient
from stiffguide.stepping.live import Problem
from stiffguide.tensors import transformed

UNSEEN_TIME = (
    "autograd does not see how f depends on t, and so neither what {what}: look for detach(), "
    "no_grad, .item() or float() in f (checks=False lets it pass)"
)
UNSEEN_PART = (
    "autograd does not see all that {name} does: look in it for detach(), no_grad, .item() or "
    "float() (checks=False lets it pass)"
)


def check(
    r: kernels.Request,
    flat: Flat,
    f0: Tensor,
    wrapped: Any,
    given: Flat | str | None,
    jac: Any,
    recorded: bool,
) -> int:
    """Check f, if it is new, and say how many evaluations that took; raises InputError."""
    if transformed():
        check_inside(flat, Start(r.t0, r.t1, r.y0, f0))
        return 0
    implicit = r.problem.method.implicit
    recorded = recorded or (implicit and isinstance(wrapped, jacobian.AutogradJacobian))
    by_hand = given if implicit and callable(given) else None
    y, layout = r.y0, r.layout
    shape = (layout.batched, layout.rows, layout.features, y.dtype, y.device, recorded)
    key = (r.f, r.args, jac if by_hand else None, shape)
    # steps of given lengths keep the rows at one time, and f may take the first for all
    start = Start(r.t0, r.t1 if r.problem.controller.adaptive else r.t0, y, f0)
    if isinstance(r.f, Split):
        whole = (r.f.explicit, r.f.implicit), r.args, None, shape
        spent = evaluations(whole, flat, start, None, recorded=recorded)
        if by_hand is None:
            return spent
        # jac is that of the implicit part
        part = stiff(flat)
        start, key = start._replace(f0=part(r.t0, y)), (r.f.implicit, *key[1:])
        return 1 + spent + evaluations(key, part, start, by_hand, recorded=False)
    return evaluations(key, flat, start, by_hand, recorded=recorded)


def check_time(flat: Flat, t0: Tensor, y0: Tensor, what: str) -> None:
    """Raise InputError where f would not see how a step stretches with its end."""
    t = t0.clone().requires_grad_()
    if not look(flat, t, y0.detach(), t).whole:
        raise InputError(UNSEEN_TIME.format(what=what))


def check_seen(p: Problem, t0: Tensor, y0: Tensor) -> None:
    """Raise InputError where autograd misses a part of an event or of a jump."""
    if transformed():
        return
    t, y = t0.clone().requires_grad_(), y0.clone().requires_grad_()
    for name, function in gradient.functions(p):
        try:
            whole = look(function, t, y0, t).whole and look(function, t0, y, y).whole
        except InputError:  # a jump need not have a value at the start
            continue
        if not whole:
            raise InputError(UNSEEN_PART.format(name=name))
