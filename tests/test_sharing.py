"""An explicit and a stiff method share the rows: what is chosen, what it costs, what it keeps."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import stiffguide as sg
from stiffguide import kernels, linear_systems, methods, problems
from stiffguide.guidance import ErkGuid
from stiffguide.kernels.running.threads import STIFF
from stiffguide.progress import Progress
from stiffguide.sharing import pair as pairs
from stiffguide.sharing.pair import stability_limit
from stiffguide.stepping import regimes
from stiffguide.tableaux.stability import negative_real_stability_limit

F64 = torch.float64
pytestmark = pytest.mark.usefixtures("plain_builds")
BACKENDS = ("eager", "kernel")


def relaxing(t: Tensor, y: Tensor, mu: Tensor) -> Tensor:
    """Van der Pol's oscillator, for rows."""
    a, b = y.unbind(-1)
    return torch.stack((b, mu * (1 - a * a) * b - a), -1)


def start(rows: int = 1) -> Tensor:
    return torch.tensor([[2.0, 0.0]], dtype=F64).repeat(rows, 1)


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)


def oscillate(mu: float, t1: float, **settings: Any) -> Any:
    args = (column(mu),)
    return sg.solve(relaxing, start(), 0.0, t1, args=args, batched=True, **settings)


def pulses(t: Tensor, y: Tensor) -> Tensor:
    rate = 10 + 1000 * (1 + torch.tanh(20 * torch.sin(t)))
    return -rate[:, None] * (y - torch.cos(t)[:, None]) - torch.sin(t)[:, None]


def turning(t: Tensor, y: Tensor) -> Tensor:
    rate = 1 + 1e4 / (1 + torch.exp(-4 * (t - 5)))
    a, b, c = y.unbind(-1)
    return torch.stack((b, -a, -rate * (c - a)), -1)


def names(found: Any, row: int = 0) -> list[str]:
    return [name for _, name in found.stats.methods[row]]


@pytest.mark.parametrize("name", ["tsit5", "dopri5", "verner65", "verner76", "verner87", "dop853"])
def test_the_stability_limit_is_that_of_exact_arithmetic(name: str) -> None:
    tableau = methods.get(name).tableau
    exact = negative_real_stability_limit(tableau)
    assert stability_limit(tableau) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_mild_problem_stays_with_the_explicit_method(backend: str) -> None:
    p = problems.get("brusselator")
    settings: dict[str, Any] = {"batched": True, "rtol": 1e-6, "atol": 1e-9, "backend": backend}
    found = sg.solve(p.f, p.y0[None], p.t0, p.t1, **settings)
    alone = sg.solve(p.f, p.y0[None], p.t0, p.t1, method="tsit5", **settings)
    assert found.stats.methods == [[(p.t0, "tsit5")]]
    assert torch.equal(found.stats.accepted, alone.stats.accepted)
    torch.testing.assert_close(found.y, alone.y, rtol=1e-12, atol=0)
    assert found.stats.njac.item() == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stiff_problem_is_soon_the_stiff_methods(backend: str) -> None:
    p = problems.get("robertson")
    atol = torch.tensor(p.atol_for(1e-6), dtype=F64)
    settings: dict[str, Any] = {"batched": True, "rtol": 1e-6, "atol": atol, "backend": backend}
    found = sg.solve(p.f, p.y0[None], p.t0, p.t1, **settings)
    assert names(found) == ["tsit5", "rodas5p"]
    assert found.stats.methods[0][1][0] < 1
    assert p.error(found.y[0, -1]) < 1e-8


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_relaxation_oscillator_goes_to_and_fro(backend: str) -> None:
    found = oscillate(100.0, 200.0, backend=backend)
    exact = oscillate(100.0, 200.0, backend="kernel", method="rodas5p", rtol=1e-10, atol=1e-12)
    assert names(found) == ["tsit5", "rodas5p"] * 3  # a fast layer in each of two half-periods
    torch.testing.assert_close(found.y, exact.y, rtol=1e-4, atol=1e-6)


