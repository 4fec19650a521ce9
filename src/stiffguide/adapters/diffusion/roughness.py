"""How rough a denoiser is in sigma, and from how many evaluations on that decides.

A trained network is not a smooth function of the noise level. At a fixed state, D over a window of
log sigma is a smooth curve and a small rest that N levels cannot resolve: the rest enters the end
of a run by where the levels happen to lie, for every sampler alike. Two measurements say how much
that is: the rest itself, and how far apart runs end whose levels differ by small moves only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stiffguide.adapters.diffusion import grid
from stiffguide.adapters.diffusion.condition import Condition, with_condition
from stiffguide.adapters.diffusion.curves import Entry
from stiffguide.adapters.diffusion.evaluator import Evaluator
from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.adapters.diffusion.sample import sample
from stiffguide.adapters.diffusion.sampler import Sampler
from stiffguide.errors import InputError

HALF = 0.3  # of a window, in log sigma
DEGREE = 3  # of the polynomial that counts as smooth there
MOVE = 0.05  # of levels, in log sigma: above what networks are rough over, below a step
ROUGH = (
    0.01  # a share from which on a denoiser counts as rough: smooth data in closed form has less
)
APART = 0.8  # apart over error, from which on the ends count as equally far from each other


@dataclass(frozen=True)
class RoughnessPlan:
    """What a measurement does, and with it how many evaluations of every sample it makes.

    A run of `coarse` steps finds the states; at `places` of its levels D is taken at `window`
    levels within 0.3 of log sigma; then there are runs with each of `budgets` evaluations on
    `moved` grids, and one of `fine` steps.

    Raises InputError for numbers that are too small.
    """

    coarse: int = 32
    places: int = 6
    window: int = 25
    budgets: tuple[int, ...] = (8, 12, 16, 24, 32)
    moved: int = 4
    fine: int = 300

    def __post_init__(self) -> None:
        least = {"coarse": 3, "places": 1, "window": DEGREE + 2, "moved": 2, "fine": 1}
        for name, count in least.items():
            if getattr(self, name) < count:
                raise InputError(f"RoughnessPlan: {name} is {getattr(self, name)}, below {count}")
        if not self.budgets or min(self.budgets) < 1:
            raise InputError("RoughnessPlan: budgets are numbers of evaluations, from 1 on")

    @property
    def evaluations(self) -> int:
        """Evaluations of every sample, at most."""
        runs = self.coarse + self.moved * sum(self.budgets) + self.fine
        return runs + self.places * self.window


class RoughWindow(NamedTuple):
    """D within 0.3 of one log sigma, at the states of a run; medians over the samples."""

    sigma: float
    change: float  # of D from end to end of the window, by the best cubic in log sigma
    share: float  # of it that D is off the cubic, root mean square over the levels


class GridSpread(NamedTuple):
    """Runs of one length on slightly moved grids; medians over the samples."""

    nfe: int
    error: float  # distance to the fine run, root mean square over the grids
    apart: float  # distance of two such runs, root mean square over the pairs

    @property
    def ratio(self) -> float:
        """Apart over error: 0 where all runs have one error, sqrt(2) where all differ by chance."""
        return self.apart / self.error if self.error > 0 else 0.0


@dataclass(frozen=True)
class Roughness:
    """What was found; `print` it for sentences."""

    windows: tuple[RoughWindow, ...]
    spreads: tuple[GridSpread, ...]
    method: str
    samples: int
    evaluations: int  # of every sample, as made

    @property
    def share(self) -> float:
        """The median over the windows of what is rough."""
        return float(torch.tensor([w.share for w in self.windows]).median())

    @property
    def floor_from(self) -> int | None:
        """The least budget from which on a better sampler cannot help; None if there is none.

        There and on average from there on runs on moved grids end `APART` times as far from each
        other as from the fine run, or further.
        """
        if self.share < ROUGH:
            return None
        for i, spread in enumerate(self.spreads):
            onward = [later.ratio for later in self.spreads[i:]]
            if min(spread.ratio, sum(onward) / len(onward)) >= APART:
                return spread.nfe
        return None

    def __str__(self) -> str:
        """Sentences, and a line for each budget."""
        at = ", ".join(f"{100 * w.share:.2g} % at {w.sigma:.3g}" for w in self.windows)
        lines = [
            f"Over 0.6 in log sigma, {100 * self.share:.2g} % of the change of D is not smooth "
            f"(medians of {self.samples} samples; by sigma: {at}).",
            f"{self.method} on grids moved by up to {MOVE:g} in log sigma ends, with",
        ]
        lines += [
            f"{s.nfe:5d} evaluations {s.error:.3g} from a fine run, {s.apart:.3g} from each other"
            for s in self.spreads
        ]
        return "\n".join([*lines, self._verdict()])

    def _verdict(self) -> str:
        most = self.spreads[-1].nfe
        if self.floor_from is not None:
            return (
                f"From {self.floor_from} evaluations on they end about as far from each other as "
                "from the fine run: a better sampler cannot help on this network, only more "
                "levels lower this floor. Compare samplers there by averages over moved grids."
            )
        return (
            f"Up to {most} evaluations the error is that of sampler and grid, not of roughness: "
            "better ones can help."
        )


@torch.no_grad()
def roughness(
    denoiser: Denoiser,
    noise: Tensor,
    levels: Callable[[int], Tensor] = grid.karras,
    method: str | Sampler = "emg",
    plan: RoughnessPlan | None = None,
    *,
    seed: int = 0,
    condition: Condition | None = None,
    model_dtype: torch.dtype | None = None,
) -> Roughness:
    """Measure a denoiser(x, sigma (B,)) -> x0 from unit-variance noise (B, ...), 16 samples say.

    levels(N) makes the grid of N intervals that is used, method is the sampler, seed that of the
    moves, condition as in `sample`. `RoughnessPlan().evaluations` are made for every sample, 850 by
    default, always for the whole batch at once: what is bound to rows, such as classes, stays with
    them. Raises InputError where the grid spans less than a window, SolveFailed where a run is not
    finite.
    """
    plan = RoughnessPlan() if plan is None else plan
    told = with_condition(denoiser, condition)
    measure = _Measurement(told, noise.detach(), levels, method, {"model_dtype": model_dtype})
    windows = measure.windows(plan)
    spreads = measure.spreads(plan, seed)
    name = method if isinstance(method, str) else method.name
    return Roughness(windows, spreads, name, len(noise), measure.evaluations)


class _Measurement:
    """The runs of one measurement, and how many evaluations they took."""

    def __init__(
        self,
        denoiser: Denoiser,
        noise: Tensor,
        levels: Callable[[int], Tensor],
        method: str | Sampler,
        words: Mapping[str, Any],
    ) -> None:
        self.denoiser, self.noise, self.words = denoiser, noise, words
        self.entry = Entry("measured", method, levels)
        self.evaluations = 0

    def run(self, levels: Tensor, method: str | Sampler, **more: Any) -> Tensor:
        """The end (B, F) of a run."""
        found = sample(self.denoiser, self.noise, levels, method, **self.words, **more)
        self.evaluations += found.raise_if_failed().nfe
        return found.x.flatten(1)

    def windows(self, plan: RoughnessPlan) -> tuple[RoughWindow, ...]:
        """Where D moves along a coarse run, how much of its change is no cubic."""
        levels = self.entry.grid(plan.coarse)
        inside = _inside(levels.tolist())
        seen: list[Mapping[str, Any]] = []
        self.run(levels, "dpmpp_2m", callback=seen.append)
        calls = Evaluator(self.denoiser, tuple(self.noise.shape), self.words["model_dtype"])
        found = []
        for i in _places(inside, _path(seen), plan.places):
            x, sigma = seen[i]["x"].flatten(1), float(seen[i]["sigma"])
            change, share = _window(partial(calls, x), sigma, plan.window)
            found.append(RoughWindow(sigma, float(change.median()), float(share.median())))
        self.evaluations += calls.nfe
        return tuple(found)

    def spreads(self, plan: RoughnessPlan, seed: int) -> tuple[GridSpread, ...]:
        """How far runs on moved grids end from a fine one, and from each other."""
        fine = self.run(_fine(self.entry.grid(plan.coarse), plan.fine), "unipc2")
        found = []
        for nfe in plan.budgets:
            levels = self.entry.grid(self.entry.steps(nfe))
            ends = [
                self.run(grid.moved(levels, MOVE, seed + k), self.entry.method)
                for k in range(plan.moved)
            ]
            error = _size([end - fine for end in ends])
            apart = _size([a - b for a, b in combinations(ends, 2)])
            found.append(GridSpread(nfe, error, apart))
        return tuple(found)


def _path(seen: list[Mapping[str, Any]]) -> Tensor:
    """How far D has moved at every level (N,), as a share of its whole way; medians."""
    steps = [
        torch.linalg.vector_norm((b["denoised"] - a["denoised"]).flatten(1), dim=-1).median()
        for a, b in pairwise(seen)
    ]
    way = torch.stack([steps[0].new_zeros(()), *steps]).to("cpu", torch.float64).cumsum(0)
    return way / way[-1].clamp(min=torch.finfo(torch.float64).tiny)


def _inside(levels: list[float]) -> list[int]:
    """The numbers of the levels that have room for a window; InputError if none has."""
    high, low = levels[0], levels[-1] or levels[-2]
    room = math.exp(HALF)
    inside = [i for i, level in enumerate(levels) if low * room <= level <= high / room]
    if not inside:
        raise InputError(
            f"roughness: no level of the grid from {high:g} to {low:g} has {HALF:g} of log sigma "
            "on both sides of it: take a wider grid, or more coarse steps"
        )
    return inside


def _places(inside: list[int], path: Tensor, count: int) -> list[int]:
    """Those that part the way of D equally, in order."""
    parts = [(k + 0.5) / count for k in range(count)]
    return sorted({min(inside, key=lambda i: abs(float(path[i]) - part)) for part in parts})


def _window(at: Callable[[float], Tensor], sigma: float, count: int) -> tuple[Tensor, Tensor]:
    """Change of D and what is rough of it, each (B,), from D = at(level) (B, F) at fixed states."""
    way = torch.linspace(-HALF, HALF, count, dtype=torch.float64)
    basis = torch.linalg.qr(way.unsqueeze(-1) ** torch.arange(DEGREE + 1)).Q
    first = at(sigma * math.exp(-HALF))
    squares = first.new_zeros(len(first), dtype=torch.float64)
    # against the first value: sums of squares of D itself would drown what is rough
    sums = [torch.zeros_like(first, dtype=torch.float64) for _ in range(DEGREE + 1)]
    for k in range(1, count):
        risen = (at(sigma * math.exp(float(way[k]))) - first).to(torch.float64)
        squares = squares + risen.square().sum(-1)
        for j in range(DEGREE + 1):
            sums[j].add_(risen, alpha=float(basis[k, j]))
    rest = squares - torch.stack([c.square().sum(-1) for c in sums]).sum(0)
    ends = (basis[-1] - basis[0]).tolist()
    moved = torch.stack([c * e for c, e in zip(sums, ends, strict=True)]).sum(0)
    change = torch.linalg.vector_norm(moved, dim=-1)
    if not bool(torch.isfinite(change + rest).all()):
        raise InputError(
            f"roughness: the denoiser returned values that are not finite within {HALF:g} of log "
            f"sigma around sigma = {sigma:g}"
        )
    rough = (rest.clamp(min=0) / (count - DEGREE - 1)).sqrt()
    return change, torch.where(change > 0, rough / change, 0.0)


def _fine(levels: Tensor, steps: int) -> Tensor:
    """A grid from end to end of the given one, uniform in log sigma, to 0 if that goes there."""
    zero = float(levels[-1]) == 0
    low = float(levels[-2] if zero else levels[-1])
    return grid.log_snr(steps, low, float(levels[0]), zero=zero)


def _size(ways: list[Tensor]) -> float:
    """Median over the samples of the root mean square length of ways (B, F)."""
    squares = [way.to(torch.float64).square().sum(-1) for way in ways]
    return float(torch.stack(squares).mean(0).sqrt().median())
