"""`odeint` and its kin keep torchdiffeq's promises: same results, gradients, habits, refusals."""

from __future__ import annotations

import copy
import warnings
from functools import partial

import pytest
import torch
import torchdiffeq
from cached import needs_compiler

from stiffguide import StiffguideWarning
from stiffguide.fronts.torchdiffeq import (
    lean,
    odeint,
    odeint_adjoint,
    odeint_dense,
    odeint_event,
)
from stiffguide.fronts.torchdiffeq.effects import affects

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
    "complex": (
        lambda t, y, a: 1j * a * y - 0.1 * y,
        torch.tensor([1 + 1j, 2.0]).to(torch.complex128),
        (0, 2),
    ),
    "chirp": (lambda t, y, a: a * t * torch.cos(t**2) * torch.ones_like(y), tensor(0.0, 1), (0, 3)),
    "empty of y": (lambda t, y, a: a * torch.exp(-t) + 0 * y, tensor(2.0), (0, 1)),
    "field": (
        lambda t, y, a: a * (y.roll(1) - 2 * y + y.roll(-1)),
        torch.arange(8.0).double(),
        (0, 1),
    ),
}
KINDS = [*ADAPTIVE, *EXPLICIT]
# what two solves may differ by, and their derivatives by time between steps
# (theirs interpolates all pairs with polynomials of order 4 through a point of order 2 or 3)
NEAR = {"dopri5": (5e-6, 5e-5), "dopri8": (1e-4, 1e-3), "bosh3": (1e-2, 5e-2)}
NEAR |= {"adaptive_heun": (1e-3, 1e-2), "fehlberg2": (5e-2, 0.1)}


def parts(y):
    return (y,) if isinstance(y, torch.Tensor) else y


def run(solver, name, method, **options):
    """The states, and the gradients of a sum of them."""
    f, y0, span = PROBLEMS[name]
    field = Field(f)
    y0 = tuple(x.to(x.dtype if x.is_complex() else F64).clone().requires_grad_() for x in parts(y0))
    t = torch.linspace(*map(float, span), 5, dtype=F64).requires_grad_()
    start = y0 if name.startswith("pair") else y0[0]
    y = solver(field, start, t, method=method, rtol=LOOSE.get(method, 1e-7), atol=1e-9, **options)
    total = sum(
        (x.abs() * torch.linspace(1, 2, x.numel()).reshape(x.shape)).sum() for x in parts(y)
    )
    total.backward()
    return [x.detach() for x in parts(y)], [t.grad, field.a.grad, *(x.grad for x in y0)]


@pytest.mark.parametrize("place", range(len(PROBLEMS)), ids=list(PROBLEMS))
def test_it_agrees_with_torchdiffeq(place):
    """States, and gradients by times, parameters and the start; given steps to rounding."""
    name = list(PROBLEMS)[place]
    for method in {"dopri5", KINDS[place % len(ADAPTIVE)], KINDS[len(ADAPTIVE) + place % 5]}:
        ours, theirs = run(odeint, name, method), run(torchdiffeq.odeint, name, method)
        near, by_time = NEAR.get(method, (1e-11, 1e-11))
        limits = [near] * len(ours[0]) + [by_time] + [near] * (len(ours[1]) - 1)
        found = zip([*ours[0], *ours[1]], [*theirs[0], *theirs[1]], limits, strict=True)
        for mine, other, limit in found:
            assert mine.shape == other.shape
            assert mine.dtype == other.dtype
            size = 1 + other.abs().max()
            assert (mine - other).abs().max() <= limit * size, (method, mine, other)


@pytest.mark.parametrize("place", range(len(PROBLEMS)), ids=list(PROBLEMS))
def test_it_costs_what_torchdiffeq_costs(place):
    """In evaluations of f, at the default tolerances where these do not take long."""
    name = list(PROBLEMS)[place]
    for method in ("dopri5", ADAPTIVE[place % len(ADAPTIVE)]):
        calls = []
        for solver in (odeint, torchdiffeq.odeint):
            f, y0, span = PROBLEMS[name]
            field, t = Field(f), torch.linspace(*map(float, span), 5, dtype=F64)
            with torch.no_grad():
                solver(field, y0, t, method=method, rtol=LOOSE.get(method, 1e-7), atol=1e-9)
            calls.append(field.calls)
        assert calls[0] <= 1.1 * calls[1] + 2, (method, calls)


