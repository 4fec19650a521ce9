"""Strategies of hypothesis for whoever tests an ODE method, a schedule or a field.

Read `fields` (vector fields whose solution is known), then `tableaux` (of a given order, by
families in rational arithmetic), `schedules` (with the laws that every one obeys), `states` (their
shapes and nestings) and `grids` (times and noise levels).
"""

try:
    import hypothesis as hypothesis
except ImportError as _error:
    raise ImportError("stiffguide.testing needs hypothesis: pip install hypothesis") from _error

from stiffguide.testing.fields import (
    Known,
    coupled_fields,
    fields,
    linear_fields,
    nonautonomous_fields,
    polynomial_fields,
    stiff_fields,
)
from stiffguide.testing.grids import levels, times
from stiffguide.testing.schedules import assert_schedule, schedules
from stiffguide.testing.states import Nested, states
from stiffguide.testing.tableaux import (
    explicit_tableaux,
    implicit_tableaux,
    rosenbrock_tableaux,
    tableaux,
)

__all__ = [
    "Known",
    "Nested",
    "assert_schedule",
    "coupled_fields",
    "explicit_tableaux",
    "fields",
    "implicit_tableaux",
    "levels",
    "linear_fields",
    "nonautonomous_fields",
    "polynomial_fields",
    "rosenbrock_tableaux",
    "schedules",
    "states",
    "stiff_fields",
    "tableaux",
    "times",
]
