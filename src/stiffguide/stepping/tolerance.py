"""How large an error may be: rtol and atol, and the norm that they are measured in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from stiffguide.tensors import magnitude, rms


class Tried(Protocol):
    """What is known of a step that is to be measured: see `Step`."""

    @property
    def y0(self) -> Tensor:
        """State (B, F) at the start."""
        ...

    @property
    def y1(self) -> Tensor:
        """State (B, F) at the end."""
        ...

    @property
    def error(self) -> Tensor | None:
        """See `Step`."""
        ...

    @property
    def size(self) -> Tensor | None:
        """See `Step`."""
        ...


@dataclass(frozen=True)
class Tolerance:
    """rtol and atol: scalars, (B, 1) per row, (F,) per feature or (B, F).

    And the norm over F of errors in such units (that which the user gave has precedence), and the
    size of an entry, which for a part of a complex number is that of the number.
    """

    rtol: Tensor | float
    atol: Tensor | float
    norm: Any = rms
    size: Any = magnitude
    given: Any = None  # a norm

    @property
    def used(self) -> Any:
        """The norm of errors."""
        return self.norm if self.given is None else self.given

    def scale(self, *states: Tensor) -> Tensor:
        """Atol + rtol max |y| (B, F) over the given states (B, F)."""
        size: Tensor = self.size(states[0])
        for y in states[1:]:
            size = torch.maximum(size, self.size(y))
        scale: Tensor = self.atol + self.rtol * size
        return scale

    def ratio(self, step: Tried) -> Tensor:
        """Scaled norm of the error per row (B,); acceptable up to 1, nan when not finite."""
        if step.size is not None:
            return step.size
        assert step.error is not None, "a controller that judges needs a method with an error"
        return self.measure(step.error, step.y0, step.y1)

    def measure(self, x: Tensor, *states: Tensor) -> Tensor:
        """Norm per row (B,) of x (B, F) over the scale of the states, without a gradient."""
        with torch.no_grad():
            # 0/0 where atol = 0 meets a zero state: no error, no complaint
            quotient = torch.where(x == 0, 0.0, x / self.scale(*states))
            size: Tensor = self.used(quotient)
            return size
