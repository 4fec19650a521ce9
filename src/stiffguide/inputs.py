"""What users may write for a number, for times, tolerances and states, as types.

Whatever else a value must fulfil (finite, positive, as many rows as y0) is checked when it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor

Array = np.ndarray[Any, np.dtype[Any]]
"""An array of numpy, of any kind of numbers."""

Number = float | np.floating[Any] | np.integer[Any] | Tensor
"""A number of Python or of numpy, or a tensor with one entry."""

Numbers = Number | Sequence[Number] | Array
"""A number for all rows, or one per row (B,): a sequence, an array or a tensor."""

Times = Sequence[Number] | Sequence[Sequence[Number]] | Tensor | Array
"""Times (T,) for all rows, or (B, T): a sequence, an array or a tensor."""

# `list[Any]` and not a Sequence, because text is one
Nested = tuple[Any, ...] | list[Any] | Mapping[Any, Any]
"""Tuples, lists and dicts of tensors, to any depth."""

State = Tensor | complex | Nested  # `fields.layout` takes it apart
"""A state: a tensor (...), or (B, ...) when batched, a number, or tensors in a `Nested` form."""

PerEntry = Number | Array | Nested
"""A number, one per component (the shape of y0) or per row (B,), or these nested as y0 is."""

Components = int | Sequence[int] | Tensor | Array
"""Indices of components (K,), by their places in the flat order of y0."""

Sought = Number | Array | Mapping[str, Any] | list[Any] | tuple[Any, ...]
"""What a fit seeks: an array, numbers and arrays by name, or a tuple of these."""

Function = Callable[..., Any]
"""Any function; what it is called with stands where it is asked for."""

Rates = Function | tuple[Function, Function] | list[Function]
"""f(t, y, *args), or a pair (explicit, implicit) of such functions, whose sum is dy/dt."""

Jacobian = Callable[..., Tensor] | Tensor | Literal["autograd", "differences"]
"""jac(t, y, *args) -> (F, F), or (B, F, F) when batched; such a matrix; or how to find it."""

Events = Callable[..., Any] | Sequence[Callable[..., Any]]
"""event(t, y, *args) -> a number, (B,) when batched, or several of them; see `Event`."""

Sensitivity = int | str | tuple[Any, ...]
"""What to differentiate by: an index into args, a key of a dict there, or "y0"."""

Norm = Callable[[Any], Any]
"""norm(error) -> a number, (B,) when batched, of an error over its tolerance, in the shape of y."""

Attempted = Callable[[Tensor, Any, Tensor, Any], Any]
"""on_attempt(t0, y0, dt, accepted), told of every attempt."""

Monitor = Callable[[Tensor, Any], Any]
"""monitor(t, y), called after every attempt; a true value stops."""