def test_both_backends_choose_the_same() -> None:
    eager, kernel = (oscillate(30.0, 60.0, backend=b) for b in BACKENDS)
    assert names(eager) == names(kernel)
    assert eager.stats.accepted.item() == pytest.approx(kernel.stats.accepted.item(), rel=0.02)
    for (one, _), (other, _) in zip(eager.stats.methods[0], kernel.stats.methods[0], strict=True):
        assert one == pytest.approx(other, rel=0.05, abs=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_stiffness_that_begins_and_ends_is_followed(backend: str) -> None:
    y0 = column(1.0, 0.0, 1.0)[None]
    found = sg.solve(turning, y0, 0.0, 10.0, batched=True, backend=backend)
    assert names(found)[0] == "tsit5"
    assert names(found)[-1] == "rodas5p"
    back = sg.solve(lambda t, y: turning(10 - t, y), y0, 0.0, 10.0, batched=True, backend=backend)
    assert names(back)[-1] == "tsit5"


@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8])
def test_pulses_of_stiffness_start_no_storm(rtol: float) -> None:
    found = sg.solve(
        *(pulses, torch.ones(1, 1, dtype=F64), 0.0, 20.0),
        **{"batched": True, "backend": "kernel", "rtol": rtol, "atol": rtol / 100},
    )
    turns = 6  # of sin t in the interval, and stiffness at the start
    assert len(names(found)) - 1 <= 2 * (turns + 1)


def test_a_batch_chooses_by_row_and_every_row_as_if_alone() -> None:
    mu = column(0.5, 20.0, 200.0)
    settings: dict[str, Any] = {"batched": True, "backend": "eager", "rtol": 1e-4, "atol": 1e-6}
    settings["checks"] = False  # which are made once, and counted
    found = sg.solve(relaxing, start(3), 0.0, 12.0, args=(mu,), **settings)
    assert len({tuple(names(found, row)) for row in range(3)}) > 1
    for row in range(3):
        alone = sg.solve(relaxing, start(), 0.0, 12.0, args=(mu[row : row + 1],), **settings)
        assert torch.equal(alone.y[0], found.y[row])
        assert alone.stats.methods[0] == found.stats.methods[row]
        for count in sg.solution.Stats.NAMES:
            assert getattr(alone.stats, count)[0] == getattr(found.stats, count)[row]


def test_rows_of_a_kernel_choose_as_if_alone() -> None:
    mu = torch.logspace(-1, 3, 40, dtype=F64)
    settings: dict[str, Any] = {"batched": True, "backend": "kernel", "rtol": 1e-6, "atol": 1e-8}
    found = sg.solve(relaxing, start(40), 0.0, 20.0, args=(mu,), **settings)
    exact = sg.solve(
        *(relaxing, start(40), 0.0, 20.0), args=(mu,), method="rodas5p",
        **{**settings, "rtol": 1e-10, "atol": 1e-12},
    )  # fmt: skip
    assert found.success.all()
    torch.testing.assert_close(found.y, exact.y, rtol=1e-3, atol=1e-4)
    five = mu[::8]
    few = sg.solve(relaxing, start(5), 0.0, 20.0, args=(five,), **settings)
    torch.testing.assert_close(few.y, found.y[::8], rtol=0, atol=0)
    assert few.stats.methods == found.stats.methods[::8]


CASES = [
    *("robertson", "hires", "orego", "e5_reduced", "pollu"),
    *("lotka_volterra", "arenstorf", "brusselator"),
]
MOST = 1.3  # times the evaluations of the better one


def evaluations(found: Any, features: int) -> int:
    return int(found.stats.nfe) + features * int(found.stats.njac)


