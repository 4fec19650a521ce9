"""Right-hand sides in many styles, as users of scipy write them."""

from __future__ import annotations

import scipy_fields_chemistry
import scipy_fields_control
import scipy_fields_mechanics
import scipy_fields_numpy
import scipy_fields_styles
from scipy_cases import FIELDS, Case

__all__ = ["FIELDS", "Case"]
PARTS = (
    scipy_fields_chemistry,
    scipy_fields_control,
    scipy_fields_mechanics,
    scipy_fields_numpy,
    scipy_fields_styles,
)
