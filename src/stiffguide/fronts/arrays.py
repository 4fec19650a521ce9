"""Whose arrays a front speaks: numpy's or torch's. What comes in decides what goes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from stiffguide.errors import InputError
from stiffguide.fields.array_function import ArrayFunction, array, number

Function = Callable[..., Any]  # of (t, y, *more), in the user's arrays


@dataclass(frozen=True)
class Bound:
    """A field and its arguments, as `solve` takes them."""

    field: Callable[..., Tensor]
    args: tuple[Any, ...]

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """Its value (n,)."""
        return self.field(t, y, *self.args)


class Arrays(Protocol):
    """Translates one kind of array to tensors and back."""

    def state(self, y0: Any) -> Tensor:
        """A vector (n,) of floating-point numbers."""
        ...

    def field(self, fun: Function, vectorized: bool, more: tuple[Any, ...]) -> Bound:
        """fun(t, y, *more) on tensors; `vectorized`: it takes and gives columns (n, 1)."""
        ...

    def jacobian(self, jac: Any) -> Any:
        """What `solve` takes as `jac`."""
        ...

    def give(self, x: Tensor) -> Any:
        """The user's kind of array."""
        ...

    def points(self, t: Tensor, y: Tensor) -> tuple[Any, Any]:
        """The times (T,) and the states (n, T) of a result."""
        ...


def arrays_of(y0: Any) -> Arrays:
    """Torch's for a tensor, numpy's for everything else."""
    return TorchArrays() if isinstance(y0, Tensor) else NumpyArrays()


class NumpyArrays:
    """Functions of numpy arrays, which autograd cannot see through."""

    def state(self, y0: Any) -> Tensor:
        """A vector (n,), float64 or complex128; it shares no memory with y0."""
        y = np.asarray(y0)
        kind = np.complex128 if np.iscomplexobj(y) else np.float64
        return torch.from_numpy(np.array(y, dtype=kind))

    def field(self, fun: Function, vectorized: bool, more: tuple[Any, ...]) -> Bound:
        """fun on tensors, and `more` as arguments of the field, in which a kernel may read them."""
        return Bound(ArrayFunction(fun, column=vectorized), more)

    def jacobian(self, jac: Any) -> Any:
        """A function on tensors, the constant matrix, or differences."""
        if callable(jac):
            return lambda t, y, *_: _matrix(jac(number(t), array(y)))
        return "differences" if jac is None else _matrix(jac)

    def give(self, x: Tensor) -> Any:
        """A numpy array."""
        return x.detach().numpy()

    def points(self, t: Tensor, y: Tensor) -> tuple[Any, Any]:
        """Two arrays; two lists where there is no point, as in scipy."""
        return (self.give(t), self.give(y)) if len(t) else ([], [])


class TorchArrays:
    """Functions of tensors; gradients flow through them."""

    def state(self, y0: Any) -> Tensor:
        """A vector (n,), in its own precision; integers become float64."""
        y: Tensor = y0
        return y if y.is_floating_point() or y.is_complex() else y.to(torch.float64)

    def field(self, fun: Function, vectorized: bool, more: tuple[Any, ...]) -> Bound:
        """fun on tensors; its value may be a list of numbers or scalar tensors."""

        def field(t: Tensor, y: Tensor) -> Tensor:
            value = fun(t, y.unsqueeze(1) if vectorized else y, *more)
            if not isinstance(value, Tensor):
                value = torch.stack([torch.as_tensor(v, dtype=y.dtype) for v in value])
            return value.reshape(-1) if vectorized else value

        return Bound(field, ())

    def jacobian(self, jac: Any) -> Any:
        """Nothing to translate but numpy matrices."""
        return _matrix(jac) if isinstance(jac, np.ndarray) else jac

    def give(self, x: Tensor) -> Any:
        """The tensor itself."""
        return x

    def points(self, t: Tensor, y: Tensor) -> tuple[Any, Any]:
        """The tensors themselves."""
        return t, y


def _matrix(jac: Any) -> Any:
    """A matrix as a tensor, or a sparse one as it is."""
    if hasattr(jac, "tocoo"):
        return jac
    dense = np.asarray(jac)
    if dense.ndim == 0:
        dense = dense.reshape(1, 1)
    if dense.ndim != 2:
        raise InputError(f"`jac` must be a matrix (n, n), not an array of shape {dense.shape}")
    kind = np.complex128 if np.iscomplexobj(dense) else np.float64
    return torch.from_numpy(np.array(dense, dtype=kind))