@pytest.mark.slow
@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("name", CASES)
def test_it_costs_little_more_than_the_better_method(name: str, rtol: float) -> None:
    p = problems.get(name)
    atol = torch.as_tensor(p.atol_for(rtol), dtype=F64)
    settings: dict[str, Any] = {"batched": True, "rtol": rtol, "atol": atol, "backend": "kernel"}
    found = sg.solve(p.f, p.y0[None], p.t0, p.t1, **settings)
    assert found.success.all()
    costs = []
    for method in ("tsit5", "rodas5p"):
        most = int(found.stats.accepted) * (8 + p.size)
        alone = sg.solve(
            *(p.f, p.y0[None], p.t0, p.t1), method=method, max_attempts=most, **settings
        )
        costs += [evaluations(alone, p.size)] * bool(alone.success.all())
    assert evaluations(found, p.size) <= MOST * min(costs)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_kept_goes_on_across_the_changes(backend: str) -> None:
    times = torch.linspace(0, 120, 31, dtype=F64)
    found = oscillate(50.0, 120.0, backend=backend, save_at=times, dense=True)
    exact = oscillate(
        50.0, 120.0, backend="kernel", method="rodas5p", rtol=1e-10, atol=1e-12, save_at=times
    )
    assert len(names(found)) > 3
    torch.testing.assert_close(found.y, exact.y, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.at(times), found.y, rtol=1e-9, atol=1e-9)
    changes = column(*(t for t, _ in found.stats.methods[0]))
    near = column(*(math.nextafter(t, 1e9) for t in changes.tolist()))
    torch.testing.assert_close(found.at(changes), found.at(near), rtol=1e-6, atol=1e-6)
    steps = oscillate(50.0, 120.0, backend=backend, save_at=sg.EveryStep())
    assert (steps.t.diff() > 0).all()
    assert steps.t.shape[1] == 1 + steps.stats.accepted.item()
    assert set(changes.tolist()) <= set(steps.t[0].tolist())


