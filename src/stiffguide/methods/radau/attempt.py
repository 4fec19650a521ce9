"""The stages of an attempt: J and factors as old as they may be, a guess, and Newton."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.algebra.newton import Root
from stiffguide.algebra.protocol import Factors
from stiffguide.methods.radau.scheme import Scheme
from stiffguide.methods.radau.system import System
from stiffguide.stepping.contracts import Field, Units, Work, stage_times
from stiffguide.stepping.guards import sound, turned
from stiffguide.tensors import constant, rows, select

SLOW = 0.05  # a contraction slower than this costs more than a new Jacobian does;
SLOW_WHERE_DEAR = 0.3  # one of a large system costs many iterations
FAR = 10.0  # times the last step: so far ahead its polynomial tells nothing
ROUNDS = 4  # of iterations, each with a J of its own, where no shorter step can be tried


class RadauState(NamedTuple):
    """What survives a step."""

    jac: Tensor  # (B, ...), values of the Jacobian
    factors: tuple[Factors, ...]  # of shift/dt M - J, for each shift
    dt: Tensor  # (B,) that they were made with
    keep: Tensor  # (B,) bool: jac may be used again
    slopes: Tensor  # (B, S, F), those of the last step
    last: Tensor  # (B,), its dt; 0 before the first step
    secant: Tensor  # (B, F), its (y1 - y0)/dt


class Start(NamedTuple):
    """From where an attempt starts."""

    f: Field
    scheme: Scheme
    t0: Tensor
    y0: Tensor
    slope: Tensor  # (B, F), y' at y0, where a stage begins with it
    units: Units
    given: bool = False  # nobody could choose a shorter step

    def system(self, state: RadauState) -> System:
        """That of the stages, with the factors of the state."""
        scheme, y0 = self.scheme, self.y0
        h = rows(self.units.dt, y0).to(y0.dtype)
        base = y0.unsqueeze(1).expand(-1, len(scheme.nodes), -1)
        if scheme.from_f0 is not None:
            shares = constant(scheme.from_f0, y0.dtype, y0.device).unsqueeze(-1)
            base = base + shares * (h * self.slope).unsqueeze(1)
        times = stage_times(self.t0, self.units.dt, scheme.nodes)
        return System(self.f, scheme.spectrum, times, base, h, state.factors, self.units.scale)


class Found(NamedTuple):
    """What an attempt has come to."""

    root: Root  # of the increments (B, M F)
    grown: Tensor  # (B,) bool, where a growing mode may have been damped
    state: RadauState  # with the J and the factors that it ended with


def attempted(start: Start, state: RadauState) -> tuple[Found, Work]:
    """The stages in every row; where an old J failed, once more with a new one."""
    guess = predicted(start, state)
    state, work = linearised(start, state)
    found = _solved(start, state, guess)
    iterations = found.root.iterations
    failed = state.keep & (~found.root.ok | found.grown)
    if start.y0.device.type == "cpu" and bool(failed.any()):
        state, more = linearised(start, state._replace(keep=~failed))
        again = _solved(start, state, guess)
        found = select(failed, again, found)
        iterations = iterations + failed * again.root.iterations
        work = Work(*(x + failed * y for x, y in zip(work, more, strict=True)))
    for _ in range(ROUNDS if start.given and start.y0.device.type == "cpu" else 0):
        slow = ~found.root.ok & (found.root.rate < 1)
        if not bool(slow.any()):
            break
        ends = start.system(found.state).states(found.root.z)[:, -1]
        there = start._replace(t0=start.t0 + slow * start.units.dt, y0=select(slow, ends, start.y0))
        state, more = linearised(there, found.state._replace(keep=~slow))
        again = _solved(start, state, found.root.z)
        found = select(slow, again, found)
        iterations = iterations + slow * again.root.iterations
        work = Work(*(x + slow * y for x, y in zip(work, more, strict=True)))
    return found, work._replace(nfe=work.nfe + iterations * len(start.scheme.nodes))


def _solved(start: Start, state: RadauState, guess: Tensor) -> Found:
    system = start.system(state)
    doubt = state.keep if guess.device.type == "cpu" else None
    root = system.root(guess, doubt)
    mass = start.f.linear.mass
    grown = turned(system.filtered, state.secant, system.h, system.scale, mass)
    grown = torch.zeros_like(root.ok) if grown is None else grown
    first = state.last == 0
    if guess.device.type != "cpu" or bool(first.any()):
        own = (system.states(root.z)[:, -1] - start.y0) / system.h
        grown = grown | (first & _against(system, own))
    slow = SLOW_WHERE_DEAR if start.f.linear.dear else SLOW
    return Found(root, grown, state._replace(keep=root.ok & (root.rate < slow)))


def _against(s: System, own: Tensor) -> Tensor:
    """Rows (B,) bool in which a part of a first step's own secant (B, F) turns round.

    There is no step before it whose secant could be asked (see `turned`), and its own holds
    decaying modes, too, which outvote growing ones: so the components that turn are asked again by
    themselves. What this finds too much costs the start of a solve a rejection.
    """
    weigh, mass = s.f.linear.weighed, s.f.linear.mass
    own, scale = weigh(own), s.scale if mass is None else mass.sizes(s.scale)
    scale = torch.clamp(scale, min=torch.finfo(scale.dtype).tiny)
    moved = own * s.h / scale
    some = weigh(s.filtered(own)) * moved < 0
    alone = weigh(s.filtered(own * some)) / scale * moved * some
    return alone.sum(-1) < 0


def linearised(x: Start, state: RadauState) -> tuple[RadauState, Work]:
    """Renew J where it must not be kept and the factors where J or dt is new.

    Afterwards `keep` holds where J is from another step.
    """
    may_keep = x.y0.device.type == "cpu"  # elsewhere asking costs more than a new Jacobian
    stale = ~state.keep if may_keep else torch.ones_like(state.keep)
    nfe: Tensor | int = 0
    jac, dt = state.jac, x.units.dt
    if not may_keep or bool(stale.any()):
        # where J is not finite even so, Newton will not converge
        found = x.f.linearise(x.t0, x.y0, x.units, time=False)
        fresh, _ = sound(found, x.f, x.t0, x.y0, x.units)
        jac, nfe = select(stale, fresh.jac, jac), fresh.nfe
    refactor = stale | (dt != state.dt)
    factors = state.factors
    if not may_keep or bool(refactor.any()):
        factors = select(refactor, _factors(x, jac, refactor), factors)
    nlu = refactor.long() * len(x.scheme.spectrum.shifts)
    made = torch.where(refactor, dt, state.dt)
    state = state._replace(jac=jac, factors=factors, dt=made, keep=~stale)
    return state, Work(nfe=stale * nfe, njac=stale.long(), nlu=nlu)


def _factors(x: Start, jac: Tensor, where: Tensor) -> tuple[Factors, ...]:
    """Of shift/dt M - J, for each shift."""
    made, dtype = [], x.y0.dtype
    for shift in x.scheme.spectrum.shifts:
        scaled = (shift.real / x.units.dt).to(dtype)
        if shift.imag:
            scaled = torch.complex(scaled, (shift.imag / x.units.dt).to(dtype))
        made.append(x.f.linear.factor(scaled, jac, x.units.scale, where=where))
    return tuple(made)


def predicted(x: Start, state: RadauState) -> Tensor:
    """The increments (B, M F) that the polynomial of the last step goes on to; 0 without one."""
    scheme, dtype = x.scheme, x.y0.dtype
    if scheme.beyond is None:
        return x.y0.new_zeros(len(x.y0), len(scheme.nodes) * x.y0.shape[1])
    stretch = x.units.dt / state.last
    known = (stretch > 0) & (stretch <= FAR)
    stretch = torch.where(known, stretch, 0.0).unsqueeze(1)
    beyond = constant(scheme.beyond, stretch.dtype, stretch.device)
    powers = constant(scheme.powers, stretch.dtype, stretch.device)
    growing = torch.cumprod(stretch.expand(-1, len(beyond)), 1)
    weights = rows(state.last, powers.unsqueeze(0)) * (powers * growing.unsqueeze(1)) @ beyond
    z = weights.to(dtype) @ state.slopes
    if scheme.from_f0 is not None:
        shares = constant(scheme.from_f0, dtype, z.device)
        offset = rows(x.units.dt, x.slope).to(dtype) * x.slope
        z = z - known[:, None, None] * shares[:, None] * offset.unsqueeze(1)
    return z.flatten(1)
