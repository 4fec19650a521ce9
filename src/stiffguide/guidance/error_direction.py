"""Error-direction guidance (EDG): go along the embedded error as far as its eigenvalue tells.

E = y1 - y_low and dF = f1 - f(t1, y_low) = J E give z = dt <E, dF>/<E, E>, the signed Rayleigh
quotient in the direction of the error; y1 is moved by clip(kappa(z), -1, 1) E and f1 by the same
part of dF, so that no evaluation is added where f(t1, y_low) is a stage (Heun's method).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import InputError, UnsupportedError
from stiffguide.estimators import inner
from stiffguide.guidance.kappa import Kappa, kappa, soundness
from stiffguide.stepping.contracts import Method, Move, State, Step
from stiffguide.tensors import rows

TINY = 1e-300


class Slope(NamedTuple):
    """The start of the step before: what a third order needs."""

    t: Tensor  # (B,)
    f: Tensor  # (B, F)
    known: Tensor  # (B,) bool


@dataclass(frozen=True)
class ErrorDirection:
    """The parameter-free rule. `order=3` (EDG3) also uses the slope of the step before.

    order 2: any pair whose R - R_hat has no real zero but 0; order 3: Heun's method only.

    Raises InputError for an order that is not 2 or 3.
    """

    order: int = 2
    rule: Kappa | None = None  # set by `bind`
    needs_f1: bool = True
    needs_f_low: bool = True

    def __post_init__(self) -> None:
        if self.order not in (2, 3):
            raise InputError(f"ErrorDirection: order is 2 or 3, not {self.order}")

    def bind(self, method: Method) -> ErrorDirection:
        """The rule with the kappa of this method's pair; refuses pairs for which it is unsound."""
        tableau = getattr(method, "tableau", None)
        if tableau is None:
            raise UnsupportedError(
                f"ErrorDirection: {method.name} has no tableau to derive kappa from; use 'heun'"
            )
        found = soundness(tableau)
        if not found.sound:
            raise UnsupportedError(f"ErrorDirection: {found.reason}; use 'heun'")
        if self.order == 3 and (method.order, method.error_order, found.free) != (2, 1, True):
            raise UnsupportedError(
                f"ErrorDirection(order=3) is made for Heun's method, not for {method.name}; use "
                "method='heun' or order=2"
            )
        return replace(self, rule=kappa(tableau))

    def init(self, t0: Tensor, y0: Tensor) -> State:
        """Nothing for order 2; no slope yet for order 3, whose first step is of order 2."""
        if self.order == 2:
            return ()
        known = torch.zeros_like(t0, dtype=torch.bool)
        return Slope(t0.clone(), torch.zeros_like(y0), known)

    def delta(self, step: Step, f1: Tensor | None, state: State) -> Move:
        """Move y1 along E and f1 along dF by the same part."""
        assert self.rule is not None, "bind the rule to a method first"
        assert f1 is not None
        assert step.error is not None
        assert step.f_low is not None
        df = f1 - step.f_low
        # numbers per row in float64: kappa is a difference of near equals
        square = inner(step.error, step.error).to(step.dt.dtype)
        inverse = 1 / torch.clamp(square, min=TINY)  # no error: <E, .> is 0, and so is z
        z = step.dt * inner(step.error, df).to(step.dt.dtype) * inverse
        part = torch.clamp(self.rule(z), -1.0, 1.0)
        if self.order == 3:
            part = _third_order(step, f1, z, inverse, part, state)
            state = Slope(step.t0, step.f0, torch.ones_like(state.known))
        q = rows(part, df).to(df.dtype)
        return Move(q * step.error, q * df, state)


def _third_order(
    step: Step, f1: Tensor, z: Tensor, inverse: Tensor, part: Tensor, state: Slope
) -> Tensor:
    """Blend towards the quadrature through f1, f0 and the slope before where |z| is small."""
    assert step.error is not None
    h = step.dt
    # integrals over [0, 1] of the Lagrange polynomials on (1, 0, -p), with the step as unit
    p = torch.where(state.known, (step.t0 - state.t) / h, 1.0)
    share = 1 / (6 + 6 * p)
    w0, w2 = 0.5 - share, share / p  # of f1, and minus that of the oldest
    # what the quadrature leaves of the step, along E
    vectors = torch.stack((f1, step.f0, state.f, step.y0 - step.y1), 1)
    along = torch.bmm(vectors, step.error.unsqueeze(-1)).to(h.dtype)
    s0, s1, s2, rest = along.squeeze(-1).unbind(1)
    mean = torch.addcmul(torch.addcmul(s1, w0, s0 - s1), w2, s1 - s2)
    rest = torch.addcmul(rest, h, mean)
    damped = torch.clamp(1 - w0 * z, min=0.5)
    third = torch.clamp(rest * inverse / damped, -1.0, 1.0)
    square = z * z
    blend = state.known / (1 + square * square)
    return torch.lerp(part, third, blend)
