"""The matrix M of M y' = f(t, y) as users give it, and a field whose systems are those with it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stiffguide.algebra.mass import Mass, Nulls, Projection, Weighted
from stiffguide.algebra.null_spaces import Spaces, is_unit, null_spaces, projection
from stiffguide.algebra.pattern import Pattern
from stiffguide.algebra.protocol import LinearSolver
from stiffguide.algebra.rowwise import Rowwise
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.fields.layout import Layout
from stiffguide.stepping.contracts import Field, Linearisation, Units

Array = NDArray[Any]


class MassField:
    """A field f of M y' = f(t, y)."""

    def __init__(self, f: Field, linear: LinearSolver) -> None:
        self._f = f
        self.linear = linear

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """f(t (B,), y (B, F)) -> (B, F)."""
        return self._f(t, y)

    def linearise(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """That of the field."""
        return self._f.linearise(t, y, units, time=time)

    def by_differences(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """Those of the field."""
        return self._f.by_differences(t, y, units, time=time)


class GivenMass(NamedTuple):
    """M in the order of flat states, and its null spaces."""

    matrices: tuple[Any, ...]  # sparse arrays of scipy (F, F): one for all rows, or B
    spaces: tuple[Spaces | None, ...]  # of each

    @property
    def singular(self) -> bool:
        """Whether an equation of some row holds no derivative."""
        return any(x is not None for x in self.spaces)

    def joined(self, pattern: Pattern) -> Pattern:
        """The pattern of a Jacobian with the entries of M, and of P J."""
        (matrix,), (spaces,) = self.matrices, self.spaces
        pattern = pattern.united(Pattern.of(matrix, pattern.n, "mass"))
        if spaces is None or is_unit(spaces[0]):
            return pattern
        ones = pattern.matrix(np.ones(pattern.nnz))
        mixed = abs(projection(spaces[0])) @ ones
        return pattern.united(Pattern.of(mixed, pattern.n, "mass"))

    def field(self, f: Field, like: Tensor) -> MassField:
        """The field whose linear systems are those with M."""
        return MassField(f, Weighted(f.linear, self.on(f.linear, like)))

    def on(self, linear: LinearSolver, like: Tensor) -> Mass:
        """M as values of such systems, in the dtype and on the device of `like`."""
        values = _tensor(np.stack([_values(linear, m) for m in self.matrices]), like)
        diagonal = None
        if all(map(_is_diagonal, self.matrices)):
            diagonal = _tensor(np.stack([m.diagonal() for m in self.matrices]), like)
        return Mass(linear, values, diagonal, self._nulls(linear, like))

    def _nulls(self, linear: LinearSolver, like: Tensor) -> Nulls | None:
        if not self.singular:
            return None
        if len(self.spaces) == 1 and self.spaces[0] is not None:
            left, right = (_projection(x, linear, like) for x in self.spaces[0])
        else:  # of each row its own
            nothing = (np.zeros((self.matrices[0].shape[0], 1)),) * 2
            pairs = zip(*(x or nothing for x in self.spaces), strict=True)
            left, right = (_dense(_tensor(np.stack(list(map(_square, x))), like)) for x in pairs)
        return Nulls(left, right.of)


def given(mass: Any, layout: Layout) -> GivenMass | None:
    """M, checked; None where it is the identity. Raises InputError and UnsupportedError."""
    if mass is None:
        return None
    if callable(mass):
        raise UnsupportedError(
            "mass is a function, and M has to be constant: with z = y' as further components, "
            "y' = z and 0 = f(t, y) - M(t, y) z are a system with a constant diagonal mass"
        )
    if isinstance(mass, Tensor) and mass.requires_grad:
        raise UnsupportedError(
            "mass requires grad, and gradients do not flow to it: use mass.detach(), or let f "
            "depend on the parameter"
        )
    found, eps = _matrices(mass, layout)
    if layout.split:
        found = [_in_parts(m) for m in found]
    if all(_is_identity(m) for m in found):
        return None
    return GivenMass(tuple(found), tuple(null_spaces(m, eps) for m in found))


def _matrices(mass: Any, layout: Layout) -> tuple[list[Any], float]:
    """Sparse arrays of scipy with finite entries, and the precision of these."""
    from scipy.sparse import csr_array, diags_array

    n = layout.features
    table = _table(mass)
    shape, kind = tuple(table.shape), np.dtype(table.dtype)
    if kind.kind not in "biufc":
        raise InputError(f"mass holds {kind}, not numbers")
    if shape not in ((n,), (n, n)) and not (layout.batched and shape == (layout.rows, n, n)):
        more = f", ({layout.rows}, {n}, {n})" if layout.batched else ""
        raise InputError(
            f"mass has shape {shape}, and y0 has {n} components: give ({n}, {n}){more}, or its "
            f"diagonal ({n},)"
        )
    if kind.kind == "c" and not layout.dtype.is_complex:
        raise InputError(f"mass is complex, and y0 is {layout.dtype}: give mass.real, or such a y0")
    wide = np.dtype(complex if kind.kind == "c" else float)
    if hasattr(table, "tocsr"):
        found = [csr_array(table).astype(wide)]
    elif table.ndim == 1:
        found = [csr_array(diags_array(table.astype(wide)))]
    else:
        found = [csr_array(x) for x in table.astype(wide).reshape(-1, n, n)]
    limit = torch.finfo(layout.dtype).max
    for m in found:
        m.eliminate_zeros()
        bad = ~(abs(m.data) <= limit)
        if bad.any():
            coo, k = m.tocoo(), int(np.flatnonzero(bad)[0])
            raise InputError(
                f"mass[{coo.row[k]}, {coo.col[k]}] is {m.data[k]}, which is no finite number of "
                f"{layout.dtype}"
            )
    precision: Any = kind if kind.kind in "fc" else wide
    return found, max(float(np.finfo(precision).eps), float(np.finfo(float).eps))


def _table(mass: Any) -> Any:
    """A matrix of scipy, or an array of numpy."""
    from scipy.sparse import coo_array

    if isinstance(mass, Tensor):
        mass = mass.detach().cpu()
        if mass.dtype == torch.bfloat16:  # unknown to numpy
            mass = mass.float()
        if mass.layout == torch.strided:
            return mass.resolve_conj().resolve_neg().numpy()
        if mass.ndim != 2:
            raise InputError(f"mass is sparse and has shape {tuple(mass.shape)}: give a matrix")
        coo = mass.to_sparse_coo().coalesce()
        return coo_array((coo.values().numpy(), coo.indices().numpy()), shape=tuple(mass.shape))
    if hasattr(mass, "tocsr"):
        return mass
    try:
        return np.asarray(mass)
    except ValueError as error:  # lists of several lengths
        raise InputError(f"mass is no matrix: {error}") from error


def _in_parts(matrix: Any) -> Any:
    """(2 F, 2 F) real: see `parts.blocks`."""
    from scipy.sparse import block_array

    real, imaginary = matrix.real, matrix.imag
    found = block_array([[real, -imaginary], [imaginary, real]], format="csr")
    found.eliminate_zeros()
    return found


def _is_diagonal(matrix: Any) -> bool:
    coo = matrix.tocoo()
    return bool((coo.row == coo.col).all())


def _is_identity(matrix: Any) -> bool:
    return _is_diagonal(matrix) and bool((matrix.diagonal() == 1).all())


def _values(linear: LinearSolver, matrix: Any) -> Array:
    if isinstance(linear, Rowwise):
        return linear.pattern.values_of(matrix, "mass")
    table: Array = matrix.toarray()
    return table


def _tensor(array: Array, like: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(like)


def _square(vectors: Any) -> Array:
    """The projection (F, F) on columns (F, k)."""
    found = vectors @ vectors.T
    table: Array = found.toarray() if hasattr(found, "toarray") else found
    return table


def _projection(vectors: Any, linear: LinearSolver, like: Tensor) -> Projection:
    """On the span of orthonormal columns (F, k)."""
    if is_unit(vectors):
        some = np.zeros(vectors.shape[0], dtype=bool)
        some[vectors.tocoo().row] = True
        rows = torch.from_numpy(some).to(like.device)
        entries = rows.unsqueeze(-1)
        if isinstance(linear, Rowwise):
            entries = rows[torch.from_numpy(linear.pattern.rows)]
        return Projection(lambda v: torch.where(rows, v, 0), lambda j: torch.where(entries, j, 0))
    if isinstance(linear, Rowwise):
        return _sparse(projection(vectors), linear.pattern)
    return _dense(_tensor(_square(vectors), like))


def _dense(p: Tensor) -> Projection:
    """By a matrix (..., F, F)."""
    return Projection(
        lambda v: torch.matmul(p, v.unsqueeze(-1)).squeeze(-1), lambda j: torch.matmul(p, j)
    )


def _sparse(p: Any, pattern: Pattern) -> Projection:
    """By a matrix of scipy, where the pattern has all that it mixes."""

    def of(v: Tensor) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray((p @ v.detach().numpy().T).T)).to(v)

    def of_values(jac: Tensor) -> Tensor:
        rows = [pattern.values_of(p @ pattern.matrix(x), "mass") for x in jac.detach().numpy()]
        return torch.from_numpy(np.stack(rows)).to(jac)

    return Projection(of, of_values)
