"""`odeint`, with the arguments and the habits of torchdiffeq.odeint."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from stiffguide.fronts.torchdiffeq.events import to_event
from stiffguide.fronts.torchdiffeq.question import question
from stiffguide.fronts.torchdiffeq.solving import states
from stiffguide.fronts.torchdiffeq.state import Function, Methods, State, Tolerance


def odeint(
    func: Function,
    y0: State,
    t: Tensor,
    *,
    rtol: Tolerance = 1e-7,
    atol: Tolerance = 1e-9,
    method: Methods = None,
    options: dict[str, Any] | None = None,
    event_fn: Function | None = None,
) -> Any:
    """Solve dy/dt = func(t, y) with y(t[0]) = y0, as torchdiffeq.odeint does.

    y0 is a tensor (*S) or a tuple of such; t (T,) rises or falls. Gives y (T, *S) at these times,
    or a tuple of such. With `event_fn(t, y)`, a tensor, t has two entries, of which the second is
    a direction: gives (event_t, y (2, *S)), where the first of its entries changes its sign.

    method: a name of torchdiffeq's (the default is "dopri5"), or any method of stiffguide, such as
        "auto", "rodas5p" or "kvaerno5". Those of "rk4" and the like step from each t to the next,
        or as `step_size` or `grid_constructor` tell.
    options: those of torchdiffeq; and `rows`: True, if the first axis of y0 has rows that do not
        depend on each other, to which every row then has its own steps; `backend` and `gradient`
        as in `solve`; for our own methods `jac`, `jac_sparsity` and `linear_solver`, too.

    Gradients are those of the steps taken. A solve that fails raises an AssertionError that says
    why. Options and callbacks that nobody reads are warned of. Raises ValueError, TypeError and
    AssertionError for arguments that cannot be used.
    """
    asked = question(func, y0, t, rtol, atol, method, options, to_event=event_fn is not None)
    return states(asked) if event_fn is None else to_event(asked, event_fn)
