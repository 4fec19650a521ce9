"""Complex numbers as pairs of real ones, F real parts before F imaginary parts.

What needs real numbers (linear systems, directions of errors) then has them, and every field has a
Jacobian, be it holomorphic or not.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stiffguide import tensors


def split(z: Tensor) -> Tensor:
    """(..., 2F) real from (..., F) complex."""
    return torch.cat((z.real, z.imag), -1)


def join(x: Tensor) -> Tensor:
    """(..., F) complex from (..., 2F) real."""
    real, imaginary = x.chunk(2, -1)
    return torch.complex(real, imaginary)


def modulus(x: Tensor) -> Tensor:
    """|z| of each number, (..., 2F), beside both of its parts.

    A tolerance relative to one part would ask for everything where that part passes zero.
    """
    real, imaginary = x.chunk(2, -1)
    return torch.hypot(real, imaginary).repeat((1,) * (x.ndim - 1) + (2,))


def rms(x: Tensor) -> Tensor:
    """Root mean square over the F moduli: (B, 2F) -> (B,), as `tensors.rms` of complex numbers."""
    return tensors.rms(x) * math.sqrt(2)


def blocks(jac: Tensor) -> Tensor:
    """(B, 2F, 2F) real: how the parts change by the parts, for dw/dz (B, F, F) complex."""
    above = torch.cat((jac.real, -jac.imag), -1)
    below = torch.cat((jac.imag, jac.real), -1)
    return torch.cat((above, below), -2)
