"""Rates of Robertson's reaction from noisy data, beside SciPy, and how often intervals are right.

    python benchmarks/fitting.py

The data are 20 times of three species with noise of 1 % of their scale. Both sides start from the
same points, up to a decade off each way, and go by residuals at the same tolerances. CPU time, one
thread, in one process; stiffguide's kernel is built before.
"""

from __future__ import annotations

import one_thread  # noqa: F401  before the libraries that read its settings

# isort: split
import argparse
import dataclasses
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares
from scipy.stats import t as student
from torch import Tensor

import stiffguide as sg
from stiffguide.fitting.levenberg_marquardt import Aims, Box, minimise
from stiffguide.fitting.uncertainty import intervals, uncertainty
from stiffguide.problems.robertson import RATES, robertson_field

F64 = torch.float64
Y0 = torch.tensor([1.0, 0.0, 0.0], dtype=F64)
TIMES = torch.logspace(-5, 2, 20, dtype=F64)
SCALE = torch.tensor([1.0, 3e-5, 1.0], dtype=F64)
ATOL = torch.tensor([1e-8, 1e-12, 1e-8], dtype=F64)
TRUE = torch.tensor(RATES, dtype=F64)
NOISE, RTOL = 0.01, 1e-6


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds, and what came of them."""
    began = time.process_time()
    found = call()
    return time.process_time() - began, found


@cache
def truth() -> Tensor:
    """The states at the times of the data (20, 3)."""
    how = {"save_at": TIMES, "rtol": 1e-8, "atol": ATOL * 1e-2}
    return sg.solve(robertson_field, Y0, 0.0, 100.0, args=(TRUE,), **how).y


def noisy(seed: int, *sets: int) -> Tensor:
    """Data (*sets, 20, 3)."""
    draw = torch.Generator().manual_seed(seed)
    return truth() + NOISE * SCALE * torch.randn(*sets, 20, 3, generator=draw, dtype=F64)


def ours(data: Tensor, restarts: int) -> sg.Fit:
    """A fit from starts around the true rates."""
    how = {"sigma": NOISE * SCALE, "rtol": RTOL, "atol": ATOL, "restarts": restarts}
    return sg.fit(robertson_field, Y0, TIMES, data, TRUE, backend="kernel", **how)


def scipys(data: Tensor, starts: np.ndarray[Any, Any]) -> list[float]:
    """The costs at the ends of a loop of `least_squares` over LSODA."""
    times, sigma = TIMES.numpy(), (NOISE * SCALE).numpy()

    def f(_: float, y: Any, k1: float, k2: float, k3: float) -> list[float]:
        lost, made = k1 * y[0] - k3 * y[1] * y[2], k2 * y[1] ** 2
        return [-lost, lost - made, made]

    def residuals(u: Any) -> Any:
        how = {"t_eval": times, "args": tuple(np.exp(u)), "rtol": RTOL, "atol": ATOL.numpy()}
        found = solve_ivp(f, (0.0, 100.0), Y0.numpy(), method="LSODA", **how)
        return ((found.y.T - data.numpy()) / sigma).ravel() if found.success else np.full(60, 1e5)

    ends = [least_squares(residuals, u, method="lm", diff_step=1e-4) for u in starts]
    return [2 * end.cost for end in ends]


def coverage(sets: int, level: float) -> Tensor:
    """How often intervals of each rate (3,) hold the truth, over sets of data in one batch."""
    data = noisy(1, sets)
    model = ours(data[0], 1).written.model
    model = dataclasses.replace(model, target=data.reshape(sets, -1))
    u = model.parameters.coordinates(TRUE)
    ends = torch.full((3,), torch.inf, dtype=F64)
    aims = Aims(1e-8, torch.zeros(sets, dtype=F64), torch.full((3,), 2.0, dtype=F64))
    found = minimise(model, u.expand(sets, -1).clone(), Box(-ends, ends), aims)
    at, none = model(found.u, torch.arange(sets)), torch.zeros(3) > 0
    width, inside = float(student.ppf((1 + level) / 2, 57)), torch.zeros(3)
    for j, cost, own in zip(at.jacobian, found.cost.tolist(), found.u, strict=True):
        known = uncertainty(j, cost, torch.ones(3), none, absolute=False, rtol=RTOL)
        low, high = intervals(own, known.covariance, width)
        inside += (low <= u) & (high >= u)
    return inside / sets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--restarts", type=int, default=1000)
    parser.add_argument("--few", type=int, default=5, help="restarts of SciPy")
    parser.add_argument("--sets", type=int, default=2000, help="of data, for the coverage")
    asked = parser.parse_args()
    data = noisy(0)
    first, _ = timed(lambda: ours(data, 8))
    spent, fit = timed(lambda: ours(data, asked.restarts))
    print(f"build and first fit {first:.2f} s; then {asked.restarts} restarts {spent:.3f} s")
    print(fit)
    draw = np.random.default_rng(0).uniform(-1, 1, (asked.few, 3))
    starts = np.log(TRUE.numpy()) + np.log(10) * draw
    theirs, costs = timed(lambda: scipys(data, starts))
    each, their_own = spent / asked.restarts, theirs / asked.few
    ratio = their_own / each
    print(f"a restart: {1e3 * each:.3f} ms, of SciPy {1e3 * their_own:.0f} ms: {ratio:.0f}x")
    print(f"SciPy's costs: {', '.join(f'{cost:.6g}' for cost in costs)}")
    spent, share = timed(lambda: coverage(asked.sets, 0.95))
    shown = ", ".join(f"{100 * x:.1f} %" for x in share.tolist())
    print(f"95 % intervals hold the truth in {shown} of {asked.sets} sets of data ({spent:.1f} s)")


if __name__ == "__main__":
    main()
