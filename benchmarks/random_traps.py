"""Random fields with known solutions, from kinds that tempt a solver: what `honesty.py` counts on.

Each kind draws its numbers over many orders of magnitude and gives (f, y0, t1, end, size of y).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from traps import D, Field, Trap, columns, row

Uniform = Callable[[float, float], float]
Drawn = tuple[Field, Tensor, float, Tensor, float]
Kind = Callable[[Uniform], Drawn]

KINDS: dict[str, Kind] = {}


def kind(make: Kind) -> Kind:
    """Add a kind, under the name of its function."""
    KINDS[make.__name__.replace("_", " ")] = make
    return make


def power(u: Uniform, low: float, high: float) -> float:
    """A number between 10^low and 10^high."""
    return 10.0 ** u(low, high)


@kind
def stiff_tracking(u: Uniform) -> Drawn:
    """Prothero and Robinson, with a solution that may be fast itself."""
    p, q = power(u, 0, 8), power(u, 0, 2)
    f: Field = lambda t, y: -p * (y - torch.sin(q * t)) + q * torch.cos(q * t)  # noqa: E731
    return f, row(0.0), 1.0, row(math.sin(q)), 1.0


@kind
def cubic_tracking(u: Uniform) -> Drawn:
    """The same with a restoring force of the third power."""
    p = power(u, 0, 10)
    f: Field = lambda t, y: -p * (y**3 - torch.cos(t) ** 3) - torch.sin(t)  # noqa: E731
    return f, row(1.0), 1.0, row(math.cos(1.0)), 1.0


@kind
def wobbling_rate(u: Uniform) -> Drawn:
    """A rate that almost vanishes now and then."""
    p = power(u, 1, 9)
    f: Field = lambda t, y: (  # noqa: E731
        -p * (1 + torch.sin(50 * t)) * (y - torch.cos(t)) - torch.sin(t)
    )
    return f, row(1.0), 1.0, row(math.cos(1.0)), 1.0


@kind
def unstable_tracking(u: Uniform) -> Drawn:
    """Neighbours leave the solution."""
    p = u(0.1, 6.0)
    f: Field = lambda t, y: p * (y - torch.cos(t)) - torch.sin(t)  # noqa: E731
    return f, row(1.0), 1.0, row(math.cos(1.0)), 1.0


@kind
def growth(u: Uniform) -> Drawn:
    """Logistic, from far below."""
    p, y0 = u(5.0, 60.0), power(u, -12, -1)
    f: Field = lambda t, y: p * y * (1 - y)  # noqa: E731
    return f, row(y0), 1.0, row(1 / (1 + (1 / y0 - 1) * math.exp(-p))), y0


@kind
def transient_growth(u: Uniform) -> Drawn:
    """A matrix that is far from normal."""
    p = power(u, 0, 8)

    def f(t: Tensor, y: Tensor) -> Tensor:
        a, b = y.unbind(-1)
        return columns(-a + p * b, -b)

    end = math.exp(-1.0)
    return f, row(0.0, 1.0), 1.0, row(p * end, end), 1.0


@kind
def near_a_pole(u: Uniform) -> Drawn:
    """y' = y^2, up to a hundredth of the way before its pole."""
    t1 = 1 - power(u, -2, -1)
    f: Field = lambda t, y: y * y  # noqa: E731
    return f, row(1.0), t1, row(1 / (1 - t1)), 1.0


@kind
def root(u: Uniform) -> Drawn:
    """The derivative of f is large where the solution begins."""
    y0 = power(u, -12, -2)
    f: Field = lambda t, y: 2 * torch.sqrt(y.abs())  # noqa: E731
    return f, row(y0), 1.0, row((math.sqrt(y0) + 1) ** 2), y0


@kind
def algebraic_decay(u: Uniform) -> Drawn:
    """A rate that falls by many orders of magnitude."""
    p, t1 = power(u, 0, 14), power(u, -2, 8)
    f: Field = lambda t, y: -p * y**3  # noqa: E731
    return f, row(1.0), t1, row((1 + 2 * p * t1) ** -0.5), (1 + 2 * p * t1) ** -0.5


@kind
def extreme_size(u: Uniform) -> Drawn:
    """States whose squares overflow, or vanish."""
    p, q = power(u, 0, 6), power(u, -250, 250)
    f: Field = lambda t, y: -p * (y - q * torch.cos(t)) - q * torch.sin(t)  # noqa: E731
    return f, row(q), 1.0, row(q * math.cos(1.0)), q


@kind
def oscillator(u: Uniform) -> Drawn:
    """Many turns, without damping."""
    p = power(u, 0, 2)

    def f(t: Tensor, y: Tensor) -> Tensor:
        a, b = y.unbind(-1)
        return columns(p * b, -p * a)

    return f, row(1.0, 0.0), 1.0, row(math.cos(p), -math.sin(p)), 1.0


@kind
def square_wave(u: Uniform) -> Drawn:
    """Jumps at times that nobody names."""
    p = u(1.0, 40.0)
    f: Field = lambda t, y: torch.sign(torch.sin(p * t)) + 0 * y  # noqa: E731
    turn = p * 2.0 / (2 * math.pi) % 1.0
    return f, row(0.0), 2.0, row(2 * math.pi / p * min(turn, 1 - turn)), 1.0


@kind
def relay(u: Uniform) -> Drawn:
    """A force that changes sign on the solution."""
    p = u(2.0, 50.0)
    f: Field = lambda t, y: -p * torch.sign(y - torch.sin(t))  # noqa: E731
    return f, row(0.5), 4.0, row(math.sin(4.0)), 1.0


@kind
def wake_up(u: Uniform) -> Drawn:
    """Nothing happens for most of the interval."""
    t1 = power(u, 1, 4)
    begin = t1 - u(1.0, 5.0)
    f: Field = lambda t, y: torch.where(t < begin, 0.0, torch.cos(t - begin)) + 0 * y  # noqa: E731
    return f, row(1.0), t1, row(1 + math.sin(t1 - begin)), 1.0


@kind
def pulse(u: Uniform) -> Drawn:
    """One that is short against the interval."""
    width, middle = power(u, -4, -1), u(0.3, 0.7)
    f: Field = lambda t, y: torch.exp(-(((t - middle) / width) ** 2)) / width + 0 * y  # noqa: E731
    area = math.erf((1 - middle) / width) + math.erf(middle / width)
    return f, row(1.0), 1.0, row(1 + math.sqrt(math.pi) / 2 * area), 1.0


@kind
def wall(u: Uniform) -> Drawn:
    """Beyond some time f has no value: no success is right."""
    q, p = u(0.3, 0.9), u(-1.0, 1.0)
    f: Field = lambda t, y: torch.where(t > q, math.nan, p) + 0 * y  # noqa: E731
    return f, row(1.0), 1.0, row(math.nan), 1.0


def random_traps(each: int, seed: int = 0) -> Iterator[Trap]:
    """So many of each kind."""
    draw = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=draw, dtype=D))

    for name, make in KINDS.items():
        for i in range(each):
            f, y0, t1, end, size = make(uniform)
            yield Trap(f"{name} {i}", name, shaped(f, y0), y0, t1, 0.1 * size, end)


def shaped(f: Field, y0: Tensor) -> Field:
    """f for one state with t (), and for rows with t (B,)."""
    return lambda t, y: f(t.unsqueeze(-1) if y.ndim > 1 and y0.numel() == 1 else t, y)
