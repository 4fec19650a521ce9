"""A denoiser made rough in sigma, as trained networks are, and no rougher in x than it was.

A network is told the noise level by waves of it, and answers in waves of it: at a fixed state D is
a smooth function of log sigma and a small one that is not. With l = log sigma and
change = D(x, e^(l - 0.3)) - D(x, e^(l + 0.3)) the denoiser here is

    D + size (n(l) change + |change| v(l)) / sqrt(2)

n of mean square 1 and v a vector of mean square length 1, both sums of 64 waves in l whose
correlation over dl is exp(-(dl/length)^2/2). Where D does not change, nothing is added.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.errors import InputError
from stiffguide.tensors import rows

HALF = 0.3  # of the window in log sigma over which D changes by `change`
WAVES = 64
TURN = 2.0  # radians, the deviation of a phase over states whose numbers have deviation 1
LOWEST = 1e-150  # sigma = 0 has no logarithm, and there is no change of D there either


class RoughDenoiser:
    """A denoiser(x, sigma) -> x0 that is rough in sigma; three calls of the smooth one a call.

    size: of what is added, root mean square, over the change of D in a window of 0.6 in log sigma;
    trained networks have 0.03 to 0.17. length: of correlation in log sigma. seed: of the waves.
    shared: whether all samples see one function of sigma; else the phases of the waves turn with
    x/sqrt(1 + sigma^2), so that samples that differ see functions that do. Either way this is a
    function of x (B, ...) and sigma (B,) alone, row by row.

    Raises InputError for a size below 0 or a length that is not above it.
    """

    length: float
    size: float
    smooth: Denoiser
    seed: int
    shared: bool

    def __init__(
        self,
        denoiser: Denoiser,
        size: float = 0.06,
        length: float = 0.03,
        seed: int = 0,
        *,
        shared: bool = False,
    ) -> None:
        if not 0 <= size < math.inf or not 0 < length < math.inf:
            raise InputError(
                f"RoughDenoiser: size = {size} must be at least 0 and length = {length} above 0, "
                "both finite"
            )
        self.smooth, self.size, self.length = denoiser, float(size), float(length)
        self.seed, self.shared = seed, shared
        self._waves: tuple[Tensor, Tensor, Tensor, Tensor] | None = None

    def __repr__(self) -> str:
        kind = "one for all samples" if self.shared else "by sample"
        return f"RoughDenoiser({self.smooth!r}, {self.size:g} over {self.length:g}, {kind})"

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The rough estimate of x0 (B, ...) at noise levels sigma (B,)."""
        x0 = self.smooth(x, sigma)
        if self.size == 0:
            return x0
        change = self.smooth(x, sigma * math.exp(-HALF)) - self.smooth(x, sigma * math.exp(HALF))
        along, across = self.field(x, sigma)
        flat = change.flatten(1).to(torch.float64)
        length = torch.linalg.vector_norm(flat, dim=-1, keepdim=True)
        added = (along * flat + length * across) * (self.size / math.sqrt(2))
        rough: Tensor = x0 + added.reshape(x.shape).to(x0.dtype)
        return rough

    def around(self, denoiser: Denoiser) -> RoughDenoiser:
        """Another denoiser made rough in the same way."""
        return RoughDenoiser(denoiser, self.size, self.length, self.seed, shared=self.shared)

    def field(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """The n (B, 1) and v (B, F) of the module at states x (B, ...) and levels sigma (B,)."""
        rates, phases, heights, turns = self._made(x)
        sigma = torch.as_tensor(sigma, dtype=torch.float64, device=x.device).expand(len(x))
        angles = rates * sigma.clamp(min=LOWEST).log().unsqueeze(-1) + phases
        if not self.shared:
            scaled = x.flatten(1).to(torch.float64)
            angles = angles + scaled / rows((1 + sigma.square()).sqrt(), scaled) @ turns
        found = angles.cos() @ heights
        return found[:, :1], found[:, 1:] / math.sqrt(found.shape[1] - 1)

    def _made(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rates and phases (W,), heights (W, 1 + F) and turns (F, W) of the waves."""
        width = x[0].numel()
        if self._waves is None or len(self._waves[3]) != width:
            random = torch.Generator().manual_seed(self.seed)

            def normal(*shape: int) -> Tensor:
                return torch.randn(shape, generator=random, dtype=torch.float64)

            rates = normal(WAVES) / self.length
            phases = 2 * math.pi * torch.rand(WAVES, generator=random, dtype=torch.float64)
            heights = normal(WAVES, 1 + width) * math.sqrt(2 / WAVES)
            self._waves = (rates, phases, heights, normal(width, WAVES) * TURN / math.sqrt(width))
        rates, phases, heights, turns = (part.to(x.device) for part in self._waves)
        return rates, phases, heights, turns
