"""What a sampler is: the records and the protocol that samplers and `sample` exchange.

States are flat, (B, F); noise levels are numbers of the host, so that coefficients cost nothing on
the device. With f = (x - D)/sigma, sigma falling, t = sigma and dt < 0 in the core's records.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.splitting import Noise
from stiffguide.errors import UnsupportedError
from stiffguide.stepping.contracts import Guidance, Secant, State, Step, Work

Splitting = Literal["ancestral", "sde"]
Denoise = Callable[[Tensor, float], Tensor]  # D(x (B, F), sigma) -> x0 (B, F)


class Interval(NamedTuple):
    """One step of a grid."""

    start: float
    end: float
    past: tuple[float, ...]  # the levels before `start`, newest first
    left: int  # intervals from this one to the end, this one included
    noise: Noise | None = None  # what the sampler adds before an end above 0

    def raised(self, *levels: float) -> tuple[float, ...]:
        """Levels as weights of a flow in log sigma must be told them: to the power 1 + eta."""
        return levels if self.noise is None else tuple(x ** (1 + self.noise.eta) for x in levels)


class Advance(NamedTuple):
    """What one step found."""

    x: Tensor  # (B, F) at the end of the interval
    start: Tensor  # (B, F) the state it left from, moved by corrector and guidance
    denoised: Tensor  # (B, F) there
    state: State


@runtime_checkable
class Branching(Protocol):
    """A denoiser, as samplers are given it, that knows of a guided model what it is made of."""

    def __call__(self, x: Tensor, level: float) -> Tensor:
        """D(x (B, F), sigma)."""
        ...

    def branches(self, x: Tensor, level: float) -> tuple[Tensor, Tensor]:
        """D and the estimate of the weak branch, each (B, F), by one evaluation."""
        ...


class Sampler(Protocol):
    """A way from one level to the next; frozen, with all that changes in its state."""

    @property
    def name(self) -> str:
        """The name that `sample` knows it by."""
        ...

    @property
    def order(self) -> int:
        """Order of convergence with exact starting values."""
        ...

    @property
    def error_order(self) -> int | None:
        """Order of the embedded companion; None without one."""
        ...

    @property
    def memory(self) -> bool:
        """Whether it uses steps before the last: no noise may be added without its knowledge."""
        ...

    @property
    def splitting(self) -> Splitting | None:
        """How it takes eta (see `splitting`); None where it cannot.

        "ancestral": its steps are made to end lower, and noise is added behind them. "sde": it is
        told by `Interval.noise`, and its step ends with that noise added.
        """
        ...

    @property
    def reversible(self) -> bool:
        """Whether it also runs along rising levels."""
        ...

    def bind(self, rule: Guidance) -> Sampler:
        """This sampler with a rule; raises UnsupportedError where the two do not fit."""
        ...

    def init(self, x: Tensor, levels: Sequence[float]) -> State:
        """The state before the first step from x (B, F) along these levels."""
        ...

    def step(self, denoise: Denoise, interval: Interval, x: Tensor, state: State) -> Advance:
        """From x (B, F) at interval.start to interval.end; a step to 0 is Euler's."""
        ...


def level(value: float, x: Tensor) -> Tensor:
    """A noise level as the time of every row (B,)."""
    return torch.full((len(x),), value, dtype=torch.float64, device=x.device)


def slope(x: Tensor, denoised: Tensor, sigma: float) -> Tensor:
    """f = (x - D)/sigma."""
    return (x - denoised) / sigma


def pair_step(interval: Interval, x: Tensor, f: Tensor, x1: Tensor, pair: Secant) -> Step:
    """The record of a step whose pair is not its error; its error is against Euler's step."""
    h = interval.end - interval.start
    return Step(
        t0=level(interval.start, x),
        dt=level(h, x),
        y0=x,
        f0=f,
        y1=x1,
        error=x1 - torch.add(x, f, alpha=h),
        error_order=1,
        ok=None,
        state=(),
        work=Work(nfe=1),
        stages=f.unsqueeze(0),
        pair=pair,
    )


def bind_pair_rule(rule: Guidance, sampler: Sampler) -> Guidance:
    """Bind a rule to a sampler that has a pair but no second evaluation at the end of a step."""
    if rule.needs_f1:
        raise UnsupportedError(
            f"{type(rule).__name__} reads the slope at both ends of an embedded error, which "
            f"{sampler.name} does not have; use method='heun', or ErkGuid"
        )
    return rule.bind(sampler)  # type: ignore[arg-type]  # it reads name and error_order only
