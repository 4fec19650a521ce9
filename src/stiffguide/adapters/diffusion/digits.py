"""A small trained denoiser in the box: 8 x 8 digits, by class or unconditional.

The network is an EDM-preconditioned MLP (Karras et al., 2022, table 1) with sigma_data = 0.5, for
deviations from the mean image, trained by `examples/train_digits.py` on scikit-learn's digits.
Images are (8, 8) with values from -1 (paper) to 1 (ink).
"""

from __future__ import annotations

import json
from importlib.resources import as_file, files
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stiffguide.errors import InputError
from stiffguide.tensors import rows

SIDE = 8
PIXELS = SIDE * SIDE
CLASSES = 10
NULL = CLASSES  # the label that means "any digit"
SIGMA_DATA = 0.5

FREQUENCIES = 16
MODELS = ("digits", "digits_weak")


class DigitsNet(nn.Module):
    """Residual MLP F(x, c_noise, class) -> (B, 64), `width` wide, modulated by noise and class."""

    waves: Tensor
    mean: Tensor  # (64,), of the data

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.width, self.blocks = width, blocks
        self.register_buffer("waves", torch.linspace(0.25, 4.0, FREQUENCIES), persistent=False)
        self.register_buffer("mean", torch.zeros(PIXELS))
        self.label = nn.Embedding(CLASSES + 1, width)
        self.noise = nn.Sequential(nn.Linear(2 * FREQUENCIES, width), nn.SiLU())
        self.mix = nn.Linear(width, width)
        self.enter = nn.Linear(PIXELS, width)
        self.first = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.second = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.leave = nn.Linear(width, PIXELS)

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


class DigitsDenoiser:
    """The preconditioned network as `denoiser(x, sigma) -> x0`, with the classes bound.

    `classes` is None (any digit), one class, or one class for each row (B,). States are
    (B, 64), (B, 8, 8) or (B, 1, 8, 8) in any dtype; the network computes in its own.
    """

    def __init__(self, net: DigitsNet, classes: int | Tensor | None = None) -> None:
        self.net = net
        self.classes = _labels(classes).to(net.leave.weight.device)

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The denoised x0, shaped as x (B, ...), at noise levels sigma (B,)."""
        weight = self.net.leave.weight
        if x.ndim < 2 or x[0].numel() != PIXELS:
            raise InputError(f"digits are (B, 8, 8) or (B, 64), not {tuple(x.shape)}")
        label = self.classes.expand(len(x)) if self.classes.ndim == 0 else self.classes
        if len(label) != len(x):
            raise InputError(f"{len(label)} classes were bound, the batch has {len(x)} rows")
        sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).expand(len(x))
        size = (SIGMA_DATA**2 + sigma.square()).sqrt()
        mean = self.net.mean.to(x.dtype)
        off = x.flatten(1) - mean
        scaled = (off / rows(size, off)).to(weight.dtype)
        raw = self.net(scaled, (sigma.log() / 4).to(weight.dtype), label).to(x.dtype)
        skip, gain = (SIGMA_DATA / size).square(), SIGMA_DATA * sigma / size
        x0: Tensor = mean + rows(skip, off) * off + rows(gain, off) * raw
        return x0.reshape(x.shape)

    def of_class(self, classes: int | Tensor | None) -> DigitsDenoiser:
        """The same network bound to other classes; None is the unconditional branch of CFG."""
        return DigitsDenoiser(self.net, classes)

    def to(self, device: torch.device | str) -> DigitsDenoiser:
        """The same denoiser on another device (the network moves)."""
        return DigitsDenoiser(self.net.to(device), self.classes)


def load_digits_denoiser(
    classes: int | Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    model: str = "digits",
) -> DigitsDenoiser:
    """The denoiser with the weights of the package, for `classes` (see `DigitsDenoiser`).

    `model` is "digits", or "digits_weak": a smaller network that was trained less, for
    autoguidance.
    """
    if model not in MODELS:
        raise InputError(f"no digits model is called {model!r}; there are {', '.join(MODELS)}")
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise InputError(
            "the digits weights are a safetensors file: pip install 'stiffguide[digits]'"
        ) from error
    with (
        as_file(files(__package__) / "weights" / f"{model}.safetensors") as path,
        safe_open(path, framework="pt") as archive,
    ):
        shape = json.loads(archive.metadata()["net"])
        weights = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
    net = DigitsNet(**shape)
    net.load_state_dict(weights)
    net = net.to(dtype).eval().requires_grad_(False)
    return DigitsDenoiser(net, classes)


def digits_data() -> tuple[Tensor, Tensor]:
    """The 1797 training images (N, 8, 8) in [-1, 1] and their classes (N,), from scikit-learn."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise InputError(
            "the digits data come with scikit-learn: pip install 'stiffguide[digits]'"
        ) from error
    data: Any = load_digits()
    images = torch.from_numpy(data.images).to(torch.float32) / 8 - 1
    return images, torch.from_numpy(data.target).to(torch.int64)


def _labels(classes: int | Tensor | None) -> Tensor:
    """Labels of the network, () or (B,)."""
    label = torch.as_tensor(NULL if classes is None else classes)
    known = not label.is_floating_point() and bool(((label >= 0) & (label <= NULL)).all())
    if not known or label.ndim > 1:
        raise InputError(
            f"classes = {classes!r}: a digit 0 ... 9, one for each row, or None for any digit"
        )
    return label.to(torch.int64)
