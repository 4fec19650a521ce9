"""Tables of forcing and data as functions of t, for use inside of f."""

from __future__ import annotations

from typing import Any, Literal, get_args, overload

import numpy as np
import torch
from torch import Tensor

from stiffguide.errors import InputError
from stiffguide.inputs import Array, Times

Kind = Literal["linear", "cubic", "previous"]
F64 = torch.float64


class Table:
    """Values (...) between the T knots of a table: what `interpolate` makes, called with t."""

    def __init__(self, times: Tensor, values: Tensor, kind: Kind, *, per_row: bool) -> None:
        self._times = times  # (1 or B, T)
        self._values = values  # (1 or B, T, ...)
        self._kind = kind
        self._per_row = per_row
        self._slopes: Tensor | None = None  # of a spline at its knots (1 or B, T, ...),
        self._weights: Tensor | None = None  # or (1 or B, T, T) that make them of the values
        if kind == "cubic" and values.requires_grad:
            self._weights = _slopes(times, torch.eye(times.shape[1], dtype=F64)[None])
        elif kind == "cubic":
            self._slopes = _slopes(times, values)

    @overload
    def __call__(self, t: Tensor) -> Tensor: ...
    @overload
    def __call__(self, t: float | np.floating[Any] | Array) -> Any: ...
    def __call__(self, t: Any) -> Any:
        """The value at t: a tensor, in the precision of t, if t is one; else numbers of numpy.

        t of any shape gives (*t.shape, ...); of a table per row, t () or (B,) gives (B, ...).
        """
        if isinstance(t, Tensor):
            return self._at(t)
        with torch.no_grad():
            at = torch.as_tensor(np.asarray(t, dtype=float), device=self._values.device)
            return self._at(at).cpu().numpy()[()]

    def pieces(self) -> tuple[Array, Array] | None:
        """Borders (n + 1,) and polynomials (degree + 1, n, ...), the highest power first.

        None where there is a table for each row, and where autograd is to see the values.
        """
        if self._per_row or self._values.requires_grad:
            return None
        times, values = self._times[0].cpu().numpy(), self._values[0].cpu().numpy()
        if self._kind == "previous":
            return np.append(times, np.inf), values[None]
        dt = np.diff(times).reshape(-1, *(1,) * (values.ndim - 1))
        rise = np.diff(values, axis=0) / dt
        if self._slopes is None:
            return times, np.stack((rise, values[:-1]))
        slopes = self._slopes[0].cpu().numpy()
        bend = (slopes[:-1] + slopes[1:] - 2 * rise) / dt
        square = (rise - slopes[:-1]) / dt - bend
        return times, np.stack((bend / dt, square, slopes[:-1], values[:-1]))

    def __repr__(self) -> str:
        rows = f"{self._rows} rows of " if self._per_row else ""
        shape = tuple(self._values.shape[2:])
        return f"<Table: {self._kind}, {rows}{self._times.shape[1]} times, values of shape {shape}>"

    @property
    def _rows(self) -> int:
        return max(self._times.shape[0], self._values.shape[0])

    def _at(self, t: Tensor) -> Tensor:
        t = self._checked(t)
        knots = self._times if self._times.shape[0] > 1 else self._times[0]
        x = torch.clamp(t.to(F64), knots[..., 0], knots[..., -1])
        beyond = torch.searchsorted(knots, x.unsqueeze(-1), right=True).squeeze(-1)
        if self._kind == "previous":
            found = _entry(self._values, beyond - 1)
        else:
            found = self._between(x, torch.clamp(beyond - 1, max=self._times.shape[1] - 2))
        if not t.is_floating_point():
            return found
        return found.to(t.dtype.to_complex() if found.is_complex() else t.dtype)

    def _between(self, x: Tensor, k: Tensor) -> Tensor:
        """The value at times x (...) that lie between the knots k and k + 1."""
        t0, y0, y1 = _entry(self._times, k), _entry(self._values, k), _entry(self._values, k + 1)
        dt = _entry(self._times, k + 1) - t0
        dt, theta = (v.reshape(v.shape + (1,) * (y0.ndim - k.ndim)) for v in (dt, (x - t0) / dt))
        rise, left = y1 - y0, 1 - theta
        found = torch.where(theta < 0.5, y0 + theta * rise, y1 - left * rise)  # both ends exactly
        if self._kind == "linear":
            return found
        slopes = self._slopes_of_today()
        bend = left * (dt * _entry(slopes, k) - rise) - theta * (dt * _entry(slopes, k + 1) - rise)
        return found + theta * left * bend

    def _slopes_of_today(self) -> Tensor:
        """(1 or B, T, ...): autograd has to see how they follow from values that it watches."""
        if self._weights is None:
            assert self._slopes is not None
            return self._slopes
        flat = self._values.reshape(*self._values.shape[:2], -1)
        wide = _wide(flat)
        found = self._weights.to(wide) @ flat.to(wide)
        return found.reshape(*found.shape[:2], *self._values.shape[2:])

    def _checked(self, t: Tensor) -> Tensor:
        rows = self._rows
        if t.device != self._values.device:
            raise InputError(
                f"the table is on {self._values.device} and t on {t.device}: make it of tensors "
                "that are there"
            )
        if not self._per_row or (t.ndim == 1 and t.shape[0] == rows):
            return t
        if t.ndim:
            raise InputError(
                f"t has shape {tuple(t.shape)}, and the table has {rows} rows: give one t, or one "
                "a row"
            )
        return t.expand(rows)


