"""A stop is seen from its sides alone: f is not asked there, at t0 and t1 neither."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from families import every_family, real
from torch import Tensor

import stiffguide as sg

TOLERANCE = {"rtol": 1e-3, "atol": 1e-5}


class Forbidden(Exception):
    pass


class Sided:
    """-k (y - jumps of t), which may not be asked at a stop; forward and in a batch."""

    def __init__(self, *stops: float) -> None:
        self.stops = stops
        self.asked = 0
        self.wrong: list[float] = []  # what it raises may be caught

    def __call__(self, t: Tensor, y: Tensor, k: Any = 3.0) -> Tensor:
        self.asked += 1
        level = torch.zeros_like(t)
        for stop in self.stops:
            here = torch.as_tensor(stop, dtype=t.dtype)
            if bool((t == here).any()):
                self.wrong.append(stop)
                raise Forbidden(f"t = {stop}")
            if stop not in (self.stops[0], self.stops[-1]):
                level = level + torch.where(t > here, 1.0, 0.0)
        return -k * (y - level.unsqueeze(-1)) + 0.1 * torch.sin(t.unsqueeze(-1) + y)


def solved(f: Any, t0: float, t1: float, **settings: Any) -> sg.Solution[Any]:
    y0 = torch.linspace(0.5, 2.0, 2, dtype=torch.float64)
    found = sg.solve(f, y0, t0, t1, tstops=f.stops, **{**TOLERANCE, **settings})
    found.raise_if_failed()
    assert not f.wrong
    return found


SPANS = [(0.0, 0.7), (0.5, -0.5)]


@pytest.mark.parametrize("span", SPANS, ids=str)
@every_family
def test_f_is_not_asked_at_a_stop(name: str, span: tuple[float, float]) -> None:
    t0, t1 = span
    stops = t0, (t0 + t1) / 2, 0.6 * t1, t1
    f = Sided(*stops)
    times = [t0, 0.5 * (t0 + t1), t1]
    found = solved(f, t0, t1, method=name, save_at=times, dense=True, jac="differences")
    # where f may be asked at the ends, it is the same
    far = Sided(9.0, *stops[1:-1], 9.0)
    plain = solved(far, t0, t1, method=name)
    torch.testing.assert_close(found.y[-1], plain.y[-1], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("way", ["every step", "grid", "fixed", "events", "jumps", "auto"])
def test_nor_however_the_solve_goes(way: str, dtype: torch.dtype) -> None:
    f = Sided(0.0, 0.1, 0.5, 1.0)
    given: dict[str, dict[str, Any]] = {
        "every step": {"method": "rodas5p", "save_at": sg.EveryStep()},
        "grid": {"method": "heun", "controller": sg.Grid([0.0, 0.1, 0.5, 1.0])},
        "fixed": {"method": "kvaerno3", "controller": sg.Fixed(0.15)},
        "events": {"method": "bosh3", "events": lambda t, y: y[..., 0] - 0.8},
        "jumps": {"method": "bdf", "jump_at": lambda t, y: y + 0.1},
        "auto": {"method": "auto", "first_step": 2.0},
    }
    y0 = torch.ones(3, 2, dtype=dtype) * torch.tensor([[0.5], [1.0], [2.0]], dtype=dtype)
    t0, t1 = real(0.0, 0.0, 1.0), real(1.0, 0.5, 0.0)
    more = {"batched": True, "tstops": f.stops, "rtol": 1e-3, "atol": 1e-4, **given[way]}
    if way == "grid":
        t0, t1 = 0.0, 1.0
    found = sg.solve(f, y0, t0, t1, **more)
    found.raise_if_failed()
    assert f.asked >= 10
    assert not f.wrong
    assert torch.equal(
        torch.atleast_1d(found.t[:, -1]), torch.as_tensor(t1).expand(3).double()
    ) or (way == "every step")


@pytest.mark.parametrize("name", ["tsit5", "rodas5p", "kvaerno3", "radau5", "heun"])
def test_nor_for_a_gradient(name: str) -> None:
    gradient: Any = "checkpoint" if name == "tsit5" else "direct"
    f, k = Sided(0.0, 0.4, 1.0), real(3.0).requires_grad_()
    t0, t1 = (x.squeeze() for x in (real(0.0).requires_grad_(), real(1.0).requires_grad_()))
    given = {"controller": sg.Grid([0.0, 0.3, 0.4, 1.0])} if name == "heun" else {}
    more = {"gradient": gradient, "args": (k,), "save_at": [0.0, 0.2, 1.0], **given}
    found = solved(f, t0, t1, method=name, **more)
    by_k, by_t0, by_t1 = torch.autograd.grad(found.y.sum(), (k, t0, t1))
    h = 1e-5
    with torch.no_grad():
        more["args"] = (k + h,)
        high = solved(f, 0.0, 1.0, method=name, **more)
        more["args"] = (k - h,)
        low = solved(f, 0.0, 1.0, method=name, **more)
    slope = (high.y.sum() - low.y.sum()) / (2 * h)
    torch.testing.assert_close(by_k.squeeze(), slope, rtol=2e-2, atol=1e-3)
    assert by_t0.abs() > 0
    assert by_t1.abs() > 0


def test_both_parts_of_a_field_keep_to_the_sides() -> None:
    explicit, implicit = Sided(0.0, 1.0), Sided(0.0, 1.0)
    y0 = real(1.0, 2.0)
    sg.solve((explicit, implicit), y0, 0.0, 1.0, tstops=[0.0, 1.0], **TOLERANCE).raise_if_failed()
    assert explicit.asked > 10
    assert not explicit.wrong + implicit.wrong


def test_a_value_at_an_end_alone_has_no_say() -> None:
    """The first and the last value of f go into a step of few stages with all their weight."""

    def spiked(t: Tensor, y: Tensor) -> Tensor:
        return -y + torch.where((t == 0.0) | (t == 1.0), 1e3, 0.0)

    grid = torch.linspace(0.0, 1.0, 5, dtype=torch.float64)
    given = {"method": "heun", "controller": sg.Grid(grid)}
    plain = sg.solve(lambda t, y: -y, real(1.0), 0.0, 1.0, **given)
    found = sg.solve(spiked, real(1.0), 0.0, 1.0, tstops=grid, **given)
    torch.testing.assert_close(found.y, plain.y, rtol=1e-12, atol=0)
    for stops in ([0.0], [1.0], [0.5]):
        ruined = sg.solve(spiked, real(1.0), 0.0, 1.0, tstops=stops, **given)
        assert (ruined.y - plain.y).abs() > 1


def test_kernels_ask_at_the_ends(auto: None) -> None:
    def decay(t: Tensor, y: Tensor) -> Tensor:
        return -y

    with pytest.raises(sg.UnsupportedError, match="tstops names one of them"):
        sg.solve(decay, real(1.0), 0.0, 1.0, tstops=[0.0], backend="kernel")
    found = sg.solve(decay, real(1.0), 0.0, 1.0, tstops=[0.5, 1.0])
    assert "tstops names one of them" in found.stats.why
