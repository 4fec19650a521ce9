"""Right-hand sides as users of SciPy write them: numpy, plain Python, classes, tables, branches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def robertson(t, y):
    a, b, c = y
    da = -0.04 * a + 1e4 * b * c
    dc = 3e7 * b**2
    return [da, -da - dc, dc]


def hires(t, y):
    dy = np.zeros(8)
    dy[0] = -1.71 * y[0] + 0.43 * y[1] + 8.32 * y[2] + 0.0007
    dy[1] = 1.71 * y[0] - 8.75 * y[1]
    dy[2] = -10.03 * y[2] + 0.43 * y[3] + 0.035 * y[4]
    dy[3] = 8.32 * y[1] + 1.71 * y[2] - 1.12 * y[3]
    dy[4] = -1.745 * y[4] + 0.43 * (y[5] + y[6])
    dy[5] = -280 * y[5] * y[7] + 0.69 * y[3] + 1.71 * y[4] - 0.43 * y[5] + 0.69 * y[6]
    dy[6] = 280 * y[5] * y[7] - 1.81 * y[6]
    dy[7] = -dy[6]
    return dy


def van_der_pol(t, y):
    return [y[1], 1000 * (1 - y[0] ** 2) * y[1] - y[0]]


def brusselator(t, y, n=20):
    u, v = y[:n], y[n:]
    c = 0.02 * (n + 1) ** 2

    def laplacian(w, border):
        return np.concatenate(([border], w[:-1])) - 2 * w + np.concatenate((w[1:], [border]))

    du = 1 + u * u * v - 4 * u + c * laplacian(u, 1.0)
    dv = 3 * u - u * u * v + c * laplacian(v, 3.0)
    return np.concatenate((du, dv))


TIMES, CURRENTS = [0, 5, 5.01, 40, 40.01, 100], [0, 0, 10, 10, 0, 0]


def hodgkin_huxley(t, y):
    v, m, h, n = y
    am = 0.1 * (v + 40) / (1 - math.exp(-(v + 40) / 10))
    ah = 0.07 * math.exp(-(v + 65) / 20)
    an = 0.01 * (v + 55) / (1 - math.exp(-(v + 55) / 10))
    bm = 4 * math.exp(-(v + 65) / 18)
    bh = 1 / (1 + math.exp(-(v + 35) / 10))
    bn = 0.125 * math.exp(-(v + 65) / 80)
    given = np.interp(t, TIMES, CURRENTS)
    dv = given - 120 * m**3 * h * (v - 50) - 36 * n**4 * (v + 77) - 0.3 * (v + 54.387)
    return np.array([dv, am * (1 - m) - bm * m, ah * (1 - h) - bh * h, an * (1 - n) - bn * n])


class Reactor:
    """A stirred tank with two reactions and heat."""

    def __init__(self):
        self.stoichiometry = np.array([[-1.0, 0.0], [1.0, -1.0], [0.0, 1.0]])
        self.rates = np.array([7.2e10, 2e8])
        self.energies = np.array([8750.0, 7000.0])
        self.feed = np.array([1.0, 0.0, 0.0])

    def __call__(self, t, y):
        c, temperature = y[:3], y[3]
        r = self.rates * np.exp(-self.energies / temperature) * c[:2]
        dc = self.stoichiometry @ r + (self.feed - c)
        cooling = 2.09 * (np.maximum(300.0, 0) - temperature)
        return np.hstack([dc, (350 - temperature) + 209.2 * r[0] + cooling])


def pharmacokinetics(t, y, absorbed, eliminated, most, half):
    depot, central, tissue = y
    saturated = most * central / (half + central)
    taken = absorbed * depot
    exchanged = 0.5 * central - 0.3 * tissue
    return -taken, taken - eliminated * central - saturated - exchanged, exchanged


def friction(t, y):
    grip = 0.3
    if y[1] <= 0:
        grip = -0.3
    return [y[1], -y[0] - grip + 1.5 * math.sin(t)]


@dataclass(frozen=True)
class Code:
    """A problem in numpy; `scale` times rtol is the absolute tolerance."""

    title: str
    fun: Callable[..., Any]
    span: tuple[float, float]
    y0: Sequence[float]
    scale: float = 1e-2
    args: tuple[float, ...] = ()
    longest: float = math.inf  # step of the reference, where f has kinks

    @cached_property
    def reference(self) -> Array:
        """The end by Radau at rtol 1e-11."""
        from scipy.integrate import solve_ivp

        found = solve_ivp(
            self.fun, self.span, self.y0, "Radau", args=self.args, rtol=1e-11,
            atol=1e-11 * self.scale, max_step=self.longest, t_eval=self.span[1:],
        )  # fmt: skip
        return found.y[:, -1]

    def error(self, y: Any) -> float:
        """max|dy| / max|y| at the end."""
        found = np.asarray(y, dtype=float)
        return float(np.abs(found - self.reference).max() / np.abs(self.reference).max())


def codes() -> dict[str, Code]:
    """The eight, by their names in the tables."""
    wave = 1 + np.sin(2 * np.pi * np.arange(1, 21) / 21)
    chain, bump = (1.0, *[0.0] * 6, 0.0057), (*wave, *[3.0] * 20)
    resting, dose = (-65.0, 0.05, 0.6, 0.32), (1.2, 0.1, 8.0, 3.0)
    return {
        "robertson": Code("Robertson", robertson, (0.0, 1e5), (1.0, 0.0, 0.0), 1e-4),
        "hires": Code("HIRES", hires, (0.0, 321.8122), chain),
        "van der pol": Code("van der Pol, mu = 1000", van_der_pol, (0.0, 2000.0), (2.0, 0.0)),
        "brusselator": Code("Brusselator, 40 components", brusselator, (0.0, 10.0), bump),
        "neuron": Code("Hodgkin-Huxley", hodgkin_huxley, (0.0, 100.0), resting, longest=0.1),
        "reactor": Code("stirred tank", Reactor(), (0.0, 10.0), (0.5, 0.0, 0.0, 350.0)),
        "drug": Code("drug", pharmacokinetics, (0.0, 48.0), (100.0, 0.0, 0.0), args=dose),
        "friction": Code("friction", friction, (0.0, 20.0), (1.0, 0.0), longest=0.01),
    }
