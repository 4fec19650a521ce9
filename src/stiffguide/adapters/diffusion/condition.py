"""What a network is told beside state and level, row by row: classes, texts, low resolutions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.errors import InputError

Condition = Any  # a tensor (B, ...), or dicts, lists and tuples of them
ConditionedNetwork = Callable[[Tensor, Tensor, Any], Tensor]


@dataclass(frozen=True)
class Conditioned:
    """denoiser(x, sigma) of net(x (B, ...), sigma (B,), condition) -> x0, with its conditions.

    condition: a tensor (B, ...), or dicts, lists and tuples of tensors; row i belongs to row i of
    the state. Raises InputError where a batch of another size comes.
    """

    net: ConditionedNetwork
    condition: Condition

    def __post_init__(self) -> None:
        if not callable(self.net):
            raise InputError(f"denoiser must be callable, not {type(self.net).__name__}")
        sizes = {len(part) if part.ndim else None for part in _parts(self.condition)}
        if len(sizes) != 1 or None in sizes:
            raise InputError(
                "condition must be a tensor (B, ...), or dicts, lists and tuples of tensors with "
                f"one B, not {_shown(self.condition)}"
            )

    def __len__(self) -> int:
        """The number of rows that it has conditions for."""
        return len(next(iter(_parts(self.condition))))

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """D(x (B, ...), sigma (B,)) -> x0, every row by its own condition."""
        if len(x) != len(self):
            raise InputError(
                f"the condition has {len(self)} rows and the state {len(x)}: give the condition of "
                f"these {len(x)} rows, in their order"
            )
        return self.net(x, sigma, self.condition)

    def rows(self, which: Sequence[int] | slice | Tensor) -> Conditioned:
        """The denoiser of these rows alone."""
        index = torch.as_tensor(which) if isinstance(which, (list, tuple, range)) else which
        return Conditioned(self.net, _mapped(self.condition, lambda part: part[index]))


def with_condition(denoiser: Callable[..., Tensor], condition: Condition | None) -> Denoiser:
    """The denoiser itself, or, where there is a condition, the one that is told it."""
    return denoiser if condition is None else Conditioned(denoiser, condition)


def _parts(condition: Condition) -> list[Tensor]:
    found: list[Tensor] = []
    _mapped(condition, found.append)
    return found


def _mapped(condition: Condition, change: Callable[[Tensor], Any]) -> Any:
    """The same containers with every tensor changed."""
    if isinstance(condition, Tensor):
        return change(condition)
    if isinstance(condition, Mapping):
        return {name: _mapped(part, change) for name, part in condition.items()}
    if isinstance(condition, (list, tuple)):
        return type(condition)(_mapped(part, change) for part in condition)
    raise InputError(
        f"condition must be a tensor (B, ...), or dicts, lists and tuples of tensors, not "
        f"{type(condition).__name__}"
    )


def _shown(condition: Condition) -> str:
    shapes = [str(tuple(part.shape)) for part in _parts(condition)]
    return f"tensors of shape {', '.join(shapes)}" if shapes else "an empty container"
