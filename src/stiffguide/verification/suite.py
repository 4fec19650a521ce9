"""Everything that can be asked of one method, asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast

from stiffguide.errors import InputError
from stiffguide.verification import laws, observed, proofs
from stiffguide.verification.proofs import Stability
from stiffguide.verification.report import Check, Report
from stiffguide.verification.subject import AnyMethod, Stepper, Subject, subject

Step = Callable[..., Any]

CHECKS: dict[str, Callable[[Subject], Check]] = {
    "order conditions": proofs.order_conditions,
    "embedded conditions": proofs.embedded_conditions,
    "dense conditions": proofs.dense_conditions,
    "stability": proofs.linear_stability,
    "observed order": observed.global_order,
    "error estimate": observed.error_estimate,
    "dense output": observed.dense_output,
    "polynomials": laws.polynomials,
    "time shift": laws.time_shift,
    "stability function": laws.stability_of_steps,
    "batch": laws.batch,
    "permutation": laws.permutation,
    "gradients": laws.gradients,
}
"""Every check by the name that reports give it, in the order in which `verify` makes them."""


def verify(
    method: AnyMethod | Step,
    *,
    order: int | None = None,
    error_order: int | None = None,
    stability: Stability | None = None,
    only: Iterable[str] | None = None,
) -> Report:
    """Prove what a method's coefficients claim, and measure what its steps do.

    method: a name (`stiffguide methods` lists them), a `Tableau` or `RosenbrockTableau`, a
        `Method`, or the step of another library: step(f, t, dt, y) -> y1 or (y1, error), for more
        than one torch state (F,) as a `stiffguide.verification.Stepper`.
    order, error_order: what such a step claims; its error estimate is O(dt^(error_order + 1)).
    stability: "A" or "L", if that is claimed as well.
    only: names of checks, as they stand in the report; by default all of them.

    Nothing is raised for what is violated: see `Report`, and `Report.raise_if_failed`. A check that
    does not apply is left out, and says why. Raises InputError for what is no method, or a name
    that is no check.
    """
    one = subject(_claimed(method, order, error_order))
    wanted = list(CHECKS) if only is None else list(only)
    for name in wanted:
        if name not in CHECKS:
            raise InputError(f"only: no check is named {name!r}; there are {', '.join(CHECKS)}")
    asked = dict(CHECKS)
    asked["stability"] = partial(proofs.linear_stability, claim=stability)
    return Report(one.name, tuple(asked[name](one) for name in wanted))


def _claimed(method: AnyMethod | Step, order: int | None, error_order: int | None) -> AnyMethod:
    if callable(method) and not hasattr(method, "interpolant"):
        name = getattr(method, "__name__", "step")
        return Stepper(method, order=order, error_order=error_order, name=name)
    if order is not None or error_order is not None:
        raise InputError(
            "verify: order and error_order are for a plain step; tableaux, methods and a Stepper "
            "bring their own"
        )
    return cast(AnyMethod, method)  # what it is not, `subject` refuses
