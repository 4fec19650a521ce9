"""Laws of the closed-form denoiser: integration, Tweedie's formula, limits, invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from stiffguide.adapters.diffusion import problems
from stiffguide.adapters.diffusion.grid import SIGMA_MAX, SIGMA_MIN
from stiffguide.adapters.diffusion.mixture import GaussianMixture
from stiffguide.errors import InputError


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=random(seed), dtype=torch.float64)


def levels(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def skew_mixture(size: int = 5) -> GaussianMixture:
    """Three components with directions of any length that are not orthogonal."""
    return GaussianMixture(
        normal(3, size, seed=1),
        0.3,
        normal(3, 2, size, seed=2),
        torch.tensor([[0.4, 0.1], [0.0, 0.5], [1.0, 2.0]]),
        torch.tensor([0.2, 0.5, 0.3]),
    )


def dense(mixture: GaussianMixture, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Posterior mean and log-density of rows x (B, F), by matrices of size F x F."""
    logs, means = [], []
    for k in range(mixture.components):
        axes = mixture.directions[k]
        covariance = axes.T @ torch.diag(mixture.variances[k]) @ axes
        covariance = covariance + mixture.s0**2 * torch.eye(mixture.size, dtype=torch.float64)
        noisy = covariance + sigma**2 * torch.eye(mixture.size, dtype=torch.float64)
        normal_k = torch.distributions.MultivariateNormal(mixture.means[k], noisy)
        logs.append(mixture.weights[k].log() + normal_k.log_prob(x))
        gap = (x - mixture.means[k]).unsqueeze(-1)
        gain = covariance @ torch.linalg.solve(noisy, gap)
        means.append(mixture.means[k] + gain.squeeze(-1))
    joint = torch.stack(logs, -1)
    posterior = joint.softmax(-1).unsqueeze(-1)
    return (posterior * torch.stack(means, 1)).sum(1), joint.logsumexp(-1)


