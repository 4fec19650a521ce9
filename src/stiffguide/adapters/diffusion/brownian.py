"""Brownian motions that belong to samples: an increment is fixed by seed, shape and interval.

The clock of the motion is tau = 1/sigma^2. In VE form the reverse process of eta = 1 adds to x the
increments of sigma_b^2 B(tau), exactly: what is added over two steps is then what one step over
both would have added, and a run with more steps approaches the path of the run with fewer.

The axis of tau is cut into octaves [2^k, 2^(k+1)). In each the motion is built from its end inwards
by the law of the Brownian bridge (Levy's construction): the value halfway between two known ones is
their mean plus noise that is drawn for that place and no other. After DEPTH halvings it is a
straight line: a millionth of an octave, within which increments follow each other's direction.
Nothing that was asked before changes an answer, so levels may come in any order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.noise import MOTION, checked_seeds, generator
from stiffguide.adapters.diffusion.splitting import Motion
from stiffguide.errors import InputError

DEPTH = 20  # halvings of an octave
CELLS = 1 << DEPTH
REACH = 110  # octaves before the last, whose noise is lost in the rounding of float64
SHIFT = 1 << 16  # makes octaves of all floats positive


class Moment(NamedTuple):
    """A time of the motion: which octave, which of its cells, and where in that."""

    octave: int
    cell: int
    part: float  # in [0, 1]

    @classmethod
    def of(cls, sigma: float) -> Moment:
        """The time 1/sigma^2."""
        if not sigma > 0:
            raise InputError(f"the motion runs over levels above 0, not to {sigma:g}")
        if math.isinf(sigma):
            return cls(-SHIFT, 0, 0.0)
        logarithm = -2 * math.log2(sigma)
        octave = math.floor(logarithm)
        place = (math.exp2(logarithm - octave) - 1) * CELLS
        cell = min(int(place), CELLS - 1)
        return cls(octave, cell, place - cell)


def variance(first: Moment, last: Moment) -> float:
    """That of the increment between two moments, in lengths of the last one's octave.

    Not quite their distance: a cell that is passed in part counts as its straight line does.
    """
    if first.octave == last.octave and first.cell == last.cell:
        return (last.part - first.part) ** 2 / CELLS
    whole = last.octave * CELLS + last.cell
    if first.octave == last.octave:
        between = whole - (first.octave * CELLS + first.cell) - 1
        return ((1 - first.part) ** 2 + between + last.part**2) / CELLS
    rest = ((1 - first.part) ** 2 + CELLS - first.cell - 1) * math.exp2(first.octave - last.octave)
    # the octaves between: lengths 2^(k - last) from first + 1 to last - 1 add up to this
    between_octaves = 1 - math.exp2(first.octave + 1 - last.octave)
    return (rest + last.cell + last.part**2) / CELLS + between_octaves


class Brownian:
    """One standard Brownian motion per seed, of the clock 1/sigma^2; independent components.

    shape: (B, ...), with one of `seeds` a row. It is called as k-diffusion calls a noise sampler.
    Row i of an answer depends on seeds[i], shape[1:] and the two levels only, bitwise: not on B,
    the other rows, what was asked before, or the device. Drawn in float32, or in float64 if dtype
    is that; raises InputError for bad seeds and for levels that are not above 0.
    """

    def __init__(
        self,
        seeds: Sequence[int] | Tensor,
        shape: Sequence[int],
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.shape: tuple[int, ...] = tuple(shape)
        self._seeds = checked_seeds(seeds, self.shape)
        self._dtype, self._device = dtype, device
        self._wide = torch.float64 if dtype == torch.float64 else torch.float32
        self._known: dict[Moment, Tensor] = {}

    def __call__(self, sigma: float | Tensor, sigma_next: float | Tensor) -> Tensor:
        """Noise (B, ...) of unit variance: the increment between two levels over its deviation."""
        first, last, sign = _ordered(sigma, sigma_next)
        if first == last:
            return torch.zeros(self.shape, dtype=self._dtype, device=self._device)
        rise = self._rise(first, last) * (sign / math.sqrt(variance(first, last)))
        return rise.to(self._device, self._dtype)

    def increment(self, sigma: float | Tensor, sigma_next: float | Tensor) -> Tensor:
        """B(1/sigma_next^2) - B(1/sigma^2), (B, ...)."""
        first, last, sign = _ordered(sigma, sigma_next)
        rise = self._rise(first, last) * (sign * math.exp2(last.octave / 2))
        return rise.to(self._device, self._dtype)

    def _rise(self, first: Moment, last: Moment) -> Tensor:
        """The increment (B, ...) in units of the last octave's length to the power 1/2."""
        known = {moment: self._known.get(moment) for moment in (first, last)}
        values = {m: self._value(m) if v is None else v for m, v in known.items()}
        self._known = values  # the next interval mostly begins where this one ends
        if first.octave == last.octave:
            return values[last] - values[first]
        rise = values[last]
        for octave in range(first.octave + 1, last.octave):
            rise = rise + self._drawn(octave, 0) * math.exp2((octave - last.octave) / 2)
        rest = self._drawn(first.octave, 0) - values[first]
        return rise + rest * math.exp2((first.octave - last.octave) / 2)

    def _value(self, moment: Moment) -> Tensor:
        """The motion at a moment since its octave began (B, ...), in units of its length^(1/2)."""
        octave, cell, part = moment
        left = torch.zeros(self.shape, dtype=self._wide)
        right = self._drawn(octave, 0)
        for depth in range(DEPTH):
            node = (CELLS + cell) >> (DEPTH - depth)  # 1, then 2 or 3, ...: as in a heap
            # products and sums apart: fused they would round by where a row lies in memory
            middle = (left + right) * 0.5
            middle = middle + self._drawn(octave, node) * (0.5 * math.exp2(-depth / 2))
            if cell >> (DEPTH - depth - 1) & 1:
                left = middle
            else:
                right = middle
        return left + (right - left) * part

    def _drawn(self, octave: int, node: int) -> Tensor:
        """The noise (B, ...) of a place."""
        drawn = torch.empty(self.shape, dtype=self._wide)
        for row, seed in zip(drawn, self._seeds, strict=True):
            random = generator(seed, MOTION, octave + SHIFT, node)
            torch.randn(self.shape[1:], generator=random, dtype=self._wide, out=row)
        return drawn


