"""Exponential multistep samplers: one step for all of them, with coefficients that are derived.

In VE form d(x/sigma)/d(1/sigma) = D. With s = 1/sigma and lambda = log s, from a to b,

    x_b = (b/a) x_a + b * integral of D ds        (carrier "data")
    x_b = x_a + integral of f dsigma              (carrier "slope")

are exact. A method replaces D or f by the polynomial, in a clock of its choice, through what it has
evaluated; its weights are the integrals of the Lagrange polynomials. A corrector does the same over
the last interval once D at its end is known, at no evaluation (Zhao et al., arXiv 2302.04867).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stiffguide.adapters.diffusion.sampler import (
    Advance,
    Denoise,
    Interval,
    Splitting,
    bind_pair_rule,
    level,
    pair_step,
    slope,
)
from stiffguide.stepping.contracts import Guidance, Secant, State

Array = NDArray[np.float64]
Clock = Callable[[Array], Array]  # of sigma
Weights = tuple[float, ...]
Rule = Callable[[tuple[float, ...], float, float], Weights]  # (nodes, a, b), a node a sigma

POINTS = 64  # of Gauss-Legendre, in log sigma: 1e-14 over an interval of ten e-folds


def log_snr(sigma: Array) -> Array:
    """lambda = -log sigma."""
    return -np.log(sigma)


def vp_time(sigma: Array) -> Array:
    """The time of the VP process that reaches sigma 0.002 at t = 1e-3 and 80 at t = 1.

    These constants belong to DEIS-tab as ERK-Guid uses it (arXiv 2603.03692), whatever the grid.
    """
    at_min, at_max, first = math.log1p(0.002**2), math.log1p(80.0**2), 1e-3
    rate = 2 * (at_min / first - at_max) / (first - 1)
    base = at_max - rate / 2
    return (np.sqrt(base**2 + 2 * rate * np.log1p(sigma**2)) - base) / rate


def _lagrange(nodes: Array, at: Array) -> Array:
    """The Lagrange polynomials (J, P) of nodes (J,) at P points."""
    rows = [np.prod([(at - m) / (n - m) for m in nodes if m != n], axis=0) for n in nodes]
    return np.stack([np.broadcast_to(row, at.shape) for row in rows])


@lru_cache(maxsize=1)
def _quadrature() -> tuple[Array, Array]:
    x, w = np.polynomial.legendre.leggauss(POINTS)
    return (x + 1) / 2, w / 2


def _over(a: float, b: float) -> tuple[Array, Array]:
    """Points and weights of the integral by lambda over one interval."""
    x, w = _quadrature()
    span = math.log(a / b)
    return a * np.exp(-x * span), w * span


@lru_cache(maxsize=4096)
def data_weights(nodes: tuple[float, ...], a: float, b: float, clock: Clock = log_snr) -> Weights:
    """w_j = b * integral of L_j ds from 1/a to 1/b, nodes in sigma."""
    at, w = _over(a, b)
    basis = _lagrange(clock(np.array(nodes)), clock(at))
    return tuple((basis @ (w * (b / at))).tolist())


@lru_cache(maxsize=4096)
def slope_weights(nodes: tuple[float, ...], a: float, b: float, clock: Clock = log_snr) -> Weights:
    """w_j = integral of L_j dsigma from a to b, nodes in sigma."""
    at, w = _over(a, b)
    basis = _lagrange(clock(np.array(nodes)), clock(at))
    return tuple((basis @ (-w * at)).tolist())


@lru_cache(maxsize=4096)
def midpoint_weights(nodes: tuple[float, ...], a: float, b: float) -> Weights:
    """As `data_weights`, but through two nodes the line counts with its value in the middle.

    That is 2M (arXiv 2211.01095), and UniPC's B(h) = e^h - 1 (the variant called bh2) where
    it has two nodes; with more the published coefficients are the integrals.
    """
    if len(nodes) != 2:
        return data_weights(nodes, a, b)
    middle = np.array([log_snr(np.array(math.sqrt(a * b)))])
    values = _lagrange(log_snr(np.array(nodes)), middle)[:, 0]
    return tuple(((1 - b / a) * values).tolist())


@lru_cache(maxsize=4096)
def dpmpp_3m_weights(nodes: tuple[float, ...], a: float, b: float) -> Weights:
    """DPM-Solver++ 3M as published and used: half of the integral of the curvature.

    With the second divided difference D[a, p, q] it takes (lambda - lambda_a)^2/2 where the
    integral has (lambda - lambda_a)^2: smaller errors at few steps, order 2 in the limit.
    `EXPONENTIAL_ADAMS3` takes the whole integral.
    """
    exact = data_weights(nodes, a, b)
    if len(nodes) < 3:
        return exact
    at, w = _over(a, b)
    square = float((log_snr(at) + math.log(a)) ** 2 @ (w * (b / at)))
    lam = log_snr(np.array(nodes))
    difference = [1 / math.prod(x - y for y in lam if y != x) for x in lam]
    return tuple(e - square / 2 * d for e, d in zip(exact, difference, strict=True))


def deis_weights(nodes: tuple[float, ...], a: float, b: float) -> Weights:
    """DEIS-tab: polynomials in VP time (Zhang and Chen, arXiv 2204.13902)."""
    return slope_weights(nodes, a, b, vp_time)


def adams_weights(nodes: tuple[float, ...], a: float, b: float) -> Weights:
    """Adams-Bashforth for equal steps, as iPNDM uses it on any grid (arXiv 2202.09778).

    Order 4 where the steps are equal; on a grid that changes smoothly order 2 is left.
    """
    table = (
        (1.0,),
        (3 / 2, -1 / 2),
        (23 / 12, -16 / 12, 5 / 12),
        (55 / 24, -59 / 24, 37 / 24, -9 / 24),
    )
    return tuple((b - a) * w for w in table[len(nodes) - 1])


class History(NamedTuple):
    """What a multistep sampler remembers."""

    values: tuple[Tensor, ...]  # D or f (B, F) at the levels before, newest first
    x: Tensor | None  # (B, F) where the last interval started, corrected
    points: int  # how many nodes the last predictor used
    rule: State
    noise: Tensor | None = None  # (B, F) what the last interval added, where a corrector asks


@dataclass(frozen=True)
class Multistep:
    """A predictor through the last `points` values, and a corrector if there is one.

    The number of points grows by one a step from one. A step to 0 uses one: Euler's step, which
    is DDIM's. With `ramp_down` a step uses no more points than there are steps left.

    With noise (`splitting`) the weights are those of the levels to the power 1 + eta. What noise
    does to D is then seen one evaluation late, but with its whole weight; a corrector, which adds
    the noise of its interval again, sees it in time.
    """

    name: str
    points: int
    order: int
    carrier: str  # "data" or "slope"
    predictor: Rule
    corrector: Rule | None = None
    ramp_down: bool = False
    paired: bool = False  # its last two slopes serve ERK-Guid as a pair
    rule: Guidance | None = None
    reversible: bool = True

    @property
    def memory(self) -> bool:
        """Euler's method has none."""
        return self.points > 1 or self.corrector is not None

    @property
    def splitting(self) -> Splitting | None:
        """Weights of the slope hold for the flow only."""
        if not self.memory:
            return "ancestral"
        return "sde" if self.carrier == "data" else None

    @property
    def error_order(self) -> int | None:
        """1 (against Euler's step) where rules have a pair to read."""
        return 1 if self.paired else None

    def bind(self, rule: Guidance) -> Multistep:
        """With this rule, which moves the end of every step but the first."""
        return replace(self, rule=bind_pair_rule(rule, self))

    def init(self, x: Tensor, levels: Sequence[float]) -> History:
        """Nothing evaluated yet."""
        return History((), None, 0, () if self.rule is None else self.rule.init(level(0.0, x), x))

    def step(self, denoise: Denoise, interval: Interval, x: Tensor, state: History) -> Advance:
        """One evaluation."""
        a, b = interval.start, interval.end
        denoised = denoise(x, a)
        if self.corrector is not None and state.x is not None:
            x = self._correct(interval, denoised, state)
        if b == 0:
            return Advance(denoised, x, denoised, state)
        value = denoised if self.carrier == "data" else slope(x, denoised, a)
        values = (value, *state.values)[: self.points]
        used = min(len(values), interval.left) if self.ramp_down else len(values)
        *nodes, end = interval.raised(a, *interval.past[: used - 1], b)
        first = end / nodes[0] if self.carrier == "data" else 1.0
        x1 = _weighted(first, x, self.predictor(tuple(nodes), nodes[0], end), values)
        noise, rule = None, state.rule
        if interval.noise is not None:
            noise = interval.noise.added(a, b)
            x1 = x1 + noise
        if self.rule is not None and state.x is not None:
            pair = Secant(x - state.x, value - state.values[0], level(interval.past[0] - a, x))
            move = self.rule.delta(pair_step(interval, x, value, x1, pair), None, rule)
            x1, rule = x1 + move.dy, move.state
        kept = None if self.corrector is None else noise
        return Advance(x1, x, denoised, History(values, x, used, rule, kept))

    def _correct(self, interval: Interval, denoised: Tensor, state: History) -> Tensor:
        """The end of the last interval, with the value there as one node more."""
        assert self.corrector is not None
        assert state.x is not None
        nodes = interval.raised(interval.start, *interval.past)[: state.points + 1]
        a, p = nodes[:2]
        weights = self.corrector(nodes, p, a)
        x = _weighted(a / p, state.x, weights, (denoised, *state.values))
        return x if state.noise is None else x + state.noise


