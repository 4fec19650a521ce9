"""Tensors as operands of formulas: the numbers of their entries, constants among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from stiffguide.graphs.scalars import Scalar
from stiffguide.tracing.beside import CONSTANT, Beside
from stiffguide.tracing.sources import readable
from stiffguide.tracing.stencils.entries import Entries, Numbers, Values


class Operands:
    """Gives every entry of a tensor a number of `entries`."""

    def __init__(self, entries: Entries, beside: Beside) -> None:
        self.entries = entries
        self._beside = beside
        self._lifted = WeakTensorKeyDictionary()  # constants: at which version, and their numbers

    def known(self, tensor: Tensor) -> bool:
        """Whether all entries are constants."""
        return self._beside.known(tensor)

    def numbers(self, tensor: Tensor, shape: Sequence[int]) -> Numbers | float:
        """The numbers of a tensor that is expanded to `shape`, or the value of all its entries."""
        found: Tensor | float
        if self.known(tensor):
            found = self._constants(tensor)
            if isinstance(found, float):
                return found
        else:
            found = self._beside.numbers(tensor)
            if bool((found == CONSTANT).any()):
                found = self._mixed(tensor, found)
        flat: Numbers = found.expand(tuple(shape)).reshape(-1).numpy()
        return flat

    def all_numbers(self, tensor: Tensor, shape: Sequence[int]) -> Numbers:
        """The same, with numbers for a constant, too."""
        found = self.numbers(tensor, shape)
        if isinstance(found, float):
            return np.full(prod(shape), self.entries.constant(found))
        return found

    def _constants(self, tensor: Tensor) -> Tensor | float:
        """The numbers of a tensor of constants in its own shape, or their common value."""
        now = -1 if tensor.is_inference() else tensor._version
        version, found = self._lifted.get(tensor, (None, 0.0))
        if version != now or now < 0:
            values = _values(tensor)
            if len(values) and bool((values == values[0]).all()):
                found = float(values[0])
            else:
                found = torch.from_numpy(self.entries.constants(values)).reshape(tensor.shape)
            self._lifted[tensor] = now, found
        lifted: Tensor | float = found
        return lifted

    def _mixed(self, tensor: Tensor, numbers: Tensor) -> Tensor:
        """Numbers of a tensor with some constants."""
        fixed = numbers == CONSTANT
        found = numbers.clone()
        found[fixed] = torch.from_numpy(self.entries.constants(_values(tensor[fixed])))
        return found

    def apply(self, formula: Callable[..., Scalar], values: Sequence[Any], shape: Any) -> Tensor:
        """The numbers of what a formula gives for every entry of some tensors, expanded."""
        operands = [self.numbers(v, shape) if isinstance(v, Tensor) else v for v in values]
        return self.combined(formula, operands, shape)

    def combined(
        self, formula: Callable[..., Scalar], operands: Sequence[Any], shape: Sequence[int]
    ) -> Tensor:
        """The same for numbers of entries, flattened."""
        made = self.entries.apply(formula, operands, prod(shape))
        return torch.from_numpy(made).reshape(tuple(shape))


def _values(tensor: Tensor) -> Values:
    """The values of all entries in float64."""
    flat: Values = readable(tensor).cpu().to(torch.float64).reshape(-1).numpy().copy()
    return flat
