"""Explicit steps of many stages, which reach far along the negative real axis: RKC of order 2.

The stages are shifted and damped Chebyshev polynomials of dt J, made by their recurrence of three
terms, so that s of them are stable up to dt rho = 0.653 (s^2 - 1), rho being the spectral radius of
the Jacobian J: a step of any length is stable with about sqrt(1.54 dt rho) evaluations. Neither J
nor a linear system is needed, but a J whose eigenvalues lie near the real axis, as those of
diffusion do. rho is found by a power iteration on differences of f.

Sommeijer, Shampine and Verwer, J. Comput. Appl. Math. 88 (1998) 315-326.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.stepping.contracts import Field, Step, Work
from stiffguide.stepping.interpolate import hermite
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tensors import lasting, rms, rows, select

DAMPING = 2 / 13
REACH = 1.54  # s^2 - 1 over dt rho: a little more than 1/0.653
FEW, MOST = 24, 500  # stages
ROOM = 0.95  # of the longest dt: the next estimate may be larger, and t is rounded
ROUNDED = 0.1  # of the tolerance: what the rounding of s stages, s^2 eps |y|, may come to
SAFETY = 1.2  # a power iteration ends below rho
AGE = 25  # steps after which rho is estimated anew
CLOSE = 0.01  # relative change of an estimate that has settled,
LEAST, LIMIT = 3, 50  # after so many iterations, and at the latest then
LITTLE = 0.01  # of the tolerance: a difference of y that f can tell, where y is zero
MIXED = 0.125  # of noise in the old eigenvector, without which a new one is never found
UNTOUCHED = (1.0, 0.0, 0.0, 0.0, 1.0)  # the coefficients of a row that has all of its stages


class Spectrum(NamedTuple):
    """What is known of the largest eigenvalue of the Jacobian."""

    radius: Tensor  # (B,), with the safety in it
    vector: Tensor  # (B, F), a difference of y, of size 1 in the norm of `_Scaled`; or zero
    age: Tensor  # (B,) int64, steps since the estimate
    many: Tensor  # (B,) bool, whether the last attempt took more than two stages


class RKC:
    """Each row takes as many stages as its dt needs; it idles while others have more."""

    name = "rkc2"
    family = "stabilised explicit"
    implicit = False
    multistep = False
    order = 2
    error_order: int | None = 2
    dense_order = 3

    def __repr__(self) -> str:
        return "RKC()"

    def init(self, f: Field, t0: Tensor, y0: Tensor) -> Spectrum:
        """Nothing is known."""
        nothing = torch.zeros_like(t0)
        return Spectrum(nothing, torch.zeros_like(y0), nothing.long() + AGE, nothing > 0)

    def step(
        self,
        f: Field,
        t0: Tensor,
        dt: Tensor,
        y0: Tensor,
        f0: Tensor,
        state: Spectrum,
        tolerance: Tolerance,
    ) -> Step:
        """Attempt one step in every row; those whose dt is beyond the most stages stay where it is.

        Steps that are repeated for a gradient are not judged, and so ask for the radius each time.
        """
        stale = (state.age >= AGE) | torch.is_grad_enabled()
        with torch.no_grad():
            state, asked = _estimated(f, t0, dt, y0, f0, state, tolerance, stale)
            most = _most(y0, tolerance)
            longest = (most * most - 1) / (REACH * state.radius)
            ok = dt.abs() <= longest
            count = _stages(torch.where(ok, dt, 0.0), state.radius)
        taken = torch.where(ok, dt, 0.0)
        h = rows(taken, y0).to(y0.dtype)
        y1 = y0 + _rise(f, t0, taken, y0, f0, count)
        f1 = f(t0 + taken, y1)
        return Step(
            t0=t0,
            dt=dt,
            y0=y0,
            f0=f0,
            y1=y1,
            error=0.8 * (y1 - y0) - (0.4 * h) * (f0 + f1),
            error_order=self.error_order,
            ok=ok,
            state=state._replace(age=state.age + 1, many=count > 2),
            work=Work(nfe=count + asked),
            stages=torch.stack((f0, f1)),
            f1=f1,
            longest=ROOM * longest,
        )

    def retry(self, before: Spectrum, tried: Spectrum) -> Spectrum:
        """An estimate that was made for this y0 is kept; an older one may have been too low.

        Of two stages no more is stable than of other explicit steps: there dt alone is at fault.
        """
        age = torch.where(tried.many, AGE, before.age)
        return select(tried.age == 1, tried._replace(age=tried.age - 1), before._replace(age=age))

    def displace(self, state: Spectrum, delta: Tensor) -> Spectrum:
        """The vector is a difference: it stays."""
        return state

    def restart(self, state: Spectrum, where: Tensor) -> Spectrum:
        """Nothing is known in the rows `where`."""
        return Spectrum(
            torch.where(where, 0.0, state.radius),
            torch.where(rows(where, state.vector), 0.0, state.vector),
            torch.where(where, AGE, state.age),
            state.many & ~where,
        )

    def interpolant(self, step: Step, f1: Tensor) -> Tensor:
        """Cubic Hermite."""
        return hermite(step.dt, step.y0, step.f0, step.y1, f1)


def _stages(dt: Tensor, radius: Tensor) -> Tensor:
    """How many (B,) are stable over dt (B,)."""
    return torch.clamp(1 + torch.sqrt(1 + REACH * dt.abs() * radius).long(), min=2)


def _most(y0: Tensor, tolerance: Tolerance) -> Tensor:
    """How many (B,) stages there may be, for their rounding grows like the square of their number.

    The rounding of two dozen is of no account beside that of f.
    """
    eps = torch.finfo(y0.dtype).eps
    most = torch.sqrt(ROUNDED / (eps * tolerance.measure(y0, y0).double()))
    return torch.clamp(most.nan_to_num(MOST), min=FEW, max=MOST).floor()


def _rise(f: Field, t0: Tensor, dt: Tensor, y0: Tensor, f0: Tensor, count: Tensor) -> Tensor:
    """y1 - y0 (B, F) by `count` (B,) stages; a row that has its own waits at its end.

    The recurrence is that of Y_j - y0, which rounds less than that of Y_j.
    """
    kinds, which = count.unique(return_inverse=True)
    table = _table(tuple(kinds.tolist())).to(y0.device)  # (S, kinds, 5)
    h = rows(dt, y0).to(y0.dtype)
    before, rise = torch.zeros_like(y0), torch.zeros_like(y0)
    for j, coefficients in enumerate(table.unbind(0)):
        mu, nu, by_f, by_f0, c = coefficients[which].unbind(-1)
        weights = (rows(x, y0).to(y0.dtype) for x in (mu, nu, by_f, by_f0))
        old, older, slope, first = weights
        later = torch.addcmul(old * rise, older, before)
        later = torch.addcmul(later, first * h, f0)
        if j:
            later = torch.addcmul(later, slope * h, f(torch.addcmul(t0, c, dt), y0 + rise))
        before, rise = rise, later
    return rise


@lru_cache(maxsize=64)
def _table(kinds: tuple[int, ...]) -> Tensor:
    """Coefficients (S, kinds, 5) of methods of so many stages, S the most of them."""
    most = max(kinds, default=2)
    padded = [stages_of(s) + (UNTOUCHED,) * (most - s) for s in kinds]
    with lasting():
        return torch.tensor(padded, dtype=torch.float64).reshape(-1, most, 5).transpose(0, 1)


@lru_cache(maxsize=MOST)
def stages_of(s: int) -> tuple[tuple[float, ...], ...]:
    """What makes d_j = Y_j - y0 of d_{j-1}, d_{j-2}, dt F_{j-1} and dt f0, and the node of F_{j-1}.

    For j = 1 to s; formulas (2.5) to (2.7) of the paper.
    """
    w0 = 1 + DAMPING / s**2
    t, d, e = [1.0, w0], [0.0, 1.0], [0.0, 0.0]  # Chebyshev's polynomials, T' and T'' at w0
    for _ in range(2, s + 1):
        e.append(2 * w0 * e[-1] - e[-2] + 4 * d[-1])
        d.append(2 * w0 * d[-1] - d[-2] + 2 * t[-1])
        t.append(2 * w0 * t[-1] - t[-2])
    w1 = d[s] / e[s]
    b = [x / y**2 for x, y in zip(e[2:], d[2:], strict=True)]
    b = [b[0], b[0], *b]
    c = [0.0, b[1] * w1, *(w1 * x / y for x, y in zip(e[2:], d[2:], strict=True))]
    made = [(0.0, 0.0, 0.0, b[1] * w1, 0.0)]
    for j in range(2, s + 1):
        by_f = 2 * b[j] * w1 / b[j - 1]
        by_f0 = -(1 - b[j - 1] * t[j - 1]) * by_f
        made.append((2 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2], by_f, by_f0, c[j - 1]))
    return tuple(made)


class _Scaled:
    """Differences of y in units of the tolerance: what is large there is large in no other."""

    def __init__(self, y0: Tensor, tolerance: Tolerance) -> None:
        self.unit = torch.clamp(tolerance.scale(y0), min=torch.finfo(y0.dtype).tiny)

    def __call__(self, x: Tensor) -> Tensor:
        """The size (B, 1) of x (B, F)."""
        return rms(x.abs() / self.unit).unsqueeze(-1)


def _estimated(
    f: Field,
    t0: Tensor,
    dt: Tensor,
    y0: Tensor,
    f0: Tensor,
    state: Spectrum,
    tolerance: Tolerance,
    stale: Tensor,
) -> tuple[Spectrum, Tensor]:
    """The spectrum, in the rows `stale` (B,) that at y0, and the evaluations (B,) of f.

    Every difference goes the way of dt, so that a solve backwards mirrors one forwards.
    """
    if not bool(stale.any()):
        return state, torch.zeros_like(state.age)
    size, way = _Scaled(y0, tolerance), rows(torch.sign(dt), y0).to(y0.dtype)
    little = torch.clamp(torch.finfo(y0.dtype).eps ** 0.5 * size(y0), min=LITTLE)
    v = state.vector + MIXED * size.unit * _noise(y0.shape[1], y0.dtype).to(y0.device)

    def image(v: Tensor) -> Tensor:
        return way * (f(t0, y0 + little * v) - f0) / little

    found, v, spent = _iterated(image, v / size(v), size, stale)
    radius = SAFETY * found.to(dt.dtype)
    fresh = state._replace(radius=radius, vector=v, age=torch.zeros_like(state.age))
    return select(stale, fresh, state), spent


def _iterated(
    image: Callable[[Tensor], Tensor], v: Tensor, size: _Scaled, active: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What a linear `image` makes of the size of v (B, F) in the end, v then, and iterations (B,).

    In the rows `active` (B,).
    """
    spent, active = active.long(), active.unsqueeze(-1)
    last, tail = torch.zeros_like(size(v)), torch.zeros_like(size(v))
    for n in range(1, LIMIT + 1):
        w = image(v)
        found = size(w)
        sound = active & torch.isfinite(found)
        settled = sound & ((found - last).abs() <= CLOSE * found)
        turned = torch.where(sound & (found > 0), w / found, -v)  # f may end there
        v = torch.where(active, turned, v)
        last = torch.where(sound, found, last)
        if n > LIMIT // 2:
            tail = tail + torch.where(active, last.log(), 0.0)
        active = active & ~(settled & ((n >= LEAST) | (found == 0)))
        if n == LIMIT or not bool(active.any()):
            break
        spent = spent + active.squeeze(-1)
    # a pair of complex eigenvalues turns v: its size goes up and down, about |lambda|
    last = torch.where(active, torch.exp(tail / (LIMIT - LIMIT // 2)), last)
    return last.squeeze(-1), v, spent


@lru_cache(maxsize=8)
def _noise(features: int, dtype: torch.dtype) -> Tensor:
    """A vector (F,) of size about 1 that has a part of every eigenvector, the same for all rows."""
    source = torch.Generator().manual_seed(features)
    parts = 2 if dtype.is_complex else 1
    with lasting():
        drawn = torch.randn(features, parts, generator=source, dtype=torch.float64)
        whole = torch.view_as_complex(drawn) if parts == 2 else drawn.squeeze(-1)
        return whole.to(dtype)
