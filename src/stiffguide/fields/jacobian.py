"""A vector field as the solvers see it, with its Jacobian: given, by autograd, or by differences.

Autograd in reverse mode, one sweep a component: in eager mode that is several times cheaper than
forward mode under vmap, because the sweeps run in C++ (measured, n = 3: 5-13 times the cost of a
Jacobian written by hand against 32-35).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode

from stiffguide.errors import InputError
from stiffguide.stepping.contracts import Linearisation
from stiffguide.tensors import constant, real_dtype

SWEEPS = 24  # up to this size single sweeps beat one vmapped sweep
CONVERSIONS = {
    *(Tensor.item, Tensor.tolist, Tensor.numpy, Tensor.__array__),
    *(Tensor.__float__, Tensor.__int__, Tensor.__complex__),
}

Flat = Callable[[Tensor, Tensor], Tensor]  # f(t (B,), y (B, F)) -> (B, F)


class GivenJacobian:
    """A field with a Jacobian that the user wrote; df/dt by one evaluation in forward mode.

    With `clock` (see `AutogradJacobian`) df/dt is a difference.
    """

    def __init__(self, f: Flat, jac: Flat, *, clock: bool = False) -> None:
        self._f = f
        self._jac = jac
        self._clock = clock

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """f(t (B,), y (B, F)) -> (B, F)."""
        return self._f(t, y)

    def linearise(self, t: Tensor, y: Tensor, *, time: bool) -> Linearisation:
        """The Jacobian at (t, y) and, with `time`, the derivative by t."""
        jac = self._jac(t, y)
        if time and self._clock:
            return Linearisation(jac, _difference_in_time(self._f, t, y, self._f(t, y)), 2)
        return Linearisation(jac, time_derivative(self._f, t, y) if time else None, int(time))


class AutogradJacobian:
    """A field whose Jacobian comes from reverse sweeps through the user's own operations.

    With `clock` f cannot be recorded as a function of t, which it turns into numbers: df/dt is
    then a difference.
    """

    def __init__(self, f: Flat, *, clock: bool = False) -> None:
        self._f = f
        self._clock = clock

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """f(t (B,), y (B, F)) -> (B, F)."""
        return self._f(t, y)

    def linearise(self, t: Tensor, y: Tensor, *, time: bool) -> Linearisation:
        """The Jacobian at (t, y) and, with `time`, the derivative by t."""
        if time and self._clock:
            jac, _, nfe = self.linearise(t, y, time=False)
            return Linearisation(jac, _difference_in_time(self._f, t, y, self._f(t, y)), nfe + 2)
        keep = torch.is_grad_enabled()  # someone differentiates through this step
        batch, n = y.shape
        with torch.enable_grad():
            if not (keep and y.requires_grad):
                y, t = y.detach().requires_grad_(), t.detach().requires_grad_(time)
            elif time:
                y, t = _level(y, t)
            value = self._f(t, y)
            if not value.requires_grad:
                zero = torch.zeros_like(value)
                return Linearisation(y.new_zeros(batch, n, n), zero if time else None, 1)
            keep = keep and value.grad_fn is not None
            inputs = (y, t) if time else (y,)
            sweep = _one_by_one if n <= SWEEPS else _together
            by_y, *rest = sweep(value, inputs, _unit_vectors(n, y), keep)
        slope = rest[0].movedim(0, -1).to(y.dtype) if rest else None
        return Linearisation(by_y.movedim(0, 1), slope, 1)


def _level(y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """y (B, F) and a constant t (B,) as inputs of a sweep that lie equally far from the leaves.

    Autograd's engine stops counting a sweep's nodes only below the nearest of its inputs: were t a
    leaf, it would walk the whole history of y, once a component. So t hangs on y; `where`, unlike
    0 * y, gives no nan where y or a gradient is infinite.
    """
    everywhere = torch.ones_like(t, dtype=torch.bool)
    return y.view_as(y), torch.where(everywhere, t.detach(), y[:, 0])


def _one_by_one(
    value: Tensor, inputs: tuple[Tensor, ...], seeds: Tensor, keep: bool
) -> list[Tensor]:
    """d value_i / d input, (F, ...) for each input, by one reverse sweep a component."""
    sweeps = [
        torch.autograd.grad(
            value,
            inputs,
            seed.expand_as(value),
            retain_graph=True,
            create_graph=keep,
            allow_unused=True,
        )
        for seed in seeds
    ]
    columns = zip(*sweeps, strict=True)
    return [_gather(list(column), like) for column, like in zip(columns, inputs, strict=True)]


def _together(value: Tensor, inputs: tuple[Tensor, ...], seeds: Tensor, keep: bool) -> list[Tensor]:
    """The same by one sweep under vmap."""
    n = seeds.shape[0]
    swept = torch.autograd.grad(
        value,
        inputs,
        seeds.unsqueeze(1).expand(n, *value.shape),
        create_graph=keep,
        allow_unused=True,
        is_grads_batched=True,
    )
    return [
        like.new_zeros(n, *like.shape) if found is None else found
        for found, like in zip(swept, inputs, strict=True)
    ]


class DifferenceJacobian:
    """A field that autograd cannot see through: forward differences, one evaluation a component."""

    def __init__(self, f: Flat) -> None:
        self._f = f

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """f(t (B,), y (B, F)) -> (B, F)."""
        return self._f(t, y)

    def linearise(self, t: Tensor, y: Tensor, *, time: bool) -> Linearisation:
        """The Jacobian at (t, y) and, with `time`, the derivative by t."""
        n = y.shape[-1]
        base = self._f(t, y)
        eps = torch.finfo(real_dtype(y.dtype)).eps
        # Hairer's RADAU5: a component near zero is perturbed by sqrt(1e-5 eps)
        nudge = torch.sqrt(eps * torch.clamp(y.abs(), min=1e-5))
        columns = []
        for j in range(n):
            moved = y.clone()
            moved[:, j] += nudge[:, j]
            width = (moved[:, j] - y[:, j]).unsqueeze(-1)  # what was really added
            columns.append((self._f(t, moved) - base) / width)
        slope = _difference_in_time(self._f, t, y, base) if time else None
        return Linearisation(torch.stack(columns, -1), slope, n + 1 + int(time))


def time_derivative(f: Flat, t: Tensor, y: Tensor) -> Tensor:
    """df/dt (B, F) in forward mode; by a difference where an operation has no forward rule."""
    try:
        with forward_ad.dual_level():
            value = f(forward_ad.make_dual(t, torch.ones_like(t)), y)
            tangent = forward_ad.unpack_dual(value).tangent
    except (NotImplementedError, RuntimeError):
        return _difference_in_time(f, t, y, f(t, y))
    return torch.zeros_like(value) if tangent is None else tangent


def _difference_in_time(f: Flat, t: Tensor, y: Tensor, base: Tensor) -> Tensor:
    eps = torch.finfo(real_dtype(y.dtype)).eps  # f sees t in the precision of the state
    later = t + torch.sqrt(eps * torch.clamp(t.abs(), min=1e-5))
    return (f(later, y) - base) / (later - t).unsqueeze(-1).to(y.dtype)


def _unit_vectors(n: int, like: Tensor) -> Tensor:
    if n > 64:
        return torch.eye(n, dtype=like.dtype, device=like.device)
    identity = tuple(tuple(float(i == j) for j in range(n)) for i in range(n))
    return constant(identity, like.dtype, like.device)


def _gather(sweeps: list[Tensor | None], like: Tensor) -> Tensor:
    """Stack gradients; a component that does not depend on the input has none."""
    return torch.stack([torch.zeros_like(like) if s is None else s for s in sweeps])


def wrap(
    f: Flat, jac: Flat | str | None, t0: Tensor, y0: Tensor
) -> GivenJacobian | AutogradJacobian | DifferenceJacobian:
    """Choose how the Jacobian is made; f is known to work at (t0, y0)."""
    if jac == "differences":
        return DifferenceJacobian(f)
    if isinstance(jac, str) and jac != "autograd":
        raise InputError(f"jac: {jac!r} is unknown; give a function, 'autograd' or 'differences'")
    clock = _recorded(f, t0.detach().requires_grad_(), y0) is None
    if jac is not None and not isinstance(jac, str):
        return GivenJacobian(f, jac, clock=clock)
    value = _recorded(f, t0, y0.detach().requires_grad_())
    if value is None or not value.requires_grad:
        return DifferenceJacobian(f)
    return AutogradJacobian(f, clock=clock)


class _Conversions(TorchFunctionMode):
    """Notices where a recorded tensor becomes a number: autograd cannot see through that."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in CONVERSIONS and args[0].requires_grad:
            self.seen = True
            args = (args[0].detach(), *args[1:])
        return func(*args, **(kwargs or {}))


def _recorded(f: Flat, t: Tensor, y: Tensor) -> Tensor | None:
    """The value of f with autograd recording, or None where it does not see all of f."""
    with torch.enable_grad(), _Conversions() as conversions:
        value = f(t, y)
    return None if conversions.seen else value
