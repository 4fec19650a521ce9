"""Derivatives by parameters and by the start: those of the steps made, as autograd finds them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from cached import needs_compiler
from families import real
from torch import Tensor

import stiffguide as sg
from stiffguide.kernels.running import build
from stiffguide.problems.kinetics import HIRES, OREGO
from stiffguide.problems.robertson import RATES, robertson_field

D = torch.float64
pytestmark = pytest.mark.usefixtures("plain_builds")


class Case(NamedTuple):
    """A field with a tensor of parameters (P,), or (B, P)."""

    f: Callable[..., Tensor]
    y0: Tensor
    t1: float
    k: Tensor
    atol: Any = 1e-9


def forced(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    """Not autonomous, coupled, stiff."""
    a, b, c = y.unbind(-1)
    pace = 1 + 0.5 * torch.cos(t)
    da, db = pace * k[..., 0] * a * (1 - a), -pace * k[..., 1] * a * b
    return torch.stack((da, db, -200 * k[..., 2] * (c - torch.sin(t) * a)), -1)


def circling(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    """Van der Pol's oscillator."""
    x, v = y.unbind(-1)
    return torch.stack((v, k[..., 0] * (1 - x * x) * v - x), -1)


CASES = {
    "robertson": Case(robertson_field, real(1.0, 0, 0), 1.0, real(*RATES), real(1e-8, 1e-12, 1e-8)),
    "forced": Case(forced, real(0.3, 1.0, 0.5), 1.0, real(1.0, 0.7, 0.5)),
    "hires": Case(HIRES.field_of_rates(), real(1.0, *(6 * [0.0]), 0.0057), 1.0, HIRES.rates),
    "orego": Case(OREGO.field_of_rates(), real(1.0, 2.0, 3.0), 2.0, OREGO.rates),
    "circling": Case(circling, real(2.0, 0.0), 2.0, real(50.0)),
}


def solve(case: Case, **settings: Any) -> sg.Solution[Any]:
    given = {"atol": case.atol, "args": (case.k,), "method": "rodas5p", **settings}
    return sg.solve(case.f, case.y0, 0.0, case.t1, **given).raise_if_failed()


def close(found: Tensor, expected: Tensor, part: float) -> None:
    """Equal to that part of the largest entry of their column."""
    size = expected.abs().amax(tuple(range(expected.ndim - 1)))
    torch.testing.assert_close(found / size, expected / size, rtol=0.0, atol=part)


@needs_compiler
@pytest.mark.parametrize("name", CASES)
def test_they_are_the_derivatives_of_the_steps(name: str) -> None:
    """Of saved states in sums of random weights, as autograd finds them through the eager loop."""
    case, dice = CASES[name], torch.Generator().manual_seed(0)
    times = torch.linspace(0, case.t1, 7)
    found = solve(case, backend="kernel", sensitivities=[0, "y0"], save_at=times)
    k, y0 = case.k.clone().requires_grad_(), case.y0.clone().requires_grad_()
    recorded = case._replace(k=k, y0=y0)
    y = solve(recorded, backend="eager", checks=False, save_at=times).y
    part = 1e-5 if name == "circling" else 1e-10
    sums: list[list[Tensor]] = [[], [], [], []]
    for _ in range(2):
        weights = torch.rand(y.shape, generator=dice, dtype=D) / y.detach().abs().amax(0)
        expected = torch.autograd.grad((weights * y).sum(), (k, y0), retain_graph=True)
        for place, x in enumerate((found.dy_dp, found.dy_dy0)):
            sums[place].append((weights.unsqueeze(-1) * x).sum((0, 1)))
            sums[place + 2].append(expected[place])
    close(torch.stack(sums[0]), torch.stack(sums[2]), part)
    close(torch.stack(sums[1]), torch.stack(sums[3]), part)
    plain = solve(case, backend="kernel", save_at=times)
    assert torch.equal(plain.y, found.y)
    assert torch.equal(plain.counts, found.counts)


