"""Two solves of one problem by different roads: what they must share, however each of them rounds.

The error of a step far below the tolerance is little but rounding, and the next dt follows from
it. So a law about steps gives a first step that is too long: it is rejected until its error is near
the tolerance, and errors stay there. Then a last bit moves a dt by 1e-8 of itself at most, and the
states by far less than the `PART` of the tolerance that is asked for.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import stiffguide
from stiffguide.solution import Solution

RTOL, ATOL = 1e-6, 1e-9  # of a solve that says nothing else
PART = 1e-3  # of the tolerance, for states at one time
SHIFT = 1e-6  # of the interval, for the times of steps


def both(f: Any, y0: Tensor, t0: Any, t1: Any, **settings: Any) -> tuple[Solution, Solution]:
    """The same solve by a kernel and by the eager loop."""
    kernel = stiffguide.solve(f, y0, t0, t1, backend="kernel", **settings)
    return kernel, stiffguide.solve(f, y0, t0, t1, backend="eager", checks=False, **settings)


def assert_within(
    found: Tensor, expected: Tensor, part: float, *, rtol: Any = RTOL, atol: Any = ATOL
) -> None:
    """States (..., F) differ by at most that part of the tolerance; nan meets nan."""
    tolerance = torch.as_tensor(atol) + torch.as_tensor(rtol) * expected.abs()
    torch.testing.assert_close(
        found / tolerance, expected / tolerance, rtol=0, atol=part, equal_nan=True
    )


def assert_same_steps(found: Solution, expected: Solution) -> None:
    """As many attempts were accepted and rejected, and every step begins where the other does."""
    assert found.status.tolist() == expected.status.tolist()
    assert found.stats.accepted.tolist() == expected.stats.accepted.tolist()
    assert found.stats.rejected.tolist() == expected.stats.rejected.tolist()
    span = (expected.t.nan_to_num().amax(-1) - expected.t.nan_to_num().amin(-1)).max()
    torch.testing.assert_close(
        found.t, expected.t, rtol=1e-15, atol=SHIFT * float(span), equal_nan=True
    )


def assert_same(
    found: Solution, expected: Solution, part: float = PART, *, rtol: Any = RTOL, atol: Any = ATOL
) -> None:
    """The same steps, and states that differ by that part of the tolerance."""
    assert_same_steps(found, expected)
    assert found.y.dtype == expected.y.dtype
    assert_within(found.y, expected.y, part, rtol=rtol, atol=atol)
