"""A class-conditional network as a denoiser: EDM's preconditioning, with the classes bound."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from stiffguide.errors import InputError
from stiffguide.tensors import rows

SIGMA_DATA = 0.5


class ClassDenoiser:
    """`denoiser(x, sigma) -> x0` of a network F(x, level, label), for deviations from its mean.

    D(x; sigma) = mean + c_skip y + c_out F(c_in y, log(sigma)/4, label) with y = x - mean (Karras
    et al., arXiv 2206.00364, table 1, sigma_data = 0.5). The network has `label`, an embedding
    whose last row is the null class, and `mean`, shaped as it takes one row. `classes` is None
    (any class), one class, or one for each row (B,). States are (B, ...) with as many numbers a
    row as `mean`, in any dtype; the network computes in its own.
    """

    net: Any

    def __init__(self, net: nn.Module, classes: int | Tensor | None = None) -> None:
        self.net = net
        self.classes: Tensor = self._labels(classes).to(self.net.label.weight.device)

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The denoised x0, shaped as x (B, ...), at noise levels sigma (B,)."""
        own, mean = self.net.label.weight.dtype, self.net.mean.to(x.dtype)
        if x.ndim < 2 or x[0].numel() != mean.numel():
            raise InputError(f"{self.net.takes}, not {tuple(x.shape)}")
        label = self.classes.expand(len(x)) if self.classes.ndim == 0 else self.classes
        if len(label) != len(x):
            raise InputError(f"{len(label)} classes were bound, the batch has {len(x)} rows")
        sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).expand(len(x))
        size = (SIGMA_DATA**2 + sigma.square()).sqrt()
        off = x.reshape(len(x), *mean.shape) - mean
        scaled = (off / rows(size, off)).to(own)
        # at sigma = 0 the network has no say, but would make NaN of an infinite level
        level = sigma.clamp(min=torch.finfo(x.dtype).tiny).log() / 4
        raw = self.net(scaled, level.to(own), label).to(x.dtype)
        skip, gain = (SIGMA_DATA / size).square(), SIGMA_DATA * sigma / size
        x0: Tensor = mean + rows(skip, off) * off + rows(gain, off) * raw
        return x0.reshape(x.shape)

    def of_class(self, classes: int | Tensor | None) -> ClassDenoiser:
        """The same network bound to other classes; None is the unconditional branch of CFG."""
        return ClassDenoiser(self.net, classes)

    def to(self, device: torch.device | str) -> ClassDenoiser:
        """The same denoiser on another device (the network moves)."""
        return ClassDenoiser(self.net.to(device), self.classes)

    def _labels(self, classes: int | Tensor | None) -> Tensor:
        """Labels of the network, () or (B,)."""
        null = self.net.label.num_embeddings - 1
        label = torch.as_tensor(null if classes is None else classes)
        known = not label.is_floating_point() and bool(((label >= 0) & (label <= null)).all())
        if not known or label.ndim > 1:
            raise InputError(
                f"classes = {classes!r}: a digit 0 ... {null - 1}, one for each row, or None for "
                "any digit"
            )
        return label.to(torch.int64)
