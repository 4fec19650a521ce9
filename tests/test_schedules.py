"""Schedules, predictions and clocks are the same flow in other words."""

from __future__ import annotations

import math

import pytest
import torch
from flows import F64, SMOOTH, exact_path, normal
from torch import Tensor

import stiffguide as sg
from stiffguide import testing
from stiffguide.adapters.diffusion import (
    VE,
    DDPMTable,
    LogTime,
    RectifiedFlow,
    Reversed,
    VPCosine,
    VPLinear,
    VPScaledLinear,
    as_denoiser,
    as_network,
    denoiser_field,
    grid,
    sample,
    whole_times,
)
from stiffguide.adapters.diffusion.prediction import PREDICTIONS
from stiffguide.errors import InputError, StiffguideWarning

SCHEDULES = {
    "ve": VE(),
    "vp linear": VPLinear(),
    "vp scaled linear": VPScaledLinear(),
    "vp cosine": VPCosine(),
    "flow": RectifiedFlow(),
    "shifted flow": RectifiedFlow(3.0),
    "log time": LogTime(),
    "ddpm linear": DDPMTable.linear(),
    "ddpm scaled linear": DDPMTable.scaled_linear(),
    "ddpm cosine": DDPMTable.cosine(),
    "flow from noise": Reversed(RectifiedFlow()),
    "shifted flow from noise": Reversed(RectifiedFlow(3.0)),
    "table from noise": Reversed(DDPMTable.linear()),
}
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
every_prediction = pytest.mark.parametrize("prediction", PREDICTIONS)
LEVELS = torch.tensor([0.05, 0.3, 1.0, 4.0, 14.0], dtype=F64)


def inner_times(schedule) -> Tensor:
    low, high = (float(schedule.time(s)) for s in (0.05, 14.0))
    # off the nodes of a table, where its derivatives jump
    return torch.linspace(low, high, 12, dtype=F64)[1:-1] + 1e-3 * math.pi


@every_schedule
def test_time_inverts_the_level(schedule) -> None:
    torch.testing.assert_close(schedule.level(schedule.time(LEVELS)), LEVELS, rtol=1e-13, atol=0)
    small = torch.tensor([0.03, 0.031], dtype=F64)
    torch.testing.assert_close(schedule.level(schedule.time(small)), small, rtol=1e-12, atol=0)


@every_schedule
def test_the_laws_of_schedules_hold(schedule) -> None:
    testing.assert_schedule(schedule)


def test_the_table_is_ddpm() -> None:
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=F64)
    kept = torch.cumprod(1 - betas, 0)
    table = DDPMTable.linear()
    t = torch.arange(1000, dtype=F64)
    torch.testing.assert_close(table.alpha(t) ** 2, kept, rtol=1e-12, atol=0)
    torch.testing.assert_close(table.time(table.levels), t, rtol=1e-12, atol=1e-9)
    assert "1000 steps" in repr(table)


def test_what_lies_beyond_a_table_is_said() -> None:
    table = DDPMTable.linear()
    with pytest.warns(StiffguideWarning, match=r"a level below 0.01, an end of DDPMTable\(1000"):
        assert float(table.time(1e-6)) == 0.0
    with pytest.warns(StiffguideWarning, match=r"a level above 157.4, .* \*schedule.range\(\)"):
        assert float(table.time(torch.tensor([1.0, 1e6]))[1]) == 999.0
    with pytest.warns(StiffguideWarning, match="a time above 999"):
        table.level(1100)
    with pytest.warns(StiffguideWarning, match="a time below 0"):
        table.level(torch.tensor([-1.0, 5.0]))
    network = as_network(SMOOTH, "epsilon", table)
    with pytest.warns(StiffguideWarning, match="a level below 0.01"):
        as_denoiser(network, "epsilon", table)(normal(2, 3), torch.tensor([0.002, 1.0]))
    # half precision, and a transform, go without
    ends = torch.tensor(table.range()).to(torch.bfloat16)
    table.level(table.time(ends))
    many = normal(4, 3)
    sigmas = torch.full((4,), 1e-4, dtype=F64)
    torch.func.vmap(lambda s: table.time(s))(sigmas)
    sample(as_denoiser(network, "epsilon", table), many, grid.karras(4, *table.range()))


@every_schedule
def test_a_range_is_where_networks_are_trained(schedule) -> None:
    low, high = schedule.range()
    assert 0 < low < 0.03
    assert 9 < high < 3e4
    levels = grid.karras(5, low, high)
    torch.testing.assert_close(schedule.level(schedule.time(levels)), levels, rtol=1e-9, atol=0)
    found = grid.scheduled(5, schedule)
    assert (float(found[-1]), float(found[0])) == (low, high)
    torch.testing.assert_close(grid.scheduled(5, schedule, low, high), found, rtol=0, atol=0)


