"""The eager solve in which two methods share the rows: see `sharing/`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stiffguide import choices, diagnosis, kernels, methods
from stiffguide.errors import UnsupportedError
from stiffguide.fields.jacobian import AutogradJacobian, GivenJacobian
from stiffguide.fields.layout import Layout
from stiffguide.linear_systems import SMALLEST, Systems
from stiffguide.sharing.explicit import Explicit
from stiffguide.sharing.pair import Pair
from stiffguide.sharing.stiff import Stiff
from stiffguide.stepping import regimes
from stiffguide.stepping.contracts import Field, Units
from stiffguide.stepping.course import Shifts, Stretches
from stiffguide.stepping.live import Live, Problem
from stiffguide.stepping.regimes import Regime


class Shared(NamedTuple):
    """A solve by two methods."""

    live: Live
    regimes: list[Regime]
    shifts: Shifts

    def stretches(self, pair: Pair, t0: Tensor) -> Stretches:
        """Who went on where, in a solve from t0 (B,)."""
        return Stretches(pair.names, t0, self.shifts)


def alone(r: kernels.Request) -> kernels.Request:
    """The solve by one method, where the steps are to be differentiated."""
    stiff = methods.get("kvaerno5" if r.y0.shape[1] >= SMALLEST else methods.AUTO)
    assert r.pair is not None
    given = r.pair.controllers[1] is not choices.TUNING[r.pair.stiff.family]
    controller = r.pair.controllers[1] if given else choices.TUNING[stiff.family]
    problem = r.problem._replace(method=stiff, controller=controller)
    why = choices.ALONE.format(name=stiff.name, reason="gradients go through its steps")
    return r._replace(problem=problem, pair=None, alone=why)


def first(p: Problem, pair: Pair) -> Problem:
    """The problem of the explicit method, with which every row begins."""
    return p._replace(method=Explicit(pair.explicit, pair.price), controller=pair.controllers[0])


def try_jacobian(f: Field, r: kernels.Request) -> None:
    """Ask for it once, for it may be wrong, and not be needed for long; raises InputError."""
    with torch.no_grad():
        y0 = r.y0.detach()
        f.linearise(r.t0, y0, Units(r.t1 - r.t0, r.problem.tolerance.scale(y0)), time=False)


def solve(
    p: Problem,
    pair: Pair,
    systems: Callable[[], Systems],
    s: Live,
    look: Callable[[Live], Tensor | None],
    log: regimes.Log | None = None,
) -> Shared:
    """The loops, from rows that have begun with the `first` problem p, or where the log says."""

    def other() -> Problem | None:
        try:
            field = systems().field
        except UnsupportedError:  # too large: nobody asked for an implicit method
            return None
        stiff = _stiff(pair, p, field, s.y.shape[1])
        return p._replace(f=field, method=stiff, controller=pair.controllers[1])

    return Shared(*regimes.solve(p, other, s, look, log))


def _stiff(pair: Pair, p: Problem, field: Field, features: int) -> Stiff:
    """The stiff method, with the price of a Jacobian whose evaluations nobody counts."""
    counted = isinstance(field, (AutogradJacobian, GivenJacobian))
    explicit: Any = p.method
    return Stiff(pair.stiff, pair.price, explicit.limit, features if counted else 0)


def messages(found: Shared, layout: Layout) -> dict[int, str]:
    """Why rows failed, with the method that each failed with."""
    texts: dict[int, str] = {}
    for regime in found.regimes:
        status = torch.where(regime.rows, found.live.status, 0)
        s = found.live._replace(status=status, method=regime.state)
        texts |= diagnosis.messages(regime.problem, s, layout)
    return dict(sorted(texts.items()))
