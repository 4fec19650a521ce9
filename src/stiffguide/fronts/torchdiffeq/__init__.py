"""`odeint` and its kin, with the signatures, the results and the habits of torchdiffeq.

Read `forward` (odeint), `question` (its arguments) and `solving`; then `schemes` (the methods),
`settings` and `grids` (the options), `rowwise`, `events`, `event_times` (odeint_event),
`backsolve` (odeint_adjoint) and `dense`.
Code moves over by its import: `from stiffguide.fronts.torchdiffeq import odeint`.
"""

from stiffguide.fronts.torchdiffeq.backsolve import odeint_adjoint
from stiffguide.fronts.torchdiffeq.dense import odeint_dense
from stiffguide.fronts.torchdiffeq.event_times import odeint_event
from stiffguide.fronts.torchdiffeq.forward import odeint

__all__ = ["odeint", "odeint_adjoint", "odeint_dense", "odeint_event"]
