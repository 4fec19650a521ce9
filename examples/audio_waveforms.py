"""Sounds: damped chirps of 128 samples, as a bell or a bird might make them.

    python examples/audio_waveforms.py --out out/examples

A waveform is one state of 128 numbers. The network is a stack of dilated convolutions, which is
what audio models are made of; it trains in half a minute.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
from comparison import BUDGETS, FAST, compare, write
from matplotlib.axes import Axes
from small_models import Denoiser, Waves, train
from torch import Tensor, nn

from stiffguide.adapters.diffusion import noise_like

LENGTH, PATCH = 128, 4
SHOWN = 3  # waveforms in the picture

# %%
# The data: a chirp from one frequency to another, with an onset and a decay, and its overtone.


def sounds(count: int, random: torch.Generator) -> Tensor:
    """Waveforms (B, 128) with a standard deviation of about 0.5."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, generator=random)

    t = torch.linspace(0, 1, LENGTH)
    first, last, phase = uniform(3, 9), uniform(3, 9), uniform(0, 2 * torch.pi)
    angle = 2 * torch.pi * (first * t + (last - first) * t.square() / 2) + phase
    since = (t - uniform(0.0, 0.3)).clamp(min=0)
    envelope = (1 - torch.exp(-40 * since)) * torch.exp(-uniform(0.5, 4) * since)
    return uniform(0.8, 1.4) * envelope * (angle.sin() + uniform(0, 0.5) * (2 * angle).sin())


# %%
# The network: four samples make a channel vector; convolutions reach further block by block.


class Dilated(nn.Module):
    """F(x (B, 128), level (B,)) -> like x."""

    def __init__(self, width: int = 64, blocks: int = 4) -> None:
        super().__init__()
        self.enter = nn.Conv1d(PATCH, width, 3, padding=1)
        self.told = Waves(width)
        self.norms = nn.ModuleList(nn.GroupNorm(8, width) for _ in range(blocks))
        self.first = nn.ModuleList(
            nn.Conv1d(width, width, 3, padding=2**i, dilation=2**i) for i in range(blocks)
        )
        self.second = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(blocks))
        self.leave = nn.Conv1d(width, PATCH, 3, padding=1)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """The raw output."""
        h = self.enter(x.reshape(len(x), -1, PATCH).mT)
        told = self.told(level).unsqueeze(-1)
        for norm, first, second in zip(self.norms, self.first, self.second, strict=True):
            h = h + second(nn.functional.silu(first(norm(h)) + told))
        return self.leave(h).mT.reshape(x.shape)


# %%
# Train, then compare samplers at the same number of evaluations.


def show(axes: Axes, samples: Tensor) -> None:
    """A few waveforms, one behind the other."""
    for waveform in samples[:SHOWN]:
        axes.plot(waveform.numpy(), linewidth=0.8)
    axes.set(ylim=(-2, 2), xticks=[], yticks=[])


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="out/examples")
@click.option("--fast", is_flag=True, help="a smaller network, hardly trained")
def main(out: Path, fast: bool) -> None:
    """Train, compare, and write tables and a picture."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = Dilated(32, 2) if fast else Dilated()
    model = train(Denoiser(net), sounds, steps=80 if fast else 800)
    samples = 32 if fast else 64
    noise = noise_like((samples, LENGTH), range(samples), dtype=torch.float64)
    held = sounds(1000, torch.Generator().manual_seed(1))
    found = compare(model, noise, held, budgets=FAST if fast else BUDGETS)
    for path in write(found, out, "audio_waveforms", "Damped chirps", show):
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
