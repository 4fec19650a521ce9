"""The sparsity of df/dy, without a word from the user.

Index sets kept beside tensors tell it exactly (`sets`). Where they cannot follow f it is found by
changing y (`probing`), and where that is too dear, nothing is known and df/dy counts as full.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stiffguide.graphs.refusal import UntraceableError
from stiffguide.tracing.index_sets import MOVING, CrowdedError
from stiffguide.tracing.observation import uncompiled
from stiffguide.tracing.probing import ExhaustedError, Probe, pattern, quietly
from stiffguide.tracing.sets import Leaves, Sets

LOG = logging.getLogger("stiffguide")
Flat = Callable[[Tensor, Tensor], Tensor]
SMALL = 1000  # up to so many components even a full pattern is no burden
FULL = 0.25  # of all entries: no sparse solver makes use of more
FRACTIONS = (0.5, 0.2, 0.05, 0.5)  # of the components that are changed, to see that sets are right
FEW = 8  # components that f has read, each changed alone

READS = (
    "f reads values of t or y, as a branch does: the pattern of df/dy is that of the branch at the "
    "start"
)
PROBED = "the pattern of df/dy was found by changing y at some points ({why})"
DENSE = "the pattern of df/dy is not known ({why}): it counts as full"


class Found(NamedTuple):
    """The pattern of df/dy, united over the rows of a batch."""

    matrix: Any  # boolean scipy.sparse.csr_matrix (F, F); None: it counts as full
    way: str  # "sets", "probing" or "dense"
    note: str  # one sentence on what there is to know of it, or ""


class _LostError(Exception):
    """f changes in entries that sets say do not depend on what was changed."""


def sparsity(f: Flat, t: Tensor, y: Tensor) -> Found:
    """The pattern of df/dy for f(t (B,), y (B, F)) -> (B, F) on CPU, at what f holds now.

    Never raises an exception for an f that works; f is evaluated about 10 times, or where only
    its values tell some hundred times.
    """
    if y.device.type != "cpu" or not y.is_floating_point():
        return Found(None, "dense", DENSE.format(why=f"y is {y.dtype} on {y.device}"))
    known = None
    try:
        with torch.no_grad():
            matrix, note, read = _by_sets(f, t, y)
        if matrix is None:
            return Found(None, "dense", note)
        known = matrix
        _compare(Probe(f, t, y), matrix, read)
        return _useful(matrix, "sets", note)
    except CrowdedError as error:
        return Found(None, "dense", DENSE.format(why=error))
    except _LostError:
        why = "f depends on y in ways that torch's operations do not show"
    except UntraceableError as error:
        why = str(error)
    except Exception as error:  # in what torch runs f in: f itself may be fine
        LOG.info("the sets of f failed", exc_info=True)
        why = f"following f failed with {type(error).__name__}"
    return _by_probing(f, t, y, why, known)


def _by_sets(f: Flat, t: Tensor, y: Tensor) -> tuple[Any, str, Any]:
    """The pattern (None: it is of no use), a note, and the components (F,) that f has read."""
    b, n = y.shape
    watch = Sets(b * n)
    t, y = t.detach().clone(), y.detach().clone()
    watch.give(y, watch.sets.identity().reshape(b, n))
    watch.give(t, torch.full(t.shape, MOVING, device="cpu"))  # its zeros need not stay zeros
    with uncompiled(), watch, Leaves(watch):
        out = f(t, y)
    found = watch.sets.matrix(watch.numbers(out.detach())).tocoo()
    rows, columns = found.row, found.col
    if b > 1:
        if bool((rows // n != columns // n).any()):
            why = "f of one row depends on another row"
            return None, DENSE.format(why=why), None
        rows, columns = rows % n, columns % n
    read = np.zeros(n, dtype=bool)
    for numbers in watch.reads:
        read[watch.sets.matrix(numbers).indices % n] = True
    return _matrix(rows, columns, n), READS if watch.reads else "", read


def _matrix(rows: Any, columns: Any, n: int) -> Any:
    from scipy import sparse  # late: half a second, and most solves never need it

    found = sparse.csr_matrix((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(n, n))
    found.sum_duplicates()
    return found


@quietly()
def _compare(probe: Probe, matrix: Any, read: Any) -> None:
    """Raise _LostError if f changes where the pattern does not have it."""
    n, random = matrix.shape[0], np.random.default_rng(0)
    parts = [random.random(n) < fraction for fraction in FRACTIONS]
    places = np.flatnonzero(read)
    parts += [np.arange(n) == k for k in places[:FEW]]
    if len(places):
        parts += [read, read & (random.random(n) < FRACTIONS[0])]
    rounding = float(torch.finfo(probe.dtype).eps) ** 0.75
    with suppress(ExhaustedError):  # where f takes seconds, this is enough
        probe.find_near()
        for part in parts:
            if bool((probe.changed(part, rounding=rounding) & ~(matrix @ part)).any()):
                raise _LostError


@quietly()
def _by_probing(f: Flat, t: Tensor, y: Tensor, why: str, known: Any) -> Found:
    probe = Probe(f, t, y)
    try:
        probe.find()
        if not probe.points:
            return Found(None, "dense", DENSE.format(why=f"{why}, and has no values around y"))
        if probe.mixes():
            why = "f of one row depends on another row"
            return Found(None, "dense", DENSE.format(why=why))
        found = pattern(probe, y.shape[1])
    except ExhaustedError:
        why = f"{why}, and finding it by changing y takes too many evaluations"
        return Found(None, "dense", DENSE.format(why=why))
    except Exception as error:
        LOG.info("probing f failed", exc_info=True)
        why = f"{why}, and changing y failed with {type(error).__name__}"
        return Found(None, "dense", DENSE.format(why=why))
    if known is not None:
        found = found + known
    return _useful(found, "probing", PROBED.format(why=why))


def _useful(matrix: Any, way: str, note: str) -> Found:
    n, nnz = matrix.shape[0], matrix.nnz
    if n > SMALL and nnz > FULL * n * n:
        share = f"{100 * nnz / n**2:.0f} % of its entries"
        return Found(None, "dense", f"df/dy is too full for a sparse solver ({share})")
    return Found(matrix, way, note)
