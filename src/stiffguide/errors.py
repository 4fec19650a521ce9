"""What can go wrong: one exception type per kind of mistake, one status per kind of ending."""

from __future__ import annotations

from enum import IntEnum
from typing import Any
from unicodedata import category


def printable(text: str) -> str:
    """The text with everything that could drive a terminal, or hide in one, written out.

    Line ends stay; so do spaces of every width, which only take room.
    """
    if text.isprintable():
        return text
    kept = (c if c.isprintable() or c == "\n" or category(c) == "Zs" else _named(c) for c in text)
    return "".join(kept)


def _named(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class StiffguideError(Exception):
    """Base of every exception that this package raises on purpose; its sentence is `printable`."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*(printable(x) if isinstance(x, str) else x for x in given))


class TableauError(StiffguideError, ValueError):
    """A tableau contradicts itself or its claims; the sentence names the violated condition."""


class InputError(StiffguideError, ValueError):
    """An argument of a solve cannot be used; the sentence says which, why, and the way out."""


class CallError(InputError, TypeError):
    """A call that does not fit the signature; the sentence says what to write instead."""


class UnsupportedError(InputError, NotImplementedError):
    """A combination that this version does not offer; the sentence names what to use instead."""


class SolveFailed(StiffguideError, RuntimeError):
    """Raised by `Solution.raise_if_failed` with the sentence of the first failed row."""


class VerificationFailed(StiffguideError, AssertionError):
    """Raised by `Report.raise_if_failed` with the sentence of everything that is violated."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a solve: stops a script as ever, and brings `solution`, what was reached.

    In it the rows that had ended are as they should be, and the others, of status INTERRUPTED, end
    where they were.
    """

    def __init__(self, message: str, solution: Any = None) -> None:
        super().__init__(message)
        self.solution = solution


class StiffguideWarning(UserWarning):
    """Something that a result does not say by itself; the sentence names the way out."""


class Status(IntEnum):
    """How a row of a solve ended (or that it has not)."""

    RUNNING = -1
    SUCCESS = 0
    DT_TOO_SMALL = 1
    MAX_ATTEMPTS = 2
    NON_FINITE = 3
    EVENT = 4  # a stopping condition of the user: event, monitor, steady state
    INTERRUPTED = 5  # only in `Interrupted.solution`
    NOT_CONVERGED = 6
    CHATTERING = 7  # events without end

    @property
    def ok(self) -> bool:
        """Whether the row reached what was asked of it."""
        return self in (Status.SUCCESS, Status.EVENT)

    @property
    def sentence(self) -> str:
        """The status in plain words."""
        return _SENTENCES[self]


_SENTENCES = {
    Status.RUNNING: "the solve has not ended",
    Status.SUCCESS: "reached the end of the interval",
    Status.DT_TOO_SMALL: "the step size fell below the resolution of time",
    Status.MAX_ATTEMPTS: "max_attempts was used up",
    Status.NON_FINITE: "the vector field returned values that are not finite",
    Status.EVENT: "a stopping condition was met",
    Status.INTERRUPTED: "the solve was interrupted",
    Status.NOT_CONVERGED: "the nonlinear solver did not converge",
    Status.CHATTERING: "events followed one another without end",
}
