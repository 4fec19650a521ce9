"""A field whose Jacobian is sparse: its values by differences of groups of columns.

One evaluation finds all columns of a colour (see `algebra.colouring`), so a Jacobian of a grid
takes some ten evaluations whatever its size. Below a few thousand unknowns these are one call of f
under vmap; above, where their temporaries would leave the cache, one by one. `exact` takes products
J v by forward-mode AD in their place, about three times as dear: where J enters the result. Rows
that everything enters, which would make every column a colour of its own, are reverse sweeps.

Every Jacobian is checked along one more direction: J v against a difference of f. An entry that a
pattern lacks, because the user forgot it or because f took another branch when it was looked for,
is so found and named, and no solve goes on with a wrong Jacobian in silence.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from stiffguide import forward_mode
from stiffguide.algebra.colouring import colours
from stiffguide.algebra.rowwise import Rowwise
from stiffguide.fields.differences import difference_in_time, nudges
from stiffguide.fields.outside import outside
from stiffguide.fields.recording import UNRECORDABLE, time_derivative
from stiffguide.stepping.contracts import Linearisation, Units
from stiffguide.tensors import finite

TOGETHER = 4096  # unknowns, up to which all colours are one call

Flat = Callable[[Tensor, Tensor], Tensor]  # f(t (B,), y (B, F)) -> (B, F)


class ColouredJacobian:
    """A field with the sparse Jacobian of its pattern."""

    def __init__(
        self,
        f: Flat,
        linear: Rowwise,
        *,
        exact: bool = False,
        clock: bool = True,
        full: Sequence[int] = (),
    ) -> None:
        """`clock`: f cannot be differentiated by t in forward mode; `full`: rows to be swept."""
        self._f = f
        self.linear = linear
        self._exact = exact
        self._clock = clock
        self._vmapped = True
        pattern = linear.pattern
        groups = torch.from_numpy(colours(pattern.without(np.array(full, dtype=np.int64))))
        self.colours: int = int(groups.max()) + 1
        rows, columns = torch.from_numpy(pattern.rows), torch.from_numpy(pattern.columns)
        self._columns = columns
        self._found = groups[columns] * pattern.n + rows  # among values (C F) of a row
        self._groups = groups
        self._full = [(i, torch.from_numpy(np.flatnonzero(pattern.rows == i))) for i in full]

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """f(t (B,), y (B, F)) -> (B, F)."""
        return self._f(t, y)

    def linearise(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """The values (B, nnz) of the Jacobian at (t, y) and, with `time`, the derivative by t."""
        if self._exact:
            try:
                return self._by_products(t, y, units, time=time)
            except UNRECORDABLE:  # an operation without a forward rule
                self._exact = False
        return self.by_differences(t, y, units, time=time)

    def by_differences(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """The same from values of f alone; raises `Outside` where the pattern lacks an entry."""
        base = self._f(t, y)
        nudge = nudges(y, base, units)
        values = self._moved(t, y, nudge)
        lost = self._lost(base, values)
        spent = 1 + self.colours + bool(self._full)
        if lost is not None:  # f is not finite on that side
            nudge = torch.where(lost, -nudge, nudge)
            values, spent = self._moved(t, y, nudge), spent + self.colours
        step = (y + nudge) - y  # what was added
        change = (values - base.unsqueeze(1)).flatten(1)
        jac = self._swept(t, y, change[:, self._found] / step[:, self._columns])
        outside(self._f, self.linear, t, y, base, jac, step)
        found = Linearisation(jac, None, spent + 1)
        return self.timed(found, t, y, base, units) if time else found

    def _moved(self, t: Tensor, y: Tensor, nudge: Tensor) -> Tensor:
        """f (B, C, F) where the columns of one colour are nudged."""
        if self._vmapped and self.colours > 1 and y.numel() <= TOGETHER:
            masks = self._groups == torch.arange(self.colours).unsqueeze(1)
            points = torch.where(masks.unsqueeze(1), y + nudge, y)  # (C, B, F)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")  # of an operation that vmap does in a loop
                    return torch.func.vmap(lambda p: self._f(t, p), out_dims=1)(points)
            except Exception:  # f does what vmap cannot: in-place writes, numbers, numpy
                self._vmapped = False
        return torch.stack(
            [self._f(t, torch.where(self._groups == c, y + nudge, y)) for c in range(self.colours)],
            1,
        )

    def _swept(self, t: Tensor, y: Tensor, jac: Tensor) -> Tensor:
        """The values (B, nnz) with those of full rows."""
        if not self._full:
            return jac
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            value = self._f(t.detach(), y)
            for i, entries in self._full:
                (row,) = torch.autograd.grad(value[:, i].sum(), y, retain_graph=True)
                jac[:, entries] = row[:, self._columns[entries]]
        return jac

    def _lost(self, base: Tensor, values: Tensor) -> Tensor | None:
        """Columns (B, F) bool whose nudge made f something that is not finite; None: no column."""
        if bool(finite(values.flatten(1)).all()):
            return None
        bad = ~torch.isfinite(values.flatten(1)[:, self._found])
        bad = bad & finite(base).unsqueeze(1)
        count = torch.zeros_like(base).index_add_(1, self._columns, bad.to(base.dtype))
        return count > 0 if bool(bad.any()) else None

    def _by_products(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        forward_mode.load()
        with torch.no_grad():
            columns = []
            for c in range(self.colours):
                tangent = (self._groups == c).to(y.dtype).expand_as(y)
                with forward_ad.dual_level():
                    value = self._f(t, forward_ad.make_dual(y, tangent.contiguous()))
                    slope = forward_ad.unpack_dual(value).tangent
                columns.append(torch.zeros_like(y) if slope is None else slope)
            jac = self._swept(t, y, torch.stack(columns, 1).flatten(1)[:, self._found])
            base = self._f(t, y)
            outside(self._f, self.linear, t, y, base, jac, nudges(y, base, units))
        found = Linearisation(jac, None, self.colours + 2 + bool(self._full))
        return self.timed(found, t, y, base, units) if time else found

    def timed(
        self, found: Linearisation, t: Tensor, y: Tensor, base: Tensor, units: Units
    ) -> Linearisation:
        """With the derivative by t, where f (B, F) is `base`."""
        slope = None if self._clock else time_derivative(self._f, t, y)
        more = 1
        if slope is None:
            slope, more = difference_in_time(self._f, t, y, base, units.dt)
        return found._replace(time=slope, nfe=found.nfe + more)
