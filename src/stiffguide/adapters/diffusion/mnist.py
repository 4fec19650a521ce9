"""MNIST at 28 x 28: a trained U-Net, a classifier for distances between digits, and the digits.

`examples/train_mnist.py` trains both networks on 8,000 of 10,000 digits. Images are (1, 28, 28)
with values from -1 (paper) to 1 (ink). The files stand beside the package (`weights`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stiffguide.adapters.diffusion import weights
from stiffguide.adapters.diffusion.class_denoiser import ClassDenoiser
from stiffguide.adapters.diffusion.unet import UNet
from stiffguide.errors import InputError

SIDE = 28
CLASSES = 10
NULL = CLASSES  # the label that means "any digit"
FEATURES = 64
PARTS = {"training": slice(0, 8000), "held out": slice(8000, 10000)}
SCRIPT = "train_mnist.py"


class DigitClassifier(nn.Module):
    """A small convolutional classifier, whose 64 features are for distances between digits."""

    def __init__(self) -> None:
        super().__init__()
        self.first: nn.Conv2d = nn.Conv2d(1, 16, 3, padding=1)
        self.second: nn.Conv2d = nn.Conv2d(16, 32, 3, padding=1)
        self.third: nn.Conv2d = nn.Conv2d(32, 64, 3, padding=1)
        self.gather: nn.Linear = nn.Linear(64 * 3 * 3, FEATURES)
        self.leave: nn.Linear = nn.Linear(FEATURES, CLASSES)

    def features(self, images: Tensor) -> Tensor:
        """Images (B, 1, 28, 28) in [-1, 1] to features (B, 64)."""
        h = images
        for layer in (self.first, self.second, self.third):
            h = F.max_pool2d(F.relu(layer(h)), 2)
        return F.relu(self.gather(h.flatten(1)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 10)."""
        out: Tensor = self.leave(self.features(images))
        return out


def load_mnist_denoiser(
    classes: int | Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    *,
    path: str | Path | None = None,
) -> ClassDenoiser:
    """The U-Net with trained weights as a denoiser, for `classes` (see `ClassDenoiser`).

    States are (B, 1, 28, 28), (B, 28, 28) or (B, 784). `path` names the file where it is not found
    by itself (see `weights`).
    """
    trained = weights.read(weights.find("mnist.safetensors", SCRIPT, path))
    net = UNet(**trained.net)
    net.load_state_dict(trained.tensors)
    return ClassDenoiser(net.to(dtype).eval().requires_grad_(False), classes)


def load_mnist_classifier(
    dtype: torch.dtype = torch.float32, *, path: str | Path | None = None
) -> DigitClassifier:
    """The trained classifier: logits of images (B, 1, 28, 28), and their `features`."""
    trained = weights.read(weights.find("mnist_classifier.safetensors", SCRIPT, path))
    net = DigitClassifier(**trained.net)
    net.load_state_dict(trained.tensors)
    return net.to(dtype).eval().requires_grad_(False)


def mnist_data(part: str = "training", *, path: str | Path | None = None) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 28, 28) in [-1, 1] and their classes (N,).

    8,000 for "training", or the 2,000 "held out" that no network here has seen. The digits are
    those of LeCun, Cortes and Burges, as weights/README.md says.

    Raises InputError for a part that is none.
    """
    if part not in PARTS:
        raise InputError(f"part is one of {', '.join(map(repr, PARTS))}, not {part!r}")
    with np.load(weights.find("mnist.npz", "mnist_data.py", path)) as archive:
        images, labels = (torch.from_numpy(archive[name][PARTS[part]]) for name in archive)
    return images.unsqueeze(1).to(torch.float32) / 127.5 - 1, labels.to(torch.int64)
