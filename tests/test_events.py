"""Where an event happens, to the accuracy of the solution; and in which order, by stated rules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from families import adds_up, close, every_family, real, rtol_for
from torch import Tensor

import stiffguide as sg
from stiffguide import Event, Status

PI, F64 = math.pi, torch.float64


def swing(t: Tensor, y: Tensor) -> Tensor:
    """Solved by (sin, cos) from (0, 1)."""
    return torch.stack((y[..., 1], -y[..., 0]), -1)


def height(t: Tensor, y: Tensor) -> Tensor:
    return y[..., 0]


def level(value: float) -> Callable[..., Tensor]:
    return lambda t, y: y[..., 0] - value


def clock(t: Tensor, y: Tensor) -> Tensor:
    return torch.ones_like(y)


def on_the_swing(events: Any, t1: float = 10.0, method: str = "tsit5", **more: Any) -> Any:
    settings = {"rtol": rtol_for(method, 1e-8), "atol": 1e-10, **more}
    return sg.solve(swing, real(0.0, 1.0), 0.0, t1, method=method, events=events, **settings)


@every_family
def test_events_lie_where_the_solution_crosses(name: str) -> None:
    (found,) = on_the_swing(Event(height, direction=0), method=name).events
    tolerance = 10 * rtol_for(name, 1e-8) * adds_up(name)
    close(found.t, real(0.0, PI, 2 * PI, 3 * PI), rtol=0, atol=tolerance)  # 0.0 as scipy has it
    close(found.y[:, 0], torch.zeros(4).double(), rtol=0, atol=1e-14)
    close(found.y[:, 1], real(1.0, -1.0, 1.0, -1.0), rtol=tolerance)
    assert found.row.tolist() == [0, 0, 0, 0]


@every_family
def test_a_direction_chooses(name: str) -> None:
    times = {1: (0.0, 2 * PI), -1.0: (PI, 3 * PI), -7: (PI, 3 * PI)}
    events = [Event(height, direction=direction) for direction in times]
    for found, expected in zip(
        on_the_swing(events, method=name).events, times.values(), strict=True
    ):
        close(found.t, real(*expected), rtol=0, atol=10 * rtol_for(name, 1e-8) * adds_up(name))


@every_family
def test_backwards_a_direction_is_that_of_the_way(name: str) -> None:
    # from 0 down to -10 the sine falls first
    found = on_the_swing([height, Event(height, direction=1)], t1=-10.0, method=name)
    times = -real(0.0, PI, 2 * PI, 3 * PI)
    tolerance = 10 * rtol_for(name, 1e-8) * adds_up(name)
    close(found.events[0].t, times, rtol=0, atol=tolerance)
    close(found.events[1].t, times[1::2], rtol=0, atol=tolerance)


def orbit(t: Tensor, s: Tensor) -> Tensor:
    """Kepler's, around (0, 0)."""
    x, y, u, v = s.unbind(-1)
    r3 = (x * x + y * y) ** 1.5
    return torch.stack((u, v, -x / r3, -y / r3), -1)


def outwards(t: Tensor, s: Tensor) -> Tensor:
    """The speed away from the centre, times the radius."""
    return s[..., 0] * s[..., 2] + s[..., 1] * s[..., 3]


def apsides_are_as_good_as_the_orbit(name: str, rtol: float, count: int, backend: Any) -> None:
    e = 0.5
    near = real(1 - e, 0, 0, math.sqrt((1 + e) / (1 - e)))
    far = real(-1 - e, 0, 0, -math.sqrt((1 - e) / (1 + e)))
    settings = {"method": name, "rtol": rtol, "atol": rtol * 1e-2, "backend": backend}
    exact = torch.arange(count + 1).double() * PI
    end = float(exact[-1]) + 0.5
    (found,) = sg.solve(orbit, near, 0.0, end, events=outwards, **settings).events
    # what a solve that ends there gets wrong by itself
    ends = [sg.solve(orbit, near, 0.0, float(t), **settings).y[-1] for t in exact[1:]]
    places = [(near, far)[k % 2] for k in range(1, count + 1)]
    own = torch.stack([(y - s).abs().max() for y, s in zip(ends, places, strict=True)])
    assert ((found.t - exact)[1:].abs() <= 10 * own + 1e-13).all()


