"""Rows of a state that have steps of their own, for a func that knows one time for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from stiffguide.errors import InputError
from stiffguide.fronts.torchdiffeq.state import Function, like, parts
from stiffguide.solution import Solution

AHEAD = 0.1  # of the way: another time, at which func is tried
ALIKE = 1e-5  # what the rows may differ by, in units of the largest value
UNFIT = (
    "rows: func cannot be evaluated at another time in every row, neither with t of shape {shape} "
    "nor row by row; write func so, or leave out the option rows"
)
DIFFERENT = "rows: y0 has {rows} rows in one tensor and {other} in another; give all the same"


def field(f: Function, y0: Any, t: Tensor) -> Function:
    """f(t (B,), y (B, *S)) of an f(t (), y (B, *S)), tried at two times at once.

    Raises InputError where f cannot be had so. Whether its rows are independent `solve` asks.
    """
    tensors = parts(y0)
    if not tensors[0].ndim:
        raise InputError("rows: y0 has no axis; leave out the option rows")
    rows = len(tensors[0])
    for x in tensors:
        if not x.ndim or len(x) != rows:
            raise InputError(DIFFERENT.format(rows=rows, other=len(x) if x.ndim else "none"))
    shape = (-1, *[1] * (tensors[0].ndim - 1))  # a kernel is made of one row
    ways: tuple[Function, ...] = (lambda s, y: f(s.reshape(shape), y), _mapped(f, y0))
    for way in ways:
        if _right(way, f, y0, t.detach()):
            return way
    raise InputError(UNFIT.format(shape=(rows, *shape[1:])))


def _mapped(f: Function, y0: Any) -> Function:
    """f row by row, by torch.func.vmap."""

    def one(t: Tensor, *row: Tensor) -> Any:
        value = parts(f(t, like(y0, [x.unsqueeze(0) for x in row])))
        return tuple(v.squeeze(0) for v in value)

    mapped: Callable[..., Any] = torch.func.vmap(one)
    return lambda t, y: like(y0, mapped(t, *parts(y)))


def _right(way: Function, f: Function, y0: Any, t: Tensor) -> bool:
    """Whether the rows are those of f, the even ones at t0, and the odd ones at a later time."""
    tensors = [x.detach() for x in parts(y0)]
    if not len(tensors[0]):
        return True
    dtype, state = tensors[0].real.dtype, like(y0, tensors)
    first = t[0].to(dtype)
    later = (t[0] + AHEAD * (t[-1] - t[0])).to(dtype)
    odd = torch.arange(len(tensors[0]), device=t.device) % 2 == 1
    with torch.no_grad():
        wanted = [parts(f(s, state)) for s in (first, later)]
        try:
            values = parts(way(torch.where(odd, later, first), state))
        except Exception:  # whatever func raises that was made for one time
            return False
    for value, *both in zip(values, *wanted, strict=True):
        if value.shape != both[0].shape:
            return False
        where = odd.reshape(-1, *[1] * (value.ndim - 1))
        expected = torch.where(where, both[1], both[0])
        size = expected.abs().max() if expected.numel() else 0.0
        if not bool(((value - expected).abs() <= ALIKE * size).all()):
            return False
    return True


def times_first(found: Solution[Any]) -> Solution[Any]:
    """The solution with the states (T, B, *S), as torchdiffeq has them."""
    return replace(found, y=like(found.y, [y.transpose(0, 1) for y in parts(found.y)]))
