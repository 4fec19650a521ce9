"""`odeint_dense`: the solution as a function of time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from stiffguide.fronts.torchdiffeq.question import question
from stiffguide.fronts.torchdiffeq.schemes import SCIPY
from stiffguide.fronts.torchdiffeq.solving import solved
from stiffguide.fronts.torchdiffeq.state import Function, Methods, State, Tolerance
from stiffguide.inputs import Number
from stiffguide.stepping.output import End


def odeint_dense(
    func: Function,
    y0: State,
    t0: Number,
    t1: Number,
    *,
    rtol: Tolerance = 1e-7,
    atol: Tolerance = 1e-9,
    method: Methods = None,
    options: dict[str, Any] | None = None,
) -> Callable[[Any], Any]:
    """Solve from t0 to t1, and give the solution as a function of t () or (T,).

    y0 is a tensor (*S), or a tuple of such, and so is the value: (*S) or (T, *S). That raises
    ValueError outside of the interval. Any method that chooses its steps will do.
    """
    t = torch.stack([torch.as_tensor(x).detach().double().reshape(()) for x in (t0, t1)])
    asked = question(func, y0, t, rtol, atol, method, options)
    if asked.scheme.given or asked.scheme.name == SCIPY:
        raise ValueError(f"odeint_dense: {asked.scheme.name} does not choose its steps; use dopri5")
    found = solved(asked, t, save_at=End(), dense=True)
    low, high = sorted((float(t[0]), float(t[1])))

    def at(times: Any) -> Any:
        """The state at times within the interval."""
        wanted = torch.as_tensor(times)
        if not bool(((wanted >= low) & (wanted <= high)).all()):
            raise ValueError(f"odeint_dense: t must lie between {low:g} and {high:g}")
        return found.at(wanted)

    return at