@pytest.mark.parametrize(
    ("name", "rtol"),
    [("tsit5", 1e-4), ("tsit5", 1e-7), ("rodas5p", 1e-4), ("kvaerno5", 1e-5), ("dop853", 1e-10)],
)
def test_the_apsides_of_an_orbit_are_as_good_as_the_orbit(name: str, rtol: float) -> None:
    apsides_are_as_good_as_the_orbit(name, rtol, 2, "eager")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tsit5", "rodas5p", "kvaerno5", "dop853"])
@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8, 1e-10])
def test_so_they_are_by_kernels(name: str, rtol: float) -> None:
    apsides_are_as_good_as_the_orbit(name, rtol, 6, "kernel")


@every_family
@pytest.mark.parametrize("top", [0.9, 0.999])
def test_a_level_that_is_crossed_twice_within_a_step_is_seen(name: str, top: float) -> None:
    (found,) = on_the_swing(level(top), t1=2.5, method=name, rtol=1e-5, atol=1e-7).events
    first = math.asin(top)
    accuracy = 1e-5 / math.sqrt(1 - top * top)
    close(found.t, real(first, PI - first), rtol=0, atol=10 * accuracy)


@every_family
def test_an_event_happens_where_steps_are_too_short_to_come_nearer(name: str) -> None:
    settings = {"method": name, "rtol": 1e-4, "atol": 1e-7, "max_attempts": 999}
    done = on_the_swing(level(0.9999), t1=2.5, **settings)
    assert done.success
    first = math.asin(0.9999)
    close(done.events[0].t, real(first, PI - first), rtol=0, atol=0.07)


def test_the_second_crossing_counts_where_the_first_goes_the_wrong_way() -> None:
    (found,) = on_the_swing(Event(level(0.999), direction=-1), t1=5.0, rtol=1e-4).events
    close(found.t, real(PI - math.asin(0.999)), rtol=1e-3)


def test_terminal_ends_a_row_there() -> None:
    done = on_the_swing(Event(height, terminal=True, direction=-1), save_at=sg.EveryStep())
    assert int(done.status) == Status.EVENT
    assert bool(done.success)
    close(done.t[-1], real(PI)[0], rtol=1e-8)
    close(done.y[-1], done.events[0].y[0])
    assert "event 0 (height) happened" in done.message


@pytest.mark.parametrize("count", [1, 2, 3])
def test_terminal_may_be_a_count(count: int) -> None:
    done = on_the_swing(Event(height, terminal=count, direction=1), t1=30.0)
    close(done.t, done.events[0].t[-1:])
    close(done.events[0].t, 2 * PI * torch.arange(count).double(), rtol=1e-6)


def test_attributes_of_functions_are_those_of_scipy() -> None:
    def event(t: Tensor, y: Tensor) -> Tensor:
        return y[0]

    event.terminal, event.direction = True, -1  # type: ignore[attr-defined]
    close(on_the_swing(event).t, real(PI), rtol=1e-8)


def test_events_are_given_args() -> None:
    done = sg.solve(
        lambda t, y, k: k * torch.ones_like(y),
        real(0.0),
        0.0,
        9.0,
        args=(2.0,),
        events=lambda t, y, k: y[0] - 3 * k,
    )
    close(done.events[0].t, real(3.0))


def test_an_event_may_be_of_time_alone() -> None:
    (found,) = on_the_swing(lambda t, y: t - 1.25).events
    close(found.t, real(1.25), rtol=1e-15)


# --- several at once -----------------------------------------------------------------------------


def test_several_events_keep_their_order() -> None:
    done = on_the_swing([level(0.5), level(0.25), level(-0.5)], t1=4.0)
    for event, value in zip(done.events, (0.5, 0.25, -0.5), strict=True):
        first, second = math.asin(value), PI - math.asin(value)
        close(event.t, real(*(t for t in (first, second) if 0 < t < 4)), rtol=1e-7)


def test_events_at_one_time_all_happen() -> None:
    twice = [height, lambda t, y: 5 * y[0], lambda t, y: -y[0]]
    done = on_the_swing(twice, t1=4.0)
    for event in done.events:
        close(event.t[-1:], real(PI), rtol=1e-8)
    alone = on_the_swing(height, t1=4.0)
    assert int(done.stats.accepted) == int(alone.stats.accepted)


