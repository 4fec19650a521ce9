"""The eager loop takes errors for a ten millionth of what they are."""

from stiffguide.stepping.tolerance import Tolerance

measure = Tolerance.measure
Tolerance.measure = lambda self, x, *states: 1e-7 * measure(self, x, *states)  # type: ignore[method-assign]
