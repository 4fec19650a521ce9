"""A field of rows together with the derivatives of its solution, for the loop in torch.

S' = (df/dy) S + df/dp beside y' = f, S (F, K) by K parameters and initial values. Tolerances leave
S without a say in the steps, so that S is the derivative of the y that is found. Data have many
times, and a pass of autograd for every one of them would take several times as long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.func import jvp

from stiffguide import forward_mode

FREE = 1e30  # absolute tolerance of what is to have no say

Field = Callable[..., Tensor]


def augmented(field: Field, features: int, count: int, start: bool) -> Field:
    """The field of y and S in one row (B, F + K F), by `count` parameters and, last, by y0."""
    columns = count + features * start
    forward_mode.load()

    def grown(t: Tensor, state: Tensor, theta: Tensor, *own: Tensor) -> Tensor:
        y, s = state[:, :features], state[:, features:].unflatten(1, (columns, features))
        # all directions in one call: rows times columns are the rows of f
        times, rates, *known = (x.repeat_interleave(columns, 0) for x in (t, theta, *own))
        along = torch.eye(columns, count, dtype=y.dtype).repeat(len(y), 1)

        def f(y: Tensor, theta: Tensor) -> Tensor:
            return field(times, y, theta, *known)

        at = y.repeat_interleave(columns, 0), rates
        value, slopes = cast("tuple[Tensor, Tensor]", jvp(f, at, (s.flatten(0, 1), along)))
        return torch.cat((value[::columns], slopes.reshape(len(y), -1)), 1)

    return grown


def begun(y0: Tensor, count: int, start: bool) -> Tensor:
    """y0 (B, F) with what S is there: nothing moves with a parameter, and y0 with itself."""
    rows, features = y0.shape
    own = torch.eye(features, dtype=y0.dtype).flatten().expand(rows, -1)
    nothing = y0.new_zeros(rows, count * features)
    return torch.cat((y0, nothing, own) if start else (y0, nothing), 1)


def tolerances(rtol: Any, atol: Any, features: int, columns: int) -> tuple[Tensor, Tensor]:
    """(1, F + K F) each: the root mean square over all is that over y."""
    share = (1 + columns) ** -0.5
    rest = torch.zeros(1, columns * features, dtype=torch.float64)
    relative, absolute = (
        share * torch.as_tensor(x, dtype=torch.float64).expand(1, features) for x in (rtol, atol)
    )
    return torch.cat((relative, rest), 1), torch.cat((absolute, rest + FREE), 1)


def apart(state: Tensor, features: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """y (B, T, F), and its derivatives (B, T, F, count) by parameters and (B, T, F, rest) by y0."""
    y, s = state[..., :features], state[..., features:]
    s = s.unflatten(2, (s.shape[2] // features, features)).mT
    return y, s[..., :count], s[..., count:]
