"""The Brusselator with diffusion, by the method of lines: on an interval and on a torus.

Two species u and v per grid point. On the interval they are interleaved, u1 v1 u2 v2 ..., which
keeps the Jacobian within two diagonals of its own; on the torus y holds all of u, then all of v.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stiffguide.problems.problem import Problem

_SOURCE = "Hairer and Wanner, Solving ODEs II (1996), section IV.10, problem {}"

# u and v at the first point, the first quarter and the middle, for n = 100.
_INTERVAL_PROBES = (0, 1, 50, 51, 98, 99)
_INTERVAL_REFERENCE = (
    0.974340397125158,
    3.0323578242909544,
    0.520458108701129,
    3.592374875870621,
    0.4298860660123965,
    3.688028568764278,
)
# u, then v, at the corner, the middle and inside the fed spot, for n = 32.
_TORUS_PROBES = (0, 528, 650, 1024, 1552, 1674)
_TORUS_REFERENCE = (
    0.5530985003525162,
    0.7522039665968788,
    1.1645181084317562,
    4.890912630059225,
    4.762908052225126,
    4.6106686092975595,
)


def _interval_field(diffusion: float, t: Tensor, y: Tensor) -> Tensor:
    u, v = y[..., 0::2], y[..., 1::2]
    # The boundary values u = 1 and v = 3 are the padding.
    pu, pv = F.pad(u, (1, 1), value=1.0), F.pad(v, (1, 1), value=3.0)
    made = u * (3 - u * v)
    du = (1 - u - made) + diffusion * (pu[..., 2:] + pu[..., :-2] - 2 * u)
    dv = made + diffusion * (pv[..., 2:] + pv[..., :-2] - 2 * v)
    return torch.stack((du, dv), -1).flatten(-2)


def _interval_jac(diffusion: float, t: Tensor, y: Tensor) -> Tensor:
    u, v = y[..., 0::2], y[..., 1::2]
    square, made, zero = u * u, 3 - 2 * u * v, torch.zeros_like(u)

    def diagonal(even: Tensor, odd: Tensor, offset: int) -> Tensor:
        values = torch.stack((even, odd), -1).flatten(-2)
        return torch.diag_embed(values[..., : values.shape[-1] - abs(offset)], offset)

    near = torch.full_like(u, diffusion)
    return (
        diagonal(-1 - made - 2 * diffusion, -square - 2 * diffusion, 0)
        + diagonal(square, zero, 1)
        + diagonal(made, zero, -1)
        + diagonal(near, near, 2)
        + diagonal(near, near, -2)
    )


def brusselator_1d(n: int = 100) -> Problem:
    """The Brusselator on the unit interval with `n` inner points, 2n equations; stiffness ~ n^2."""
    from scipy import sparse as sp  # which takes a quarter of a second to load

    diffusion = (n + 1) ** 2 / 50
    x = torch.arange(1, n + 1, dtype=torch.float64) / (n + 1)
    y0 = torch.stack((1 + torch.sin(2 * torch.pi * x), torch.full_like(x, 3.0)), -1).flatten()
    line = sp.eye_array(n) + sp.eye_array(n, k=1) + sp.eye_array(n, k=-1)
    pattern = sp.kron(line, np.eye(2)) + sp.kron(np.eye(n), np.ones((2, 2)))
    return Problem(
        name="brusselator_1d",
        title=f"Brusselator on an interval, {2 * n} equations",
        f=partial(_interval_field, diffusion),
        jac=partial(_interval_jac, diffusion),
        y0=y0,
        t0=0.0,
        t1=10.0,
        atol=1e-10,
        stiff=True,
        source=_SOURCE.format("BRUSS") + "; reference by DOP853, confirmed to 1e-13 by Radau",
        reference=_INTERVAL_REFERENCE if n == 100 else None,
        probes=_INTERVAL_PROBES if n == 100 else (),
        digits=11 if n == 100 else 0,
        sparsity=sp.csr_array(pattern != 0),
        params={"n": n},
        notes="u = 1 and v = 3 at both ends; the Jacobian has two diagonals on each side",
    )


def _torus_field(diffusion: float, spot: Tensor, t: Tensor, y: Tensor) -> Tensor:
    w = y.reshape(*y.shape[:-1], 2, *spot.shape)
    u, v = w.unbind(-3)
    spread = w.roll(1, -1) + w.roll(-1, -1) + w.roll(1, -2) + w.roll(-1, -2) - 4 * w
    made = u * (3.4 - u * v)
    fed = (t >= 1.1).to(y.dtype)[..., None, None] * spot
    return (torch.stack((1 - u - made + fed, made), -3) + diffusion * spread).flatten(-3)


def _torus_jac(diffusion: float, spot: Tensor, t: Tensor, y: Tensor) -> Tensor:
    u, v = y.chunk(2, -1)
    square, made = torch.diag_embed(u * u), torch.diag_embed(3.4 - 2 * u * v)
    eye = torch.eye(spot.shape[-1], dtype=y.dtype, device=y.device)
    ring = diffusion * (eye.roll(1, 0) + eye.roll(-1, 0) - 2 * eye)
    spread = torch.kron(ring, eye) + torch.kron(eye, ring)
    unit = torch.eye(spot.numel(), dtype=y.dtype, device=y.device)
    upper = torch.cat((spread - unit - made, square), -1)
    return torch.cat((upper, torch.cat((made, spread - square), -1)), -2)


def brusselator_2d(n: int = 32) -> Problem:
    """The Brusselator on an n x n torus, 2 n^2 equations; a spot is fed from t = 1.1 on.

    The Jacobian is written as a dense matrix, for small n; `sparsity` serves at any size.
    """
    from scipy import sparse as sp

    x = torch.arange(n, dtype=torch.float64) / n
    u0 = (22 * x * (1 - x) ** 1.5)[:, None].expand(n, n)
    v0 = (27 * x * (1 - x) ** 1.5).expand(n, n)
    spot = 5.0 * ((x - 0.3) ** 2 + (x[:, None] - 0.6) ** 2 <= 0.1**2)
    eye = sp.eye_array(n)
    ring = sp.csr_array(np.roll(np.eye(n), 1, 0) + np.roll(np.eye(n), -1, 0))
    spread = sp.kron(ring, eye) + sp.kron(eye, ring)
    pattern = sp.kron(np.eye(2), spread) + sp.kron(np.ones((2, 2)), sp.eye_array(n * n))
    return Problem(
        name="brusselator_2d",
        title=f"Brusselator on a torus, {2 * n * n} equations",
        f=partial(_torus_field, 0.1 * n * n, spot.to(torch.float64)),
        jac=partial(_torus_jac, 0.1 * n * n, spot.to(torch.float64)),
        y0=torch.stack((u0, v0)).flatten(),
        t0=0.0,
        t1=11.5,
        atol=1e-10,
        stiff=True,
        source=_SOURCE.format("BRUSS-2D") + "; reference by DOP853, stopping at the jump",
        reference=_TORUS_REFERENCE if n == 32 else None,
        probes=_TORUS_PROBES if n == 32 else (),
        digits=11 if n == 32 else 0,
        sparsity=sp.csr_array(pattern != 0),
        params={"n": n},
        notes="the field jumps at t = 1.1",
    )
