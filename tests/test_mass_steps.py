"""What M y' = f(t, y) makes of the parts of a step: estimates, dense output, jumps, gradients."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from daes import ACCURATE, chained
from families import METHODS, real
from torch import Tensor

import stiffguide as sg
from stiffguide import Fixed

PAIRED = [n for n in ACCURATE if METHODS[n].error_order is not None]
BEYOND = "kvaerno5"  # with a stage beyond the end of its steps


def loose(name: str) -> float:
    """A tolerance that asks for few steps."""
    return 1e-5 if METHODS[name].order > 3 else 1e-4


# error estimates and dense output -------------------------------------------------------------


def driven(t: Tensor, y: Tensor) -> Tensor:
    """A slow component, one that follows a fast signal at once, and a function of that."""
    fast = torch.sin(40 * t)
    return torch.stack((-y[..., 0], y[..., 1] - fast, -y[..., 2] - y[..., 1] ** 2), -1)


@pytest.mark.parametrize("name", PAIRED)
def test_components_without_a_derivative_are_followed_between_steps(name: str) -> None:
    """Both solutions of a pair may be exact in them at the end of steps of any length."""
    tol, t = loose(name), torch.linspace(0, 0.2, 16, dtype=torch.float64)  # 40 t goes round once
    settings = {"method": name, "mass": [1, 0, 0], "rtol": tol, "atol": tol}
    found = sg.solve(driven, real(1, 0, 0), 0.0, 0.2, save_at=t, **settings)
    fast = torch.sin(40 * t)
    exact = torch.stack((torch.exp(-t), fast, -(fast**2)), -1)
    assert (found.raise_if_failed().y - exact).abs().max() < 50 * tol


@pytest.mark.parametrize("name", ACCURATE)
def test_dense_output(name: str) -> None:
    system = chained().mixed()
    t = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    steps = {} if name == "bdf" else {"controller": Fixed(0.05)}
    y0 = system.exact(torch.tensor(0.0).double())
    settings = {"method": name, "mass": system.mass, "rtol": 1e-6, "atol": 1e-6, **steps}
    found = sg.solve(system.f, y0, 0.0, 1.0, dense=True, **settings).raise_if_failed()
    off = (found.at(t + 0.01) - system.exact(t + 0.01)).abs().max()
    ends = (found.at(t) - system.exact(t)).abs().max()
    assert off < 5 * ends + 20 * 0.05 ** min(METHODS[name].dense_order + 1, 4)


@pytest.mark.parametrize("name", ["rodas5p", "rodas3", "kvaerno3", "bdf"])
def test_events_are_found(name: str) -> None:
    system = chained()
    settings = {"method": name, "mass": system.mass, "rtol": 1e-8, "atol": 1e-8}
    y0 = system.exact(torch.tensor(0.0).double())
    level = math.exp(0.5)  # of the component without a derivative
    found = sg.solve(system.f, y0, 0.0, 1.0, events=lambda t, y: y[2] - level, **settings)
    assert found.events[0].t.tolist() == pytest.approx([math.pi / 6], abs=1e-6)


# jumps ----------------------------------------------------------------------------------------


def switched(t: Tensor, y: Tensor) -> Tensor:
    """z^3 + z = u(t) (1 + a) with u = 1 before t = 1 and 3 after; a' = z - a."""
    a, z = y.unbind(-1)
    u = torch.where(t < 1, 1.0, 3.0)
    return torch.stack((z - a, z**3 + z - u * (1 + a)), -1)


def root(a: float, u: float) -> float:
    """The z of `switched`."""
    z = 1.0
    for _ in range(50):
        z -= (z**3 + z - u * (1 + a)) / (3 * z * z + 1)
    return z


