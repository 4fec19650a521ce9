"""Error-direction guidance: an embedded error is also a direction along which y1 can be moved.

Read `kappa` (how far to go along it), the rules `error_direction` and `erk_guid`, then `combine`
(rules made of rules). Of `stepping` only `contracts` may be imported; never `methods`,
`catalogue`, `problems` or `fields`: a rule sees steps, and judges none.
"""

from stiffguide.estimators import (
    Subspace,
    dominant_direction,
    local_stiffness,
    rayleigh_quotient,
    secant_subspace,
)
from stiffguide.guidance.combine import Cap, Gate, Sum, Window
from stiffguide.guidance.erk_guid import ErkGuid, erk_guid_displacement
from stiffguide.guidance.error_direction import ErrorDirection
from stiffguide.guidance.kappa import Kappa, Soundness, soundness

__all__ = [
    "Cap",
    "ErkGuid",
    "ErrorDirection",
    "Gate",
    "Kappa",
    "Soundness",
    "Subspace",
    "Sum",
    "Window",
    "dominant_direction",
    "erk_guid_displacement",
    "local_stiffness",
    "rayleigh_quotient",
    "secant_subspace",
    "soundness",
]
