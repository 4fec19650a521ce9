"""`resume`: goes on with a solve from the file that it was kept in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Unpack

from stiffguide import documents, packing, safekeeping, settings
from stiffguide.checkpoints import UNUSABLE, Checkpoint, asked_for
from stiffguide.errors import InputError
from stiffguide.inputs import Rates
from stiffguide.options import Again
from stiffguide.solution import Solution
from stiffguide.solve import solve


def resume(
    checkpoint: str | os.PathLike[str],
    f: Rates,
    args: tuple[Any, ...] = (),
    *,
    every: float | None = None,
    progress: bool = False,
    force: bool = False,
    **again: Unpack[Again],
) -> Solution[Any]:
    """Go on with a solve from the file that `solve(..., checkpoint=)` kept it in, to its end.

    What comes is to the last bit what the solve would have come to, had nothing stopped it; the
    file goes on being written. A solve that had ended is given back. f and args are those of the
    solve. Numbers are in the file; what is a function, or an object of one's own, has to be given
    again by its name, as `events=`. Whatever else is given again is compared with the file.

    every: seconds (a float) or attempts (an int) from one write to the next, if not as before.
    force: go on although f, args or another argument is not what it was, with a warning.

    Raises InputError for a file that is no whole checkpoint, and where f gives other values.
    """
    path, given = Path(checkpoint), {name: x for name, x in again.items() if x is not None}
    saved = packing.read(path)
    try:
        asked = {name: dict(saved[name]) for name in ("asked", "again")}
        known = {name: settings.made(data) for name, data in asked["asked"].items()}
        before, often = list(saved["args"]), saved["every"]
        saved = {name: saved[name] for name in ("place", "parts", "points", "facts")}
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        raise InputError(f"{documents.shown(path)} {UNUSABLE}") from None
    for name, value in asked["again"].items():
        if name not in given:
            raise InputError(
                f"resume: this solve was given {name}={value}, which no file keeps: give {name}= "
                "again"
            )
    now = asked_for({**given, "args": args})
    log = Checkpoint(
        *(path, often if every is None else every),
        *({**{name: asked[name] | now[name] for name in asked}, "args": now["args"]}, saved),
        force=force,
    )
    for text in (*_arguments(before, now["args"]), *_settings(asked, known, given, now)):
        log.differs(text)
    safekeeping.clear(path)
    return solve(f, args=args, progress=progress, checkpoint=log, **{**known, **given})


def _arguments(before: list[str], now: list[str]) -> Iterator[str]:
    """Sentences about the arguments of f that are not what they were."""
    if len(before) != len(now):
        yield f"the checkpoint was made with {len(before)} args, and these are {len(now)}"
    for i, (old, new) in enumerate(zip(before, now, strict=False)):
        if old != new:
            yield f"args[{i}] is not what it was when the checkpoint was made"


def _settings(
    asked: Mapping[str, Any], known: Mapping[str, Any], given: Mapping[str, Any], now: Any
) -> Iterator[str]:
    """The same about those of the solve that were given again."""
    for name, value in given.items():
        old, new = (x["asked"].get(name) for x in (asked, now))
        was = settings.told(known[name]) if name in known else asked["again"].get(name)
        told = settings.told(value)
        if old is not None and new is not None:
            same = packing.Packed(old).digest() == packing.Packed(new).digest()
        elif name == "method":
            same = told == was
        else:  # of two functions nothing is known
            same = old is new
        if not same:
            yield f"the checkpoint was made with {name} = {was}, and this is {told}"
