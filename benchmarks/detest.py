"""Ten problems of DETEST: Hull, Enright, Fellen and Sedgwick, SIAM J. Numer. Anal. 9 (1972)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

F64 = torch.float64
Field = Callable[[Tensor, Tensor], Tensor]


def predator(t: Tensor, y: Tensor) -> Tensor:
    """B1: the growth of two conflicting populations."""
    a, b = y
    return torch.stack((2 * (a - a * b), a * b - b))


def torus(t: Tensor, y: Tensor) -> Tensor:
    """B4: the integral surface of a torus."""
    a, b, c = y
    r = torch.sqrt(a * a + b * b)
    return torch.stack((-b - a * c / r, a - b * c / r, a / r))


def rigid(t: Tensor, y: Tensor) -> Tensor:
    """B5: Euler's equations of a rigid body without external forces."""
    a, b, c = y
    return torch.stack((b * c, -a * c, -0.51 * a * b))


def orbit(t: Tensor, y: Tensor) -> Tensor:
    """D: Kepler's problem."""
    x, v = y[:2], y[2:]
    return torch.cat((v, -x / x.square().sum() ** 1.5))


def oscillator(t: Tensor, y: Tensor) -> Tensor:
    """E2: Van der Pol's equation."""
    a, b = y
    return torch.stack((b, (1 - a * a) * b - a))


def chain(t: Tensor, y: Tensor) -> Tensor:
    """C1: a radioactive decay chain."""
    lost = torch.cat((y[:-1], torch.zeros_like(y[:1])))
    return torch.cat((torch.zeros_like(y[:1]), y[:-1])) - lost


def _start(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)


def _ellipse(eccentricity: float) -> Tensor:
    e = eccentricity
    return _start(1 - e, 0.0, 0.0, ((1 + e) / (1 - e)) ** 0.5)


# f and y0, for t from 0 to 20
PROBLEMS: dict[str, tuple[Field, Tensor]] = {
    "A2": (lambda t, y: -(y**3) / 2, _start(1.0)),
    "A3": (lambda t, y: y * torch.cos(t), _start(1.0)),
    "A4": (lambda t, y: y / 4 * (1 - y / 20), _start(1.0)),
    "B1": (predator, _start(1.0, 3.0)),
    "B4": (torus, _start(3.0, 0.0, 0.0)),
    "B5": (rigid, _start(0.0, 1.0, 1.0)),
    "C1": (chain, _start(1.0, *[0.0] * 9)),
    "D1": (orbit, _ellipse(0.1)),
    "D5": (orbit, _ellipse(0.9)),
    "E2": (oscillator, _start(2.0, 0.0)),
}
