"""A neural ODE, trained on data of Robertson's stiff reaction through an implicit solver.

    python examples/stiff_neural_ode.py --out out/examples

The network sees three concentrations at 40 times from 1e-5 to 1e4, with noise of 1 %, and says how
fast each of three exchanges between them goes; mass is conserved, and nothing else is known.
Gradients go back along the steps of a kernel, in a few milliseconds. The dopri5 of torchdiffeq, by
which neural ODEs are mostly trained, is tried as well.
"""

from __future__ import annotations

import csv
import time
from pathlib import Path

import click
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import stiffguide as sg
from stiffguide.problems.robertson import RATES, robertson_field

D = torch.float64
END, NOISE = 1e4, 0.01
TIMES = torch.logspace(-5, 4, 40, dtype=D)
START = torch.tensor([1.0, 0.0, 0.0], dtype=D)
FINE = torch.tensor([1e-10, 1e-14, 1e-10], dtype=D)
SETTINGS = {"method": "rodas5p", "rtol": 1e-5, "atol": 1e3 * FINE, "max_attempts": 3000}
ITERATIONS, FEW = 3000, 150
SLOW = 10.0  # by what logarithms are divided, and multiplied again: weights stay of order 1


class Exchanges(nn.Module):
    """y' of concentrations y (..., 3): the first two go to each other, the second to the third."""

    def __init__(self, size: Tensor, width: int = 8) -> None:
        super().__init__()
        self.register_buffer("size", size)
        self.inner = nn.Linear(3, width, dtype=D)
        self.outer = nn.Linear(width, 3, dtype=D)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        seen = torch.log(y.clamp(min=0.0) / self.size + 1e-6) / SLOW
        there, back, on = torch.exp(SLOW * self.outer(torch.tanh(self.inner(seen)))).unbind(-1)
        return 0.01 * torch.stack((back - there, there - back - on, on), -1)


def measured() -> tuple[Tensor, Tensor]:
    """The data (T, 3), and the same without noise."""
    rates = torch.tensor(RATES, dtype=D)
    given = {"save_at": TIMES, "rtol": 1e-10, "atol": FINE}
    exact = sg.solve(robertson_field, START, 0.0, END, args=(rates,), **given).y
    noise = torch.randn(exact.shape, generator=torch.Generator().manual_seed(0), dtype=D)
    return exact + NOISE * exact.amax(0) * noise, exact


def train(net: Exchanges, data: Tensor, iterations: int) -> list[float]:
    """Adam on the mean square of scaled residuals: the losses."""
    adam = torch.optim.Adam(net.parameters(), lr=1e-2)
    rest = torch.optim.lr_scheduler.CosineAnnealingLR(adam, iterations, 1e-4)
    losses = []
    for _ in range(iterations):
        adam.zero_grad()
        found = sg.solve(net, START, 0.0, END, save_at=TIMES, gradient="kernel", **SETTINGS)
        loss = ((found.raise_if_failed().y - data) / net.size).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adam.step()
        rest.step()
        losses.append(float(loss.detach()))
    return losses


def explicit(net: Exchanges, steps: int = 2000) -> str:
    """How far torchdiffeq comes in so many steps."""
    try:
        import torchdiffeq
    except ImportError:
        return "torchdiffeq is not installed"
    reached = [0.0]

    def watched(t: Tensor, y: Tensor) -> Tensor:
        reached[0] = max(reached[0], float(t))
        return net(t, y)

    ends, options = torch.tensor([0.0, END], dtype=D), {"max_num_steps": steps}
    given = {"rtol": 1e-5, "atol": 1e-8, "method": "dopri5", "options": options}
    try:
        with torch.no_grad():
            torchdiffeq.odeint(watched, START, ends, **given)
    except AssertionError as error:
        return f"torchdiffeq's dopri5 is at t = {reached[0]:.3g} of {END:g}: {error}"
    return f"torchdiffeq's dopri5 takes fewer than {steps} steps"


def picture(net: Exchanges, data: Tensor, losses: list[float], where: Path) -> None:
    """The data and the network's solution, and the losses."""
    times = torch.logspace(-5, 4, 200, dtype=D)
    with torch.no_grad():
        y = sg.solve(net, START, 0.0, END, save_at=times, **SETTINGS).y / net.size
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    states, costs = figure.subplots(1, 2, width_ratios=(2, 1))
    for i, name in enumerate("ABC"):
        (line,) = states.semilogx(times, y[:, i], linewidth=1, label=name)
        states.semilogx(TIMES, data[:, i] / net.size[i], ".", color=line.get_color())
    states.set_xlabel("t")
    states.set_title("concentrations, each by its largest: data and network", fontsize=9)
    states.legend(fontsize=8)
    costs.loglog(range(1, len(losses) + 1), losses, linewidth=1)
    costs.axhline(NOISE**2, color="gray", linewidth=0.8)
    costs.set_title("loss; gray: the noise", fontsize=9)
    figure.savefig(where, dpi=100)


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/examples"))
@click.option("--fast", is_flag=True, help="a few iterations")
def main(out: Path, fast: bool) -> None:
    torch.manual_seed(0)
    data, exact = measured()
    net = Exchanges(exact.amax(0))
    began = time.process_time()
    losses = train(net, data, FEW if fast else ITERATIONS)
    spent = time.process_time() - began
    weights = sum(p.numel() for p in net.parameters())
    click.echo(
        f"{weights} weights, {len(losses)} gradients in {spent:.1f} s of CPU, the build included"
    )
    click.echo(f"loss {losses[0]:.3g} -> {losses[-1]:.3g}; that of the noise is {NOISE**2:g}")
    click.echo(explicit(net, 20 if fast else 2000))
    out.mkdir(parents=True, exist_ok=True)
    with (out / "stiff_neural_ode.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("iteration", "loss"))
        table.writerows(enumerate(losses))
    picture(net, data, losses, out / "stiff_neural_ode.png")


if __name__ == "__main__":
    main()