@pytest.mark.parametrize("backend", BACKENDS)
def test_interpolants_of_different_degrees_are_one_function(backend: str) -> None:
    tight = {"rtol": 1e-9, "atol": 1e-11}
    times = torch.linspace(0, 50, 21, dtype=F64)
    found = oscillate(30.0, 50.0, backend=backend, dense=True, **tight)
    exact = oscillate(30.0, 50.0, backend="kernel", method="verner87", save_at=times, **tight)
    assert set(names(found)) == {"verner76", "rodas5p"}
    torch.testing.assert_close(found.at(times), exact.y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_events_are_found_across_the_changes(backend: str) -> None:
    def crossing(t: Tensor, y: Tensor, mu: Tensor) -> Tensor:
        return y[:, 0]

    found = oscillate(50.0, 200.0, backend=backend, events=crossing)
    exact = oscillate(
        *(50.0, 200.0), backend="kernel", method="rodas5p", rtol=1e-10, atol=1e-12, events=crossing
    )
    assert len(names(found)) > 3
    torch.testing.assert_close(found.events[0].t, exact.events[0].t, rtol=1e-4, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_stops_and_jumps_belong_to_both_methods(backend: str) -> None:
    settings: dict[str, Any] = {
        "tstops": [5.0, 30.0, 60.0],
        "jump_at": lambda t, y, mu: -y,
        "save_at": sg.EveryStep(),
        "backend": backend,
    }
    found = oscillate(50.0, 100.0, **settings)
    tight = {"method": "rodas5p", "rtol": 1e-10, "atol": 1e-12, "backend": "kernel"}
    exact = oscillate(50.0, 100.0, **{**settings, **tight})
    assert {5.0, 30.0, 60.0} <= set(found.t[0].tolist())
    assert set(names(found)) == {"tsit5", "rodas5p"}
    last = int(found.stats.accepted) + 3, int(exact.stats.accepted) + 3
    torch.testing.assert_close(found.y[0, last[0]], exact.y[0, last[1]], rtol=1e-4, atol=1e-6)


def lower(t: Tensor, y: Tensor, mu: Tensor) -> Tensor:
    return 0.95 * y


RISES = sg.Event(lambda t, y, mu: y[:, 0] - 0.5, direction=1, jump=lower)


@pytest.mark.parametrize(("backend", "rows", "t1"), [("kernel", 60, 20.0), ("eager", 3, 4.0)])
@pytest.mark.parametrize(
    "settings",
    [{"events": RISES}, {"tstops": torch.arange(1.0, 20.0).tolist(), "jump_at": lower}],
    ids=["events", "stops"],
)
def test_rows_that_leave_jump_all_the_same(
    settings: dict[str, Any],
    backend: str,
    rows: int,
    t1: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pairs, "PROBE", 0.3)  # rows leave all the time
    mu = torch.logspace(-1, 1.5, rows, dtype=F64)
    if "tstops" in settings:
        settings = {**settings, "tstops": [t for t in settings["tstops"] if t < t1]}
    same = {"args": (mu,), "batched": True, **settings}
    found = sg.solve(relaxing, start(rows), 0.0, t1, backend=backend, **same)
    exact = sg.solve(
        *(relaxing, start(rows), 0.0, t1), backend="kernel", method="rodas5p", rtol=1e-9,
        atol=1e-11, **same,
    )  # fmt: skip
    assert sum(map(len, found.stats.methods)) > 2 * rows
    torch.testing.assert_close(found.y, exact.y, rtol=1e-2, atol=1e-2)
    for mine, theirs in zip(found.events, exact.events, strict=True):
        assert len(mine.t) == len(theirs.t)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_monitor_sees_every_attempt_of_both(backend: str) -> None:
    seen: list[float] = []
    found = oscillate(
        *(30.0, 60.0), backend=backend, monitor=lambda t, y: bool(seen.append(float(t)))
    )
    assert len(names(found)) > 2
    assert len(seen) == int(found.stats.accepted + found.stats.rejected)
    assert torch.equal(found.y, oscillate(30.0, 60.0, backend=backend).y)
    stopped = oscillate(30.0, 60.0, backend=backend, monitor=lambda t, y: t > 20)
    assert stopped.status.item() == sg.Status.EVENT
    assert 20 < stopped.t.item() < 30


@pytest.mark.parametrize("backend", BACKENDS)
def test_attempts_count_for_both_together(backend: str) -> None:
    found = oscillate(100.0, 200.0, backend=backend, max_attempts=150)
    assert found.status.item() == sg.Status.MAX_ATTEMPTS
    assert int(found.stats.accepted + found.stats.rejected) == 150
    assert "150 attempts with" in found.message


def test_an_interrupt_ends_the_rows_that_wait_too(monkeypatch: pytest.MonkeyPatch) -> None:
    mu, looks = column(500.0, 0.1), []

    def interrupt(t: Tensor, y: Tensor) -> None:
        looks.append(1)
        if len(looks) == 100:  # the first row has left long ago
            raise KeyboardInterrupt

    with pytest.raises(sg.Interrupted) as error:
        sg.solve(
            *(relaxing, start(2), 0.0, 100.0),
            **{"args": (mu,), "batched": True, "backend": "eager", "monitor": interrupt},
        )
    assert (error.value.solution.status == sg.Status.INTERRUPTED).all()


def test_an_interrupt_of_rows_that_all_wait_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: Any, s: Any) -> None:
        if (s.status == regimes.LEAVING).any():
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "look", interrupt)
    with pytest.raises(sg.Interrupted) as error:
        oscillate(500.0, 100.0, backend="eager")
    found = error.value.solution
    assert found.status.item() == sg.Status.INTERRUPTED
    assert 0 < found.t.item() < 1
    assert found.stats.methods == [[(0.0, "tsit5")]]


def test_a_stiff_method_that_fails_gives_the_row_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "PROBE", 0.5)
    broken = methods.get("rodas5p").__class__

    def failing(self: Any, *given: Any) -> Any:
        step = honest(self, *given)
        return step._replace(ok=torch.zeros(len(step.y0), dtype=torch.bool))

    honest = broken.step
    monkeypatch.setattr(broken, "step", failing)
    found = oscillate(0.5, 20.0, backend="eager")
    assert found.success.all()
    assert set(names(found)) == {"tsit5", "rodas5p"}


