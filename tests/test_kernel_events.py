"""Events and jumps in kernels are those of the eager loop: when, how often, and what then."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from agreement import both
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from test_kernel_fields import SIZE, field_of, systems, trees, value
from torch import Tensor

import stiffguide as sg
from stiffguide import Event, EveryStep, Status
from stiffguide.solution import Solution

D = torch.float64
COMPILER = shutil.which("g++") or shutil.which("clang++")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")
FAMILIES = ["tsit5", "rodas5p", "kvaerno5"]
LATE = ["dop853"]  # whose interpolant takes evaluations of its own
every_family = pytest.mark.parametrize("method", FAMILIES)
TIGHT = {"rtol": 1e-9, "atol": 1e-12}


def real(*values: float) -> Tensor:
    return torch.tensor(values, dtype=D)


def assert_same_events(
    kernel: Solution, eager: Solution, accuracy: float, scale: float = 1.0
) -> None:
    """The same endings, and the same events of the same rows at the same times and states."""
    assert kernel.status.tolist() == eager.status.tolist()
    assert len(kernel.events) == len(eager.events)
    for found, expected in zip(kernel.events, eager.events, strict=True):
        assert found.row.tolist() == expected.row.tolist()
        torch.testing.assert_close(found.t, expected.t, rtol=accuracy, atol=accuracy)
        torch.testing.assert_close(found.y, expected.y, rtol=accuracy, atol=accuracy * scale)
    torch.testing.assert_close(kernel.t, eager.t, rtol=accuracy, atol=accuracy, equal_nan=True)
    torch.testing.assert_close(
        kernel.y, eager.y, rtol=accuracy, atol=accuracy * scale, equal_nan=True
    )


def swing(t: Tensor, y: Tensor) -> Tensor:
    """Solved by (sin, cos) from (0, 1)."""
    return torch.stack((y[..., 1], -y[..., 0]), -1)


def height(t: Tensor, y: Tensor) -> Tensor:
    return y[..., 0]


def fall(t: Tensor, y: Tensor, g: Tensor) -> Tensor:
    """A ball: height and speed."""
    return torch.stack((y[..., 1], -g + 0.0 * y[..., 1]), -1)


def ground(t: Tensor, y: Tensor, g: Tensor) -> Tensor:
    return y[..., 0]


def bounce(t: Tensor, y: Tensor, g: Tensor) -> Tensor:
    return torch.stack((y[..., 0], -0.9 * y[..., 1]), -1)


@pytest.mark.parametrize("method", [*FAMILIES, *LATE, "rodas3"])
def test_a_ball_bounces_twenty_times(method: str) -> None:
    settings: dict[str, Any] = {"method": method, "args": (real(9.81)[0],)}
    settings |= {"rtol": 1e-5, "atol": 1e-8}
    ball = Event(ground, terminal=20, direction=-1, jump=bounce)
    found = sg.solve(fall, real(1.0, 0.0), 0.0, 20.0, events=ball, backend="kernel", **settings)
    assert int(found.status) == Status.EVENT
    # every flight takes 0.9 of the time of the one before
    first = (2 / 9.81) ** 0.5
    exact = first + 2 * first * (torch.cumsum(0.9 ** torch.arange(20, dtype=D), 0) - 1)
    torch.testing.assert_close(found.events[0].t, exact, rtol=1e-5, atol=0)
    assert float(found.y[-1, 1]) < 0  # where a row ends, it does not jump
    ball = Event(ground, terminal=4, jump=bounce)  # a jump crosses nothing itself
    kernel, eager = both(fall, real(1.0, 0.0), 0.0, 20.0, events=ball, **settings)
    assert_same_events(kernel, eager, 1e-5)
    torch.testing.assert_close(kernel.events[0].t, exact[:4], rtol=1e-5, atol=0)


@every_family
def test_rows_with_parameters_of_their_own(method: str) -> None:
    rows = 33
    g = torch.linspace(1.0, 20.0, rows, dtype=D)
    y0 = torch.stack((torch.linspace(0.5, 2.0, rows, dtype=D), torch.zeros(rows, dtype=D)), -1)
    settings: dict[str, Any] = {"method": method, "args": (g,), "batched": True}
    settings["events"] = [
        Event(ground, direction=-1, jump=bounce),
        Event(lambda t, y, g: y[..., 1], direction=-1),  # the tops
        Event(lambda t, y, g: t - 2.5 + 0.01 * g, terminal=True),
    ]
    kernel, eager = both(fall, y0, 0.0, 3.0, rtol=1e-6, atol=1e-9, **settings)
    assert_same_events(kernel, eager, 1e-5, scale=10)
    assert bool((kernel.status == Status.EVENT).all())
    assert len(set(kernel.events[0].row.tolist())) == rows


@every_family
def test_what_events_and_jumps_alone_read(method: str) -> None:
    """The Jacobian of f has the numbers of f where events and jumps have more, before and after."""
    level, back = torch.linspace(0.2, 0.5, 5, dtype=D), real(0.7)
    mixing, pull = real(1.5, 2.0, 0.5, 3.0).reshape(2, 2), real(0.25)
    event = Event(
        lambda t, y, level, back: y[..., 0] - level,
        direction=-1,
        jump=lambda t, y, level, back: torch.stack((y[..., 0] + back, y[..., 1]), -1),
    )
    watch = Event(lambda t, y, level, back: y[..., 1] - pull * level)
    settings: dict[str, Any] = {"method": method, "args": (level, back), "batched": True}
    settings |= {"events": [event, watch], "rtol": 1e-6, "atol": 1e-9}
    kernel, eager = both(
        lambda t, y, level, back: -y @ mixing, torch.ones(5, 2, dtype=D), 0.0, 3.0, **settings
    )
    assert_same_events(kernel, eager, 1e-5)
    assert min(len(found.t) for found in kernel.events) >= 5


@every_family
def test_integrate_and_fire(method: str) -> None:
    """Neurons of a population, each with a current of its own; they fire and are reset."""
    rows = 50
    current = torch.linspace(0.9, 3.0, rows, dtype=D)  # the first never fires
    neuron = Event(
        lambda t, y, i: y[..., 0] - 1.0,
        direction=1,
        jump=lambda t, y, i: torch.stack((0.0 * y[..., 0], y[..., 1] + 1.0), -1),
    )

    def leak(t: Tensor, y: Tensor, i: Tensor) -> Tensor:
        return torch.stack((i - y[..., 0], -0.1 * y[..., 1]), -1)

    y0 = torch.zeros(rows, 2, dtype=D)
    settings: dict[str, Any] = {"method": method, "args": (current,), "batched": True}
    found = sg.solve(leak, y0, 0.0, 20.0, events=neuron, backend="kernel", **settings, **TIGHT)
    period = torch.log(current / (current - 1))
    count = torch.bincount(found.events[0].row, minlength=rows)
    expected = torch.where(current > 1, torch.floor(20.0 / period), 0.0).nan_to_num(0.0)
    assert count.tolist() == expected.long().tolist()
    own = found.events[0]
    nth = torch.cat([torch.arange(1, int(n) + 1) for n in count])
    torch.testing.assert_close(own.t, nth * period[own.row], rtol=1e-8, atol=0)
    some = slice(10, 15)
    settings |= {"args": (current[some],), "rtol": 1e-6, "atol": 1e-8}
    kernel, eager = both(leak, y0[some], 0.0, 6.0, events=neuron, **settings)
    assert_same_events(kernel, eager, 1e-5)
    assert len(kernel.events[0].t) > 10


@pytest.mark.parametrize("method", [*FAMILIES, *LATE])
@pytest.mark.parametrize("t1", [10.0, -10.0])
def test_directions_counts_and_events_at_one_time(method: str, t1: float) -> None:
    events = [
        height,
        Event(height, direction=1),
        Event(lambda t, y: -3 * y[..., 0], direction=1),  # where the first goes down
        Event(lambda t, y: y[..., 1] - 0.5, direction=-1),
        Event(lambda t, y: t.abs() - 9.0 + 0.0 * y[..., 0], terminal=True),
        Event(lambda t, y: y[..., 1], terminal=3),
    ]
    settings: dict[str, Any] = {"method": method, "rtol": 1e-6, "atol": 1e-8}
    kernel, eager = both(swing, real(0.0, 1.0), 0.0, t1, events=events, **settings)
    assert_same_events(kernel, eager, 1e-5)
    assert kernel.success
    assert len(kernel.events[0].t) == 3
    assert len(kernel.events[5].t) == 3


@pytest.mark.parametrize("method", [*FAMILIES, "sdirk2"])
@pytest.mark.parametrize("top", [0.9, 0.999, 0.9999])
def test_a_level_that_is_crossed_twice_within_a_step(method: str, top: float) -> None:
    settings: dict[str, Any] = {"method": method, "rtol": 1e-4, "atol": 1e-7, "max_attempts": 999}
    level = lambda t, y: y[..., 0] - top  # noqa: E731
    kernel, eager = both(swing, real(0.0, 1.0), 0.0, 5.0, events=level, **settings)
    assert_same_events(kernel, eager, 1e-3 / (1 - top * top) ** 0.5)
    assert len(kernel.events[0].t) == 2


@every_family
def test_a_dip_between_two_looks_is_seen(method: str) -> None:
    dip = lambda t, y: (y[..., 0] - 7.3) ** 2 - 1e-4  # noqa: E731 - in steps that grow tenfold
    clock = lambda t, y: torch.ones_like(y)  # noqa: E731
    kernel, eager = both(clock, real(0.0), 0.0, 90.0, events=dip, method=method)
    assert_same_events(kernel, eager, 1e-6)
    torch.testing.assert_close(kernel.events[0].t, real(7.29, 7.31), rtol=1e-6, atol=0)


def test_a_thousand_rows_stop_each_at_its_own_time() -> None:
    rows = 1000
    top = torch.linspace(0.3, 2.5, rows, dtype=D)
    k = torch.linspace(0.5, 2.0, rows, dtype=D)
    grow = lambda t, y, k: torch.exp(-y) / k.unsqueeze(-1)  # noqa: E731 - y = log(1 + t/k)
    event = Event(lambda t, y, k: y[:, 0] - top, terminal=True)  # of a captured tensor by row
    settings: dict[str, Any] = {"args": (k,), "batched": True, "backend": "kernel"}
    done = sg.solve(grow, torch.zeros(rows, 1, dtype=D), 0.0, 100.0, events=event, **settings)
    assert bool((done.status == Status.EVENT).all())
    torch.testing.assert_close(done.t[:, 0], k * torch.expm1(top), rtol=1e-4, atol=0)
    torch.testing.assert_close(done.y[:, 0, 0], top, rtol=1e-13, atol=0)
    assert done.events[0].row.tolist() == list(range(rows))


# --- jumps at stops ------------------------------------------------------------------------------


def dose(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    return y + torch.stack((k + t, torch.zeros_like(k)), -1)


def decay(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    a, b = y.unbind(-1)
    return torch.stack((-k * a, k * a - 0.3 * b), -1)


@every_family
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_state_jumps_at_stops(method: str, sign: float) -> None:
    rows = 5
    k = torch.linspace(0.5, 2.0, rows, dtype=D)
    stops = sign * torch.rand(rows, 3, dtype=D, generator=torch.Generator().manual_seed(2)) * 3
    settings: dict[str, Any] = {"method": method, "args": (sign * k,), "batched": True}
    settings |= {"tstops": stops, "jump_at": dose, "rtol": 1e-6, "atol": 1e-8}
    settings |= {"save_at": sign * torch.linspace(0.0, 3.0, 13, dtype=D), "dense": True}
    kernel, eager = both(decay, torch.ones(rows, 2, dtype=D), 0.0, sign * 3.0, **settings)
    assert_same_events(kernel, eager, 1e-5)
    times = torch.cat((stops, sign * torch.linspace(0.01, 2.9, 41, dtype=D).expand(rows, -1)), 1)
    torch.testing.assert_close(kernel.at(times), eager.at(times), rtol=1e-4, atol=1e-4)


@every_family
def test_both_sides_of_a_jump_are_kept(method: str) -> None:
    k = real(1.0)[0]
    settings: dict[str, Any] = {"method": method, "args": (k,), "tstops": [0.5, 1.0]}
    settings |= {"jump_at": dose, "save_at": EveryStep(), "dense": True}
    kernel, eager = both(decay, real(1.0, 0.0), 0.0, 1.5, **settings)
    for found in (kernel, eager):
        for stop in (0.5, 1.0):
            before, after = found.y[found.t == stop]
            torch.testing.assert_close(after, before + real(1.0 + stop, 0.0), rtol=0, atol=0)
            torch.testing.assert_close(found.at(stop), before, rtol=0, atol=0)
    torch.testing.assert_close(kernel.y[-1], eager.y[-1], rtol=1e-5, atol=1e-8)


@every_family
def test_jumps_are_solves_one_after_the_other(method: str) -> None:
    k = real(1.5)[0]
    settings: dict[str, Any] = {"method": method, "args": (k,), "backend": "kernel"}
    at_once = sg.solve(decay, real(1.0, 0.0), 0.0, 2.0, tstops=[0.75], jump_at=dose, **settings)
    first = sg.solve(decay, real(1.0, 0.0), 0.0, 0.75, **settings)
    start = dose(real(0.75)[0], first.y[-1], k)
    second = sg.solve(decay, start, 0.75, 2.0, **settings)
    torch.testing.assert_close(at_once.y[-1], second.y[-1], rtol=1e-9, atol=0)
    assert int(at_once.stats.accepted) == int(first.stats.accepted + second.stats.accepted)


@pytest.mark.parametrize("method", ["tsit5", "rodas5p"])
def test_after_a_jump_at_a_stop_the_field_is_that_beyond_it(method: str) -> None:
    pushed = lambda t, y: torch.where(t > 0.5, 100.0 - y, -y)  # noqa: E731
    settings: dict[str, Any] = {"tstops": [0.5], "jump_at": lambda t, y: y + 1, "method": method}
    kernel, eager = both(pushed, real(1.0), 0.0, 1.0, **settings)
    assert_same_events(kernel, eager, 1e-6)
    assert int(kernel.stats.accepted) == int(eager.stats.accepted)
    assert int(kernel.stats.rejected) == int(eager.stats.rejected) == 0


def test_events_stops_and_jumps_together() -> None:
    rows = 6
    k = torch.linspace(0.5, 2.0, rows, dtype=D)
    events = [
        Event(lambda t, y, k: y[..., 0] - 1.5, direction=1),
        Event(lambda t, y, k: y[..., 1] - 0.8, direction=0, jump=lambda t, y, k: 0.5 * y),
        Event(lambda t, y, k: y[..., 0] - 0.1, direction=-1, terminal=2),
    ]
    settings: dict[str, Any] = {"args": (k,), "batched": True, "events": events, "jump_at": dose}
    settings |= {"tstops": torch.linspace(0.3, 2.7, 5, dtype=D), "rtol": 1e-6, "atol": 1e-8}
    for method in (*FAMILIES, *LATE):
        kernel, eager = both(
            decay, torch.ones(rows, 2, dtype=D), 0.0, 3.0, method=method, **settings
        )
        assert_same_events(kernel, eager, 1e-5)


# --- endings -------------------------------------------------------------------------------------


def test_chattering_ends() -> None:
    ball = Event(
        ground, direction=-1, jump=lambda t, y, g: torch.stack((y[..., 0], -0.5 * y[..., 1]), -1)
    )
    settings: dict[str, Any] = {"args": (real(9.81)[0],), "events": ball, "backend": "kernel"}
    found = sg.solve(fall, real(1.0, 0.0), 0.0, 4.0, **settings)
    assert int(found.status) == Status.CHATTERING
    end = 3 * (2 / 9.81) ** 0.5
    torch.testing.assert_close(found.t, real(end), rtol=1e-5, atol=0)
    assert "chattering, " in found.message
    assert f"{len(found.events[0].t)} in all" in found.message


def test_a_jump_back_onto_its_own_event_ends() -> None:
    pit = Event(lambda t, y, g: y[..., 0], jump=lambda t, y, g: 0.0 * y)
    kernel, eager = both(
        fall, real(1.0, 0.0), 0.0, 4.0, events=pit, args=(real(9.81)[0],), max_attempts=500
    )
    assert_same_events(kernel, eager, 1e-5)


def test_an_event_that_is_nan_on_the_way_is_a_failure() -> None:
    hole = lambda t, y: torch.log(0.5 - y[..., 0]) - 9.0  # noqa: E731
    kernel, eager = both(swing, real(0.0, 1.0), 0.0, 3.0, events=hole)
    assert kernel.status.tolist() == eager.status.tolist() == Status.NON_FINITE
    kernel, eager = both(
        swing, real(0.0, 1.0), 0.0, 3.0, tstops=[1.0], jump_at=lambda t, y: y / (t - 1.0)
    )
    assert kernel.status.tolist() == eager.status.tolist() == Status.NON_FINITE


def test_an_event_that_stays_zero_is_named() -> None:
    kernel, eager = both(swing, real(0.0, 1.0), 0.0, 3.0, events=[height, lambda t, y: 0 * y[0]])
    assert "event 1 was zero wherever it was looked at" in kernel.message
    assert kernel.message == eager.message


def test_more_happens_than_there_was_room_for() -> None:
    events = [Event(lambda t, y, k=k: y[..., 0] - k / 50) for k in range(50)]
    y0 = torch.tensor([[0.0, 1.0], [0.5, 0.5]], dtype=D)
    settings: dict[str, Any] = {"batched": True, "events": events, "method": "tsit5"}
    for every in ({}, {"save_at": EveryStep()}):
        kernel = sg.solve(swing, y0, 0.0, 60.0, backend="kernel", **settings, **every)
        assert sum(len(x.t) for x in kernel.events) > 4 * 2 * 50
        for x in kernel.events:
            assert torch.equal(x.row, x.row.sort().values)
            assert bool(((x.t.diff() > 0) | (x.row.diff() > 0)).all())
    assert kernel.events[0].row.tolist() == [0] * 20 + [1] * 19


def test_how_many_threads_share_the_rows_changes_nothing() -> None:
    g = torch.linspace(1.0, 20.0, 600, dtype=D)
    y0 = real(1.0, 0.0).repeat(600, 1)
    events = [Event(ground, direction=-1, jump=bounce), Event(lambda t, y, g: y[..., 1])]
    settings: dict[str, Any] = {"events": events, "args": (g,), "batched": True, "method": "tsit5"}
    found = []
    try:
        for count in (1, 4):
            torch.set_num_threads(count)
            found.append(sg.solve(fall, y0, 0.0, 5.0, backend="kernel", **settings))
    finally:
        torch.set_num_threads(1)
    one, several = found
    assert torch.equal(one.y, several.y)
    for a, b in zip(one.events, several.events, strict=True):
        assert len(a.t) > 600
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_states_in_single_precision() -> None:
    y0 = torch.tensor([0.0, 1.0])
    kernel, eager = both(swing, y0, 0.0, 7.0, rtol=1e-4, atol=1e-6, events=height, method="tsit5")
    assert kernel.events[0].y.dtype == torch.float32
    assert kernel.events[0].t.dtype == D
    assert_same_events(kernel, eager, 1e-3)


# --- what is traced ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["tsit5", "rodas4"])
def test_numbers_of_events_change_without_another_kernel(method: str, monkeypatch) -> None:
    def made(level: float, factor: Tensor) -> Callable[..., Any]:
        return lambda t, y: (y[..., 0] - level) * factor

    built: list[int] = []
    from stiffguide.kernels.running import build

    make = build.make
    monkeypatch.setattr(build, "make", lambda *a: built.append(1) or make(*a))
    counts = []
    for level, factor in ((0.5, 1.0), (0.25, -1.0), (0.75, 2.0), (0.1, 3.0)):
        event = Event(made(level, real(factor)[0]), direction=1)
        counts.append(len(built))
        found = sg.solve(
            swing, real(0.0, 1.0), 0.0, 7.0, events=event, backend="kernel", method=method, **TIGHT
        )
        first = torch.asin(real(level)) if factor > 0 else torch.pi - torch.asin(real(level))
        torch.testing.assert_close(found.events[0].t[:1], first, rtol=1e-7, atol=0)
    assert counts[2:] == [counts[2]] * 2


def test_branches_in_events_and_jumps() -> None:
    def hit(t: Tensor, y: Tensor) -> Tensor:
        return y[0] - 0.5 if t < 3 else y[0] + 0.5

    def jump(t: Tensor, y: Tensor) -> Tensor:
        if y[1] > 0:
            y = y.clone()
            y[1] *= 1.1
            return y
        return torch.stack((y[0], 0.5 * y[1]))

    for method in FAMILIES:
        event = Event(hit, jump=jump)
        kernel, eager = both(swing, real(0.0, 1.0), 0.0, 9.0, events=event, method=method)
        assert_same_events(kernel, eager, 1e-4)
        assert len(kernel.events[0].t) > 2


@pytest.mark.usefixtures("auto")
def test_what_cannot_be_traced_is_eager() -> None:
    import math

    odd = lambda t, y: torch.special.bessel_j0(y[0]) - 0.9  # noqa: E731
    sg.compile(swing, like=real(0.0, 1.0))
    found = sg.solve(swing, real(0.0, 1.0), 0.0, math.pi, events=odd)
    assert found.stats.backend == "eager"
    assert "bessel" in found.stats.why
    assert len(found.events[0].t) == 2
    with pytest.raises(sg.UnsupportedError, match="bessel"):
        sg.solve(swing, real(0.0, 1.0), 0.0, 1.0, events=odd, backend="kernel")


def test_who_looks_on_gets_no_events_of_a_kernel() -> None:
    settings: dict[str, Any] = {"events": height, "backend": "kernel"}
    for more in ({"monitor": lambda t, y: False}, {"progress": True}):
        with pytest.raises(sg.UnsupportedError, match="while `monitor` or `progress` look on"):
            sg.solve(swing, real(0.0, 1.0), 0.0, 1.0, **settings, **more)


@pytest.mark.parametrize("backend", ["kernel", "auto"])
def test_the_same_field_without_events_has_none(backend: str) -> None:
    for events in (None, height, None, [height, height], None):
        found = sg.solve(swing, real(0.0, 1.0), 0.0, 4.0, events=events, backend=backend)
        count = 0 if events is None else len(events) if isinstance(events, list) else 1
        assert [len(x.t) for x in found.events] == [2] * count


QUICK = {
    "deadline": None,
    "derandomize": True,
    "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


def agree(system: list[Any], happenings: list[Any], method: str) -> None:
    """Random fields with random events, jumps and stops, rows apart."""
    f = field_of(system)
    y0 = torch.linspace(-1, 1.2, SIZE, dtype=D) * torch.tensor([[1.0], [0.6], [-0.8]], dtype=D)
    halves = lambda t, y: 0.5 * y + 0.1 * torch.sin(value(happenings[2], t, y)).unsqueeze(-1)  # noqa: E731
    events = [
        lambda t, y: torch.sin(3 * value(happenings[0], t, y)) - 0.1 * y[..., 0] + 0.05,
        Event(lambda t, y: y[..., 1] - 0.4 * torch.tanh(value(happenings[1], t, y)), jump=halves),
        Event(lambda t, y: y[..., 2] + 0.3 * t - 0.21, direction=1, terminal=2),
    ]
    settings: dict[str, Any] = {"method": method, "rtol": 1e-6, "atol": 1e-8, "batched": True}
    settings |= {"tstops": [0.31, 0.62], "jump_at": lambda t, y: y + 0.3, "max_attempts": 1500}
    kernel, eager = both(f, y0, 0.0, 1.0, events=events, **settings)
    assert_same_events(kernel, eager, 1e-4)


happening = st.lists(trees, min_size=3, max_size=3)


@pytest.mark.parametrize("method", ["rodas4", "tsit5", "kvaerno3"])
@examples(max_examples=2, **QUICK)
@given(system=systems, happenings=happening)
def test_random_fields(method: str, system: list[Any], happenings: list[Any]) -> None:
    agree(system, happenings, method)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "count"), [("rodas4", 10), ("tsit5", 13), ("kvaerno3", 2)])
def test_two_hundred_random_fields(method: str, count: int) -> None:
    @examples(max_examples=count, **QUICK)
    @given(system=systems, happenings=happening)
    def check(system: list[Any], happenings: list[Any]) -> None:
        agree(system, happenings, method)

    check()
