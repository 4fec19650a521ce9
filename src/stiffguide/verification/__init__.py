"""Is a method what it claims to be? Proofs of its coefficients, and laws that its steps obey.

`verify` asks everything and returns a `Report`; the checks can also be asked one by one. Each takes
a name, a tableau, a Method, or the step of another library as a `Stepper`. Read `suite`, then
`proofs`, `observed` and `laws`; `subject` is what they all see, `orbit` the problem that is solved.
It knows `solve` and what stands below.
"""

from stiffguide.verification.laws import (
    batch,
    gradients,
    permutation,
    polynomials,
    stability_of_steps,
    time_shift,
)
from stiffguide.verification.observed import (
    EXPONENT_ALLOWANCE,
    dense_output,
    error_estimate,
    global_order,
    observed_dense_order,
    observed_error_exponent,
    observed_order,
    order_allowance,
    slope,
)
from stiffguide.verification.orbit import orbit, orbit_field, orbit_jac
from stiffguide.verification.proofs import (
    dense_conditions,
    embedded_conditions,
    linear_stability,
    order_conditions,
)
from stiffguide.verification.report import Check, Report
from stiffguide.verification.subject import AnyMethod, Stepper
from stiffguide.verification.suite import CHECKS, verify

__all__ = [
    "CHECKS",
    "EXPONENT_ALLOWANCE",
    "AnyMethod",
    "Check",
    "Report",
    "Stepper",
    "batch",
    "dense_conditions",
    "dense_output",
    "embedded_conditions",
    "error_estimate",
    "global_order",
    "gradients",
    "linear_stability",
    "observed_dense_order",
    "observed_error_exponent",
    "observed_order",
    "orbit",
    "orbit_field",
    "orbit_jac",
    "order_allowance",
    "order_conditions",
    "permutation",
    "polynomials",
    "slope",
    "stability_of_steps",
    "time_shift",
    "verify",
]
