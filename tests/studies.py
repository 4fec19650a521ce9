"""A study that is cheap, as a module that other processes can import."""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from stiffguide import designs, sweep

Y0 = torch.tensor([1.0, 0.0], dtype=torch.float64)
DESIGN = designs.sobol(20, k=(0.5, 8.0), c=(0.1, 1.0), log=["k"])
OPTIONS = {"method": "bosh3", "rtol": 1e-3, "atol": 1e-4, "backend": "eager"}


def field(t: Tensor, y: Tensor, p: dict[str, Tensor]) -> Tensor:
    k, c = p["k"].unsqueeze(-1), p["c"].unsqueeze(-1)
    return torch.cat((-k * y[:, :1] + c * y[:, 1:], k * y[:, :1] - c * y[:, 1:] ** 2), -1)


def run(out: str, **more):
    return sweep(field, Y0, 0.0, 2.0, DESIGN, out=out, rows_per_shard=3, **OPTIONS, **more)


if __name__ == "__main__":
    run(sys.argv[1])
