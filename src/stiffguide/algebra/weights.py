"""What rows of a linear system are divided by, so that pivots are compared in tolerances."""

from __future__ import annotations

import torch
from torch import Tensor


def weights(scale: Tensor) -> Tensor:
    """The tolerances (B, F) in parts of the largest one of their row."""
    least = torch.finfo(scale.dtype).eps ** 2  # what a row becomes must not overflow
    return torch.clamp(scale / scale.amax(-1, keepdim=True), min=least)
