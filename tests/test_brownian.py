"""Laws of the Brownian motions of samples: increments, additivity, and what they depend on."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from flows import F64
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stiffguide.adapters.diffusion import Brownian
from stiffguide.adapters.diffusion.brownian import DEPTH, Drawn, Moment, variance
from stiffguide.errors import InputError

# octaves of 1/sigma^2 end at powers of the square root of 2
LEVELS = [80.0, 33.0, 5.0, 1.1, 1.0, 2**-0.5, 0.7, 0.3, 0.29, 0.01, 0.002]
levels = st.floats(1e-3, 100.0)


def increments(motion: Brownian) -> torch.Tensor:
    return torch.stack([motion(a, b).flatten() for a, b in pairwise(LEVELS)])


def test_increments_are_normal_of_unit_variance_and_independent() -> None:
    found = increments(Brownian([3, 4], (2, 4000), dtype=F64))
    size = found.shape[1]
    for row in found.numpy():
        assert 1e-3 < stats.chi2.cdf((row**2).sum(), size) < 1 - 1e-3
        assert stats.kstest(row, "norm").pvalue > 1e-3
    products = found @ found.T / size
    apart = products[~torch.eye(len(found), dtype=torch.bool)]
    assert apart.abs().max() < 4 / math.sqrt(size)


def test_rows_and_components_are_independent() -> None:
    found = torch.stack([Brownian([3, 4], (2, 4000), dtype=F64)(a, 0.01) for a in (80.0, 0.02)])
    for rows in found:
        assert abs(float(rows[0] @ rows[1])) / 4000 < 4 / math.sqrt(4000)
        assert abs(float(rows[0, 1:] @ rows[0, :-1])) / 4000 < 4 / math.sqrt(4000)


@settings(deadline=None, max_examples=40)
@given(st.lists(levels, min_size=3, max_size=6, unique=True), st.integers(0, 2**70))
def test_increments_add_up_in_any_order(chosen: list[float], seed: int) -> None:
    motion = Brownian([seed], (1, 3), dtype=F64)
    parts = [motion.increment(a, b) for a, b in pairwise(chosen)]
    again = Brownian([seed], (1, 3), dtype=F64)
    whole = again.increment(chosen[0], chosen[-1])
    scale = math.sqrt(max(x**-2 for x in chosen))
    torch.testing.assert_close(sum(parts), whole, rtol=0, atol=1e-12 * scale)
    for (a, b), part in reversed(list(zip(pairwise(chosen), parts, strict=True))):
        assert torch.equal(again.increment(a, b), part)
        assert torch.equal(again.increment(b, a), -part)


@settings(deadline=None, max_examples=200)
@given(levels, levels, levels)
def test_variances_are_those_of_the_clock(a: float, b: float, c: float) -> None:
    a, b, c = sorted((a, b, c), reverse=True)
    length = (c**-2 - a**-2) * 2.0 ** -Moment.of(c).octave
    found = variance(Moment.of(a), Moment.of(c))
    assert abs(found - length) <= 1.01 * 2.0**-DEPTH
    # a straight line only where two ends share a cell: elsewhere variances add up
    if len({Moment.of(x)[:2] for x in (a, b, c)}) == 3:
        last = Moment.of(c).octave
        first = variance(Moment.of(a), Moment.of(b)) * 2.0 ** (Moment.of(b).octave - last)
        assert abs(first + variance(Moment.of(b), Moment.of(c)) - found) <= 2.0**-DEPTH


@pytest.mark.parametrize("exponent", [3, 12, 21, 30, 50])
def test_short_intervals_have_unit_variance_too(exponent: int) -> None:
    for level in (1.3, 0.02):
        x = Brownian([9], (1, 4000), dtype=F64)(level * (1 + 2.0**-exponent), level)
        assert 1e-3 < stats.chi2.cdf(float((x**2).sum()), 4000) < 1 - 1e-3
    assert torch.equal(Brownian([9], (1, 3))(1.3, 1.3), torch.zeros(1, 3))


def test_the_middle_is_a_bridge() -> None:
    """Given its ends the middle is their mean by lengths, with the variance l r/(l + r)."""
    motion = Brownian([5], (1, 8000), dtype=F64)
    a, m, b = 2.0, 0.9, 0.6
    left, right = m**-2 - a**-2, b**-2 - m**-2
    first, whole = motion.increment(a, m), motion.increment(a, b)
    rest = first - left / (left + right) * whole
    assert abs(float((rest * whole).mean())) < 4 * float(rest.std() * whole.std()) / 8000**0.5
    expected = left * right / (left + right)
    assert 1e-3 < stats.chi2.cdf(float((rest**2).sum()) / expected, 8000) < 1 - 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("shape", [(), (5,), (3, 2, 7)])
def test_a_row_depends_on_its_seed_alone(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    seeds = [11, 0, 2**64 + 3, 7, 8]
    whole = [Brownian(seeds, (5, *shape), dtype=dtype)(a, b) for a, b in pairwise(LEVELS)]
    order = [4, 1, 0, 3, 2]
    turned = Brownian([seeds[i] for i in order], (5, *shape), dtype=dtype)
    for (a, b), rows in reversed(list(zip(pairwise(LEVELS), whole, strict=True))):
        assert rows.dtype == dtype
        assert torch.equal(turned(a, b), rows[order])
    for i, seed in enumerate(seeds):
        alone = Brownian([seed], (1, *shape), dtype=dtype)
        for (a, b), rows in zip(pairwise(LEVELS), whole, strict=True):
            assert torch.equal(alone(torch.tensor(a, dtype=F64), b)[0], rows[i])


def test_it_takes_no_noise_from_elsewhere() -> None:
    state = torch.get_rng_state()
    known = np.random.get_state()[1].copy()
    Brownian([1], (1, 4))(2.0, 1.0)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], known)


def test_from_infinity() -> None:
    far = Brownian([2], (1, 4000), dtype=F64)
    x = far(math.inf, 0.7)
    assert 1e-3 < stats.chi2.cdf(float((x**2).sum()), 4000) < 1 - 1e-3
    torch.testing.assert_close(far(1e30, 0.7), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan])
def test_levels_that_it_does_not_have(sigma: float) -> None:
    with pytest.raises(InputError, match="levels above 0"):
        Brownian([1], (1, 2))(1.0, sigma)


def test_seeds_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="1 seeds for a batch of 2"):
        Brownian([1], (2, 2))
    with pytest.raises(InputError, match="whole numbers"):
        Brownian([-1], (1, 2))


def test_draws_without_seeds_go_on_with_what_they_began() -> None:
    random = torch.Generator().manual_seed(4)
    motion = Drawn(lambda: torch.randn(20000, generator=random, dtype=F64))
    a, m, b = 2.0, 0.9, 0.6
    first, whole, after = motion(a, m), motion(a, b), motion(b, 0.3)
    expected = math.sqrt((m**-2 - a**-2) / (b**-2 - a**-2))
    assert float((first * whole).mean()) == pytest.approx(expected, abs=4 / 20000**0.5)
    assert float((whole**2).mean()) == pytest.approx(1, abs=6 / 20000**0.5)
    assert abs(float((whole * after).mean())) < 4 / 20000**0.5
