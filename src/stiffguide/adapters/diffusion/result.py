"""What a run of a sampler gives back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.evaluator import Evaluator, peak
from stiffguide.errors import SolveFailed, Status


@dataclass(frozen=True, eq=False)
class Sample:
    """The states at the last level, and how they came about.

    x (B, ...); nfe evaluations of the denoiser per sample; sigmas (N + 1,) the levels visited;
    status (B,) of `stiffguide.Status`, message the sentence for the first row that failed (empty
    if none did); trajectory (T, B, ...) if it was asked for.
    """

    x: Tensor
    nfe: int
    sigmas: Tensor
    status: Tensor
    message: str
    method: str
    trajectory: Tensor | None = None

    @property
    def ok(self) -> Tensor:
        """Rows (B,) that are finite from start to end."""
        return self.status == int(Status.SUCCESS)

    def raise_if_failed(self) -> Sample:
        """Itself, or SolveFailed with the message."""
        if self.message:
            raise SolveFailed(self.message)
        return self

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
    others = f" ({len(rows)} of {len(x)} rows failed)" if len(rows) > 1 else ""
    if number < 0:
        return status, f"row {row}: the state outgrew its dtype{others}"
    evaluation = evaluator.evaluations[number]
    return status, (
        f"row {row}: the denoiser returned values that are not finite in step {evaluation.step} "
        f"(sigma = {evaluation.level:.6g}, evaluation {number + 1}){others}"
    )
