"""The state as func knows it: a tensor, or a tuple of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from stiffguide.stepping.contracts import Method
from stiffguide.tableaux.rosenbrock import RosenbrockTableau
from stiffguide.tableaux.tableau import Tableau

Function = Callable[[Tensor, Any], Any]
Norm = Callable[[Any], Any]
State = Tensor | tuple[Tensor, ...]
Tolerance = float | Tensor | tuple[float | Tensor, ...]
Methods = str | Tableau | RosenbrockTableau | Method | None


def parts(y: Any) -> tuple[Tensor, ...]:
    """The tensors of a state."""
    return (y,) if isinstance(y, Tensor) else tuple(y)


def like(y: Any, tensors: Sequence[Tensor]) -> Any:
    """The state of these tensors, in the form of y."""
    return tensors[0] if isinstance(y, Tensor) else tuple(tensors)


def started(y0: Any) -> Any:
    """y0 with one dtype for all its tensors; raises AssertionError if it is no state."""
    if isinstance(y0, Tensor):
        return y0
    assert isinstance(y0, tuple), f"y0 must be a tensor or a tuple of tensors, not {type(y0)}"
    assert y0, "y0 is an empty tuple: there is nothing to solve"
    return alike(y0)


def alike(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The tensors in the dtype that holds them all."""
    dtype = tensors[0].dtype
    for x in tensors[1:]:
        dtype = torch.promote_types(dtype, x.dtype)
    return tuple(x.to(dtype) for x in tensors)


def flat(y: Any, y0: Any, lead: int = 0) -> Tensor:
    """A state as one tensor: as it is, or the entries of a tuple (*lead, N)."""
    if isinstance(y0, Tensor):
        return y  # type: ignore[no-any-return]
    tensors = alike(tuple(y))
    return torch.cat([x.reshape((*x.shape[:lead], -1)) for x in tensors], -1)


def shaped(whole: Tensor, y0: Any) -> Any:
    """A state in the user's form, from one tensor with any leading axes."""
    if isinstance(y0, Tensor):
        return whole
    found, begin = [], 0
    for x in y0:
        end = begin + x.numel()
        found.append(whole[..., begin:end].view((*whole.shape[:-1], *x.shape)))
        begin = end
    return tuple(found)


def field(func: Function, y0: Any) -> Function:
    """Func with values of the shapes and of the dtype of the state, as long as they fit."""
    if isinstance(y0, Tensor):
        return lambda t, y: fitted(func(t, y), y)
    return lambda t, y: tuple(map(fitted, func(t, y), y))


def fitted(value: Any, y: Tensor) -> Any:
    """A value of func in the shape and the dtype of y; what cannot be that is left as it is."""
    if not isinstance(value, Tensor):
        return value
    if value.dtype != y.dtype and not (value.is_complex() and not y.is_complex()):
        value = value.to(y.dtype)
    if value.shape == y.shape:
        return value
    # never another order of the same numbers: (2, 3) for (3, 2) is a mistake
    flat = value.ndim == 1 or [n for n in value.shape if n != 1] == [n for n in y.shape if n != 1]
    if flat and value.numel() == y.numel():
        return value.reshape(y.shape)
    ahead = zip(reversed(value.shape), reversed(y.shape), strict=False)
    spread = value.ndim <= y.ndim and all(n in (1, m) for n, m in ahead)
    return value.expand(y.shape) if spread else value


def tolerance(name: str, given: Any, y0: Any) -> Any:
    """rtol or atol as `solve` takes it: a number, or nested as y0 is; raises AssertionError."""
    tensors = parts(y0)
    if isinstance(given, Tensor):
        assert not given.requires_grad, f"{name} cannot require gradient: detach it"
    if isinstance(given, (int, float)) or (isinstance(given, Tensor) and not given.ndim):
        return given
    if isinstance(y0, Tensor):
        return torch.as_tensor(given, device=y0.device).expand(y0.shape)
    several = tuple(given)
    assert len(several) == len(tensors), (
        f"{name} has {len(several)} entries, y0 has {len(tensors)}: give one for each tensor"
    )
    whole = zip(several, tensors, strict=True)
    return tuple(torch.as_tensor(x, device=y.device).expand(y.shape) for x, y in whole)


def rms(x: Tensor) -> Tensor:
    """Root mean square of all entries."""
    return x.abs().square().mean().sqrt() if x.numel() else x.new_zeros((), dtype=x.real.dtype)


def mixed(tensors: Sequence[Tensor]) -> Any:
    """The largest root mean square of several tensors, 0 of none."""
    return max(map(rms, tensors), default=0.0)
