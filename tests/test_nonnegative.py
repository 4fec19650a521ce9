"""What must not be negative is not, nowhere; and where nothing would be, nothing changes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import growing
import numpy as np
import pytest
import torch
from families import IMPLICIT, PAIRED, SMOOTH, STIFF, close, real, rtol_for, wavy
from torch import Tensor

import stiffguide as sg
from stiffguide import guidance, problems
from stiffguide.fronts.scipy import solve_ivp

pytestmark = pytest.mark.usefixtures("eager")
SIX = ["tsit5", "rodas5p", "kvaerno5", "sdirk2", "bdf", "secant_heun"]  # one of each family
every_family = pytest.mark.parametrize("method", SIX)


def chain(t: Any, y: Tensor) -> Tensor:
    """A fast decay that ends below any tolerance, and what it feeds."""
    a, b, c = y.unbind(-1)
    return torch.stack((-3e2 * a, 3e2 * a - b * c, b * c - 2.0 * c), -1)


def root(t: Any, y: Tensor) -> Tensor:
    """Empty at t = 2 sqrt(y0), and not defined below zero."""
    return -torch.sqrt(y)


def drain(t: Any, y: Tensor) -> Tensor:
    """Taken out at a rate that asks for nothing."""
    return -torch.ones_like(y)


def tide(t: Any, y: Tensor) -> Tensor:
    """From 0 up to 1, held at zero from pi on, and up again from 3/2 pi on."""
    return torch.cos(torch.as_tensor(t)).unsqueeze(-1) * torch.ones_like(y)


def knee(t: Any, y: Tensor) -> Tensor:
    """Follows 1 - t down to zero; beyond it the solution stays, though 1 - t goes on."""
    return 1e6 * ((1 - torch.as_tensor(t)).unsqueeze(-1) * y - y * y)


def kept(f: Any, y0: Tensor, t1: float, method: str, **settings: Any) -> sg.Solution[Tensor]:
    """All steps, and the interpolant, of a solve with all components nonnegative."""
    given = {"nonnegative": True, "save_at": sg.EveryStep(), "dense": True, "atol": 1e-6}
    given |= {"rtol": 1e-3, "method": method, "max_attempts": 20_000, **settings}
    return sg.solve(f, y0, 0.0, t1, **given)


HELD: dict[str, tuple[Callable[..., Tensor], Tensor, float, Tensor]] = {
    "root": (root, real(1.0), 5.0, real(0.0)),
    "drain": (drain, real(0.3), 1.0, real(0.0)),
    "tide": (tide, real(0.0), 6.0, real(math.sin(6.0) + 1)),
}


@every_family
@pytest.mark.parametrize("name", HELD)
def test_what_comes_to_zero_stays_there(method: str, name: str) -> None:
    f, y0, t1, end = HELD[name]
    found = kept(f, y0, t1, method).raise_if_failed()
    close(found.y[-1], end, rtol=5e-2, atol=1e-4)


@every_family
@pytest.mark.parametrize("name", [*HELD, "chain"])
def test_no_value_is_negative(method: str, name: str) -> None:
    f, y0, t1, _ = HELD.get(name, (chain, real(1.0, 0.5, 1e-3), 3.0, real()))
    if method == "secant_heun" and name == "chain":
        t1 = 0.1
    found = kept(f, y0, t1, method).raise_if_failed()
    times = torch.linspace(0.0, t1, 2001, dtype=torch.float64)
    saved = kept(f, y0, t1, method, save_at=times, dense=False).raise_if_failed()
    for y in (found.y, found.at(times), saved.y):
        assert (y >= 0).all()
    assert (saved.y[1:] > 0).any()


@pytest.mark.parametrize("method", [*IMPLICIT])
def test_the_knee_is_not_followed_below_zero(method: str) -> None:
    if method not in PAIRED:
        return
    found = kept(knee, real(1.0), 2.0, method, rtol=rtol_for(method, 1e-6), atol=1e-9)
    assert (found.raise_if_failed().y >= 0).all()
    close(found.y[-1], real(0.0), atol=1e-8)


@pytest.mark.parametrize("method", STIFF)
def test_growth_from_below_the_tolerance_is_no_error_to_be_mended(method: str) -> None:
    start = torch.full((2,), 1e-14, dtype=torch.float64)
    settings = {"rtol": rtol_for(method, 1e-3), "atol": 1e-6, "max_attempts": 3000}
    found = kept(growing.logistic(2), start, 1.0, method, **settings).raise_if_failed()
    close(found.y[-1], torch.ones(2).double(), rtol=1e-3)
    assert (found.y > 0).all()


def test_the_default_solves_a_population_that_begins_below_atol() -> None:
    for method in ("rodas5p", "rodas4", "kvaerno3", "kencarp4"):  # three of them ran away
        found = sg.solve(
            lambda t, y: 1e3 * y * (1 - y), real(1e-14), 0.0, 1.0, method=method, nonnegative=True
        )
        close(found.raise_if_failed().y[-1], real(1.0), rtol=1e-5)


@pytest.mark.parametrize("method", ["trbdf2", "bdf", "rodas5p", "kvaerno5"])
def test_robertson_does_not_leave_through_zero(method: str) -> None:
    p = problems.robertson()
    found = sg.solve(
        p.f, p.y0, 0.0, 1e11, method=method, rtol=1e-2, atol=1e-5, nonnegative=True, jac=p.jac
    ).raise_if_failed()
    close(found.y[-1], real(0.0, 0.0, 1.0), rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("name", ["hires", "e5", "pollu", "orego"])
@pytest.mark.parametrize("method", ["rodas5p", "kvaerno5", "bdf"])
def test_the_stiff_set_is_solved_as_without(method: str, name: str) -> None:
    p = problems.get(name)
    atol = torch.as_tensor(p.atol_for(1e-3), dtype=torch.float64)
    same = {"method": method, "rtol": 1e-3, "atol": atol, "jac": p.jac}
    ends = []
    for settings in ({}, {"nonnegative": True}):
        found = sg.solve(p.f, p.y0, p.t0, p.t1, **same, **settings).raise_if_failed()
        ends.append((float(p.error(found.y[-1])), found))
    assert ends[1][0] <= 3 * ends[0][0] + 1e-3
    assert int(ends[1][1].stats.nfe) <= 1.2 * int(ends[0][1].stats.nfe)
    assert (ends[1][1].y >= 0).all()


@every_family
def test_where_nothing_would_be_negative_nothing_changes(method: str) -> None:
    start, same = real(1.0, math.e), {"dense": True, "rtol": 1e-4, "checks": False}
    same["save_at"] = sg.EveryStep()
    a, b = (
        sg.solve(wavy, start, 0.0, 3.0, method=method, **same, **more)
        for more in ({}, {"nonnegative": True})
    )
    assert torch.equal(a.y, b.y)
    assert torch.equal(a.counts, b.counts)
    assert torch.equal(a.trajectory.coefficients, b.trajectory.coefficients)


def touching(t: Any, y: Tensor) -> Tensor:
    """Solved by (1 + cos t)/2, which touches zero."""
    t = torch.as_tensor(t)
    return -torch.sin(t).unsqueeze(-1) / 2 - (y - (1 + torch.cos(t).unsqueeze(-1)) / 2) * y.exp()


@pytest.mark.parametrize("method", [*SMOOTH, "bdf"])
def test_a_solution_that_touches_zero_is_found_to_the_tolerance(method: str) -> None:
    rtol = [1e-3, 1e-5, 1e-7] if method not in ("sdirk2", "rkc2") else [1e-3, 1e-4]
    for tol in rtol:
        found = kept(touching, real(1.0), 12.0, method, rtol=tol, atol=1e-3 * tol)
        without = kept(
            touching, real(1.0), 12.0, method, rtol=tol, atol=1e-3 * tol, nonnegative=None
        )
        close(found.raise_if_failed().y[-1], real((1 + math.cos(12.0)) / 2), rtol=5 * tol)
        assert (found.y >= 0).all()
        more = 1.5 if method == "rkc2" else 1.3  # whose steps are cheap beside those that fell
        assert int(found.stats.nfe) <= more * int(without.stats.nfe)


@every_family
def test_a_batch_equals_its_rows(method: str) -> None:
    starts = torch.tensor([[1.0, 0.5, 1e-3], [0.2, 0.0, 1.0], [0.0, 3.0, 0.0]], dtype=torch.float64)
    ends = real(0.3, 1.0, 0.6) if method != "secant_heun" else real(0.03, 0.1, 0.06)
    same = {"method": method, "nonnegative": True, "rtol": 1e-3, "atol": 1e-6, "checks": False}
    together = sg.solve(chain, starts, 0.0, ends, batched=True, **same)
    for i in range(3):
        alone = sg.solve(chain, starts[i : i + 1], 0.0, ends[i], batched=True, **same)
        assert torch.equal(alone.y[0], together.y[i])
        assert torch.equal(alone.counts[:, 0], together.counts[:, i])


@pytest.mark.parametrize("method", ["tsit5", "rodas5p", "kvaerno5"])
def test_gradients_pass_what_is_set_to_zero(method: str) -> None:
    """The tank is empty long before the end; what it did before counts on."""

    def tank(t: Any, y: Tensor, k: Tensor) -> Tensor:
        return torch.stack((-k + 0 * y[..., 0], y[..., 0]), -1)

    k = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    start = real(1.0, 0.0).requires_grad_()
    found = sg.solve(tank, start, 0.0, 3.0, args=(k,), method=method, nonnegative=[0])
    close(found.y[-1].detach(), real(0.0, 1 / 3), atol=1e-5)
    by_k, by_y = torch.autograd.grad(found.y[-1, 1], (k, start), retain_graph=True)
    close(by_k, real(-1 / 4.5)[0], rtol=2e-2)  # the end of the step to zero is a kink
    close(by_y, real(1 / 1.5, 1.0), rtol=2e-2)
    zero = torch.autograd.grad(found.y[-1, 0], (k, start), allow_unused=True)
    assert all(g is None or not g.any() for g in zero)


def test_steps_of_given_length_are_cut_at_zero() -> None:
    for method in ("rk4", "tsit5", "kvaerno5", "bdf2"):
        found = sg.solve(
            drain, real(0.33), 0.0, 1.0, method=method, controller=sg.Fixed(0.1), nonnegative=True
        ).raise_if_failed()
        close(found.y[-1], real(0.0))


def test_backwards_in_time() -> None:
    found = sg.solve(lambda t, y: torch.sqrt(y), real(1.0), 3.0, 0.0, nonnegative=True)
    close(found.raise_if_failed().y[-1], real(0.0))


def test_in_single_precision() -> None:
    y0 = torch.tensor([1.0, 0.5, 1e-3])
    for method in SIX[:-1]:
        found = sg.solve(
            chain, y0, 0.0, 3.0, method=method, rtol=1e-3, atol=1e-5, nonnegative=True
        ).raise_if_failed()
        assert (found.y >= 0).all()


def test_events_see_allowed_states_and_jumps_must_give_them() -> None:
    low = sg.Event(lambda t, y: torch.sqrt(y[0]) - 0.1, terminal=True)
    found = sg.solve(root, real(1.0), 0.0, 5.0, events=low, nonnegative=True)
    close(found.events[0].t, real(1.8), rtol=1e-4)
    fall = {"tstops": [0.5], "jump_at": lambda t, y: y - 2.0, "max_attempts": 200}
    with pytest.raises(sg.InputError, match="nonnegative: a jump sets component 0 to"):
        sg.solve(root, real(1.0), 0.0, 1.0, nonnegative=True, **fall)


FORMS: list[tuple[Any, Any, list[bool]]] = [  # y0, nonnegative, the components
    (real(1.0, 2.0), True, [True, True]),
    (real(1.0, 2.0), 1, [False, True]),
    (real(1.0, -2.0), [0], [True, False]),
    (real(1.0, -2.0), np.array([0]), [True, False]),
    (real(1.0, -2.0), [True, False], [True, False]),
    (real(1.0, -2.0), torch.tensor([True, False]), [True, False]),
    ({"a": real(1.0, 2.0), "b": [real(-1.0)]}, {"a": True, "b": [False]}, [True, True, False]),
    ({"a": real(1.0, 2.0), "b": [real(-1.0)]}, [1], [False, True, False]),
    ([real(1.0, -2.0), 3.0], [torch.tensor([True, False]), True], [True, False, True]),
]


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize(("y0", "given", "which"), FORMS)
def test_components_are_named_in_many_ways(
    y0: Any, given: Any, which: list[bool], batched: bool
) -> None:
    from torch.utils._pytree import tree_map

    if batched:
        y0 = tree_map(
            lambda y: torch.as_tensor(y).double().expand(3, *torch.as_tensor(y).shape), y0
        )

    def down(t: Any, y: Any) -> Any:
        return tree_map(lambda x: -torch.ones_like(x), y)

    found = sg.solve(down, y0, 0.0, 10.0, nonnegative=given, batched=batched).raise_if_failed()
    end = found.layout.flatten(tree_map(lambda y: y[:, -1] if batched else y[-1], found.y), "y")
    assert (end == 0).tolist() == [which] * (3 if batched else 1)


def test_what_cannot_be_is_refused() -> None:
    y0 = real(1.0, -1e-3)
    refusals: list[tuple[Any, dict[str, Any], str]] = [
        (y0, {"nonnegative": True}, r"nonnegative: y0\[1\] = -0.001; a component that must not"),
        (y0, {"nonnegative": [2]}, "nonnegative: there is no component 2, only 0 to 1"),
        (y0, {"nonnegative": 0.5}, "nonnegative: give True, indices of components"),
        (y0, {"nonnegative": "a"}, "nonnegative: give True, indices of components"),
        (y0, {"nonnegative": [True]}, r"nonnegative has shape \(1,\); give True, or the shape"),
        ({"a": y0}, {"nonnegative": {"b": True}}, "nonnegative is a dict with keys"),
        (y0.to(torch.complex128), {"nonnegative": [0]}, "complex numbers are not ordered"),
        (
            real(1.0),
            {"nonnegative": [0], "guidance": guidance.ErkGuid(0.1, 0.1)},
            "nonnegative: guidance moves y1",
        ),
        (
            real(1.0),
            {"nonnegative": True, "backend": "kernel"},
            r"kernel: cannot be used here, it does not hold states at zero or above",
        ),
    ]
    for start, settings, words in refusals:
        with pytest.raises(sg.InputError, match=words):
            sg.solve(lambda t, y: y, start, 0.0, 1.0, max_attempts=50, **settings)
    start, settings = real(1.0, -1.0).unsqueeze(1), {"nonnegative": True, "max_attempts": 50}
    with pytest.raises(sg.InputError, match=r"y0\[0\] = -1 in row 1"):
        sg.solve(root, start, 0.0, 1.0, batched=True, **settings)


def test_a_failure_names_the_component_that_falls() -> None:
    def plunge(t: Any, y: Tensor) -> Tensor:
        return torch.tensor([0.0, -1e20], dtype=torch.float64) * torch.ones_like(y)

    for method in SIX:
        found = sg.solve(plunge, real(1.0, 1.0), 1.0, 2.0, method=method, nonnegative=True)
        assert sg.Status(int(found.status)) is sg.Status.DT_TOO_SMALL
        assert "y[1] must not be negative, and every attempt leads below zero" in found.message


def test_other_fronts_take_it() -> None:
    found = solve_ivp(
        lambda t, y: -np.sqrt(y),
        (0.0, 5.0),
        np.array([1.0]),
        "BDF",
        dense_output=True,
        nonnegative=True,
    )
    assert found.success
    assert (found.y >= 0).all()
    assert (found.sol(np.linspace(0, 5, 999)) >= 0).all()
    ready = sg.prepare(drain, like=real(0.3), nonnegative=True)
    plain = sg.prepare(drain, like=real(0.3))
    for _ in range(2):
        close(plain(real(0.3), 0.0, 1.0).y[-1], real(-0.7))
        close(ready(real(0.3), 0.0, 1.0).y[-1], real(0.0))


@pytest.mark.parametrize("method", ["bdf2", "bdf3", "rodas4", "kencarp4"])
def test_an_ignition_is_not_set_to_zero(method: str) -> None:
    """A trickle brings the radicals back from zero; what they would have grown to is missing."""
    f, start = growing.branching(4e5), real(1.0, 0.0)
    exact = sg.solve(f, start, 0.0, 0.01, method="dop853", rtol=1e-10, atol=1e-14).y[-1]
    for rtol in (1e-2, 1e-3, 1e-4):
        settings = {"method": method, "rtol": rtol, "atol": 1e-3 * rtol, "max_attempts": 600}
        found = sg.solve(f, start, 0.0, 0.01, nonnegative=True, **settings)
        size = (found.y[-1] - exact).abs() / (rtol * exact.abs() + 1e-3 * rtol)
        assert not found.success or float(size.max()) < 300


def filling(t: Any, y: Tensor) -> Tensor:
    """The second is drawn off all the time, and less so as the first fills."""
    return torch.stack((1 - y[..., 0], y[..., 0] - 2), -1)


@pytest.mark.parametrize("solver", ["dense", "sparse"])
@pytest.mark.parametrize("method", ["rodas5p", "kvaerno5", "bdf"])
def test_what_is_held_at_zero_is_held_in_the_linear_systems(method: str, solver: str) -> None:
    settings = {"linear_solver": solver, "jac_sparsity": torch.ones(2, 2), "dense": False}
    settings["max_attempts"] = 200
    found = kept(filling, real(0.0, 0.0), 3.0, method, nonnegative=[1], **settings)
    assert (found.raise_if_failed().y[:, 1] == 0).all()
    close(found.y[-1, 0], real(1 - math.exp(-3.0))[0], rtol=1e-2)


class Landings(sg.output.End):
    """Keeps f at the ends of steps to zero."""

    def start(self, t0: Tensor, t1: Tensor, y0: Tensor) -> None:
        self.found: list[Tensor] = []

    def record(self, moment: Any) -> None:
        landed = moment.accept & (moment.y0[:, 0] > 0) & (moment.y1[:, 0] == 0)
        self.found += [*moment.f1[landed]]


@pytest.mark.parametrize("method", ["bosh3", "kvaerno5", "bdf"])
def test_the_slope_at_an_end_is_that_of_the_end(method: str) -> None:
    landings = Landings()
    kept(lambda t, y: -(y + 1), real(1.0), 2.0, method, save_at=landings, dense=False)
    assert [f.tolist() for f in landings.found] == [[-1.0]]


@every_family
def test_nobody_sees_an_interpolant_below_zero(method: str) -> None:
    seen = []

    def level(t: Tensor, y: Tensor) -> Tensor:
        seen.append(float(y.min()))
        return y[0] - 0.5

    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack((-torch.sqrt(y[0]), 1e2 * (torch.cos(t) ** 8 - y[1])))

    t1 = 6.0 if method != "secant_heun" else 2.0
    kept(f, real(1.0, 1.0), t1, method, events=level, dense=False)
    assert min(seen) >= 0


def test_a_ready_solve_is_not_taken_for_another(auto: None) -> None:
    plain, ready = (sg.prepare(drain, like=real(0.3), nonnegative=n) for n in (None, True))
    for _ in range(2):
        close(plain(real(0.3), 0.0, 1.0).y[-1], real(-0.7))
        close(ready(real(0.3), 0.0, 1.0).y[-1], real(0.0))
