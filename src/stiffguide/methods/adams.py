"""Adams methods: y1 - y0 is the integral of the polynomial through the slopes of the last steps.

Adams and Bashforth take the slopes that are known, one evaluation a step; with Moulton the slope at
the end belongs to them, which is found by functional iteration from where the other formula leads.
A solve begins with the rule of three eighths, until a formula of order 4 has slopes enough (or of
order 3, where the end has none), and then takes one slope more each step. Where steps differ, the
weights are those of the times as they are.

Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, III.1 and III.5.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stiffguide.catalogue.adams import bashforth, moulton
from stiffguide.catalogue.explicit import RK4_38
from stiffguide.errors import InputError
from stiffguide.stepping.contracts import Field, Step, Work, stage_times
from stiffguide.stepping.interpolate import hermite
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tableaux.exact import floats
from stiffguide.tensors import combine, constant, real_dtype, rows

Floats = tuple[tuple[float, ...], ...]

LOWEST, HIGHEST = 4, 12  # orders that may be the highest of a method
BEGUN = 3  # slopes, with the one at the start of a step, from which a formula goes on
POINTS = HIGHEST // 2  # of the quadrature that integrates the polynomials, which is exact
EQUAL = 16.0  # roundings of t, by which equal steps may differ


class Past(NamedTuple):
    """What survives a step: slopes, the newest first, and where they were."""

    slopes: Tensor  # (B, P, F)
    times: Tensor  # (B, P)
    many: Tensor  # (B,) int64, how many there are
    dt: Tensor  # (B,), the last step
    even: Tensor  # (B,) int64, how many of them lie one such step apart


class Start(NamedTuple):
    """From where a step starts; rows that idle take one of no length."""

    f: Field
    t0: Tensor
    dt: Tensor
    y0: Tensor

    @property
    def h(self) -> Tensor:
        """dt (B, 1) in the precision of y."""
        return rows(self.dt, self.y0).to(self.y0.dtype)


class Weights(NamedTuple):
    """Shares of the slopes."""

    known: Tensor  # (B, K), of those before the end
    ending: Tensor | None  # (B, 1 + K), with the one at the end


class Adams:
    """Steps of given lengths; explicit, or `implicit` with `max_iters` evaluations at the most.

    The iteration ends when a change is below atol + rtol |y1 - y0| in every component. Where it
    does not, the row has not converged: no answer depends on where an iteration was cut off.
    Formulas of high order are stable in short steps only: up to -dt L = 0.3 with 4 slopes known,
    0.003 with 11, or 1.8 and 0.07 with the one at the end.

    Raises InputError for orders and counts of iterations that it does not have.
    """

    max_iters: int
    max_order: int

    family = "Adams"
    implicit = False  # for it solves no linear systems
    multistep = True
    error_order: int | None = None
    dense_order = 3

    def __init__(
        self, implicit: bool = True, max_order: int = HIGHEST, max_iters: int = 20
    ) -> None:
        if not LOWEST <= max_order <= HIGHEST:
            raise InputError(
                f"Adams: max_order lies between {LOWEST} and {HIGHEST}, not {max_order}; use "
                "'heun3', 'heun' or 'euler' for an order below"
            )
        if max_iters < 1:
            raise InputError(f"Adams: max_iters is at least 1, not {max_iters}")
        self.name = "adams_moulton" if implicit else "adams_bashforth"
        self.max_order, self.max_iters = max_order, max_iters
        self._corrects = implicit
        # of whole solves: that of their beginning, for each order is only passed through
        self.order: int = min(max_order, BEGUN + 2) if implicit else min(max_order - 1, BEGUN + 1)

    def __repr__(self) -> str:
        return f"Adams(implicit={self._corrects}, max_order={self.max_order})"

    def init(self, f: Field, t0: Tensor, y0: Tensor) -> Past:
        """No slopes."""
        past, none = self.max_order - 2, torch.zeros_like(t0, dtype=torch.int64)
        return Past(
            slopes=y0.new_zeros(y0.shape[0], past, y0.shape[1]),
            times=t0.new_zeros(t0.shape[0], past),
            many=none,
            dt=torch.zeros_like(t0),
            even=none.clone(),
        )

    def step(
        self,
        f: Field,
        t0: Tensor,
        dt: Tensor,
        y0: Tensor,
        f0: Tensor,
        state: Past,
        tolerance: Tolerance,
    ) -> Step:
        """Attempt one step in every row; who begins and who goes on idle for each other."""
        state = _spaced(state, t0, dt)
        slopes = torch.cat((f0.unsqueeze(1), state.slopes), 1)
        begins, ok, nfe = state.many + 1 < BEGUN, None, torch.zeros_like(state.many)
        some, rise = bool(begins.any()), torch.zeros_like(y0)
        if some:
            rise = _begun(Start(f, t0, torch.where(begins, dt, 0.0), y0), f0)
            nfe = begins * (RK4_38.stages - 1)
        if not (some and bool(begins.all())):
            start = Start(f, t0, torch.where(begins, 0.0, dt) if some else dt, y0)
            weights = self._weights(state, t0, dt)
            rest = start.h * _sum(weights.known, slopes)
            if weights.ending is not None:
                rest, ok, asked = self._corrected(start, rest, slopes, weights.ending, tolerance)
                ok, nfe = ok | begins, nfe + asked * ~begins
            rise = rise + rest
        return Step(
            t0=t0,
            dt=dt,
            y0=y0,
            f0=f0,
            y1=y0 + rise,
            error=None,
            error_order=None,
            ok=ok,
            state=_followed(state, slopes, t0, dt),
            work=Work(nfe=nfe),
            stages=f0.unsqueeze(0),
        )

    def _weights(self, past: Past, t0: Tensor, dt: Tensor) -> Weights:
        """Those of equal steps where they are equal; a gradient by dt wants them as they depend."""
        if not dt.requires_grad and bool((past.even >= past.many).all()):
            known, ending = tables(self.max_order - 1)
            own = constant(known, t0.dtype, t0.device)[past.many]
            if not self._corrects:
                return Weights(own, None)
            return Weights(own, constant(ending, t0.dtype, t0.device)[past.many])
        length = torch.where(dt == 0, 1.0, dt).unsqueeze(1)
        nodes = (past.times - t0.unsqueeze(1)) / length
        place = torch.arange(past.times.shape[1], device=t0.device)
        there = (place < past.many.unsqueeze(1)) & (nodes < 0)
        nodes = torch.nn.functional.pad(nodes, (1, 0))
        there = torch.nn.functional.pad(there, (1, 0), value=True)
        own = integrals(nodes, there)
        if not self._corrects:
            return Weights(own, None)
        nodes = torch.nn.functional.pad(nodes, (1, 0), value=1.0)
        there = torch.nn.functional.pad(there, (1, 0), value=True)
        return Weights(own, integrals(nodes, there))

    def _corrected(
        self, x: Start, rise: Tensor, slopes: Tensor, ending: Tensor, tolerance: Tolerance
    ) -> tuple[Tensor, Tensor, Tensor]:
        """y1 - y0 (B, F) with the slope at the end, whether it was found, and evaluations."""
        t1, share = x.t0 + x.dt, x.h * ending[:, :1].to(x.y0.dtype)
        fixed = x.h * _sum(ending[:, 1:], slopes)
        eps = torch.finfo(real_dtype(x.y0.dtype)).eps
        live = torch.ones_like(x.dt, dtype=torch.bool)
        asked = torch.zeros_like(live, dtype=torch.int64)
        for _ in range(self.max_iters):
            new = fixed + share * x.f(t1, x.y0 + rise)
            with torch.no_grad():
                # a change below the rounding of y1 is none, whatever was asked for
                enough = tolerance.scale(rise, new)
                enough = torch.maximum(enough, eps * tolerance.size(x.y0 + new))
                done = ((new - rise).abs() <= enough).all(-1)
            asked = asked + live
            rise = torch.where(rows(live, new), new, rise)
            live = live & ~done
            if not bool(live.any()):
                break
        return rise, ~live, asked

    def retry(self, before: Past, tried: Past) -> Past:
        """What was not accepted leaves nothing."""
        return before

    def displace(self, state: Past, delta: Tensor) -> Past:
        """The slopes are those of the steps before."""
        return state

    def restart(self, state: Past, where: Tensor) -> Past:
        """No slopes in the rows `where`."""
        return state._replace(many=state.many.masked_fill(where, 0))

    def interpolant(self, step: Step, f1: Tensor) -> Tensor:
        """Cubic Hermite coefficients (3, B, F)."""
        return hermite(step.dt, step.y0, step.f0, step.y1, f1)


def _spaced(past: Past, t0: Tensor, dt: Tensor) -> Past:
    """The past as steps of this dt see it."""
    eps = torch.finfo(t0.dtype).eps
    rounding = EQUAL * eps * torch.maximum(t0.abs(), (t0 + dt).abs())
    return past._replace(even=torch.where((dt - past.dt).abs() <= rounding, past.even, 0))


def _followed(past: Past, slopes: Tensor, t0: Tensor, dt: Tensor) -> Past:
    """The past of the next step, as long as that of this one."""
    most = past.times.shape[1]
    return Past(
        slopes=slopes[:, :most],
        times=torch.cat((t0.detach().unsqueeze(1), past.times), 1)[:, :most],
        many=torch.clamp(past.many + 1, max=most),
        dt=dt.detach(),
        even=torch.clamp(past.even + 1, max=most),
    )


def _begun(x: Start, f0: Tensor) -> Tensor:
    """y1 - y0 (B, F) by the rule of three eighths."""
    k, times = [f0], stage_times(x.t0, x.dt, floats(RK4_38.c))
    for i in range(1, RK4_38.stages):
        own = combine(floats(RK4_38.a[i][:i]), torch.stack(k))
        k.append(x.f(times[i], x.y0 + x.h * own))
    return x.h * combine(floats(RK4_38.b), torch.stack(k))


def _sum(weights: Tensor, slopes: Tensor) -> Tensor:
    """sum_j w_j f_j (B, F) of weights (B, K) and slopes (B, K, F).

    In the precision of the weights: these are large, of both signs, and little is left of them.
    """
    wide = torch.promote_types(slopes.dtype, weights.dtype)
    found = torch.matmul(weights.to(wide).unsqueeze(1), slopes.to(wide))
    return found.squeeze(1).to(slopes.dtype)


@cache
def tables(most: int) -> tuple[Floats, Floats]:
    """Weights on equal steps of 1, 2, ..., K = most slopes before the end; and with the end."""
    count = range(1, most + 1)
    known = tuple(floats(bashforth(n)) + (0.0,) * (most - n) for n in count)
    return known, tuple(floats(moulton(n + 1)) + (0.0,) * (most - n) for n in count)


def integrals(nodes: Tensor, there: Tensor) -> Tensor:
    """From 0 to 1 (B, K), of Lagrange's polynomials on the nodes (B, K) that are `there` (bool).

    As products at the points of a quadrature that is exact for them: in powers of the nodes half of
    the digits would be lost.
    """
    at, shares = (constant(x, nodes.dtype, nodes.device) for x in quadrature())
    others = there.unsqueeze(1) & there.unsqueeze(2)  # an absent one may lie where another does
    others = others & ~torch.eye(nodes.shape[1], dtype=torch.bool, device=nodes.device)
    apart = torch.where(others, nodes.unsqueeze(2) - nodes.unsqueeze(1), 1.0)  # (B, K, K)
    reach = at[:, None, None, None] - nodes.unsqueeze(1)  # (Q, B, 1, K)
    values = torch.where(others, reach / apart, 1.0).prod(-1)  # (Q, B, K)
    return torch.where(there, torch.tensordot(shares, values, 1), 0.0)


@cache
def quadrature() -> Floats:
    """Points and weights of Gauss on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(POINTS)
    return tuple(map(float, (x + 1) / 2)), tuple(map(float, w / 2))
