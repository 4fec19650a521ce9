"""What networks predict, and the one place where it is turned into x0.

With x_t = alpha x0 + sigma eps, every prediction is a linear function of x_t and x0, so that
x0 = c_x x_t + c_out out. A network `net(x_t, time)` of any schedule becomes the package's
`denoiser(x, sigma) -> x0` in VE form, and back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.schedule import VE, Schedule
from stiffguide.errors import InputError
from stiffguide.tensors import rows

Network = Callable[[Tensor, Tensor], Tensor]
"""net(x_t (B, ...), time (B,)) -> (B, ...), a prediction of any kind, of any schedule."""

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""denoiser(x (B, ...), sigma (B,)) -> x0 (B, ...), in VE form: x = x0 + sigma eps."""


class Path(NamedTuple):
    """A schedule at one time: values, and derivatives by the time that a network is told."""

    alpha: Tensor
    sigma: Tensor
    d_alpha: Tensor
    d_sigma: Tensor


class Coefficients(NamedTuple):
    """x0 = x c_x + out c_out, each (B,)."""

    x: Tensor
    out: Tensor


def _x0(p: Path) -> Coefficients:
    return Coefficients(torch.zeros_like(p.alpha), torch.ones_like(p.alpha))


def _epsilon(p: Path) -> Coefficients:
    return Coefficients(1 / p.alpha, -p.sigma / p.alpha)


def _v(p: Path) -> Coefficients:
    square = p.alpha**2 + p.sigma**2
    return Coefficients(p.alpha / square, -p.sigma / square)


def _velocity(p: Path) -> Coefficients:
    wronskian = p.alpha * p.d_sigma - p.sigma * p.d_alpha
    return Coefficients(p.d_sigma / wronskian, -p.sigma / wronskian)


def _score(p: Path) -> Coefficients:
    return Coefficients(1 / p.alpha, p.sigma**2 / p.alpha)


PREDICTIONS: dict[str, Callable[[Path], Coefficients]] = {
    "x0": _x0,  # the data
    "epsilon": _epsilon,  # the noise
    "v": _v,  # alpha eps - sigma x0 (Salimans and Ho, arXiv 2202.00512)
    "velocity": _velocity,  # dx_t/dt for fixed x0, eps, by the network's time; a flow: eps - x0
    "score": _score,  # the gradient of log p(x_t): -eps/sigma
}


def coefficients(prediction: str, schedule: Schedule, level: Tensor) -> tuple[Path, Coefficients]:
    """The schedule at noise levels (B,), and what makes x0 of x_t and the prediction there."""
    _known(prediction)
    t = schedule.time(level)
    alpha = schedule.alpha(t)
    # sigma from the level itself: beyond the ends of a table the level counts, not the time
    path = Path(alpha, alpha * level, schedule.d_alpha(t), schedule.d_sigma(t))
    return path, PREDICTIONS[prediction](path)


def _known(prediction: str) -> None:
    if prediction not in PREDICTIONS:
        raise InputError(
            f"prediction is one of {', '.join(map(repr, PREDICTIONS))}, not {prediction!r}"
        )


def as_denoiser(
    net: Network,
    prediction: str = "epsilon",
    schedule: Schedule | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> Denoiser:
    """The denoiser(x, sigma (B,)) -> x0 in VE form of a network net(x_t, t (B,)).

    prediction: "x0", "epsilon", "v", "velocity" or "score". schedule: VE by default.
    dtype: what the network computes in; x0 is put together in the dtype of x, and the time comes
    in float32 or better, because half precision cannot count to 1000.
    """
    path_of = (VE() if schedule is None else schedule).trained()
    _known(prediction)

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        level = sigma.to(torch.float64)
        path, c = coefficients(prediction, path_of, level)
        scaled = x * rows(path.alpha, x).to(x.dtype)
        time = path_of.time(level).to(torch.promote_types(x.dtype, torch.float32))
        out = net(scaled if dtype is None else scaled.to(dtype), time).to(x.dtype)
        return rows(c.x, x).to(x.dtype) * scaled + rows(c.out, x).to(x.dtype) * out

    return denoiser


def as_network(
    denoiser: Denoiser, prediction: str = "epsilon", schedule: Schedule | None = None
) -> Network:
    """The network net(x_t, t (B,)) that `as_denoiser` turns into this denoiser."""
    path_of = (VE() if schedule is None else schedule).trained()

    def net(x: Tensor, t: Tensor) -> Tensor:
        level = path_of.level(t)
        path, c = coefficients(prediction, path_of, level)
        x0 = denoiser(x / rows(path.alpha, x).to(x.dtype), level.to(x.dtype))
        return (x0 - rows(c.x, x).to(x.dtype) * x) / rows(c.out, x).to(x.dtype)

    return net
