"""What a verification found: of every check a verdict, a figure and a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from stiffguide.errors import InputError, VerificationFailed

Verdict = Literal["holds", "violated", "left out"]


@dataclass(frozen=True)
class Check:
    """One check: what was asked, what was found, what was expected.

    `figure` is what was measured or proved, None where the check was left out; `due` is what it was
    to be, in the same unit. `sentence` says what is violated and where, or why it was left out.
    """

    name: str
    verdict: Verdict
    figure: float | None
    due: str
    sentence: str

    @property
    def violated(self) -> bool:
        """Whether a claim does not hold."""
        return self.verdict == "violated"

    @classmethod
    def judged(
        cls, name: str, holds: bool, figure: float, due: str, sentence: str, wrong: str
    ) -> Check:
        """A check that was made: one sentence for each outcome."""
        if holds:
            return cls(name, "holds", figure, due, sentence)
        return cls(name, "violated", figure, due, wrong)

    @classmethod
    def left_out(cls, name: str, why: str) -> Check:
        """A check that does not apply, and why."""
        return cls(name, "left out", None, "-", why)


@dataclass(frozen=True)
class Report:
    """What `verify` found of one method. `print(report)` shows it as a table.

    `checks` are in the order in which they were made; `report["batch"]` is one of them.
    """

    name: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is violated; what was left out counts as nothing."""
        return not self.violations

    @property
    def violations(self) -> tuple[Check, ...]:
        """The checks whose claim does not hold."""
        return tuple(check for check in self.checks if check.violated)

    def __getitem__(self, name: str) -> Check:
        for check in self.checks:
            if check.name == name:
                return check
        there = ", ".join(check.name for check in self.checks)
        raise InputError(f"{self.name}: no check is named {name!r}; there are {there}")

    def __iter__(self) -> Iterator[Check]:
        return iter(self.checks)

    def raise_if_failed(self) -> Report:
        """The report itself; raises VerificationFailed with the sentences of what is violated."""
        if self.violations:
            raise VerificationFailed("; ".join(check.sentence for check in self.violations))
        return self

    def __str__(self) -> str:
        """A table, and the sentence of everything that does not simply hold."""
        rows: list[tuple[str, ...]] = [("check", "verdict", "found", "due")]
        rows += [(c.name, c.verdict, _figure(c.figure), c.due) for c in self.checks]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        count = len(self.violations)
        lines = [f"{self.name}: {f'{count} violated' if count else 'nothing violated'}"]
        lines += ["  ".join(x.ljust(w) for x, w in zip(row, widths, strict=True)) for row in rows]
        told = [f"{c.verdict}: {c.sentence}" for c in self.checks if c.verdict != "holds"]
        lines += dict.fromkeys(told)  # one reason may leave out several
        return "\n".join(line.rstrip() for line in lines)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