@needs_compiler
@pytest.mark.parametrize("method", ["rodas5p", "rosenbrock23", "kvaerno3", "bosh3", "dop853"])
def test_they_are_those_of_differences(method: str) -> None:
    """Of a random polynomial field, at ends, between steps and at all of them."""
    dice = torch.Generator().manual_seed(len(method))
    linear, cubic = (torch.randn(3, 3, generator=dice, dtype=D) for _ in range(2))

    def f(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
        return (y * k) @ linear + torch.cos(t) * k[..., 1:2] - (y**3) @ cubic.abs() - y**3

    case = Case(f, real(0.5, -0.3, 0.2), 0.5, real(0.3, 1.1, 0.7), 1e-11)
    tight = {"method": method, "rtol": 1e-7 if method == "bosh3" else 1e-9, "backend": "kernel"}
    h, moved = 1e-4, []
    for j in range(6):
        ends = []
        for step in (h, -h):
            move = step * torch.eye(6, dtype=D)[j]
            other = case._replace(k=case.k + move[:3], y0=case.y0 + move[3:])
            ends.append(solve(other, **tight, save_at=[0.2, 0.5]).y)
        moved.append((ends[0] - ends[1]) / (2 * h))
    expected = torch.stack(moved, -1)
    for save_at in ([0.2, 0.5], None, sg.EveryStep()):
        found = solve(case, **tight, save_at=save_at, sensitivities=[0, "y0"])
        both = torch.cat((found.dy_dp, found.dy_dy0), -1)
        count = min(len(both), 2) if isinstance(save_at, list) else 1
        close(both[-count:], expected[-count:], 2e-5)
        if isinstance(save_at, sg.EveryStep):
            assert both.shape[:2] == found.y.shape
            assert torch.equal(both[0], torch.eye(6, dtype=D)[3:])


@needs_compiler
def test_a_batch_is_its_rows() -> None:
    """With times, parameters and directions of their own, and stops on the way."""
    case = CASES["forced"]
    t0, t1 = real(0.0, 0.1, 1.0, 0.3, 0.2), real(0.4, 0.5, 0.9, 0.3, 0.6)
    y0 = case.y0 + 0.1 * torch.arange(5, dtype=D).unsqueeze(1)
    k = case.k * (1 + 0.1 * torch.arange(5, dtype=D).unsqueeze(1))
    asked = {"sensitivities": ["y0", 0], "tstops": [0.25], "method": "rodas5p"}
    given = {"backend": "kernel", "atol": case.atol, **asked}
    together = sg.solve(case.f, y0, t0, t1, args=(k,), batched=True, **given)
    for i in range(5):
        alone = sg.solve(case.f, y0[i], t0[i], t1[i], args=(k[i],), **given)
        assert together.stats.accepted[i] == alone.stats.accepted
        torch.testing.assert_close(together.dy_dp[i], alone.dy_dp, rtol=1e-11, atol=1e-13)
        torch.testing.assert_close(together.dy_dy0[i], alone.dy_dy0, rtol=1e-11, atol=1e-13)
    assert torch.equal(together.dy_dy0[3, 0], torch.eye(3, dtype=D))


@needs_compiler
def test_a_jump_of_f_at_a_stop_belongs_to_one_side() -> None:
    """Also of the first stage after it, which is f where that has jumped."""

    def f(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
        rate, (a, b) = torch.where(t < 0.25, k[0], k[1]), y.unbind(-1)
        return torch.stack((-rate * a * b - t * a, rate * a * b - 5 * b * b), -1)

    given = {"args": (real(2.0, 30.0),), "tstops": [0.25], "save_at": [0.25, 0.3, 0.6]}
    given |= {"sensitivities": [0, "y0"], "method": "rosenbrock23", "rtol": 1e-4}
    kernel, eager = (
        sg.solve(f, real(1.0, 0.5), 0.0, 0.6, backend=way, **given) for way in ("kernel", "eager")
    )
    assert kernel.stats.accepted == eager.stats.accepted
    torch.testing.assert_close(kernel.dy_dp, eager.dy_dp, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(kernel.dy_dy0, eager.dy_dy0, rtol=1e-10, atol=1e-13)


def nested(t: Tensor, y: dict[str, Tensor], k: dict[str, Any], scale: Tensor) -> dict[str, Tensor]:
    a, b = y["a"], y["b"]
    slow = k["slow"].unsqueeze(-1) if k["slow"].ndim else k["slow"]
    return {"a": -slow * a * scale, "b": k["fast"] * a.sum(-1) - b}


@needs_compiler
def test_what_is_asked_for_has_names() -> None:
    """Dicts in args, states in a dict, rows with their own numbers and some that they share."""
    y0 = {"a": torch.rand(3, 2, dtype=D), "b": torch.rand(3, dtype=D)}
    args = ({"slow": real(1.0, 2.0, 0.5), "fast": 0.7}, real(1.0, 1.5))
    given = {"args": args, "batched": True, "save_at": [0.1, 0.5], "method": "tsit5"}
    asked = ["slow", (0, "fast"), 1, "y0"]
    kernel, eager = (
        sg.solve(nested, y0, 0.0, 0.5, sensitivities=asked, backend=way, **given)
        for way in ("kernel", "eager")
    )
    assert kernel.sensitivity_names == eager.sensitivity_names
    names = ("args[0]['slow']", "args[0]['fast']", "args[1][0]", "args[1][1]")
    assert kernel.sensitivity_names == names
    assert kernel.dy_dp["a"].shape == (3, 2, 2, 4)
    assert kernel.dy_dp["b"].shape == (3, 2, 4)
    assert kernel.dy_dy0.shape == (3, 2, 3, 3)
    for name in y0:
        torch.testing.assert_close(kernel.dy_dp[name], eager.dy_dp[name], rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(kernel.dy_dy0, eager.dy_dy0, rtol=1e-10, atol=1e-13)


@needs_compiler
@pytest.mark.usefixtures("auto")
def test_functions_of_arrays_have_them() -> None:
    def f(t: float, y: Any, k: Any) -> Any:
        return np.array([-k[0] * y[0] + k[1] * y[1] ** 2, k[0] * y[0] - k[1] * y[1] ** 2])

    k = np.array([0.5, 3.0])
    found = sg.solve(f, real(1.0, 0.5), 0.0, 1.0, args=(k,), sensitivities=[0], rtol=1e-8)
    assert found.stats.backend == "kernel"
    assert "at once" in found.stats.why
    assert found.method == "rodas5p"
    moved = [
        sg.solve(f, real(1.0, 0.5), 0.0, 1.0, args=(k * [s, 1],), rtol=1e-10).y
        for s in (1.001, 0.999)
    ]
    close(found.dy_dp[..., 0], (moved[0] - moved[1]) / 0.001, 1e-5)


@needs_compiler
def test_other_captured_numbers_load_no_other_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates of 1.5 and 2.5, which f reaches by itself, in turn."""
    find, looked = build.find, []
    monkeypatch.setattr(build, "find", lambda key: looked.append(key) or find(key))
    counts = []
    for rate in (1.5, 2.5, 1.5):
        c = real(rate)
        given = {"args": (2.0,), "sensitivities": [0], "backend": "kernel", "method": "bosh3"}
        found = sg.solve(lambda t, y, k, c=c: -k * c * y, real(1.0), 0.0, 1.0, **given)
        close(found.dy_dp.reshape(1, 1), (-c * torch.exp(-2 * c)).reshape(1, 1), 1e-2)
        counts.append(len(looked))
    assert counts[0] == counts[-1]


@needs_compiler
@pytest.mark.parametrize("backend", ["kernel", "eager"])
def test_what_overflows_is_no_success(backend: Any) -> None:
    """At rest in zero, from where steps that are too long for it lead away without bounds."""
    y0, asked = torch.zeros(2, 1, dtype=D), {"sensitivities": ["y0"], "backend": backend}
    given = {"args": (real(1.0, 5e4),), "batched": True, "save_at": [0.02, 1.0], **asked}
    given |= {"method": "tsit5", "max_step": 0.02}
    found = sg.solve(lambda t, y, k: y * k.unsqueeze(-1), y0, 0.0, 1.0, **given)
    assert found.status.tolist() == [sg.Status.SUCCESS, sg.Status.NON_FINITE]
    assert "row 1: the sensitivities are not finite" in found.message
    close(found.dy_dy0[0, :, 0, 0], torch.exp(real(0.02, 1.0)), 1e-6)
    assert not torch.isfinite(found.dy_dy0[1, 1]).any()


K = torch.tensor(1.0, dtype=D, requires_grad=True)
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"sensitivities": "y0"}, "give a list"),
    ({"sensitivities": [1]}, "no entry 1, only 0 to 0"),
    ({"sensitivities": [-1]}, "no entry -1"),
    ({"sensitivities": [True]}, "True is none of these"),
    ({"sensitivities": ["k"]}, "'k' is no key of a dict"),
    ({"sensitivities": [(0, "k")]}, "has no part 'k'"),
    ({"args": (3,)}, "args.0. is of type int; give a float"),
    ({"args": (K,)}, "require grad.*; use"),
    ({"dense": True}, "dense: .*; use save_at"),
    ({"method": "bdf"}, "bdf rest on all steps before; use"),
    ({"events": lambda t, y, k: y[0] - 0.5}, "events: .*; use"),
    ({"y0": torch.ones(1, dtype=torch.complex128)}, "real numbers; use"),
]


@pytest.mark.parametrize(("settings", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_cannot_be_is_refused(settings: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"args": (1.0,), "sensitivities": [0], "y0": real(1.0), **settings}
    with pytest.raises(sg.InputError, match=words):
        sg.solve(lambda t, y, k: -k * y, t0=0.0, t1=1.0, **given)


def test_what_autograd_does_not_see_is_refused() -> None:
    with pytest.raises(sg.InputError, match="does not see how f depends on args"):
        sg.solve(
            lambda t, y, k: -y * math.exp(k),
            real(1.0),
            0.0,
            1.0,
            args=(1.0,),
            sensitivities=[0],
            backend="eager",
        )
