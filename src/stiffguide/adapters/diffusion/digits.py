"""A small trained denoiser: 8 x 8 digits, by class or unconditional.

An MLP inside `ClassDenoiser`, trained by `examples/train_digits.py` on scikit-learn's digits.
Images are (8, 8) with values from -1 (paper) to 1 (ink). The files stand beside the package
(`weights`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stiffguide.adapters.diffusion import weights
from stiffguide.adapters.diffusion.class_denoiser import ClassDenoiser
from stiffguide.errors import InputError

SIDE = 8
PIXELS = SIDE * SIDE
CLASSES = 10
NULL = CLASSES  # the label that means "any digit"

FREQUENCIES = 16
MODELS = ("digits", "digits_weak")


class DigitsNet(nn.Module):
    """Residual MLP F(x, c_noise, class) -> (B, 64), `width` wide, modulated by noise and class."""

    blocks: int
    width: int

    waves: Tensor
    mean: Tensor  # (64,), of the data
    takes = "digits are (B, 8, 8) or (B, 64)"

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.width, self.blocks = width, blocks
        self.register_buffer("waves", torch.linspace(0.25, 4.0, FREQUENCIES), persistent=False)
        self.register_buffer("mean", torch.zeros(PIXELS))
        self.label: nn.Embedding = nn.Embedding(CLASSES + 1, width)
        self.noise: nn.Sequential = nn.Sequential(nn.Linear(2 * FREQUENCIES, width), nn.SiLU())
        self.mix: nn.Linear = nn.Linear(width, width)
        self.enter: nn.Linear = nn.Linear(PIXELS, width)
        self.first: nn.ModuleList = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.second: nn.ModuleList = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.leave: nn.Linear = nn.Linear(width, PIXELS)

    def forward(self, x: Tensor, level: Tensor, label: Tensor) -> Tensor:
        """The raw output (B, 64) for scaled pixels x (B, 64), level (B,) and label (B,)."""
        angle = torch.pi * level.unsqueeze(-1) * self.waves
        told = self.noise(torch.cat((angle.cos(), angle.sin()), -1)) + self.label(label)
        told = F.silu(self.mix(told))
        h = self.enter(x)
        for first, second in zip(self.first, self.second, strict=True):
            h = h + second(F.silu(first(F.layer_norm(h, (self.width,))) + told))
        out: Tensor = self.leave(F.layer_norm(h, (self.width,)))
        return out


def load_digits_denoiser(
    classes: int | Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    model: str = "digits",
    *,
    path: str | Path | None = None,
) -> ClassDenoiser:
    """The denoiser with trained weights, for `classes` (see `ClassDenoiser`).

    `model` is "digits", or "digits_weak": a smaller network that was trained less, for
    autoguidance. States are (B, 64), (B, 8, 8) or (B, 1, 8, 8). `path` names the file where it is
    not found by itself (see `weights`).

    Raises InputError for a model that is none.
    """
    if model not in MODELS:
        raise InputError(f"no digits model is called {model!r}; there are {', '.join(MODELS)}")
    trained = weights.read(weights.find(f"{model}.safetensors", "train_digits.py", path))
    net = DigitsNet(**trained.net)
    net.load_state_dict(trained.tensors)
    return ClassDenoiser(net.to(dtype).eval().requires_grad_(False), classes)


def digits_data() -> tuple[Tensor, Tensor]:
    """The 1797 training images (N, 8, 8) in [-1, 1] and their classes (N,), from scikit-learn.

    Raises InputError without scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise InputError(
            "the digits data come with scikit-learn: pip install 'stiffguide[digits]'"
        ) from error
    data: Any = load_digits()
    images = torch.from_numpy(data.images).to(torch.float32) / 8 - 1
    return images, torch.from_numpy(data.target).to(torch.int64)
