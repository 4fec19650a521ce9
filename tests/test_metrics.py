"""Laws of the metrics: closed forms for Gaussians, equality with other people's formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from stiffguide.adapters.diffusion.metrics import (
    distance_to_flow,
    end_point_error,
    frechet_distance,
    moments,
    sliced_wasserstein,
)
from stiffguide.errors import InputError


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def textbook(a: Tensor, b: Tensor) -> float:
    """The formula as it is written, by a matrix square root."""
    x, y = a.numpy(), b.numpy()
    p, q = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(p @ q).real
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(p + q - 2 * root))


@pytest.mark.parametrize(("rows", "size"), [(200, 5), (400, 40)])
def test_frechet_equals_the_formula(rows: int, size: int) -> None:
    a = normal(rows, size) @ normal(size, size, seed=1) + 1.0
    b = normal(rows, size, seed=2) @ normal(size, size, seed=3)
    assert frechet_distance(a, b) == pytest.approx(textbook(a, b), rel=1e-9)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


@pytest.mark.parametrize("rows", [6, 500])
def test_frechet_vanishes_between_equal_sets_even_of_low_rank(rows: int) -> None:
    a = normal(rows, 20)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-6)
    # a shift moves only the mean
    assert frechet_distance(a, a + 0.5) == pytest.approx(20 * 0.25, abs=1e-6)


def test_moments_of_chunks_merge_to_those_of_the_whole() -> None:
    x = normal(100, 7) * 3 + 10
    merged = moments(x[:13]).merge(moments(x[13:60])).merge(moments(x[60:]))
    whole = moments(x)
    assert merged.samples == whole.samples
    torch.testing.assert_close(merged.mean, whole.mean)
    torch.testing.assert_close(merged.covariance, whole.covariance)


def test_sliced_wasserstein_of_a_shift_is_its_length_along_a_random_direction() -> None:
    x, shift = normal(300, 6), normal(6, seed=4)
    random = torch.Generator().manual_seed(0)
    expected = shift.norm().item() / math.sqrt(6)
    assert sliced_wasserstein(x, x + shift, 4000, random) == pytest.approx(expected, rel=0.05)
    assert sliced_wasserstein(x, x[torch.randperm(300)]) == pytest.approx(0.0, abs=1e-12)


def test_sliced_wasserstein_on_a_line_is_the_distance_of_quantiles() -> None:
    a, b = normal(5000, 1), 2 * normal(3000, 1, seed=1)
    # W2 of two centred Gaussians is the difference of their deviations
    assert sliced_wasserstein(a, b) == pytest.approx(1.0, abs=0.07)


def test_end_point_error_of_known_distances() -> None:
    reference = normal(5, 2, 2)
    x = reference.clone()
    x[:, 0, 0] += torch.tensor([1.0, 2.0, 3.0, 4.0, 10.0])
    error = end_point_error(x, reference)
    assert error.median == pytest.approx(3.0)
    assert error.rms == pytest.approx(math.sqrt(26))
    assert error.largest == pytest.approx(10.0)
    assert distance_to_flow(reference, "rms")(x) == error.rms


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="dimensions"):
        frechet_distance(normal(5, 3), normal(5, 4))
    with pytest.raises(InputError, match="N >= 2"):
        moments(normal(1, 3))
    with pytest.raises(InputError, match="dimensions"):
        sliced_wasserstein(normal(5, 3), normal(5, 4))
    with pytest.raises(InputError, match="reference"):
        end_point_error(normal(5, 3), normal(4, 3))
    with pytest.raises(InputError, match="median"):
        distance_to_flow(normal(5, 3), "mean")