@pytest.mark.parametrize("name", ["rodas5p", "rodas3", "kencarp4", "trbdf2", "bdf"])
def test_components_without_a_derivative_jump_at_stops(name: str) -> None:
    settings = {"method": name, "mass": [1, 0], "rtol": 1e-6, "atol": 1e-8}
    y0 = real(0.5, root(0.5, 1))
    found = sg.solve(
        switched, y0, 0.0, 2.0, tstops=[1.0], save_at=sg.EveryStep(), **settings
    ).raise_if_failed()
    (before, after) = found.y[found.t == 1]
    assert before[0] == after[0]
    assert float(before[1]) == pytest.approx(root(float(before[0]), 1), abs=1e-5)
    assert float(after[1]) == pytest.approx(root(float(before[0]), 3), abs=1e-5)
    first = sg.solve(switched, y0, 0.0, 0.999999999, method="rodas5p", mass=[1, 0], rtol=1e-9)
    start = real(float(first.y[-1, 0]), root(float(first.y[-1, 0]), 3))
    second = sg.solve(switched, start, 1.0, 2.0, method="rodas5p", mass=[1, 0], rtol=1e-9)
    torch.testing.assert_close(found.y[-1], second.y[-1], rtol=0, atol=3e-5)


@pytest.mark.parametrize("name", ["rodas5p", "rodas3", "kvaerno3", "kencarp4", "trbdf2", "bdf"])
def test_a_regular_mass_at_a_stop(name: str) -> None:
    """The slope before a jump of f is not that behind it."""
    mass = torch.tensor([[1.0, 0.5], [0.0, 2.0]], dtype=torch.float64)

    def f(t: Tensor, y: Tensor) -> Tensor:
        rate = -y + torch.where(t < 1, 0.0, 10.0)
        return rate @ mass.T

    settings = {"method": name, "rtol": 1e-6, "atol": 1e-8, "tstops": [1.0], "max_step": 0.25}
    found = sg.solve(f, real(1, 2), 0.0, 1.5, mass=mass, **settings).raise_if_failed()
    exact = 10 + (real(1, 2) * math.exp(-1) - 10) * math.exp(-0.5)
    assert (found.y[-1] - exact).abs().max() < 2e-5
    assert found.stats.rejected < 10


def test_a_stop_that_a_method_looks_beyond_fails_with_the_reason() -> None:
    y0 = real(0.5, root(0.5, 1))
    found = sg.solve(switched, y0, 0.0, 2.0, tstops=[1.0], method=BEYOND, mass=[1, 0])
    assert found.status == sg.Status.DT_TOO_SMALL
    assert "'rodas5p'" in found.message


@pytest.mark.parametrize("name", ["rodas5p", "kvaerno3", "bdf"])
def test_a_state_is_consistent_after_a_jump(name: str) -> None:
    event = sg.Event(lambda t, y: y[0] - 0.6, jump=lambda t, y: torch.stack((y[0] - 0.3, 0 * y[1])))
    y0 = real(0.5, root(0.5, 1))
    settings = {"method": name, "mass": [1, 0], "events": event, "rtol": 1e-6}
    found = sg.solve(switched, y0, 0.0, 0.9, save_at=sg.EveryStep(), **settings)
    t = found.raise_if_failed().events[0].t[0]
    before, after = found.y[found.t == t]
    assert float(before[0]) == pytest.approx(0.6, abs=1e-6)
    assert float(after[0]) == pytest.approx(0.3, abs=1e-6)
    assert float(after[1]) == pytest.approx(root(float(after[0]), 1), abs=1e-6)


def test_a_jump_to_where_nothing_is_consistent_ends_the_row() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack((1 + 0 * y[0], y[1] ** 2 - y[0]))

    event = sg.Event(lambda t, y: y[0] - 0.6, jump=lambda t, y: torch.stack((y[0] - 2, y[1])))
    found = sg.solve(f, real(0.5, 0.5**0.5), 0.0, 0.9, mass=[1, 0], events=event)
    assert found.status == sg.Status.NOT_CONVERGED
    assert "state after a jump is not consistent" in found.message


# growth ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rodas5p", "kvaerno5", "bdf"])
def test_what_follows_the_other_way_is_no_growth(name: str) -> None:
    """A component without a derivative that t moves against the others holds no step up."""

    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack((1 - 1e-3 * y[0], 1e3 * (y[1] - y[0] + 5 * t)))

    settings = {"method": name, "mass": [1, 0], "atol": real(1e-6, 1e-9)}
    found = sg.solve(f, real(0, 0), 0.0, 10.0, **settings).raise_if_failed()
    assert found.stats.rejected < 5
    assert found.stats.accepted < 100


