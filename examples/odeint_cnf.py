"""A continuous normalising flow in the plane, trained as users of torchdiffeq train one.

    python examples/odeint_cnf.py --out out/examples

Points z move by dz/dt = v(t, z) from noise at t = 0 to data at t = 1, and the logarithm of their
density by minus the divergence of v (Chen et al., NeurIPS 2018), which a network of one layer has
in closed form. The state is the tuple (z, log p), and gradients come of solving backwards. The
import of odeint is the only line that knows of stiffguide; with torchdiffeq in its place the script
runs, too.
"""

from __future__ import annotations

import csv
import math
import time
from pathlib import Path

import click
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from stiffguide.fronts.torchdiffeq import odeint, odeint_adjoint

TOLERANCES = {"rtol": 1e-3, "atol": 1e-4, "method": "dopri5"}
BATCH, ITERATIONS, FEW = 512, 700, 5
FAR, EDGE = 5.0, 2.6  # of the grid, and of the picture


def moons(count: int, random: torch.Generator) -> Tensor:
    """Points (B, 2) on two half circles that reach into each other."""
    angle = torch.pi * torch.rand(count, generator=random)
    side = 2.0 * torch.randint(2, (count,), generator=random) - 1.0
    circle = torch.stack((angle.cos() - 0.5 * side, side * (angle.sin() - 0.25)), -1)
    return 1.2 * circle + 0.12 * torch.randn(count, 2, generator=random)


class Flow(nn.Module):
    """The slopes of points z (B, 2) and of log p (B,)."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(3, width), nn.Linear(width, 2)

    def velocity(self, t: Tensor, z: Tensor) -> Tensor:
        """v (B, 2) at a time ()."""
        return self(t, (z, z[:, 0]))[0]

    def forward(self, t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        z, _ = state
        h = torch.tanh(self.enter(torch.cat((z, t.expand(len(z), 1)), -1)))
        # d v_i / d z_i, summed over i
        through = (self.leave.weight * self.enter.weight[:, :2].T).sum(0)
        return self.leave(h), -(1 - h.square()) @ through


def log_density(flow: Flow, x: Tensor, solve=odeint) -> Tensor:
    """log p (B,) at data x (B, 2): solved back to the noise, whose density is known."""
    times, start = torch.tensor([1.0, 0.0]), (x, x.new_zeros(len(x)))
    z, gained = (path[-1] for path in solve(flow, start, times, **TOLERANCES))
    return -z.square().sum(-1) / 2 - math.log(2 * math.pi) - gained


def train(flow: Flow, iterations: int, random: torch.Generator) -> list[float]:
    """Adam on the negative log likelihood: the losses, in nats."""
    adam = torch.optim.Adam(flow.parameters(), lr=1e-2)
    rest = torch.optim.lr_scheduler.CosineAnnealingLR(adam, iterations, 1e-4)
    losses = []
    for _ in range(iterations):
        adam.zero_grad()
        loss = -log_density(flow, moons(BATCH, random), odeint_adjoint).mean()
        loss.backward()
        adam.step()
        rest.step()
        losses.append(float(loss.detach()))
    return losses


@torch.no_grad()
def samples(flow: Flow, count: int, random: torch.Generator, times: Tensor) -> Tensor:
    """Points (T, B, 2) on their way from noise."""
    noise = torch.randn(count, 2, generator=random)
    return odeint(flow.velocity, noise, times, **TOLERANCES)


@torch.no_grad()
def density(flow: Flow, points: int) -> Tensor:
    """p (points, points) on a grid, the second coordinate first."""
    axis = torch.linspace(-FAR, FAR, points)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return log_density(flow, torch.stack((x, y), -1).reshape(-1, 2)).exp().reshape(points, points)


def picture(p: Tensor, path: Tensor, where: Path) -> None:
    """Samples on their way, and the density."""
    figure = Figure(figsize=(8, 2.2), layout="constrained")
    axes = figure.subplots(1, len(path) + 1)
    for axis, z, t in zip(axes, path, torch.linspace(0, 1, len(path)), strict=False):
        axis.scatter(*z.T.numpy(), s=0.4)
        axis.set_title(f"t = {t:.2g}", fontsize=9)
    axes[-1].imshow(p.numpy(), extent=(-FAR, FAR, -FAR, FAR), origin="lower", cmap="magma")
    axes[-1].set_title("density", fontsize=9)
    for axis in axes:
        axis.set(xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), aspect="equal", xticks=[], yticks=[])
    figure.savefig(where, dpi=80)


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/examples"))
@click.option("--fast", is_flag=True, help="a few iterations")
def main(out: Path, fast: bool) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    random = torch.Generator().manual_seed(0)
    flow, began = Flow(), time.process_time()
    losses = train(flow, FEW if fast else ITERATIONS, random)
    spent = time.process_time() - began
    last = losses[-50:]
    click.echo(f"{len(losses)} iterations in {spent:.1f} s of CPU")
    click.echo(f"negative log likelihood {losses[0]:.3f} -> {sum(last) / len(last):.3f} nats")
    p = density(flow, 24 if fast else 160)
    click.echo(f"the density integrates to {float(p.sum()) * (2 * FAR / (len(p) - 1)) ** 2:.3f}")
    out.mkdir(parents=True, exist_ok=True)
    with (out / "odeint_cnf.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("iteration", "loss"))
        table.writerows(enumerate(losses))
    path = samples(flow, 200 if fast else 1500, random, torch.linspace(0, 1, 4))
    picture(p, path, out / "odeint_cnf.png")


if __name__ == "__main__":
    main()
