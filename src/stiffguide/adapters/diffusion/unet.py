"""A small U-Net for one-channel images that is told the noise level and a class."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 28
FREQUENCIES = 16
GROUPS = 8  # of the group norms: they see one image each, so that a batch equals its rows
HEADS = 4


class Block(nn.Module):
    """A residual block of two convolutions; what the network was told scales and shifts between."""

    def __init__(self, enters: int, leaves: int, told: int) -> None:
        super().__init__()
        self.first_norm: nn.GroupNorm = nn.GroupNorm(GROUPS, enters)
        self.first: nn.Conv2d = nn.Conv2d(enters, leaves, 3, padding=1)
        self.second_norm: nn.GroupNorm = nn.GroupNorm(GROUPS, leaves)
        self.second: nn.Conv2d = nn.Conv2d(leaves, leaves, 3, padding=1)
        self.modulate: nn.Linear = nn.Linear(told, 2 * leaves)
        self.skip: nn.Conv2d | nn.Identity = (
            nn.Conv2d(enters, leaves, 1) if enters != leaves else nn.Identity()
        )
        nn.init.zeros_(self.second.weight)  # a block begins as what its skip does

    def forward(self, h: Tensor, told: Tensor) -> Tensor:
        """Features (B, enters, H, W) and what is told (B, T) to features (B, leaves, H, W)."""
        scale, shift = self.modulate(told)[..., None, None].chunk(2, dim=1)
        inner = self.second_norm(self.first(F.silu(self.first_norm(h))))
        out: Tensor = self.skip(h) + self.second(F.silu(inner * (1 + scale) + shift))
        return out


class Attention(nn.Module):
    """Self-attention over the places of a small map, added to it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm: nn.GroupNorm = nn.GroupNorm(GROUPS, width)
        self.enter: nn.Conv2d = nn.Conv2d(width, 3 * width, 1)
        self.leave: nn.Conv2d = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.leave.weight)

    def forward(self, h: Tensor) -> Tensor:
        """Features (B, C, H, W) to the like."""
        b, c, height, width = h.shape
        parts = self.enter(self.norm(h)).reshape(b, 3, HEADS, c // HEADS, height * width)
        query, key, value = parts.transpose(-1, -2).unbind(1)
        seen = F.scaled_dot_product_attention(query, key, value).transpose(-1, -2)
        out: Tensor = h + self.leave(seen.reshape(b, c, height, width))
        return out


class UNet(nn.Module):
    """F(x, level, label) on maps of 28 x 28, 14 x 14 and 7 x 7, each with a width of its own.

    Widths are multiples of 8; most of the work is on the smaller maps, where a digit is a few
    strokes. There are `classes` labels and one more, the null class; `mean` (1, 28, 28) is that of
    the data, for a denoiser of deviations.
    """

    waves: Tensor
    mean: Tensor
    takes = "images are (B, 1, 28, 28)"

    def __init__(
        self, widths: Sequence[int] = (16, 48, 96), told: int = 96, classes: int = 10
    ) -> None:
        super().__init__()
        fine, half, quarter = widths
        # low frequencies alone: what a network is told by fast waves it answers roughly in sigma
        self.register_buffer("waves", torch.linspace(0.25, 4.0, FREQUENCIES), persistent=False)
        self.register_buffer("mean", torch.zeros(1, SIDE, SIDE))
        self.label: nn.Embedding = nn.Embedding(classes + 1, told)
        self.noise: nn.Linear = nn.Linear(2 * FREQUENCIES, told)
        self.mix: nn.Linear = nn.Linear(told, told)
        self.enter: nn.Conv2d = nn.Conv2d(1, fine, 3, padding=1)
        self.fine_down: nn.ModuleList = _blocks(told, fine, fine)
        self.to_half: nn.Conv2d = nn.Conv2d(fine, half, 3, stride=2, padding=1)
        self.half_down: nn.ModuleList = _blocks(told, half, half, half)
        self.to_quarter: nn.Conv2d = nn.Conv2d(half, quarter, 3, stride=2, padding=1)
        self.quarter: nn.ModuleList = _blocks(told, quarter, quarter, quarter)
        self.attention: Attention = Attention(quarter)
        self.bottom: Block = Block(quarter, quarter, told)
        self.from_quarter: nn.Conv2d = nn.Conv2d(quarter, half, 1)
        self.half_up: nn.ModuleList = _blocks(told, 2 * half, half, half)
        self.from_half: nn.Conv2d = nn.Conv2d(half, fine, 1)
        self.fine_up: nn.ModuleList = _blocks(told, 2 * fine, fine)
        self.last_norm: nn.GroupNorm = nn.GroupNorm(GROUPS, fine)
        self.leave: nn.Conv2d = nn.Conv2d(fine, 1, 3, padding=1)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Tensor, level: Tensor, label: Tensor) -> Tensor:
        """The raw output, like x (B, 1, 28, 28), for level (B,) = log(sigma)/4 and label (B,)."""
        told = self._told(level, label)
        fine = _through(self.fine_down, self.enter(x), told)
        half = _through(self.half_down, self.to_half(fine), told)
        quarter = _through(self.quarter, self.to_quarter(half), told)
        quarter = self.bottom(self.attention(quarter), told)
        half = _through(self.half_up, _joined(self.from_quarter(quarter), half), told)
        fine = _through(self.fine_up, _joined(self.from_half(half), fine), told)
        out: Tensor = self.leave(F.silu(self.last_norm(fine)))
        return out

    def _told(self, level: Tensor, label: Tensor) -> Tensor:
        angle = torch.pi * level.unsqueeze(-1) * self.waves
        waves = torch.cat((angle.cos(), angle.sin()), -1)
        told: Tensor = F.silu(self.mix(F.silu(self.noise(waves)) + self.label(label)))
        return told


def _blocks(told: int, *widths: int) -> nn.ModuleList:
    return nn.ModuleList(Block(enters, leaves, told) for enters, leaves in pairwise(widths))


def _through(blocks: nn.ModuleList, h: Tensor, told: Tensor) -> Tensor:
    for block in blocks:
        h = block(h, told)
    return h


def _joined(small: Tensor, skipped: Tensor) -> Tensor:
    """A map of half the side, doubled, beside the one that went down."""
    return torch.cat((F.interpolate(small, scale_factor=2.0), skipped), 1)
