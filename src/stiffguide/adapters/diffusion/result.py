"""What a run of a sampler gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.evaluator import Evaluator, peak
from stiffguide.errors import SolveFailed, Status


@dataclass(frozen=True, eq=False, kw_only=True)
class Ending:
    """How the rows of a run ended: see `Sample`."""

    status: Tensor
    message: str

    @property
    def ok(self) -> Tensor:
        """Rows (B,) that are finite from start to end, and reached it."""
        return self.status == int(Status.SUCCESS)

    def raise_if_failed(self) -> Self:
        """Itself, or SolveFailed with the message."""
        if self.message:
            raise SolveFailed(self.message)
        return self


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Sample(Ending):
    """The states at the last level, and how they came about.

    x (B, ...); nfe evaluations of the denoiser per sample; sigmas (N + 1,) the levels visited;
    status (B,) of `stiffguide.Status`, message the sentence for the first row that failed (empty
    if none did); trajectory (T, B, ...) if it was asked for.
    """

    x: Tensor
    nfe: int
    sigmas: Tensor
    method: str
    trajectory: Tensor | None = None

    def __repr__(self) -> str:
        first, last = self.sigmas[0].item(), self.sigmas[-1].item()
        parts = [
            f"{tuple(self.x.shape)} {str(self.x.dtype).removeprefix('torch.')} by {self.method}",
            f"{len(self.sigmas) - 1} steps from sigma {first:g} to {last:g}, nfe {self.nfe}",
        ]
        if self.trajectory is not None:
            parts.append(f"trajectory of {len(self.trajectory)}")
        if self.message:
            parts.append(self.message)
        return f"Sample({'; '.join(parts)})"


def beside(failed: list[int], count: int) -> str:
    """That more rows failed than the one that is named, or ""."""
    return f" ({len(failed)} of {count} rows failed)" if len(failed) > 1 else ""


def verdict(evaluator: Evaluator, x: Tensor) -> tuple[Tensor, str]:
    """Status (B,) of the rows of x (B, F) and the sentence for the first bad one."""
    first = evaluator.first_bad()
    overflowed = ~torch.isfinite(peak(x))
    bad = (first >= 0) | overflowed
    status = torch.where(bad, int(Status.NON_FINITE), int(Status.SUCCESS))
    # one wait for the device, after the last step
    rows = torch.nonzero(bad).flatten().tolist()
    if not rows:
        return status, ""
    row, number = rows[0], int(first[rows[0]])
    others = beside(rows, len(x))
    if number < 0:
        return status, f"row {row}: the state outgrew its dtype{others}"
    evaluation = evaluator.evaluations[number]
    return status, (
        f"row {row}: the denoiser returned values that are not finite in step {evaluation.step} "
        f"(sigma = {evaluation.level:.6g}, evaluation {number + 1}){others}"
    )
