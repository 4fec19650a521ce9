"""Sensitivities where there is no kernel: of the steps that the loop has recorded, by autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from stiffguide import eager, kernels
from stiffguide.errors import InputError, Status, UnsupportedError
from stiffguide.fields import jacobian
from stiffguide.fields.array_function import ArrayFunction
from stiffguide.fields.recording import look
from stiffguide.fields.split import flat_field
from stiffguide.gradients import direct as gradient
from stiffguide.progress import Progress
from stiffguide.sensitivities import Leaf, Wanted, names
from stiffguide.solution import Result
from stiffguide.stepping.contracts import Slopes
from stiffguide.stepping.live import opened

ARRAYS = (
    "sensitivities: f is a function of numpy arrays, which only a kernel differentiates, and there "
    "is none ({why}); use functions of torch in f"
)
UNSEEN = (
    "sensitivities: autograd does not see how f depends on {name}: look for detach(), no_grad, "
    ".item() or float() in f (checks=False lets it pass)"
)
GRADIENTS = (
    "sensitivities: y0, times, args or what f is made of require grad, too; use one of the two: "
    "torch.no_grad() or detach, or gradients without sensitivities"
)
RUINED = (
    "the sensitivities are not finite, while the states are: they overflow, or f has no derivative "
    "on the way; solve without them, or to an earlier t1"
)


def refuse(r: kernels.Request) -> None:
    """Raise UnsupportedError where a solve that has sensitivities is to have gradients, too."""
    if gradient.wanted(r.problem, r.f, r.args, r.y0, r.t0, r.t1):
        raise UnsupportedError(GRADIENTS)


def solve(
    r: kernels.Request, watch: Progress, why: str, way: kernels.Way, *, checks: bool
) -> Result:
    """The solve by the loop, and derivatives of all states that it keeps; raises WantsArrays."""
    asked = r.sensitivities
    assert asked is not None
    t0 = opened(r.problem, r.t0.detach(), r.y0.detach())
    try:
        with torch.no_grad():
            flat_field(r.f, r.args, r.layout)(t0, r.y0.clone())
    except Exception as error:  # whatever a function of arrays raises on tensors
        eager.look_for_arrays(r, error)
        raise
    if isinstance(r.f, ArrayFunction):
        raise UnsupportedError(ARRAYS.format(why=why))
    if not r.layout.rows:
        result = eager.solve(
            r, flat_field(r.f, r.args, r.layout), watch, why, None, way, checks=checks
        )
        return result._replace(slopes=_none(result.y, r.args, asked))
    with torch.enable_grad():
        r, leaves = _with_leaves(r, asked)
        flat = flat_field(r.f, r.args, r.layout)
        if checks:
            for leaf, x in zip(asked.leaves, leaves, strict=False):
                if not look(flat, t0, r.y0.detach(), x).whole:
                    raise InputError(UNSEEN.format(name=leaf.name))
        result = eager.solve(r, flat, watch, why, None, way, checks=checks)
        slopes = _slopes(result.y, asked, leaves)
    return _honest(result._replace(y=result.y.detach(), t=result.t.detach(), slopes=slopes), r)


def _with_leaves(r: kernels.Request, asked: Wanted) -> tuple[kernels.Request, list[Tensor]]:
    """The request with tensors of its own for what is asked for, y0 last."""
    values, tree = tree_flatten(r.args)
    leaves = []
    for place in dict.fromkeys(leaf.place for leaf in asked.leaves):
        value: Any = values[place]
        if not isinstance(value, (float, Tensor)):
            name = next(leaf.name for leaf in asked.leaves if leaf.place == place)
            raise InputError(f"sensitivities: {name} is an array, and f takes tensors: give one")
        x = torch.as_tensor(value, dtype=None if isinstance(value, Tensor) else torch.float64)
        values[place] = x.detach().clone().requires_grad_()
    leaves = [values[leaf.place] for leaf in asked.leaves]
    y0 = r.y0.detach().clone().requires_grad_(asked.start)
    args = tree_unflatten(values, tree)
    f = jacobian.AutogradJacobian(flat_field(r.f, args, r.layout))
    made = r._replace(args=args, y0=y0, problem=r.problem._replace(f=f))
    return made, [*leaves, *([y0] if asked.start else [])]


def _slopes(y: Tensor, asked: Wanted, leaves: list[Tensor]) -> Slopes:
    """The derivatives of y (B, T, F), nan where that is."""
    rows = len(y)
    alone = [_by_row(leaf, x, y) for leaf, x in zip(asked.leaves, leaves, strict=False)]
    alone += [True] * asked.start
    flat = [
        _derivatives(y, x) if each or rows == 1 else _of_each(y, x)
        for x, each in zip(leaves, alone, strict=True)
    ]
    flat = [d.masked_fill(~torch.isfinite(y.detach()).unsqueeze(-1), torch.nan) for d in flat]
    shapes = {
        leaf.place: tuple(x.shape[1:] if each else x.shape)
        for leaf, x, each in zip(asked.leaves, leaves, alone, strict=False)
    }
    count = len(asked.leaves)
    by_p = torch.cat(flat[:count], -1) if count else None
    return Slopes(by_p, flat[-1] if asked.start else None, names(asked, shapes))


def _none(y: Tensor, args: tuple[Any, ...], asked: Wanted) -> Slopes:
    """Those of no rows."""
    values = tree_leaves(args)
    shapes = {
        leaf.place: getattr(values[leaf.place], "shape", ())[int(leaf.per_row) :]
        for leaf in asked.leaves
    }
    called, (_, t, f) = names(asked, shapes), y.shape
    by_p = y.new_zeros(0, t, f, len(called)) if asked.leaves else None
    return Slopes(by_p, y.new_zeros(0, t, f, f) if asked.start else None, called)


def _by_row(leaf: Leaf, x: Tensor, y: Tensor) -> bool:
    """Whether every row has its own entries of a leaf: the first one hangs on no others."""
    if not leaf.per_row:
        return False
    first = torch.where(torch.isfinite(y[0].detach()), y[0], 0.0).sum()
    if not first.requires_grad:
        return True
    (found,) = torch.autograd.grad(first, x, retain_graph=True, allow_unused=True)
    return found is None or not bool((found[1:] != 0).any())


def _derivatives(y: Tensor, x: Tensor) -> Tensor:
    """(B, T, F, n) by the entries that a row has of x, or by all of x for the only row."""
    b, t, f = y.shape
    found = [_one(y[:, k, i].sum(), x).reshape(b, -1) for k in range(t) for i in range(f)]
    return torch.stack(found, 1).reshape(b, t, f, -1)


def _of_each(y: Tensor, x: Tensor) -> Tensor:
    """The same by entries that all rows share."""
    found = [_one(value, x).reshape(-1) for value in y.reshape(-1)]
    return torch.stack(found).reshape(*y.shape, -1)


def _one(value: Tensor, x: Tensor) -> Tensor:
    found = None
    if value.requires_grad:
        (found,) = torch.autograd.grad(value, x, retain_graph=True, allow_unused=True)
    return torch.zeros_like(x) if found is None else found.detach()


def _honest(result: Result, r: kernels.Request) -> Result:
    """No success in rows whose derivatives are not finite where the states are."""
    x = result.slopes
    assert x is not None
    bad = torch.zeros(len(result.y), dtype=torch.bool, device=result.y.device)
    for d in (x.by_p, x.by_y0):
        if d is not None:
            wrong = ~torch.isfinite(d) & torch.isfinite(result.y).unsqueeze(-1)
            bad |= wrong.reshape(len(d), -1).any(-1)
    if not bool(bad.any()):
        return result
    counts, messages = result.counts.clone(), dict(result.messages)
    counts[0, bad] = int(Status.NON_FINITE)
    for row in torch.nonzero(bad).flatten().tolist():
        messages[row] = f"row {row}: {RUINED}" if r.layout.batched else RUINED
    return result._replace(counts=counts, messages=dict(sorted(messages.items())))
