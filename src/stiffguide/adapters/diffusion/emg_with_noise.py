"""EMG where noise is added on the way: what its parts mean along a path of the reverse SDE.

Letters are those of `emg`; the noise n of an interval is known, J is the Jacobian of D.

Interpolation. Along the SDE the flow's drift of D is left to the part 1 - eta, and D gains J n. Had
n the share v of its variance by a level, D would be expected to have the share v of J n there; in a
direction of variance C that share is linear in g^2. The flow (eta = 0) wants g itself: D is
interpolated in g^(1 + eta), against the weight of the SDE, sigma^-(1 + eta), by quadrature.

C. How D rises against x - D no longer tells C, for the rise has noise in it. But in such a
direction D is the mean plus C times (x - D)/sigma^2, wherever x lies (Tweedie's formula): how the
two rise together tells C, noise or not.

Predictor. J n of the last interval is in x already, by the corrector, and will not come again: of
the rise only the drift may go on. J times the drift and J times the noise are known to be in the
proportion of (1 - eta)^2 h^2 to 1 - e^(-2 eta h), since x - D is noise of the same kind as n, and
so the drift's share of the rise is expected to be. At eta = 1 it is nothing: D is a martingale.

Corrector and guided move. The noise of the interval is added again to what the corrector finds: D
at its end has felt n, and gives n its effect within the interval. The move is that of `emg`.

There are no third differences: they would be those of noise. Of these choices the full slope in the
move matters most: with half of it, which is best for the flow, benchmarks/noisy_samplers.py finds
eight times the error of the law or more from 24 steps on. Paths hardly tell one from the other.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stiffguide.adapters.diffusion.emg_weights import HIGH, LOW, dots
from stiffguide.adapters.diffusion.sampler import Advance, Denoise, Interval
from stiffguide.adapters.diffusion.splitting import Noise

POINTS = 12  # of Gauss-Legendre, in log sigma
PART = 1.0  # of the slope C/(C + a^2) by which the evaluation follows the correction


class NoisyState(NamedTuple):
    """What is remembered of the interval before; D as moved by the guided part."""

    x: Tensor | None = None  # (B, F) where it started, corrected
    d: Tensor | None = None  # (B, F) there
    noise: Tensor | None = None  # (B, F) what it added


def noisy_step(
    denoise: Denoise, interval: Interval, noise: Noise, x: Tensor, state: NoisyState
) -> Advance:
    """One evaluation; from interval.start to interval.end, with the noise in between."""
    a, b = interval.start, interval.end
    d = denoise(x, a)
    rise: Tensor | None = None
    if state.x is not None and state.d is not None and state.noise is not None:
        p, power = interval.past[0], 1 + noise.eta
        c = variance(d - state.d, (x - d) / a**2 - (state.x - state.d) / p**2, a, p)
        gain = _g(c, a, power) - _g(c, p, power)
        follow = _beyond(c, p, a, power) / gain
        mu = PART * c / (c + a * a) / (1 + (math.log(p / a) / 2) ** 2)
        # as far as D at p, and what it rose, bring the state; less where it is without noise
        away = torch.lerp(state.d, state.x, (a / p) ** power) - (x - state.noise)
        away = (away + _column(follow, x) * (d - state.d)) / _column(1 - follow * mu, x)
        x, d = x + away, d + _column(mu, x) * away
        near = drift_share(p, a, noise.eta) * _beyond(c, a, b, power) / gain
        rise = _column(near, x) * (d - state.d)
    x1 = torch.lerp(d, x, (b / a) ** (1 + noise.eta))
    x1 = x1 if rise is None else x1 + rise
    if b == 0:
        return Advance(x1, x, d, NoisyState())
    added = noise.added(a, b)
    return Advance(x1 + added, x, d, NoisyState(x, d, added))


def variance(rise: Tensor, score_rise: Tensor, a: float, p: float) -> Tensor:
    """C (B,) along the rise of D from p to a, given that of (x - D)/sigma^2; both (B, F)."""
    size, along = dots([(rise, rise), (rise, score_rise)])
    c = size / along
    low, high = LOW * a * a, HIGH * p * p
    return torch.where((along > 0) & (c >= 0), c.clip(low, high), high)


def drift_share(start: float, end: float, eta: float) -> float:
    """How much of the square of a rise of D over an interval is expected to be drift."""
    h = math.log(start / end)
    drift = ((1 - eta) * h) ** 2
    return drift / (drift - math.expm1(-2 * eta * h))


def _g(c: Tensor, sigma: float, power: float) -> Tensor:
    """g^power (B,)."""
    return (c / (c + sigma * sigma)) ** (power / 2)


def _beyond(c: Tensor, a: float, b: float, power: float) -> Tensor:
    """b^power times the integral of g^power - g_a^power by sigma^-power from a to b, (B,)."""
    if b == 0:
        return 1 - _g(c, a, power)
    at, weights = np.polynomial.legendre.leggauss(POINTS)
    h = math.log(a / b)
    sigma = a * np.exp(-h * (at + 1) / 2)
    kernel = weights / 2 * h * power * (b / sigma) ** power
    squares = torch.as_tensor(sigma**2, device=c.device)
    column = c.unsqueeze(-1)
    rises = (column / (column + squares)) ** (power / 2) - _g(c, a, power).unsqueeze(-1)
    return rises @ torch.as_tensor(kernel, device=c.device)


def _column(values: Tensor, x: Tensor) -> Tensor:
    """Numbers (B,) as a column (B, 1) in the dtype of x."""
    return values.to(x.dtype).unsqueeze(-1)
