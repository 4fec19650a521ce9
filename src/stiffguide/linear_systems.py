"""Which linear systems an implicit solve has, and who solves them: dense, in a band, or sparse.

Nothing of it need be said by the user: the pattern of the Jacobian is found by watching f once. The
thresholds are measured (docs/large_systems.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from stiffguide.algebra.band import Band
from stiffguide.algebra.colouring import full_rows
from stiffguide.algebra.full import Full
from stiffguide.algebra.krylov import Krylov
from stiffguide.algebra.pardiso import Pardiso
from stiffguide.algebra.pattern import Pattern
from stiffguide.algebra.rowwise import Library, Rowwise
from stiffguide.algebra.sparse import Sparse
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.fields import given_sparse
from stiffguide.fields.coloured import ColouredJacobian
from stiffguide.fields.flat import Flat
from stiffguide.fields.given_sparse import GivenSparse
from stiffguide.fields.layout import Layout
from stiffguide.fields.mass import GivenMass
from stiffguide.fields.outside import Outside
from stiffguide.fields.recording import look
from stiffguide.stepping.contracts import Field, Method

SMALLEST = 64  # components: below, a dense factorisation takes less than the rest of a step
MANY, SMALL = 64, 256  # rows, and components below which so many are cheaper in dense batches
NARROW = 24  # diagonals beside the main one, up to which LAPACK's band is fastest
SPARSE = 0.1  # of all entries
FILLED = 0.2  # of all entries in L + U, from which on a dense LU is cheaper: asked up to
ASKED = 1500  # components, where an LU to count them is cheap
SWEEP = 4  # evaluations: a row of the Jacobian by autograd
LARGEST_DENSE = 4096  # components: a dense Jacobian and its factors take 268 MB a row

SOLVERS = ("dense", "band", "sparse", "pardiso", "krylov")
LIBRARIES: dict[str, Callable[[Pattern], Library]] = {
    "band": Band,
    "sparse": Sparse,
    "pardiso": Pardiso,
    "krylov": Krylov().bind,
}


def large(layout: Layout) -> bool:
    """Whether linear systems are what a stiff step takes its time for.

    Batches of moderate systems are not: kernels eliminate in all rows at once, knowing the zeros.
    """
    return layout.features >= SMALLEST and (layout.rows == 1 or layout.features > SMALL)


class Asked(NamedTuple):
    """What the user said about the linear systems."""

    jac: Any = None
    sparsity: Any = None  # a matrix, or None
    solver: Any = None  # a name, a `Krylov`, or None
    found: Pattern | None = None  # the pattern, where somebody else has found it

    def check(self) -> None:
        """Raise InputError where the solver is none."""
        known = self.solver is None or isinstance(self.solver, Krylov)
        if not known and self.solver not in SOLVERS:
            raise InputError(
                f"linear_solver: {self.solver!r} is unknown; give one of {', '.join(SOLVERS)}, or "
                "Krylov(...)"
            )


class Systems(NamedTuple):
    """A field with its Jacobian, and a sentence about who solves its linear systems."""

    field: Field
    note: str


class Situation(NamedTuple):
    """The solve that the systems belong to."""

    f: Flat
    layout: Layout
    t0: Tensor
    y0: Tensor
    method: Method
    recorded: bool  # autograd goes through it
    given: given_sparse.Matrices | None  # the user's Jacobian, where that is sparse
    mass: GivenMass | None = None


def choose(asked: Asked, s: Situation, plain: Field, known: Pattern | None) -> Systems:
    """The field to solve with: `plain`, whose Jacobian is dense, or one with a sparse Jacobian.

    `known` are entries of the pattern that were met by and by. Raises InputError and
    UnsupportedError, which name what cannot be used.
    """
    pattern, why = _pattern(asked, s)
    if pattern is not None and known is not None:
        pattern = pattern.united(known)
    if pattern is not None and s.mass is not None:
        pattern = s.mass.joined(pattern)
    library: Library | None = None
    if pattern is not None:
        library, reason = _library(asked, s, pattern)
        why = f"{why}; {reason}"
    if pattern is None or library is None:
        _check_memory(s, named=asked.solver == "dense")
        return Systems(plain, f"dense: {why}")
    linear = Rowwise(pattern, library)
    _check_use(s, linear)
    note = f"{library.name}: {why}"
    if s.layout.rows > 1:
        note += f"; {s.layout.rows} rows, one after the other"
    if s.given is not None:
        return Systems(GivenSparse(s.f, s.given, linear), note)
    y, t = s.y0.detach(), s.t0.detach().requires_grad_()
    way = asked.jac if isinstance(asked.jac, str) else ""
    exact = s.recorded or s.method.family == "Rosenbrock" or way == "autograd"
    exact = exact and way != "differences"
    clock = s.method.family == "Rosenbrock" and not look(s.f, t, y, t).whole
    full = full_rows(pattern, SWEEP).tolist()
    if exact or full:
        state = y.clone().requires_grad_()
        if not look(s.f, s.t0.detach(), state, state).whole:
            exact, full = False, []
    field = ColouredJacobian(s.f, linear, exact=exact, clock=clock, full=full)
    note += f"; {field.colours} evaluations a Jacobian"
    return Systems(field, note + f", and {len(full)} reverse sweeps" * bool(full))


def _pattern(asked: Asked, s: Situation) -> tuple[Pattern | None, str]:
    """The pattern, and where it comes from; None: dense."""
    n, given = s.layout.features, s.given
    named = asked.solver not in (None, "dense")
    if s.y0.device.type != "cpu":
        if given is not None or asked.sparsity is not None or named:
            raise UnsupportedError(
                f"sparse linear systems are solved on the CPU, and y0 is on {s.y0.device}: move "
                "it, or leave out jac_sparsity and linear_solver"
            )
        return None, f"y0 is on {s.y0.device}"
    if asked.solver == "dense" and given is None:
        return None, "linear_solver='dense'"
    said = None if asked.sparsity is None else Pattern.of(asked.sparsity, n)
    if asked.found is not None:
        said = None  # it was found exactly
    if said is not None and s.layout.split:  # both parts of f by both parts of y
        said = said.doubled()
    if given is not None:
        parts = [Pattern.of(m, n, "jac") for m in given.first]
        for other in parts[1:] + ([] if said is None else [said]):
            parts[0] = parts[0].united(other)
        return parts[0], "the pattern of jac"
    if said is not None:
        return said, "the pattern of jac_sparsity"
    if n < SMALLEST and not named:
        return None, f"fewer than {SMALLEST} components"
    if callable(asked.jac) or isinstance(asked.jac, Tensor):
        return None, "jac is dense"
    if asked.found is not None:
        return asked.found, "the pattern of its loops"
    found = _sparsity(s.f, s.t0, s.y0)
    note = f" ({found.note})" if found.note else ""
    if found.matrix is None:
        return None, f"no pattern is known{note}"
    way = "watching f" if found.way == "sets" else found.way
    return Pattern.of(found.matrix), f"the pattern by {way}{note}"


def _sparsity(f: Flat, t: Tensor, y: Tensor) -> Any:
    from stiffguide.tracing.pattern import sparsity  # late: no small solve needs to trace

    return sparsity(f, t.detach(), y.detach())


def _library(asked: Asked, s: Situation, pattern: Pattern) -> tuple[Library | None, str]:
    """What factorises such matrices, and why; None: dense matrices are cheaper."""
    n, nnz = pattern.n, pattern.nnz
    kl, ku = pattern.bandwidth
    size = f"{nnz:,} of {n * n:,} entries"
    band = f"{kl} diagonals below the main one and {ku} above"
    if isinstance(asked.solver, Krylov):
        return asked.solver.bind(pattern), size
    if asked.solver == "dense":
        return None, "linear_solver='dense'"
    if asked.solver is not None:
        return LIBRARIES[asked.solver](pattern), band if asked.solver == "band" else size
    if s.recorded and s.method.family == "Rosenbrock" and n <= LARGEST_DENSE:
        return None, "gradients of a Rosenbrock method go through a dense Jacobian"
    if s.recorded and s.mass is not None and n <= LARGEST_DENSE:
        return None, "gradients with a mass go through a dense Jacobian"
    if s.layout.rows > MANY and n < SMALL:
        return None, f"{s.layout.rows} rows of {n} components are cheaper in a batch"
    if kl + ku <= NARROW:
        return Band(pattern), band
    if nnz > SPARSE * n * n:
        return (Full(pattern) if s.layout.rows == 1 else None), f"{size} are too many"
    sparse = Sparse(pattern)
    if n <= ASKED and (filled := _fill(sparse)) > FILLED * n * n:
        return Full(pattern), f"{size} fill {filled:,} in its factors"
    return sparse, size


def _fill(sparse: Sparse) -> int:
    """How many entries L + U have, of a matrix with a heavy diagonal."""
    pattern = sparse.pattern
    values = np.full(pattern.nnz, -1.0)
    values[pattern.diagonal] = pattern.n
    return sparse.filled(values)


def mended(given: Any, known: Pattern | None, found: Outside, f: Flat) -> Pattern:
    """The entries that a pattern must have beside those that it had.

    Raises InputError where the pattern was the user's.
    """
    n, (i, j) = found.y.shape[-1], found.places[0]
    if given is not None:
        raise InputError(
            f"jac_sparsity: {found}, and the pattern has no entry ({i}, {j}); add it, or leave "
            "jac_sparsity out, and the pattern is found by watching f"
        )
    places = np.array(found.places, dtype=np.int64)
    more = Pattern.at(places[:, 0], places[:, 1], n)
    there = _sparsity(f, found.t, found.y)  # f may have taken another branch
    if there.matrix is not None:
        more = more.united(Pattern.of(there.matrix, n))
    return more if known is None else more.united(known)


def _check_memory(s: Situation, *, named: bool) -> None:
    """Raise UnsupportedError before a dense Jacobian is asked for that is too large."""
    n, rows = s.y0.shape[-1], s.y0.shape[0]
    if n <= LARGEST_DENSE or named:
        return
    entries = "real and imaginary parts" if s.layout.split else "components"
    size = 2 * rows * n * n * s.y0.element_size() / 1e9
    raise UnsupportedError(
        f"{s.method.name} would factorise a dense Jacobian, too large for {n} {entries} "
        f"({size:.1f} GB with its factors): give jac_sparsity, use an explicit method such as "
        "'tsit5', or linear_solver='dense' if there is room"
    )


def _check_use(s: Situation, linear: Rowwise) -> None:
    """Raise UnsupportedError where a method needs more of its solver."""
    if not linear.exact and s.method.family == "Rosenbrock":
        raise UnsupportedError(
            f"{s.method.name} needs linear systems solved to rounding, which linear_solver="
            f"{linear.name!r} does not: use method='bdf' or 'kvaerno5'"
        )
    if linear.name == "pardiso" and s.method.family in ("Radau", "fully implicit RK"):
        raise UnsupportedError(
            f"{s.method.name} solves complex systems, which linear_solver='pardiso' does not: use "
            "'sparse' or 'band', or method='kvaerno5'"
        )
    if not s.recorded:
        return
    if s.mass is not None:
        raise UnsupportedError(
            "gradients with a mass need a dense Jacobian: use linear_solver='dense'"
        )
    if s.method.family == "Rosenbrock":
        raise UnsupportedError(
            f"gradients through {s.method.name} need a dense Jacobian: use method='kvaerno5', or "
            "linear_solver='dense'"
        )
    if linear.name in ("pardiso", "krylov"):
        raise UnsupportedError(
            f"gradients need transposed systems, which linear_solver={linear.name!r} does not "
            "solve: use 'sparse' or 'band'"
        )