def test_an_explicit_method_that_fails_gives_the_row_on(monkeypatch: pytest.MonkeyPatch) -> None:
    explicit = methods.get("tsit5").__class__
    honest = explicit.step

    def failing(self: Any, f: Any, t0: Tensor, *given: Any) -> Any:
        step = honest(self, f, t0, *given)
        return step._replace(ok=t0 < 0.5)

    monkeypatch.setattr(explicit, "step", failing)
    found = oscillate(0.5, 2.0, backend="eager")
    exact = oscillate(0.5, 2.0, backend="eager", method="rodas5p", rtol=1e-10, atol=1e-12)
    assert found.success.all()
    assert names(found)[1] == "rodas5p"
    torch.testing.assert_close(found.y, exact.y, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("backend", BACKENDS)
def test_where_both_fail_the_solve_ends(backend: str) -> None:
    found = sg.solve(lambda t, y: y * y, column(1.0), 0.0, 2.0, backend=backend)
    assert not found.success
    assert found.t.item() == pytest.approx(1.0, abs=1e-4)
    assert len(found.stats.methods) < 20


def test_rows_that_fall_again_and_again_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def falling(name: str) -> None:
        """Three attempts succeed wherever the method begins anew, and no more."""
        kind, last = methods.get(name).__class__, [0.0, 0]
        honest = kind.step

        def step(self: Any, f: Any, t0: Tensor, dt: Tensor, *given: Any) -> Any:
            last[1] = 1 if float(dt) > 1e3 * last[0] else last[1] + 1
            last[0] = float(dt)
            return honest(self, f, t0, dt, *given)._replace(ok=torch.tensor([last[1] <= 3]))

        monkeypatch.setattr(kind, "step", step)

    falling("tsit5")
    falling("rodas5p")
    found = oscillate(0.5, 1e6, backend="eager", max_attempts=3000)
    assert found.status.item() == sg.Status.DT_TOO_SMALL
    assert names(found) == ["tsit5", "rodas5p"] * regimes.FALLS + ["tsit5"]
    assert "with tsit5" in found.message


def test_a_jacobian_too_large_is_not_needed_where_nothing_is_stiff() -> None:
    found = sg.solve(lambda t, y: y.mean() - y, torch.ones(5000, dtype=F64), 0.0, 1.0)
    assert found.success
    assert found.stats.methods == [(0.0, "tsit5")]


def test_without_a_stiff_method_the_explicit_one_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_systems, "LARGEST_DENSE", 100)
    rate = torch.linspace(1, 400, 300, dtype=F64)

    def coupled(t: Tensor, y: Tensor) -> Tensor:
        return -rate * (y - 1e-3 * y.mean(-1, keepdim=True))

    y0 = torch.ones(2, 300, dtype=F64)
    found = sg.solve(coupled, y0, 0.0, 2.0, batched=True, backend="eager")
    assert found.success.all()
    assert found.stats.methods == [[(0.0, "tsit5")]] * 2
    monkeypatch.undo()
    found = sg.solve(coupled, y0, 0.0, 2.0, batched=True, backend="eager")
    assert names(found)[1] == "kvaerno5"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"guidance": ErkGuid(0.1, 0.1)}, "guidance is bound to one method"),
        ({"controller": sg.Fixed(0.01)}, "the controller was given"),
        ({"save_at": sg.SteadyState()}, "an explicit method comes to rest late"),
        ({"args": (column(1.0).requires_grad_(),)}, "gradients go through its steps"),
    ],
    ids=["guidance", "grid", "steady state", "gradients"],
)
def test_one_method_is_alone_where_it_has_to_be(settings: dict[str, Any], reason: str) -> None:
    found = sg.solve(
        *(relaxing, start(), 0.0, 1.0), **{"args": (column(1.0),), "batched": True, **settings}
    )
    assert found.method == "rodas5p"
    assert found.stats.methods == []
    assert f"auto is rodas5p alone, for {reason}" in found.stats.why