def interpolate(times: Times, values: Any, kind: Kind = "linear") -> Table:
    """A table as a function of t that works inside of f, eager and in kernels.

    times (T,) with values (T, ...); or, for a batch, a table for each row: times (B, T), or (1, T)
    for all, with values (B, T, ...). They may be tensors, arrays or lists. Before the first time
    and behind the last one the value there is held.

    kind: "linear"; "cubic", SciPy's CubicSpline (twice differentiable, "not-a-knot" at its ends);
        or "previous", the value of the last time at or before t, for doses and steps. Of "linear"
        the derivative jumps at the times, of "previous" the value: give them as `tstops`.

    Gradients reach t, and values that require them; values that do not are copied.

    Raises InputError for a kind that is none, and for times and values that do not go together.
    """
    if kind not in get_args(Kind):
        raise InputError(f"kind {kind!r} is unknown: give {', '.join(map(repr, get_args(Kind)))}")
    knots, numbers = _times(times), _values(values)
    per_row, rows = knots.ndim == 2, {1, knots.shape[0], *numbers.shape[:1]}
    fits = numbers.ndim >= knots.ndim and numbers.shape[knots.ndim - 1] == knots.shape[-1]
    if not fits or (per_row and len(rows) > 2):
        ways = "(B, T, ...), or (1, T, ...) for all rows" if per_row else "(T, ...)"
        raise InputError(
            f"values has shape {tuple(numbers.shape)} and times {tuple(knots.shape)}: give values "
            + (ways if per_row else f"{ways}; for a table per row, times (1, T) or (B, T)")
        )
    knots = knots.to(numbers.device)
    if not per_row:
        knots, numbers = knots.unsqueeze(0), numbers.unsqueeze(0)
    return Table(knots, numbers, kind, per_row=per_row)


def _values(values: Any) -> Tensor:
    """Themselves if they require a gradient, else a copy in float64 or complex128."""
    given = _tensor(values, "values")
    if not np.isfinite(_array(given)).all():
        raise InputError("values has entries that are not finite: leave these times out")
    return given if given.requires_grad else given.to(_wide(given), copy=True)


def _times(times: Times) -> Tensor:
    """(T,) or (B, T), checked."""
    given = _tensor(times, "times")
    if given.requires_grad or given.is_complex():
        raise InputError("times must be real, and cannot require gradients: give times.detach()")
    if given.ndim not in (1, 2) or not given.numel():
        raise InputError(f"times has shape {tuple(given.shape)}: give (T,), or (B, T) per row")
    if given.shape[-1] < 2:
        raise InputError("times has one entry, and a table needs two")
    numbers = _array(given)
    if not np.isfinite(numbers).all():
        raise InputError("times has entries that are not finite")
    wrong = np.argwhere(numbers[..., 1:] <= numbers[..., :-1])
    if wrong.size:
        before, place = tuple(wrong[0]), (*wrong[0][:-1], wrong[0][-1] + 1)
        raise InputError(
            f"times must increase, and times[{', '.join(map(str, place))}] = {numbers[place]:.6g} "
            f"follows {numbers[before]:.6g}: sort them, and merge those that are equal"
        )
    return given.to(F64, copy=True).contiguous()


def _tensor(given: Any, name: str) -> Tensor:
    """Numbers as a tensor; a list of tensors with their history."""
    try:
        if isinstance(given, (list, tuple)) and any(isinstance(v, Tensor) for v in given):
            given = torch.stack([torch.as_tensor(v) for v in given])
        if not isinstance(given, Tensor):
            given = np.array(given)
            if given.dtype.kind in "fciu":
                given = torch.from_numpy(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} must be numbers in the shape of an array ({error})") from error
    if not isinstance(given, Tensor) or given.dtype == torch.bool:
        raise InputError(f"{name} must be numbers")
    return given


def _array(x: Tensor) -> Array:
    found: Array = x.detach().resolve_conj().resolve_neg().cpu().numpy()
    return found


def _wide(x: Tensor) -> torch.dtype:
    return torch.complex128 if x.is_complex() else F64


def _entry(table: Tensor, k: Tensor) -> Tensor:
    """Entries k (...) of a table (1, T, ...), or k (B,) of one (B, T, ...)."""
    shape = table.shape[2:]
    if table.shape[0] == 1:
        found = table[0].index_select(0, k.reshape(-1)).reshape((*k.shape, *shape))
    else:
        index = k.reshape(-1, 1, *(1,) * len(shape)).expand(-1, 1, *shape)
        found = table.gather(1, index).squeeze(1)
    return found.to(_wide(table))


def _slopes(times: Tensor, values: Tensor) -> Tensor:
    """Derivatives of the splines at their knots: (1 or B, T, ...) for times (1 or B, T)."""
    from scipy.interpolate import CubicSpline  # late: few need it

    knots, numbers = _array(times), _array(values)
    if len(knots) == 1:
        found = CubicSpline(knots[0], numbers, axis=1)(knots[0], 1)
    else:
        rows = np.broadcast_to(numbers, (len(knots), *numbers.shape[1:]))
        found = np.stack([CubicSpline(t, y)(t, 1) for t, y in zip(knots, rows, strict=True)])
    return torch.from_numpy(np.ascontiguousarray(found)).to(values.device)
