"""A Jacobian that the user writes as a sparse matrix, of scipy or of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stiffguide.algebra.pattern import Pattern
from stiffguide.algebra.rowwise import Rowwise
from stiffguide.errors import InputError
from stiffguide.fields.coloured import ColouredJacobian, Flat
from stiffguide.fields.layout import Layout
from stiffguide.fields.outside import Outside
from stiffguide.stepping.contracts import Linearisation, Units
from stiffguide.tensors import real_dtype


class Matrices(NamedTuple):
    """The user's jac on rows, and what it was at the start."""

    at: Callable[[Tensor, Tensor], list[Any]]  # t (B,), y (B, F) -> one for all rows, or B
    first: list[Any]


def is_sparse(value: Any) -> bool:
    """Whether a value is a sparse matrix, or several."""
    if isinstance(value, (list, tuple)):
        return bool(value) and all(map(is_sparse, value))
    if isinstance(value, Tensor):
        return value.layout != torch.strided
    return hasattr(value, "tocoo")


def matrices(
    jac: Any, args: tuple[Any, ...], layout: Layout, t: Tensor, y: Tensor
) -> Matrices | None:
    """The user's jac as a function of (B,) and (B, F), if it is sparse at (t, y).

    None where states are parts of complex numbers, whose Jacobian has blocks: it is filled there.
    """
    if jac is None or isinstance(jac, str) or layout.split:
        return None
    if not callable(jac):
        if not is_sparse(jac):
            return None
        constant = jac
        jac = lambda t, y, *args: constant  # noqa: E731 - the same path as a function
    dtype = real_dtype(layout.dtype)

    def rows(t: Tensor, y: Tensor) -> list[Any]:
        t = t.to(dtype)
        value = jac(t if layout.batched else t[0], layout.unflatten(y), *args)
        return list(value) if isinstance(value, (list, tuple)) else [value]

    found = rows(t, y)
    if not all(map(is_sparse, found)):
        return None
    if len(found) not in (1, layout.rows):
        raise InputError(
            f"jac returned {len(found)} matrices for {layout.rows} rows: give one, or one a row"
        )
    return Matrices(rows, found)


class GivenSparse:
    """A field with such a Jacobian; df/dt, and what is not finite in it, by differences."""

    def __init__(self, f: Flat, jac: Matrices, linear: Rowwise) -> None:
        self._f = f
        self._jac = jac
        self.linear = linear
        self._coloured = ColouredJacobian(f, linear)

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """f(t (B,), y (B, F)) -> (B, F)."""
        return self._f(t, y)

    def linearise(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """The values (B, nnz) at (t, y); raises `Outside` where an entry is new."""
        pattern = self.linear.pattern
        values = [_values(pattern, one, t, y) for one in self._jac.at(t, y)]
        jac = torch.from_numpy(np.stack(values)).to(y.dtype).expand(len(y), -1).contiguous()
        found = Linearisation(jac, None, 0)
        if not time:
            return found
        return self._coloured.timed(found, t, y, self._f(t, y), units)

    def by_differences(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """The same from values of f alone."""
        return self._coloured.by_differences(t, y, units, time=time)


def _values(pattern: Pattern, matrix: Any, t: Tensor, y: Tensor) -> Any:
    try:
        return pattern.values_of(matrix, "jac")
    except InputError:
        found = Pattern.of(matrix, pattern.n, "jac")
        old = set(pattern.flat.tolist())
        new = zip(found.rows.tolist(), found.columns.tolist(), found.flat.tolist(), strict=True)
        places = [(i, j) for i, j, at in new if at not in old]
        raise Outside(places, t, y) from None
