"""A function of numpy arrays as a field, which is a function of tensors."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._pytree import tree_map, tree_map_only

from stiffguide.errors import InputError

Function = Callable[..., Any]  # of t, y and more, in numpy's numbers and arrays


class ArrayFunction:
    """f(t, y, *args) on tensors around `function`, which autograd cannot see through.

    `column`: it takes and gives y (n, 1) where the state is (n,). `by_row`: it takes one row of a
    batch, of t, y and all args. Its value may be a list, or a buffer that it uses again.
    """

    def __init__(self, function: Function, *, column: bool = False, by_row: bool = False) -> None:
        self.function = function
        self.column = column
        self.by_row = by_row

    def __call__(self, t: Tensor, y: Any, *args: Any) -> Any:
        """The value as tensors in the shape of y, or in its nesting."""
        if self.by_row:
            return self._by_row(t, y, args)
        if not isinstance(y, Tensor):
            value = self.function(number(t), tree_map(array, y), *args)
            return tree_map(torch.as_tensor, value)
        state = array(y)
        given = state[:, None] if self.column else state
        value = self.function(number(t), given, *args)
        if value is None:  # which is nan to numpy
            raise InputError("the value of f is a NoneType where y0 has numbers; return it")
        value = np.asarray(value, dtype=state.dtype)
        out = np.empty_like(state)
        out[...] = value.ravel() if self.column else value
        return torch.from_numpy(out).to(y.device)

    def _by_row(self, t: Tensor, y: Tensor, args: tuple[Tensor, ...]) -> Tensor:
        own = [array(x) for x in args]
        out = np.empty_like(array(y))
        for k, (time, state) in enumerate(zip(array(t), array(y), strict=True)):
            value = np.asarray(self.function(time, state, *(x[k] for x in own)))
            if value.shape != state.shape:  # numpy would repeat it
                raise InputError(f"the value of f has shape {value.shape}, y0 has {state.shape}")
            out[k] = value
        return torch.from_numpy(out).to(y.device)


def user_function(f: Function) -> Function:
    """The function that the user wrote."""
    return f.function if isinstance(f, ArrayFunction) else f


def number(t: Tensor) -> Any:
    """A numpy number, which overflows to inf where a Python float raises."""
    if forward_ad.unpack_dual(t).tangent is not None:
        raise NotImplementedError("a function of numpy numbers drops the tangent of t")
    return np.float64(t.item()) if t.ndim == 0 else array(t)


def array(x: Tensor) -> Any:
    """The values of a tensor, in memory of their own: f may write to it."""
    return x.detach().cpu().numpy().copy()


def wanting_arrays(f: Function, args: tuple[Any, ...], t: Tensor, y: Any) -> ArrayFunction | None:
    """f as a field, if it wants arrays and not tensors: f(t, y, *args) does not give tensors.

    None where it does, and where it gives nothing of use for arrays either.
    """
    try:
        # numpy refuses a tensor with a gradient, and takes another
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")  # of torch, for numbers taken out of it
            asked = tree_map_only(Tensor, lambda x: x.detach().clone().requires_grad_() * 1, y)
            value = f(t.clone(), asked, *args)  # which may write to what it is given
    except Exception:  # whatever a function of arrays raises on tensors
        value = None
    if isinstance(value, Tensor) or (not isinstance(y, Tensor) and _of_tensors(value)):
        return None
    field = ArrayFunction(f)
    try:
        if isinstance(y, Tensor) and not _alike(f(number(t), array(y), *args), y):
            return None
        field(t, y, *args)
    except Exception:  # the user shall see what f says on tensors
        return None
    return field


def _alike(value: Any, y: Tensor) -> bool:
    """Whether a value has a number for each entry of y: numpy would repeat them, and read text."""
    found = np.asarray(value)
    return found.dtype.kind in "fiubc" and (found.shape == tuple(y.shape) or y.numel() == 1)


def _of_tensors(value: Any) -> bool:
    found: list[bool] = []
    tree_map(lambda x: found.append(isinstance(x, Tensor)), value)
    return all(found)