@every_given
def test_given_steps_have_their_order(method):
    order = {"euler": 1, "implicit_euler": 1, "heun3": 3, "radauIIA3": 3, "rk4": 4, "gl4": 4}
    order |= {"radauIIA5": 5, "gl6": 6, **dict.fromkeys(ADAMS, 4), "explicit_adams": 3}
    t, errors = tensor(0.0, 2.0), []
    exact = torch.stack((t[-1].cos(), t[-1].sin())) * torch.exp(-0.3 * t[-1])
    spin = tensor([-0.3, -1.0], [1.0, -0.3])
    for n in (32, 64) if method in ADAMS else (8, 16):
        options = {"step_size": 2 / n}
        if method in ADAMS:
            options["max_order"] = 4
        y = odeint(lambda t, y: spin @ y, tensor(1.0, 0.0), t, method=method, options=options)
        errors.append((y[-1] - exact).norm())
    slope = torch.log2(errors[0] / errors[1])
    assert abs(slope - order.get(method, 2)) < 0.45, slope


class Watched(Field):
    """A field that keeps what its callbacks are told."""

    def __init__(self, f):
        super().__init__(f)
        self.told = []
        for name in ("callback_step", "callback_accept_step", "callback_reject_step"):
            for suffix in ("", "_adjoint"):
                setattr(self, name + suffix, partial(self.tell, name + suffix))

    def tell(self, name, t0, y0, dt):
        self.told.append((name, float(t0), y0, float(dt)))

    def count(self, name):
        return sum(told[0] == name for told in self.told)


def stiff(t, y, a):
    return -300 * a * (y - torch.cos(t))


@pytest.mark.parametrize("span", [(0.0, 1.0), (1.0, 0.0)])
def test_callbacks_are_told_of_every_attempt(span):
    f = Watched(lambda t, y, a: torch.where(t < 0.4, -y, 40 * y * torch.sin(40 * t)))
    y = odeint_adjoint(f, tensor(1.0, 2.0), tensor(*span), rtol=1e-4, atol=1e-6)
    steps = f.count("callback_step")
    assert steps == f.count("callback_accept_step") + f.count("callback_reject_step")
    assert f.count("callback_reject_step")
    first = f.told[0]
    assert first[0] == "callback_step"
    assert first[1] == span[0]
    assert first[2].tolist() == [1, 2]
    assert all(told[3] > 0 for told in f.told)  # as theirs, whose time always rises
    assert not f.count("callback_step_adjoint")
    y.sum().backward()
    assert f.count("callback_step_adjoint") > 0
    assert f.count("callback_step") == steps


