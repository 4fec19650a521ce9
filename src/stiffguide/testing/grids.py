"""Times between two ends, and noise levels, in which nothing is even."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor

Draw = st.DrawFn


@st.composite
def times(draw: Draw, t0: float = 0.0, t1: float = 1.0, steps: int | None = None) -> Tensor:
    """Times (N + 1,) from t0 to t1, rising or falling, whose distances differ by up to 16 times."""
    n = draw(st.integers(1, 12)) if steps is None else steps
    gaps = torch.tensor(draw(st.lists(st.integers(1, 16), min_size=n, max_size=n)))
    share = torch.cat((torch.zeros(1), gaps.cumsum(0))).double() / float(gaps.sum())
    found = t0 + (t1 - t0) * share
    found[-1] = t1  # to the last bit
    return found


@st.composite
def levels(draw: Draw, steps: int | None = None, *, to_zero: bool | None = None) -> Tensor:
    """Noise levels (N + 1,), falling, between 80 and 0.002; the last one is 0 where `to_zero`."""
    n = draw(st.integers(1, 12)) if steps is None else steps
    ends = to_zero if to_zero is not None else draw(st.booleans())
    positive = n if ends else n + 1
    unit = draw(st.lists(st.integers(0, 4000), min_size=positive, max_size=positive, unique=True))
    low, high = torch.tensor((0.002, 80.0), dtype=torch.float64).log()
    place = torch.tensor(sorted(unit, reverse=True), dtype=torch.float64) / 4000
    found = torch.exp(low + (high - low) * place)
    return torch.cat((found, torch.zeros(1, dtype=found.dtype))) if ends else found
