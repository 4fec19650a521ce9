"""Grids and networks of a thousand unknowns and more, beside SciPy with the pattern given to it.

python benchmarks/large_systems.py --out docs/large_systems_benchmark.md
"""

from __future__ import annotations

import one_thread  # noqa: F401  before the libraries that read its settings

# isort: split
import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
import work_precision as wp
from scipy.integrate import solve_ivp

import stiffguide as sg

RTOLS = (1e-4, 1e-5, 1e-6, 1e-7)
ATOL = 1e-2  # of rtol
ROUNDS, LONG = 3, 2.0  # CPU seconds of a run that is timed but once
Array = Any
METHODS = ("bdf", "kvaerno5", "kencarp4")
REFERENCE = "scipy BDF"
TEXT = """\
# Large systems

Written by `python benchmarks/large_systems.py --out docs/large_systems_benchmark.md`. stiffguide
gets a torch field as its users write it and no word of its sparsity: `solve(f, y0, 0.0, t1,
method=..., rtol=..., atol=...)`. SciPy's `solve_ivp` gets the same field in numpy and the pattern
as `jac_sparsity`. CPU time of whole calls, one thread, contenders taken in turn in one process, the
median of up to {rounds} runs; what is kept between calls (imports, compiled loops) is made before,
the pattern is found anew in every call. The absolute tolerance is rtol times {atol:g}. The error is
max|dy| / max|y| at the end, beside `kvaerno5` at rtol = {exact:g}. Left out: SciPy's Radau,
which at 10,000 unknowns and rtol = 1e-3 takes 50 times as long as its BDF.

{sections}
"""


class Large(NamedTuple):
    """A system: as torch users write it, as scipy users do, and its pattern."""

    name: str
    torch_field: Callable[[Any, Any], Any]
    numpy_field: Callable[[float, Array], Array]
    y0: Array
    t1: float
    pattern: Any
    tightest: float = 1e-6


def line(points: int) -> Large:
    """The Brusselator on an interval, (u, v) at every point."""
    a = (points + 1) ** 2 / 50.0

    def f(t: Any, y: Any) -> Any:
        u, v = y[0::2], y[1::2]
        pu, pv = F.pad(u, (1, 1), value=1.0), F.pad(v, (1, 1), value=3.0)
        made = u * (3 - u * v)
        du = (1 - u - made) + a * (pu[2:] + pu[:-2] - 2 * u)
        dv = made + a * (pv[2:] + pv[:-2] - 2 * v)
        return torch.stack((du, dv), -1).flatten()

    def g(t: float, y: Array) -> Array:
        u, v = y[0::2], y[1::2]
        pu, pv = np.concatenate(([1.0], u, [1.0])), np.concatenate(([3.0], v, [3.0]))
        made, out = u * (3 - u * v), np.empty_like(y)
        out[0::2] = (1 - u - made) + a * (pu[2:] + pu[:-2] - 2 * u)
        out[1::2] = made + a * (pv[2:] + pv[:-2] - 2 * v)
        return out

    x = np.arange(1, points + 1) / (points + 1)
    y0 = np.stack((1 + np.sin(2 * np.pi * x), np.full(points, 3.0)), -1).ravel()
    near = sp.diags([1.0, 1.0, 1.0], [-1, 0, 1], shape=(points, points))
    pattern = sp.kron(near, np.eye(2)) + sp.kron(sp.identity(points), np.ones((2, 2)))
    return Large(f"Brusselator on an interval, {2 * points:,}", f, g, y0, 10.0, pattern, 1e-7)


def ring(n: int) -> Any:
    """Neighbours on a torus (n^2, n^2)."""
    one = sp.diags([1.0] * 5, [-n + 1, -1, 0, 1, n - 1], shape=(n, n))
    eye = sp.identity(n)
    return sp.kron(eye, one) + sp.kron(one, eye)


def torus(n: int) -> Large:
    """The Brusselator on a torus, all of u and then all of v."""
    a = 0.1 * n * n

    def f(t: Any, y: Any) -> Any:
        w = y.reshape(2, n, n)
        u, v = w
        laplace = w.roll(1, -1) + w.roll(-1, -1) + w.roll(1, -2) + w.roll(-1, -2) - 4 * w
        made = u * (3.4 - u * v)
        return (torch.stack((1 - u - made, made)) + a * laplace).flatten()

    def g(t: float, y: Array) -> Array:
        w = y.reshape(2, n, n)
        u, v = w
        laplace = np.roll(w, 1, -1) + np.roll(w, -1, -1) + np.roll(w, 1, -2) + np.roll(w, -1, -2)
        made, out = u * (3.4 - u * v), a * (laplace - 4 * w)
        out[0] += 1 - u - made
        out[1] += made
        return out.ravel()

    x = np.arange(n) / n
    u, v = 22 * x * (1 - x) ** 1.5, 27 * x * (1 - x) ** 1.5
    y0 = np.stack((u[:, None] + np.zeros((n, n)), v[None, :] + np.zeros((n, n)))).ravel()
    near, eye = ring(n), sp.identity(n * n)
    pattern = sp.bmat([[near, eye], [eye, near]])
    return Large(f"Brusselator on a torus, {2 * n * n:,}", f, g, y0, 2.0, pattern, 1e-5)


