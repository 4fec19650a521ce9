"""Point clouds: 64 points on a sphere, a torus, a box or a cylinder, in no order.

    python examples/point_clouds.py --out out/examples

The network is a small transformer without positions, so that points that change places change
places in what it returns; a sampler keeps that. Beside the error to the flow the tables say how far
the points lie from the surface that fits them best, which the network was never told.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
from comparison import BUDGETS, FAST, compare, write
from matplotlib.axes import Axes
from small_models import Denoiser, Waves, train
from torch import Tensor, nn
from torch.nn import functional as F

from stiffguide.adapters.diffusion import noise_like

POINTS = 64
BALL, RING, TUBE = 0.85, 0.8, 0.3  # the sphere's radius, and the torus' two
SIDES = torch.tensor([0.75, 0.6, 0.45])  # half of the box's
ROUND, HEIGHT = 0.55, 0.85  # the cylinder's radius, and half its height
OFF = "distance to the nearest surface"
SHOWN = 5  # clouds in the picture

# %%
# The data: points that lie evenly on one of four surfaces.


def clouds(count: int, random: torch.Generator) -> Tensor:
    """Clouds (B, 64, 3), one surface for each."""
    flat = torch.randn(count, POINTS, 3, generator=random)
    u, v = torch.rand(2, count, POINTS, generator=random)
    kinds = torch.stack((sphere(flat), torus(u, v), box(flat, u), cylinder(u, v)))
    return kinds[torch.randint(len(kinds), (count,), generator=random), torch.arange(count)]


def sphere(flat: Tensor) -> Tensor:
    """Directions of normal numbers (..., 3)."""
    return BALL * F.normalize(flat, dim=-1)


def torus(u: Tensor, v: Tensor) -> Tensor:
    """From shares (...): angles around the tube are rarer on its inside, where it is smaller."""
    tube = 2 * torch.pi * v
    for _ in range(8):  # Newton's method: the share of the tube's area up to an angle
        area = tube + TUBE / RING * tube.sin() - 2 * torch.pi * v
        tube = tube - area / (1 + TUBE / RING * tube.cos())
    across, angle = RING + TUBE * tube.cos(), 2 * torch.pi * u
    return torch.stack((across * angle.cos(), across * angle.sin(), TUBE * tube.sin()), -1)


def box(flat: Tensor, u: Tensor) -> Tensor:
    """A face by its area, and a place on it."""
    faces = SIDES.prod() / SIDES
    axis = torch.bucketize(u, (faces / faces.sum()).cumsum(0)[:2])
    places = torch.erf(flat / 2**0.5)  # even in [-1, 1]
    return SIDES * torch.where(F.one_hot(axis, 3) > 0, places.sign(), places)


def cylinder(u: Tensor, v: Tensor) -> Tensor:
    """The side alone, without its ends."""
    angle = 2 * torch.pi * u
    return torch.stack((ROUND * angle.cos(), ROUND * angle.sin(), HEIGHT * (2 * v - 1)), -1)


def distances(x: Tensor) -> Tensor:
    """How far points (..., 3) are from each of the four surfaces: (4, ...)."""
    across, z = x[..., :2].norm(dim=-1), x[..., 2]
    ball = (x.norm(dim=-1) - BALL).abs()
    ring = (torch.hypot(across - RING, z) - TUBE).abs()
    past = x.abs() - SIDES.to(x)
    case = past.clamp(min=0).norm(dim=-1) + past.amax(-1).clamp(max=0)
    side = torch.hypot(across - ROUND, (z.abs() - HEIGHT).clamp(min=0))
    return torch.stack((ball, ring, case.abs(), side))


def off(x: Tensor) -> float:
    """The root mean square distance of clouds (B, 64, 3) to the surface that fits each best."""
    return float(distances(x).square().mean(-1).amin(0).mean().sqrt())


# %%
# The network: every point looks at all, and none has a number.


class Points(nn.Module):
    """F(x (B, N, 3), level (B,)) -> like x; it commutes with permutations of the N points."""

    def __init__(self, width: int = 48, blocks: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.enter = nn.Sequential(nn.Linear(3, width), nn.SiLU(), nn.Linear(width, width))
        self.told = Waves(width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * blocks))
        self.looks = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(blocks))
        self.mixes = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.first = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(blocks))
        self.second = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(blocks))
        self.leave = nn.Linear(width, 3)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """The raw output."""
        h = self.enter(x)
        told = self.told(level).unsqueeze(1)
        layers = zip(self.looks, self.mixes, self.first, self.second, strict=True)
        for i, (look, mix, first, second) in enumerate(layers):
            parts = look(self.norms[2 * i](h + told)).chunk(3, -1)
            q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
            seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            h = h + mix(seen)
            h = h + second(F.silu(first(self.norms[2 * i + 1](h + told))))
        return self.leave(F.silu(h))


# %%
# Train, then compare samplers at the same number of evaluations.


def show(axes: Axes, samples: Tensor) -> None:
    """A few clouds side by side, seen from above and aside; what is far is pale."""
    turn = torch.tensor([[0.87, 0.5, 0.0], [-0.25, 0.43, 0.87], [0.43, -0.75, 0.5]])
    for i, cloud in enumerate(samples[:SHOWN]):
        x, y, depth = (cloud.to(turn) @ turn.T).T.numpy()
        axes.scatter(x + 2.4 * i, y, c=depth, cmap="viridis", s=3)
    axes.set_aspect("equal")
    axes.set_axis_off()


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="out/examples")
@click.option("--fast", is_flag=True, help="a smaller network, hardly trained")
def main(out: Path, fast: bool) -> None:
    """Train, compare, and write tables and a picture."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = Points(16, 1) if fast else Points()
    model = train(Denoiser(net), clouds, steps=60 if fast else 1200, batch=64)
    samples = 32 if fast else 64
    noise = noise_like((samples, POINTS, 3), range(samples), dtype=torch.float64)
    held = clouds(1000, torch.Generator().manual_seed(1))
    budgets = FAST if fast else BUDGETS
    found = compare(model, noise, held, budgets=budgets, further={OFF: off})
    for path in write(found, out, "point_clouds", "Points on four surfaces", show):
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
