"""Steps of the probability flow by tolerance: the package's own loop, over the hyperbolic clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide import methods
from stiffguide.adapters.diffusion.adaptive_result import AdaptiveSample, verdict
from stiffguide.adapters.diffusion.hyperbolic_clock import HyperbolicClock
from stiffguide.choices import TUNING
from stiffguide.errors import InputError, Interrupted, Status, UnsupportedError
from stiffguide.fields.jacobian import AutogradJacobian
from stiffguide.methods.explicit_rk import ExplicitRK
from stiffguide.stepping import loop
from stiffguide.stepping.live import Live, Problem, begin, first_dt, opened
from stiffguide.stepping.tolerance import Tolerance

RowDenoiser = Callable[[Tensor, Tensor], Tensor]  # D(x (B, F), sigma (B,)) -> x0 (B, F)


class Attempted(NamedTuple):
    """One attempt, as an onlooker is told of it."""

    number: int
    x: Tensor  # (B, F) where it began
    sigma: Tensor  # (B,) there
    denoised: Tensor  # (B, F) the last estimate
    reached: Tensor  # (B,) the sigma that every row stands at now


def stepper(method: str) -> ExplicitRK:
    """The method of that name; raises InputError or UnsupportedError where it is none for this."""
    found = methods.get(method)
    if not isinstance(found, ExplicitRK):
        raise UnsupportedError(
            f"method: {found.name} asks for the Jacobian of the denoiser, and the flow is not "
            "stiff on this clock; take an explicit pair, such as 'bosh3' or 'dopri5'"
        )
    if found.error_order is None:
        raise UnsupportedError(
            f"method: {found.name} has no embedded error to choose steps by; take a pair, such as "
            "'bosh3' or 'dopri5', or `sample` on a grid"
        )
    return found


@dataclass(frozen=True)
class Demand:
    """How well a flow is to be solved; raises InputError."""

    method: ExplicitRK
    rtol: float
    atol: float  # in units of the data
    max_attempts: int
    together: bool = False  # one length of step for all rows

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name} must be positive and finite, not {getattr(self, name)}")
        if isinstance(self.max_attempts, bool) or not self.max_attempts >= 1:
            raise InputError(f"max_attempts must be 1 or more, not {self.max_attempts}")


@dataclass(frozen=True)
class AdaptiveRun:
    """A denoiser, the clock that its flow is solved on, and how well."""

    denoise: RowDenoiser
    clock: HyperbolicClock
    demand: Demand
    edges: Sequence[float] = ()  # sigmas at which D jumps: steps end on them
    told: Callable[[Attempted], None] | None = None

    @torch.no_grad()
    def integrate(
        self, x: Tensor, sigma_max: float, sigma_min: float, zero: bool
    ) -> AdaptiveSample:
        """From x (B, ...) at sigma_max to sigma_min, and to 0 by D where `zero` says so.

        Raises Interrupted, with what was reached, where the keyboard interrupts it.
        """
        flat, count = x.reshape(len(x), -1), len(x)
        field = _Field(self.denoise, self.clock, tuple(flat.shape))
        y = self.clock.inward(flat, self.clock.time(sigma_max))
        s = self._solved(
            field, y.reshape(1, -1) if self.demand.together else y, sigma_max, sigma_min
        )
        t, status = s.t.expand(count), s.status.expand(count)
        sigma, nfe = self.clock.sigma(t), s.work[0].expand(count)
        end = self.clock.outward(s.y.reshape(flat.shape), t.unsqueeze(-1))
        done = status == int(Status.SUCCESS)
        interrupted = bool((status == int(Status.INTERRUPTED)).any())
        if zero and not interrupted and bool(done.any()):
            x0 = self.denoise(end, sigma)
            end = torch.where(done.unsqueeze(-1), x0, end)
            sigma, nfe, field.calls = torch.where(done, 0.0, sigma), nfe + done, field.calls + 1
        lost = done & ~torch.isfinite(end).all(-1)
        status = torch.where(lost, int(Status.NON_FINITE), status)
        attempts = s.attempts.expand(count)
        found = AdaptiveSample(
            x=end.reshape(x.shape),
            sigma=sigma,
            nfe=nfe,
            steps=s.accepted.expand(count),
            attempts=attempts,
            calls=field.calls,
            status=status,
            message=verdict(status, sigma, attempts),
            method=self.demand.method.name,
        )
        if interrupted:
            raise Interrupted(found.message, found)
        return found

    def _solved(self, field: _Field, y: Tensor, sigma_max: float, sigma_min: float) -> Live:
        """The rows (B, F), or all of them as one (1, B F), at their ends."""
        demand, scale = self.demand, self.clock.scale
        t0 = y.new_full((len(y),), self.clock.time(sigma_max), dtype=torch.float64)
        inside = {self.clock.time(edge) for edge in self.edges if sigma_min < edge < sigma_max}
        stops = [*sorted(inside), self.clock.time(sigma_min)]
        problem = Problem(
            f=AutogradJacobian(field),  # of which nobody here will ask the Jacobian
            method=demand.method,
            controller=TUNING[demand.method.family],
            guidance=None,
            outputs=(),
            tolerance=Tolerance(demand.rtol, demand.atol / scale),
            stops=t0.new_tensor(stops).expand(len(y), -1),
            max_step=float("inf"),
            max_attempts=demand.max_attempts,
            on_attempt=None if self.told is None else self._tell(field),
        )
        f0 = field(t0, y)
        dt, nfe = first_dt(problem, opened(problem, t0, y), y, f0)
        s = begin(problem, t0, y, f0, dt, 1 + nfe)
        while loop.running(s):
            # one by one: a network costs more than to ask an accelerator whether a row is live
            s = loop.solve(problem, s, most=1)
        return s

    def _tell(self, field: _Field) -> Callable[..., None]:
        """What the loop calls after an attempt."""
        clock, told, number = self.clock, self.told, 0
        assert told is not None

        def attempted(t: Tensor, y: Tensor, dt: Tensor, accept: Tensor, live: Tensor) -> None:
            nonlocal number
            start = t.expand(field.shape[0])
            x = clock.outward(y.reshape(field.shape), start.unsqueeze(-1))
            reached = clock.sigma(torch.where(accept & live, t + dt, t)).expand(len(start))
            told(Attempted(number, x, clock.sigma(start), field.denoised, reached))
            number += 1

        return attempted


class _Field:
    """dy/dt = D(x; sigma)/c - y tanh t, rows by themselves or all of them as one."""

    def __init__(
        self, denoise: RowDenoiser, clock: HyperbolicClock, shape: tuple[int, ...]
    ) -> None:
        self._denoise, self._clock, self.shape = denoise, clock, shape
        self.denoised = torch.empty(0)
        self.calls = 0

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """f(t (B,), y (B, F)) -> (B, F)."""
        clock, given = self._clock, y.reshape(self.shape)
        t = t.expand(self.shape[0])
        column = t.unsqueeze(-1)
        self.denoised = self._denoise(clock.outward(given, column), clock.sigma(t))
        self.calls += 1
        still = given * torch.tanh(column).to(y.dtype)
        return (self.denoised / clock.scale - still).reshape(y.shape)
