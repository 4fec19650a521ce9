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

Scalars are (B,) in float64, vectors (B, F) in the dtype of the state. Nothing waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.sampler import Advance, Denoise, Interval
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.stepping.contracts import Guidance
from stiffguide.tensors import lasting

FEW = 8  # steps up to which two points do better than three
LOW, HIGH = 1e-4, 1e4  # C lies between LOW a^2 and HIGH p^2
CUTS = 2**14  # of the bracket of log C: 14 bisections
TINY = 1e-300
PART = 0.5  # of the slope C/(C + a^2) by which the evaluation follows the correction


class Guess(NamedTuple):
    """What two and three points say of the next evaluation, to be judged by it."""

    line: Tensor  # (B, F)
    bend: Tensor  # (B, F), the difference of the two


class EmgState(NamedTuple):
    """What EMG remembers; D is the evaluation, as moved by the guided part."""

    third: bool  # whether three points are used at all
    x: Tensor | None  # (B, F) the corrected state at p
    d: Tensor | None  # (B, F) D at p
    rise: Tensor | None  # (B, F) D at p minus D at q
    guess: Guess | None


class Shape(NamedTuple):
    """What C makes of the levels: weights of the differences of D, all (B,)."""

    near: Tensor  # predictor, of D_a - D_p
    follow: Tensor  # corrector, of D_a - D_p
    bend: Tensor | None  # predictor, of the second divided difference
    bend_back: Tensor | None  # corrector, of the same
    inverse: tuple[Tensor, ...]  # 1/(g_x - g_y) of the pairs ba, bp, ap, aq, pq
    slope: Tensor  # C/(C + a^2)


@dataclass(frozen=True)
class Emg:
    """The guided exponential multistep sampler; `points` 2, 3, or None: by the number of steps.

    Three points, of order 3, pay from 9 steps on. A step to 0 uses two.
    """

    points: int | None = None
    name: str = "emg"
    error_order: int | None = None
    memory: bool = True
    reversible: bool = False

    def __post_init__(self) -> None:
        if self.points not in (None, 2, 3):
            raise InputError(f"Emg: points is 2, 3 or None, not {self.points}")

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
        for i in range(2, len(levels)):
            _numbers(tuple(reversed(levels[max(0, i - 3) : i + 1])), x.device)
        return EmgState(third, None, None, None, None)

    def step(self, denoise: Denoise, interval: Interval, x: Tensor, state: EmgState) -> Advance:
        """One evaluation, by which the state that it was made at is corrected first."""
        a, b = interval.start, interval.end
        d = denoise(x, a)
        if state.x is None or state.d is None:
            first = EmgState(state.third, x, d, None, None)
            return Advance(torch.lerp(d, x, b / a), x, d, first)
        rise = d - state.d
        levels = (b, a, *interval.past)[:4]
        numbers = _numbers(levels, x.device)
        variance = _variance(levels, numbers, rise, x - d, state.rise)
        shape = _shape(numbers, variance, state.third)
        weight = _hindsight(d, state.guess) if b > 0 else None
        x, d = _correct((a, interval.past[0]), shape, x, d, rise, state)
        x1, kept = _predict(interval, shape, x, d, weight, state)
        return Advance(x1, x, d, kept)


def _dot(x: Tensor, y: Tensor) -> Tensor:
    """<x, y> per sample, in float64 (B,)."""
    return (x * y).sum(-1, dtype=torch.float64)


