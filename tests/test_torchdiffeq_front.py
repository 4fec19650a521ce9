"""`odeint` and its kin keep torchdiffeq's promises: same results, gradients, habits, refusals."""

from __future__ import annotations

import copy
import warnings
from functools import partial

import pytest
import torch
import torchdiffeq

from stiffguide import StiffguideWarning
from stiffguide.fronts.torchdiffeq import odeint, odeint_adjoint, odeint_dense, odeint_event

F64 = torch.float64
ADAPTIVE = ["dopri5", "bosh3", "dopri8", "adaptive_heun", "fehlberg2"]
EXPLICIT = ["euler", "midpoint", "heun2", "heun3", "rk4"]
ADAMS = ["explicit_adams", "implicit_adams", "fixed_adams"]
IMPLICIT = [
    *("implicit_euler", "implicit_midpoint", "trapezoid", "radauIIA3", "gl4", "radauIIA5", "gl6"),
    *("sdirk2", "trbdf2"),
]
GIVEN = [*EXPLICIT, *ADAMS, *IMPLICIT]
LOOSE = {"adaptive_heun": 1e-4, "fehlberg2": 1e-4, "bosh3": 1e-6}  # rtol, where 1e-7 takes long
every_adaptive = pytest.mark.parametrize("method", [*ADAPTIVE, "tsit5"])
every_given = pytest.mark.parametrize("method", GIVEN)
both = pytest.mark.parametrize("interface", ["odeint", "odeint_adjoint"])


def tensor(*values, **more):
    return torch.tensor(values, dtype=F64, **more)


class Field(torch.nn.Module):
    """A function of (t, y, a) with a parameter a, and a count of its calls."""

    def __init__(self, f, a=(0.7,)):
        super().__init__()
        self.f, self.a, self.calls = f, torch.nn.Parameter(tensor(*a)), 0

    def forward(self, t, y):
        self.calls += 1
        return self.f(t, y, self.a)


def kepler(t, y, a):
    r = (y[0] ** 2 + y[1] ** 2) ** 1.5
    return torch.stack((y[2], y[3], -a[0] * y[0] / r, -a[0] * y[1] / r))


def lorenz(t, y, a):
    return torch.stack(
        (10 * (y[1] - y[0]), y[0] * (28 * a[0] - y[2]) - y[1], y[0] * y[1] - 2 * y[2])
    )


def tied(t, y, a):
    p, q = y
    return a * q.sum() * torch.ones_like(p), -p.mean() * q


PROBLEMS = {
    "decay": (lambda t, y, a: -a * y, tensor(1.0, 2.0), (0, 2)),
    "decay backwards": (lambda t, y, a: -a * y, tensor(1.0, 2.0), (2, 0)),
    "number": (lambda t, y, a: a[0] * torch.cos(t) - y, torch.tensor(1.0, dtype=F64), (0, 3)),
    "growth": (lambda t, y, a: a * y * (1 - y), tensor(0.1), (0, 4)),
    "rotation": (lambda t, y, a: a * torch.stack((y[1], -y[0])), tensor(1.0, 0.0), (0, 5)),
    "pendulum": (
        lambda t, y, a: torch.stack((y[1], -a[0] * torch.sin(y[0]))),
        tensor(1.0, 0),
        (1, 5),
    ),
    "kepler": (kepler, tensor(0.8, 0, 0, 1.0), (0, 2)),
    "lorenz": (lorenz, tensor(1.0, 2, 3), (0, 0.5)),
    "forced": (lambda t, y, a: -5 * a * (y - torch.cos(t)), tensor(0.0), (0, 2)),
    "rational": (lambda t, y, a: a * y / t + t, tensor(1.0), (1, 3)),
    "oscillator": (
        lambda t, y, a: torch.stack((y[1], a[0] * (1 - y[0] ** 2) * y[1] - y[0])),
        *(tensor(2.0, 0), (0, 3)),
    ),
    "lotka": (
        lambda t, y, a: torch.stack((y[0] * (a[0] - y[1]), y[1] * (y[0] - 1))),
        *(tensor(1.0, 0.5), (0, 4)),
    ),
    "matrix": (lambda t, y, a: a * y @ y.T @ y - y, 0.3 * torch.eye(3, dtype=F64) + 0.1, (0, 1)),
    "batch": (
        lambda t, y, a: torch.tanh(a * y).flip(-1) - y,
        torch.ones(4, 2, dtype=F64) / 3,
        (0, 2),
    ),
    "pair": (tied, (tensor(1.0, 2, 3), torch.ones(2, 2, dtype=F64)), (0, 1)),
    "pair backwards": (tied, (tensor(1.0, 2, 3), torch.ones(2, 2, dtype=F64)), (1, -1)),
    "complex": (lambda t, y, a: 1j * a * y - 0.1 * y, torch.tensor([1 + 1j, 2.0]), (0, 2)),
    "chirp": (lambda t, y, a: a * t * torch.cos(t**2) * torch.ones_like(y), tensor(0.0, 1), (0, 3)),
    "empty of y": (lambda t, y, a: a * torch.exp(-t) + 0 * y, tensor(2.0), (0, 1)),
    "field": (
        lambda t, y, a: a * (y.roll(1) - 2 * y + y.roll(-1)),
        torch.arange(8.0).double(),
        (0, 1),
    ),
}
KINDS = [*ADAPTIVE, *EXPLICIT]


