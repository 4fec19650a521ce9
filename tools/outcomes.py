"""Settings in which the laws are to hold, one run of pytest each, and how they ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar


class Setting(Protocol):
    """One machine, or one way to build."""

    @property
    def name(self) -> str:
        """What a summary calls it."""

    def lacking(self) -> str:
        """Why it cannot be run here, or ""."""


S = TypeVar("S", bound=Setting)


def judge(settings: Iterable[S], holds: Callable[[S], bool]) -> int:
    """Run all that can be run and print a summary; the exit code is 1 if one failed."""
    outcomes = {}
    for setting in settings:
        why = setting.lacking()
        held = not why and holds(setting)
        outcomes[setting.name] = f"left out: {why}" if why else "ok" if held else "FAILED"
    print()
    for name, outcome in outcomes.items():
        print(f"{name}: {outcome}")
    return int("FAILED" in outcomes.values())
