"""Laws of every grid: it falls between its ends, is float64, and counts as it says."""

from __future__ import annotations

import json
import math

import pytest
import torch
from flows import F64, THIN, normal
from hypothesis import given
from hypothesis import strategies as st

from stiffguide.adapters.diffusion import (
    CalibratedGrid,
    DDPMTable,
    RectifiedFlow,
    VPLinear,
    calibrate_grid,
    grid,
    sample,
)
from stiffguide.errors import InputError

CALIBRATED = CalibratedGrid((80.0, 3.0, 0.1, 0.002), (1.0, 3.0, 2.0))


def rebuilt(n: int, low: float, high: float, zero: bool = False):
    levels = (high, (low * high) ** 0.5, low)
    return CalibratedGrid(levels, (1.0, 3.0))(n, zero=zero)


def in_time(n: int, low: float, high: float, zero: bool = False):
    return grid.scheduled(n, RectifiedFlow(2.0), low, high, zero=zero)


def in_time_squared(n: int, low: float, high: float, zero: bool = False):
    return grid.scheduled(n, VPLinear(), low, high, power=2.0, zero=zero)


MAKERS = {**grid.GRIDS, "calibrated": rebuilt, "flow": in_time, "vp squared": in_time_squared}
every_grid = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@every_grid
@pytest.mark.parametrize("n", [1, 2, 7, 40])
@pytest.mark.parametrize("ends", [(0.002, 80.0), (0.3, 0.31), (1e-5, 1e4)])
def test_n_intervals_from_end_to_end(make, n: int, ends) -> None:
    low, high = ends
    levels = make(n, low, high)
    assert levels.dtype == F64
    assert levels.shape == (n + 1,)
    assert (float(levels[0]), float(levels[-1])) == (high, low)
    assert bool((levels[1:] < levels[:-1]).all())
    to_zero = make(n, low, high, zero=True)
    assert to_zero.shape == (n + 1,)
    assert float(to_zero[-1]) == 0.0
    if n > 1:
        torch.testing.assert_close(to_zero[:-1], make(n - 1, low, high), rtol=0, atol=0)


def test_known_values() -> None:
    # Karras et al., 2022: 18 steps
    edm = grid.karras(18, zero=True)
    i = torch.arange(18, dtype=F64) / 17
    expected = (80 ** (1 / 7) + i * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    torch.testing.assert_close(edm[:-1], expected, rtol=1e-14, atol=0)
    mix = [80, 17.865, 3.9146, 1.0584, 0.40783, 0.18438, 0.072644, 0.01708, 0.002]
    torch.testing.assert_close(grid.mix(8), torch.tensor(mix, dtype=F64), rtol=5e-5, atol=0)
    steps = grid.exponential(6).log().diff()
    torch.testing.assert_close(steps, steps[:1].expand(6), rtol=1e-12, atol=0)
    torch.testing.assert_close(grid.linear(4, 1.0, 5.0), torch.arange(5.0, 0.0, -1.0).double())
    torch.testing.assert_close(grid.quadratic(2, 1.0, 9.0)[1].item(), 4.0)


@pytest.mark.parametrize("center", [0.02, 0.25, 1.3, 20.0])
def test_the_bump_of_mix_lies_at_its_center(center: float) -> None:
    levels = grid.mix(400, 1e-3, 1e3, center=center).log()
    density = 1 / -levels.diff()
    middle = (levels[1:] + levels[:-1]) / 2
    top = middle[(density * (-middle / 20).exp()).argmax()]
    assert abs(float(top) - math.log(center)) < 0.2
    plain = grid.mix(8, sigma_data=2 * center)
    torch.testing.assert_close(grid.mix(8, center=center), plain, rtol=0, atol=0)


def test_mix_asks_for_a_center_in_high_dimension(caplog) -> None:
    grid._say_how_to_measure.cache_clear()
    low, high = grid.mix(8, dimension=15), grid.mix(8, dimension=16, zero=True)
    torch.testing.assert_close(low, grid.mix(8), rtol=0, atol=0)
    torch.testing.assert_close(high, grid.karras(8, zero=True), rtol=0, atol=0)
    told = grid.mix(8, dimension=784, center=1.3)
    torch.testing.assert_close(told, grid.mix(8, center=1.3), rtol=0, atol=0)
    grid.mix(8, dimension=784)
    (line,) = caplog.records
    assert "0.375 * grid.principal_deviation(images)" in line.getMessage()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("count", "shape"), [(200, (2, 3)), (5, (4, 4)), (2, (1,))])
