"""Dynamic thresholding of x0 (Saharia et al., arXiv 2205.11487)."""

from __future__ import annotations

import torch
from torch import Tensor


def thresholded(x0: Tensor, ratio: float, largest: float) -> Tensor:
    """x0 (B, ...) clipped at a quantile of |x0| per sample, and brought back to [-1, 1].

    The quantile is at least 1 and at most `largest`, the latter before the former: for pixels, not
    for latents.
    """
    flat = x0.reshape(len(x0), -1)
    bound = torch.quantile(flat.abs(), ratio, dim=1, keepdim=True).clamp(1.0, largest)
    return (torch.clamp(flat, -bound, bound) / bound).reshape(x0.shape)
