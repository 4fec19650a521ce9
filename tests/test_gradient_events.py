"""Gradients of when events happen, of the states there, and through jumps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from families import close, every_smooth, real
from torch import Tensor, nn

import stiffguide as sg
from stiffguide import Event, InputError, UnsupportedError

LOW = ("sdirk2", "kvaerno3", "secant_heun", "rkc2")
FAMILIES = pytest.mark.parametrize("name", ["tsit5", "rodas5p", "kvaerno5", "kvaerno3"])


def settings(name: str) -> dict[str, Any]:
    rtol = 1e-5 if name in LOW else 1e-8
    return {"method": name, "rtol": rtol, "atol": rtol / 10}


def loose(name: str) -> float:
    return 2e-3 if name in LOW else 1e-6


def agree(found: Tensor, exact: Tensor, leaves: list[Tensor], rtol: float) -> None:
    """Equal values, and equal gradients of a sum with uneven weights."""
    assert found.shape == exact.shape
    weights = torch.linspace(1, 2, found.numel(), dtype=torch.float64).reshape(found.shape)
    close(found.detach().double(), exact.detach(), rtol=rtol, atol=rtol)
    slopes = [
        torch.autograd.grad((x * weights).sum(), leaves, retain_graph=True, allow_unused=True)
        for x in (found, exact)
    ]
    for ours, theirs in zip(*slopes, strict=True):
        none = torch.zeros(())
        ours, theirs = (none if x is None else x for x in (ours, theirs))
        close(*torch.broadcast_tensors(ours, theirs.to(ours.dtype)), rtol=rtol, atol=rtol)


def leaf(*values: float) -> list[Tensor]:
    return [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in values]


# a ball ------------------------------------------------------------------------------------------


def fall(t: Tensor, y: Tensor, g: Tensor, r: Tensor) -> Tensor:
    v = y[..., 1]
    return torch.stack((v, -g * torch.ones_like(v)), -1)


def height(t: Tensor, y: Tensor, g: Tensor, r: Tensor) -> Tensor:
    return y[..., 0]


def bounce(t: Tensor, y: Tensor, g: Tensor, r: Tensor) -> Tensor:
    return torch.stack((torch.zeros_like(y[..., 0]), -r * y[..., 1]), -1)


def bounces(h: Tensor, g: Tensor, r: Tensor, n: int) -> Tensor:
    """When a ball that is dropped from h touches the ground."""
    first = torch.sqrt(2 * h / g)
    return torch.stack([first + 2 * first * sum(r**j for j in range(1, i + 1)) for i in range(n)])


BALL = Event(height, direction=-1, jump=bounce)


@FAMILIES
def test_a_bouncing_ball(name: str) -> None:
    h, g, r = leaf(1.0, 9.81, 0.8)
    y0 = torch.stack((h, 0 * h))
    found = sg.solve(fall, y0, 0.0, 2.0, args=(g, r), events=BALL, **settings(name))
    times = bounces(h, g, r, 3)
    (table,) = found.events
    agree(table.t, times, [h, g, r], loose(name))
    speeds = -torch.sqrt(2 * g * h) * torch.stack([r**i for i in range(3)])
    agree(table.y, torch.stack((0 * speeds, speeds), -1), [h, g, r], loose(name))
    since = 2.0 - times[2]
    up = -r * speeds[2]
    end = torch.stack((up * since - g * since**2 / 2, up - g * since))
    agree(found.y[-1], end, [h, g, r], loose(name))
    assert found.t.requires_grad is False


@FAMILIES
def test_the_third_bounce_ends_it(name: str) -> None:
    h, g, r = leaf(1.0, 9.81, 0.8)
    event = Event(height, direction=-1, jump=bounce, terminal=3)
    y0 = torch.stack((h, 0 * h))
    for save_at in (None, sg.EveryStep()):
        found = sg.solve(
            fall, y0, 0.0, 9.0, args=(g, r), events=event, save_at=save_at, **settings(name)
        )
        assert found.success
        agree(found.t[-1], bounces(h, g, r, 3)[2], [h, g, r], loose(name))
        speed = -torch.sqrt(2 * g * h) * r**2
        agree(found.y[-1], torch.stack((0 * speed, speed)), [h, g, r], loose(name))
    twice = torch.nonzero(found.t.detach().diff() == 0).flatten()
    for i in (0, 1):
        agree(found.t[twice + i], bounces(h, g, r, 2), [h, g, r], loose(name))


@FAMILIES
def test_balls_in_a_batch_with_saved_times(name: str) -> None:
    h = real(1.0, 0.5, 2.0).requires_grad_()
    g, r = real(9.81, 5.0, 20.0).requires_grad_(), leaf(0.7)[0]
    y0 = torch.stack((h, torch.zeros(3).double()), -1)
    times = real(0.0, 0.6, 1.0)
    found = sg.solve(
        fall,
        y0,
        0.0,
        1.0,
        args=(g, r),
        events=BALL,
        save_at=times,
        batched=True,
        dense=True,
        **settings(name),
    )
    exact = []
    for i in range(3):
        hits = bounces(h[i], g[i], r, 4)
        states = []
        for t in times:
            n = int((hits < t).sum())
            start = hits[n - 1] if n else 0 * h[i]
            v0 = torch.sqrt(2 * g[i] * h[i]) * r**n if n else 0 * h[i]
            y = v0 * (t - start) - g[i] * (t - start) ** 2 / 2 + (0 if n else h[i])
            states.append(torch.stack((y, v0 - g[i] * (t - start))))
        exact.append(torch.stack(states))
    agree(found.y, torch.stack(exact), [h, g, r], 100 * loose(name))
    agree(found.at(times), torch.stack(exact), [h, g, r], 100 * loose(name))


# an end ------------------------------------------------------------------------------------------


@every_smooth
@pytest.mark.parametrize("sign", [1, -1])
def test_a_terminal_time_by_parameters_of_both(name: str, sign: int) -> None:
    k, c, y0, t0 = leaf(2.0, 0.3, 1.5, 0.2)
    event = Event(lambda t, y: y[0] - c, terminal=True)
    found = sg.solve(
        lambda t, y: -sign * k * y,
        y0.reshape(1),
        t0,
        t0.item() + 5 * sign,
        events=event,
        **settings(name),
    )
    exact = t0 + sign * torch.log(y0 / c) / k
    leaves = [k, c, y0, t0]
    agree(found.t[-1], exact, leaves, loose(name))
    agree(found.y[-1], c.reshape(1), leaves, loose(name))
    agree(found.events[0].t[0], exact, leaves, loose(name))


@FAMILIES
def test_an_event_that_depends_on_time(name: str) -> None:
    """y = 1 - t meets a t^2."""
    (a,) = leaf(2.0)
    event = Event(lambda t, y: y[0] - a * t**2, terminal=True)
    found = sg.solve(lambda t, y: -1 + 0 * y, real(1.0), 0.0, 3.0, events=event, **settings(name))
    exact = (-1 + torch.sqrt(1 + 4 * a)) / (2 * a)
    agree(found.t[-1], exact, [a], loose(name))
    agree(found.y[-1], (1 - exact).reshape(1), [a], loose(name))


@FAMILIES
def test_an_event_without_effect_moves_nothing_else(name: str) -> None:
    k, c = leaf(2.0, 0.3)
    plain = sg.solve(lambda t, y: -k * y, real(1.0), 0.0, 1.0, **settings(name))
    events = [lambda t, y: y[0] - c, lambda t, y: y[0] - 2 * c]
    found = sg.solve(lambda t, y: -k * y, real(1.0), 0.0, 1.0, events=events, **settings(name))
    agree(found.y, plain.y, [k], loose(name))
    for i, table in enumerate(found.events):
        agree(table.t, -torch.log((1 + i) * c).reshape(1) / k, [k, c], loose(name))
        agree(table.y, ((1 + i) * c).reshape(1, 1), [k, c], loose(name))


@FAMILIES
def test_a_kick_and_an_end_in_rows_of_their_own(name: str) -> None:
    """Decay to the level c, back to the level d, so long until time e."""
    k, d = real(2.0, 3.0).requires_grad_(), real(1.0, 0.8).requires_grad_()
    c, e = leaf(0.3, 0.95)
    kick = Event(lambda t, y: y[:, 0] - c, jump=lambda t, y: d[: len(y)].unsqueeze(1) + 0 * y)
    stop = Event(lambda t, y: t - e, terminal=True)
    found = sg.solve(
        lambda t, y: -k.unsqueeze(1) * y,
        torch.ones(2, 1).double(),
        0.0,
        2.0,
        events=[kick, stop],
        batched=True,
        **settings(name),
    )
    first, period = -torch.log(c) / k, torch.log(d / c) / k
    kicks = [
        torch.stack([first[i] + j * period[i] for j in range(n)]) for i, n in enumerate((1, 2))
    ]
    exact = torch.cat(kicks)
    assert found.events[0].row.tolist() == [0, 1, 1]
    agree(found.events[0].t, exact, [k, d, c], loose(name))
    last = torch.stack([x[-1] for x in kicks])
    agree(found.y[:, 0, 0], d * torch.exp(-k * (e - last)), [k, d, c, e], loose(name))
    agree(found.t[:, 0], e.expand(2), [e], loose(name))


@FAMILIES
def test_an_event_at_the_end_is_not_moved_by_it(name: str) -> None:
    e, t1 = leaf(0.6, 0.6)
    kinds = {"events": lambda t, y: t - e, "save_at": sg.EveryStep()}
    found = sg.solve(lambda t, y: -y, real(1.0), 0.0, t1, **kinds, **settings(name))
    agree(found.events[0].t, e.reshape(1), [e, t1], loose(name))
    agree(found.events[0].y, torch.exp(-e).reshape(1, 1), [e, t1], loose(name))
    agree(found.y[-1], torch.exp(-t1).reshape(1), [e, t1], loose(name))
    agree(found.t[-1], t1, [e, t1], loose(name))


# firing ------------------------------------------------------------------------------------------


@FAMILIES
def test_a_neuron_that_fires(name: str) -> None:
    class Neuron(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.current = nn.Parameter(torch.tensor(2.0).double())
            self.threshold = nn.Parameter(torch.tensor(1.0).double())

        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return self.current - y

    cell = Neuron()
    leaves = list(cell.parameters())
    event = Event(
        lambda t, y: y[0] - cell.threshold, jump=lambda t, y: 0.1 * cell.threshold + 0 * y
    )
    found = sg.solve(cell, real(0.0), 0.0, 3.4, events=event, **settings(name))
    i, theta = leaves
    first = torch.log(i / (i - theta))
    period = torch.log((i - 0.1 * theta) / (i - theta))
    n = len(found.events[0].t)
    assert n > 4
    agree(
        found.events[0].t, torch.stack([first + j * period for j in range(n)]), leaves, loose(name)
    )


@FAMILIES
def test_a_parameter_of_the_jump_alone(name: str) -> None:
    (d,) = leaf(0.5)
    event = Event(lambda t, y: y[0] - 0.3, jump=lambda t, y: y + d)
    found = sg.solve(lambda t, y: -y, real(1.0), 0.0, 3.0, events=event, **settings(name))
    hits = -torch.log(real(0.3)) + torch.stack((0 * d, torch.log((0.3 + d) / 0.3)))
    agree(found.events[0].t, hits, [d], loose(name))
    agree(found.y[-1], (0.3 + d) * torch.exp(hits[1:] - 3), [d], loose(name))


# stops -------------------------------------------------------------------------------------------


@FAMILIES
@pytest.mark.parametrize("sign", [1, -1])
def test_doses_at_stops(name: str, sign: int) -> None:
    k, dose, y0, t0, t1 = leaf(1.3, 0.7, 1.0, 0.1, 0.1 + 2.0 * sign)
    stops = [0.1 + 0.5 * sign, 0.1 + 1.5 * sign]
    found = sg.solve(
        lambda t, y, k: -sign * k * y,
        y0.reshape(1),
        t0,
        t1,
        args=(k,),
        tstops=stops,
        jump_at=lambda t, y, k: y + dose * t,
        **settings(name),
    )

    def decay(x: Tensor, a: Any, b: Any) -> Tensor:
        return x * torch.exp(-sign * k * (b - a))

    y = decay(y0, t0, stops[0]) + dose * stops[0]
    y = decay(decay(y, *stops) + dose * stops[1], stops[1], t1)
    agree(found.y[-1], y.reshape(1), [k, dose, y0, t0, t1], loose(name))


def squared_and_raised(name: str, k: Tensor, e: Tensor) -> sg.Solution[Tensor]:
    """A decay whose state is squared by an event at t = e, and raised by one at the stop 0.5."""
    return sg.solve(
        lambda t, y: -k * y,
        real(1.0),
        0.0,
        0.6,
        events=Event(lambda t, y: t - e, jump=lambda t, y: y * y),
        tstops=[0.5],
        jump_at=lambda t, y: y + 1,
        **settings(name),
    )


@FAMILIES
def test_an_event_and_a_stop_at_one_time(name: str) -> None:
    """At t = 0.5 there is always the stop, and now the event, which comes first."""
    k, e = leaf(2.0, 0.5)
    found = squared_and_raised(name, k, e)
    agree(found.events[0].t, e.reshape(1), [k, e], loose(name))
    y = torch.exp(-2 * k * e) * torch.exp(-k * (0.5 - e)) + 1
    agree(found.y[-1], (y * torch.exp(-k * 0.1)).reshape(1), [k, e], loose(name))


@FAMILIES
def test_two_kicks_at_one_time_move_with_the_first(name: str) -> None:
    k, a, b = leaf(2.0, 0.5, 0.5)
    events = [
        Event(lambda t, y: t - a, jump=lambda t, y: y * y),
        Event(lambda t, y: t - b, jump=lambda t, y: y + 1),
    ]
    found = sg.solve(lambda t, y: -k * y, real(1.0), 0.0, 0.6, events=events, **settings(name))
    end = (torch.exp(-2 * k * a) + 1) * torch.exp(-k * (0.6 - a))
    agree(found.y[-1], end.reshape(1), [k, a, b], loose(name))
    agree(found.events[1].t, b.reshape(1), [a, b], loose(name))


@FAMILIES
@pytest.mark.parametrize("gap", [1e-12, 1e-3])
def test_an_event_just_before_a_stop(name: str, gap: float) -> None:
    k, e = leaf(2.0, 0.5 - gap)
    found = squared_and_raised(name, k, e)
    y = torch.exp(-2 * k * e) * torch.exp(-k * (0.5 - e)) + 1
    agree(found.y[-1], (y * torch.exp(-k * 0.1)).reshape(1), [k, e], loose(name))


@FAMILIES
def test_an_event_just_before_the_end(name: str) -> None:
    (e,) = leaf(0.5)
    events = [lambda t, y: t - e + 1e-12, Event(lambda t, y: t - e, terminal=True)]
    found = sg.solve(lambda t, y: -y, real(1.0), 0.0, 2.0, events=events, **settings(name))
    agree(found.t[-1], e, [e], loose(name))
    for table in found.events:
        agree(table.t[0], e, [e], loose(name))


# the start ---------------------------------------------------------------------------------------


@FAMILIES
def test_a_kick_at_the_start(name: str) -> None:
    """The event is at t0, wherever that is."""
    k, t0 = leaf(2.0, 0.25)
    event = Event(lambda t, y: y[0] - 1, jump=lambda t, y: y + t, direction=-1)
    found = sg.solve(
        lambda t, y: -k * y * t,
        real(1.0),
        t0,
        0.8,
        events=event,
        save_at=sg.EveryStep(),
        **settings(name),
    )
    n = len(found.events[0].t)
    assert n == 2
    agree(found.events[0].t[:1], t0.reshape(1), [t0], loose(name))
    agree(found.y[1], (1 + t0).reshape(1), [k, t0], loose(name))
    hit = torch.sqrt(t0**2 + 2 * torch.log(1 + t0) / k)
    agree(found.events[0].t[1], hit, [k, t0], loose(name))
    end = (1 + hit) * torch.exp(-k * (0.64 - hit**2) / 2)
    agree(found.y[-1], end.reshape(1), [k, t0], loose(name))


# values ------------------------------------------------------------------------------------------


@every_smooth
@pytest.mark.parametrize("save_at", [None, [0.3, 1.0], sg.EveryStep()])
def test_values_do_not_depend_on_whether_someone_differentiates(name: str, save_at: Any) -> None:
    kinds: dict[str, Any] = {"events": BALL, "tstops": [0.7], "save_at": save_at, "checks": False}
    kinds["jump_at"] = lambda t, y, g, r: y + 0.1
    g, r = real(9.81)[0], real(0.8)[0]
    plain, recorded = (
        sg.solve(fall, real(1.0, 0.0), 0.0, 1.2, args=(g, x), method=name, rtol=1e-3, **kinds)
        for x in (r, r.clone().requires_grad_())
    )
    close(recorded.y.detach(), plain.y, rtol=1e-9, atol=1e-9)
    close(recorded.t, plain.t, rtol=1e-14)
    for ours, theirs in zip(recorded.events[0], plain.events[0], strict=True):
        close(ours.detach(), theirs, rtol=1e-9, atol=1e-9)
    assert torch.equal(recorded.counts, plain.counts)


def test_complex_states() -> None:
    """The modulus of z = e^(k t) meets 2."""
    k = torch.tensor(0.5 + 2j, dtype=torch.complex128, requires_grad=True)
    event = Event(lambda t, z: z.abs()[0] - 2, terminal=True)
    for name in ("tsit5", "rodas5p"):
        found = sg.solve(
            lambda t, z: k * z,
            torch.ones(1, dtype=torch.complex128),
            0.0,
            3.0,
            events=event,
            **settings(name),
        )
        exact = torch.log(torch.tensor(2.0).double()) / k.real
        agree(found.t[-1], exact, [k], 1e-6)


def test_float32() -> None:
    (c,) = leaf(0.3)
    event = Event(lambda t, y: y[0] - c, terminal=True)
    found = sg.solve(lambda t, y: -y, torch.ones(1), 0.0, 3.0, events=event, rtol=1e-4)
    agree(found.t[-1], -torch.log(c), [c], 1e-3)


# where there is none -----------------------------------------------------------------------------


def test_an_event_that_comes_to_zero_at_no_speed_has_no_time() -> None:
    (c,) = leaf(0.0)
    event = Event(lambda t, y: (y[0] / 3 - t) ** 3 - c, terminal=True)
    found = sg.solve(lambda t, y: 0 * y, real(1.0), 0.0, 3.0, events=event, method="tsit5")
    assert int(found.status) == sg.Status.EVENT
    assert "event 0 came to zero at no speed" in found.message
    assert torch.isnan(torch.autograd.grad(found.t[-1], c)[0])


def test_second_derivatives_are_refused() -> None:
    (c,) = leaf(0.3)
    event = Event(lambda t, y: y[0] - c, terminal=True)
    found = sg.solve(lambda t, y: -y, real(1.0), 0.0, 3.0, events=event, method="tsit5")
    with pytest.raises(UnsupportedError, match="second derivatives through events"):
        torch.autograd.grad(found.t[-1], c, create_graph=True)


def decay(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    return -k * y


def level(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    return y[0] - 0.3


UNSEEN: dict[str, tuple[dict[str, Any], str]] = {
    "event": ({"events": lambda t, y, k: y[0].item() - 0.3 * k}, "all that event 0 does"),
    "event by t": ({"events": lambda t, y, k: y[0] - 0.3 * float(t)}, "all that event 0 does"),
    "jump": (
        {"events": Event(level, jump=lambda t, y, k: 2 * y.detach())},
        r"all that the jump of event 0 \(level\) does",
    ),
    "stop": ({"tstops": [1.0], "jump_at": lambda t, y, k: y + float(y[0])}, "that jump_at does"),
    "field": ({"f": lambda t, y, k: -k * y * float(t), "events": level}, "how f depends on t"),
}


@pytest.mark.parametrize(("kinds", "words"), UNSEEN.values(), ids=UNSEEN)
def test_what_autograd_does_not_see_is_refused(kinds: dict[str, Any], words: str) -> None:
    call: dict[str, Any] = {"f": decay, "args": tuple(leaf(1.0)), "method": "tsit5", **kinds}
    with pytest.raises(InputError, match=words):
        sg.solve(call.pop("f"), real(1.0), 0.1, 3.0, **call)


def test_an_event_that_autograd_cannot_see_is_found_on_the_way() -> None:
    call = {"args": tuple(leaf(1.0)), "method": "tsit5", "checks": False}
    with pytest.raises(InputError, match="event 0 happened, and autograd does not see how"):
        sg.solve(decay, real(1.0), 0.1, 3.0, events=lambda t, y, k: y[0].item() - 0.3, **call)


def test_a_failed_row_has_none_and_leaves_the_others_alone() -> None:
    (c,) = leaf(0.5)

    def f(t: Tensor, y: Tensor) -> Tensor:
        bursts = torch.arange(2).unsqueeze(1) == 1
        return torch.where(bursts, 3 * y * y, -y)

    event = Event(lambda t, y: y[:, 0] - c, jump=lambda t, y: y + c)
    with pytest.warns(sg.StiffguideWarning, match="row 1 failed"):
        found = sg.solve(
            f,
            torch.ones(2, 1).double(),
            0.0,
            1.0,
            events=event,
            batched=True,
            method="tsit5",
            max_attempts=60,
        )
    hit = -torch.log(c)
    agree(found.y[0, 0], (2 * c * torch.exp(hit - 1)).reshape(1), [c], 1e-5)


def test_nothing_is_recorded_without_autograd() -> None:
    (c,) = leaf(0.3)
    event = Event(lambda t, y: y[0] - c, terminal=True)
    with torch.no_grad():
        found = sg.solve(lambda t, y: -y, real(1.0), 0.0, 3.0, events=event)
    assert not found.t.requires_grad
    assert not found.events[0].t.requires_grad


def test_kernels_leave_them_to_the_loop() -> None:
    (c,) = leaf(0.3)
    kinds: tuple[dict[str, Any], ...] = (
        {"events": Event(lambda t, y: y[0] - c)},
        {"events": Event(lambda t, y: y[0] - 0.3, jump=lambda t, y: y + c)},
        {"tstops": [0.5], "jump_at": lambda t, y: y + c},
    )
    for kind in kinds:
        call = {"method": "tsit5", **kind}
        with pytest.raises(UnsupportedError, match="not through events, jumps or tstops"):
            sg.solve(lambda t, y: -y, real(1.0), 0.0, 2.0, backend="kernel", **call)
        found = sg.solve(lambda t, y: -y, real(1.0), 0.0, 2.0, backend="auto", **call)
        assert found.backend == "eager"
        assert found.y.requires_grad or found.events[0].t.requires_grad