def spots(n: int) -> Large:
    """Gray and Scott's system by a convolution."""
    du, dv, feed, kill = 0.16, 0.08, 0.035, 0.060
    cross = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    kernel = cross.expand(2, 1, 3, 3)

    def f(t: Any, y: Any) -> Any:
        w = y.reshape(1, 2, n, n)
        laplace = F.conv2d(F.pad(w, (1, 1, 1, 1), mode="circular"), kernel, groups=2)[0]
        u, v = w[0]
        eaten = u * v**2
        left = du * laplace[0] - eaten + feed * (1 - u)
        return torch.stack((left, dv * laplace[1] + eaten - (feed + kill) * v)).flatten()

    def g(t: float, y: Array) -> Array:
        w = y.reshape(2, n, n)
        u, v = w
        around = np.roll(w, 1, -1) + np.roll(w, -1, -1) + np.roll(w, 1, -2) + np.roll(w, -1, -2)
        laplace, eaten = around - 4 * w, u * v**2
        left = du * laplace[0] - eaten + feed * (1 - u)
        return np.stack((left, dv * laplace[1] + eaten - (feed + kill) * v)).ravel()

    draw = np.random.default_rng(3)
    w = np.stack((np.ones((n, n)), np.zeros((n, n))))
    middle = slice(3 * n // 8, 5 * n // 8)
    w[0, middle, middle], w[1, middle, middle] = 0.5, 0.25
    w += 0.01 * draw.random(w.shape)
    near, eye = ring(n), sp.identity(n * n)
    pattern = sp.bmat([[near, eye], [eye, near]])
    return Large(f"Gray-Scott, {2 * n * n:,}", f, g, w.ravel(), 200.0, pattern, 1e-5)


def walls(n: int) -> Large:
    """Allen and Cahn's equation with walls that nothing passes."""
    eps, h2 = 0.02, (n - 1.0) ** 2

    def f(t: Any, y: Any) -> Any:
        w = y.reshape(n, n)
        rows = torch.cat((w[:1], w, w[-1:]))
        columns = torch.cat((w[:, :1], w, w[:, -1:]), 1)
        laplace = rows[2:] + rows[:-2] + columns[:, 2:] + columns[:, :-2] - 4 * w
        return (eps**2 * h2 * laplace + w - w**3).flatten()

    def g(t: float, y: Array) -> Array:
        w = y.reshape(n, n)
        p = np.pad(w, 1, mode="edge")
        laplace = p[2:, 1:-1] + p[:-2, 1:-1] + p[1:-1, 2:] + p[1:-1, :-2] - 4 * w
        return (eps**2 * h2 * laplace + w - w**3).ravel()

    y0 = 0.1 * np.random.default_rng(1).standard_normal(n * n)
    near, eye = sp.diags([1.0, 1.0, 1.0], [-1, 0, 1], shape=(n, n)), sp.identity(n)
    pattern = sp.kron(eye, near) + sp.kron(near, eye)
    return Large(f"Allen-Cahn, {n * n:,}", f, g, y0, 5.0, pattern, 1e-5)


def network(species: int = 500, reactions: int = 1500) -> Large:
    """Mass action between species drawn at random, rates over ten decades."""
    draw = np.random.default_rng(0)

    def drawn() -> Array:
        hubs = draw.random(reactions) < 0.05
        return np.where(hubs, draw.integers(0, 12, reactions), draw.integers(0, species, reactions))

    a, b, c, d = drawn(), drawn(), drawn(), drawn()
    alone, k = draw.random(reactions) < 0.5, 10 ** draw.uniform(-6, 4, reactions)
    ta, tb, tc, td, talone, tk = map(torch.from_numpy, (a, b, c, d, alone, k))

    def f(t: Any, y: Any) -> Any:
        r = tk * y[ta] * torch.where(talone, torch.ones_like(tk), y[tb])
        both = torch.where(talone, torch.zeros_like(r), r)
        out = torch.zeros_like(y).index_add(0, tc, r).index_add(0, ta, -r)
        return out.index_add(0, td, both).index_add(0, tb, -both)

    def g(t: float, y: Array) -> Array:
        r = k * y[a] * np.where(alone, 1.0, y[b])
        both = np.where(alone, 0.0, r)
        count = partial(np.bincount, minlength=species)
        return count(c, r) - count(a, r) + count(d, both) - count(b, both)

    pairs = ~alone
    i = np.concatenate((c, a, c[pairs], a[pairs], d[pairs], b[pairs], d[pairs], b[pairs]))
    by_b = [b[pairs]] * 2
    by_a = [a[pairs]] * 2
    j = np.concatenate((a, a, *by_b, *by_a, *by_b))
    pattern = sp.coo_matrix((np.ones(len(i)), (i, j)), shape=(species, species))
    y0 = 10 ** draw.uniform(-3, 0, species)
    return Large(f"Network, {species:,}", f, g, y0, 10.0, pattern + sp.identity(species), 1e-6)


def ours(method: str, p: Large, rtol: float) -> Array:
    """A solve as a user asks for it."""
    done = sg.solve(
        p.torch_field,
        torch.from_numpy(p.y0),
        0.0,
        p.t1,
        method=method,
        rtol=rtol,
        atol=ATOL * rtol,
    )
    return done.raise_if_failed().y[-1].numpy()


def scipy(method: str, p: Large, rtol: float) -> Array:
    """A solve that was told of the pattern."""
    done = solve_ivp(
        p.numpy_field,
        (0.0, p.t1),
        p.y0,
        method,
        rtol=rtol,
        atol=ATOL * rtol,
        jac_sparsity=sp.csc_matrix(p.pattern),
        t_eval=[p.t1],
    )
    assert done.success, done.message
    return done.y[:, -1]


CONTENDERS: dict[str, Callable[[Large, float], Array]] = {
    f"stiffguide {m}": partial(ours, m) for m in METHODS
} | {REFERENCE: partial(scipy, "BDF")}
EXACT = 1e-9


def measured(p: Large, rtols: tuple[float, ...], rounds: int) -> list[wp.Curve]:
    """Every contender at every tolerance."""
    exact = ours("kvaerno5", p, max(EXACT, 1e-3 * min(rtols)))
    curves = [wp.Curve(name, ours=name.startswith("stiffguide")) for name in CONTENDERS]
    for rtol in [r for r in rtols if r >= 0.9 * p.tightest]:
        spent: list[list[float]] = [[] for _ in curves]
        errors = [0.0] * len(curves)
        for again in range(rounds + 1):
            for k, solve in enumerate(CONTENDERS.values()):
                if again > 1 and spent[k] and max(spent[k]) > LONG:
                    continue
                began = time.process_time()
                found = solve(p, rtol)
                seconds = time.process_time() - began
                errors[k] = float(np.abs(found - exact).max() / np.abs(exact).max())
                if again or seconds > LONG:  # the first run imports and compiles
                    spent[k].append(seconds)
        for curve, seconds_of, error in zip(curves, spent, errors, strict=True):
            curve.points.append(wp.Point(rtol, statistics.median(seconds_of), max(error, 1e-17)))
            print(f"{p.name} {rtol:g} {curve.name}: {curve.points[-1].seconds:.3g} s, {error:.1e}")
    return curves


def section(p: Large, curves: list[wp.Curve]) -> str:
    """The tables of a problem."""
    named = {c.name: c for c in curves}
    tightest = named[REFERENCE].points[-1]
    lines = []
    base = wp.matched(named[REFERENCE].points, tightest.error)
    assert base is not None
    for name, curve in named.items():
        one = wp.matched(curve.points, tightest.error)
        if one is None:
            lines.append(f"| {name} | - | - |")
            continue
        mark = "*" * one.beyond
        lines.append(
            f"| {name} | {one.seconds:.3g}{mark} | {one.seconds / base.seconds:.2f}{mark} |"
        )
    table = [
        f"| {points[0].rtol:.0e} | "
        + " | ".join(f"{1e3 * x.seconds:.4g} ({x.error:.0e})" for x in points)
        + " |"
        for points in zip(*(c.points for c in curves), strict=True)
    ]
    return "\n".join(
        (
            f"## {p.name} unknowns\n",
            f"At the error of `{REFERENCE}` at rtol = {tightest.rtol:g}, {tightest.error:.1e}: CPU",
            f"seconds, and in parts of those of `{REFERENCE}`. `*` marks an error outside those",
            "measured.\n",
            f"| | seconds | of {REFERENCE} |\n| --- | --- | --- |",
            *lines,
            "\nMilliseconds, and in brackets the error.\n",
            "| rtol | " + " | ".join(named) + " |",
            "| --- | " + " | ".join("---" for _ in named) + " |",
            *table,
        )
    )


def problems(*, quick: bool) -> list[Large]:
    """All of them, or small ones."""
    if quick:
        return [line(40), network(60, 150)]
    return [line(500), line(5000), torus(64), walls(64), spots(64), network()]


def main() -> None:
    """Measure, print, and write the page if a place is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true", help="small systems, two tolerances")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    quick = chosen.quick
    rtols, rounds = ((1e-2, 1e-3), 1) if quick else (RTOLS, ROUNDS)
    found = [section(p, measured(p, rtols, rounds)) for p in problems(quick=quick)]
    page = TEXT.format(rounds=ROUNDS, atol=ATOL, exact=EXACT, sections="\n\n".join(found))
    print(page)
    if chosen.out is not None:
        chosen.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
