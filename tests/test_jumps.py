"""States that are set anew, at events and at given times: the same as solving piece by piece."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from families import close, every_family, real, rtol_for
from torch import Tensor

import stiffguide as sg
from stiffguide import Event, Status

G = 9.8


def fall(t: Tensor, s: Tensor) -> Tensor:
    return torch.stack((s[..., 1], torch.full_like(s[..., 1], -G)), -1)


def bounce(restitution: float = 1.0) -> Event:
    def jump(t: Tensor, s: Tensor) -> Tensor:
        return torch.stack((s[..., 0], -restitution * s[..., 1]), -1)

    return Event(lambda t, s: s[..., 0], direction=-1, jump=jump)


def decay(t: Tensor, y: Tensor) -> Tensor:
    return -y


def kick(t: Tensor, y: Tensor) -> Tensor:
    return y + 1.0


@pytest.mark.parametrize("name", ["tsit5", "rodas5p", "kvaerno5"])
def test_twenty_bounces(name: str) -> None:
    first = math.sqrt(2 * 50 / G)
    exact = first * (2 * torch.arange(20).double() + 1)
    settings = {"method": name, "rtol": 1e-12, "atol": 1e-12, "events": bounce()}
    (found,) = sg.solve(fall, real(50.0, 0.0), 0.0, float(exact[-1]) + 1, **settings).events
    close(found.t, exact, rtol=0, atol=1e-10)
    close(found.y[:, 1], torch.full((20,), -G * first, dtype=torch.float64), rtol=1e-11)


@every_family
def test_a_jump_is_a_new_solve(name: str) -> None:
    """Bit by bit: methods, controllers and first steps know nothing of what was before."""
    settings = {"method": name, "rtol": rtol_for(name, 1e-7), "save_at": sg.EveryStep()}
    settings["checks"] = False  # which the first solve with f would pay for
    whole = sg.solve(fall, real(50.0, 0.0), 0.0, 7.0, events=bounce(0.9), **settings)
    stop = Event(lambda t, s: s[0], direction=-1, terminal=True)
    first = sg.solve(fall, real(50.0, 0.0), 0.0, 7.0, events=stop, **settings)
    start = bounce(0.9).jump(first.t[-1], first.y[-1])  # type: ignore[misc]
    rest = sg.solve(fall, start, float(first.t[-1]), 7.0, **settings)
    assert len(whole.events[0].t) == 1
    assert torch.equal(whole.t, torch.cat((first.t, rest.t)))
    assert torch.equal(whole.y, torch.cat((first.y, rest.y)))
    assert int(whole.stats.nfe) == int(first.stats.nfe + rest.stats.nfe)


def test_guidance_starts_anew_with_the_rest() -> None:
    rule = sg.guidance.ErrorDirection()
    settings = {"method": "heun", "guidance": rule, "save_at": sg.EveryStep(), "rtol": 1e-5}
    whole = sg.solve(decay, real(1.0), 0.0, 2.0, tstops=[1.0], jump_at=kick, **settings)
    first = sg.solve(decay, real(1.0), 0.0, 1.0, **settings)
    rest = sg.solve(decay, kick(first.t[-1], first.y[-1]), 1.0, 2.0, **settings)
    close(whole.y, torch.cat((first.y, rest.y)), rtol=1e-12)


@every_family
def test_doses_at_given_times(name: str) -> None:
    times, rtol = [1.0, 2.5, 4.0], rtol_for(name, 1e-8)
    done = sg.solve(decay, real(1.0), 0.0, 5.0, method=name, rtol=rtol, tstops=times, jump_at=kick)
    exact = math.exp(-5) + sum(math.exp(time - 5) for time in times)
    close(done.y[-1], real(exact), rtol=30 * rtol)


def test_schedules_are_by_row() -> None:
    stops = torch.tensor([[1.0, 2.0], [0.5, 9.0], [-1.0, 3.0]]).double()
    doses = torch.tensor([1.0, 2.0, 3.0]).double()
    give = lambda t, y, dose: y + dose.unsqueeze(-1)  # noqa: E731
    done = sg.solve(
        lambda t, y, dose: -y,
        torch.ones(3, 1).double(),
        0.0,
        4.0,
        batched=True,
        args=(doses,),
        tstops=stops,
        jump_at=give,
        rtol=1e-9,
    )
    for row in range(3):
        inside = [float(s) for s in stops[row] if 0 < s < 4]
        exact = math.exp(-4) + sum(float(doses[row]) * math.exp(s - 4) for s in inside)
        close(done.y[row, -1], real(exact), rtol=1e-7)


def test_backwards_a_schedule_is_met_in_its_order() -> None:
    done = sg.solve(decay, real(1.0), 3.0, 0.0, tstops=[1.0, 2.0], jump_at=kick, rtol=1e-9)
    close(done.y[-1], real(math.exp(3) + math.exp(2) + math.exp(1)), rtol=1e-7)


def test_a_stop_at_either_end_sets_nothing_anew() -> None:
    done = sg.solve(decay, real(1.0), 0.0, 1.0, tstops=[0.0, 1.0], jump_at=kick)
    close(done.y[-1], real(math.exp(-1)), rtol=1e-5)


def test_saved_at_a_jump_is_the_state_before_it() -> None:
    settings = {"tstops": [1.0], "jump_at": kick, "rtol": 1e-9}
    done = sg.solve(decay, real(1.0), 0.0, 2.0, save_at=[0.5, 1.0, 1.5], dense=True, **settings)
    later = (1 + math.exp(-1)) * math.exp(-0.5)
    close(done.y[:, 0], real(math.exp(-0.5), math.exp(-1), later), rtol=1e-7)
    close(done.at(real(1.0, 1.5))[:, 0], real(math.exp(-1), later), rtol=1e-7)
    steps = sg.solve(decay, real(1.0), 0.0, 2.0, save_at=sg.EveryStep(), **settings)
    (at,) = torch.nonzero(steps.t == 1.0, as_tuple=True)
    close(steps.y[at, 0], real(math.exp(-1), 1 + math.exp(-1)), rtol=1e-7)


def test_jumps_of_events_come_before_those_of_the_schedule() -> None:
    event = Event(lambda t, y: t - 1.0, jump=lambda t, y: 10 * y)
    done = sg.solve(
        lambda t, y: torch.zeros_like(y), real(1.0), 0.0, 2.0,
        events=event, tstops=[1.0], jump_at=kick,
    )  # fmt: skip
    close(done.y[-1], real(11.0))


def test_events_at_one_time_jump_one_after_the_other() -> None:
    events = [
        Event(lambda t, y: t - 1, jump=kick),
        Event(lambda t, y: 1 - t, jump=lambda t, y: 3 * y),
    ]
    done = sg.solve(lambda t, y: torch.zeros_like(y), real(1.0), 0.0, 2.0, events=events)
    close(done.y[-1], real(6.0))
    close(done.events[1].y, real(1.0).unsqueeze(1))  # the table has the state before any jump


def test_a_jump_across_a_level_is_no_crossing() -> None:
    above = lambda t, y: y[0] - 1.5  # noqa: E731
    done = sg.solve(
        decay,
        real(1.0),
        0.0,
        3.0,
        tstops=[0.5],
        jump_at=lambda t, y: y + 2,
        events=above,
        rtol=1e-9,
    )
    start = math.exp(-0.5) + 2
    close(done.events[0].t, real(0.5 + math.log(start / 1.5)), rtol=1e-7)


def test_a_count_jumps_until_it_ends() -> None:
    ball = bounce()
    event = Event(ball.fn, direction=-1, jump=ball.jump, terminal=3)
    done = sg.solve(fall, real(50.0, 0.0), 0.0, 100.0, events=event)
    assert int(done.status) == Status.EVENT
    close(done.t, real(5 * math.sqrt(100 / G)), rtol=1e-5)
    assert float(done.y[-1, 1]) < 0  # before the jump


def test_a_surface_may_be_passed_with_a_jump() -> None:
    """Into water: the speed drops, and the body goes on to the other side."""
    slow = lambda t, s: torch.stack((s[0], 0.5 * s[1]))  # noqa: E731
    event = Event(lambda t, s: s[0], direction=-1, jump=slow)
    done = sg.solve(fall, real(5.0, 0.0), 0.0, 2.0, events=event, rtol=1e-9)
    hit = math.sqrt(10 / G)
    left = 2 - hit
    close(done.events[0].t, real(hit), rtol=1e-8)
    close(done.y[-1, 0], real(-0.5 * G * hit * left - G * left**2 / 2)[0], rtol=1e-7)


def test_a_relay_with_hysteresis() -> None:
    """A thermostat: heats at 1 up to 21, cools at 1 down to 19; the mode is a state."""
    f = lambda t, s: torch.stack((s[1], 0 * s[1]))  # noqa: E731
    mode = lambda value: lambda t, s: torch.stack((s[0], 0 * s[1] + value))  # noqa: E731
    events = [
        Event(lambda t, s: s[0] - 21, direction=1, jump=mode(-1.0)),
        Event(lambda t, s: s[0] - 19, direction=-1, jump=mode(1.0)),
    ]
    done = sg.solve(f, real(20.0, 1.0), 0.0, 10.0, events=events)
    close(done.events[0].t, real(1.0, 5.0, 9.0), rtol=1e-12)
    close(done.events[1].t, real(3.0, 7.0), rtol=1e-12)
    close(done.y[-1], real(20.0, -1.0), rtol=1e-12)


def test_neurons_integrate_and_fire() -> None:
    """A hundred of them, each with its current: spikes every log(I/(I - 1))."""
    current = torch.linspace(1.1, 4.0, 100, dtype=torch.float64)
    fire = Event(lambda t, v, i: v[:, 0] - 1, direction=1, jump=lambda t, v, i: torch.zeros_like(v))
    done = sg.solve(
        lambda t, v, i: i.unsqueeze(-1) - v,
        torch.zeros(100, 1).double(),
        0.0,
        5.0,
        batched=True,
        args=(current,),
        events=fire,
        rtol=1e-8,
        method="tsit5",
    )
    (spikes,) = done.events
    period = torch.log(current / (current - 1))
    for row in range(100):
        times = spikes.t[spikes.row == row]
        assert len(times) == int(5.0 / float(period[row]))
        close(times, period[row] * torch.arange(1, len(times) + 1).double(), rtol=1e-6)


# --- events without end --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tsit5", "rodas5p"])
@pytest.mark.parametrize("restitution", [0.5, 0.8])
def test_a_ball_that_comes_to_rest_is_said_to_chatter(name: str, restitution: float) -> None:
    done = sg.solve(fall, real(10.0, 0.0), 0.0, 100.0, method=name, events=bounce(restitution))
    assert int(done.status) == Status.CHATTERING
    assert not bool(done.success)
    first = math.sqrt(20 / G)
    close(done.t, real(first * (1 + restitution) / (1 - restitution)), rtol=1e-5)
    assert "chattering" in done.message
    assert "make it terminal" in done.message
    assert float(done.y[-1, 0]) > -1e-9


def test_a_jump_onto_its_own_event_is_said_to_chatter() -> None:
    event = Event(lambda t, y: y[0] - 1, jump=lambda t, y: y - 1e-9)
    done = sg.solve(lambda t, y: torch.ones_like(y), real(0.0), 0.0, 3.0, events=event)
    assert int(done.status) == Status.CHATTERING
    close(done.t, real(1.0), rtol=1e-6)


def test_others_of_a_batch_go_on() -> None:
    rest = torch.tensor([0.5, 1.0]).double()
    jump = lambda t, s, r: torch.stack((s[:, 0], -r * s[:, 1]), -1)  # noqa: E731
    event = Event(lambda t, s, r: s[:, 0], direction=-1, jump=jump)
    done = sg.solve(
        lambda t, s, r: fall(t, s),
        torch.tensor([[10.0, 0.0], [10.0, 0.0]]).double(),
        0.0,
        20.0,
        batched=True,
        args=(rest,),
        events=event,
        method="tsit5",
    )
    assert done.status.tolist() == [Status.CHATTERING, Status.SUCCESS]


# --- bad input -----------------------------------------------------------------------------------


def once(fine: Callable[..., Any], bad: Callable[..., Any]) -> Callable[..., Any]:
    """A jump that is fine where it is tried, at the start, and not where it happens."""
    return lambda t, y: fine(t, y) if float(t) == 0 else bad(t, y)


def fails(t: Tensor, y: Tensor) -> Tensor:
    raise ZeroDivisionError("mine")


WRONG = {
    "shape": (lambda t, y: y[0], r"jump_at has shape \(\), y0 has \(1,\)"),
    "later": (once(kick, lambda t, y: y.expand(3)), r"jump_at has shape \(3,\), y0 has \(1,\)"),
    "raises": (once(kick, fails), r"jump_at failed at t = 1 \(ZeroDivisionError: mine\)"),
    "no function": (3, "jump_at must be a function of .t, y, .args., not int"),
}


@pytest.mark.parametrize(("jump", "words"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_a_jump_is_refused(jump: Any, words: str) -> None:
    with pytest.raises(sg.InputError, match=words):
        sg.solve(decay, real(1.0), 0.0, 2.0, tstops=[1.0], jump_at=jump)


def test_what_a_jump_is_given_is_its_own() -> None:
    def kick_in_place(t: Tensor, y: Tensor) -> Tensor:
        t += 5.0
        y += 1.0
        return y

    once, same = (
        sg.solve(decay, real(1.0), 0.0, 2.0, tstops=[1.0], jump_at=jump, save_at=sg.EveryStep())
        for jump in (kick, kick_in_place)
    )
    assert torch.equal(once.t, same.t)
    assert torch.equal(once.y, same.y)


def test_beyond_the_last_stop_the_way_may_be_endless() -> None:
    full = Event(lambda t, y: y[0] - 10, terminal=True)
    settings = {"tstops": [1.0, 2.0], "jump_at": kick, "max_attempts": 200}
    done = sg.solve(
        lambda t, y: torch.ones_like(y), real(0.0), 0.0, math.inf, events=full, **settings
    )
    assert int(done.status) == Status.EVENT
    close(done.t, real(8.0), rtol=1e-12)


def test_a_schedule_needs_its_times() -> None:
    with pytest.raises(sg.InputError, match="jump_at: give the times as tstops"):
        sg.solve(decay, real(1.0), 0.0, 2.0, jump_at=kick)


def test_a_jump_to_nan_ends_the_row() -> None:
    done = sg.solve(
        decay, real(1.0), 0.0, 2.0, tstops=[1.0], jump_at=once(kick, lambda t, y: y * math.nan)
    )
    assert int(done.status) == Status.NON_FINITE
    close(done.t, real(1.0))
    assert "after a jump" in done.message
