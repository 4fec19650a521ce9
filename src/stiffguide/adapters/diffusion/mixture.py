"""Gaussian mixtures: data whose denoiser, score and density at any sigma have a closed form.

With x = x0 + sigma eps and component k distributed as N(mu_k, C_k), C_k = s0^2 I + sum_r l_kr
u_kr u_kr^T, the noisy component is N(mu_k, C_k + sigma^2 I) and its posterior mean is
mu_k + C_k (C_k + sigma^2 I)^-1 (x - mu_k): isotropic shrinkage plus one term for each direction.
The denoiser is the average of these under the posterior weights of the components. Everything
costs two products with the K (1 + R) vectors mu_k and u_kr, never a matrix of size F x F.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import InputError

# below it a variance cannot be told from zero, and its inverse still squares without overflow
TINY = 1e-150


class Posterior(NamedTuple):
    """What a noisy state says of the component it came from."""

    log_joint: Tensor  # (B, K): log w_k N(x; mu_k, C_k + sigma^2 I), but for a term common to all k
    along: Tensor  # (B, K, R): coordinates of x - mu_k along the directions
    noisy: Tensor  # (B,): s0^2 + sigma^2


class GaussianMixture:
    """A mixture of K Gaussians in F dimensions, callable as `denoiser(x, sigma) -> x0`.

    Component k has weight weights[k] (equal by default), mean means[k] and covariance
    s0^2 I + sum_r variances[k, r] u u^T over its directions u = directions[k, r] (any length,
    any angle between them). States are (B, F) or (B, *shape) with F entries a row, in any dtype and
    on the device of the mixture; the arithmetic is in float64.
    """

    directions: Tensor
    variances: Tensor

    def __init__(
        self,
        means: Tensor,
        s0: float,
        directions: Tensor | None = None,
        variances: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> None:
        _check(means, s0, directions, variances, weights)
        self.means: Tensor = means.detach().to(torch.float64)
        self.s0: float = float(s0)
        self.directions, self.variances = _axes(self.means, directions, variances)
        raw = self.means.new_ones(len(means)) if weights is None else weights.to(self.means)
        self.weights: Tensor = raw / raw.sum()
        self._log_w = self.weights.log()
        self._vectors = torch.cat((self.means, self.directions.flatten(0, 1)))
        self._half_squares = self.means.square().sum(-1) / 2
        self._offsets = (self.directions @ self.means.unsqueeze(-1)).squeeze(-1)

    def __repr__(self) -> str:
        K, R, F = self.directions.shape
        return f"GaussianMixture({K} components in {F} dimensions, s0={self.s0:g}, {R} directions)"

    @property
    def components(self) -> int:
        """Number of components K."""
        return self.means.shape[0]

    @property
    def size(self) -> int:
        """Number of dimensions F."""
        return self.means.shape[1]

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The posterior mean E[x0 | x] (B, *shape) of x (B, *shape) at noise level sigma (B,)."""
        flat, sigma = self._flat(x, sigma)
        given = self._posterior(flat, sigma)
        p = given.log_joint.softmax(-1).unsqueeze(-1)
        keep = (self.s0**2 / given.noisy).unsqueeze(-1)
        spread = self.s0**2 + self.variances
        kept = spread / (self.variances + given.noisy[:, None, None])
        along = p * (kept - keep.unsqueeze(-1)) * given.along
        parts = torch.cat((p.squeeze(-1) * (1 - keep), along.flatten(1)), 1)
        x0 = keep * flat + parts @ self._vectors
        return x0.to(x.dtype).reshape(x.shape)

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The gradient (B, *shape) of the log-density of x0 + sigma eps at x (Tweedie)."""
        flat, sigma = self._flat(x, sigma)
        score = (self(flat, sigma) - flat) / sigma.square().unsqueeze(-1)
        return score.to(x.dtype).reshape(x.shape)

    def log_density(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The log-density (B,) of x0 + sigma eps at x (B, *shape)."""
        flat, sigma = self._flat(x, sigma)
        given = self._posterior(flat, sigma)
        common = flat.square().sum(-1) / given.noisy
        common = common + self.size * (2 * math.pi * given.noisy).log()
        return (given.log_joint.logsumexp(-1) - common / 2).to(x.dtype)

    def sample(
        self, count: int, generator: torch.Generator | None = None, sigma: float = 0.0
    ) -> Tensor:
        """Draw states (count, F) of the data, or of the data with noise of level sigma."""
        # drawn where the generator lives
        device = self.means.device
        home = device if generator is None else generator.device

        def normal(*shape: int) -> Tensor:
            drawn = torch.randn(shape, generator=generator, dtype=torch.float64, device=home)
            return drawn.to(device)

        weights = self.weights.to(home)
        k = torch.multinomial(weights, count, replacement=True, generator=generator).to(device)
        wide = self.means[k] + math.hypot(self.s0, sigma) * normal(count, self.size)
        lengths = self.variances[k].sqrt() * normal(count, self.variances.shape[1])
        stretched: Tensor = wide + (lengths.unsqueeze(1) @ self.directions[k]).squeeze(1)
        return stretched

    def subset(self, components: Tensor | Sequence[int]) -> GaussianMixture:
        """The mixture of some components only: the data of one class (indices or a mask)."""
        index = torch.as_tensor(components, device=self.means.device)
        return GaussianMixture(
            self.means[index],
            self.s0,
            self.directions[index],
            self.variances[index],
            self.weights[index],
        )

    def to(self, device: torch.device | str) -> GaussianMixture:
        """The same mixture on another device."""
        parts = (self.directions, self.variances, self.weights)
        moved = [part.to(device) for part in parts]
        return GaussianMixture(self.means.to(device), self.s0, *moved)

    def folded(self) -> Folding:
        """The mixture in the coordinates of its own span and one more: see `Folding`."""
        _, sizes, axes = torch.linalg.svd(self._vectors, full_matrices=False)
        basis = axes[sizes > 1e-10 * sizes[0].clamp(min=TINY)]
        if len(basis) + 1 >= self.size:
            eye = torch.eye(self.size, dtype=torch.float64, device=self.means.device)
            return Folding(self, eye)
        pad = torch.nn.functional.pad
        folded = GaussianMixture(
            pad(self.means @ basis.T, (0, 1)),
            self.s0,
            pad(self.directions @ basis.T, (0, 1)),
            self.variances,
            self.weights,
        )
        return Folding(folded, basis)

    def _flat(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """The state as (B, F) and sigma as (B,), in float64."""
        if x.ndim < 2 or x[0].numel() != self.size:
            raise InputError(
                f"the mixture lives in {self.size} dimensions; a state of shape {tuple(x.shape)} "
                f"must be (B, ...) with {self.size} entries a row"
            )
        sigma = torch.as_tensor(sigma, dtype=torch.float64, device=x.device)
        return x.flatten(1).to(torch.float64), sigma.expand(len(x))

    def _posterior(self, x: Tensor, sigma: Tensor) -> Posterior:
        """Weights and coordinates of x (B, F) for every component."""
        K, R, _ = self.directions.shape
        noisy = (self.s0**2 + sigma.square()).clamp(min=TINY)
        v = noisy[:, None]
        products = x @ self._vectors.T
        along = products[:, K:].reshape(len(x), K, R) - self._offsets
        wide = self.variances + v.unsqueeze(-1)
        # |x|^2 / v is common to all components: left out, so that it cannot drown the rest
        gain = along.square() * (self.variances / wide) / v.unsqueeze(-1)
        stretch = (wide / v.unsqueeze(-1)).log().sum(-1)
        nearness = (products[:, :K] - self._half_squares) / v
        return Posterior(self._log_w + nearness + (gain.sum(-1) - stretch) / 2, along, noisy)


class Folding(NamedTuple):
    """A mixture seen from the S-dimensional span of its means and directions.

    Across the span the denoiser only shrinks, so that part of a state keeps its direction and is
    told by its length: `fold(x)` has S + 1 coordinates with the same norms and inner products
    along a trajectory. Every sampler that is linear in x and D, with coefficients made from inner
    products of them, gives the same numbers there.
    """

    mixture: GaussianMixture
    basis: Tensor  # (S, F), orthonormal rows

    def fold(self, x: Tensor) -> Tensor:
        """The coordinates (B, S + 1) of states x (B, F); unchanged where S + 1 would be F."""
        if len(self.basis) == x.shape[-1]:
            return x
        inside = x @ self.basis.T
        across = torch.linalg.vector_norm(x - inside @ self.basis, dim=-1, keepdim=True)
        return torch.cat((inside, across), -1)


def _axes(
    means: Tensor, directions: Tensor | None, variances: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Orthonormal directions (K, R, F) and their variances (K, R) of sum_r l_r u_r u_r^T."""
    if directions is None or variances is None:
        return means.new_zeros(len(means), 0, means.shape[1]), means.new_zeros(len(means), 0)
    scaled = variances.to(means).sqrt().unsqueeze(-1) * directions.to(means)
    _, sizes, axes = torch.linalg.svd(scaled, full_matrices=False)
    return axes, sizes.square()


def _check(
    means: Tensor,
    s0: float,
    directions: Tensor | None,
    variances: Tensor | None,
    weights: Tensor | None,
) -> None:
    """Refuse parameters that do not describe a mixture."""
    if means.ndim != 2 or not len(means):
        raise InputError(f"means must be (K, F) with K >= 1, not {tuple(means.shape)}")
    if not 0 <= s0 < math.inf:
        raise InputError(f"s0 = {s0} is a standard deviation: it must be finite and >= 0")
    if (directions is None) != (variances is None):
        raise InputError("directions and variances come together: (K, R, F) and (K, R)")
    if directions is not None and variances is not None:
        K, F = means.shape
        fits = directions.ndim == 3 and (directions.shape[0], directions.shape[2]) == (K, F)
        if not fits or variances.shape != directions.shape[:2]:
            raise InputError(
                f"directions {tuple(directions.shape)} and variances {tuple(variances.shape)} must "
                f"be ({K}, R, {F}) and ({K}, R) for means {tuple(means.shape)}"
            )
        if bool((variances < 0).any()):
            raise InputError("variances must be >= 0: they are added to s0^2 along a direction")
    if weights is not None and (weights.shape != means.shape[:1] or not bool((weights > 0).all())):
        raise InputError("weights must be (K,) and > 0; leave a component out instead of weight 0")
