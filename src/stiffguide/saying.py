"""Warnings, at the line of the user's program that they are about."""

from __future__ import annotations

import sys
import warnings

from stiffguide.errors import StiffguideWarning

OURS = ("stiffguide", "torch")


def warn(message: str, category: type[Warning] = StiffguideWarning) -> None:
    """Warn the first caller that is neither of this package nor of torch."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _ours(str(frame.f_globals.get("__name__", ""))):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _ours(module: str) -> bool:
    return module.partition(".")[0] in OURS
