"""A kernel that is watched solves as one that is not, and shows what the eager loop shows."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from agreement import both
from cached import needs_compiler
from families import real
from growing import masked
from test_auto import impatient, spiral
from torch import Tensor

import stiffguide as sg
from stiffguide import Status
from stiffguide.kernels import backend, watching
from stiffguide.kernels.running import run
from stiffguide.problems import robertson_field

D = torch.float64
pytestmark = [needs_compiler, pytest.mark.usefixtures("plain_builds")]
FAMILIES = ["tsit5", "dop853", "rodas5p", "kvaerno5"]
every_kernel = pytest.mark.parametrize("method", FAMILIES)
# with Newton's iteration the loop keeps a Jacobian for some steps, and takes others
every_same = pytest.mark.parametrize("method", FAMILIES[:3])
ROWS = 19  # more than there are lanes, and not as many as some lanes
TOLERANCE = {"rtol": 1e-5, "atol": 1e-8}
# a first step that is too long: see agreement.py
TELLING: dict[str, Any] = {"first_step": 5.0, **TOLERANCE}
# a last bit moves the times of steps by less than this, and states by their slope; steps are 0.1
LITTLE: dict[str, Any] = {"rtol": 0, "atol": 3e-4, "equal_nan": True}


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """Python heeds Ctrl-C, also where a shell in the background does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def swing(t: Tensor, y: Tensor, k: Any = 1.0) -> Tensor:
    a, b = y.unbind(-1)
    return torch.stack((b, -k * torch.sin(a) - 0.1 * b + torch.cos(t)), -1)


RATES = torch.linspace(0.5, 4.0, ROWS, dtype=D)
STARTS = torch.stack((RATES, 0 * RATES), -1)
ENDS = torch.linspace(0.2, 6.0, ROWS, dtype=D)
ONE = {"y0": STARTS[3], "t1": 5.0, "args": (1.5,)}
MANY = {"y0": STARTS, "t1": ENDS, "args": (RATES,), "batched": True}
KEPT: dict[str, dict[str, Any]] = {
    "ends": {},
    "times": {"save_at": torch.linspace(0, 0.2, 5, dtype=D)},
    "steps": {"save_at": sg.EveryStep()},
    "dense": {"dense": True},
}

OPTIONS = KEPT | {"memory": {"controller": sg.PID(pcoeff=0.3, icoeff=0.4, dcoeff=0.05)}}


def equal(found: Any, expected: Any) -> bool:
    """Bit for bit; nan is nan."""
    for a, b in zip(found, expected, strict=True):
        if a is None or b is None:
            assert a is b
        elif not torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0)):
            return False
    return True


def parts(x: sg.Solution[Any]) -> tuple[Any, ...]:
    return x.t, x.y, x.counts, *(x.trajectory or ())


# slices -----------------------------------------------------------------------------------------


@every_kernel
@pytest.mark.parametrize("keep", OPTIONS)
@pytest.mark.parametrize("call", [ONE, MANY], ids=["one row", "rows"])
def test_a_solve_in_slices_is_the_solve_in_one_go(
    method: str, keep: str, call: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"t0": 0.0, "backend": "kernel", "method": method, **TOLERANCE, **call}
    settings |= OPTIONS[keep]
    expected = sg.solve(swing, **settings)
    looks: list[int] = []
    watched = [sg.solve(swing, **settings, monitor=lambda t, y: looks.append(1))]
    for attempts in (1, 4, 10**6):
        monkeypatch.setattr(watching, "_slice", lambda task, attempts=attempts: attempts)
        watched.append(sg.solve(swing, **settings, progress=True))
    for found in watched:
        assert found.stats.backend == "kernel"
        assert equal(parts(found), parts(expected))
    assert len(looks) == int(expected.counts[2].max())


