"""What a solve takes for granted about f, asked once: its rows, its values, its derivative.

The checks evaluate f a few times more, at the start and near it, and leave the states of the global
random generators as they were. A field that passed is remembered (`verdicts`); one that could not
be judged, because f is not finite at the start, is asked again.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stiffguide.errors import InputError
from stiffguide.fields import independence, slopes, verdicts
from stiffguide.fields.independence import Flat, Start
from stiffguide.fields.pulled import pulled
from stiffguide.fields.recording import UNRECORDABLE

LOG = logging.getLogger("stiffguide")

UNSEEN = (
    "autograd does not see all of f, and its derivative by y is wrong: look for detach(), no_grad, "
    ".item() or .numpy() in f; without gradients, jac='differences' serves (checks=False lets it "
    "pass)"
)
NUMBERS = (
    "f does what torch.func and forward mode cannot go through, such as to make numbers of "
    "tensors: write it in operations of torch"
)
WRONG = (
    "jac is not the derivative of f by y (is it transposed, or a sign wrong?): the solve takes "
    "more steps, or fails; leave jac out, and autograd makes it"
)

Key = tuple[Any, tuple[Any, ...], Any, Hashable]  # f or its parts, args, jac, shapes


def evaluations(key: Key, flat: Flat, s: Start, jac: Flat | None, *, recorded: bool) -> int:
    """Check a field that is new, and say how many evaluations of f that took.

    `flat` and `jac` are those of `key` on rows; `recorded` says that autograd differentiates f.
    Raises InputError; a jac that is wrong is said in the log, for it costs steps only.
    """
    if verdicts.known(*key) or not len(s.y0):
        return 0
    f = _Counted(flat)
    with _random_states():
        independence.check(f, s)
        if recorded and not slopes.seen_by_autograd(f, s):
            raise InputError(UNSEEN)
        if jac is not None and not slopes.agrees(jac, f, s):
            LOG.warning(WRONG)
    if bool(torch.isfinite(s.f0).all()):
        verdicts.remember(*key)
    return f.calls


def check_inside(flat: Flat, s: Start) -> None:
    """Raise InputError where torch.func or forward mode, which are at work, miss a part of f."""
    try:
        pulled(flat, s.t0, s.y0)
    except UNRECORDABLE as error:
        raise InputError(NUMBERS) from error
    if not slopes.agrees(lambda t, y: pulled(flat, t, y)[1], flat, s):
        raise InputError(UNSEEN)


class _Counted:
    def __init__(self, f: Flat) -> None:
        self._f = f
        self.calls = 0

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        return self._f(t, y)


@contextmanager
def _random_states() -> Iterator[None]:
    """Leave the global random generators as they are: a check is as if it had not been."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    ours, theirs = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(ours)
        np.random.set_state(theirs)
