"""Heun's method with the few stiff directions of the last steps treated exactly.

The errors E_n, E_{n-1}, ... of consecutive steps and their images dF = J E span the directions in
which f is stiff. On an orthonormal basis V of k of them, with W = J V and H = V^T W, the error is
carried on as the flow would, c = kappa(dt H) V^T E with kappa = 2 phi_2 - 1 of the Heun/Euler pair:
y1 += V c, f1 += W c. No Jacobian, no linear system; for problems whose stiffness lies in at most k
directions, and never a replacement for an implicit method.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import InputError
from stiffguide.estimators import secant_subspace
from stiffguide.stepping.contracts import Field, Step, Work
from stiffguide.stepping.interpolate import hermite
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tensors import rows

STIFFEST = 1e8  # |dt H| beyond which its exponential is not asked for


class Secants(NamedTuple):
    """The last k errors and their images, newest first; zero where there are none yet."""

    error: Tensor  # (B, F, K)
    image: Tensor  # (B, F, K)

    def with_latest(self, error: Tensor, image: Tensor) -> Secants:
        """One more pair (B, F); the oldest is forgotten."""
        return Secants(
            torch.cat((error.unsqueeze(-1), self.error[..., :-1]), -1),
            torch.cat((image.unsqueeze(-1), self.image[..., :-1]), -1),
        )


class SecantHeun:
    """Order 2 with k at least twice the number m of stiff directions, order 1 with k = m.

    The error estimate E + V c is too optimistic when k < 2m or the Jacobian turns quickly;
    `check` compares f at the moved y1 with what the basis predicts there, at one evaluation a
    step, and takes the larger of the two as the error.

    Raises InputError for a rank below 1.
    """

    family = "secant"
    implicit = False
    multistep = False
    order = 2
    error_order: int | None = 1
    dense_order = 3

    def __init__(self, rank: int = 8, *, check: bool = True) -> None:
        if rank < 1:
            raise InputError(f"secant_heun: rank must be at least 1, not {rank}")
        self.rank = rank
        self.check = check
        self.name: str = (
            "secant_heun"
            if rank == 8 and check
            else f"secant_heun(rank={rank}{'' if check else ', check=False'})"
        )

    def __repr__(self) -> str:
        return f"SecantHeun(rank={self.rank}, check={self.check})"

    def init(self, f: Field, t0: Tensor, y0: Tensor) -> Secants:
        """No errors yet."""
        nothing = y0.new_zeros(*y0.shape, self.rank)
        return Secants(nothing, nothing.clone())

    def step(
        self,
        f: Field,
        t0: Tensor,
        dt: Tensor,
        y0: Tensor,
        f0: Tensor,
        state: Secants,
        tolerance: Tolerance,
    ) -> Step:
        """Attempt one step in every row."""
        h = rows(dt, y0).to(y0.dtype)
        t1 = t0 + dt
        y_low = torch.addcmul(y0, h, f0)
        f_low = f(t1, y_low)
        heun = (h / 2) * (f_low - f0)
        y1 = y_low + heun
        f1 = f(t1, y1)
        state = state.with_latest(heun, f1 - f_low)
        dy, df = stiff_part(state, h, heun)
        y1, f1, error = y1 + dy, f1 + df, heun + dy
        if self.check:
            seen = f(t1, y1)
            defect = h * (seen - f1)
            error = torch.where(defect.abs() > error.abs(), defect, error)
            f1 = seen
        return Step(
            t0=t0,
            dt=dt,
            y0=y0,
            f0=f0,
            y1=y1,
            error=error,
            error_order=self.error_order,
            ok=None,
            state=state,
            work=Work(nfe=2 + self.check),
            stages=torch.stack((f0, f1)),
            f1=f1,
        )

    def retry(self, before: Secants, tried: Secants) -> Secants:
        """A rejected step leaves its secant: the stiff directions are those of the same y0."""
        sound = torch.isfinite(tried.error).all(-1).all(-1) & torch.isfinite(tried.image).all(
            -1
        ).all(-1)
        return Secants(
            *(torch.where(sound[:, None, None], t, b) for t, b in zip(tried, before, strict=True))
        )

    def displace(self, state: Secants, delta: Tensor) -> Secants:
        """Secants are differences: they stay."""
        return state

    def restart(self, state: Secants, where: Tensor) -> Secants:
        """No errors yet."""
        return Secants(*(torch.where(rows(where, x), 0.0, x) for x in state))

    def interpolant(self, step: Step, f1: Tensor) -> Tensor:
        """Cubic Hermite."""
        return hermite(step.dt, step.y0, step.f0, step.y1, f1)


def stiff_part(secants: Secants, h: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """What kappa(h J) adds to y1 along the secants, and J times that to f1: (B, F) each."""
    space = secant_subspace(secants.error, secants.image)
    part = space.basis.transpose(-1, -2) @ error.unsqueeze(-1)
    part = kappa_matrix(h.unsqueeze(-1) * space.matrix) @ part
    return (space.basis @ part).squeeze(-1), (space.image @ part).squeeze(-1)


def kappa_matrix(z: Tensor) -> Tensor:
    """2 phi_2(z) - 1 of (B, K, K), phi_2 = (e^z - 1 - z)/z^2, read off an exponential.

    exp of [[z, 1, 0], [0, 0, 1], [0, 0, 0]] has phi_2(z) in its corner (Sidje 1998).
    """
    k = z.shape[-1]
    size = torch.linalg.matrix_norm(z, dim=(-2, -1), keepdim=True)
    safe = torch.where(size < STIFFEST, z, 0.0)  # nan and inf: the step is rejected below
    eye = torch.eye(k, dtype=z.dtype, device=z.device).expand_as(z)
    nothing = torch.zeros_like(safe)
    block = torch.cat(
        (
            torch.cat((safe, eye, nothing), -1),
            torch.cat((nothing, nothing, eye), -1),
            torch.cat((nothing, nothing, nothing), -1),
        ),
        -2,
    )
    phi: Tensor = torch.linalg.matrix_exp(block)[..., :k, 2 * k :]
    return torch.where(size < STIFFEST, 2 * phi - eye, float("nan"))