@pytest.mark.parametrize("method", ["rodas5p", "kvaerno5"])
def test_what_grows_is_seen_from_slice_to_slice(method: str) -> None:
    settings = {"method": method, "backend": "kernel", "atol": 1e-5}
    y0 = real(1.0, 0.1, 0.0, 1e-9, 1e-9)
    expected = sg.solve(masked, y0, 0.0, 1.0, **settings)
    found = sg.solve(masked, y0, 0.0, 1.0, monitor=lambda t, y: None, **settings)
    assert int(expected.stats.rejected) > 0
    assert equal(parts(found), parts(expected))


@every_kernel
def test_rows_end_in_every_way_in_slices_too(method: str) -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.where(y > 100, math.nan, y * y)

    y0 = real(1.0, 0.1, math.nan, 3.0, 1.0, 1.0).unsqueeze(1)
    t1 = real(2.0, 2.0, 1.0, 0.0, -1.0, 0.0)
    settings = {"method": method, "batched": True, "backend": "kernel", "max_attempts": 40}
    seen = []
    expected = sg.solve(f, y0, 0.0, t1, **settings)
    found = sg.solve(f, y0, 0.0, t1, monitor=lambda t, y: seen.append(t), **settings)
    assert len(set(expected.status.tolist())) > 2
    assert equal(parts(found), parts(expected))
    assert len(seen) == int(expected.counts[2].max())
    nothing = sg.solve(f, y0[2:4], 0.0, real(1.0, 0.0), monitor=lambda t, y: 1 / 0, **settings)
    assert nothing.status.tolist() == [Status.NON_FINITE, Status.SUCCESS]


# monitors ---------------------------------------------------------------------------------------


@every_kernel
def test_a_monitor_sees_the_steps_that_are_kept(method: str) -> None:
    story: list[tuple[Tensor, Tensor]] = []
    settings = {**TELLING, **ONE, "method": method, "backend": "kernel", "save_at": sg.EveryStep()}
    found = sg.solve(swing, t0=0.0, monitor=lambda t, y: story.append((t, y)), **settings)
    assert int(found.stats.rejected) > 0
    t, y = (torch.stack(x) for x in zip(*story, strict=True))
    moved = torch.diff(t, prepend=real(0.0)) != 0
    assert equal((t[moved], y[moved]), (found.t[1:], found.y[1:]))


@every_same
@pytest.mark.parametrize("call", [ONE, MANY], ids=["one row", "rows"])
def test_a_monitor_sees_what_it_sees_in_the_loop(method: str, call: dict[str, Any]) -> None:
    stories = []
    for name in ("kernel", "eager"):
        story: list[tuple[Tensor, Tensor]] = []
        settings = {**TELLING, **call, "method": method, "backend": name, "checks": False}
        sg.solve(swing, t0=0.0, monitor=lambda t, y, s=story: s.append((t, y)), **settings)
        stories.append([torch.stack(x) for x in zip(*story, strict=True)])
    (t, y), (times, states) = stories
    torch.testing.assert_close(t, times, **LITTLE)
    torch.testing.assert_close(y, states, **LITTLE)


@every_same
@pytest.mark.parametrize("keep", KEPT)
@pytest.mark.parametrize("each", [True, False], ids=["each row", "all rows"])
def test_a_monitor_stops_where_it_stops_the_loop(method: str, keep: str, each: bool) -> None:
    def monitor(t: Tensor, y: Tensor) -> Any:
        return y[:, 0] < 0.45 * RATES if each else bool((t > 1.0).any())

    settings = {**TELLING, **MANY, **KEPT[keep], "method": method, "monitor": monitor}
    kernel, eager = both(swing, settings.pop("y0"), 0.0, settings.pop("t1"), **settings)
    assert kernel.status.tolist() == eager.status.tolist()
    assert set(kernel.status.tolist()) == {int(Status.EVENT), int(Status.SUCCESS)}
    assert torch.equal(kernel.counts[:3], eager.counts[:3])
    torch.testing.assert_close(kernel.t, eager.t, **LITTLE)
    torch.testing.assert_close(kernel.y, eager.y, **LITTLE)
    assert kernel.messages.keys() == eager.messages.keys()
    if keep == "dense":
        at = torch.linspace(0, 0.19, 4, dtype=D)
        torch.testing.assert_close(kernel.at(at), eager.at(at), **LITTLE)
        last = kernel.trajectory.after[-1]
        assert torch.equal(last, kernel.t[:, -1])


