"""The measurement of roughness: what it counts, what it finds, what it says."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from flows import F64, THIN, normal
from hypothesis import given
from hypothesis import strategies as st

from stiffguide.adapters.diffusion import RoughnessPlan, grid, problems, roughness, sample
from stiffguide.adapters.diffusion.rough_denoiser import RoughDenoiser
from stiffguide.adapters.diffusion.roughness import (
    HALF,
    MOVE,
    GridSpread,
    Roughness,
    RoughWindow,
    _inside,
    _places,
    _window,
)
from stiffguide.errors import InputError, SolveFailed

SMALL = RoughnessPlan(coarse=12, places=3, window=9, budgets=(4, 9), moved=3, fine=40)
NOISE = normal(5, 4, seed=6)


@pytest.mark.parametrize("method", ["emg", "dpmpp_2m", "heun"])
@pytest.mark.parametrize("zero", [False, True])
def test_evaluations_are_counted_before_and_after(method: str, zero: bool) -> None:
    calls: list[int] = []
    labels = torch.arange(5, dtype=F64).reshape(5, 1, 1, 1)  # bound to the rows, as classes are

    def denoiser(x, sigma):
        calls.append(len(x))
        return THIN(x + 0 * labels, sigma)

    def levels(n: int):
        return grid.karras(n, zero=zero)

    noise = NOISE.float().reshape(5, 1, 2, 2).double()
    found = roughness(denoiser, noise, levels, method, SMALL)
    assert calls == [5] * found.evaluations
    # Heun makes an even number, and one less where it goes to 0
    spared = SMALL.moved * (1 + 2 * zero) if method == "heun" else 0
    assert found.evaluations == SMALL.evaluations - spared == 12 + 27 + 39 + 40 - spared
    assert (found.samples, found.method) == (5, method)
    assert [spread.nfe for spread in found.spreads] == [4, 9]
    assert len(found.windows) == 3
    assert RoughnessPlan().evaluations == 850  # as the docstring says


@given(degree=st.integers(1, 6), seed=st.integers(0, 50), count=st.integers(5, 60))
def test_a_window_is_the_fit_that_numpy_makes(degree: int, seed: int, count: int) -> None:
    weights = normal(degree + 1, 3, 2, seed=seed).numpy()  # of powers of log sigma, by sample
    offset = 1e3 * normal(3, 2, seed=seed + 1)  # which must not drown what is rough
    way = np.linspace(-HALF, HALF, count)

    def curve(l: float) -> np.ndarray:
        return sum((w * (l / HALF) ** k for k, w in enumerate(weights)), np.zeros((3, 2)))

    found = _window(
        lambda s: offset + torch.from_numpy(curve(math.log(s / 0.7))), sigma=0.7, count=count
    )
    values = np.stack([curve(l) for l in way]).reshape(count, -1)
    fits = np.polynomial.polynomial.polyfit(way, values, 3)
    smooth = np.polynomial.polynomial.polyval(way, fits).T.reshape(count, 3, 2)
    change = np.linalg.norm(smooth[-1] - smooth[0], axis=-1)
    rest = np.square(values.reshape(count, 3, 2) - smooth).sum((0, 2)) / (count - 4)
    np.testing.assert_allclose(found[0], change, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found[1] * found[0], np.sqrt(rest), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [0.03, 0.1])
@pytest.mark.parametrize("shared", [False, True])
def test_it_finds_how_rough_a_denoiser_was_made(size: float, shared: bool) -> None:
    rough = RoughDenoiser(THIN, size, shared=shared)
    plan = RoughnessPlan(budgets=(4,), moved=2, fine=4)
    found = roughness(rough, normal(16, 4, seed=7), plan=plan)
    # a cubic takes the longest of the waves along
    assert 0.7 * size < found.share < size
    assert roughness(THIN, normal(16, 4, seed=7), plan=plan).share < 0.005


def test_spreads_are_distances_of_runs() -> None:
    rough = RoughDenoiser(THIN, 0.1)
    found = roughness(rough, NOISE, grid.exponential, "unipc2", SMALL, seed=5)
    fine = sample(rough, NOISE, grid.log_snr(40), "unipc2").x
    for spread, nfe in zip(found.spreads, (4, 9), strict=True):
        grids = [grid.moved(grid.exponential(nfe), MOVE, seed) for seed in (5, 6, 7)]
        ends = [sample(rough, NOISE, levels, "unipc2").x for levels in grids]
        errors = torch.stack([(end - fine).norm(dim=-1) for end in ends])
        apart = torch.stack([(a - b).norm(dim=-1) for a, b in combinations(ends, 2)])
        assert spread.error == pytest.approx(float(errors.square().mean(0).sqrt().median()))
        assert spread.apart == pytest.approx(float(apart.square().mean(0).sqrt().median()))
        assert spread.ratio == pytest.approx(spread.apart / spread.error)
    again = roughness(rough, NOISE, grid.exponential, "unipc2", SMALL, seed=6)
    assert again.windows == found.windows
    assert again.spreads != found.spreads
    assert roughness(rough, NOISE, grid.exponential, "unipc2", SMALL, seed=5) == found


@pytest.mark.parametrize("name", ["aniso2d", "lr64"])
def test_on_rough_problems_a_floor_is_found_and_on_smooth_ones_none(name: str) -> None:
    problem = problems.get(name, 3)
    mixture, noise = problem.folded(problem.noise(5, 16))
    smooth = roughness(mixture, noise)
    assert smooth.floor_from is None
    assert "better ones can help" in str(smooth)
    rough = roughness(RoughDenoiser(mixture, 0.15), noise)
    assert rough.floor_from in (16, 24)
    assert f"From {rough.floor_from} evaluations on" in str(rough)
    assert "only more levels lower this floor" in str(rough)


@pytest.mark.parametrize(
    ("share", "ratios", "floor"),
    [
        (0.05, (0.1, 0.3, 1.1, 1.2), 16),
        (0.05, (0.9, 0.3, 1.1, 1.2), 8),  # on average from there on
        (0.05, (0.9, 0.3, 0.5, 1.2), 24),
        (0.05, (0.1, 0.3, 0.7, 1.2), 24),
        (0.05, (0.1, 0.3, 0.9, 0.75), 16),
        (0.05, (0.1, 0.3, 0.7, 0.7), None),
        (0.005, (0.1, 0.3, 1.1, 1.2), None),  # close for another reason
    ],
)
def test_the_floor_is_where_moved_grids_end_as_far_apart(share, ratios, floor) -> None:
    spreads = [GridSpread(n, 2.0, 2 * r) for n, r in zip((8, 12, 16, 24), ratios, strict=True)]
    windows = tuple(RoughWindow(s, 1.0, v) for s, v in ((3.0, share), (1.0, 9.0), (0.3, 0.0)))
    found = Roughness(windows, tuple(spreads), "emg", 4, 850)
    assert found.share == pytest.approx(share)
    assert found.floor_from == floor
    assert ("Up to 24 evaluations" in str(found)) == (floor is None)
    assert len(str(found).splitlines()) == 3 + len(spreads)


def test_windows_part_the_way_of_the_denoiser() -> None:
    sigmas = np.geomspace(10, 0.01, 41).tolist()
    path = torch.linspace(0, 1, 41, dtype=F64) ** 2
    assert _inside(sigmas) == _inside([*sigmas, 0.0])
    found = _places(_inside(sigmas), path, 4)
    for place, part in zip(found, (1 / 8, 3 / 8, 5 / 8, 7 / 8), strict=True):
        assert abs(float(path[place]) - part) < 0.03
    for place in _places(_inside(sigmas), torch.tensor([0.0] * 40 + [1.0]), 2):
        assert 0.01 * math.exp(HALF) <= sigmas[place] <= 10 * math.exp(-HALF)


def test_a_condition_is_told_as_it_would_be_bound() -> None:
    shifts = 0.1 * normal(5, 4, seed=8)

    def net(x, sigma, condition):
        return THIN(x + condition["shift"], sigma)

    bound = roughness(lambda x, sigma: THIN(x + shifts, sigma), NOISE, plan=SMALL)
    assert roughness(net, NOISE, plan=SMALL, condition={"shift": shifts}) == bound
    with pytest.raises(InputError, match="the condition has 4 rows and the state 5"):
        roughness(net, NOISE, plan=SMALL, condition={"shift": shifts[:4]})


def test_a_denoiser_that_never_moves_is_smooth() -> None:
    found = roughness(lambda x, sigma: torch.ones_like(x), NOISE, plan=SMALL)
    assert found.share == 0
    assert found.floor_from is None


def test_refusals() -> None:
    with pytest.raises(InputError, match=r"no level of the grid from 1 to 0.8 has 0.3"):
        roughness(THIN, NOISE, lambda n: grid.karras(n, 0.8, 1.0), plan=SMALL)
    with pytest.raises(SolveFailed, match="not finite"):
        roughness(lambda x, sigma: x / 0, NOISE, plan=SMALL)
    spoilt = set(grid.karras(12).float().tolist())

    def between(x, sigma):
        return THIN(x, sigma) if float(sigma.float()[0]) in spoilt else x * math.nan

    with pytest.raises(InputError, match=r"not finite within 0.3 of log sigma around sigma = "):
        roughness(between, NOISE, plan=SMALL)
    wrong = [{"coarse": 2}, {"places": 0}, {"window": 4}, {"moved": 1}, {"fine": 0}]
    for words in [*wrong, {"budgets": ()}, {"budgets": (0, 8)}]:
        with pytest.raises(InputError, match="RoughnessPlan: "):
            RoughnessPlan(**words)
