"""A solve that is kept in a file on its way: what is written and when, and how it goes on.

A solve that goes on is set up like any other, from the same arguments, and then put where it was:
the file has what moves (the rows, the states of methods and controllers, and what outputs, events
and caveats have seen), between two attempts. So it goes on as it would have, to the last bit; and
the clock decides when to write, never what. Factors of sparse matrices are made again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from stiffguide import documents, safekeeping, settings
from stiffguide.algebra.pattern import Pattern
from stiffguide.errors import InputError, Status, UnsupportedError
from stiffguide.packing import NoData, Packed, fitted
from stiffguide.saying import warn
from stiffguide.stepping import live
from stiffguide.stepping.contracts import Field
from stiffguide.stepping.live import Live, Problem

EVERY = 60.0  # seconds
WHY = "checkpoint was given, and backend='kernel' was not"
RECORDED = (
    "checkpoint: {what} made of recorded steps, which no file keeps; leave checkpoint out, or {way}"
)
GRADIENTS = RECORDED.format(what="gradients are", way="solve in torch.no_grad()")
UNUSABLE = "is a checkpoint of another version; go on with that, or solve from the start"
APART = ("f", "args", "checkpoint", "every", "progress")  # which are no settings
EARLY = 0.25  # of the first dt: where f is asked once more, to know it again by

T = TypeVar("T")
Points = list[tuple[Tensor, Tensor, Tensor]]  # t (B,), y (B, F) and f there


class Checkpoint:
    """The file of a solve."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: float,
        asked: Mapping[str, Any],
        saved: Mapping[str, Any] | None = None,
        *,
        force: bool = False,
    ) -> None:
        """`asked` is what the file says of the solve, `saved` what it says of where that was."""
        self.path: Path = Path(path).absolute()  # f may go elsewhere
        self._every, self._by_attempts = _interval(every)
        self._asked = {**asked, "every": every}
        self._saved, self._force = saved, force
        self._facts: dict[str, Any] = {"tries": 0, "known": None}
        if saved is not None:
            self._facts = saved["facts"]
        self._f: Field | None = None
        self._parts: list[Any] = []
        self._points: Points = []
        self._begun, self._warned = saved is not None, False
        self._due, self._count = 0.0, 0
        self._seen: Tensor | None = None  # attempts (B,) at the last look

    @property
    def place(self) -> Any:
        """Where the loop was, as data; None where it begins."""
        return None if self._saved is None else self._saved["place"]

    @property
    def tries(self) -> int:
        """How often the solve began anew, with more entries of the Jacobian."""
        return int(self._facts["tries"])

    def pattern(self, n: int) -> Pattern | None:
        """These entries, of n unknowns."""
        if self._facts["known"] is None:
            return None
        i, j = self._facts["known"]
        return Pattern.at(i, j, n)

    def again(self, known: Pattern) -> None:
        """The solve begins anew, with these entries."""
        self._facts = {"tries": self.tries + 1, "known": (known.rows, known.columns)}
        self._saved = None

    def begin(self, spent: int) -> int:
        """What the checks of f took in evaluations: if they were made before, then."""
        if self._saved is None:
            self._facts["spent"] = spent
        return int(self._facts["spent"])

    def follow(self, p: Problem, s: Live, parts: Sequence[Any]) -> None:
        """Take up a solve that is about to begin; `parts` are put where they were."""
        self._f = p.f
        self._parts = [part for part in parts if part is not None]
        for part in self._parts:
            if getattr(part, "moves", None) is None:
                raise InputError(
                    f"checkpoint: {type(part).__name__} does not say by `moves` which of its "
                    "attributes change on the way; name them there"
                )
        t0 = live.opened(p, s.t, s.y)
        found = ((t, s.y, _value(p.f, t, s.y)) for t in (t0, t0 + EARLY * s.dt))
        self._points = [(t, y, value) for t, y, value in found if value is not None]
        self._seen, self._due = None, monotonic() + self._every
        if self._saved is None:
            return
        try:
            other = changed(p.f, self._saved["points"])
        except (AttributeError, TypeError, ValueError):
            raise InputError(self._unusable) from None
        if other:
            self.differs("f gives other values than it did")
        try:
            for part, values in zip(self._parts, self._saved["parts"], strict=True):
                for name, value in zip(part.moves, values, strict=True):
                    setattr(part, name, value)
        except (TypeError, ValueError):
            raise InputError(self._unusable) from None

    def differs(self, what: str) -> None:
        """Raise InputError for a solve that is another one, or warn where that is to be."""
        name = documents.shown(self.path)
        if not self._force:
            raise InputError(
                f"resume: {what}; give what it was, or force=True to go on all the same from {name}"
            )
        warn(f"resume: {what}; goes on all the same")

    def put(self, like: T) -> T:
        """The place of the loop, as a state of this kind; that itself where the solve begins."""
        try:
            return like if self._saved is None else fitted(like, self.place)
        except (TypeError, ValueError):
            raise InputError(self._unusable) from None

    @property
    def _unusable(self) -> str:
        return f"{documents.shown(self.path)} {UNUSABLE}"

    def most(self, attempts: int) -> int:
        """How many attempts there may be from one look to the next, of so many."""
        return max(1, min(attempts, int(self._every))) if self._by_attempts else attempts

    def before(self, step: Callable[[Problem, Live], Live]) -> Callable[[Problem, Live], Live]:
        """A step of the loop that is looked at before."""

        def kept(p: Problem, s: Live) -> Live:
            self.look(s, lambda: s)
            return step(p, s)

        return kept

    def look(self, s: Live, place: Callable[[], Any]) -> None:
        """See the state before an attempt, and keep its place if it is time to."""
        if self._time(s):
            self._write(s, place())

    def keep(self, s: Live, place: Any) -> None:
        """Keep the end, but none by the keyboard: outputs may have seen a part of an attempt."""
        if not bool((s.status == int(Status.INTERRUPTED)).any()):
            self._write(s, place)

    def _time(self, s: Live) -> bool:
        if not self._begun:
            return True
        if not self._by_attempts:
            return monotonic() >= self._due
        if self._seen is not None and self._seen.numel():
            self._count += int((s.attempts - self._seen).max())
        self._seen = s.attempts
        return self._count >= self._every

    def _write(self, s: Live, place: Any) -> None:
        parts = [tuple(getattr(part, name) for name in part.moves) for part in self._parts]
        where, points = live.asked(s), list(self._points)
        assert self._f is not None
        if (value := _value(self._f, where, s.y)) is not None:
            points.append((where, s.y, value))
        found = {"place": place, "parts": parts, "points": points, "facts": self._facts}
        try:
            safekeeping.write(self.path, Packed({**self._asked, **found}).write)
        except NoData as error:
            self._failed(f"a state of this solve holds {error}, which is no data")
        except OSError as error:
            self._failed(error.strerror or type(error).__name__)
        self._begun, self._count, self._due = True, 0, monotonic() + self._every

    def _failed(self, why: str) -> None:
        name = documents.shown(self.path)
        if not self._begun:
            raise InputError(f"checkpoint: {name}: {why}; give another file, or leave it out")
        if not self._warned:
            self._warned = True
            warn(f"checkpoint: {name}: {why}; the solve goes on, and the file stays as it was")


