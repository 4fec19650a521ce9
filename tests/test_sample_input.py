"""What `sample` and `invert` refuse, and how they say so."""

from __future__ import annotations

import pytest
import torch
from flows import THIN, normal

from stiffguide.adapters.diffusion import Emg, grid, invert, sample
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.guidance import ErkGuid

LEVELS = grid.karras(10, zero=True)
NOISE = normal(5, 4, seed=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigmas": [1.0, 2.0]}, "sigmas must fall.*invert"),
        ({"sigmas": [2.0, 1.0, -0.1]}, "end in -0.1"),
        ({"sigmas": [2.0, 0.0, 1.0]}, "sigmas must fall"),
        ({"sigmas": [2.0]}, "N >= 1 intervals"),
        ({"denoiser": 3}, "must be callable"),
        ({"denoiser": lambda x, s: x[:1]}, r"given \(5, 4\) and returned \(1, 4\)"),
        ({"denoiser": lambda x, s: x.float()}, "model_dtype=torch.float32"),
        ({"denoiser": lambda x, s: None}, "returned NoneType"),
        ({"noise": torch.ones(3)}, "first axis is the batch"),
        ({"noise": torch.ones(3, 2, dtype=torch.int64)}, "floating-point"),
        ({"noise": torch.ones(0, 2)}, "at least one value|one value"),
        ({"method": "rk4"}, "no sampler is called 'rk4'; there are heun"),
        ({"keep": "all"}, "keep is one of"),
        ({"dtype": torch.float16}, "model_dtype"),
        ({"strength": 0.5}, "give init"),
        ({"strength": 0.0, "init": NOISE}, "must lie in"),
        ({"init": torch.ones(3)}, "does not fit"),
        ({"mask": torch.ones(4)}, "give init too"),
        ({"mask": 2 * torch.ones(4), "init": NOISE}, r"mask must lie in \[0, 1\]"),
        ({"seeds": [1, 2]}, "2 seeds for a batch of 5"),
        ({"seeds": [1, 2, 3, 4, -5]}, "whole numbers"),
        ({"s_churn": -1.0}, "s_churn must be finite and not negative"),
        ({"s_churn": 1.0, "eta": 1.0}, "use one of them"),
        ({"s_churn": 1.0, "guidance": ErkGuid()}, "leave out s_churn"),
    ],
)
def test_bad_input(change: dict[str, object], message: str) -> None:
    given = {"denoiser": THIN, "noise": NOISE, "sigmas": LEVELS, **change}
    with pytest.raises(InputError, match=message):
        sample(**given)


def test_bad_inversions() -> None:
    with pytest.raises(InputError, match="must rise"):
        invert(THIN, NOISE, LEVELS)
    with pytest.raises(InputError, match="starts above sigma = 0"):
        invert(THIN, NOISE, [0.0, 1.0])
    with pytest.raises(UnsupportedError, match="invert with 'heun'"):
        invert(THIN, NOISE, [0.1, 1.0], "emg")
    with pytest.raises(InputError, match="points is 2, 3 or None"):
        Emg(4)
    with pytest.raises(InputError, match="made of three points"):
        Emg(2, lagged=True)
