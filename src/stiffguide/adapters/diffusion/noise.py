"""Noise that belongs to a sample, not to its place in a batch: one stream per seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stiffguide.errors import InputError

START, LATER = 0, 1  # streams of one seed: the start state, and what is added on the way


def noise_like(
    shape: Sequence[int] | Tensor,
    seeds: Sequence[int] | Tensor,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Unit-variance noise (B, ...) whose row i depends on seeds[i] only, bitwise.

    shape: (B, ...), or a tensor of that shape whose dtype and device are then taken. Drawn on the
    CPU in float32 (float64 if that is asked for), so that a device changes nothing.
    """
    size = tuple(shape.shape) if isinstance(shape, Tensor) else tuple(shape)
    if isinstance(shape, Tensor):
        dtype, device = dtype or shape.dtype, device or shape.device
    source = Source(seeds, size, dtype or torch.float32, torch.device(device or "cpu"), START)
    return source.draw()


class Source:
    """Draws of one shape, row by row from the streams of the seeds, or from torch's own."""

    def __init__(
        self,
        seeds: Sequence[int] | Tensor | None,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        device: torch.device,
        stream: int = LATER,
    ) -> None:
        self.shape, self.dtype, self.device = shape, dtype, device
        self._generators = None if seeds is None else _generators(seeds, shape, stream)

    def draw(self) -> Tensor:
        """The next draw (B, ...)."""
        if self._generators is None:
            return torch.randn(self.shape, dtype=self.dtype, device=self.device)
        wide = torch.float64 if self.dtype == torch.float64 else torch.float32
        drawn = torch.empty(self.shape, dtype=wide)
        for row, generator in zip(drawn, self._generators, strict=True):
            torch.randn(self.shape[1:], generator=generator, dtype=wide, out=row)
        return drawn.to(self.device, self.dtype)


def _generators(
    seeds: Sequence[int] | Tensor, shape: tuple[int, ...], stream: int
) -> list[torch.Generator]:
    numbers = seeds.tolist() if isinstance(seeds, Tensor) else list(seeds)
    if not shape or len(numbers) != shape[0]:
        raise InputError(f"{len(numbers)} seeds for a batch of {shape[0] if shape else 0} rows")
    if not all(isinstance(s, (int, np.integer)) and s >= 0 for s in numbers):
        raise InputError("seeds must be whole numbers from 0 on, one per row")
    made = []
    for seed in numbers:
        state = np.random.SeedSequence([int(seed), stream]).generate_state(1, np.uint64)
        made.append(torch.Generator().manual_seed(int(state[0] >> np.uint64(1))))
    return made
