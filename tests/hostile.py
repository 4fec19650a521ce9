"""Fields that mean harm, with what is known of their solutions: rows for `test_hostile`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Formula = Callable[..., Tensor]


class Rows(NamedTuple):
    """Some problems of one kind, one a row: all (N,)."""

    t0: Tensor
    t1: Tensor
    u0: Tensor
    p: Tensor
    q: Tensor
    size: Tensor  # what an absolute tolerance is relative to


class Kind(NamedTuple):
    """u' = field(t, u, p, q)."""

    draw: Callable[[Callable[..., Tensor], int], Rows]
    field: Formula
    exact: Formula | None  # u(t1) from a row; beyond a pole, its analytic continuation
    ends: Formula | None = None  # where it ceases to exist, from a row


def _rows(u: Callable[..., Tensor], n: int, **given: Tensor | float) -> Rows:
    """Rows with defaults: from 0 to 1, at 1, of size 1."""
    default = {"t0": 0.0, "t1": 1.0, "u0": 1.0, "p": 1.0, "q": 0.0, "size": 1.0} | given
    return Rows(**{k: torch.as_tensor(v).double().expand(n) for k, v in default.items()})


def _beyond(ends: Formula) -> Callable[..., Rows]:
    """Rows whose interval goes on past their end."""

    def draw(u: Callable[..., Tensor], n: int) -> Rows:
        made = _rows(u, n, u0=u(0.1, 3.0), p=u(0.5, 20.0), q=u(0.1, 1.0))
        return made._replace(t1=ends(made) * u(1.001, 3.0))

    return draw


def _until(field: Formula, ends: Formula, continued: Formula | None = None) -> Kind:
    return Kind(_beyond(ends), field, continued, ends)


def _log(u: Callable[..., Tensor]) -> Tensor:
    """A random sign times a size over many decades."""
    return torch.sign(u(-1.0, 1.0)) * 10 ** u(-250.0, 250.0)


def _relaxed(r: Rows, t: Tensor) -> Tensor:
    """u' = -p (u - cos t)."""
    p = r.p
    part = lambda s: (p * p * torch.cos(s) + p * torch.sin(s)) / (1 + p * p)  # noqa: E731
    return part(t) + (r.u0 - part(r.t0)) * torch.exp(-p * (t - r.t0))


def _integral_of_log(x: Tensor) -> Tensor:
    return torch.where(x == 0, 0.0, x * torch.log(x.abs()) - x)