def test_continuous_and_discrete_schedules_meet() -> None:
    # beta(t) per unit time is 1000 betas
    fine, table = VPLinear(0.1, 20.0), DDPMTable.linear()
    t = torch.tensor([100.0, 500.0, 900.0], dtype=F64)
    torch.testing.assert_close(table.level(t), fine.level((t + 0.5) / 1000), rtol=5e-2, atol=0)
    scaled = VPScaledLinear(0.85, 12.0)
    torch.testing.assert_close(
        DDPMTable.scaled_linear().level(t), scaled.level((t + 0.5) / 1000), rtol=5e-2, atol=0
    )


def test_the_shift_is_about_times_only() -> None:
    plain, shifted = RectifiedFlow(), RectifiedFlow(3.0)
    t = torch.tensor(0.25, dtype=F64)
    assert float(shifted.sigma(t)) == pytest.approx(0.75 / 1.5)
    assert float(plain.time(2.0)) == pytest.approx(2 / 3)
    x, sigma, times = 5 * normal(4, 3), LEVELS[:4], torch.full((4,), 0.6)
    for one, other in ((plain, shifted), (Reversed(plain), Reversed(shifted))):
        net, same = (as_network(SMOOTH, "velocity", path) for path in (one, other))
        torch.testing.assert_close(net(x, times), same(x, times))
        torch.testing.assert_close(
            as_denoiser(net, "velocity", one)(x, sigma),
            as_denoiser(net, "velocity", other)(x, sigma),
            rtol=1e-13,
            atol=1e-13,
        )


