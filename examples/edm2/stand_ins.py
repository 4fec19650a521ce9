"""Small random stand-ins for networks, decoder, detectors and statistics: the dry run.

They have the interfaces of the real ones and are loaded through the same files. The numbers they
give mean nothing, but they fall as samples get nearer to the exact flow: the reference statistics
are those of well-resolved samples of other seeds.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edm2 import detectors, networks, statistics
from edm2.job import Generator
from edm2.recipe import Recipe

CLASSES, LATENTS, SIDE, WIDTH = 10, 4, 8, 12
SIGMA_DATA = 0.5
REFERENCE_SEEDS = range(1_000_000, 1_000_096)


class Net(nn.Module):
    """An EDM-preconditioned network of two convolutions; it remembers a few random images."""

    def __init__(self, seed: int, label_dim: int = CLASSES, weakness: float = 0.0) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self.img_channels, self.img_resolution, self.label_dim = LATENTS, SIDE, label_dim
        self.sigma_min, self.sigma_max = 0.0, math.inf
        memory = 0.5 * torch.randn(max(label_dim, 1) * 4, LATENTS, SIDE, SIDE, generator=random)
        self.register_buffer("memory", memory)
        kernels = torch.randn(2, WIDTH, LATENTS, 3, 3, generator=random) / 6
        self.register_buffer("kernels", kernels)
        self.weakness = weakness

    def round_sigma(self, sigma: Tensor) -> Tensor:
        """Every level is known."""
        return torch.as_tensor(sigma)

    def forward(self, x: Tensor, sigma: Tensor, class_labels: Tensor | None = None) -> Tensor:
        """D(x; sigma): the posterior mean over the memory, and a small bend on top."""
        x, sigma = x.to(torch.float32), sigma.to(torch.float32).reshape(-1, 1, 1, 1)
        spread = sigma.square() + (0.1 + self.weakness) ** 2
        gap = (x.unsqueeze(1) - self.memory).square().sum((2, 3, 4))
        logits = -gap / (2 * spread.flatten(1))
        if self.label_dim and class_labels is not None:
            logits = logits + 4 * class_labels.repeat_interleave(4, 1)
        nearest = torch.einsum("bm,mchw->bchw", logits.softmax(1), self.memory)
        bent = F.conv2d(x / (sigma.square() + SIGMA_DATA**2).sqrt(), self.kernels[0], padding=1)
        bent = F.conv_transpose2d(torch.tanh(bent), self.kernels[1], padding=1)
        share = 1 - sigma.square() / spread
        return nearest + share * (x - nearest) + 0.1 * sigma / (1 + sigma) * bent


class Decoder:
    """Latents (B, 4, 8, 8) to bytes (B, 3, 32, 32)."""

    def init(self, device: torch.device) -> None:
        """Nothing to load."""

    def decode(self, x: Tensor) -> Tensor:
        """A fixed mixture of the channels, enlarged."""
        mixture = torch.tensor(
            [[1.0, 0.3, -0.2, 0.1], [0.2, 1.0, 0.4, -0.3], [-0.1, 0.2, 1.0, 0.5]]
        )
        rgb = torch.einsum("rc,bchw->brhw", mixture.to(x.device, torch.float32), x.float())
        large = F.interpolate(rgb, scale_factor=4.0, mode="bilinear")
        return (large * 80 + 128).clip(0, 255).to(torch.uint8)


class Inception(nn.Module):
    """Random features of small images, and class probabilities."""

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(7)
        self.register_buffer("features", torch.randn(48, 24, generator=random) / 7)
        self.register_buffer("classes", torch.randn(24, CLASSES, generator=random))

    def forward(
        self, images: Tensor, return_features: bool = False, no_output_bias: bool = False
    ) -> Tensor:
        """(B, 24), or probabilities (B, 10)."""
        small = F.adaptive_avg_pool2d(images.to(torch.float32) / 128 - 1, 4).flatten(1)
        found = torch.tanh(small @ self.features)
        return found if return_features else (found @ self.classes).softmax(1)


class DinoV2(nn.Module):
    """Random features of normalised images (B, 3, 224, 224)."""

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(8)
        self.register_buffer("features", torch.randn(48, 16, generator=random) / 7)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 16)."""
        return torch.tanh(F.adaptive_avg_pool2d(images, 4).flatten(1) @ self.features)


class Files(NamedTuple):
    """Where the stand-ins lie."""

    net: str
    gnet: str
    cfg_net: str
    inception: str
    dinov2: str
    ref: str


def paths(folder: Path) -> Files:
    """The files of a dry run in this folder."""
    names = [f"{name.replace('_', '-')}.pkl" for name in Files._fields]
    return Files(*(str(folder / name) for name in names))


def write(folder: Path) -> Files:
    """Make them all."""
    folder.mkdir(parents=True, exist_ok=True)
    found = paths(folder)
    snapshots = {
        found.net: {"ema": Net(1), "encoder": Decoder()},
        found.gnet: {"ema": Net(1, weakness=0.2)},
        found.cfg_net: {"ema": Net(1, label_dim=0, weakness=0.1)},
        found.inception: Inception(),
        found.dinov2: DinoV2(),
    }
    for path, data in snapshots.items():
        Path(path).write_bytes(pickle.dumps(data))
    device = torch.device("cpu")
    network = networks.load(found.net, device)
    sources = {"inception": found.inception, "dinov2": found.dinov2}
    detect = detectors.load(("fid", "fd_dinov2"), sources, device)
    fine = Generator(network, None, Recipe(steps=24), REFERENCE_SEEDS)
    features = detect(fine(list(range(len(REFERENCE_SEEDS)))).images)
    statistics.save(detect.split(features), Path(found.ref))
    return found
