"""Problems on which solvers return a wrong answer as success: what the benchmark of honesty runs.

Each has an end that is exact, or taken from an explicit method at a tight tolerance, which cannot
damp what grows. `kind` says what the trap is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import stiffguide as sg
from stiffguide import problems

Field = Callable[[Tensor, Tensor], Tensor]
D = torch.float64


@dataclass(frozen=True)
class Trap:
    """A problem y' = f(t, y) from t = 0, and the size of atol that goes with rtol = 1."""

    name: str
    kind: str
    f: Field
    y0: Tensor
    t1: float
    size: float | tuple[float, ...] = 1e-3
    end: Tensor | None = None

    def reference(self) -> Tensor:
        """The end (F,)."""
        if self.end is not None:
            return self.end
        found = sg.solve(
            *(self.f, self.y0, 0.0, self.t1),
            **{"method": "dop853", "rtol": 1e-11, "atol": 1e-20, "backend": "auto"},
            max_attempts=10**7,
        )
        return found.raise_if_failed().y[-1]


def row(*values: float) -> Tensor:
    """A state."""
    return torch.tensor(values, dtype=D)


def columns(*values: Tensor) -> Tensor:
    """The components of a value of f."""
    return torch.stack(values, -1)


def tank(t: Tensor, y: Tensor) -> Tensor:
    """One tank, from empty: the derivative of the outflow is infinite there."""
    return (0.5 - 0.13 * torch.sqrt(y)) / 2


def tanks(t: Tensor, y: Tensor) -> Tensor:
    """Two of them."""
    a, b = y.unbind(-1)
    first, second = 0.13 * torch.sqrt(a), 0.2 * torch.sqrt(b)
    return columns((0.5 - first) / 2, (first - second) / 2)


def hill(t: Tensor, y: Tensor) -> Tensor:
    """A Hill function with an exponent below 1, from 0."""
    return columns(1 - y[..., 0], 1 / (1 + y[..., 0] ** 0.7) - y[..., 1])


def removable(t: Tensor, y: Tensor) -> Tensor:
    """y / (1 - e^-y), whose value at 0 is chosen by `where`."""
    return torch.where(y.abs() < 1e-7, 1.0, y / (1 - torch.exp(-y)))


def reciprocal(size: float) -> Field:
    """y' = c/y."""
    return lambda t, y: size / y


def logistic(t: Tensor, y: Tensor) -> Tensor:
    """Growth from 1e-12 to 1."""
    return 1e3 * y * (1 - y)


def masked(t: Tensor, y: Tensor) -> Tensor:
    """Two of those beside a decay that can be seen."""
    a, b, c = y.unbind(-1)
    return columns(-10 * a, 1e3 * b * (1 - b), 1.1e3 * c * (1 - c))


def branching(k: float) -> Field:
    """A radical branches at k and ends at 1e5."""

    def f(t: Tensor, y: Tensor) -> Tensor:
        fuel, radical = y.unbind(-1)
        made, more, ended = 1e-6 * fuel, k * fuel * radical, 1e5 * radical
        return columns(-made - more, made + more - ended)

    return f


def twice(t: Tensor, y: Tensor) -> Tensor:
    """Two branchings side by side."""
    return torch.cat((branching(4e5)(t, y[..., :2]), branching(5e5)(t, y[..., 2:])), -1)


def cells(t: Tensor, y: Tensor) -> Tensor:
    """Eight in a row, with diffusion of the radicals."""
    fuel, radical = y[..., :8], y[..., 8:]
    k = 4e5 * (1 + 0.05 * torch.arange(8, dtype=D))
    made, more, ended = 1e-6 * fuel, k * fuel * radical, 1e5 * radical
    flux = torch.nn.functional.pad(radical[..., 1:] - radical[..., :-1], (1, 1))
    return torch.cat((-made - more, made + more - ended + 1e3 * flux.diff(dim=-1)), -1)


def flame(t: Tensor, y: Tensor) -> Tensor:
    """A ball of flame."""
    return y**2 - y**3


def spiral(growth: float, turn: float) -> Field:
    """An oscillation that grows to the unit circle (Landau)."""

    def f(t: Tensor, y: Tensor) -> Tensor:
        a, b = y.unbind(-1)
        r = a * a + b * b
        return columns(
            growth * a - turn * b - growth * r * a, turn * a + growth * b - growth * r * b
        )

    return f


def published(name: str, kind: str, t1: float | None = None) -> Trap:
    """A problem of the library's own, with its own absolute tolerances."""
    p = problems.get(name)
    size = p.atol_for(1.0)
    end = row(*p.reference) if t1 is None and p.reference is not None else None
    return Trap(name, kind, p.f, p.y0, t1 or p.t1, size, end)


def ignition(hot: float) -> Trap:
    """Hydrogen and air at 1 atm."""
    p = problems.hydrogen_ignition(hot)
    assert p.reference is not None
    return Trap(f"ignition at {hot:g} K", "growth", p.f, p.y0, p.t1, end=row(*p.reference))


TRAPS = (
    published("robertson", "ordinary"),
    published("hires", "ordinary"),
    published("e5", "cancellation"),
    Trap("one tank", "derivative", tank, row(0.0), 10.0),
    Trap("two tanks", "derivative", tanks, row(0.0, 0.0), 10.0),
    Trap("Hill exponent 0.7", "derivative", hill, row(0.0, 0.0), 10.0),
    Trap("0/0 in where", "derivative", removable, row(0.0), 1.0),
    Trap("1e25/y from 1e6", "iteration", reciprocal(1e25), row(1e6), 1.0, 1.0, row(2e25**0.5)),
    Trap("1e50/y from 1e6", "iteration", reciprocal(1e50), row(1e6), 1.0, 1.0, row(2e50**0.5)),
    Trap("logistic", "growth", logistic, row(1e-12), 1.0, end=row(1.0)),
    Trap(
        *("two, masked", "growth", masked, row(1.0, 1e-12, 1e-12), 1.0),
        end=row(math.exp(-10.0), 1.0, 1.0),
    ),
    Trap("branching", "growth", branching(4e5), row(1.0, 0.0), 1e-2),
    Trap("fast branching", "growth", branching(2e7), row(1.0, 0.0), 1e-3),
    Trap("two branchings", "growth", twice, row(1.0, 0.0, 1.0, 0.0), 1e-2),
    Trap("eight cells", "growth", cells, torch.cat((torch.ones(8), torch.zeros(8))).to(D), 1e-2),
    Trap("flame from 1e-4", "growth", flame, row(1e-4), 2e4, end=row(1.0)),
    ignition(1000.0),
    ignition(1200.0),
    ignition(1400.0),
    Trap("spiral 1e3, 1e3", "oscillation", spiral(1e3, 1e3), row(1e-12, 0.0), 0.1),
    Trap("spiral 1e3, 1e2", "oscillation", spiral(1e3, 1e2), row(1e-12, 0.0), 0.1),
    Trap("spiral 1e2, 1e3", "oscillation", spiral(1e2, 1e3), row(1e-12, 0.0), 1.0),
)
