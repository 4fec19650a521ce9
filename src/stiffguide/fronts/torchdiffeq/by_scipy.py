"""torchdiffeq's `scipy_solver`: scipy.integrate.solve_ivp itself, without gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from stiffguide.errors import SolveFailed
from stiffguide.fronts.torchdiffeq.settings import Options
from stiffguide.fronts.torchdiffeq.state import Function, field, like, parts


class ScipyFailed(SolveFailed, AssertionError):
    """scipy did not reach the end."""


def by_scipy(
    func: Function, y0: Any, t: Tensor, rtol: Any, atol: Any, given: dict[str, Any]
) -> Any:
    """The states (T, *S) at t (T,); the option `solver` is the name of scipy's method."""
    tensors = parts(y0)
    if len(t) == 1:
        return like(y0, [x.detach().unsqueeze(0) for x in tensors])
    options = Options(given)
    solver = options.take("solver", "LSODA")
    chosen = {"max_step": float(options.take("max_step", np.inf))}
    least = float(options.take("min_step", 0.0))
    if solver == "LSODA":
        chosen["min_step"] = least
    if (first := options.take("first_step")) is not None:
        chosen["first_step"] = float(first)
    options.take("norm")
    options.end("scipy_solver")
    f, sizes, times = field(func, y0), [x.numel() for x in tensors], t.detach().cpu().double()
    real = tensors[0].real.dtype

    def state(flat: Tensor) -> Any:
        pieces = flat.to(tensors[0].device, tensors[0].dtype).split(sizes, -1)
        lead = flat.shape[:-1]
        shaped = zip(pieces, tensors, strict=True)
        return like(y0, [piece.reshape((*lead, *x.shape)) for piece, x in shaped])

    def fun(s: float, y: Any) -> Any:
        with torch.no_grad():
            at = torch.tensor(s, dtype=real, device=tensors[0].device)
            return _numbers(f(at, state(torch.from_numpy(np.array(y)))))

    span = float(times[0]), float(times[-1])
    within = [x if isinstance(x, (int, float)) else _numbers(x) for x in (rtol, atol)]
    if isinstance(within[0], np.ndarray):
        within[0] = float(within[0].min())  # scipy takes one
    found = solve_ivp(
        *(fun, span, _numbers(y0)),
        **chosen,
        t_eval=times.numpy(),
        method=solver,
        rtol=within[0],
        atol=within[1],
    )
    if not found.success:
        raise ScipyFailed(f"scipy_solver ({solver}): {found.message}")
    return state(torch.from_numpy(np.ascontiguousarray(found.y.T)))


def _numbers(y: Any) -> Any:
    """A state as one flat array of numpy."""
    flat = torch.cat([x.detach().reshape(-1) for x in parts(y)]).cpu()
    return flat.to(torch.complex128 if flat.is_complex() else torch.float64).numpy()