def test_the_principal_deviation_is_a_singular_value(dtype, count: int, shape) -> None:
    images = (normal(count, *shape, seed=3) * torch.arange(1, shape[-1] + 1) + 7).to(dtype)
    flat = images.double().flatten(1)
    exact = torch.linalg.svdvals(flat - flat.mean(0))[0] / (count - 1) ** 0.5
    found = grid.principal_deviation(images)
    assert found == pytest.approx(float(exact), rel=1e-12)
    assert grid.principal_deviation(images.split(2)) == found
    scaled = grid.principal_deviation(images.double() * 1e300)
    assert scaled == pytest.approx(found * 1e300, rel=1e-12)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.ones(1, 3), "1 images .* say nothing of their spread"),
        ([], "0 images"),
        (None, "an object of type NoneType is none"),
        ([torch.ones(0, 3), torch.ones(1, 3)], "1 images"),
        (torch.ones(3, 0), "say nothing"),
        (torch.ones(3, 2), "all the same"),
        (torch.full((3, 2), 0.1), "all the same"),
        (torch.tensor([[0.0], [float("nan")]]), "1 of 2 images are not finite, image 1 first"),
        (
            [torch.ones(2, 3), torch.ones(2, 4)],
            r"batch 1 have shape \(4,\), those of batch 0 \(3,\)",
        ),
        (torch.ones(3, 2, dtype=torch.uint8), r"\(3, 2\) in uint8 is none: scale them"),
        (torch.ones(3), r"\(3,\) in float32 is none: .* stack single ones"),
        ([[1.0, 2.0]], "an object of type list is none"),
    ],
)
def test_images_without_a_spread_are_refused(images, message: str) -> None:
    with pytest.raises(InputError, match=message):
        grid.principal_deviation(images)


def test_ddpm_timesteps() -> None:
    table = DDPMTable.scaled_linear()

    def times(spacing: str, n: int) -> list[float]:
        return table.time(grid.ddpm(n, table, spacing=spacing, zero=True)[:-1]).round().tolist()

    assert times("leading", 5) == [800, 600, 400, 200, 0]
    assert times("trailing", 5) == [999, 799, 599, 399, 199]
    assert times("linspace", 4) == [999, 666, 333, 0]
    assert len(grid.ddpm(4, table)) == 5
    with pytest.raises(InputError, match="1001 levels of a table with 1000"):
        grid.ddpm(1000, table)
    with pytest.raises(InputError, match="spacing"):
        grid.ddpm(4, table, spacing="even")


@given(
    n=st.integers(1, 40),
    size=st.floats(0.0, 10.0),
    seed=st.integers(0, 1000),
    zero=st.booleans(),
    make=st.sampled_from((grid.karras, grid.mix, grid.exponential)),
)
def test_a_moved_grid_falls_between_the_same_ends(n, size, seed, zero, make) -> None:
    levels = make(n, zero=zero)
    found = grid.moved(levels, size, seed)
    assert torch.equal(found, grid.moved(levels.tolist(), size, seed))
    assert found.shape == levels.shape
    assert bool((found[1:] < found[:-1]).all())
    ends = [0, -2, -1] if zero else [0, -1]
    assert torch.equal(found[ends], levels[ends])
    moves = (found / levels).log()[: n + 1 - zero]
    assert float(moves.abs().max()) <= size + 1e-12
    gaps = -levels[: n + 1 - zero].log().diff()
    assert bool((moves[1:-1].abs() <= 0.45 * torch.minimum(gaps[1:], gaps[:-1]) + 1e-12).all())


def test_grids_are_moved_at_random() -> None:
    levels = grid.exponential(41)
    moves = torch.stack([(grid.moved(levels, 0.09, s) / levels).log()[1:-1] for s in range(100)])
    assert float(moves.std()) == pytest.approx(0.09 / 3**0.5, rel=0.03)
    assert abs(float(moves.mean())) < 0.005
    assert torch.equal(grid.moved(levels, 0.0), levels)


def test_shift_spends_its_nodes_at_high_noise() -> None:
    plain = grid.scheduled(10, RectifiedFlow(), 0.01, 100.0)
    shifted = grid.scheduled(10, RectifiedFlow(3.0), 0.01, 100.0)
    assert bool((shifted[1:-1] > plain[1:-1]).all())