File = str | os.PathLike[str] | Checkpoint


def opened(file: File, every: float, given: Mapping[str, Any]) -> Checkpoint:
    """The file of a solve that begins with these arguments, or goes on; raises InputError.

    There must be no such file yet.
    """
    if isinstance(file, Checkpoint):
        return file
    if not isinstance(file, (str, os.PathLike)):
        raise InputError(f"checkpoint: give the path of a file, not {type(file).__name__}")
    path = Path(file)
    if path.exists():
        raise InputError(
            f"checkpoint: {documents.shown(path)} is there already; go on from it by "
            "stiffguide.resume, or remove it to begin anew"
        )
    if given["sensitivities"] is not None:
        raise UnsupportedError(RECORDED.format(what="sensitivities are", way="sensitivities"))
    return Checkpoint(path, every, asked_for(given))


def way(found: T, why: str) -> tuple[T | Literal["eager"], str]:
    """The backend of a solve that is kept, and why it is that one.

    A kernel has to be asked for: what a cache holds may be another thing when the solve goes on.
    """
    return (found, why) if found in ("eager", "kernel") else ("eager", WHY)


def asked_for(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says of a solve: what is data, and what has to be given again, by name."""
    data = {name: settings.written(value) for name, value in given.items() if name not in APART}
    again = {name: settings.told(given[name]) for name, value in data.items() if value is None}
    kept = {name: value for name, value in data.items() if value is not None}
    return {"asked": kept, "again": again, "args": digests(given["args"])}


def digests(args: Any) -> list[str]:
    """What tells these arguments of f from others."""
    return [settings.digest(x) for x in args] if isinstance(args, tuple) else []


def changed(f: Field, points: Points) -> bool:
    """Whether f gives other values, by more than rounding, than it did at these points."""
    sizes = [value.abs().amax(-1, keepdim=True).nan_to_num(0.0) for *_, value in points]
    for t, y, before in points:
        now = _value(f, t, y)
        if now is None or now.shape != before.shape:
            return True
        least = torch.finfo(before.dtype).eps ** 0.5 * torch.stack(sizes).amax(0)
        same = ((now - before).abs() <= least) | (now == before)
        if not bool((same | (torch.isnan(now) & torch.isnan(before))).all()):
            return True
    return False


def _value(f: Field, t: Tensor, y: Tensor) -> Tensor | None:
    """f(t (B,), y (B, F)), where it has a value."""
    try:
        with torch.no_grad():
            return f(t.clone(), y.clone())
    except Exception:  # of the user's f: the solve itself need not ask it there
        return None


def _interval(every: Any) -> tuple[float, bool]:
    """Between two writes, and whether that counts attempts; raises InputError."""
    number = isinstance(every, (int, float)) and not isinstance(every, bool)
    if not number or not every > 0:
        raise InputError(
            "every: give the seconds between two writes as 60.0, or the attempts as 1000, not "
            f"{every!r}"
        )
    return float(every), isinstance(every, int)