def test_callbacks_that_nobody_calls_are_said():
    for method, known in (("rk4", ["callback_step"]), ("scipy_solver", [])):
        f = Watched(lambda t, y, a: -y)
        with pytest.warns(StiffguideWarning, match="never calls the callbacks"):
            odeint(f, tensor(1.0), tensor(0.0, 1.0), method=method)
        assert {told[0] for told in f.told} == set(known)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"t": [0.0, 1.0]}, AssertionError, "torch.Tensor"),
        ({"t": torch.tensor([0, 1])}, TypeError, "must be a floating point"),
        ({"t": tensor(0.0, 0.0)}, AssertionError, "strictly increasing or decreasing"),
        ({"t": tensor(0.0, 1.0, 0.5)}, AssertionError, "strictly increasing or decreasing"),
        ({"t": tensor(0.0, 1.0)[None]}, AssertionError, "one dimensional"),
        ({"t": tensor()}, AssertionError, "empty"),
        ({"method": "dopri"}, ValueError, "Invalid method"),
        ({"y0": [tensor(1.0)]}, AssertionError, "tuple"),
        ({"y0": (tensor(1.0),) * 2, "rtol": (1e-3,)}, AssertionError, "entries"),
        ({"rtol": torch.tensor(1e-3, requires_grad=True)}, AssertionError, "require gradient"),
        ({"options": {"jump_t": tensor(0.5), "step_t": tensor(0.5)}}, ValueError, "repeated"),
        (
            {"method": "rk4", "options": {"step_size": 0.1, "grid_constructor": 1}},
            ValueError,
            "mut",
        ),
        ({"method": "rk4", "options": {"step_size": -0.1}}, ValueError, "positive"),
        ({"method": "rk4", "options": {"interp": "quintic"}}, ValueError, "interp"),
        (
            {"method": "rk4", "options": {"grid_constructor": lambda f, y, t: t[:1].repeat(2) + 1}},
            *(AssertionError, "grid_constructor: the grid must run from 0 to 1"),
        ),
        ({"event_fn": lambda t, y: y[0], "t": tensor(0.0, 1.0, 2.0)}, ValueError, r"len\(t\) == 2"),
        ({"event_fn": lambda t, y: y[0], "method": "rk4"}, AssertionError, "step_size"),
        ({"event_fn": lambda t, y: y[0], "method": "scipy_solver"}, ValueError, "no events"),
        ({"options": {"rows": True}, "y0": tensor(1.0)[0]}, ValueError, "rows"),
    ],
)
def test_what_cannot_be_used_is_refused(change, error, match):
    given = {"y0": tensor(1.0), "t": tensor(0.0, 1.0)} | change
    y0, t = given.pop("y0"), given.pop("t")
    with pytest.raises(error, match=match):
        odeint(lambda t, y: y, y0, t, **given)


def test_a_value_fits_or_is_refused():
    """Axes of length 1, and values for all entries, fit; another order of axes does not."""
    t = tensor(0.0, 1.0)
    for y0, f in (
        (tensor(1.0)[0], lambda t, y: -y.reshape(1)),
        (torch.ones(1, 2).double(), lambda t, y: -y.squeeze(0)),
        (torch.ones(3, 2).double(), lambda t, y: -y[:1]),
        ((tensor(1.0), torch.ones(2, 2).double()), lambda t, y: [-y[0], -y[1].reshape(-1)]),
    ):
        for found in parts(odeint(f, y0, t, method="rk4", options={"step_size": 0.1})):
            assert torch.allclose(found[-1], torch.exp(-t[-1]), atol=1e-5)
    with pytest.raises(ValueError, match="shape"):
        odeint(lambda t, y: -y.reshape(2, 3), torch.ones(3, 2).double(), t)


def test_options_that_nobody_reads_are_said():
    f, y0, t = (lambda t, y: -y), tensor(1.0), tensor(0.0, 1.0)
    for method in ("dopri5", "rk4", "rodas5p", "scipy_solver"):
        with pytest.warns(StiffguideWarning, match="Unexpected arguments {'sauce': 1}"):
            odeint(f, y0, t, method=method, options={"sauce": 1})
    given = {"first_step": 0.01, "safety": 0.8, "ifactor": 5, "dfactor": 0.3, "max_num_steps": 99}
    given |= {"min_step": 1e-9, "max_step": 0.5, "dtype": F64, "step_t": tensor(0.3)}
    y = odeint(f, y0, t, options=dict(given))
    assert abs(y[-1] - torch.exp(-t[-1])) < 1e-6


def test_a_solve_that_fails_says_why():
    t = tensor(0.0, 1.0)
    with pytest.raises(AssertionError, match="max_num_steps exceeded"):
        odeint(lambda t, y: -y, tensor(1.0), t, options={"max_num_steps": 3})
    with pytest.raises(AssertionError, match=r"non-finite values|underflow in dt"):
        odeint(lambda t, y: y**2, tensor(1.0), tensor(0.0, 2.0))
    with pytest.raises(AssertionError, match="non-finite values"):
        odeint(lambda t, y: y**20, tensor(3.0), tensor(0.0, 1, 2, 3), method="euler")


@both
def test_a_jump_of_f_costs_little_where_it_is_known(interface):
    calls = []
    for options in ({}, {"jump_t": tensor(0.5)}):
        f = Field(lambda t, y, a: -0.5 * y if t < 0.5 else y**2)
        y0 = tensor(1.0, 2.0, requires_grad=True)
        solver = odeint if interface == "odeint" else odeint_adjoint
        solver(f, y0, tensor(0.0, 1.0), rtol=1e-6, options=options).sum().backward()
        calls.append(f.calls)
    assert calls[1] < 0.7 * calls[0]