def parts(y):
    return (y,) if isinstance(y, torch.Tensor) else y


def run(solver, name, method, **options):
    """The states and all gradients of a sum of them, and how often f was called."""
    f, y0, span = PROBLEMS[name]
    field = Field(f)
    y0 = tuple(x.to(x.dtype if x.is_complex() else F64).clone().requires_grad_() for x in parts(y0))
    t = torch.linspace(*map(float, span), 5, dtype=F64).requires_grad_()
    start = y0 if name.startswith("pair") else y0[0]
    y = solver(field, start, t, method=method, rtol=LOOSE.get(method, 1e-7), atol=1e-9, **options)
    calls = field.calls
    total = sum(
        (x.abs() * torch.linspace(1, 2, x.numel()).reshape(x.shape)).sum() for x in parts(y)
    )
    total.backward()
    return [x.detach() for x in parts(y)], [t.grad, field.a.grad, *(x.grad for x in y0)], calls


@pytest.mark.parametrize("place", range(len(PROBLEMS)), ids=list(PROBLEMS))
def test_it_agrees_with_torchdiffeq(place):
    name = list(PROBLEMS)[place]
    for method in {"dopri5", KINDS[place % len(ADAPTIVE)], KINDS[len(ADAPTIVE) + place % 5]}:
        ours, theirs = run(odeint, name, method), run(torchdiffeq.odeint, name, method)
        # the tolerance, times what an unstable problem makes of it; given steps leave no choice
        near = 30 * LOOSE.get(method, 1e-7) if method in ADAPTIVE else 1e-11
        for mine, other in zip(ours[0] + ours[1], theirs[0] + theirs[1], strict=True):
            assert mine.shape == other.shape
            assert mine.dtype == other.dtype
            size = 1 + other.abs().max()
            assert (mine - other).abs().max() <= near * 10 * size, (method, mine, other)
        if method in ADAPTIVE:
            assert ours[2] <= 1.1 * theirs[2] + 2, method


@every_given
def test_given_steps_have_their_order(method):
    order = {"euler": 1, "implicit_euler": 1, "heun3": 3, "radauIIA3": 3, "rk4": 4, "gl4": 4}
    order |= {"radauIIA5": 5, "gl6": 6, **dict.fromkeys(ADAMS, 4)}
    t, errors = tensor(0.0, 2.0), []
    exact = torch.stack((t[-1].cos(), t[-1].sin())) * torch.exp(-0.3 * t[-1])
    spin = tensor([-0.3, -1.0], [1.0, -0.3])
    for n in (8, 16):
        options = {"step_size": 2 / n}
        if method in ADAMS:
            options["max_order"] = 4
        y = odeint(lambda t, y: spin @ y, tensor(1.0, 0.0), t, method=method, options=options)
        errors.append((y[-1] - exact).norm())
    slope = torch.log2(errors[0] / errors[1])
    assert abs(slope - order.get(method, 2)) < 0.45, slope
