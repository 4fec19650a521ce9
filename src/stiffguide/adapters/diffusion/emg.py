"""EMG: a multistep exponential integrator that reads the Jacobian along its own correction.

In a direction in which the data is Gaussian of variance C, the denoiser output along the flow is
linear in g(sigma) = (1 + sigma^2/C)^(-1/2). EMG predicts in g, with one C per sample that
it estimates from what it has evaluated, corrects each state with the evaluation just made, and
moves that evaluation along the correction by the slope mu that C implies: the guided part. One
evaluation a step, nothing to tune.

Letters: the step goes from a to b; p, q, r are the levels before a. Scalars are (B,) in float64,
vectors (B, F) in the dtype of the state. Nothing waits for the device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.sampler import Advance, Denoise, Interval
from stiffguide.contracts import Guidance
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.tensors import constant

FEW = 8  # evaluations up to which second order does better
LOW, HIGH = 1e-4, 1e4  # C lies between LOW a^2 and HIGH p^2
BITS = 7  # of log C, found twice: as 14 bisections
TINY = 1e-300
PART = 0.5  # of the slope C/(C + a^2) by which the evaluation follows the correction


class EmgState(NamedTuple):
    """What EMG remembers of the steps before."""

    third: bool  # whether third differences are used at all
    x: Tensor | None  # (B, F) the corrected state at p
    data: tuple[Tensor, ...]  # D at p, q, r, moved
    variance: Tensor | None  # C (B,)


class Differences(NamedTuple):
    """The newest evaluation against the older ones."""

    d: Tensor  # at a
    first: Tensor  # D_a - D_p
    second: Tensor | None  # D_p - D_q


@dataclass(frozen=True)
class Emg:
    """The guided exponential multistep sampler; `points` 2, 3, or chosen by the number of steps.

    Three points need more than 8 steps to pay. Order 3 with three points, order 2 with two.
    """

    points: int | None = None
    name: str = "emg"
    error_order: int | None = None
    memory: bool = True
    reversible: bool = False

    def __post_init__(self) -> None:
        if self.points not in (None, 2, 3):
            raise InputError(f"Emg: points is 2, 3 or None (by the number of steps), not {self.points}")

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

    def init(self, x: Tensor, steps: int) -> EmgState:
        """Nothing evaluated yet."""
        third = steps > FEW if self.points is None else self.points == 3
        return EmgState(third, None, (), None)

    def step(self, denoise: Denoise, interval: Interval, x: Tensor, state: EmgState) -> Advance:
        """One evaluation, with which the state that it was made at is corrected first."""
        a, b = interval.start, interval.end
        d = denoise(x, a)
        if state.x is None:
            after = EmgState(state.third, x, (d,), None)
            return Advance(torch.lerp(d, x, b / a), x, d, after)
        levels = (a, *interval.past)
        second = state.data[0] - state.data[1] if len(state.data) > 1 else None
        found = Differences(d, d - state.data[0], second)
        weight = _hindsight(levels, found, state) if b > 0 else None
        variance = _variance(levels, found, x, state)
        x, d = _correct(levels, found, x, state, variance)
        data = (d, *state.data)[:3]
        x1 = _predict(b, levels, x, data, variance, weight)
        return Advance(x1, x, d, EmgState(state.third, x, data, variance))


def _dot(x: Tensor, y: Tensor) -> Tensor:
    """<x, y> per sample, in float64 (B,)."""
    product: Tensor = torch.linalg.vecdot(x, y)
    return product.to(torch.float64)


def _column(values: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    """Scalars (M, B) as M columns (B, 1) in the dtype of x."""
    return values.to(x.dtype).unsqueeze(-1).unbind(0)


def _shapes(levels: tuple[float, ...], variance: Tensor) -> tuple[Tensor, Tensor]:
    """1/g and g (M, B) at M levels."""
    squares = constant(tuple((s * s,) for s in levels), torch.float64, variance.device)
    inverse = torch.sqrt(1 + squares / variance)
    return inverse, inverse.reciprocal()


def _integrals(
    a: float, b: float, roots: tuple[Tensor, Tensor], variance: Tensor
) -> tuple[float, Tensor, Tensor]:
    """b * integral of g^k by 1/sigma from a to b, k = 0, 1, 2; roots are 1/g at a and b."""
    zeroth = 1 - b / a
    first = roots[1] - (b / a) * roots[0]
    c = torch.sqrt(variance)
    # atan(c/b) - atan(c/a) as one angle, which holds at b = 0 too
    angle = torch.atan(c * (a - b) / (variance + a * b))
    return zeroth, first, zeroth - b / c * angle


def _falls(g: Tensor, h: Tensor, s: float, t: float, variance: Tensor) -> Tensor:
    """g(s) - g(t) without cancellation, g and h their values."""
    return (g * h) ** 2 * ((t - s) * (t + s)) / (variance * (g + h))


def _hindsight(levels: tuple[float, ...], found: Differences, state: EmgState) -> Tensor | None:
    """How much of the third difference would have been right for the last step (B,)."""
    if not state.third or len(state.data) < 3 or found.second is None:
        return None
    assert state.variance is not None
    a, p, q, r = levels[:4]
    _, (ga, gp, gq, gr) = _shapes((a, p, q, r), state.variance)
    c = state.variance
    ap, aq, pq = _falls(ga, gp, a, p, c), _falls(ga, gq, a, q, c), _falls(gp, gq, p, q, c)
    qr, pr = _falls(gq, gr, q, r, c), _falls(gp, gr, p, r, c)
    ratio, near, far = _column(
        torch.stack((ap / pq, ap * aq / (pr * pq), ap * aq / (pr * qr))), found.d
    )
    e = near * found.second - far * (state.data[1] - state.data[2])
    missing = found.first - ratio * found.second
    return torch.clamp(_dot(missing, e) / torch.clamp(_dot(e, e), min=TINY), 0.0, 1.0)


def _variance(levels: tuple[float, ...], found: Differences, x: Tensor, state: EmgState) -> Tensor:
    """C (B,): from how D moved against the noise left, and against how it moved before."""
    a, p = levels[:2]
    size = _dot(found.first, found.first)
    left = _dot(found.first, x - found.d)
    t = size / left
    ratio = (t * a * a + torch.sqrt((t * a * a) ** 2 + (1 + t) * (2 * a * p) ** 2)) / (2 * p * p)
    c1 = t * a * a / (1 - ratio)
    sound = (left > 0) & (ratio < 1) & (c1 < math.inf)
    c1 = torch.clamp(torch.where(sound, c1, HIGH * p * p), LOW * a * a, HIGH * p * p)
    if found.second is None:
        return c1
    before = torch.clamp(_dot(found.second, found.second), min=TINY)
    c3 = _ratio_variance(torch.sqrt(size / before), a, p, levels[2])
    return torch.exp((2 * torch.log(c1) + c3) / 3)


def _ratio_variance(ratio: Tensor, a: float, p: float, q: float) -> Tensor:
    """log C (B,) at which (g_a - g_p)/(g_p - g_q) equals the ratio (B,).

    The left side falls with C. Two rounds, each of 2^7 - 1 trial points at once, end where 14
    bisections of log C would.
    """
    # with s = sqrt(C + sigma^2) it is (p^2 - a^2)/(q^2 - p^2) s_q (s_p + s_q)/(s_a (s_a + s_p))
    target = (ratio * (((q - p) * (q + p)) / ((p - a) * (p + a)))).unsqueeze(-1)
    low, high = math.log(LOW * a * a), math.log(HIGH * q * q)
    parts = 2**BITS
    trials = tuple(i / parts for i in range(1, parts))
    steps = constant(trials, torch.float64, ratio.device)

    def above(log_c: Tensor) -> Tensor:
        c = torch.exp(log_c)
        sa, sp, sq = torch.sqrt(c + a * a), torch.sqrt(c + p * p), torch.sqrt(c + q * q)
        return (sq * (sp + sq) / (sa * (sa + sp)) > target).sum(-1)

    coarse = above(low + steps * (high - low)) / parts
    fine = above(low + (coarse.unsqueeze(-1) + steps / parts) * (high - low))
    return low + (coarse + (fine + 0.5) / parts**2) * (high - low)


def _correct(
    levels: tuple[float, ...], found: Differences, x: Tensor, state: EmgState, variance: Tensor
) -> tuple[Tensor, Tensor]:
    """The state and the evaluation at a, moved to where the corrector of p -> a says."""
    assert state.x is not None
    a, p = levels[:2]
    third = state.third and found.second is not None
    inverse, g = _shapes(levels[: 3 if third else 2], variance)
    zeroth, first, second = _integrals(p, a, (inverse[1], inverse[0]), variance)
    ap = _falls(g[0], g[1], a, p, variance)
    follow = (first - g[1] * zeroth) / ap
    newest, older = follow, torch.zeros_like(follow)
    if third:
        aq = _falls(g[0], g[2], a, levels[2], variance)
        pq = _falls(g[1], g[2], p, levels[2], variance)
        bend = (second - (g[0] + g[1]) * first + g[0] * g[1] * zeroth) / aq
        newest, older = follow + bend / ap, bend / pq
    h = math.log(p / a)
    mu = PART / (1 + (h / 2) ** 2) * variance / (variance + a * a)
    scale = 1 / (1 - newest * mu)
    n, o, s, m = _column(torch.stack((newest, older, scale, scale * mu)), x)
    base = torch.add(state.data[0] * zeroth - x, state.x, alpha=a / p)
    away = torch.addcmul(base, n, found.first)
    if third:
        assert found.second is not None
        away = torch.addcmul(away, o, found.second, value=-1)
    return torch.addcmul(x, s, away), torch.addcmul(found.d, m, away)


def _predict(
    b: float,
    levels: tuple[float, ...],
    x: Tensor,
    data: tuple[Tensor, ...],
    variance: Tensor,
    weight: Tensor | None,
) -> Tensor:
    """The state at b by the polynomial in g through D at a, p and, in part, q."""
    a, p = levels[:2]
    third = weight is not None
    inverse, g = _shapes((b, *levels[: 3 if third else 2]), variance)
    zeroth, first, second = _integrals(a, b, (inverse[1], inverse[0]), variance)
    ga, gp = g[1], g[2]
    near = (first - ga * zeroth) / _falls(ga, gp, a, p, variance)
    far = None
    if weight is not None:
        gq, q = g[3], levels[2]
        h = math.log(a / b)
        bend = (second - (ga + gp) * first + ga * gp * zeroth) / _falls(ga, gq, a, q, variance)
        bend = weight / (1 + h**4) * bend
        near, far = near + bend / _falls(ga, gp, a, p, variance), bend / _falls(gp, gq, p, q, variance)
    x1 = torch.add(x * (b / a), data[0], alpha=zeroth)
    if far is None:
        (n,) = _column(near.unsqueeze(0), x)
        return torch.addcmul(x1, n, data[0] - data[1])
    n, f = _column(torch.stack((near, far)), x)
    x1 = torch.addcmul(x1, n, data[0] - data[1])
    return torch.addcmul(x1, f, data[1] - data[2], value=-1)