def _weighted(first: float, x: Tensor, weights: Weights, values: tuple[Tensor, ...]) -> Tensor:
    """first x + sum_j weights_j values_j."""
    total = x * first
    for w, value in zip(weights, values, strict=False):
        total = torch.add(total, value, alpha=w)
    return total


EULER = Multistep("euler", 1, 1, "data", data_weights)
DPMPP_2M = Multistep("dpmpp_2m", 2, 2, "data", midpoint_weights)
DPMPP_3M = Multistep("dpmpp_3m", 3, 2, "data", dpmpp_3m_weights)
EXPONENTIAL_ADAMS2 = Multistep("exponential_adams2", 2, 2, "data", data_weights)
EXPONENTIAL_ADAMS3 = Multistep("exponential_adams3", 3, 3, "data", data_weights)
DEIS3 = Multistep("deis3", 3, 3, "slope", deis_weights, paired=True)
UNIPC2 = Multistep("unipc2", 2, 3, "data", midpoint_weights, corrector=midpoint_weights)
UNIPC3 = Multistep("unipc3", 3, 4, "data", midpoint_weights, corrector=midpoint_weights)
IPNDM4 = Multistep("ipndm4", 4, 2, "slope", adams_weights)

FAMILY = (
    EULER,
    DPMPP_2M,
    DPMPP_3M,
    EXPONENTIAL_ADAMS2,
    EXPONENTIAL_ADAMS3,
    DEIS3,
    UNIPC2,
    UNIPC3,
    IPNDM4,
)
