"""The guidance rules that a configuration can name."""

from __future__ import annotations

from stiffguide.adapters.diffusion.heun import Heun
from stiffguide.errors import InputError
from stiffguide.guidance import ErkGuid, ErrorDirection

RULES = ("error_direction", "erk_guid")


def guided_heun(name: str | None, order: int, w_stiff: float, w_con: float) -> Heun:
    """Heun's method with a rule by name, or without one."""
    if name is None:
        return Heun()
    if name == "error_direction":
        return Heun().bind(ErrorDirection(order))
    if name == "erk_guid":
        return Heun().bind(ErkGuid(w_stiff, w_con))
    known = ", ".join(map(repr, RULES))
    raise InputError(f"guidance is one of {known} or None, not {name!r}")