@both
@pytest.mark.parametrize("method", ["euler", "rk4", "implicit_adams", "trapezoid"])
@pytest.mark.parametrize("perturb", [True, False])
def test_perturbed_steps_keep_off_the_grid(interface, method, perturb):
    times = []

    def f(t, y):
        times.append(t.item())
        return -y

    solver = odeint if interface == "odeint" else partial(odeint_adjoint, adjoint_params=())
    y0 = tensor(1.0, 2.0, requires_grad=True)
    options = {"step_size": 0.5, "perturb": perturb}
    y = solver(f, y0, tensor(0.0, 1.0), method=method, options=options)
    assert ({0.0, 0.5} & set(times) == set()) == perturb
    times.clear()
    y.sum().backward()
    if interface == "odeint_adjoint":
        assert ({1.0, 0.5} & set(times) == set()) == perturb


def test_a_grid_is_constructed_for_the_way_there_and_back():
    spans = []

    def constructor(f, y0, t):
        spans.append((float(t[0]), float(t[-1])))
        return torch.linspace(float(t[0]), float(t[-1]), 11)

    y0 = torch.tensor(1.0, requires_grad=True)
    options = {"grid_constructor": constructor}
    keywords = {"method": "euler", "options": options, "adjoint_params": ()}
    y = odeint_adjoint(lambda t, y: y, y0, torch.tensor([0.0, 1.0]), **keywords)
    y[-1].backward()
    assert abs(float(y[-1].detach()) - 1.1**10) < 1e-5
    assert abs(float(y0.grad) - 1.1**10) < 1e-5
    assert spans == [(0, 1), (1, 0)]


def test_between_given_steps_there_are_chords_or_cubics():
    t, options = tensor(0.0, 0.25, 1.0), {"step_size": 0.5}
    f, y0 = (lambda t, y: 3 * t**2 + 0 * y), tensor(0.0)
    line = odeint(f, y0, t, method="rk4", options=options)
    assert torch.allclose(line.squeeze(), tensor(0.0, 0.0625, 1.0))
    cubic = odeint(f, y0, t, method="rk4", options=options | {"interp": "cubic"})
    assert torch.allclose(cubic.squeeze(), t**3)


def test_norms_are_given_the_state_as_it_is():
    seen = []

    def norm(state):
        seen.append(tuple(x.shape for x in parts(state)))
        return max(x.abs().max() for x in parts(state))

    for y0 in (torch.ones(()), (torch.ones(()), torch.ones(2, 2))):
        seen.clear()
        odeint(lambda t, y: y, y0, torch.tensor([0.0, 1.0]), options={"norm": norm})
        assert set(seen) == {tuple(x.shape for x in parts(y0))}


@pytest.mark.parametrize("y0", [torch.ones(2), (torch.ones(()), torch.ones(2, 2))])
def test_the_adjoint_norm_can_be_watched_and_changed(y0):
    a = torch.rand(7, requires_grad=True)
    params = (a, torch.rand((), requires_grad=True))
    f, t = (lambda t, y: y), torch.tensor([0.0, 1.0])
    given, seen = [], []

    def norm(state):
        given.append(tuple(x.shape for x in state))
        return max(x.abs().max() for x in state)

    def run(**keywords):
        y = odeint_adjoint(f, y0, t, adjoint_params=params, **keywords)
        return y, sum(x.sum() for x in parts(y))

    shapes = [x.shape for x in parts(y0)]
    _, total = run(adjoint_options={"norm": norm})
    total.backward()
    assert set(given) == {((), *shapes, *shapes, (7,), ())}
    _, total = run()
    nodes = [total.grad_fn]
    while not hasattr(nodes[0], "adjoint_options"):
        nodes = [x for x, _ in nodes[0].next_functions if x is not None] + nodes[1:]
    node = nodes[0]
    whole = node.adjoint_options["norm"]
    node.adjoint_options["norm"] = lambda state: seen.append(whole(state)) or seen[-1]
    total.backward()
    assert seen
    size = sum(x.numel() for x in parts(y0))
    sample = (
        torch.ones(()),
        torch.ones(size),
        torch.ones(size),
        torch.full((7,), 5.0),
        -torch.ones(()),
    )
    if isinstance(y0, tuple):
        assert whole(sample) == 5
        _, total = run(adjoint_options={"norm": "seminorm"})


