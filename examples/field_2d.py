"""A field of science: two phases on a periodic 16 x 16 grid, cut from a Gaussian random field.

    python examples/field_2d.py --out out/examples

Porous rock, alloys that separate and initial states of flows look like this: a correlation length,
and values near -0.5 and 0.5 with thin walls between them. The network knows that the box is
periodic; it trains in under a minute.
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

SIDE, PATCH = 16, 2
SHARPNESS = 2.5  # of the walls between the phases
SHOWN = 8  # fields in the picture

# %%
# The data: white noise, smoothed in Fourier space by a random correlation length, bent by tanh.


def fields(count: int, random: torch.Generator) -> Tensor:
    """Fields (B, 16, 16) from -0.5 to 0.5."""
    waves = torch.fft.fftfreq(SIDE, 1 / SIDE)
    k2 = waves[:, None].square() + waves.square()
    length = 1.2 + 0.8 * torch.rand(count, 1, 1, generator=random)
    white = torch.randn(count, SIDE, SIDE, generator=random)
    spectrum = torch.fft.fft2(white) * torch.exp(-k2 * (length * torch.pi / SIDE).square() * 2)
    smooth = torch.fft.ifft2(spectrum).real
    smooth = smooth / smooth.std((1, 2), keepdim=True)
    return 0.5 * torch.tanh(SHARPNESS * smooth)


# %%
# The network: 2 x 2 cells make a channel vector, convolutions wrap around the edges.


class Periodic(nn.Module):
    """F(x (B, 16, 16), level (B,)) -> like x."""

    def __init__(self, width: int = 48, blocks: int = 3) -> None:
        super().__init__()

        def conv(inside: int, outside: int) -> nn.Conv2d:
            return nn.Conv2d(inside, outside, 3, padding=1, padding_mode="circular")

        self.enter = conv(PATCH**2, width)
        self.told = Waves(width)
        self.norms = nn.ModuleList(nn.GroupNorm(8, width) for _ in range(blocks))
        self.first = nn.ModuleList(conv(width, width) for _ in range(blocks))
        self.second = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(blocks))
        self.leave = conv(width, PATCH**2)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """The raw output."""
        h = self.enter(F.pixel_unshuffle(x.unsqueeze(1), PATCH))
        told = self.told(level)[:, :, None, None]
        for norm, first, second in zip(self.norms, self.first, self.second, strict=True):
            h = h + second(F.silu(first(norm(h)) + told))
        return F.pixel_shuffle(self.leave(h), PATCH).squeeze(1)


# %%
# Train, then compare samplers at the same number of evaluations.


def show(axes: Axes, samples: Tensor) -> None:
    """A few fields side by side."""
    row = samples[:SHOWN].transpose(0, 1).flatten(1).numpy()
    axes.imshow(row, cmap="RdBu", vmin=-0.6, vmax=0.6)
    axes.set_axis_off()


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="out/examples")
@click.option("--fast", is_flag=True, help="a smaller network, hardly trained")
def main(out: Path, fast: bool) -> None:
    """Train, compare, and write tables and a picture."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = Periodic(16, 1) if fast else Periodic()
    model = train(Denoiser(net), fields, steps=60 if fast else 400)
    samples = 32 if fast else 64
    noise = noise_like((samples, SIDE, SIDE), range(samples), dtype=torch.float64)
    held = fields(1000, torch.Generator().manual_seed(1))
    found = compare(model, noise, held, budgets=FAST if fast else BUDGETS)
    for path in write(found, out, "field_2d", "Two phases on a periodic grid", show):
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
