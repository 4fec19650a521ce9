"""Denoisers made rough in sigma: how rough, in what, and for whom."""

from __future__ import annotations

import math

import pytest
import torch
from flows import F64, THIN, normal
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from stiffguide.adapters.diffusion import grid, problems, sample
from stiffguide.adapters.diffusion.rough_denoiser import HALF, RoughDenoiser
from stiffguide.errors import InputError

X = normal(6, 4, seed=3)


def added(rough: RoughDenoiser, x: Tensor, sigma: Tensor) -> Tensor:
    """What is rough at x, in units of the change of D."""
    change = THIN(x, sigma * math.exp(-HALF)) - THIN(x, sigma * math.exp(HALF))
    return (rough(x, sigma) - THIN(x, sigma)) / change.norm(dim=-1, keepdim=True)


def at(sigma: float, count: int = len(X)) -> Tensor:
    return torch.full((count,), sigma, dtype=F64)


@given(
    size=st.floats(0.01, 0.2),
    length=st.floats(0.01, 0.3),
    seed=st.integers(0, 100),
    shared=st.booleans(),
)
def test_it_is_a_function_of_a_row_alone(size, length, seed, shared) -> None:
    rough = RoughDenoiser(THIN, size, length, seed, shared=shared)
    sigma = torch.linspace(0.05, 3.0, len(X), dtype=F64)
    whole = rough(X, sigma)
    again = RoughDenoiser(THIN, size, length, seed, shared=shared)
    assert torch.equal(again(X, sigma), whole)
    for i in (5, 0, 2):
        alone = again(X[i : i + 1], sigma[i : i + 1])
        torch.testing.assert_close(alone, whole[i : i + 1], rtol=1e-12, atol=1e-12)
    shaped = rough(X.reshape(-1, 2, 2), sigma)
    torch.testing.assert_close(shaped.flatten(1), whole, rtol=0, atol=0)


@pytest.mark.parametrize("shared", [False, True])
def test_it_is_as_rough_as_it_says(shared: bool) -> None:
    sizes = [
        added(RoughDenoiser(THIN, 0.06, seed=seed, shared=shared), X, at(0.5)).norm(dim=-1)
        for seed in range(400)
    ]
    assert float(torch.stack(sizes).square().mean().sqrt()) == pytest.approx(0.06, rel=0.05)


@pytest.mark.parametrize("length", [0.03, 0.1])
def test_its_correlation_has_the_length_that_it_says(length: float) -> None:
    products = {0.0: [], 1.0: [], 3.0: []}
    for seed in range(400):
        rough = RoughDenoiser(THIN, 0.06, length, seed)
        here = added(rough, X, at(0.5))
        for way, found in products.items():
            there = added(rough, X, at(0.5 * math.exp(way * length)))
            found.append((here * there).sum(-1) / 0.06**2)
    for way, found in products.items():
        expected = math.exp(-(way**2) / 2)
        assert float(torch.stack(found).mean()) == pytest.approx(expected, abs=0.06)


def test_it_is_rough_in_sigma_and_smooth_in_x() -> None:
    rough = RoughDenoiser(THIN, 0.06, 0.03)
    here = added(rough, X, at(0.5))
    beside = added(rough, X + 0.01 * normal(6, 4, seed=4), at(0.5))
    above = added(rough, X, at(0.5 * math.exp(0.06)))
    assert float((beside - here).norm()) < 0.1 * float((above - here).norm())


def test_one_field_for_all_samples_or_one_for_each() -> None:
    """Along the change of D the roughness is a number, which all samples share or do not."""

    def number(shared: bool) -> Tensor:
        line = lambda x, sigma: x / (1 + sigma.unsqueeze(-1) ** 2)  # noqa: E731
        rough = RoughDenoiser(line, 0.06, shared=shared)
        x = torch.tensor([[0.3], [0.9], [2.0]], dtype=F64)
        sigma = at(0.7, 3)
        return (rough(x, sigma) - line(x, sigma)) / x  # the change is proportional to x > 0

    torch.testing.assert_close(number(True), number(True)[:1].expand(3, 1))
    assert float(number(False).std()) > 0.1 * float(number(False).abs().mean())


def test_edges() -> None:
    x = X.float()
    rough = RoughDenoiser(THIN, 0.06)
    assert rough(x, at(0.5).float()).dtype == torch.float32
    assert torch.equal(rough(X, at(0.0)), THIN(X, at(0.0)))
    assert torch.equal(RoughDenoiser(THIN, 0.0)(X, at(0.5)), THIN(X, at(0.5)))
    assert not torch.equal(rough(X, at(0.5)), RoughDenoiser(THIN, 0.06, seed=1)(X, at(0.5)))
    assert "0.06 over 0.03, by sample" in repr(rough)
    for size, length in ((-0.1, 0.03), (math.nan, 0.03), (0.1, 0.0), (0.1, math.inf)):
        with pytest.raises(InputError, match=r"size = .* and length = "):
            RoughDenoiser(THIN, size, length)


@pytest.mark.parametrize("name", ["aniso2d", "lr64"])
def test_a_rough_problem_has_a_flow_that_fine_runs_agree_on(name: str) -> None:
    problem = problems.rough(problems.get(name), 0.1)
    assert problem.name == f"{name}, 10 % rough"
    denoiser, noise = problem.folded(problem.noise(1, 8))
    assert noise.norm(dim=-1).tolist() == pytest.approx(problem.noise(1, 8).norm(dim=-1).tolist())
    ends = [sample(denoiser, noise, grid.log_snr(n), "unipc2").x for n in (700, 1400)]
    apart = (ends[0] - ends[1]).norm(dim=-1).median()
    smooth = sample(denoiser.smooth, noise, grid.log_snr(1400), "unipc2").x
    assert 100 * float(apart) < float((ends[1] - smooth).norm(dim=-1).median())
