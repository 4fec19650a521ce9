"""Videos: handwritten digits that bounce in a box, 8 frames of 12 x 12 pixels.

    python examples/video_digits.py --out out/examples

A video is one state of 1152 numbers: samplers do not care about axes, only the network does. The
network here mixes along the frames and along the channels by turns; it trains in under a minute.
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
from stiffguide.adapters.diffusion.digits import digits_data

FRAMES, SIDE, DIGIT = 8, 12, 8
HELD_OUT = 297  # digits that are never trained on

# %%
# The data: a digit starts anywhere with a random velocity and is reflected by the walls. Its path
# is unfolded on a line, where reflection is a triangle wave.


def videos(digits: Tensor, random: torch.Generator) -> Tensor:
    """Videos (B, 8, 12, 12) of digits (B, 8, 8), values from -0.5 to 0.5."""
    room = SIDE - DIGIT
    start = 2 * room * torch.rand(len(digits), 2, generator=random)
    speed = 1.5 * (2 * torch.rand(len(digits), 2, generator=random) - 1)
    path = start[:, None] + speed[:, None] * torch.arange(FRAMES)[:, None]
    places = (room - (path % (2 * room) - room).abs()).round().long()
    box = torch.full((len(digits), FRAMES, SIDE, SIDE), -0.5)
    rows = places[..., 0, None, None] + torch.arange(DIGIT)[:, None]
    columns = places[..., 1, None, None] + torch.arange(DIGIT)
    which = torch.arange(len(digits))[:, None, None, None]
    frame = torch.arange(FRAMES)[:, None, None]
    box[which, frame, rows, columns] = digits[:, None] / 2
    return box


# %%
# The network: every frame is a token; a layer mixes the tokens, the next one their channels.


class FrameMixer(nn.Module):
    """F(x (B, 8, 12, 12), level (B,)) -> like x."""

    def __init__(self, width: int = 128, blocks: int = 2) -> None:
        super().__init__()
        self.width = width
        self.enter = nn.Linear(SIDE * SIDE, width)
        self.place = nn.Parameter(0.1 * torch.randn(FRAMES, width))
        self.told = Waves(width)
        self.along = nn.ModuleList(
            nn.Sequential(nn.Linear(FRAMES, 32), nn.SiLU(), nn.Linear(32, FRAMES))
            for _ in range(blocks)
        )
        self.across = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
            for _ in range(blocks)
        )
        self.leave = nn.Linear(width, SIDE * SIDE)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """The raw output."""
        h = self.enter(x.flatten(2)) + self.place
        told = self.told(level).unsqueeze(1)
        for along, across in zip(self.along, self.across, strict=True):
            h = h + along(F.layer_norm(h, (self.width,)).mT).mT
            h = h + across(F.layer_norm(h, (self.width,)) + told)
        return self.leave(F.layer_norm(h, (self.width,))).reshape(x.shape)


# %%
# Train, then compare samplers at the same number of evaluations.


def show(axes: Axes, samples: Tensor) -> None:
    """The frames of one video in a row."""
    row = samples[0].transpose(0, 1).flatten(1).numpy()
    axes.imshow(row, cmap="gray_r", vmin=-0.5, vmax=0.5)
    axes.set_axis_off()


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="out/examples")
@click.option("--fast", is_flag=True, help="a smaller network, hardly trained")
def main(out: Path, fast: bool) -> None:
    """Train, compare, and write tables and a picture."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    digits, _ = digits_data()
    known, held = digits[:-HELD_OUT], digits[-HELD_OUT:]

    def batches(count: int, random: torch.Generator) -> Tensor:
        return videos(known[torch.randint(len(known), (count,), generator=random)], random)

    net = FrameMixer(48, 1) if fast else FrameMixer()
    model = train(Denoiser(net), batches, steps=60 if fast else 1000)
    samples = 32 if fast else 64
    noise = noise_like((samples, FRAMES, SIDE, SIDE), range(samples), dtype=torch.float64)
    data = videos(held, torch.Generator().manual_seed(1))
    found = compare(model, noise, data, budgets=FAST if fast else BUDGETS)
    for path in write(found, out, "video_digits", "Videos of bouncing digits", show):
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
