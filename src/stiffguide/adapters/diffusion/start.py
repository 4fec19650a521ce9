"""Where a run starts: noise and image, checked, and what a mask keeps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.evaluator import Kept
from stiffguide.errors import InputError


@dataclass(frozen=True)
class Start:
    """Checked start: noise and image (B, ...) in the dtype of the state."""

    noise: Tensor
    image: Tensor
    kept: Kept | None

    @property
    def shape(self) -> tuple[int, ...]:
        """(B, ...)."""
        return tuple(self.noise.shape)

    @classmethod
    def of(
        cls, noise: Tensor, init: Tensor | None, mask: Tensor | None, dtype: torch.dtype | None
    ) -> Start:
        """Check and cast; raises InputError."""
        if not isinstance(noise, Tensor) or not noise.is_floating_point():
            raise InputError("noise must be a real floating-point tensor (B, ...)")
        if noise.ndim < 2 or not noise.numel():
            raise InputError(
                f"noise has shape {tuple(noise.shape)}: the first axis is the batch, and a sample "
                "has at least one axis and one value"
            )
        kind = dtype or (noise.dtype if noise.dtype == torch.float64 else torch.float32)
        if kind not in (torch.float32, torch.float64):
            raise InputError(
                f"dtype is that of the state, float32 or float64, not {kind}; a model in "
                "half precision is model_dtype"
            )
        noise = noise.detach().to(kind)
        image = torch.zeros((), dtype=kind, device=noise.device)
        if init is not None:
            image = _fitting(init, noise, "init")
        if mask is None:
            return cls(noise, image, None)
        if init is None:
            raise InputError("mask says where init is kept: give init too")
        if mask.dtype != torch.bool and bool(((mask < 0) | (mask > 1)).any()):
            raise InputError("mask must lie in [0, 1]: 1 where something new is wanted")
        part = _fitting(mask, noise, "mask")
        return cls(noise, image, Kept(image, part, noise))


def _fitting(value: Tensor, noise: Tensor, name: str) -> Tensor:
    try:
        return value.detach().to(noise).expand(noise.shape)
    except RuntimeError as error:
        raise InputError(
            f"{name} has shape {tuple(value.shape)}, which does not fit noise {tuple(noise.shape)}"
        ) from error
