"""Stiff problems, one at a time and ten thousand at once, beside other solvers in the same run.

    python benchmarks/stiff.py --out docs/stiff_benchmark.md

CPU time (median) and error max|dy|/max|y| at the end for one tolerance. Errors at equal rtol differ
between solvers: read both numbers. The others make their own Jacobian by differences; we have
autograd in eager mode and derive it in the kernels. CVODE takes part where scikit-sundae is there.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.integrate import solve_ivp

import stiffguide as sg
from stiffguide.adapters.diffusion.curves import markdown

Array = np.ndarray[Any, Any]
RTOL, ROUNDS = 1e-6, 5
ROWS = 10_000


def robertson(t: float, y: Array) -> list[float]:
    a, b, c = y
    slow, fast, back = 0.04 * a, 3e7 * b * b, 1e4 * b * c
    return [back - slow, slow - back - fast, fast]


def van_der_pol(t: float, y: Array) -> list[float]:
    return [y[1], 1000 * (1 - y[0] * y[0]) * y[1] - y[0]]


def orego(t: float, y: Array) -> list[float]:
    a, b, c = y
    return [77.27 * (b + a * (1 - 8.375e-6 * a - b)), (c - (1 + a) * b) / 77.27, 0.161 * (a - c)]


def hires(t: float, y: Array) -> list[float]:
    a, b, c, d, e, f, g, h = y
    bound = 280.0 * f * h
    return [
        -1.71 * a + 0.43 * b + 8.32 * c + 0.0007,
        1.71 * a - 8.75 * b,
        -10.03 * c + 0.43 * d + 0.035 * e,
        8.32 * b + 1.71 * c - 1.12 * d,
        -1.745 * e + 0.43 * f + 0.43 * g,
        -bound + 0.69 * d + 1.71 * e - 0.43 * f + 0.69 * g,
        bound - 1.81 * g,
        -bound + 1.81 * g,
    ]


CASES = {"robertson": robertson, "van_der_pol": van_der_pol, "hires": hires, "orego": orego}


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Median CPU milliseconds, after one run that does not count, and the result."""
    found = run()
    spent = []
    for _ in range(ROUNDS):
        before = time.process_time()
        run()
        spent.append(time.process_time() - before)
    return statistics.median(spent) * 1e3, found


def contenders(name: str) -> dict[str, Callable[[], Array]]:
    """Solvers of one problem: each returns the state at the end."""
    p, rhs = sg.problems.get(name), CASES[name]
    atol = 1e-10 if name == "robertson" else 1e-8
    y0 = p.y0.numpy()

    def ours(backend: str, method: str) -> Callable[[], Array]:
        return lambda: (
            sg.solve(p.f, p.y0, p.t0, p.t1, method=method, rtol=RTOL, atol=atol, backend=backend)
            .raise_if_failed()
            .y[-1]
            .numpy()
        )

    def scipy(method: str) -> Callable[[], Array]:
        return lambda: solve_ivp(rhs, (p.t0, p.t1), y0, method, rtol=RTOL, atol=atol).y[:, -1]

    made = {
        "stiffguide rodas5p, kernel": ours("kernel", "rodas5p"),
        "stiffguide rodas4, kernel": ours("kernel", "rodas4"),
        "stiffguide rodas5p, eager": ours("eager", "rodas5p"),
        "scipy LSODA": scipy("LSODA"),
        "scipy BDF": scipy("BDF"),
        "scipy Radau": scipy("Radau"),
    }
    try:
        from sksundae.cvode import CVODE
    except ImportError:
        return made

    def fill(t: float, y: Array, out: Array) -> None:
        out[:] = rhs(t, y)

    solver = CVODE(fill, rtol=RTOL, atol=atol, method="BDF", max_num_steps=100_000)
    return made | {"CVODE (scikit-sundae)": lambda: solver.solve((p.t0, p.t1), y0).y[-1]}


def single() -> str:
    """CPU ms (error) of every contender on every problem."""
    found: dict[str, dict[str, str]] = {}
    for name in CASES:
        reference = np.array(sg.problems.get(name).reference)
        for who, run in contenders(name).items():
            spent, y = timed(run)
            error = np.abs(y - reference).max() / np.abs(reference).max()
            found.setdefault(who, {})[name] = f"{spent:.3g} ({error:.0e})"
    lines = [[who, *(cells.get(name, "") for name in CASES)] for who, cells in found.items()]
    return markdown(["CPU ms (error)", *CASES], lines)


def batch() -> str:
    """Robertson's problem to 1e4 with rate constants of its own in every row."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.randn(ROWS, 3, dtype=torch.float64, generator=generator)
    k = torch.tensor([0.04, 3e7, 1e4], dtype=torch.float64) * torch.exp(0.3 * spread)
    y0 = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64).expand(ROWS, 3)
    lines = []
    for backend in ("kernel", "eager"):
        spent, _ = timed(
            lambda backend=backend: sg.solve(  # type: ignore[misc]
                *(sg.problems.robertson_field, y0, 0.0, 1e4),
                **{"args": (k,), "batched": True, "rtol": RTOL, "backend": backend},
            ).raise_if_failed()
        )
        lines.append([f"stiffguide rodas5p, {backend}", f"{ROWS / spent * 1e3:,.0f}"])
    few = k[:20].numpy()

    def loop() -> None:
        for a, b, c in few:
            solve_ivp(
                lambda t, y, a=a, b=b, c=c: [  # type: ignore[misc]
                    c * y[1] * y[2] - a * y[0],
                    a * y[0] - c * y[1] * y[2] - b * y[1] ** 2,
                    b * y[1] ** 2,
                ],
                (0, 1e4),
                [1.0, 0.0, 0.0],
                "LSODA",
                rtol=RTOL,
                atol=1e-9,
            )

    spent, _ = timed(loop)
    lines.append(["scipy LSODA, in a loop", f"{len(few) / spent * 1e3:,.0f}"])
    return markdown([f"{ROWS:,} Robertson problems", "problems per CPU second"], lines)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    where = parser.parse_args().out
    torch.set_num_threads(1)
    text = (
        "# Stiff problems, measured\n\nWritten by `benchmarks/stiff.py`, one thread, "
        f"rtol = {RTOL:g}; median CPU time of {ROUNDS} runs, building a kernel not counted.\n\n"
        f"{single()}\n\n{batch()}\n"
    )
    print(text)
    if where is not None:
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