KINDS: dict[str, Kind] = {
    # no solution reaches t1
    "square": _until(
        lambda t, u, p, q: p * u * u,
        lambda r: 1 / (r.p * r.u0),
        lambda r: r.u0 / (1 - r.p * r.u0 * r.t1),
    ),
    "cube": _until(lambda t, u, p, q: p * u**3, lambda r: 1 / (2 * r.p * r.u0**2)),
    "exponential": _until(lambda t, u, p, q: p * torch.exp(u), lambda r: torch.exp(-r.u0) / r.p),
    "tangent": _until(
        lambda t, u, p, q: p * (1 + u * u),
        lambda r: (torch.pi / 2 - torch.atan(r.u0)) / r.p,
        lambda r: torch.tan(torch.atan(r.u0) + r.p * r.t1),
    ),
    "wall in t": _until(
        lambda t, u, p, q: torch.where(t > q, float("nan"), torch.cos(p * t)), lambda r: r.q
    ),
    "wall in u": _until(
        lambda t, u, p, q: torch.where(u > 4, float("nan"), p + 0 * u), lambda r: (4 - r.u0) / r.p
    ),
    "infinite slope": _until(lambda t, u, p, q: p / (4 - u), lambda r: (4 - r.u0) ** 2 / (2 * r.p)),
    "pole in t": _until(lambda t, u, p, q: p / (q - t), lambda r: r.q),
    "overflow": Kind(
        lambda u, n: _rows(u, n, p=u(800.0, 1e6)),
        lambda t, u, p, q: p * u,
        None,
    ),
    # jumps, in t and in u
    "jump in t": Kind(
        lambda u, n: _rows(u, n, p=u(-5.0, 5.0), q=u(0.0, 1.0)),
        lambda t, u, p, q: torch.where(t < q, p, 1.0) + 0 * u,
        lambda r: r.u0 + r.p * r.q + 1 - r.q,
    ),
    "jump in u": Kind(
        lambda u, n: _rows(u, n, p=u(0.2, 9.0), q=u(1.0, 1.9)),
        lambda t, u, p, q: torch.where(u < q, 1.0, p),
        lambda r: torch.where(r.q - r.u0 < 1, r.q + r.p * (1 - r.q + r.u0), r.u0 + 1),
    ),
    "sliding": Kind(
        lambda u, n: _rows(u, n, p=u(1.0, 100.0), q=u(0.1, 0.9)),
        lambda t, u, p, q: -p * torch.sign(u - q),
        lambda r: r.q,
    ),
    "stiff jump": Kind(
        lambda u, n: _rows(u, n, p=10 ** u(2.0, 8.0), q=u(0.1, 0.9)),
        lambda t, u, p, q: -p * (u - torch.where(t < q, 1.0, 2.0)),
        lambda r: 2 - torch.exp(-r.p * (1 - r.q)),
    ),
    # sizes and lengths
    "sizes": Kind(
        lambda u, n: (lambda s: _rows(u, n, u0=s, size=s.abs(), p=u(-5.0, 5.0)))(_log(u)),
        lambda t, u, p, q: p * u,
        lambda r: r.u0 * torch.exp(r.p),
    ),
    "lengths": Kind(
        lambda u, n: (lambda s: _rows(u, n, t1=s, p=u(-3.0, 3.0) / s.abs()))(_log(u)),
        lambda t, u, p, q: p * u,
        lambda r: r.u0 * torch.exp(r.p * r.t1),
    ),
    "far away": Kind(
        lambda u, n: (lambda s: _rows(u, n, t0=s, t1=s + 10 ** u(-6.0, 0.0), p=u(-3.0, 3.0)))(
            10 ** u(0.0, 12.0)
        ),
        lambda t, u, p, q: p * u,
        lambda r: r.u0 * torch.exp(r.p * (r.t1 - r.t0)),
    ),
    "nothing": Kind(
        lambda u, n: _rows(u, n, u0=u(-1.0, 1.0)),
        lambda t, u, p, q: torch.zeros_like(u),
        lambda r: r.u0,
    ),
    # steep, and fast
    "relaxation": Kind(
        lambda u, n: _rows(u, n, u0=u(-2.0, 2.0), p=10 ** u(2.0, 14.0)),
        lambda t, u, p, q: -p * (u - torch.cos(t)),
        lambda r: _relaxed(r, r.t1),
    ),
    "oscillation": Kind(
        lambda u, n: _rows(u, n, p=10 ** u(1.0, 5.0)),
        lambda t, u, p, q: p * torch.cos(p * t) + 0 * u,
        lambda r: r.u0 + torch.sin(r.p),
    ),
    "waves of growth": Kind(
        # up to 3 pi/2: from there on what was lost below atol would grow again
        lambda u, n: _rows(u, n, p=u(1.0, 20.0), t1=u(1.0, 4.7)),
        lambda t, u, p, q: p * torch.cos(t) * u,
        lambda r: torch.exp(r.p * torch.sin(r.t1)),
    ),
    # singular, but with a solution
    "root": Kind(
        lambda u, n: _rows(u, n, u0=u(0.1, 2.0), p=u(0.5, 4.0)),
        lambda t, u, p, q: -p * torch.sqrt(u),
        lambda r: torch.clamp(torch.sqrt(r.u0) - r.p / 2, min=0) ** 2,
    ),
    "signed root": Kind(
        lambda u, n: _rows(u, n, u0=u(0.1, 2.0), p=u(0.5, 4.0)),
        lambda t, u, p, q: -p * torch.sign(u) * torch.sqrt(u.abs()),
        lambda r: torch.clamp(torch.sqrt(r.u0) - r.p / 2, min=0) ** 2,
    ),
    "logarithm": Kind(
        lambda u, n: _rows(u, n, q=u(0.0, 1.0), p=u(-2.0, 2.0)),
        lambda t, u, p, q: p * torch.log((t - q).abs()) + 0 * u,
        lambda r: r.u0 + r.p * (_integral_of_log(1 - r.q) - _integral_of_log(-r.q)),
    ),
    "inverse root": Kind(
        lambda u, n: _rows(u, n, q=u(0.0, 1.0)),
        lambda t, u, p, q: 1 / torch.sqrt((t - q).abs()) + 0 * u,
        lambda r: r.u0 + 2 * (torch.sqrt(1 - r.q) + torch.sqrt(r.q)),
    ),
    "root of t": Kind(
        lambda u, n: _rows(u, n, t0=u(0.0, 1.0), t1=0.0),
        lambda t, u, p, q: torch.sqrt(t) + 0 * u,
        lambda r: r.u0 - r.t0**1.5 * 2 / 3,
    ),
}


class Batch:
    """`each` rows of every kind, in the order of KINDS."""

    def __init__(self, each: int, seed: int, skip: tuple[str, ...] = ()) -> None:
        random = torch.Generator().manual_seed(seed)

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(each, generator=random, dtype=torch.float64)

        self.names = [name for name in KINDS if name not in skip]
        self._each = each
        self._parts = [KINDS[name].draw(uniform, each) for name in self.names]
        self.rows = Rows(*(torch.cat(parts) for parts in zip(*self._parts, strict=True)))
        self._given = [(r.p.unsqueeze(1), r.q.unsqueeze(1)) for r in self._parts]

    def kind(self, row: int) -> str:
        """What a row is."""
        return self.names[row // self._each]

    def field(self, t: Tensor, y: Tensor) -> Tensor:
        """One component: u; two: (u, u + w) with w a twin of u."""
        twins = y if y.shape[1] == 1 else torch.cat((y[:, :1], y[:, 1:] - y[:, :1]), 1)
        parts = []
        for name, s, u, (p, q) in zip(
            self.names,
            t.unsqueeze(1).split(self._each),
            twins.split(self._each),
            self._given,
            strict=True,
        ):
            parts.append(KINDS[name].field(s, u, p.to(u.dtype), q.to(u.dtype)).expand_as(u))
        slope = torch.cat(parts)
        if y.shape[1] == 1:
            return slope
        return torch.cat((slope[:, :1], slope[:, 1:] + slope[:, :1]), 1)

    def exact(self) -> Tensor:
        """u(t1) (N,), nan where nothing reaches t1."""
        return self._each_kind([KINDS[name].exact for name in self.names])

    def ends(self) -> Tensor:
        """Where a solution ceases to exist (N,), nan where it does not or that is not known."""
        return self._each_kind([KINDS[name].ends for name in self.names])

    def _each_kind(self, formulas: list[Formula | None]) -> Tensor:
        pairs = zip(formulas, self._parts, strict=True)
        return torch.cat(
            [torch.full_like(r.u0, torch.nan) if f is None else f(r) for f, r in pairs]
        )
