"""Fields in two parts beside methods that take them whole: CPU seconds at the same error.

python benchmarks/imex.py [--quick]
"""

from __future__ import annotations

import one_thread  # noqa: F401  before the libraries that read its settings

# isort: split
import argparse
import math
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import large_systems
import numpy as np
import scipy.sparse as sp
import torch
import work_precision as wp
from scipy.integrate import solve_ivp

import stiffguide as sg

RTOLS = (1e-2, 1e-3, 1e-4, 1e-5)
ATOL = 1e-2  # of rtol
ROUNDS, LONG = 3, 0.5  # CPU seconds of a run that is timed but once
PATIENCE = 5.0  # CPU seconds: whose run takes longer is stopped, and asked for nothing tighter
EXACT = 1e-9
Array = Any


class Parted(NamedTuple):
    """A system in two parts: as torch users write it, and whole for scipy."""

    name: str
    explicit: Callable[[Any, Any], Any]
    implicit: Callable[[Any, Any], Any]
    numpy_field: Callable[[float, Array], Array]
    stiff: Any  # the matrix of the implicit part
    y0: Array
    t1: float
    error: float  # that contenders are compared at

    def whole(self, t: Any, y: Any) -> Any:
        return self.explicit(t, y) + self.implicit(t, y)


def burgers(points: int, nu: float = 0.01) -> Parted:
    """u_t + u u_x = nu u_xx on a ring, in Fourier space: real and imaginary parts in turn."""
    modes = np.arange(points // 2 + 1)
    k, keep = 2 * np.pi * modes, modes <= points // 3
    slope, decay = -0.5j * k * keep, np.repeat(-nu * k**2, 2)
    tslope, tdecay = torch.from_numpy(slope), torch.from_numpy(decay)

    def explicit(t: Any, y: Any) -> Any:
        u = torch.fft.irfft(torch.view_as_complex(y.reshape(-1, 2)), points, norm="forward")
        return torch.view_as_real(tslope * torch.fft.rfft(u * u, norm="forward")).flatten()

    def implicit(t: Any, y: Any) -> Any:
        return tdecay * y

    def g(t: float, y: Array) -> Array:
        u = np.fft.irfft(np.ascontiguousarray(y).view(complex), points, norm="forward")
        return decay * y + (slope * np.fft.rfft(u * u, norm="forward")).view(float)

    x = np.arange(points) / points
    u0 = np.sin(2 * np.pi * x) + 0.5 * np.sin(4 * np.pi * x + 1)
    y0 = (np.fft.rfft(u0, norm="forward") * keep).view(float)
    name = f"Burgers in Fourier space, {len(y0):,}"
    return Parted(name, explicit, implicit, g, sp.diags(decay).tocsc(), y0, 0.5, 1e-5)


def crowd(points: int, length: float = 40.0, reach: float = 2.0) -> Parted:
    """Fisher's equation whose growth is held back by all within reach, without flux at the ends."""
    h = length / points
    x = h * np.arange(points)
    kernel = np.exp(-np.minimum(x, length - x) / reach)
    weights = np.fft.rfft(kernel / kernel.sum())
    tweights, a = torch.from_numpy(weights), 1 / h**2

    def explicit(t: Any, y: Any) -> Any:
        return 2 * y * (1 - torch.fft.irfft(tweights * torch.fft.rfft(y), points))

    def implicit(t: Any, y: Any) -> Any:
        q = torch.cat((y[1:2], y, y[-2:-1]))
        return a * (q[2:] + q[:-2] - 2 * y)

    def g(t: float, y: Array) -> Array:
        q = np.concatenate((y[1:2], y, y[-2:-1]))
        near = a * (q[2:] + q[:-2] - 2 * y)
        return near + 2 * y * (1 - np.fft.irfft(weights * np.fft.rfft(y), points))

    stiff = sp.diags([a, -2 * a, a], [-1, 0, 1], shape=(points, points)).tolil()
    stiff[0, 1] = stiff[-1, -2] = 2 * a
    y0 = 0.5 * np.exp(-((x - 5) ** 2))
    name = f"Nonlocal Fisher, {points:,}"
    return Parted(name, explicit, implicit, g, stiff.tocsc(), y0, 10.0, 1e-3)


def torus(n: int) -> Parted:
    """The Brusselator on a torus: a sparse Jacobian, which methods for all of f find, too."""
    a = 0.1 * n * n

    def explicit(t: Any, y: Any) -> Any:
        u, v = y.reshape(2, n, n)
        made = u * (3.4 - u * v)
        return torch.stack((1 - u - made, made)).flatten()

    def implicit(t: Any, y: Any) -> Any:
        w = y.reshape(2, n, n)
        near = w.roll(1, -1) + w.roll(-1, -1) + w.roll(1, -2) + w.roll(-1, -2)
        return (a * (near - 4 * w)).flatten()

    ring = sp.diags([1.0] * 4, [-n + 1, -1, 1, n - 1], shape=(n, n))
    eye = sp.identity(n)
    plane = sp.kron(ring, eye) + sp.kron(eye, ring) - 4 * sp.identity(n * n)
    stiff = sp.kron(sp.identity(2), a * plane)
    whole = large_systems.torus(n)
    parts = explicit, implicit, whole.numpy_field, stiff.tocsc()
    return Parted(whole.name, *parts, whole.y0, whole.t1, 1e-6)


def ours(method: str, p: Parted, rtol: float, **more: Any) -> Array:
    """A solve with the field whole."""
    y0 = torch.from_numpy(p.y0)
    chosen = {"method": method, "rtol": rtol, "atol": ATOL * rtol, **more}
    return sg.solve(p.whole, y0, 0.0, p.t1, **chosen).raise_if_failed().y[-1].numpy()


def pair(method: str, p: Parted, rtol: float) -> Array:
    """A solve with the field in two parts."""
    f, y0 = (p.explicit, p.implicit), torch.from_numpy(p.y0)
    found = sg.solve(f, y0, 0.0, p.t1, method=method, rtol=rtol, atol=ATOL * rtol)
    return found.raise_if_failed().y[-1].numpy()


def half(p: Parted, rtol: float) -> Array:
    """A solve with the field whole, and the Jacobian of its stiff part in place of its own."""
    return ours("bdf", p, rtol, jac=p.stiff, checks=False)


def scipy(method: str, p: Parted, rtol: float) -> Array:
    """A solve by scipy, which is told nothing."""
    chosen = {"method": method, "rtol": rtol, "atol": ATOL * rtol, "t_eval": [p.t1]}
    done = solve_ivp(p.numpy_field, (0.0, p.t1), p.y0, **chosen)
    assert done.success, done.message
    return done.y[:, -1]


CONTENDERS: dict[str, Callable[[Parted, float], Array]] = (
    {f"{m}, two parts": partial(pair, m) for m in ("kencarp3", "kencarp4", "kencarp5")}
    | {m: partial(ours, m) for m in ("bdf", "kvaerno5", "rodas5p", "rkc2", "auto")}
    | {"bdf, jac of the stiff part": half}
    | {f"scipy {m}": partial(scipy, m) for m in ("BDF", "Radau", "LSODA")}
)


class Late(Exception):
    """A run took too long."""


def late(*_: Any) -> None:
    raise Late


def timed(solve: Callable[[Parted, float], Array], p: Parted, rtol: float) -> tuple[float, Array]:
    """CPU seconds, and the end."""
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
    began = time.process_time()
    try:
        found = solve(p, rtol)
        return time.process_time() - began, found
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def measured(p: Parted, rtols: tuple[float, ...], rounds: int) -> list[wp.Curve]:
    """Every contender at every tolerance, as long as it is not late."""
    exact = pair("kencarp5", p, EXACT)
    curves = []
    for name, solve in CONTENDERS.items():
        curve = wp.Curve(name, ours=not name.startswith("scipy"))
        curves.append(curve)
        for rtol in rtols:
            try:
                seconds, found = timed(solve, p, rtol)
                more = rounds if seconds < LONG else 0  # the first run imports and compiles
                spent = sorted(timed(solve, p, rtol)[0] for _ in range(more)) or [seconds]
            except (Late, sg.UnsupportedError, AssertionError, RuntimeError) as error:
                print(f"{p.name} {rtol:g} {name}: {type(error).__name__} {error}", flush=True)
                break
            error = float(np.abs(found - exact).max() / np.abs(exact).max())
            curve.points.append(wp.Point(rtol, spent[len(spent) // 2], error))
            print(
                f"{p.name} {rtol:g} {name}: {spent[len(spent) // 2]:.3g} s, {error:.1e}", flush=True
            )
    return curves


def table(p: Parted, curves: list[wp.Curve]) -> str:
    """CPU seconds at one error, and in parts of those of the best pair."""
    found = {c.name: wp.matched(c.points, p.error) if c.points else None for c in curves}
    best = min(m.seconds for n, m in found.items() if m and n.endswith("two parts"))
    late = {c.name for c in curves if not c.points}
    lines = [f"| {p.name} unknowns, error {p.error:g} | seconds | of the best pair |"]
    lines.append("| :--- | ---: | ---: |")
    for name, m in found.items():
        if m is None or not math.isfinite(m.seconds):
            lines.append(f"| {name} | {f'more than {PATIENCE:g}' if name in late else '-'} | |")
        else:
            mark = "*" * m.beyond
            lines.append(f"| {name} | {m.seconds:.3g}{mark} | {m.seconds / best:.2f}{mark} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small systems, two tolerances")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    signal.signal(signal.SIGPROF, late)
    rtols, rounds = ((1e-3, 1e-4), 1) if quick else (RTOLS, ROUNDS)
    problems = [burgers(64), crowd(100)] if quick else [burgers(1024), crowd(2000), torus(64)]
    for text in [table(p, measured(p, rtols, rounds)) for p in problems]:
        print("\n" + text)


if __name__ == "__main__":
    main()
