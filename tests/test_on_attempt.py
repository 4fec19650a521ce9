"""Who listens is told of every attempt as it was, and once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from families import real
from torch import Tensor

import stiffguide as sg
from stiffguide.gradients import recorder


def ring(t: Tensor, y: dict[str, Tensor], k: Any = 1.0) -> dict[str, Tensor]:
    return {"a": k * y["b"], "b": -k * y["a"] + 0.3 * torch.sin(9 * t)}


def start(**more: Any) -> dict[str, Tensor]:
    return {"a": real(1.0, 0.2), "b": real(0.0, 1.0)}


CASES: dict[str, dict[str, Any]] = {
    "tsit5": {"first_step": 5.0},  # too long
    "rodas5p": {"first_step": 5.0},
    "bdf": {"t1": -2.0},
    "auto": {},
    "rk4": {"controller": sg.Fixed(0.3)},
    "heun": {"controller": sg.Grid([0.0, 0.1, 0.5, 2.0])},
    "bosh3": {"events": lambda t, y: y["a"][0] - 0.3},
    "kvaerno3": {"events": lambda t, y: y["a"][0] - 0.3, "controller": sg.Fixed(0.4)},
}


@pytest.mark.parametrize("name", CASES)
def test_attempts_lead_from_step_to_step(name: str) -> None:
    heard: list[tuple[Any, ...]] = []

    def listen(t0: Tensor, y0: dict[str, Tensor], dt: Tensor, accepted: bool) -> None:
        heard.append((float(t0), y0["a"].clone(), float(dt), accepted))
        for given in (t0, dt, *y0.values()):  # copies
            given.fill_(torch.nan)

    given = {"t1": 2.0, "save_at": sg.EveryStep(), "method": name, "rtol": 1e-4, **CASES[name]}
    plain = sg.solve(ring, start(), 0.0, **given)
    found = sg.solve(ring, start(), 0.0, on_attempt=listen, **given)
    assert torch.equal(found.t, plain.t)
    assert torch.equal(found.y["a"], plain.y["a"])
    step = 0
    for t0, a, dt, accepted in heard:
        assert accepted in (True, False)
        assert t0 == found.t[step]
        assert torch.equal(a, found.y["a"][step])
        step += accepted
        assert not accepted or abs(t0 + dt - float(found.t[step])) < 1e-12
    assert step == found.stats.accepted == len(found.t) - 1
    assert len(heard) - step == found.stats.rejected
    assert "first_step" not in given or found.stats.rejected > 0
    assert "events" not in given or found.stats.rejected > 0  # attempts that only locate


@pytest.mark.parametrize("gradient", ["direct", "checkpoint"])
@pytest.mark.parametrize("controller", [None, sg.Fixed(0.2)], ids=["adaptive", "fixed"])
def test_steps_are_not_told_of_again_for_a_gradient(gradient: Any, controller: Any) -> None:
    heard: list[bool] = []
    k = real(1.0).requires_grad_()
    given = {"method": "bosh3", "controller": controller, "gradient": gradient}
    found = sg.solve(
        ring, start(), 0.0, 1.0, args=(k,), on_attempt=lambda *of: heard.append(of[-1]), **given
    )
    found.y["a"].sum().backward()
    assert len(heard) == found.stats.accepted + found.stats.rejected
    assert sum(heard) == found.stats.accepted


def test_rows_without_a_part_have_no_dt() -> None:
    heard: list[tuple[Any, ...]] = []
    ends = real(0.5, 1.0, 0.0)

    def decay(t: Tensor, y: Tensor) -> Tensor:
        return -y

    y0 = real(1.0).expand(3, 1)
    given = {"batched": True, "method": "heun", "controller": sg.Fixed(0.1)}
    sg.solve(decay, y0, 0.0, ends, on_attempt=lambda *of: heard.append(of), **given)
    t0, y, dt, accepted = map(torch.stack, zip(*heard, strict=True))
    assert y.shape == (10, 3, 1)
    assert torch.equal(dt != 0, accepted)
    assert accepted.sum(0).tolist() == [5, 10, 0]
    torch.testing.assert_close(dt.sum(0), ends)
    torch.testing.assert_close(t0[-1], real(0.5, 0.9, 0.0))


def test_what_it_raises_comes_through() -> None:
    class Enough(Exception):
        pass

    def listen(*of: Any) -> None:
        raise Enough

    with pytest.raises(Enough):
        sg.solve(ring, start(), 0.0, 1.0, on_attempt=listen)
    with pytest.raises(sg.InputError, match="on_attempt: give a function"):
        sg.solve(ring, start(), 0.0, 1.0, on_attempt=True)


def test_kernels_tell_nobody(auto: None) -> None:
    given = {"on_attempt": lambda *of: None}
    with pytest.raises(sg.UnsupportedError, match="and on_attempt was given"):
        sg.solve(lambda t, y: -y, real(1.0), 0.0, 1.0, backend="kernel", **given)
    found = sg.solve(lambda t, y: -y, real(1.0), 0.0, 1.0, **given)
    assert found.stats.backend == "eager"
    assert "on_attempt was given" in found.stats.why


def test_a_graph_that_grows_large_tells_nobody_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be begun anew in segments, if nobody had been told of its attempts."""
    heard: list[float] = []
    k = real(1.0).requires_grad_()
    monkeypatch.setattr(recorder, "ROOM", 1)
    listen = lambda t, *_: heard.append(float(t))  # noqa: E731
    given = {"method": "tsit5", "max_step": 0.01, "args": (k,), "on_attempt": listen}
    found = sg.solve(ring, start(), 0.0, 1.0, **given)
    assert len(heard) == int(found.stats.accepted + found.stats.rejected)
