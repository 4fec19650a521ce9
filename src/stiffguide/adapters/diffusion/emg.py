"""EMG: a multistep exponential integrator that reads the Jacobian along its own correction.

In a direction in which the data is Gaussian of variance C, the denoiser output along the flow is
linear in g(sigma) = (1 + sigma^2/C)^(-1/2). EMG predicts in g, with one C per sample that it
estimates from what it has evaluated, corrects each state with the evaluation just made, and moves
that evaluation along the correction by the slope that C implies: the guided part. One evaluation a
step, nothing to tune.

Letters: a step goes from a to b; p and q are the levels before a. With s(x) = sqrt(C + x^2), the
differences and integrals of g have forms without cancellation:

    g(x) - g(y)               = sqrt(C) (y^2 - x^2)/(s_x s_y (s_x + s_y))
    b int (g - g_a) d(1/x)    = sqrt(C) (a - b)^2/(s_a (s_a s_b + C + a b))

Vectors are (B, F) in the dtype of the state, and passes over them are what a step costs: where
nothing follows it, a step writes over what it has made itself. The scalars are those of
`emg_weights`. Nothing waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stiffguide.adapters.diffusion.emg_lagged import (
    Before,
    corrected_again,
    lagged_scalars,
    panel_for,
)
from stiffguide.adapters.diffusion.emg_weights import (
    Products,
    Scalars,
    counts_on_host,
    dots,
    dots_on_host,
    followed,
    numbers_for,
    scalars,
)
from stiffguide.adapters.diffusion.emg_with_noise import NoisyState, noisy_step
from stiffguide.adapters.diffusion.sampler import Advance, Denoise, Interval, Splitting
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.stepping.contracts import Guidance

FEW = 8  # steps up to which two points do better than three


class Guess(NamedTuple):
    """By how much three points bend what two say of the next evaluation, to be judged by it."""

    bend: Tensor  # (B, F), in units of the second divided difference of D
    scales: Scalars  # (2, B): what two points expect is scales[0] times the rise before,
    # and what three points expect beyond it scales[1] times the bend


class EmgState(NamedTuple):
    """What EMG remembers; D is the evaluation, as moved by the guided part."""

    third: bool  # whether three points are used at all
    x: Tensor | None  # (B, F) the corrected state at p
    d: Tensor | None  # (B, F) D at p
    rise: Tensor | None  # (B, F) D at p minus D at q
    guess: Guess | None
    before: Before | None = None  # for the lagged correction


Memory = EmgState | NoisyState


@dataclass(frozen=True)
class Emg:
    """The guided exponential multistep sampler; `points` 2, 3, or None: by the number of steps.

    Three points, of order 3, pay from 9 steps on. A step to 0 uses two. `lagged`: where there are
    three points, the interval before the last is corrected again (see `emg_lagged`). With eta there
    are two points, see `emg_with_noise`.

    Raises InputError for points that are not 2, 3 or None, or that are given with `lagged`.
    """

    points: int | None = None
    name: str = "emg"
    error_order: int | None = None
    memory: bool = True
    reversible: bool = False
    lagged: bool = False

    def __post_init__(self) -> None:
        if self.points not in (None, 2, 3):
            raise InputError(f"Emg: points is 2, 3 or None, not {self.points}")
        if self.lagged and self.points == 2:
            raise InputError("Emg: the lagged correction is made of three points: leave out points")

    @property
    def splitting(self) -> Splitting | None:
        """None where third points are asked for, which noise does not allow."""
        return None if self.lagged or self.points == 3 else "sde"

    @property
    def order(self) -> int:
        """Order of convergence."""
        return 2 if self.points == 2 else 3

    def bind(self, rule: Guidance) -> Emg:
        """Refused: its guidance is its own."""
        raise UnsupportedError(
            f"emg has no embedded pair for {type(rule).__name__}: its guidance is built in; use "
            "method='heun', or guidance=None"
        )

    def init(self, x: Tensor, levels: Sequence[float]) -> EmgState:
        """Nothing evaluated yet; what the levels decide is made here, so that no step waits."""
        third = len(levels) - 1 > FEW if self.points is None else self.points == 3
        device = None if counts_on_host(x) and not followed(x) else x.device
        for i in range(2, len(levels)):
            numbers_for(tuple(reversed(levels[max(0, i - 3) : i + 1])), device)
            if third and self.lagged and i > 2:
                panel_for(tuple(reversed(levels[max(0, i - 4) : i])), device)
        return EmgState(third, None, None, None, None)

    def step(self, denoise: Denoise, interval: Interval, x: Tensor, state: Memory) -> Advance:
        """One evaluation, by which the state that it was made at is corrected first."""
        if interval.noise is not None:
            past = state if isinstance(state, NoisyState) else NoisyState()
            return noisy_step(denoise, interval, interval.noise, x, past)
        assert isinstance(state, EmgState)
        a, b = interval.start, interval.end
        d = denoise(x, a)
        if state.x is None or state.d is None:
            first = EmgState(state.third, x, d, None, None)
            return Advance(torch.lerp(d, x, b / a), x, d, first)
        levels = (b, a, *interval.past)[:5]
        free = not followed(x, d, state.x, state.d)
        rise, left = d - state.d, x - d
        columns, scales = _weights(levels, x, _pairs(rise, left, state), state, free)
        if state.before is not None:
            columns, rise, state = _again(columns, rise, state, levels[2] / levels[3])
        kept = Before(state.x, state.rise) if self.lagged and state.third else None
        away = _away(a / levels[2], columns, (x, rise), state, left if free else None)
        x, d = torch.addcmul(x, columns[1], away), torch.addcmul(d, columns[2], away)
        rise = _grown(rise, columns[2], away, free)
        x1 = _grown(torch.lerp(d, x, b / a, out=away if free else None), columns[3], rise, free)
        if len(columns) < 8:
            return Advance(x1, x, d, EmgState(state.third, x, d, rise, None, kept))
        part, u, v = columns[5:]
        assert state.rise is not None
        bend = _grown(rise * u, -v, state.rise, free)
        x1 = _grown(x1, part, bend, free)
        guess = Guess(bend, scales)
        return Advance(x1, x, d, EmgState(state.third, x, d, rise, guess, kept))


def _pairs(rise: Tensor, left: Tensor, state: EmgState) -> list[tuple[Tensor, Tensor]]:
    """The vectors of the inner products in `Products`, as far as there is a past."""
    pairs = [(rise, rise), (rise, left)]
    if state.rise is not None:
        pairs.append((state.rise, state.rise))
        if state.guess is not None:
            bend = state.guess.bend
            pairs += [(rise, bend), (state.rise, bend), (bend, bend)]
    return pairs


def _again(
    columns: tuple[Tensor, ...], rise: Tensor, state: EmgState, ratio: float
) -> tuple[tuple[Tensor, ...], Tensor, EmgState]:
    """What the lagged correction leaves of the columns, and moves."""
    assert state.x is not None
    assert state.d is not None
    assert state.rise is not None
    assert state.before is not None
    rises = (rise, state.rise)
    found = corrected_again(columns, state.x, state.d, rises, state.before, ratio)
    moved = state._replace(x=found.x, d=found.d, rise=found.rises[1])
    return found.columns, found.rises[0], moved


def _weights(
    levels: tuple[float, ...],
    x: Tensor,
    pairs: list[tuple[Tensor, Tensor]],
    state: EmgState,
    free: bool,
) -> tuple[tuple[Tensor, ...], Scalars]:
    """The weights of `scalars` as columns (B, 1) in the dtype of x; and scales of a new guess."""
    scales = None if state.guess is None else state.guess.scales
    count = scalars if state.before is None else lagged_scalars
    if free and counts_on_host(x):
        known = scales.detach().numpy() if isinstance(scales, Tensor) else scales
        with np.errstate(all="ignore"):
            products = Products(*dots_on_host(pairs))
            made = count(np, levels, numbers_for(levels[:4], None), products, known, state.third)
        kind = np.float32 if x.dtype == torch.float32 else np.float64
        columns = torch.from_numpy(np.array(made.weights, kind)[..., None])
        return columns.unbind(0), np.array(made.scales)
    known = None if scales is None else torch.as_tensor(scales, device=x.device)
    numbers, products = numbers_for(levels[:4], x.device), Products(*dots(pairs))
    made = count(torch, levels, numbers, products, known, state.third)
    ahead = torch.stack(made.scales) if made.scales else None
    return torch.stack(made.weights).to(x.dtype).unsqueeze(-1).unbind(0), ahead


def _away(
    ratio: float,
    weights: tuple[Tensor, ...],
    vectors: tuple[Tensor, Tensor],
    state: EmgState,
    out: Tensor | None,
) -> Tensor:
    """How far from x, in units of x and of D, the corrector of p -> a finds the state (B, F)."""
    x, rise = vectors
    assert state.x is not None
    assert state.d is not None
    away = torch.lerp(state.d, state.x, ratio, out=out).sub_(x)
    if len(weights) > 4:
        assert state.rise is not None
        away = _grown(away, -weights[4], state.rise, out is not None)
    return _grown(away, weights[0], rise, out is not None)


def _grown(x: Tensor, weight: Tensor, y: Tensor, free: bool) -> Tensor:
    """X + weight y, in the place of x if that is free: vmap has no rule for writing there."""
    return torch.addcmul(x, weight, y, out=x if free else None)