@pytest.mark.parametrize("sigma", [0.01, 0.5, 3.0, 80.0])
def test_denoiser_and_density_equal_dense_linear_algebra(sigma: float) -> None:
    mixture = skew_mixture()
    x = mixture.sample(20, random(3), sigma)
    level = torch.full((20,), sigma)
    mean, log_p = dense(mixture, x, sigma)
    torch.testing.assert_close(mixture(x, level), mean, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(mixture.log_density(x, level), log_p, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("sigma", [0.05, 0.4, 2.0])
def test_denoiser_is_the_posterior_mean_by_integration_on_a_line(sigma: float) -> None:
    mixture = GaussianMixture(
        levels(-1.0, 0.2, 1.5).unsqueeze(-1), 0.1, torch.ones(3, 1, 1), levels(0.04).expand(3, 1)
    )
    x0 = torch.linspace(-4, 5, 200_001, dtype=torch.float64)
    sd = math.sqrt(0.1**2 + 0.04)
    prior = torch.exp(-((x0.unsqueeze(-1) - mixture.means[:, 0]) ** 2) / (2 * sd**2)).sum(-1)
    for x in (-1.7, 0.3, 0.85, 2.0):
        weight = prior * torch.exp(-((x - x0) ** 2) / (2 * sigma**2))
        mean = (weight * x0).sum() / weight.sum()
        found = mixture(levels(x).unsqueeze(0), levels(sigma))
        assert found.item() == pytest.approx(mean.item(), abs=1e-9)


def test_denoiser_is_the_posterior_mean_by_integration_in_the_plane() -> None:
    problem = problems.aniso2d(4)
    mixture, sigma = problem.mixture, 0.2
    line = torch.linspace(-2.5, 2.5, 1251, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    prior = mixture.log_density(grid, torch.zeros(len(grid)))
    for x in problem.mixture.sample(3, random(5), sigma):
        log_w = prior - (grid - x).square().sum(-1) / (2 * sigma**2)
        mean = log_w.softmax(0) @ grid
        torch.testing.assert_close(mixture(x[None], levels(sigma))[0], mean, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", [n for n in problems.NAMES if n != "lr3072"])
def test_tweedie(name: str) -> None:
    mixture = problems.get(name, 3).mixture
    sigma = torch.logspace(-2, 1.5, 12, dtype=torch.float64)
    x = (mixture.sample(12, random(1)) + sigma.unsqueeze(-1) * normal(12, mixture.size)).clone()
    x.requires_grad_(True)
    (score,) = torch.autograd.grad(mixture.log_density(x, sigma).sum(), x)
    tweedie = x + sigma.square().unsqueeze(-1) * score
    torch.testing.assert_close(mixture(x, sigma), tweedie, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(mixture.score(x, sigma), score, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", problems.NAMES)
def test_folded_trajectories_keep_their_lengths(name: str) -> None:
    problem = problems.get(name, 1)
    noise = problem.noise(2, count=6)
    mixture, folded = problem.folded(noise)
    end = problems.reference_end(problem.mixture, noise, 5.0, 0.05, steps=6)
    short = problems.reference_end(mixture, folded, 5.0, 0.05, steps=6)
    assert short.shape[1] <= end.shape[1]
    for a, b in ((noise, folded), (end, short)):
        torch.testing.assert_close(torch.cdist(a[:1], a[:1]), torch.cdist(b[:1], b[:1]))
        torch.testing.assert_close(a.norm(dim=-1), b.norm(dim=-1), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close((noise * end).sum(-1), (folded * short).sum(-1))


def test_only_the_largest_mixture_needs_folding_to_fit() -> None:
    mixture, noise = problems.lr3072().folded(problems.lr3072().noise(count=2))
    assert mixture.size == noise.shape[1] == 181


@pytest.mark.parametrize("s0", [0.0, 1e-12, 0.02])
@pytest.mark.parametrize("sigma", [0.0, 1e-14, 1e-6, 1e4])
def test_extreme_scales_stay_finite(s0: float, sigma: float) -> None:
    means = normal(50, 30)
    mixture = GaussianMixture(means, s0, normal(50, 3, 30, seed=1), torch.full((50, 3), 0.2))
    x = means[:4] + 0.1
    for dtype, bound in ((torch.float64, 1e-9), (torch.float32, 1e-5)):
        state = x.to(dtype)
        found = mixture(state, torch.full((4,), sigma))
        assert found.dtype == dtype
        assert found.isfinite().all()
        # a state off the points of no width has density 0
        assert not mixture.log_density(state, torch.full((4,), sigma)).isnan().any()
        if sigma == 0 and s0 > 0:
            torch.testing.assert_close(found, state, rtol=0, atol=bound)


def test_points_without_width_are_memorised() -> None:
    mixture = GaussianMixture(normal(9, 4), 0.0)
    near = mixture.means + 1e-3
    torch.testing.assert_close(mixture(near, torch.full((9,), 1e-3)), mixture.means)
    torch.testing.assert_close(mixture(near, torch.zeros(9)), mixture.means)
    far = mixture(1e6 * normal(2, 4, seed=1), torch.full((2,), 1e9))
    torch.testing.assert_close(far, mixture.means.mean(0).expand(2, 4), rtol=0, atol=1e-2)


def test_a_batch_equals_its_rows_in_any_shape() -> None:
    mixture = skew_mixture(12)
    x, sigma = normal(5, 3, 2, 2, seed=7), levels(0.1, 0.2, 0.4, 1.0, 9.0)
    batch = mixture(x, sigma)
    assert batch.shape == x.shape
    for row in range(5):
        one = mixture(x[row].reshape(1, 12), sigma[row : row + 1])
        torch.testing.assert_close(batch[row].flatten(), one[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mixture(x, torch.tensor(0.3)), mixture(x, torch.full((5,), 0.3)))


def test_samples_have_the_moments_of_the_mixture() -> None:
    mixture = skew_mixture()
    x = mixture.sample(200_000, random(2), sigma=0.4)
    mean = mixture.weights @ mixture.means
    torch.testing.assert_close(x.mean(0), mean, rtol=0, atol=0.02)
    second = sum(
        w * (u.T @ torch.diag(l) @ u + torch.outer(m, m))
        for w, m, u, l in zip(
            mixture.weights, mixture.means, mixture.directions, mixture.variances, strict=True
        )
    )
    second = second + (mixture.s0**2 + 0.4**2) * torch.eye(mixture.size) - torch.outer(mean, mean)
    torch.testing.assert_close(torch.cov(x.T), second, rtol=0.03, atol=0.03)


def test_a_subset_is_the_mixture_of_these_components() -> None:
    mixture = skew_mixture()
    by_index, by_mask = mixture.subset([0, 2]), mixture.subset(torch.tensor([True, False, True]))
    torch.testing.assert_close(by_index.weights, levels(0.4, 0.6))
    x, sigma = normal(4, 5, seed=4), levels(0.1, 0.5, 1.0, 2.0)
    torch.testing.assert_close(by_index(x, sigma), by_mask(x, sigma))
    # Bayes: the whole is the average of its parts, weighted by how likely each made x
    other = mixture.subset([1])
    logs = torch.stack([m.log_density(x, sigma) for m in (by_index, other)], -1)
    share = (logs + levels(0.5, 0.5).log()).softmax(-1)
    whole = share[:, :1] * by_index(x, sigma) + share[:, 1:] * other(x, sigma)
    torch.testing.assert_close(mixture(x, sigma), whole)


@pytest.mark.parametrize("name", problems.NAMES)
def test_the_seed_decides_the_problem(name: str) -> None:
    a, b, c = (problems.get(name, seed).mixture for seed in (5, 5, 6))
    assert torch.equal(a.means, b.means)
    assert not torch.equal(a.means, c.means)
    count = {"tree2d": 428, "spiral2d": 300, "pts64": 400, "lr64": 40, "lr3072": 20, "aniso2d": 8}
    assert a.components == count[name]


def test_the_reference_is_exact_for_one_gaussian() -> None:
    mixture = GaussianMixture(levels(0.3, -0.2)[None], 0.5)
    noise = normal(8, 2)
    end = problems.reference_end(mixture, noise)
    shrink = math.hypot(0.5, SIGMA_MIN) / math.hypot(0.5, SIGMA_MAX)
    exact = mixture.means + shrink * (SIGMA_MAX * noise - mixture.means)
    torch.testing.assert_close(end, exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((torch.zeros(3), 0.1), "means must be"),
        ((torch.zeros(3, 2), -0.1), "s0 = -0.1"),
        ((torch.zeros(3, 2), math.nan), "s0 = nan"),
        ((torch.zeros(3, 2), 0.1, torch.zeros(3, 1, 2)), "come together"),
        ((torch.zeros(3, 2), 0.1, torch.zeros(3, 1, 4), torch.zeros(3, 1)), "must be"),
        ((torch.zeros(3, 2), 0.1, torch.ones(3, 1, 2), -torch.ones(3, 1)), "variances must be"),
        ((torch.zeros(3, 2), 0.1, None, None, torch.zeros(3)), "weights must be"),
    ],
)
def test_bad_parameters_are_refused(arguments: tuple[object, ...], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        GaussianMixture(*arguments)  # type: ignore[arg-type]


def test_a_state_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match="5 dimensions"):
        skew_mixture()(torch.zeros(2, 4), torch.ones(2))


def test_an_unknown_problem_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="aniso2d"):
        problems.get("nothing")


def test_numpy_sees_what_torch_sees() -> None:
    # the denoiser is plain tensor arithmetic: no graph, no state kept between calls
    mixture = skew_mixture()
    x = normal(2, 5)
    first, second = (np.asarray(mixture(x, torch.ones(2))) for _ in range(2))
    assert (first == second).all()
