"""Whether a large solve has native steps, and a field of loops: what is there, or worth building.

As for kernels, a solve begins in torch and goes on there for as long as the build would take. What
the solves of one field waited adds up.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable

import torch

from stiffguide.errors import UnsupportedError
from stiffguide.fields.array_function import ArrayFunction
from stiffguide.kernels import hooks, remembered
from stiffguide.kernels.emitting.march import source
from stiffguide.kernels.loops import Refusal
from stiffguide.kernels.names import Way
from stiffguide.kernels.request import Built, Outlook, Request
from stiffguide.kernels.running import loops as running
from stiffguide.kernels.running.loops import Loops, library, there
from stiffguide.linear_systems import SMALLEST
from stiffguide.tracing.tracer import anchor, shape

LOG = logging.getLogger("stiffguide")
UNBUILT = "its loops were not built, and earlier solves were shorter than their build"
# Counted as in `patience`, in operations of torch; some 0.5 s are a build.
AN_ATTEMPT, NATIVE = 450, 100  # the latter calls f three times or so
A_BUILD = 100_000
LARGE = 4096  # components, from which an operation takes as long as its call
FORGOTTEN = 256  # fields, of which is known how long they waited

_waited: dict[Hashable, float] = {}
_there: set[Hashable] = set()  # fields whose loops were there
_refused: dict[Hashable, str] = {}


class Waiting:
    """Counts the attempts of a solve in torch, and builds what is due."""

    def __init__(self, r: Request, key: Hashable, found: Loops | None, *, loops: bool) -> None:
        """`found`: loops that are there, or else whether they are to be built."""
        self._request, self._key, self._found, self._loops = r, key, found, loops
        self._size = 1 + r.y0.shape[1] / LARGE

    def look(self, attempts: int = 1, *, native: bool = False) -> None:
        """Take note of attempts; raises Built when there is something to go on with."""
        spent = attempts * self._size * (NATIVE if native else AN_ATTEMPT)
        _waited[self._key] = _waited.get(self._key, 0.0) + spent
        if not _waited[self._key] >= A_BUILD:
            return
        _waited[self._key] = -math.inf  # once is enough
        found = self._found
        if self._loops:
            found = _loops(self._request, self._key, build=True)
        native = _steps(self._request) and _native(self._request, build=True)
        if native or (self._loops and found is not None):
            raise Built(found)


def offers(r: Request) -> bool:
    """Whether native steps are what a solve may have in the place of a kernel."""
    return _steps(r) and r.layout.rows == 1 and r.y0.shape[1] >= SMALLEST


def forget() -> None:
    """Drop the loops that are loaded, and what could not be; those in the cache stay."""
    _waited.clear()
    _there.clear()
    _refused.clear()
    remembered.forget()
    running.forget()


def outlook(r: Request, way: Way) -> Outlook:
    """What a solve by an implicit method has to expect; all is built where `way` says so."""
    if r.layout.rows != 1 or r.y0.shape[1] < SMALLEST or r.y0.device.type != "cpu":
        why = f"native steps are for one row of {SMALLEST} components or more on the CPU"
        return Outlook(why=why)
    key = anchor(r.f), shape(r.f, r.layout, r.y0)
    build, waited = way != "auto", _waited.get(key, 0.0)
    native = _steps(r) and _native(r, build=build)
    found, why = None, _unfit(r) or _refused.get(key, "")
    loops = not why
    if loops:
        # what was not there at first is asked for again when it has been built, or tried
        if build or waited < 0 or key not in _waited or key in _there:
            found = _loops(r, key, build=build)
        why = "" if found else _refused.get(key, UNBUILT)
    if len(_waited) > FORGOTTEN:
        _waited.clear()
        _there.clear()
    if found:
        _there.add(key)
    _waited.setdefault(key, -math.inf if found and (native or not _steps(r)) else 0.0)
    due = waited >= 0 and not build and (why == UNBUILT or (_steps(r) and not native))
    waiting = Waiting(r, key, found, loops=why == UNBUILT) if due else None
    return Outlook(found, why, waiting, native)


def _unfit(r: Request) -> str:
    """Why f is not even looked at, or ""."""
    if isinstance(r.f, ArrayFunction):
        return "f is a function of numpy arrays"
    return "" if r.jac is None else "jac was given"


def _steps(r: Request) -> bool:
    """Whether there are native steps of the method."""
    return r.problem.method.name == "bdf" and not hooks.asked(r.problem)


def _native(r: Request, *, build: bool) -> bool:
    """Whether the library of native steps is there, or was built."""
    text = source(single=r.y0.dtype == torch.float32)
    try:
        return (library(text) if build else there(text)) is not None
    except UnsupportedError as error:  # no compiler
        LOG.info("no native steps: %s", error)
        return False


def _loops(r: Request, key: Hashable, *, build: bool) -> Loops | None:
    """The loops of f; None where they are not built, nor to be built, or there are none."""
    try:
        found = remembered.remembered(
            r.f, r.args, r.layout, r.t0.detach(), r.y0.detach(), build=build
        )
    except UnsupportedError as error:  # no compiler
        found = Refusal(str(error))
    except Exception as error:  # of the user's f, where the solve itself need not take it
        found = Refusal(f"no loops: f fails near the start ({type(error).__name__}: {error})")
    if isinstance(found, Refusal):
        LOG.info(found.sentence)
        if len(_refused) > FORGOTTEN:
            _refused.clear()
        _refused[key] = found.sentence
        return None
    return found