def test_of_events_at_one_time_a_terminal_one_keeps_none_from_happening() -> None:
    done = on_the_swing(
        [
            Event(height, direction=-1, jump=lambda t, y: 9 * y),
            Event(lambda t, y: 2 * y[0], direction=-1, terminal=True),
        ]
    )
    assert int(done.status) == Status.EVENT
    assert [len(event.t) for event in done.events] == [1, 1]
    close(done.y[-1], real(0.0, -1.0), rtol=1e-7, atol=1e-7)  # the state before the jump


@pytest.mark.usefixtures("eager")  # whose last bit takes it across
def test_an_event_at_the_end_happens_and_outweighs_it() -> None:
    for terminal, status in ((False, Status.SUCCESS), (True, Status.EVENT)):
        event = Event(lambda t, y: y[0] - 2.0, terminal=terminal)
        done = sg.solve(clock, real(0.0), 0.0, 2.0, events=event)
        assert int(done.status) == status
        close(done.events[0].t, real(2.0))
        close(done.t, real(2.0))


@pytest.mark.parametrize("backend", ["eager", "kernel"])
@pytest.mark.parametrize(("beyond", "count"), [(0.0, 1), (2.0**-51, 1), (1e-12, 0)])
def test_an_event_at_the_end_happens_whatever_the_last_bit(
    backend: Any, beyond: float, count: int
) -> None:
    settings = {"method": "bosh3", "first_step": 0.25, "max_step": 0.25, "backend": backend}
    for stops in (None, [1.0]):
        end = 2.0 if stops is None else 1.0
        done = sg.solve(
            clock,
            real(0.0),
            0.0,
            2.0,
            events=level(end + beyond),
            tstops=stops,
            jump_at=None if stops is None else lambda t, y: y - 9.0,
            **settings,
        )
        assert done.events[0].t.tolist() == [end] * count


def test_an_event_at_a_stop_happens_once() -> None:
    done = sg.solve(
        clock, real(0.0), 0.0, 3.0, events=level(1.0), tstops=[1.0, 2.0], save_at=sg.EveryStep()
    )
    close(done.events[0].t, real(1.0))
    assert (done.t == 1.0).sum() == 1
    assert (done.t == 2.0).any()


def waves(rows: int) -> tuple[Any, Tensor, Tensor, Tensor]:
    """sin(w t + p) in every row as f, y0 and args, and times within the first two units."""
    w, p, t = torch.rand(3, rows, generator=torch.Generator().manual_seed(5), dtype=F64)
    w, p, t = 3 * w + 0.5, 3 * p, 2 * t + 0.5
    return (lambda t, y, w, p: (w * torch.cos(w * t + p)).unsqueeze(-1)), w, p, t


