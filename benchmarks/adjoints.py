"""Value and gradient of one number, a loss: kernels beside their own solve, and beside diffrax.

    python benchmarks/adjoints.py                 # what a gradient costs beside the solve
    python benchmarks/adjoints.py diffrax         # Robertson at matched error (needs diffrax)

CPU time of one thread. The loss is a weighted sum of the states at the end, or at 20 times; its
gradient is by the start and by all rates. Rates are spread by 10 % over the rows; times are medians
of runs that take turns.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import one_thread  # noqa: F401  before the libraries that read its settings
import torch
from gradients import TIMES, Case, cases, medians, spread
from torch import Tensor

import stiffguide as sg
from stiffguide.adapters.diffusion.curves import markdown

D = torch.float64
ROWS = 100  # of diffrax, under vmap
FINE = 1e-11  # rtol of the reference


def ways(case: Case, method: str, save_at: Tensor | None, **given: Any) -> dict[str, Callable]:
    """The solve, and the solve with its gradient."""
    k = spread(case)
    y0 = case.y0.expand(case.rows, -1).contiguous()
    settings = {"batched": True, "method": method, "backend": "kernel", "save_at": save_at}
    settings |= {"atol": case.atol, **given}

    def plain() -> Tensor:
        with torch.no_grad():
            return sg.solve(case.f, y0, 0.0, case.t1, args=(k,), **settings).y

    weights = 1 / plain().abs().mean((0, 1))

    def both() -> tuple[Tensor, ...]:
        leaves = y0.clone().requires_grad_(), k.clone().requires_grad_()
        y = sg.solve(case.f, leaves[0], 0.0, case.t1, args=leaves[1:], **settings).y
        return torch.autograd.grad((y * weights).sum(), leaves)

    return {"plain": plain, "both": both}


def costs() -> str:
    """A table: how many solves a gradient takes."""
    lines = []
    known = cases()
    for name, method in (
        *((name, "rodas5p") for name in known),
        *((name, "kvaerno5") for name in known),
    ):
        case = known[name]
        for kept, save_at in (("end", None), (f"{TIMES} times", torch.linspace(0, case.t1, TIMES))):
            cost = medians(ways(case, method, save_at))
            ratio, rate = cost["both"] / cost["plain"], case.rows / cost["both"]
            each = f"{1e6 * cost['plain'] / case.rows:.1f}"
            what = f"{name}, {len(case.rates)} rates, {case.rows} rows"
            lines.append([what, method, kept, each, f"{ratio:.1f}", f"{rate:,.0f}"])
    head = ["problem", "method", "kept", "solve, us a row", "with gradient, in solves"]
    return markdown([*head, "gradients a second"], lines)


class Point(NamedTuple):
    """A setting: the CPU seconds of a gradient of one row, and its error, relative."""

    name: str
    seconds: float
    error: float


def ours(case: Case) -> tuple[list[Point], Tensor]:
    """Those of kernels, and the gradient by the logarithms of the rates of the first rows."""
    k = spread(case)[:ROWS]
    tight = {"rtol": FINE, "atol": case.atol * 1e-5}
    exact = ways(case, "rodas5p", None, **tight)["both"]()[1][:ROWS] * k
    found = []
    for rtol in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9):
        both = ways(case, "rodas5p", None, rtol=rtol, atol=case.atol * rtol / 1e-6)["both"]
        gradient = both()[1][:ROWS] * k
        seconds = medians({"both": both})["both"] / case.rows
        found.append(Point(f"rodas5p, rtol {rtol:g}", seconds, distance(gradient, exact)))
    return found, exact


def distance(found: Tensor, exact: Tensor) -> float:
    """The median over rows of the largest error beside the largest entry."""
    size = exact.abs().amax(1)
    return float(((found - exact).abs().amax(1) / size).median())


def diffrax(case: Case, exact: Tensor) -> list[Point]:
    """Those of diffrax, jit and vmap over rows."""
    import diffrax as dx
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    k = jnp.asarray(spread(case)[:ROWS].numpy())
    y0 = jnp.asarray(case.y0.numpy())
    end = ways(case, "rodas5p", None)["plain"]()
    weights = jnp.asarray((1 / end.abs().mean((0, 1))).numpy())

    def field(t: Any, y: Any, k: Any) -> Any:
        lost, made = k[0] * y[0] - k[2] * y[1] * y[2], k[1] * y[1] ** 2
        return jnp.stack((-lost, lost - made, made))

    def loss(solver: Any, rtol: float, log: Any, adjoint: Any) -> Any:
        atol = jnp.asarray((case.atol * rtol / 1e-6).numpy())
        control = dx.PIDController(rtol, atol, pcoeff=0.3, icoeff=0.4)
        of = (dx.ODETerm(field), solver, 0.0, case.t1, 1e-6, y0)
        found = dx.diffeqsolve(
            *of, args=jnp.exp(log), stepsize_controller=control, max_steps=1024, adjoint=adjoint
        )
        return (found.ys[-1] * weights).sum()

    newton = dx.VeryChord(rtol=1e-4, atol=1e-8)
    recursive = dx.RecursiveCheckpointAdjoint()
    settings = {
        "Kvaerno5, 1e-4": (dx.Kvaerno5(), 1e-4),
        "Kvaerno5, 1e-6": (dx.Kvaerno5(), 1e-6),
        "Kvaerno5, 1e-4, own root finder": (dx.Kvaerno5(root_finder=newton), 1e-4),
        "Kvaerno3, 1e-4": (dx.Kvaerno3(), 1e-4),
        "Kvaerno4, 1e-5": (dx.Kvaerno4(), 1e-5),
    }
    found = []
    for name, (solver, rtol) in settings.items():
        slope = jax.grad(lambda log, s=solver, r=rtol: loss(s, r, log, recursive))
        run = jax.jit(jax.vmap(slope))
        before = time.process_time()
        gradient = torch.tensor(run(jnp.log(k)).__array__())
        first = time.process_time() - before
        seconds = medians({"run": lambda run=run: run(jnp.log(k)).block_until_ready()})["run"]
        found.append(Point(name, seconds / ROWS, distance(gradient, exact)))
        print(f"{name}: first call {first:.1f} s", file=sys.stderr)
    return found


def matched(kernels: list[Point], others: list[Point]) -> str:
    """Each of diffrax beside the cheapest of ours that is as exact."""
    lines = []
    for x in others:
        best = min((p for p in kernels if p.error <= x.error), key=lambda p: p.seconds)
        ratio = f"{x.seconds / best.seconds:.0f}"
        own = f"{best.name}: {1e6 * best.seconds:.1f} us, {best.error:.0e}"
        lines.append([x.name, f"{1e6 * x.seconds:.0f} us", f"{x.error:.0e}", own, ratio])
    return markdown(["diffrax", "a row", "error", "as exact", "times as fast"], lines)


def main() -> None:
    """Print one of the tables."""
    torch.set_num_threads(1)
    if sys.argv[1:] != ["diffrax"]:
        print(costs())
        return
    case = cases()["robertson"]
    kernels, exact = ours(case)
    print(matched(kernels, diffrax(case, exact)))


if __name__ == "__main__":
    main()
