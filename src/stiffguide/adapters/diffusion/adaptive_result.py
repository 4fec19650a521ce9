"""What a run by tolerance gives back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.result import Ending, beside
from stiffguide.errors import Status


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class AdaptiveSample(Ending):
    """Where every row ended, and what it took.

    x (B, ...); sigma (B,) where each row stands, which for a row that failed is not the end;
    nfe (B,) evaluations, steps (B,) accepted and attempts (B,) made; calls of the denoiser for
    the whole batch, as many as the row that needed most; status (B,) of `stiffguide.Status`,
    message the sentence for the first row that failed (empty if none did).
    """

    x: Tensor
    sigma: Tensor
    nfe: Tensor
    steps: Tensor
    attempts: Tensor
    calls: int
    method: str

    def __repr__(self) -> str:
        parts = [
            f"{tuple(self.x.shape)} {str(self.x.dtype).removeprefix('torch.')} by {self.method}",
            f"{_between(self.steps)} steps to sigma {self.sigma.max().item():g}, "
            f"nfe {_between(self.nfe)}",
        ]
        if self.message:
            parts.append(self.message)
        return f"AdaptiveSample({'; '.join(parts)})"


def verdict(status: Tensor, sigma: Tensor, attempts: Tensor) -> str:
    """The sentence for the first row (B,) that did not succeed, or ""."""
    failed = torch.nonzero(status != int(Status.SUCCESS)).flatten().tolist()
    if not failed:
        return ""
    row = failed[0]
    said = _WHY[Status(int(status[row]))].format(attempts=int(attempts[row]))
    at = float(sigma[row])
    return f"row {row}: at sigma = {at:.6g} {said}{beside(failed, len(status))}"


_WHY = {
    Status.NON_FINITE: "the denoiser returned values that are not finite",
    Status.MAX_ATTEMPTS: (
        "{attempts} attempts were used up; give a larger rtol, which must lie above the rounding "
        "of the model, or more max_attempts"
    ),
    Status.DT_TOO_SMALL: (
        "no step was short enough, so that the denoiser jumps there, or answers differently when "
        "it is asked again; give a larger rtol, or use `sample` on a grid"
    ),
    Status.INTERRUPTED: "the run was interrupted",
}


def _between(counts: Tensor) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low}" if low == high else f"{low} to {high}"
