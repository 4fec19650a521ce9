"""Where the mix grid puts its nodes: 0.3 of a bump in log sigma, and 0.7 of exp(log(sigma)/20)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stiffguide.errors import InputError

Array = NDArray[np.float64]


def mix_quantiles(sigma_min: float, sigma_max: float, center: float) -> Callable[[Array], Array]:
    """The level below which a share 1 - u of the density lies, for u from 0 to 1."""
    low, high, centre = math.log(sigma_min), math.log(sigma_max), math.log(center)

    def rises(l: Array) -> tuple[Array, Array]:
        return 2 * np.arctan(np.tanh((l - centre) / 2)), np.exp(l / 20)

    ends = rises(np.array([low, high]))
    if not ends[0][1] > ends[0][0]:
        raise InputError(
            f"mix: nothing is left of a bump at {center:g} in [{sigma_min:g}, {sigma_max:g}]: take "
            "a center between them"
        )

    def share(l: Array) -> Array:
        bump, slow = ((v - e[0]) / (e[1] - e[0]) for v, e in zip(rises(l), ends, strict=True))
        total: Array = 0.3 * bump + 0.7 * slow
        return total

    def level(u: Array) -> Array:
        a, b = np.full_like(u, low), np.full_like(u, high)
        for _ in range(60):  # bisection down to the resolution of float64
            middle = (a + b) / 2
            below = share(middle) < 1 - u
            a, b = np.where(below, middle, a), np.where(below, b, middle)
        return np.exp((a + b) / 2)

    return level
