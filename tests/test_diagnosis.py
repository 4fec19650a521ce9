"""A failure names its reason: a jump, a value that ran away, a derivative, the arithmetic."""

from __future__ import annotations

import math

import pytest
import torch
from families import every_way, real
from torch import Tensor

import stiffguide as sg

BACKENDS = pytest.mark.parametrize("backend", ["eager", "kernel"])


def relay(t: Tensor, x: Tensor) -> Tensor:
    """The solution slides along x = 0.5, where f points to the jump from both sides."""
    return torch.where(x > 0.5, -1.0, 1.0).to(x.dtype)


@every_way
def test_a_jump_that_the_solution_slides_along_is_named(name: str, backend: str) -> None:
    settings = {"method": name, "backend": backend, "max_attempts": 300}
    found = sg.solve(relay, real(0.0), 0.0, 1.0, **settings)
    assert int(found.status) == sg.Status.MAX_ATTEMPTS
    assert "f jumps there" in found.message
    for way in ("tstops", "smooth", "controller=Fixed(dt)"):
        assert way in found.message


@pytest.mark.parametrize(
    "f",
    [
        lambda t, y: -torch.tanh((y - 0.5) * 1e6),
        lambda t, y: y * y,
        lambda t, y: -1e6 * (y - torch.cos(t)),
        lambda t, y: y.abs().sqrt() / (1 - t),
    ],
)
def test_what_is_steep_does_not_jump(f) -> None:
    found = sg.solve(f, real(0.8), 0.0, 3.0, method="tsit5", max_attempts=400)
    assert not found.success
    assert "jumps" not in found.message


def test_rows_that_jump_are_told_from_those_that_do_not() -> None:
    f = lambda t, y: torch.cat((relay(t, y[:1]), y[1:] ** 2))  # noqa: E731
    y0 = real(0.0, 1.0).unsqueeze(1)
    found = sg.solve(f, y0, 0.0, 2.0, batched=True, method="tsit5", max_attempts=400)
    assert "f jumps there" in found.messages[0]
    assert "f jumps there" not in found.messages[1]


@BACKENDS
def test_a_value_that_ran_away_is_told(backend: str) -> None:
    f = lambda t, y: torch.stack((-y[0], y[1] ** 2))  # noqa: E731
    found = sg.solve(f, real(1.0, 1.0), 0.0, 2.0, method="tsit5", backend=backend)
    assert int(found.status) == sg.Status.DT_TOO_SMALL
    after = found.message.split("the largest scaled error is in y[1] = ")[1]
    assert float(after.split(",")[0]) == pytest.approx(float(found.y[0, 1]), rel=1e-2)
    assert float(found.y[0, 1]) > 1e10


@pytest.mark.usefixtures("eager")
def test_a_growing_mode_that_refuses_steps_is_told() -> None:
    grow = lambda t, y: 1e4 * y * (1 - y)  # noqa: E731
    same = {"method": "rodas5p"}
    said = [
        sg.solve(grow, real(1e-12), 0.0, 10.0, max_attempts=n, **same).message for n in range(5, 12)
    ]
    assert any("a mode grows faster than the next step could see" in text for text in said)
    fall = sg.solve(lambda t, y: -1e4 * y, real(1.0), 0.0, 10.0, max_attempts=5, **same)
    assert "grows" not in fall.message


@pytest.mark.usefixtures("eager")
def test_an_infinite_jacobian_is_the_reason() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        """Is finite at its start and nowhere beside it, so that differences do not help."""
        return torch.stack((torch.where(y[0] == 2, 1.0, math.nan).to(y), 0 * y[1]))

    jac = lambda t, y: torch.tensor([[math.inf, 0.0], [0.0, 0.0]], dtype=y.dtype)  # noqa: E731
    found = sg.solve(f, real(2.0, 1.0), 0.0, 1.0, jac=jac, first_step=0.1, method="rodas5p")
    assert not found.success
    assert "The Jacobian is infinite at y[0] = 2 (d f[0]/d y[0])" in found.message
    assert "leaves its domain" not in found.message


@pytest.mark.parametrize("backend", ["eager", "kernel", "auto"])
def test_a_module_of_other_precision_is_refused_with_the_way_out(backend: str) -> None:
    model = torch.nn.Linear(2, 2)
    with pytest.raises(sg.InputError, match=r"f mixes dtypes .*model.double\(\).*y0.float\(\)"):
        sg.solve(lambda t, y: model(y), real(1.0, 2.0), 0.0, 1.0, backend=backend)
    with pytest.raises(RuntimeError, match="size mismatch"):
        sg.solve(lambda t, y: torch.ones(2, 3).double() @ y, real(1.0, 2.0), 0.0, 1.0)


def test_autocast_is_told() -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 2)
    y0, settings = torch.tensor([0.3, 0.7]), {"method": "tsit5", "rtol": 1e-2, "atol": 1e-2}
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        short = sg.solve(lambda t, y: model(y), y0, 0.0, 1.0, **settings)
        exact = sg.solve(lambda t, y: -y / 3, y0, 0.0, 1.0, **settings)
    assert "autocast is on, and f computes in bfloat16" in short.message
    assert exact.warnings == {}