def test_the_adjoint_gradient_is_that_of_the_solution():
    """By y0, times and parameters; those that nobody uses have a gradient of zero."""

    class Rotation(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.Parameter(tensor([-0.1, 2.0], [-2.0, -0.1]))
            self.unused = torch.nn.Linear(2, 3)

        def forward(self, t, y):
            return torch.mm(y**3, self.a) + torch.sin(t)

    found = []
    for solver in (odeint, odeint_adjoint):
        f = Rotation()
        y0, t = tensor([1.0, 0.2], requires_grad=True), tensor(0.0, 0.7, 2.0, requires_grad=True)
        y = solver(f, y0, t, rtol=1e-8, atol=1e-10)
        (y * torch.arange(1.0, 7).reshape(3, 1, 2)).sum().backward()
        found.append((y0.grad, t.grad, f.a.grad))
    for direct, adjoint in zip(*found, strict=True):
        assert torch.allclose(direct, adjoint, rtol=1e-5, atol=1e-6)
    assert f.unused.weight.grad.abs().max() == 0


@pytest.mark.parametrize("mode", ["checkpoint", "direct"])
def test_exact_modes_have_the_gradient_of_the_steps(mode):
    found = []
    for keywords in ({}, {"adjoint_options": {"mode": mode}}):
        f, y0 = Field(PROBLEMS["pendulum"][0]), tensor(1.0, 0.0, requires_grad=True)
        solver = odeint_adjoint if keywords else odeint
        solver(f, y0, tensor(1.0, 3.0), rtol=1e-4, **keywords).sum().backward()
        found.append((y0.grad, f.a.grad))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)


def test_a_state_that_does_not_come_back_is_said():
    """A stiff problem, of which solutions fall apart backwards."""
    f, y0, t = Field(stiff), tensor(1.0, requires_grad=True), tensor(0.0, 0.1)
    y = odeint_adjoint(f, y0, t)
    with pytest.warns(StiffguideWarning, match="not to be trusted.*checkpoint"):
        y.sum().backward()
    mild = Field(PROBLEMS["rotation"][0])
    y = odeint_adjoint(mild, tensor(1.0, 0.0, requires_grad=True), t)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y.sum().backward()


def ball(t, y, a):
    height, speed = y
    return speed, -a * torch.ones_like(height)


@both
@pytest.mark.parametrize("keywords", [{}, {"method": "rk4", "options": {"step_size": 0.01}}])
def test_an_event_moves_with_what_it_depends_on(interface, keywords):
    """A ball thrown up lands at t = (v + sqrt(v^2 + 2 g h)) / g."""
    f = Field(ball, a=(9.81,))
    h, v, t0 = (tensor(x, requires_grad=True) for x in (1.0, 2.0, 0.3))
    radius = tensor(0.1, requires_grad=True)
    solver = odeint if interface == "odeint" else odeint_adjoint
    landed = lambda t, y: y[0] - radius  # noqa: E731
    t, y = odeint_event(f, (h, v), t0, event_fn=landed, odeint_interface=solver, **keywords)
    g = f.a
    root = torch.sqrt(v**2 + 2 * g * (h - radius))
    exact = torch.cat((t0 + (v + root) / g, -root))
    got = torch.cat((t.reshape(1), y[1][-1]))
    assert torch.allclose(got, exact, atol=1e-6)
    for i in range(2):
        wanted = torch.autograd.grad(
            exact[i], (h, v, t0, f.a, radius), retain_graph=True, allow_unused=True
        )
        found = torch.autograd.grad(
            got[i], (h, v, t0, f.a, radius), retain_graph=True, allow_unused=True
        )
        for one, other in zip(found, wanted, strict=True):
            assert torch.allclose(
                *(x if x is not None else torch.zeros(1).double() for x in (one, other)), atol=1e-5
            )