def test_gradients_of_a_large_system_go_through_a_sparse_jacobian() -> None:
    rate = torch.tensor(3.0, dtype=F64, requires_grad=True)

    def chain(t: Tensor, y: Tensor) -> Tensor:
        z = torch.nn.functional.pad(y, (1, 1))
        return rate * (z[2:] - 2 * y + z[:-2])

    found = sg.solve(chain, torch.ones(100, dtype=F64), 0.0, 1.0)
    assert found.method == "kvaerno5"
    assert found.stats.linear_solver.startswith("band")


@pytest.mark.usefixtures("auto")
def test_native_steps_of_a_large_system_need_no_other_method() -> None:
    def chain(t: Tensor, y: Tensor) -> Tensor:
        z = torch.nn.functional.pad(y, (1, 1))
        return 1e4 * (z[2:] - 2 * y + z[:-2])

    y0 = torch.ones(100, dtype=F64)
    shared = sg.solve(chain, y0, 0.0, 0.1, backend="eager")
    assert [name for _, name in shared.stats.methods] == ["tsit5", "bdf"]
    built = sg.solve(chain, y0, 0.0, 0.1, method="bdf", backend="kernel")
    found = sg.solve(chain, y0, 0.0, 0.1)
    assert found.method == "bdf"
    assert found.stats.backend == "kernel"
    assert found.stats.why.endswith("auto is bdf alone, for its native steps are there")
    torch.testing.assert_close(found.y, built.y, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(found.y, shared.y, rtol=1e-3, atol=1e-6)


def test_a_tight_tolerance_takes_a_higher_order() -> None:
    found = oscillate(0.5, 5.0, rtol=1e-10, atol=1e-12)
    assert names(found) == ["verner76"]


@pytest.mark.parametrize("name", ["auto", "AUTO", "LSODA"])
def test_its_names(name: str) -> None:
    assert oscillate(1.0, 2.0, method=name).method == "auto (tsit5, rodas5p)"


def test_the_methods_of_one_row_are_a_list_of_pairs() -> None:
    found = sg.solve(lambda t, y: -y, column(1.0), 0.0, 1.0)
    assert found.stats.methods == [(0.0, "tsit5")]
    named = sg.solve(lambda t, y: -y, column(1.0), 0.0, 1.0, method="tsit5")
    assert named.stats.methods == []


def test_float32_and_backwards() -> None:
    found = sg.solve(
        *(relaxing, start().float(), 0.0, 60.0), args=(column(30.0).float(),), batched=True,
        rtol=1e-4, atol=1e-5, backend="eager",
    )  # fmt: skip
    assert found.success.all()
    assert len(names(found)) > 2
    back = sg.solve(
        lambda t, y: 1000 * (y - torch.cos(t)[:, None]), torch.ones(1, 1, dtype=F64), 0.0, -3.0,
        batched=True,
    )  # fmt: skip
    assert names(back)[-1] == "rodas5p"
    assert back.y.item() == pytest.approx(math.cos(-3.0), abs=2e-3)


def test_a_prepared_solve_and_a_repeated_one_are_the_same() -> None:
    args = (column(50.0),)
    once = oscillate(50.0, 120.0, backend="kernel")
    again = oscillate(50.0, 120.0, backend="kernel")
    ready = sg.prepare(relaxing, like=start(), batched=True, args=args, backend="kernel")
    for found in (again, ready(start(), 0.0, 120.0, *args), ready(start(), 0.0, 120.0, *args)):
        assert torch.equal(found.y, once.y)
        assert torch.equal(found.counts, once.counts)
        assert found.stats.methods == once.stats.methods
        assert found.method == once.method


def test_compiling_builds_both() -> None:
    made = sg.compile(relaxing, like=start(), batched=True, args=(column(1.0),))
    assert made.method == "auto (tsit5, rodas5p)"
    kernels.backend.forget()
    assert sg.compile(relaxing, like=start(), batched=True, args=(column(1.0),)).cached


def test_waiting_rows_have_statuses_of_no_ending() -> None:
    endings = {int(status) for status in sg.Status}
    assert regimes.LEAVING not in endings
    assert STIFF not in endings