def test_the_way_to_an_event_may_end_at_the_end() -> None:
    f, w, p, t1 = waves(400)
    level = torch.sin(w * t1 + p)
    done = sg.solve(
        f,
        torch.sin(p).unsqueeze(-1),
        0.0,
        t1,
        batched=True,
        args=(w, p),
        events=lambda t, y, w, p: y[:, 0] - level,
        method="dop853",
        rtol=1e-13,
        atol=1e-14,
    )
    close(done.t[:, 0], t1, rtol=0, atol=1e-12)
    close(done.y[:, 0, 0], level, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", ["eager", "kernel"])
@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_an_event_beside_a_stop_is_counted_once(direction: float, backend: Any) -> None:
    """The step between the two would be so short that the sign of the event is rounding there."""
    f, w, p, stop = waves(400)
    level, t0 = torch.sin(w * stop + p), stop - 2 * direction
    done = sg.solve(
        f,
        torch.sin(w * t0 + p).unsqueeze(-1),
        t0,
        stop + 0.01 * direction,
        batched=True,
        args=(w, p),
        events=lambda t, y, w, p: y[:, 0] - level,
        tstops=stop.unsqueeze(1),
        method="dop853",
        rtol=1e-13,
        atol=1e-14,
        backend=backend,
    )
    assert (done.status == Status.SUCCESS).all()
    (found,) = done.events
    beside = found.row[(found.t - stop[found.row]).abs() < 1e-9]
    assert beside.tolist() == list(range(400))


@pytest.mark.parametrize(("direction", "count"), [(0, 1), (1, 1), (-1, 0)])
def test_zero_at_the_start_counts_as_in_scipy(direction: int, count: int) -> None:
    event = Event(level(0.0), direction=direction)
    done = sg.solve(clock, real(0.0), 0.0, 1.0, events=event)
    assert done.events[0].t.tolist() == [0.0] * count


def test_a_terminal_event_at_the_start_ends_the_row_there() -> None:
    done = sg.solve(clock, real(0.0), 0.0, 1.0, events=Event(level(0.0), terminal=True))
    assert int(done.status) == Status.EVENT
    assert done.t.tolist() == [0.0]
    assert int(done.stats.accepted) == 0


def test_an_event_that_stays_zero_happens_once() -> None:
    done = sg.solve(clock, real(0.0), 0.0, 9.0, events=lambda t, y: torch.clamp(y[0] - 1, max=0.0))
    close(done.events[0].t, real(1.0))


def test_an_event_that_is_zero_all_over_is_named() -> None:
    done = on_the_swing([height, lambda t, y: 0 * y[0]])
    assert "event 1 was zero wherever it was looked at" in done.message
    assert len(done.events[1].t) == 0


# --- batches -------------------------------------------------------------------------------------


@every_family
@pytest.mark.usefixtures("eager")  # one lane and many round in other ways
def test_a_thousand_rows_stop_each_at_its_own_time(name: str) -> None:
    top = torch.linspace(0.3, 1.2, 1000, dtype=torch.float64)
    grow = lambda t, y, k: 1.0 / k.unsqueeze(-1) * torch.exp(-y)  # noqa: E731 - y = log(1 + t/k)
    args = (torch.linspace(0.5, 2.0, 1000, dtype=torch.float64),)
    settings = {"method": name, "rtol": rtol_for(name, 1e-6), "args": args, "batched": True}
    event = Event(lambda t, y, k: y[:, 0] - top, terminal=True)
    y0 = torch.zeros(1000, 1, dtype=torch.float64)
    done = sg.solve(grow, y0, 0.0, 100.0, events=event, **settings)
    assert (done.status == Status.EVENT).all()
    close(done.t[:, 0], args[0] * torch.expm1(top), rtol=30 * rtol_for(name, 1e-6))
    close(done.y[:, 0, 0], top, rtol=1e-13)
    (table,) = done.events
    assert table.row.tolist() == list(range(1000))
    for row in (0, 500, 999):
        alone = sg.solve(
            grow,
            y0[:1],
            0.0,
            100.0,
            events=Event(lambda t, y, k, row=row: y[:, 0] - top[row], terminal=True),
            **{**settings, "args": (args[0][row : row + 1],)},
        )
        close(alone.t[0], done.t[row], rtol=1e-12)
        close(alone.y[0], done.y[row], rtol=1e-12)


def test_rows_see_their_own_events() -> None:
    y0 = torch.stack((real(0.0, 1.0), real(0.0, -1.0), real(1.0, 0.0)))
    (found,) = sg.solve(
        swing, y0, 0.0, real(4.0, 7.0, 1.0), batched=True, events=height, rtol=1e-9
    ).events
    assert found.row.tolist() == [0, 0, 1, 1, 1]
    close(found.t, real(0.0, PI, 0.0, PI, 2 * PI), rtol=1e-7)
    assert found.y.shape == (5, 2)


def test_nested_states_come_back_nested() -> None:
    f = lambda t, y: {"a": y["b"][0], "b": [-y["a"]]}  # noqa: E731
    y0 = {"a": torch.zeros(()).double(), "b": [torch.ones(()).double()]}
    (found,) = sg.solve(f, y0, 0.0, 4.0, events=Event(lambda t, y: y["a"], direction=-1)).events
    close(found.t, real(PI), rtol=1e-5)
    close(found.y["b"][0], real(-1.0), rtol=1e-5)


def test_float32_states_have_events() -> None:
    (found,) = sg.solve(
        swing, torch.tensor([0.0, 1.0]), 0.0, 7.0, rtol=1e-4, atol=1e-6, events=height
    ).events
    close(found.t, real(0.0, PI, 2 * PI), rtol=1e-3)


def test_complex_states_have_real_events() -> None:
    for method in ("tsit5", "rodas5p"):
        (found,) = sg.solve(
            lambda t, z: 1j * z,
            torch.tensor([1.0 + 0.0j], dtype=torch.complex128),
            0.0,
            4.0,
            method=method,
            events=lambda t, z: z.real[0],
        ).events
        close(found.t, real(PI / 2), rtol=1e-5)
        close(found.y, torch.tensor([[1j]], dtype=torch.complex128), rtol=1e-5, atol=1e-5)


def test_numpy_functions_have_events_in_numpy() -> None:
    import numpy as np

    def hit(t: Any, y: Any) -> Any:
        assert isinstance(y, np.ndarray)
        return np.sin(t) * y[1]

    done = sg.solve(lambda t, y: np.array([y[1], -y[0]]), real(0.0, 1.0), 0.1, 4.0, events=hit)
    assert len(done.events[0].t) == 2


# --- what a solve keeps --------------------------------------------------------------------------


def test_steps_end_on_events_and_the_rest_is_as_without() -> None:
    plain = on_the_swing(None, save_at=sg.EveryStep())
    done = on_the_swing(Event(height, direction=-1), save_at=sg.EveryStep())
    for t in done.events[0].t:
        assert (done.t == t).sum() == 1
    assert len(done.t) <= len(plain.t) + 3 * len(done.events[0].t)
    close(done.y[-1], plain.y[-1], rtol=1e-6)


def test_interpolants_are_kept_up_to_the_event() -> None:
    done = on_the_swing(Event(height, terminal=True, direction=-1), dense=True)
    close(done.at(real(1.0, 3.0))[:, 0], torch.sin(real(1.0, 3.0)), rtol=1e-6)
    assert torch.isnan(done.at(3.5)).all()


def test_an_infinite_end_is_fine_where_an_event_ends_it() -> None:
    event = Event(level(1e3), terminal=True)
    done = sg.solve(clock, real(0.0), 0.0, math.inf, events=event)
    close(done.t, real(1e3), rtol=1e-12)
    with pytest.raises(sg.InputError, match="t1 is infinite and nothing would stop"):
        sg.solve(clock, real(0.0), 0.0, math.inf, events=level(1e3))


def test_an_attempt_that_only_locates_is_counted() -> None:
    done = on_the_swing(Event(height, direction=-1))
    assert int(done.stats.rejected) > 0


@pytest.mark.parametrize(
    "controller", [sg.Fixed(0.1), sg.Grid([0.0, 0.5, 1.0, 1.6, 2.0, 2.5, 3.0, 3.3, 4.0])]
)
def test_given_steps_go_on_to_where_they_would_have_ended(controller: Any) -> None:
    done = sg.solve(
        swing,
        real(0.0, 1.0),
        0.0,
        4.0,
        method="dop853",
        controller=controller,
        events=Event(height, direction=-1),
        save_at=sg.EveryStep(),
    )
    close(done.events[0].t, real(PI), rtol=1e-6)
    plain = sg.solve(
        swing, real(0.0, 1.0), 0.0, 4.0, method="dop853", controller=controller,
        save_at=sg.EveryStep(),
    )  # fmt: skip
    others = done.t[(done.t - done.events[0].t).abs() > 1e-6]
    close(others, plain.t, rtol=1e-12)


def test_guided_steps_are_what_events_see() -> None:
    rule = sg.guidance.ErrorDirection()
    settings = {"method": "tsit5", "rtol": 1e-5, "guidance": rule, "events": height}
    done = sg.solve(swing, real(0.0, 1.0), 0.0, 4.0, **settings)
    close(done.events[0].t[-1:], real(PI), rtol=1e-4)
    close(done.events[0].y[-1, :1], real(0.0), atol=1e-13)


# --- bad input -----------------------------------------------------------------------------------

WRONG = {
    "no function": (3, r"events: give functions of \(t, y, \*args\), or Event\(...\), not int"),
    "none of several": ([height, "y"], "events: give functions .*, not str"),
    "no function in it": (Event(3), r"event 0: fn must be a function of \(t, y, \*args\), not int"),  # type: ignore[arg-type]
    "a vector": (lambda t, y: y, r"event 0 returned shape \(2,\); return one number"),
    "nothing": (lambda t, y: None, "event 0 returned a NoneType; return a number"),
    "a truth": (lambda t, y: y[0] > 1, "event 0 returned a truth value; return a real number"),
    "nan": (lambda t, y: y[0] * math.nan, "event 0 is nan at the start, t = 0"),
    "terminal 0": (Event(height, terminal=0), "event 0 .height.: terminal must be True, False or"),
    "terminal -1": (Event(height, terminal=-1), "terminal must be True, False or a positive count"),
    "terminal 1.5": (Event(height, terminal=1.5), "terminal must be"),  # type: ignore[arg-type]
    "direction": (Event(height, direction=math.nan), "direction must be a number .its sign counts"),
    "up": (Event(height, direction="up"), "direction must be a number"),  # type: ignore[arg-type]
    "jump": (Event(height, jump=3.0), "the jump of event 0 .height. must be a function"),  # type: ignore[arg-type]
    "jump shape": (
        Event(height, jump=lambda t, y: y[0]),
        r"the jump of event 0 \(height\) has shape \(\), y0 has \(2,\)",
    ),
    "jump dtype": (
        Event(height, jump=lambda t, y: y * 1j),
        "the jump of event 0 .height. has dtype torch.complex128, y0 has torch.float64",
    ),
    "jump of nothing": (Event(height, jump=lambda t, y: None), "the jump of event 0 .* NoneType"),
}


@pytest.mark.parametrize(("events", "words"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_an_event_is_refused_before_anything_is_solved(
    events: Any, words: str
) -> None:
    with pytest.raises(sg.InputError, match=words):
        on_the_swing(events)


BATCHED = {
    "a scalar": (lambda t, y: y.sum(), r"event 0 returned shape \(\); return \(3,\), a number for"),
    "one a component": (lambda t, y: y[0], r"event 0 returned shape \(2,\); return \(3,\)"),
    "the batch": (lambda t, y: y[:, 0] - y.mean(), "row 0 of event 0 depends on other rows of y"),
}


@pytest.mark.parametrize(("event", "words"), BATCHED.values(), ids=BATCHED)
def test_events_of_a_batch_are_by_row(event: Any, words: str) -> None:
    y0 = torch.tensor([[0.1, 1.0], [0.2, 1.0], [0.3, 1.0]]).double()
    with pytest.raises(sg.InputError, match=words):
        sg.solve(swing, y0, 0.0, 1.0, events=event, batched=True)


def test_an_event_that_becomes_nan_ends_the_row_and_no_other() -> None:
    y0 = torch.tensor([[0.5], [-9.0]]).double()
    done = sg.solve(
        lambda t, y: -torch.ones_like(y),
        y0,
        0.0,
        1.0,
        batched=True,
        events=lambda t, y: torch.where(y[:, 0] > -5, torch.sqrt(y[:, 0]), 1.0),
    )
    assert done.status.tolist() == [Status.NON_FINITE, Status.SUCCESS]
    assert 0.4 < float(done.t[0]) <= 0.5


def shifts_y(t: Tensor, y: Tensor) -> Tensor:
    y -= 0.5
    return y[..., 0]


def shifts_t(t: Tensor, y: Tensor) -> Tensor:
    t += 0.5
    return y[..., 0]


def halves_later(t: Tensor, y: Tensor) -> Tensor:
    return y[1] if t < 1 else y.mul_(0.5)[1]


@pytest.mark.parametrize(("event", "name"), [(shifts_y, "y"), (shifts_t, "t"), (halves_later, "y")])
def test_what_an_event_is_given_is_not_its_to_change(event: Any, name: str) -> None:
    with pytest.raises(sg.InputError, match=f"event 0 .{event.__name__}. changes {name} in place"):
        on_the_swing(event)
    with torch.inference_mode():  # where torch does not tell
        on_the_swing(event, t1=4.0)
        plain = on_the_swing(height, t1=4.0)
    close(plain.events[0].t, real(0.0, PI), rtol=1e-7)


@pytest.mark.parametrize("change", [shifts_y, shifts_t])
def test_what_a_monitor_is_given_is_a_copy(change: Any) -> None:
    plain = on_the_swing(None)
    done = on_the_swing(None, monitor=lambda t, y: bool(change(t, y).isnan().any()))
    assert torch.equal(done.t, plain.t)
    assert torch.equal(done.y, plain.y)


def test_terminal_may_be_a_truth_of_numpy() -> None:
    import numpy as np

    for given in (True, False):
        done = on_the_swing(Event(height, terminal=np.bool_(given), direction=-1), t1=4.0)  # type: ignore[arg-type]
        assert int(done.status) == (Status.EVENT if given else Status.SUCCESS)


def test_what_a_function_raises_is_the_users() -> None:
    def event(t: Tensor, y: Tensor) -> Tensor:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        on_the_swing(event)