def test_a_flow_from_noise_to_data_as_texts_write_it() -> None:
    path, x = Reversed(RectifiedFlow()), normal(4, 3)
    noise, data = normal(4, 3, seed=1), normal(4, 3, seed=2)
    t = torch.tensor([0.1, 0.4, 0.7, 0.9], dtype=F64)
    seen = []

    def net(x_t: Tensor, times: Tensor) -> Tensor:
        seen.append((x_t, times))
        return data - noise

    rows = t.unsqueeze(-1)
    level = (1 - t) / t
    found = as_denoiser(net, "velocity", path)(data + noise * level.unsqueeze(-1), level)
    torch.testing.assert_close(found, data, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(seen[0][0], (1 - rows) * noise + rows * data, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(seen[0][1], t, rtol=1e-12, atol=1e-12)
    # the same network, told the other way round
    forth = as_network(SMOOTH, "velocity", RectifiedFlow())
    back = as_network(SMOOTH, "velocity", path)
    torch.testing.assert_close(back(x, t), -forth(x, 1 - t), rtol=1e-12, atol=1e-12)
    with pytest.raises(InputError, match=r"the time of VE\(t_max=inf\) has no end"):
        Reversed(VE())


def test_a_network_with_a_table_of_times() -> None:
    table = DDPMTable.linear()
    epsilon = as_network(SMOOTH, "epsilon", table)
    asked = []

    def net(x: Tensor, t: Tensor) -> Tensor:
        assert t.dtype == torch.int64
        assert bool(((t >= 0) & (t < 1000)).all())
        asked.append(t)
        return epsilon(x, t.to(F64))

    x = table.level(500.25).item() * normal(3, 3)
    sigma = torch.stack([table.level(t) for t in (500.25, 12.0, 998.5)])
    near = as_denoiser(whole_times(net, "nearest"), "epsilon", table)(x, sigma)
    assert asked.pop().tolist() == [500, 12, 998]  # half a step rounds to the even one
    line = as_denoiser(whole_times(net), "epsilon", table)(x, sigma)
    assert [t.tolist() for t in asked] == [[500, 12, 998], [501, 12, 999]]
    whole = as_denoiser(epsilon, "epsilon", table)(x, sigma)
    assert float((line - whole).abs().max()) < 0.2 * float((near - whole).abs().max())
    # at entries there is one call and nothing between; the ends of the table are never left
    asked.clear()
    at_entries = table.level(torch.tensor([0.0, 500.0, 999.0], dtype=F64))
    wrapped = as_denoiser(whole_times(net), "epsilon", table)(x, at_entries)
    torch.testing.assert_close(wrapped, as_denoiser(epsilon, "epsilon", table)(x, at_entries))
    levels = grid.karras(6, *table.range())
    found = sample(as_denoiser(whole_times(net), "epsilon", table), normal(2, 3), levels)
    assert bool((found.status == 0).all())
    with pytest.raises(InputError, match="between is 'linear' or 'nearest', not 'round'"):
        whole_times(net, "round")


@every_schedule
@every_prediction
def test_all_predictions_give_one_field(prediction, schedule) -> None:
    x = LEVELS.unsqueeze(-1) * normal(5, 3, seed=4)
    denoiser = as_denoiser(as_network(SMOOTH, prediction, schedule), prediction, schedule)
    for sigma in (LEVELS, torch.full((5,), 2.0, dtype=F64)):
        expected = (x - SMOOTH(x, sigma)) / sigma.unsqueeze(-1)
        found = (x - denoiser(x, sigma)) / sigma.unsqueeze(-1)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_predictions_are_what_their_names_say() -> None:
    # closed form for data N(0, c^2): x0 = alpha c^2 x / (alpha^2 c^2 + sigma^2)
    c, schedule = 0.7, VPLinear()
    t = torch.tensor([0.2, 0.6], dtype=F64)
    a, s = schedule.alpha(t).unsqueeze(-1), schedule.sigma(t).unsqueeze(-1)
    x = normal(2, 3)
    x0 = a * c**2 * x / (a**2 * c**2 + s**2)
    eps = (x - a * x0) / s
    da, ds = schedule.d_alpha(t).unsqueeze(-1), schedule.d_sigma(t).unsqueeze(-1)
    expected = {
        "x0": x0,
        "epsilon": eps,
        "v": a * eps - s * x0,
        "velocity": da * x0 + ds * eps,
        "score": -x / (a**2 * c**2 + s**2),
    }

    def ve(x: Tensor, sigma: Tensor) -> Tensor:
        return c**2 / (c**2 + sigma.unsqueeze(-1) ** 2) * x

    for name, value in expected.items():
        torch.testing.assert_close(
            as_network(ve, name, schedule)(x, t), value, rtol=1e-11, atol=1e-12
        )


def test_a_network_may_compute_in_half_precision() -> None:
    seen = []

    def net(x: Tensor, t: Tensor) -> Tensor:
        seen.append((x.dtype, t.dtype))
        return torch.zeros_like(x)

    x = normal(2, 3).float()
    x0 = as_denoiser(net, "epsilon", DDPMTable.linear(), dtype=torch.bfloat16)(x, torch.ones(2))
    assert seen == [(torch.bfloat16, torch.float32)]
    torch.testing.assert_close(x0, x)


@pytest.mark.parametrize("clock", ["sigma", "log_snr", "t"])
@pytest.mark.parametrize("shape", [None, (3, 1)])
def test_solve_works_on_the_field_in_every_clock(clock: str, shape) -> None:
    high, low = 5.0, 0.2
    schedule = VPCosine() if clock == "t" else None
    noise = normal(3, 3, seed=6)
    expected = exact_path(SMOOTH, high * noise, [high, low], 200)[-1]
    f = denoiser_field(SMOOTH, clock, schedule, shape=shape)
    start, ends, scale = high * noise, (high, low), 1.0
    if clock == "log_snr":
        ends = (-math.log(high), -math.log(low))
    if schedule is not None:
        ends = (float(schedule.time(high)), float(schedule.time(low)))
        start = schedule.from_ve(start, ends[0])
        scale = float(schedule.alpha(ends[1]))
    found = sg.solve(f, start, *ends, method="dopri5", rtol=1e-9, atol=1e-10, batched=True)
    torch.testing.assert_close(found.y[:, -1] / scale, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VPLinear(2.0, 1.0), "beta_min < beta_max"),
        (lambda: RectifiedFlow(0.0), "shift must be positive"),
        (lambda: RectifiedFlow("3"), "shift must be positive and finite, not '3'"),
        (lambda: VPLinear(0.1, float("inf")), "0 < beta_min < beta_max"),
        (lambda: VPLinear("low", 2.0), "0 < beta_min < beta_max, got low and 2.0"),
        (lambda: DDPMTable(torch.tensor([0.5])), "T >= 2"),
        (lambda: DDPMTable(torch.tensor([0.5, 1.5])), "inside"),
        (lambda: as_denoiser(SMOOTH, "noise"), "prediction is one of"),
        (lambda: denoiser_field(SMOOTH, "time"), "clock is one of"),
        (lambda: denoiser_field(SMOOTH, "t"), "needs the schedule"),
        (lambda: denoiser_field(SMOOTH, "sigma", VPLinear()), "the others take none"),
    ],
)
def test_bad_schedules_are_refused(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
