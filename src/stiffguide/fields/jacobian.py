"""A vector field as the solvers see it, with its Jacobian: given, by autograd, or by differences.

Autograd in reverse mode, one sweep a component: in eager mode that is several times cheaper than
forward mode under vmap, because the sweeps run in C++ (measured, n = 3: 5-13 times the cost of a
Jacobian written by hand against 32-35).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stiffguide.algebra.dense import DENSE
from stiffguide.algebra.protocol import LinearSolver
from stiffguide.errors import InputError
from stiffguide.fields.differences import difference_in_time, differences
from stiffguide.fields.pulled import PulledJacobian
from stiffguide.fields.recording import UNRECORDABLE, look, time_derivative
from stiffguide.stepping.contracts import Linearisation, Units
from stiffguide.tensors import constant, transformed

SWEEPS = 24  # up to this size single sweeps beat one vmapped sweep

Flat = Callable[[Tensor, Tensor], Tensor]  # f(t (B,), y (B, F)) -> (B, F)


class GivenJacobian:
    """A field with a Jacobian that the user wrote; df/dt by one evaluation in forward mode.

    With `clock` (see `AutogradJacobian`) df/dt is a difference.
    """

    linear: LinearSolver = DENSE

    def __init__(self, f: Flat, jac: Flat, *, clock: bool = False) -> None:
        self._f = f
        self._jac = jac
        self._clock = clock

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """f(t (B,), y (B, F)) -> (B, F)."""
        return self._f(t, y)

    def linearise(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """The Jacobian at (t, y) and, with `time`, the derivative by t."""
        jac = self._jac(t, y)
        if not time:
            return Linearisation(jac, None, 0)
        slope = None if self._clock else time_derivative(self._f, t, y)
        if slope is not None:
            return Linearisation(jac, slope, 1)
        slope, nfe = difference_in_time(self._f, t, y, self._f(t, y), units.dt)
        return Linearisation(jac, slope, 1 + nfe)

    def by_differences(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """The same from values of f alone: finite where f is, even if its derivative is not."""
        return differences(self._f, t, y, units, time=time)


class AutogradJacobian:
    """A field whose Jacobian comes from reverse sweeps through the user's own operations.

    With `clock` f cannot be recorded as a function of t, which it turns into numbers: df/dt is
    then a difference.
    """

    linear: LinearSolver = DENSE

    def __init__(self, f: Flat, *, clock: bool = False) -> None:
        self._f = f
        self._clock = clock

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """f(t (B,), y (B, F)) -> (B, F)."""
        return self._f(t, y)

    def linearise(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """The Jacobian at (t, y) and, with `time`, the derivative by t."""
        try:
            found = self._swept(t, y, time=time and not self._clock)
        except UNRECORDABLE:  # f met an operation that it had not met at the start
            found = None
        if found is None:
            return self.by_differences(t, y, units, time=time)
        if time and self._clock:
            slope, nfe = difference_in_time(self._f, t, y, self._f(t, y), units.dt)
            return Linearisation(found.jac, slope, found.nfe + 1 + nfe)
        return found

    def by_differences(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """The same from values of f alone: finite where f is, even if its derivative is not."""
        return differences(self._f, t, y, units, time=time)

    def _swept(self, t: Tensor, y: Tensor, *, time: bool) -> Linearisation:
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
    """A field that autograd cannot see through: differences, one evaluation a component."""

    linear: LinearSolver = DENSE

    def __init__(self, f: Flat) -> None:
        self._f = f

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """f(t (B,), y (B, F)) -> (B, F)."""
        return self._f(t, y)

    def linearise(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """The Jacobian at (t, y) and, with `time`, the derivative by t."""
        return self.by_differences(t, y, units, time=time)

    def by_differences(self, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
        """The same from values of f alone: finite where f is, even if its derivative is not."""
        return differences(self._f, t, y, units, time=time)


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
) -> GivenJacobian | AutogradJacobian | DifferenceJacobian | PulledJacobian:
    """Choose how the Jacobian is made; f is known to work at (t0, y0)."""
    if jac == "differences":
        return DifferenceJacobian(f)
    if isinstance(jac, str) and jac != "autograd":
        raise InputError(f"jac: {jac!r} is unknown; give a function, 'autograd' or 'differences'")
    if transformed():
        return PulledJacobian(f) if jac is None or isinstance(jac, str) else GivenJacobian(f, jac)
    t, y = t0.detach().requires_grad_(), y0.detach().requires_grad_()
    clock = not look(f, t, y0, t).whole
    if jac is not None and not isinstance(jac, str):
        return GivenJacobian(f, jac, clock=clock)
    if look(f, t0, y, y) == (True, True):
        return AutogradJacobian(f, clock=clock)
    return DifferenceJacobian(f)  # it will tell, too, if f does not depend on y
