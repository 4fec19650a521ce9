"""What `method="auto"` costs beside the better of its two methods, on problems of every kind.

Run as `python benchmarks/automatic.py`. Costs are counted in evaluations of f (a dense Jacobian is
one for each component), and CPU time is that of the whole solve, one thread, the ways taken in
turn. A method that has taken twice the attempts of `auto` is stopped: it is not the better one.
"""

from __future__ import annotations

import argparse
import itertools
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

import stiffguide as sg
from stiffguide import problems

Function = Callable[[Tensor, Tensor], Tensor]
REPEATS = {"eager": 1, "kernel": 12}  # the first of which builds, or loads


class Case(NamedTuple):
    """A problem: f for rows, a state, the end, atol at rtol 1e-8."""

    name: str
    f: Function
    y0: Tensor
    t1: float
    atol: Tensor | float


def pulses(t: Tensor, y: Tensor) -> Tensor:
    rate = 10 + 1000 * (1 + torch.tanh(20 * torch.sin(t)))
    return -rate[:, None] * (y - torch.cos(t)[:, None]) - torch.sin(t)[:, None]


def spiral(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack((-y[:, 0] - 500 * y[:, 1], 500 * y[:, 0] - y[:, 1]), -1)


def edge(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack((y[:, 1] - 30 * y[:, 0], torch.sin(5 * t) - y[:, 1]), -1)


def square(t: Tensor, y: Tensor) -> Tensor:
    return -50 * (y - torch.sign(torch.sin(3 * t))[:, None])


def driven(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack((y[:, 1], torch.sign(torch.sin(2 * t)) - y[:, 0]), -1)


def flame(t: Tensor, y: Tensor) -> Tensor:
    return y * y - y**3


def rigid(t: Tensor, y: Tensor) -> Tensor:
    a, b, c = y.unbind(-1)
    return torch.stack((-2 * b * c, 1.25 * a * c, -0.5 * a * b), -1)


def kepler(t: Tensor, y: Tensor) -> Tensor:
    r3 = (y[:, :2] ** 2).sum(-1, keepdim=True) ** 1.5
    return torch.cat((y[:, 2:], -y[:, :2] / r3), -1)


def lorenz(t: Tensor, y: Tensor) -> Tensor:
    a, b, c = y.unbind(-1)
    return torch.stack((10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c), -1)


def turning(t: Tensor, y: Tensor) -> Tensor:
    """Not stiff before t = 5, and more and more so after."""
    rate = 1 + 1e4 / (1 + torch.exp(-4 * (t - 5)))
    return torch.stack((y[:, 1], -y[:, 0], -rate * (y[:, 2] - y[:, 0])), -1)


def mildening(t: Tensor, y: Tensor) -> Tensor:
    """Stiff before t = 5, and less and less so after."""
    return turning(10 - t, y)


def heat(t: Tensor, y: Tensor) -> Tensor:
    n = y.shape[-1]
    left, right = torch.zeros_like(y[:, :1]), torch.ones_like(y[:, :1])
    z = torch.cat((left, y, right), -1)
    return (n + 1) ** 2 * (z[:, 2:] - 2 * z[:, 1:-1] + z[:, :-2])


def wave(t: Tensor, y: Tensor) -> Tensor:
    n = y.shape[-1] // 2
    u, v = y[:, :n], y[:, n:]
    z = torch.nn.functional.pad(u, (1, 1))
    return torch.cat((v, z[:, 2:] - 2 * u + z[:, :-2]), -1)


def of(problem: problems.Problem, name: str = "") -> Case:
    """A published one."""
    atol = problem.atol if isinstance(problem.atol, float) else torch.tensor(problem.atol)
    return Case(name or problem.name, problem.f, problem.y0, problem.t1, atol)


def cases() -> Iterator[Case]:
    """All of them."""
    stiff = ("robertson", "hires", "orego", "e5_reduced", "pollu", "hydrogen_ignition")
    for name in (*stiff, "lotka_volterra", "arenstorf", "brusselator"):
        yield of(problems.get(name))
    for mu in (3.0, 30.0, 100.0, 1000.0):
        yield of(problems.van_der_pol(mu), f"van_der_pol {mu:g}")
    for d in (1e-2, 1e-4):
        yield Case(f"flame {d:g}", flame, torch.tensor([d]), 2 / d, 1e-10)
    yield of(problems.brusselator_1d(20), "brusselator_1d 40")
    one, two = torch.tensor([1.0]), torch.tensor([1.0, 0.0])
    yield Case("square wave", square, 0 * one, 20.0, 1e-10)
    yield Case("driven oscillator", driven, two, 40.0, 1e-10)
    yield Case("pulsed stiffness", pulses, one, 20.0, 1e-10)
    yield Case("spiral 500i", spiral, two, 4.0, 1e-10)
    yield Case("edge -30", edge, two, 20.0, 1e-10)
    yield Case("rigid body", rigid, torch.tensor([1.0, 0.0, 0.9]), 30.0, 1e-10)
    yield Case("kepler", kepler, torch.tensor([0.4, 0.0, 0.0, 2.0]), 20.0, 1e-10)
    yield Case("lorenz", lorenz, torch.tensor([1.0, 1.0, 1.0]), 5.0, 1e-10)
    yield Case("turns stiff", turning, torch.tensor([1.0, 0.0, 1.0]), 10.0, 1e-10)
    yield Case("turns mild", mildening, torch.tensor([1.0, 0.0, 1.0]), 10.0, 1e-10)
    yield Case("heat 200", heat, torch.zeros(200), 1.0, 1e-10)
    sine = torch.sin(torch.linspace(0, 6.28, 100))
    yield Case("wave 200", wave, torch.cat((sine, 0 * sine)), 50.0, 1e-10)


class Run(NamedTuple):
    """What a solve took."""

    evaluations: float
    seconds: float
    attempts: int
    ok: bool
    y: Tensor
    stretches: int
    methods: tuple[str, ...]  # the two of them, where they are


def run(case: Case, method: str, rtol: float, backend: str, most: int = 100_000) -> Run:
    """One solve."""
    atol = case.atol * (rtol / 1e-8)
    seconds = []
    for _ in range(REPEATS[backend]):
        start = time.process_time()
        found = sg.solve(
            *(case.f, case.y0[None], 0.0, case.t1),
            **{"method": method, "rtol": rtol, "atol": atol, "batched": True},
            **{"backend": backend, "max_attempts": most, "checks": False},
        )
        seconds.append(time.process_time() - start)
    n, stats = case.y0.numel(), found.stats
    jacobian = n if "rodas5p" in found.method else 0  # else its evaluations are in nfe
    count = int(stats.nfe) + jacobian * int(stats.njac)
    attempts = int(stats.accepted + stats.rejected)
    changes = len(stats.methods[0]) - 1 if stats.methods else 0
    two = tuple(re.findall(r"\w+", found.method)[1:]) or ("tsit5", found.method)
    return Run(
        count, min(seconds), attempts, bool(found.success.all()), found.y[0, -1], changes, two
    )


def compare(case: Case, rtol: float, backend: str) -> str:
    """A line of the table."""
    found = {"auto": run(case, "auto", rtol, backend)}
    ways = ("auto", *found["auto"].methods)
    most = 2 * found["auto"].attempts * (8 + case.y0.numel()) // 6 + 100
    for way in ways[1:]:
        found[way] = run(case, way, rtol, backend, most)
    auto, pure = found["auto"], [found[way] for way in ways[1:] if found[way].ok]
    if not pure:
        return f"| {case.name} | {rtol:.0e} | neither | ok: {auto.ok} |"
    best = min(pure, key=lambda r: r.evaluations)
    count = auto.evaluations / best.evaluations
    cpu = auto.seconds / min(r.seconds for r in pure)
    costs = " | ".join(
        f"{found[w].evaluations:,.0f}" if found[w].ok else f"> {found[w].evaluations:,.0f}"
        for w in ways
    )
    change = float((auto.y - best.y).abs().max() / best.y.abs().max())
    ok = "" if auto.ok else " FAILED"
    return (
        f"| {case.name} | {rtol:.0e} | {costs} | {count:.2f} | {cpu:.2f} | "
        f"{auto.stretches} | {change:.0e}{ok} |"
    )


HEAD = """# What the method that chooses costs

Written by `python benchmarks/automatic.py --backend {backend} --out {out}`: `method="auto"` beside
the better of its two methods on {count} problems at three tolerances. Costs are evaluations of f,
where a dense Jacobian is one for each component; CPU is that of the whole solve, the least of
{repeats}. A method alone is stopped at twice the cost of `auto`, then it is not the better one
("> "). The last columns say how often the method changed, and how far the end lies from that of the
better method, relative to the largest component.

"""
COLUMNS = "| problem | rtol | auto | explicit | stiff | count | CPU | changes | difference |"


def picture(path: Path) -> None:
    """A relaxation oscillator and the steps taken through it, by method."""
    import matplotlib.pyplot as plt

    problem = problems.van_der_pol(100.0)
    found = sg.solve(
        *(problem.f, problem.y0[None], 0.0, 200.0),
        **{"batched": True, "backend": "eager", "save_at": sg.EveryStep()},
    )
    t, y = found.t[0], found.y[0, :, 0]
    figure, (above, below) = plt.subplots(2, 1, figsize=(8, 5), sharex=True)
    marks = [*found.stats.methods[0], (float(t[-1]), "")]
    colours = {"tsit5": "tab:orange", "rodas5p": "tab:blue"}
    for (begin, name), (end, _) in itertools.pairwise(marks):
        within = (t >= begin) & (t <= end)
        label = name if begin in (0.0, marks[1][0]) else None
        above.plot(t[within], y[within], ".-", color=colours[name], ms=3, label=label)
        below.semilogy(t[within][1:], t[within].diff(), ".", color=colours[name], ms=3)
    above.set_ylabel("y")
    above.legend(loc="lower left")
    below.set_ylabel("dt")
    below.set_xlabel("t")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print the table, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="eager", choices=("eager", "kernel"))
    parser.add_argument("--only", default="", help="names that begin so")
    parser.add_argument("--rtol", type=float, nargs="*", default=[1e-4, 1e-6, 1e-8])
    parser.add_argument("--out", type=Path, help="the page")
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    if given.picture:
        picture(given.picture)
    chosen = [case for case in cases() if case.name.startswith(given.only)]
    lines = [COLUMNS, "| --- " * 9 + "|"]
    for case in chosen:
        for rtol in given.rtol:
            lines.append(compare(case, rtol, given.backend))
            print(lines[-1], flush=True)
    if given.out:
        head = HEAD.format(
            backend=given.backend,
            out=given.out,
            count=len(chosen),
            repeats=REPEATS[given.backend],
        )
        given.out.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
