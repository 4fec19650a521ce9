"""Vector fields with a known solution: linear, polynomial, non-autonomous, nonlinear, stiff.

All of them take t () and y (F,), or t (B,) and y (B, F), and have full Jacobians, so that no
component is solved by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

Polynomial = np.polynomial.Polynomial
Draw = st.DrawFn

sixteenths: st.SearchStrategy[float] = st.integers(-32, 32).map(
    lambda k: k / 16
)  # what shrinks well, and prints shortly
STIFFEST = 8  # decades of the rates of a stiff field


@dataclass(frozen=True, eq=False)
class Known:
    """y' = f(t, y) with the solution `exact` on [t0, t1], where it stays of the size of 1.

    `f` takes t () and y (F,), or rows of both; exact(t) gives (..., F) for t (...,). `stiff` says
    that an explicit method has no chance. `told` is how a failing example shows it.
    """

    told: str
    f: Callable[[Tensor, Tensor], Tensor]
    exact: Callable[[Tensor], Tensor]
    t0: float
    t1: float
    stiff: bool = False

    @property
    def y0(self) -> Tensor:
        """The solution (F,) at t0."""
        return self.exact(torch.tensor(self.t0, dtype=torch.float64))

    @property
    def y1(self) -> Tensor:
        """The solution (F,) at t1."""
        return self.exact(torch.tensor(self.t1, dtype=torch.float64))

    def rows(self, count: int) -> tuple[Tensor, Tensor]:
        """Times (B,) between t0 and t1, and states (B, F) there: `count` rows, all different."""
        t = torch.linspace(self.t0, self.t1, count + 1, dtype=torch.float64)[:-1]
        return t, self.exact(t)

    def __repr__(self) -> str:
        return self.told


@st.composite
def linear_fields(draw: Draw, size: int = 3) -> Known:
    """y' = A y, with A (F, F) full: exact by the exponential of a matrix."""
    a = _matrix(draw, size)
    y0 = torch.tensor(draw(st.lists(sixteenths, min_size=size, max_size=size)), dtype=a.dtype)

    def exact(t: Tensor) -> Tensor:
        flow: Tensor = torch.linalg.matrix_exp(a * t[..., None, None])
        return flow @ y0

    return Known(
        f"y' = A y with A = {a.tolist()} and y(0) = {y0.tolist()}", _of(a), exact, 0.0, draw(_ends)
    )


@st.composite
def polynomial_fields(draw: Draw, degree: int) -> Known:
    """A field that every method of order `degree` integrates exactly.

    x1' = q(t), x2' = r(t) + c x1, seen through a matrix; x2 is a polynomial of that degree.
    """
    q = Polynomial(draw(st.lists(sixteenths, min_size=1, max_size=max(1, degree - 1))))
    r = Polynomial(draw(st.lists(sixteenths, min_size=1, max_size=degree)))
    coupling = draw(sixteenths) if degree > 1 else 0.0
    mix = _mixing(draw, 2)
    unmix = torch.linalg.inv(mix)
    t0 = draw(st.integers(-16, 0)) / 16  # powers of times beyond 1 would be large, and cancel
    first = q.integ(lbnd=t0) + draw(sixteenths)
    second = (r + coupling * first).integ(lbnd=t0) + draw(sixteenths)

    def f(t: Tensor, y: Tensor) -> Tensor:
        x = y @ unmix.mT
        found: Tensor = torch.stack((_at(q, t), _at(r, t) + coupling * x[..., 0]), -1) @ mix.mT
        return found

    def exact(t: Tensor) -> Tensor:
        return torch.stack((_at(first, t), _at(second, t)), -1) @ mix.mT

    told = f"M (q, r + {coupling} x1) with q = {q.coef}, r = {r.coef}, M = {mix.tolist()}"
    return Known(told, f, exact, t0, t0 + draw(_ends))


