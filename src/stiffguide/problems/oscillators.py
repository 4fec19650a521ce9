"""Planar oscillators: van der Pol (stiff, in two scalings), Brusselator, Lotka-Volterra."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from stiffguide.problems.problem import Problem, as_matrix

_VDPOL = (
    "van der Pol, Phil. Mag. 2 (1926) 978-992; test set for IVP solvers, release 2.4 "
    "(Bari, 2008), problem VDPOL, reference recomputed to 16 digits"
)
# y(2 mu); the value for mu = 100 by Radau IIA of order 9 in 80-bit arithmetic on two meshes.
_VDPOL_REFERENCES = {
    1e2: (1.7185872080192406, -0.0087968219124167045),
    1e3: (1.706167732170465, -0.0008928097010248166),
}


def van_der_pol_field(t: Tensor, y: Tensor, mu: Tensor | float = 1e3) -> Tensor:
    """y1' = y2, y2' = mu (1 - y1^2) y2 - y1; mu may hold one value per row (B,)."""
    a, b = y.unbind(-1)
    return torch.stack((b, mu * ((1 - a * a) * b) - a), -1)


def van_der_pol_jac(t: Tensor, y: Tensor, mu: Tensor | float = 1e3) -> Tensor:
    """The Jacobian (..., 2, 2) of `van_der_pol_field`."""
    a, b = y.unbind(-1)
    rows = (torch.zeros_like(a), torch.ones_like(a), -2 * mu * a * b - 1, mu * (1 - a * a))
    return as_matrix(rows)


def van_der_pol(mu: float = 1e3) -> Problem:
    """Van der Pol's oscillator in its own time, over about one period (t1 = 2 mu)."""
    return Problem(
        name="van_der_pol",
        title=f"van der Pol, mu = {mu:g}",
        f=partial(van_der_pol_field, mu=mu),
        jac=partial(van_der_pol_jac, mu=mu),
        y0=torch.tensor([2.0, 0.0], dtype=torch.float64),
        t0=0.0,
        t1=2 * mu,
        atol=(1e-10, 1e-12),
        stiff=mu > 10,
        source=_VDPOL,
        reference=_VDPOL_REFERENCES.get(mu),
        digits=13 if mu in _VDPOL_REFERENCES else 0,
        params={"mu": mu},
    )


def van_der_pol_scaled_field(t: Tensor, y: Tensor, eps: Tensor | float = 1e-6) -> Tensor:
    """y1' = y2, y2' = ((1 - y1^2) y2 - y1) / eps; eps may hold one value per row (B,)."""
    a, b = y.unbind(-1)
    return torch.stack((b, ((1 - a * a) * b - a) / eps), -1)


def van_der_pol_scaled_jac(t: Tensor, y: Tensor, eps: Tensor | float = 1e-6) -> Tensor:
    """The Jacobian (..., 2, 2) of `van_der_pol_scaled_field`."""
    a, b = y.unbind(-1)
    rows = (torch.zeros_like(a), torch.ones_like(a), (-2 * a * b - 1) / eps, (1 - a * a) / eps)
    return as_matrix(rows)


def van_der_pol_scaled(eps: float = 1e-6) -> Problem:
    """Van der Pol's oscillator with time in units of mu and eps = 1 / mu^2 (Hairer and Wanner)."""
    known = eps == 1e-6
    return Problem(
        name="van_der_pol_scaled",
        title=f"van der Pol, eps = {eps:g}",
        f=partial(van_der_pol_scaled_field, eps=eps),
        jac=partial(van_der_pol_scaled_jac, eps=eps),
        y0=torch.tensor([2.0, 0.0], dtype=torch.float64),
        t0=0.0,
        t1=2.0,
        atol=(1e-10, 1e-9),
        stiff=eps < 1e-2,
        source=_VDPOL,
        reference=(1.706167732170465, -0.8928097010248165) if known else None,
        digits=13 if known else 0,
        params={"eps": eps},
    )


def _brusselator_field(t: Tensor, y: Tensor) -> Tensor:
    u, v = y.unbind(-1)
    made = u * (3 - u * v)
    return torch.stack((1 - u - made, made), -1)


def _brusselator_jac(t: Tensor, y: Tensor) -> Tensor:
    u, v = y.unbind(-1)
    square = u * u
    made = 3 - 2 * u * v
    return as_matrix((-1 - made, square, made, -square))


def brusselator() -> Problem:
    """The Brusselator without space: a reaction that oscillates, and is not stiff."""
    return Problem(
        name="brusselator",
        title="Brusselator",
        f=_brusselator_field,
        jac=_brusselator_jac,
        y0=torch.tensor([1.5, 3.0], dtype=torch.float64),
        t0=0.0,
        t1=20.0,
        atol=1e-10,
        stiff=False,
        source="Hairer, Norsett and Wanner, Solving ODEs I (1993), eq. I.16.12; reference of a "
        "32-digit solve, confirmed by Radau IIA in 80-bit arithmetic",
        reference=(0.49863707126834783, 4.596780349452011),
        digits=15,
    )


# Growth and loss of the prey, loss and growth of the predator.
_ALPHA, _BETA, _GAMMA, _DELTA = 1.5, 1.0, 3.0, 1.0


def _lotka_volterra_field(t: Tensor, y: Tensor) -> Tensor:
    prey, predator = y.unbind(-1)
    rows = (prey * (_ALPHA - _BETA * predator), predator * (_DELTA * prey - _GAMMA))
    return torch.stack(rows, -1)


def _lotka_volterra_jac(t: Tensor, y: Tensor) -> Tensor:
    prey, predator = y.unbind(-1)
    rows = (
        *(_ALPHA - _BETA * predator, -_BETA * prey),
        *(_DELTA * predator, _DELTA * prey - _GAMMA),
    )
    return as_matrix(rows)


def _lotka_volterra_invariant(y: Tensor) -> Tensor:
    prey, predator = y.unbind(-1)
    return _DELTA * prey - _GAMMA * prey.log() + _BETA * predator - _ALPHA * predator.log()


def lotka_volterra() -> Problem:
    """Prey and predator, on closed orbits; not stiff."""
    return Problem(
        name="lotka_volterra",
        title="Lotka-Volterra",
        f=_lotka_volterra_field,
        jac=_lotka_volterra_jac,
        y0=torch.tensor([10.0, 5.0], dtype=torch.float64),
        t0=0.0,
        t1=15.0,
        atol=1e-10,
        stiff=False,
        source="Lotka (1925), Elements of Physical Biology; Volterra, Nature 118 (1926) 558-560; "
        "reference by Radau IIA of order 9 in 80-bit arithmetic"
        " on two meshes",
        reference=(0.71375137809775935, 0.075407796240794689),
        digits=13,
        invariant=_lotka_volterra_invariant,
        params={"alpha": _ALPHA, "beta": _BETA, "gamma": _GAMMA, "delta": _DELTA},
    )
