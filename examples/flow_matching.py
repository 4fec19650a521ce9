"""Flow matching: a rectified flow trained with the velocity loss, on the samplers of diffusion.

    python examples/flow_matching.py --out out/examples

x_t = (1 - t) x0 + t eps and the network learns the velocity eps - x0. `as_denoiser` makes a
denoiser of it, and every sampler works; Euler in t, which is what flow models come with, is the
sampler `euler` on a grid that is uniform in t. The data are five arms in the plane.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
from comparison import BUDGETS, ENTRIES, FAST, compare, write
from matplotlib.axes import Axes
from small_models import Waves, train
from torch import Tensor, nn
from torch.nn import functional as F

from stiffguide.adapters.diffusion import RectifiedFlow, as_denoiser, grid, noise_like
from stiffguide.adapters.diffusion.curves import Entry

ARMS = 5
SHOWN = 600  # points in the picture

# %%
# The data: points along five bent arms.


def arms(count: int, random: torch.Generator) -> Tensor:
    """Points (B, 2) with a standard deviation of about 0.5."""
    radius = 0.25 + 0.75 * torch.rand(count, generator=random)
    arm = torch.randint(ARMS, (count,), generator=random)
    width = 0.06 * torch.randn(count, generator=random)
    angle = 2 * torch.pi * arm / ARMS + 1.5 * radius + width / radius
    return radius.unsqueeze(-1) * torch.stack((angle.cos(), angle.sin()), -1)


# %%
# The network and its loss: the velocity of the straight line from data to noise.


class Velocity(nn.Module):
    """v(x (B, 2), t (B,)) -> (B, 2)."""

    def __init__(self, width: int = 96, blocks: int = 2) -> None:
        super().__init__()
        self.register_buffer("rates", torch.linspace(0.5, 3.0, 6))
        self.told = Waves(width)
        self.enter = nn.Linear(2 + 4 * len(self.rates), width)
        self.first = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.second = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.leave = nn.Linear(width, 2)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """The velocity, in the dtype of x."""
        y = x.to(self.rates.dtype)
        angle = (torch.pi * y.unsqueeze(-1) * self.rates).flatten(1)
        h = self.enter(torch.cat((y, angle.sin(), angle.cos()), -1))
        told = self.told(t.to(y))
        for first, second in zip(self.first, self.second, strict=True):
            h = h + second(F.silu(first(F.silu(h)) + told))
        return self.leave(F.silu(h)).to(x.dtype)


def velocity_loss(net: nn.Module, x0: Tensor, random: torch.Generator) -> Tensor:
    """|v(x_t, t) - (eps - x0)|^2, with logit-normal t (Esser et al., arXiv 2403.03206)."""
    eps = torch.randn(x0.shape, generator=random)
    t = torch.sigmoid(1.2 * torch.randn(len(x0), generator=random) - 0.8)
    x = torch.lerp(x0, eps, t.unsqueeze(-1))
    return (net(x, t) - (eps - x0)).square().mean()


# %%
# Train, make a denoiser of it, and compare samplers at the same number of evaluations.


def show(axes: Axes, samples: Tensor) -> None:
    """The points."""
    axes.scatter(*samples[:SHOWN].T.numpy(), s=0.5)
    axes.set(xlim=(-1.4, 1.4), ylim=(-1.4, 1.4), aspect="equal", xticks=[], yticks=[])


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="out/examples")
@click.option("--fast", is_flag=True, help="a smaller network, hardly trained")
def main(out: Path, fast: bool) -> None:
    """Train, compare, and write tables and a picture."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    steps, samples = (300, 128) if fast else (4000, 1000)
    net = train(Velocity(32 if fast else 96), arms, steps, velocity_loss, batch=512)
    path = RectifiedFlow()
    denoiser = as_denoiser(net, "velocity", path)
    noise = noise_like((samples, 2), range(samples), dtype=torch.float64)
    usual = Entry("euler, uniform in t", "euler", lambda n: grid.scheduled(n, path))
    held = arms(2000, torch.Generator().manual_seed(1))
    found = compare(denoiser, noise, held, (usual, *ENTRIES), FAST if fast else BUDGETS)
    title = "A rectified flow in the plane"
    for file in write(found, out, "flow_matching", title, show, across=True):
        print(f"wrote {file}")


if __name__ == "__main__":
    main()