def _ordered(sigma: float | Tensor, sigma_next: float | Tensor) -> tuple[Moment, Moment, float]:
    """Two moments, the first not after the second, and -1.0 where that turns them round."""
    start, end = Moment.of(float(sigma)), Moment.of(float(sigma_next))
    first, last, sign = (start, end, 1.0) if start <= end else (end, start, -1.0)
    if last.octave - first.octave > REACH:
        first = Moment(last.octave - REACH, 0, 0.0)
    return first, last, sign


class Drawn:
    """Noise of intervals that follow each other, where no seeds stand behind it: every draw anew.

    An interval that begins where the last did and reaches farther goes on with what that began.
    """

    def __init__(self, draw: Callable[[], Tensor]) -> None:
        self._draw = draw
        self._last: tuple[float, float, Tensor] | None = None

    def __call__(self, sigma: float, sigma_next: float) -> Tensor:
        """Noise of unit variance in the shape of a draw."""
        unit = self._draw()
        if self._last is not None and self._last[0] == sigma and self._last[1] > sigma_next:
            _, middle, begun = self._last
            share = (middle**-2 - sigma**-2) / (sigma_next**-2 - sigma**-2)
            unit = begun * math.sqrt(share) + unit * math.sqrt(1 - share)
        self._last = (sigma, sigma_next, unit)
        return unit


def motion_of(
    seeds: Sequence[int] | Tensor | None, like: Tensor, draw: Callable[[], Tensor]
) -> Motion:
    """The motions of seeds for states like this one (B, ...); without seeds, draws."""
    if seeds is None:
        return Drawn(draw)
    return Brownian(seeds, like.shape, dtype=like.dtype, device=like.device)