def test_own_levels() -> None:
    torch.testing.assert_close(grid.own([3, 1, 0.5]), torch.tensor([3, 1, 0.5], dtype=F64))
    assert grid.own([3, 1], zero=True).tolist() == [3, 1, 0]
    assert grid.own([3, 1, 0], zero=True).tolist() == [3, 1, 0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grid.karras(8, 80.0, 0.002), "sigma_min = 80 must lie below sigma_max = 0.002"),
        (lambda: grid.mix(8, 1.0, 1.0), "must lie below"),
        (lambda: grid.exponential(8, 0.0, 1.0), "use zero=True"),
        (lambda: grid.karras(0), "from 1 on, not 0"),
        (lambda: grid.karras(2.5), "a whole number"),
        (lambda: grid.karras(8, rho=0.0), "rho must be positive"),
        (lambda: grid.karras(8, rho=float("inf")), "rho must be positive and finite, not inf"),
        (lambda: grid.karras(8, rho="seven"), "rho must be positive and finite, not 'seven'"),
        (lambda: grid.linear(8, "low"), "sigma_min = low and sigma_max = 80.0 must be positive"),
        (lambda: grid.mix(8, center="here"), "center must be positive and finite, not 'here'"),
        (lambda: grid.mix(8, sigma_data=0.0), "sigma_data must be positive"),
        (lambda: grid.mix(8, center=-1.0), "center must be positive and finite, not -1"),
        (lambda: grid.mix(8, center=float("inf")), "center must be positive and finite"),
        (lambda: grid.mix(8, center=1e30), r"nothing is left of a bump at 1e\+30 in \[0.002, 80\]"),
        (lambda: grid.mix(8, dimension=0), "dimension counts the numbers of a sample, not 0"),
        (lambda: grid.mix(8, dimension=(1, 28)), r"dimension counts .* not \(1, 28\)"),
        (lambda: grid.scheduled(8, VPLinear(), power=0.0), "power must be positive"),
        (lambda: grid.moved([3, 1], -0.1), "size must be finite and not negative, not -0.1"),
        (lambda: grid.moved([1, 3]), "sigmas must fall"),
        (lambda: grid.own([1, 2, 3]), "sigmas must fall"),
        (lambda: grid.own([3, 1, 1]), r"sigmas\[2\] = 1 does not lie below sigmas\[1\]"),
        (lambda: grid.own([3, 1, -1]), "end in -1"),
        (lambda: grid.own([3.0]), "N >= 1 intervals"),
        (lambda: grid.own([float("nan"), 1.0]), "finite"),
        (lambda: grid.own("abc"), "not numbers"),
        (lambda: CALIBRATED(0), "from 1 on"),
        (lambda: CalibratedGrid((3.0, 1.0), (1.0, 2.0)), "as many positive densities"),
        (lambda: CalibratedGrid.from_json("{}"), "not a calibrated grid"),
        (lambda: CalibratedGrid.from_json("["), "not a calibrated grid"),
        (lambda: CalibratedGrid.from_json('{"format": "x"}'), "format 'x'"),
        (lambda: calibrate_grid(THIN, normal(2, 4), steps=2), "at least 3"),
    ],
)
def test_bad_grids_are_refused(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_calibration_finds_where_the_data_takes_shape(tmp_path) -> None:
    made = calibrate_grid(THIN, normal(8, 4, seed=9), steps=16)
    made.save(tmp_path / "grid.json")
    again = CalibratedGrid.load(tmp_path / "grid.json")
    assert again == made
    assert "16 steps" in repr(again)
    assert json.loads(made.to_json())["levels"][0] == 80.0
    noise = normal(16, 4, seed=10)
    exact = sample(THIN, noise, grid.exponential(400), "unipc2").x

    def error(levels) -> float:
        found = sample(THIN, noise, levels, "emg").x
        return float(torch.linalg.vector_norm(found - exact, dim=-1).median())

    assert error(made(12)) < 0.3 * error(grid.karras(12))


def test_calibration_reports_a_broken_denoiser() -> None:
    with pytest.raises(InputError, match="not finite"):
        calibrate_grid(lambda x, sigma: x * float("nan"), normal(2, 4), steps=4)
