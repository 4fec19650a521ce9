"""The systems of the benchmarks, written once in plain arithmetic for NumPy, Numba and JAX.

Each returns a tuple of the derivatives, so that every contender evaluates the same expressions:
Python as they are, Numba and XLA compiled. Our own solvers take the fields of
`stiffguide.problems`, which tests/test_benchmarks.py compares with these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from stiffguide import problems

Array = np.ndarray[Any, Any]
System = Callable[..., tuple[Any, ...]]


def robertson(t, y, k1=0.04, k2=3e7, k3=1e4):
    lost = k1 * y[0] - k3 * y[1] * y[2]
    made = k2 * y[1] * y[1]
    return -lost, lost - made, made


def van_der_pol(t, y, mu=1e3):
    return y[1], mu * ((1 - y[0] * y[0]) * y[1]) - y[0]


def hires(t, y):
    bound = 280.0 * y[5] * y[7]
    split = 1.81 * y[6]
    return (
        -1.71 * y[0] + 0.43 * y[1] + 8.32 * y[2] + 0.0007,
        1.71 * y[0] - 8.75 * y[1],
        -10.03 * y[2] + 0.43 * y[3] + 0.035 * y[4],
        8.32 * y[1] + 1.71 * y[2] - 1.12 * y[3],
        -1.745 * y[4] + 0.43 * y[5] + 0.43 * y[6],
        -bound + 0.69 * y[3] + 1.71 * y[4] - 0.43 * y[5] + 0.69 * y[6],
        bound - split,
        split - bound,
    )


def orego(t, y):
    return (
        77.27 * (y[1] + y[0] * (1 - 8.375e-6 * y[0] - y[1])),
        (y[2] - (1 + y[0]) * y[1]) / 77.27,
        0.161 * (y[0] - y[2]),
    )


def e5_reduced(t, y):
    c = y[1] - y[2]
    split, joined = 7.89e-10 * y[0], 1.1e7 * y[0] * c
    return -split - joined, split - 1.13e9 * y[1] * c, joined - 1.13e3 * y[2]


def pollu(t, y):
    a, b, c, d = 0.35 * y[0], 26.6 * y[1] * y[3], 12.3e3 * y[4] * y[1], 0.86e-3 * y[6]
    e, f, g, h = 0.82e-3 * y[6], 15e3 * y[6] * y[5], 0.13e-3 * y[8], 24e3 * y[8] * y[5]
    i, j, k, l = 16.5e3 * y[10] * y[1], 9e3 * y[10] * y[0], 0.022 * y[12], 12e3 * y[9] * y[1]
    m, n, o, p = 1.88 * y[13], 16.3e3 * y[0] * y[5], 4.8e6 * y[2], 0.35e-3 * y[3]
    q, r, s, u = 0.0175 * y[3], 1e8 * y[15], 444e9 * y[15], 1240.0 * y[16] * y[5]
    v, w, x = 2.1 * y[18], 5.78 * y[18], 0.0474 * y[0] * y[3]
    z, back = 1780.0 * y[18] * y[0], 3.12 * y[19]
    return (
        -a - j - n - x - z + b + c + i + k + l + w + back,
        -b - c - i - l + a + v,
        -o + a + q + s + w,
        -b - p - q - x + o,
        -c + 2 * d + f + g + m + u,
        -f - h - n - u + c + 2 * r,
        -d - e - f + m,
        d + e + f + g,
        -g - h,
        -l + g + i,
        -i - j + h + k,
        i,
        -k + j,
        -m + l,
        n,
        -r - s + p,
        -u,
        u,
        -v - w - z + x + back,
        -back + z,
    )


def lotka_volterra(t, y):
    return y[0] * (1.5 - y[1]), y[1] * (y[0] - 3.0)


MOON = 0.012277471


def arenstorf(t, y):
    east, west, square = y[0] + MOON, y[0] - (1 - MOON), y[1] * y[1]
    earth = (1 - MOON) * (east * east + square) ** -1.5
    moon = MOON * (west * west + square) ** -1.5
    return (
        y[2],
        y[3],
        y[0] + 2 * y[3] - earth * east - moon * west,
        y[1] * (1 - earth - moon) - 2 * y[2],
    )


@dataclass(frozen=True)
class Case:
    """A problem for every contender; `scale` times rtol is the absolute tolerance."""

    title: str
    problem: problems.Problem
    system: System
    scale: float = 1e-2
    args: tuple[float, ...] = ()  # of the system, where they are not the defaults

    @property
    def y0(self) -> Array:
        return self.problem.y0.numpy().copy()

    @property
    def span(self) -> tuple[float, float]:
        return self.problem.t0, self.problem.t1

    def error(self, y: Any) -> float:
        """max|dy| / max|y| at the end."""
        return float(self.problem.error(torch.as_tensor(np.asarray(y), dtype=torch.float64)))

    def until(self, t1: float, reference: Sequence[float] | None) -> Case:
        """The same from the same start to another end."""
        return replace(self, problem=replace(self.problem, t1=t1, reference=reference))


def stiff() -> dict[str, Case]:
    """The seven stiff problems; E5 in the form without y3, where float64 keeps every digit."""
    network = problems.pollu()
    written_out = replace(network, f=problems.POLLU.by_species)  # as for all the others
    return {
        "robertson 1e5": Case("Robertson to 1e5", problems.robertson(1e5), robertson, 1e-4),
        "robertson 1e11": Case("Robertson to 1e11", problems.robertson(1e11), robertson, 1e-4),
        "van der pol": Case("van der Pol, mu = 1000", problems.van_der_pol(1e3), van_der_pol),
        "hires": Case("HIRES", problems.hires(), hires),
        "orego": Case("OREGO", problems.orego(), orego),
        "pollu": Case("POLLU", written_out, pollu),
        "e5": Case("E5", problems.e5_reduced(), e5_reduced, 1e-22),
    }


def nonstiff() -> dict[str, Case]:
    """Two problems for explicit methods."""
    return {
        "lotka-volterra": Case("Lotka-Volterra", problems.lotka_volterra(), lotka_volterra),
        "arenstorf": Case("Arenstorf orbit", problems.arenstorf(), arenstorf),
    }