@pytest.mark.parametrize("name", ["rodas5p", "kvaerno5", "bdf"])
def test_growth_is_not_damped(name: str) -> None:
    """A mode grows behind a regular mass that turns the order of the components round."""
    mass = torch.tensor([[0.0, 2.0], [1e-3, 0.0]], dtype=torch.float64)

    def f(t: Tensor, y: Tensor) -> Tensor:
        a, b = y.unbind(-1)
        rate = torch.stack((300 * torch.sin(a), -b), -1)
        return rate @ mass.T

    settings = {"method": name, "mass": mass, "rtol": 1e-4, "atol": 1e-6}
    found = sg.solve(f, real(1e-12, 1), 0.0, 1.0, **settings).raise_if_failed()
    assert abs(float(found.y[-1, 0])) == pytest.approx(math.pi, abs=1e-2)


# gradients ------------------------------------------------------------------------------------


def coupled(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    a, z = y.unbind(-1)
    return torch.stack((z * torch.sin(t) - k * a, z**3 + z - a * k - torch.cos(t)), -1)


def ending(name: str, x: Tensor, **more: Any) -> Tensor:
    """A number that depends on y0 = x[:2] and on the parameter x[2]."""
    settings = {"method": name, "rtol": 1e-6, "atol": 1e-8, "args": (x[2],), **more}
    y = sg.solve(coupled, x[:2], 0.0, 0.3, **settings).raise_if_failed().y[-1]
    return y[0] + 2 * y[1]


@pytest.mark.parametrize(
    "mass", [[2.0, 0.0], [[2.0, 1.0], [0.0, 0.5]]], ids=["singular", "regular"]
)
@pytest.mark.parametrize("name", ["rodas5p", "rodas3", "kvaerno5", "trbdf2"])
def test_gradients_are_those_of_differences(name: str, mass: Any) -> None:
    x = real(1, 0.5, 0.7).requires_grad_()
    (found,) = torch.autograd.grad(ending(name, x, mass=mass), x)
    for i in range(3):
        nudge = 1e-4 * torch.eye(3, dtype=torch.float64)[i]
        sides = [float(ending(name, x.detach() + s * nudge, mass=mass)) for s in (1, -1)]
        assert float(found[i]) == pytest.approx((sides[0] - sides[1]) / 2e-4, abs=2e-4)


def test_second_derivatives_of_a_consistent_start() -> None:
    """z^3 + z = k a + 1."""
    k, a = 0.7, real(1.2)[0].requires_grad_()
    y0 = torch.stack((a, real(0.5)[0]))
    settings = {"args": (k,), "mass": [2.0, 0.0], "save_at": [0.0]}
    z = sg.solve(coupled, y0, 0.0, 0.3, **settings).y[0, 1]
    (first,) = torch.autograd.grad(z, a, create_graph=True)
    (second,) = torch.autograd.grad(first, a)
    z, steep = float(z.detach()), 3 * float(z.detach()) ** 2 + 1
    assert z**3 + z == pytest.approx(k * float(a.detach()) + 1)
    assert float(first.detach()) == pytest.approx(k / steep)
    assert float(second) == pytest.approx(-6 * z * k**2 / steep**3)


UNKNOWN = {
    "t0": ({"t0": True}, "by or through t0"),
    "save_at": ({"save_at": real(0.1).requires_grad_()}, "by or through save_at"),
    "tstops": ({"tstops": [0.1]}, "by or through tstops"),
    "jump_at": ({"tstops": [0.1], "jump_at": lambda t, y, k: y}, "by or through jumps"),
    "sparse": ({"method": "kvaerno5", "linear_solver": "sparse"}, "need a dense Jacobian"),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_has_no_gradient_is_refused(what: str) -> None:
    more, words = UNKNOWN[what]
    k = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    t0 = torch.tensor(0.0, dtype=torch.float64, requires_grad="t0" in more)
    settings = {name: value for name, value in more.items() if name != "t0"}
    with pytest.raises(sg.UnsupportedError, match=words):
        sg.solve(coupled, real(1, 0.5), t0, 0.3, args=(k,), mass=[2.0, 0.0], **settings)