def _columns(x: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
    """Scalars (B,) as columns (B, 1) in the dtype of x."""
    return torch.stack(values).to(x.dtype).unsqueeze(-1).unbind(0)


def _hindsight(d: Tensor, guess: Guess | None) -> Tensor | None:
    """How much of the bend would have been right for the last step (B,)."""
    if guess is None:
        return None
    size = torch.clamp(_dot(guess.bend, guess.bend), min=TINY)
    return torch.clamp(_dot(d - guess.line, guess.bend) / size, 0.0, 1.0)


def _variance(
    levels: tuple[float, ...], numbers: Numbers, rise: Tensor, left: Tensor, before: Tensor | None
) -> Tensor:
    """C (B,): from how D rose against the noise left, x - D, and against its rise before."""
    a, p = levels[1:3]
    size, gain = _dot(rise, rise), _dot(rise, left)
    t = size / gain
    u = t * ((a / p) ** 2 / 2)
    c1 = t * (a * a) / (1 - u - torch.sqrt(u * u + (1 + t) * (a / p) ** 2))
    low, high = LOW * a * a, HIGH * p * p
    c1 = torch.where((gain > 0) & (c1 >= 0), torch.clamp(c1, low, high), high)
    if before is None or numbers.falling is None:
        return c1
    ratio = torch.sqrt(size / torch.clamp(_dot(before, before), min=TINY))
    log_c3 = _log_c3(ratio, numbers.falling, a, levels[3])
    return torch.exp(torch.lerp(log_c3, torch.log(c1), 2 / 3))


class Numbers(NamedTuple):
    """What the levels b, a, p and q alone decide, on the device; q is missing at first."""

    squares: Tensor  # (L, 1)
    ways: Tensor  # (6, 2, 1), see `_ways`
    gaps: Tensor | None  # (5, 1), y^2 - x^2 of the pairs ba, bp, ap, aq, pq
    firsts: Tensor | None  # (5,) places of x in these pairs
    seconds: Tensor | None  # (5,) of y
    falling: Tensor | None  # (CUTS - 1,), see `_falling`


@lru_cache(maxsize=512)
def _numbers(levels: tuple[float, ...], device: torch.device) -> Numbers:
    def tensor(values: list[Any]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=device)

    with lasting():
        squares, ways = tensor([[x * x] for x in levels]), tensor(_ways(*levels[:3]))
        if len(levels) < 4:
            return Numbers(squares, ways, None, None, None, None)
        places = ((0, 1), (0, 2), (1, 2), (1, 3), (2, 3))
        pairs = [(levels[i], levels[j]) for i, j in places]
        gaps = tensor([[(y - x) * (y + x)] for x, y in pairs])
        firsts, seconds = torch.tensor(places, device=device).T.contiguous().unbind(0)
        return Numbers(squares, ways, gaps, firsts, seconds, _falling(*levels[1:]).to(device))


def _ways(b: float, a: float, p: float) -> list[list[list[float]]]:
    """For the predictor a -> b and the corrector p -> a, x -> y: numbers of the formulas."""
    ways = ((a, b), (p, a))
    columns = (
        [x * y for x, y in ways],
        [(a - b) ** 2 / ((p - a) * (p + a)), (p - a) / (p + a)],
        [x - y for x, y in ways],
        [y for _, y in ways],
        [y / x for x, y in ways],
        [1 - y / x for x, y in ways],
    )
    return [[[value] for value in column] for column in columns]


def _bracket(a: float, q: float) -> tuple[float, float]:
    """The lower end of log C, and how far it reaches."""
    low = math.log(LOW * a * a)
    return low, math.log(HIGH * q * q) - low


def _falling(a: float, p: float, q: float) -> Tensor:
    """(g_a - g_p)/(g_p - g_q), negated so that it rises, at the inner points of the cut bracket."""
    low, span = _bracket(a, q)
    c = torch.exp(torch.arange(1, CUTS, dtype=torch.float64) * (span / CUTS) + low)
    sa, sp, sq = (torch.sqrt(c + x * x) for x in (a, p, q))
    factor = ((p - a) * (p + a)) / ((q - p) * (q + p))
    return sq * (sp + sq) / (sa * (sa + sp)) * -factor


def _log_c3(ratio: Tensor, table: Tensor, a: float, q: float) -> Tensor:
    """log C (B,) at which (g_a - g_p)/(g_p - g_q) equals the ratio (B,).

    The left side falls with C, and depends on nothing but the levels: 14 bisections of log C in
    [LOW a^2, HIGH q^2] are one search in the table of all that they could try.
    """
    low, span = _bracket(a, q)
    found = torch.searchsorted(table, -ratio).to(torch.float64)
    return found * (span / CUTS) + (low + 0.5 * span / CUTS)


def _shape(numbers: Numbers, variance: Tensor, third: bool) -> Shape:
    """The weights of the levels b, a, p and, for third differences, q."""
    s = torch.sqrt(numbers.squares + variance)
    product, gain, span, end, ratio, zeroth = numbers.ways.unbind(0)
    ends, starts = s[0:2], s[1:3]
    both = starts.sum(0)
    base = product + variance
    line = both * starts.flip(0) * gain / torch.addcmul(base, starts, ends)
    near, follow = line.unbind(0)
    slope = variance / (starts[0] * starts[0])
    if not third or numbers.gaps is None or numbers.firsts is None or numbers.seconds is None:
        return Shape(near, follow, None, None, (), slope)
    c = torch.sqrt(variance)
    turn = torch.atan2(c * span, base) * end / c
    rest = zeroth * variance - both * torch.addcmul(ends, ratio, starts, value=-1)
    second = zeroth - turn + rest / (starts[0] * starts[1])
    x, y = s.index_select(0, numbers.firsts), s.index_select(0, numbers.seconds)
    inverse = (x * y * (x + y) / (numbers.gaps * c)).unbind(0)
    bend, bend_back = (second * inverse[3]).unbind(0)
    return Shape(near, follow, bend, bend_back, inverse, slope)


def _correct(
    levels: tuple[float, float], shape: Shape, x: Tensor, d: Tensor, rise: Tensor, state: EmgState
) -> tuple[Tensor, Tensor]:
    """The state and the evaluation at a, moved to where the corrector of p -> a says."""
    assert state.x is not None
    assert state.d is not None
    a, p = levels
    mu = shape.slope * (PART / (1 + (math.log(p / a) / 2) ** 2))
    away = torch.add(state.d * (1 - a / p) - x, state.x, alpha=a / p)
    follow = shape.follow
    if shape.bend_back is None:
        part = 1 / (1 - follow * mu)
        f, s, m = _columns(x, follow, part, part * mu)
    else:
        assert state.rise is not None
        follow = torch.addcmul(follow, shape.bend_back, shape.inverse[2])
        part = 1 / (1 - follow * mu)
        older = shape.bend_back * shape.inverse[4]
        f, s, m, o = _columns(x, follow, part, part * mu, older)
        away = torch.addcmul(away, o, state.rise, value=-1)
    away = torch.addcmul(away, f, rise)
    return torch.addcmul(x, s, away), torch.addcmul(d, m, away)


def _predict(
    interval: Interval, shape: Shape, x: Tensor, d: Tensor, weight: Tensor | None, state: EmgState
) -> tuple[Tensor, EmgState]:
    """The state at b, and what the next step needs."""
    assert state.d is not None
    a, b = interval.start, interval.end
    rise = d - state.d
    x1 = torch.add(x * (b / a), d, alpha=1 - b / a)
    if shape.bend is None or b == 0:
        (near,) = _columns(x, shape.near)
        x1 = torch.addcmul(x1, near, rise)
        return x1, EmgState(state.third, x, d, rise, None)
    assert state.rise is not None
    ba, bp, ap, aq, pq = shape.inverse
    if weight is None:
        weight = torch.zeros_like(ap)
    part = weight * shape.bend / (1 + math.log(a / b) ** 4)
    near, part, on, up, u, v = _columns(x, shape.near, part, ap / ba, aq / (ba * bp), ap, pq)
    bend = torch.addcmul(u * rise, v, state.rise, value=-1)
    x1 = torch.addcmul(torch.addcmul(x1, near, rise), part, bend)
    guess = Guess(torch.addcmul(d, on, rise), up * bend)
    return x1, EmgState(state.third, x, d, rise, guess)
