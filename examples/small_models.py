"""What the small examples share: EDM's preconditioning and loss, and a loop that trains with it.

Around any network F(x, level) -> like x, of signals (B, ...) with standard deviation 0.5:
D(x; sigma) = c_skip x + c_out F(c_in x, log(sigma)/4) (Karras et al., arXiv 2206.00364, table 1).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from tqdm import tqdm

from stiffguide.tensors import rows

SIGMA_DATA = 0.5
LOG_SIGMA = (-1.0, 1.6)  # mean and spread of log sigma in training
DECAY = 0.995  # of the moving average of the weights

Batches = Callable[[int, torch.Generator], Tensor]  # (size, random) -> data (B, ...)
Loss = Callable[[nn.Module, Tensor, torch.Generator], Tensor]


class Waves(nn.Module):
    """What a network is told about the noise: sines and cosines of the level."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("rates", torch.linspace(0.25, 4.0, width // 2))
        self.mix = nn.Sequential(nn.Linear(width, width), nn.SiLU())

    def forward(self, level: Tensor) -> Tensor:
        """Levels (B,) as (B, width)."""
        angle = torch.pi * level.unsqueeze(-1) * self.rates
        found: Tensor = self.mix(torch.cat((angle.sin(), angle.cos()), -1))
        return found


class Denoiser(nn.Module):
    """The preconditioned network: `denoiser(x, sigma (B,)) -> x0`, computing in its own dtype."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """x0 in the dtype of x."""
        sigma = sigma.to(x.dtype)
        size = (sigma.square() + SIGMA_DATA**2).sqrt()
        kind = next(self.net.parameters()).dtype
        raw = self.net((x / rows(size, x)).to(kind), (sigma.log() / 4).to(kind)).to(x.dtype)
        skip, gain = (SIGMA_DATA / size).square(), SIGMA_DATA * sigma / size
        return rows(skip, x) * x + rows(gain, x) * raw


def denoising_loss(model: nn.Module, x0: Tensor, random: torch.Generator) -> Tensor:
    """EDM's loss: the error of D in units of c_out, log sigma normal."""
    mean, spread = LOG_SIGMA
    sigma = (mean + spread * torch.randn(len(x0), generator=random)).exp()
    noisy = x0 + rows(sigma, x0) * torch.randn(x0.shape, generator=random)
    weight = 1 / sigma.square() + 1 / SIGMA_DATA**2
    return (rows(weight, x0) * (model(noisy, sigma) - x0).square()).mean()


def train(
    model: nn.Module,
    batches: Batches,
    steps: int,
    loss: Loss = denoising_loss,
    *,
    batch: int = 128,
    rate: float = 3e-3,
    seed: int = 0,
) -> nn.Module:
    """Train with AdamW on one cycle; what comes back is a moving average of the weights."""
    random = torch.Generator().manual_seed(seed)
    kept = deepcopy(model).requires_grad_(False)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps)
    for step in tqdm(range(steps), "training", disable=None):
        value = loss(model, batches(batch, random), random)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()
        share = max(1 - DECAY, 1 / (step + 1))
        with torch.no_grad():
            for average, now in zip(kept.parameters(), model.parameters(), strict=True):
                average.lerp_(now, share)
    return kept.eval()