@st.composite
def nonautonomous_fields(draw: Draw, size: int = 2) -> Known:
    """y' = cos(w t) A y: exp(A sin(w t)/w) y(0)."""
    a, w = _matrix(draw, size), draw(st.integers(1, 6)) / 2
    y0 = torch.tensor(draw(st.lists(sixteenths, min_size=size, max_size=size)), dtype=a.dtype)

    def exact(t: Tensor) -> Tensor:
        flow: Tensor = torch.linalg.matrix_exp(a * (torch.sin(w * t) / w)[..., None, None])
        return flow @ y0

    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.cos(w * t).unsqueeze(-1) * (y @ a.mT)

    t0 = draw(sixteenths)
    told = f"y' = cos({w} t) A y with A = {a.tolist()} and y(0) = {y0.tolist()}"
    return Known(told, f, exact, t0, t0 + draw(_ends))


@st.composite
def coupled_fields(draw: Draw, size: int = 3) -> Known:
    """Nonlinear around a curve u(t): y' = u' + A sin(y - u) + B (y^2 - u^2)."""
    a, b = _matrix(draw, size), _matrix(draw, size) / 4
    curve = _curve(draw, size)

    def f(t: Tensor, y: Tensor) -> Tensor:
        u, du = curve(t)
        return du + torch.sin(y - u) @ a.mT + (y * y - u * u) @ b.mT

    told = f"around a curve, with A = {a.tolist()} and B = {b.tolist()}"
    t0 = draw(sixteenths)
    return Known(told, f, lambda t: curve(t)[0], t0, t0 + draw(_ends))


@st.composite
def stiff_fields(draw: Draw, size: int = 2) -> Known:
    """Prothero and Robinson's problem: y' = A (y - u(t)) + u'(t), with rates up to 1e8.

    Its solution u does not depend on the stiffness (Math. Comp. 28 (1974) 145-162).
    """
    mix = _mixing(draw, size)
    decades = draw(st.lists(st.integers(2, STIFFEST), min_size=size, max_size=size))
    rates = -torch.tensor([10.0**k for k in decades], dtype=torch.float64)
    a = mix @ torch.diag(rates) @ torch.linalg.inv(mix)
    curve = _curve(draw, size)

    def f(t: Tensor, y: Tensor) -> Tensor:
        u, du = curve(t)
        found: Tensor = du + (y - u) @ a.mT
        return found

    t0 = draw(sixteenths)
    told = f"Prothero-Robinson with rates {rates.tolist()} and M = {mix.tolist()}"
    return Known(told, f, lambda t: curve(t)[0], t0, t0 + draw(_ends), stiff=True)


def fields(*, stiff: bool | None = None) -> st.SearchStrategy[Known]:
    """Any of them; only stiff ones, or none of these, where that is said."""
    mild = (linear_fields(), polynomial_fields(4), nonautonomous_fields(), coupled_fields())
    if stiff is None:
        return st.one_of(*mild, stiff_fields())
    return stiff_fields() if stiff else st.one_of(*mild)


_ends: st.SearchStrategy[float] = st.integers(1, 16).map(lambda k: k / 16)  # lengths of intervals


def _matrix(draw: Draw, size: int) -> Tensor:
    """Some matrix (F, F), of norm 2 at most."""
    entries = draw(st.lists(sixteenths, min_size=size * size, max_size=size * size))
    return torch.tensor(entries, dtype=torch.float64).reshape(size, size) / size


def _mixing(draw: Draw, size: int) -> Tensor:
    """A matrix (F, F) that is well away from a singular one."""
    return _matrix(draw, size) + 3 * torch.eye(size, dtype=torch.float64)


def _curve(draw: Draw, size: int) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """u(t) = shift + sin(w t + phase), by component, and its derivative."""
    shift, phase = (
        torch.tensor(draw(st.lists(sixteenths, min_size=size, max_size=size)), dtype=torch.float64)
        for _ in range(2)
    )
    w = torch.linspace(1.0, 2.0, size, dtype=torch.float64)

    def curve(t: Tensor) -> tuple[Tensor, Tensor]:
        angle = w * t.unsqueeze(-1) + math.pi * phase
        return shift + torch.sin(angle), w * torch.cos(angle)

    return curve


def _of(a: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda t, y: y @ a.mT


def _at(polynomial: Polynomial, t: Tensor) -> Tensor:
    value = torch.zeros_like(t)
    for c in reversed(polynomial.coef):
        value = value * t + float(c)
    return value
