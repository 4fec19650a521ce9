"""The user's norm, which knows the shape of y0, as a function of (B, F)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stiffguide.errors import InputError
from stiffguide.fields.layout import Layout
from stiffguide.tensors import real_dtype


class GivenNorm:
    """How large an error in units of the tolerance is, as the user has it; checked at every call.

    An infinite size is that of an error too large to be measured.
    """

    def __init__(self, norm: Callable[[Any], Any], layout: Layout) -> None:
        if isinstance(norm, type) or not callable(norm):
            raise InputError("norm: give a function of the scaled error, in the shape of y0")
        self._norm, self._layout = norm, layout

    def __call__(self, x: Tensor) -> Tensor:
        """The norms (B,) of x (B, F)."""
        value, layout = self._norm(self._layout.unflatten(x)), self._layout
        try:
            dtype = torch.float64 if type(value) in (float, int) else None
            size = torch.as_tensor(value, dtype=dtype, device=x.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"norm returned a {type(value).__name__}; give a number") from error
        expected = (layout.rows,) if layout.batched else ()
        if tuple(size.shape) != expected or size.is_complex() or size.dtype == torch.bool:
            what = f"one for every row, ({layout.rows},)" if layout.batched else "one, no axis"
            kind = str(size.dtype).removeprefix("torch.")
            raise InputError(
                f"norm returned {kind} of shape {tuple(size.shape)}; give real numbers: {what}"
            )
        size = size.detach().to(real_dtype(x.dtype)).reshape(layout.rows)
        wrong = (size < 0) | (size.isnan() & x.isfinite().all(-1))
        if bool(wrong.any()):
            raise InputError(
                f"norm returned {float(size[wrong][0]):g}; a norm is zero, or positive"
            )
        return size