def test_several_events_end_at_the_first_and_back_in_time():
    f, y0 = (lambda t, y: 1 + 0.01 * torch.sin(3 * t) * y**2), tensor(0.0)
    both_signs = lambda t, y: torch.stack((y[0] - 2, 1 - y[0], t - 5))  # noqa: E731
    t, y = odeint(f, y0, tensor(0.0, 1.0), event_fn=both_signs)
    assert abs(t - 0.995) < 5e-3
    assert abs(y[-1] - 1) < 1e-8
    assert y.shape == (2, 1)
    back = {"event_fn": lambda t, y: y[0] + 3, "reverse_time": True}
    t, y = odeint_event(f, y0, torch.zeros(1).double(), **back)
    assert -3.1 < t < -2.9
    assert abs(y[-1] + 3) < 1e-6
    t, y = odeint(f, y0, tensor(0.0, 1.0), event_fn=lambda t, y: y[0])  # there already
    assert t == 0
    assert y.tolist() == [[0], [0]]


def test_dense_solutions_are_functions_of_time():
    for y0 in (tensor(1.0, 2.0), (tensor(1.0), tensor(2.0))):
        at = odeint_dense(
            lambda t, y: tuple(-x for x in y) if isinstance(y, tuple) else -y,
            y0,
            tensor(0.0)[0],
            2.0,
        )
        found = parts(at(tensor(0.5, 1.0)))[0]
        assert torch.allclose(found[:, 0], torch.exp(-tensor(0.5, 1.0)), atol=1e-7)
        assert parts(at(1.5))[0].shape == parts(y0)[0].shape
        with pytest.raises(ValueError, match="between 0 and 2"):
            at(2.1)


@pytest.mark.parametrize("method", ["dopri5", "rodas5p", "auto"])
def test_rows_have_steps_of_their_own(method):
    """One time for all is asked of func, and every row is as if it were alone."""

    def f(t, y):
        return torch.cat((y[:, 1:] * torch.sin(t), -50 * y[:, :1] * y[:, 1:] ** 2), 1)

    y0 = tensor([1.0, 2.0], [0.1, 0.5], [3.0, 1.0])
    t = tensor(0.0, 0.5, 1.0)
    settings = {"method": method, "rtol": 1e-4, "options": {"rows": True}}
    whole = odeint(f, y0, t, **settings)
    assert whole.shape == (3, 3, 2)
    for i in range(3):
        alone = odeint(f, y0[i : i + 1], t, **settings)
        assert torch.allclose(whole[:, i], alone[:, 0], rtol=1e-12, atol=1e-13)
    with pytest.raises(ValueError, match="depend"):
        odeint(lambda t, y: y - y.mean(0), y0, t, **settings | {"method": "rodas5p"})


def test_what_a_func_does_besides_is_done():
    """Who counts the calls of func finds them counted: no kernel takes its place."""
    for _ in range(3):
        f = Field(PROBLEMS["pendulum"][0])
        with torch.no_grad():
            odeint(f, tensor(1.0, 0.0), tensor(0.0, 3.0))
        assert f.calls > 30


def test_gradients_are_recorded_in_one_pass():
    """As often as without: torchdiffeq's users pay for f."""
    counts = []
    for needs in (False, True):
        f, y0 = Field(PROBLEMS["pendulum"][0]), tensor(1.0, 0.0)
        with torch.set_grad_enabled(needs):
            odeint(f, y0, tensor(0.0, 3.0))
        counts.append(f.calls)
    assert counts[0] == counts[1]


def test_options_are_left_as_they_are():
    options = {"step_size": 0.25, "interp": "cubic"}
    kept = copy.copy(options)
    odeint(lambda t, y: -y, tensor(1.0), tensor(0.0, 1.0), method="rk4", options=options)
    assert options == kept


@needs_compiler
def test_a_kernel_goes_there_and_back(cache):
    """The same numbers and gradients by native code: f is called when the kernel is made."""
    found = []
    for keywords in ({"options": {"backend": "eager"}}, {"adjoint_options": {"mode": "kernel"}}):
        f, y0 = Field(PROBLEMS["pendulum"][0]), tensor(1.0, 0.0, requires_grad=True)
        solver = odeint if "options" in keywords else odeint_adjoint
        y = solver(f, y0, tensor(1.0, 2.0, 3.0), **keywords)
        y.sum().backward()
        found.append((y.detach(), y0.grad, f.a.grad, f.calls))
    for one, other in zip(*(x[:3] for x in found), strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9)
    assert found[1][3] < found[0][3]


