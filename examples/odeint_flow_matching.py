"""Flow matching in the plane, sampled and weighed by `odeint` as users of torchdiffeq do.

    python examples/odeint_flow_matching.py --out out/examples

A network learns the velocity x1 - x0 of straight lines from noise x0 to data x1 (Lipman et al.,
ICLR 2023); samples are solved forwards with it, by steps that are given and by steps that are
chosen, and likelihoods backwards, with the divergence. The import of odeint is the only line that
knows of stiffguide; with torchdiffeq in its place the script runs, too.
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

from stiffguide.fronts.torchdiffeq import odeint

ENDS = torch.tensor([0.0, 1.0])
CHOSEN = {"method": "dopri5", "rtol": 1e-4, "atol": 1e-5}
SAMPLERS = {
    "euler, 10 steps": {"method": "euler", "options": {"step_size": 0.1}},
    "midpoint, 10 steps": {"method": "midpoint", "options": {"step_size": 0.1}},
    "midpoint, 40 steps": {"method": "midpoint", "options": {"step_size": 0.025}},
    "rk4, 10 steps": {"method": "rk4", "options": {"step_size": 0.1}},
    "dopri5": CHOSEN,
}
BATCH, ITERATIONS, FEW = 1024, 6000, 10
FAR, EDGE = 5.0, 2.6  # of the grid, and of the picture


def checks(count: int, random: torch.Generator) -> Tensor:
    """Points (B, 2) on the dark squares of a board of four by four."""
    column = torch.randint(4, (count,), generator=random)
    row = 2 * torch.randint(2, (count,), generator=random) + column % 2
    corner = torch.stack((column, row), -1) - 2.0
    return 1.1 * (corner + torch.rand(count, 2, generator=random))


class Velocity(nn.Module):
    """v (B, 2) at a time () or (B, 1) and points x (B, 2), in the order that odeint wants."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(3, width), nn.Linear(width, 2)
        self.inner = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.calls = 0

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        self.calls += 1
        h = nn.functional.silu(self.enter(torch.cat((x, t.expand(len(x), 1)), -1)))
        for layer in self.inner:
            h = nn.functional.silu(layer(h))
        return self.leave(h)


def train(net: Velocity, iterations: int, random: torch.Generator) -> list[float]:
    """Adam on |v - (x1 - x0)|^2 at random times: the losses."""
    adam = torch.optim.Adam(net.parameters(), lr=2e-3)
    rest = torch.optim.lr_scheduler.CosineAnnealingLR(adam, iterations, 1e-5)
    losses = []
    for _ in range(iterations):
        adam.zero_grad()
        x1 = checks(BATCH, random)
        x0 = torch.randn(x1.shape, generator=random)
        t = torch.rand(len(x1), 1, generator=random)
        loss = (net(t, torch.lerp(x0, x1, t)) - (x1 - x0)).square().mean()
        loss.backward()
        adam.step()
        rest.step()
        losses.append(float(loss.detach()))
    return losses


@torch.no_grad()
def sampled(net: Velocity, noise: Tensor, **settings: object) -> tuple[Tensor, int]:
    """Points (B, 2), and the calls of the network."""
    net.calls = 0
    return odeint(net, noise, ENDS, **settings)[-1], net.calls


@torch.no_grad()
def log_density(net: Velocity, x: Tensor) -> Tensor:
    """log p (B,) at points x (B, 2): the state is (x, log p), solved back to the noise."""

    def both(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = state[0].detach().requires_grad_()
            v = net(t, x)
            rows = [torch.autograd.grad(v[:, i].sum(), x, retain_graph=True)[0] for i in range(2)]
        return v.detach(), -rows[0][:, 0] - rows[1][:, 1]

    start = x, x.new_zeros(len(x))
    z, gained = (path[-1] for path in odeint(both, start, ENDS.flip(0), **CHOSEN))
    return -z.square().sum(-1) / 2 - math.log(2 * math.pi) - gained


def density(net: Velocity, points: int) -> Tensor:
    """p (points, points) on a grid, the second coordinate first."""
    axis = torch.linspace(-FAR, FAR, points)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return log_density(net, torch.stack((x, y), -1).reshape(-1, 2)).exp().reshape(points, points)


def picture(shown: dict[str, Tensor], p: Tensor, where: Path) -> None:
    """Samples of some samplers, and the density."""
    figure = Figure(figsize=(8, 2.9), layout="constrained")
    axes = figure.subplots(1, len(shown) + 1)
    for axis, (name, x) in zip(axes, shown.items(), strict=False):
        axis.scatter(*x.T.numpy(), s=0.4)
        axis.set_title(name, fontsize=9)
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
    net, began = Velocity(), time.process_time()
    losses = train(net, FEW if fast else ITERATIONS, random)
    click.echo(f"{len(losses)} iterations in {time.process_time() - began:.1f} s of CPU")
    noise = torch.randn(200 if fast else 2000, 2, generator=random)
    flow, _ = sampled(net, noise, method="dopri5", rtol=1e-6, atol=1e-7)
    shown, table = {}, []
    for name, settings in SAMPLERS.items():
        shown[name], calls = sampled(net, noise, **settings)
        error = (shown[name] - flow).norm(dim=-1).median().item()
        table.append((name, calls, f"{error:.2g}"))
        click.echo(f"{name}: {calls} calls of the network, {error:.2g} from the flow")
    p = density(net, 24 if fast else 160)
    held = log_density(net, checks(200 if fast else 2000, random)).mean().item()
    click.echo(f"the density integrates to {float(p.sum()) * (2 * FAR / (len(p) - 1)) ** 2:.3f}")
    click.echo(f"negative log likelihood {-held:.3f} nats; of the board itself 2.270")
    out.mkdir(parents=True, exist_ok=True)
    with (out / "odeint_flow_matching.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("sampler", "calls", "median distance to the flow"), *table])
    few = {name: shown[name] for name in ("euler, 10 steps", "midpoint, 10 steps", "dopri5")}
    picture(few, p, out / "odeint_flow_matching.png")


if __name__ == "__main__":
    main()
