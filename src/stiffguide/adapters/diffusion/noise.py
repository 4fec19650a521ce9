"""Noise that belongs to a sample, not to its place in a batch: one stream per seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stiffguide.errors import InputError

# streams of one seed: the start state, the draws of churn, and its Brownian motion
START, LATER, MOTION = 0, 1, 2


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

    device: torch.device
    dtype: torch.dtype
    shape: tuple[int, ...]

    def __init__(
        self,
        seeds: Sequence[int] | Tensor | None,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        device: torch.device,
        stream: int = LATER,
    ) -> None:
        self.shape, self.dtype, self.device = shape, dtype, device
        self._generators: list[torch.Generator] | None = None
        if seeds is not None:
            self._generators = [generator(seed, stream) for seed in checked_seeds(seeds, shape)]

    def draw(self) -> Tensor:
        """The next draw (B, ...)."""
        if self._generators is None:
            return torch.randn(self.shape, dtype=self.dtype, device=self.device)
        wide = torch.float64 if self.dtype == torch.float64 else torch.float32
        drawn = torch.empty(self.shape, dtype=wide)
        for row, generator in zip(drawn, self._generators, strict=True):
            torch.randn(self.shape[1:], generator=generator, dtype=wide, out=row)
        return drawn.to(self.device, self.dtype)


def checked_seeds(seeds: Sequence[int] | Tensor, shape: tuple[int, ...]) -> list[int]:
    """One seed a row of a batch of this shape; raises InputError."""
    numbers = seeds.tolist() if isinstance(seeds, Tensor) else list(seeds)
    if not shape or len(numbers) != shape[0]:
        raise InputError(f"{len(numbers)} seeds for a batch of {shape[0] if shape else 0} rows")
    if not all(isinstance(s, (int, np.integer)) and s >= 0 for s in numbers):
        raise InputError("seeds must be whole numbers from 0 on, one per row")
    return [int(seed) for seed in numbers]


def generator(*words: int) -> torch.Generator:
    """The generator that belongs to these whole numbers, independent of that of any others."""
    state = np.random.SeedSequence(words).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