def test_a_stiff_network_is_solved_where_theirs_gives_up():
    f, y0, t = Field(stiff, (30.0,)), tensor(1.0), tensor(0.0, 1.0)
    with pytest.raises(AssertionError):
        torchdiffeq.odeint(f, y0, t, options={"max_num_steps": 500})
    for method in ("rodas5p", "auto"):
        with torch.no_grad():
            y = odeint(f, y0, t, method=method)
        assert abs(y[-1] - torch.cos(t[-1])) < 1e-3
    y = odeint(f, y0, t, method="rodas5p")
    y.sum().backward()
    assert torch.isfinite(f.a.grad).all()


def test_what_a_func_reaches_is_looked_at():
    """Counters in closures, attributes, lists and modules; not what a pure function holds."""
    t, y = tensor(0.0)[0], tensor(1.0)
    count, seen, box = 0, [], Field(PROBLEMS["decay"][0])

    def counts(t, y):
        nonlocal count
        count += 1
        return -y

    def keeps(t, y):
        seen.append(float(t))
        return -y

    a = 2.0
    assert affects(counts, t, y)
    assert affects(keeps, t, y)
    assert affects(box, t, y)
    assert affects(partial(counts), t, y)
    assert not affects(lambda t, y: -a * y, t, y)


@pytest.mark.parametrize("dtype", [F64, torch.float32, torch.complex128], ids=str)
@pytest.mark.parametrize("span", [(0.0, 1.0), (1.0, -0.5)])
@pytest.mark.parametrize("method", EXPLICIT)
def test_lean_steps_are_those_of_a_solve(method, span, dtype, monkeypatch):
    """States on the grid and between, and gradients, as `solve` has them."""
    found, many = [], {"step_size": 0.3}
    t = torch.tensor([span[0], 0.7 * span[0] + 0.3 * span[1], span[1]], dtype=F64)
    cases = [(t, {}), (t, many), (t[[0, 2]], many), (t[[0, 2]], {})]
    for lean_steps in (True, False):
        if not lean_steps:
            monkeypatch.setattr(lean, "states", lambda asked: None)
        for times, options in cases:
            f = Field(lambda t, y, a: a * torch.sin(3 * t) * y - 0.5 * y**2)
            f = f.float() if dtype == torch.float32 else f
            y0 = torch.tensor([[1.0, 0.5]], dtype=dtype, requires_grad=True)
            y = odeint(f, y0, times, method=method, options=dict(options))
            y.abs().sum().backward()
            found.append((y.detach(), y0.grad, f.a.grad, torch.tensor(f.calls)))
    for one, other in zip(found[: len(cases)], found[len(cases) :], strict=True):
        for x, y in zip(one, other, strict=True):
            assert x.dtype == y.dtype
            torch.testing.assert_close(
                x, y, rtol=2e-6 if dtype == torch.float32 else 1e-12, atol=1e-6
            )


def test_lean_steps_leave_the_extraordinary_to_a_solve():
    """What changes y in place, what is not finite, what has no value: the sentences of `solve`."""
    y0, t = torch.ones(2, dtype=F64), tensor(0.0, 0.5, 1.0)
    with pytest.raises(ValueError, match="in place"):
        odeint(lambda t, y: y.mul_(-1), y0, t, method="euler")
    assert y0.tolist() == [1, 1]
    with pytest.raises(ValueError, match="tensor"):
        odeint(lambda t, y: None, y0, t, method="euler")
    with pytest.raises(AssertionError, match="non-finite"):
        odeint(lambda t, y: y / (t - 0.5), y0, t, method="euler")
    with pytest.warns(StiffguideWarning, match="Unexpected"):
        odeint(lambda t, y: -y, y0, t, method="euler", options={"sauce": 1})
    assert odeint(lambda t, y: -y, torch.ones(0, 3), t, method="rk4").shape == (3, 0, 3)
