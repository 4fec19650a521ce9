"""What a fit rests on, without a solve: the search, its bounds, its covariance, its coverage."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from scipy.stats import t as student
from torch import Tensor

from stiffguide.fitting.levenberg_marquardt import (
    CONVERGED,
    FAILED,
    MOVING,
    Aims,
    Box,
    Minimum,
    Residuals,
    minimise,
)
from stiffguide.fitting.uncertainty import combination, intervals, uncertainty

D = torch.float64
T = torch.linspace(0.0, 3.0, 12, dtype=D)
TRUE = torch.tensor([0.7, -0.4], dtype=D)  # logarithms of amplitude and rate
OPEN = Box(torch.full((2,), -torch.inf, dtype=D), torch.full((2,), torch.inf, dtype=D))


def decay(u: Tensor, target: Tensor) -> Residuals:
    """a exp(-k t) for u = (log a, log k) (R, 2), against target (R, 12)."""
    a, k = u.exp().unsqueeze(-1).unbind(1)
    y = a * torch.exp(-k * T)
    return Residuals(y - target, torch.stack((y, -k * T * y), -1), torch.ones(len(u)) > 0)


def found(target: Tensor, u0: Tensor, attempts: int) -> Minimum:
    aims = Aims(1e-14, torch.zeros(len(u0), dtype=D), torch.full((2,), 2.0, dtype=D), attempts)
    return minimise(lambda u, rows: decay(u, target[rows]), u0, OPEN, aims)


def data(rows: int, noise: float) -> Tensor:
    draw = torch.Generator().manual_seed(4)
    y = decay(TRUE[None], torch.zeros(1, len(T), dtype=D)).values
    return y + noise * torch.randn(rows, len(T), generator=draw, dtype=D)


@pytest.mark.parametrize("attempts", [3, 100])
def test_a_batch_of_searches_is_each_of_them_alone(attempts: int) -> None:
    """On the way, and in the end."""
    target, draw = data(20, 0.05), torch.Generator().manual_seed(5)
    u0 = TRUE + 2 * torch.randn(20, 2, generator=draw, dtype=D)
    whole = found(target, u0, attempts)
    assert bool((whole.status == (CONVERGED if attempts == 100 else MOVING)).all())
    for k in range(20):
        alone = found(target[k : k + 1], u0[k : k + 1], attempts)
        torch.testing.assert_close(alone.u[0], whole.u[k], rtol=1e-7, atol=1e-7)
        assert float(alone.cost[0]) == pytest.approx(float(whole.cost[k]), rel=1e-9)


@given(st.integers(0, 10_000))
def test_within_bounds_it_is_scipys_minimum(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    j = torch.randn(9, 4, generator=draw, dtype=D)
    target, u0 = torch.randn(9, generator=draw, dtype=D), torch.zeros(1, 4, dtype=D)
    ends = torch.rand(2, 4, generator=draw, dtype=D) * 0.4
    box = Box(-ends[0], ends[1])

    def linear(u: Tensor, rows: Tensor) -> Residuals:
        return Residuals(u @ j.mT - target, j.expand(len(u), 9, 4), torch.ones(len(u)) > 0)

    aims = Aims(1e-15, torch.zeros(1, dtype=D), torch.full((4,), 2.0, dtype=D))
    ours = minimise(linear, u0, box, aims)
    exact = optimize.lsq_linear(j.numpy(), target.numpy(), (-ends[0].numpy(), ends[1].numpy()))
    assert float(ours.cost[0]) == pytest.approx(2 * exact.cost, rel=1e-9)
    np.testing.assert_allclose(ours.u[0].numpy(), exact.x, atol=1e-5)


def test_where_the_model_has_no_value_nobody_goes() -> None:
    """The full step from the first start leads there; the second start lies there."""
    target = data(1, 0.0).expand(2, -1)
    u0 = torch.stack((TRUE + torch.tensor([2.5, 2.0]), TRUE + torch.tensor([0.0, 3.0])))

    def bounded(u: Tensor, rows: Tensor) -> Residuals:
        whole = decay(u, target[rows])
        bad = u[:, 1] > TRUE[1] + 2.1
        values = torch.where(bad[:, None], torch.nan, whole.values)
        low = (u[:, 0] < TRUE[0] - 0.01) & (rows == 0)
        return whole._replace(values=values, ok=~low)

    aims = Aims(1e-14, torch.zeros(2, dtype=D), torch.full((2,), 2.0, dtype=D))
    ends = minimise(bounded, u0.to(D), OPEN, aims)
    torch.testing.assert_close(ends.u[0], TRUE, rtol=1e-6, atol=1e-6)
    assert int(ends.status[1]) == FAILED
    assert float(ends.cost[1]) == torch.inf
    assert not bool(ends.u.isnan().any())


@pytest.mark.parametrize("known", [True, False])
def test_covariance_is_scipys(known: bool) -> None:
    target = data(1, 0.05)
    sigma = torch.linspace(0.02, 0.1, len(T), dtype=D)

    def weighted(u: Tensor, rows: Tensor) -> Residuals:
        whole = decay(u, target)
        return whole._replace(values=whole.values / sigma, jacobian=whole.jacobian / sigma[:, None])

    aims = Aims(1e-15, torch.zeros(1, dtype=D), torch.full((2,), 2.0, dtype=D))
    at = minimise(weighted, torch.zeros(1, 2, dtype=D), OPEN, aims)
    j = weighted(at.u, torch.zeros(1)).jacobian[0]
    none = torch.zeros(2) > 0
    ours = uncertainty(j, float(at.cost), torch.ones(2), none, absolute=known, rtol=1e-6)
    best, covariance = optimize.curve_fit(
        lambda t, a, k: np.exp(a - np.exp(k) * t),
        *(T.numpy(), target[0].numpy(), [0.0, 0.0], sigma.numpy()),
        absolute_sigma=known,
        xtol=1e-12,
        ftol=1e-14,
    )
    np.testing.assert_allclose(at.u[0].numpy(), best, rtol=1e-5)
    np.testing.assert_allclose(ours.covariance.numpy(), covariance, rtol=1e-4)
    assert ours.freedom == len(T) - 2


@pytest.mark.parametrize("known", [True, False])
def test_intervals_cover_as_often_as_they_say(known: bool) -> None:
    """2,000 sets of data in one batch: 95 % intervals hold the truth 93 to 97 times of 100."""
    count, noise = 2000, 0.05
    target = data(count, noise) / noise
    scaled = Box(OPEN.lower, OPEN.upper)
    aims = Aims(1e-10, torch.zeros(count, dtype=D), torch.full((2,), 2.0, dtype=D))

    def model(u: Tensor, rows: Tensor) -> Residuals:
        r = decay(u, noise * target[rows])
        return r._replace(values=r.values / noise, jacobian=r.jacobian / noise)

    ends = minimise(model, TRUE.expand(count, 2).clone(), scaled, aims)
    assert bool((ends.status == CONVERGED).all())
    none, width = torch.zeros(2) > 0, float(student.ppf(0.975, len(T) - 2))
    at, inside = model(ends.u, torch.arange(count)), torch.zeros(2)
    for k in range(count):
        found = uncertainty(
            *(at.jacobian[k], float(ends.cost[k]), torch.ones(2), none), absolute=known, rtol=1e-6
        )
        low, high = intervals(ends.u[k], found.covariance, width)
        inside += ((low <= TRUE) & (high >= TRUE)).float()
    share = inside / count
    # with a known deviation Student's quantile is wide for ten degrees of freedom
    assert bool(((share > 0.93) & (share < (0.985 if known else 0.97))).all()), share


def test_what_only_a_combination_of_parameters_moves_is_named() -> None:
    j = torch.randn(20, 6, generator=torch.Generator().manual_seed(0), dtype=D)
    j[:, 1] = 3 * j[:, 0]  # in logarithms: 3 log a + ... only as a^1 b^3
    j[:, 3] = j[:, 2]
    j[:, 4] = 0
    names = ("a", "b", "c", "d", "e", "f")
    none = torch.zeros(6) > 0
    found = uncertainty(j, 2.0, torch.ones(6), none, absolute=True, rtol=1e-6)
    assert found.without == [4]
    assert found.loose == [(0, 1), (2, 3)]
    logs = torch.ones(6) > 0
    said = [combination(own, found, names, logs) for own in found.loose]
    assert said == [
        "a and b are determined only in combination",
        "c and d are determined only as the product c * d",
    ]
    assert found.freedom == 20 - 3
    assert torch.diagonal(found.covariance)[:5].tolist() == [torch.inf] * 5
    alone = (j[:, [0, 2, 5]].mT @ j[:, [0, 2, 5]]).inverse()[2, 2]
    assert float(found.covariance[5, 5]) == pytest.approx(float(alone), rel=1e-9)
    minus = uncertainty(
        *(torch.cat((j[:, :3], -j[:, 2:3]), 1), 2.0, torch.ones(4), none[:4]),
        absolute=True,
        rtol=1e-6,
    )
    (_, ratio) = (combination(own, minus, names, logs) for own in minus.loose)
    assert ratio.endswith("only as the ratio c / d")


def test_a_parameter_at_a_bound_is_held_there_for_the_others() -> None:
    j = torch.randn(20, 3, generator=torch.Generator().manual_seed(1), dtype=D)
    held = torch.tensor([False, True, False])
    found = uncertainty(j, 2.0, torch.ones(3), held, absolute=True, rtol=1e-6)
    free = j[:, [0, 2]]
    expected = (free.mT @ free).inverse()
    torch.testing.assert_close(found.covariance[[0, 2]][:, [0, 2]], expected)
    assert bool(found.covariance[1].isnan().all())


def test_what_hardly_moves_anything_does_not_keep_the_others_from_moving() -> None:
    """A third coordinate adds almost nothing to the residuals, and always too much."""
    target, draw = data(30, 0.0), torch.Generator().manual_seed(6)
    u0 = torch.cat((TRUE + torch.randn(30, 2, generator=draw, dtype=D), -torch.ones(30, 1)), 1)

    def model(u: Tensor, rows: Tensor) -> Residuals:
        whole, push = decay(u[:, :2], target[rows]), 1e-9 * u[:, 2:].exp()
        slope = push.unsqueeze(1).expand(-1, len(T), 1)
        return Residuals(
            whole.values + push, torch.cat((whole.jacobian, slope), 2), torch.ones(len(u)) > 0
        )

    aims = Aims(1e-6, torch.full((30,), 1e-16, dtype=D), torch.full((3,), 2.0, dtype=D))
    ends = minimise(model, u0, Box(*(torch.full((3,), x, dtype=D) for x in (-1e9, 1e9))), aims)
    assert bool((ends.status == CONVERGED).all())
    torch.testing.assert_close(ends.u[:, :2], TRUE.expand(30, 2), rtol=1e-5, atol=1e-5)