def test_a_monitor_sees_the_users_shapes() -> None:
    def f(t: Tensor, y: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"a": y["b"][0], "b": [-y["a"]]}

    def monitor(t: Tensor, y: dict[str, Any]) -> bool:
        assert (t.shape, t.dtype, y["a"].shape, y["b"][0].dtype) == ((), D, (2,), torch.float32)
        return bool(t > 1.0)

    start = {"a": torch.ones(2), "b": [torch.zeros(2)]}
    found = sg.solve(f, start, 0.0, math.inf, monitor=monitor, backend="kernel", max_step=0.3)
    assert found.stats.backend == "kernel"
    assert (found.status, 1.0 < float(found.t[-1]) <= 1.3) == (Status.EVENT, True)
    torch.testing.assert_close(found.y["a"][-1, 0].double(), found.t[-1].cos(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("verdict", "words"),
    [([True] * 3, r"shape \(3,\)"), ("stop", "monitor returned 'stop'"), (1.0, None), (None, None)],
)
def test_a_verdict_means_what_it_means_in_the_loop(verdict: Any, words: str | None) -> None:
    settings = {**ONE, "t0": 0.0, "backend": "kernel", "monitor": lambda t, y: verdict}
    if words is None:
        found = sg.solve(swing, **settings)
        assert found.status == (Status.SUCCESS if verdict is None else Status.EVENT)
        assert verdict is None or int(found.counts[2]) == 1
    else:
        with pytest.raises(sg.InputError, match=words):
            sg.solve(swing, **settings)


def test_an_exception_of_a_monitor_is_the_users() -> None:
    settings = {**ONE, "t0": 0.0, "backend": "kernel"}
    with pytest.raises(ZeroDivisionError):
        sg.solve(swing, **settings, monitor=lambda t, y: 1 / 0)
    looks: list[int] = []

    def monitor(t: Tensor, y: Tensor) -> None:
        looks.append(1)

    for _ in range(2):  # nor is it forgotten when the same is asked for again
        sg.solve(swing, **settings, monitor=monitor)
    plain = sg.solve(swing, **settings)
    assert len(looks) == 2 * int(plain.counts[2])


def test_what_a_kernel_does_not_say_is_said_where_its_attempts_are_seen() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.ones_like(y)

    settings = {"t0": 0.0, "t1": 3.0, "backend": "kernel", "method": "tsit5"}
    y0 = real(0.0, 0.0)
    seen = sg.solve(f, y0, monitor=lambda t, y: None, **settings)
    eager = sg.solve(f, y0, monitor=lambda t, y: None, **settings | {"backend": "eager"})
    assert seen.warnings == eager.warnings
    assert "error estimate was zero" in seen.message
    assert sg.solve(f, y0, progress=True, **settings).warnings == {}
    assert sg.solve(swing, y0, monitor=lambda t, y: None, **settings).warnings == {}


# interrupts -------------------------------------------------------------------------------------


@every_kernel
@pytest.mark.parametrize("keep", KEPT)
def test_an_interrupt_of_a_monitor_brings_what_was_reached(method: str, keep: str) -> None:
    def monitor(t: Tensor, y: Tensor) -> None:
        if bool((t > 1.0).any()):
            press()

    with pytest.raises(sg.Interrupted, match="interrupted at t =") as caught:
        sg.solve(swing, t0=0.0, backend="kernel", **MANY, **KEPT[keep], monitor=monitor)
    found = caught.value.solution
    assert set(found.status.tolist()) == {int(Status.SUCCESS), int(Status.INTERRUPTED)}
    short = found.status == int(Status.INTERRUPTED)
    assert bool((found.counts[2, short] == found.counts[2].max()).all())
    if keep == "ends":
        assert bool((found.t[short, -1] < ENDS[short]).all())
        part = sg.solve(swing, t0=0.0, **MANY | {"t1": found.t[:, -1]}, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(found.y, part.y, rtol=1e-4, atol=1e-5)


def test_an_interrupt_after_the_last_attempt_is_not_lost() -> None:
    def monitor(t: Tensor, y: Tensor) -> None:
        if float(t) == 5.0:
            press()

    with pytest.raises(KeyboardInterrupt) as caught:
        sg.solve(swing, t0=0.0, backend="kernel", **ONE, monitor=monitor)
    assert not isinstance(caught.value, sg.Interrupted)


def test_an_interrupt_in_a_slice_stops_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, go_on, slices = 200_000, run.Kernel.go_on, []
    timer = threading.Timer(0.05, press)
    k = torch.tensor([0.04, 3e7, 1e4]).double() * torch.linspace(0.9, 1.1, rows).unsqueeze(1)
    y0 = real(1.0, 0.0, 0.0).expand(rows, 3)
    settings = {"args": (k,), "batched": True, "backend": "kernel", "progress": True}
    settings["method"] = "rodas5p"  # rows end in the second slice
    sg.solve(robertson_field, y0[:100], 0.0, 1e4, **settings | {"args": (k[:100],)})
    t1 = 10 ** torch.linspace(2, 6, rows, dtype=D)[torch.randperm(rows)]  # lanes are out of step

    def pressed(kernel: Any, task: Any, ended: Any, attempts: int) -> None:
        slices.append(1)
        if len(slices) == 2:  # which goes to the end
            ended.pauses.until.fill_(10**6)
            timer.start()
        go_on(kernel, task, ended, attempts)

    monkeypatch.setattr(run.Kernel, "go_on", pressed)
    monkeypatch.setattr(watching, "_slice", lambda task: 4)
    with pytest.raises(sg.Interrupted) as caught:
        sg.solve(robertson_field, y0, 0.0, t1, **settings)
    timer.join()
    found = caught.value.solution
    assert set(found.status.unique().tolist()) == {int(Status.SUCCESS), int(Status.INTERRUPTED)}
    assert len(slices) == 2
    assert bool((found.counts[2] >= 4).all())  # what was reached before stays
    assert bool((found.t[:, -1] > 0).all())


# who solves -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("auto", "cache")
def test_a_monitor_sees_every_attempt_once_whoever_solves(monkeypatch: pytest.MonkeyPatch) -> None:
    y0, attempts = real(2.0, 0.5), int(sg.solve(spiral, real(2.0, 0.5), 0.0, 3.0).counts[2])
    backend.forget()
    impatient(monkeypatch, 0.5 * attempts)
    stories: list[str] = []
    for _ in range(3):
        times: list[float] = []
        found = sg.solve(spiral, y0, 0.0, 3.0, monitor=lambda t, y, s=times: s.append(float(t)))
        assert len(times) == int(found.counts[2])
        assert times == sorted(times)
        stories.append(found.stats.backend)
    assert stories == ["eager", "kernel", "kernel"]
    assert found.stats.why == "the kernel was there"


@pytest.mark.usefixtures("auto", "cache")
def test_a_bar_is_taken_over_with_the_solve(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    impatient(monkeypatch)
    found = sg.solve(spiral, real(2.0, 0.5), 0.0, 3.0, progress=True)
    assert found.stats.backend == "kernel"
    assert "here 4 attempts" in found.stats.why
    assert capsys.readouterr().err.rstrip().split("\r")[-1].strip().startswith("100.0%")
