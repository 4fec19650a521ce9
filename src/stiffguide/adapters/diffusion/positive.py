"""Numbers that have to be positive and finite, wherever a configuration may bring anything."""

from __future__ import annotations

import math
from typing import Any

from stiffguide.errors import InputError


def is_positive(value: Any) -> bool:
    """Of anything: what cannot be compared with a number is none."""
    try:
        return bool(0 < value < math.inf)
    except (TypeError, ValueError, RuntimeError):
        return False


def check_positive(what: str, value: Any) -> None:
    """Raises InputError."""
    if not is_positive(value):
        raise InputError(f"{what} must be positive and finite, not {value!r}")
