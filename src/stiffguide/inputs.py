"""What users may write for a number, for times, tolerances and states, as types.

Whatever else a value must fulfil (finite, positive, as many rows as y0) is checked when it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor

Array = np.ndarray[Any, np.dtype[Any]]
Number = float | np.floating[Any] | np.integer[Any] | Tensor
Numbers = Number | Sequence[Number] | Array  # one, or one per row (B,)
Times = Sequence[Number] | Sequence[Sequence[Number]] | Tensor | Array  # (T,) or (B, T)
# tuples, lists and dicts, to any depth; `list[Any]` and not a Sequence, because text is one
Nested = tuple[Any, ...] | list[Any] | Mapping[Any, Any]
State = Tensor | complex | Nested  # `fields.layout` takes it apart
PerEntry = Number | Array | Nested  # one, one per component or per row, or nested as y0 is
Components = int | Sequence[int] | Tensor | Array  # by their places in the flat order of y0
# what a fit seeks: an array, numbers and arrays by name, or a tuple of these
Sought = Number | Array | Mapping[str, Any] | list[Any] | tuple[Any, ...]

Function = Callable[..., Any]
Rates = Function | tuple[Function, Function] | list[Function]  # f, or (explicit, implicit)
Jacobian = Callable[..., Tensor] | Tensor | Literal["autograd", "differences"]
Events = Callable[..., Any] | Sequence[Callable[..., Any]]
Sensitivity = int | str | tuple[Any, ...]  # an index into args, a key of a dict there, "y0"
Norm = Callable[[Any], Any]  # of an error in units of the tolerance, in the layout of y0
Attempted = Callable[[Tensor, Any, Tensor, Any], Any]  # of t0, y0, dt and whether it was accepted
Monitor = Callable[[Tensor, Any], Any]  # of t and y; a true value stops
