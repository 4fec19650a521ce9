"""The guidance rules that a caller, or a configuration, can name."""

from __future__ import annotations

from stiffguide.errors import InputError
from stiffguide.guidance import ErkGuid, ErrorDirection
from stiffguide.stepping.contracts import Guidance

RULES = ("error_direction", "erk_guid")


def named_rule(
    guidance: str | Guidance | None, order: int = 2, w_stiff: float = 1.0, w_con: float = 0.5
) -> Guidance | None:
    """The rule of a name; rules and None are handed on. Raises InputError for a name that is none.

    order: of "error_direction", 2 or 3. w_stiff, w_con: of "erk_guid".
    """
    if guidance is None or (hasattr(guidance, "bind") and not isinstance(guidance, str)):
        return guidance
    if guidance == "error_direction":
        return ErrorDirection(order)
    if guidance == "erk_guid":
        return ErkGuid(w_stiff, w_con)
    known = ", ".join(map(repr, RULES))
    raise InputError(f"guidance is one of {known}, None or a rule, not {guidance!r}")
