"""What torch.func and forward mode may be told to go through, and what they may not.

Inside them no tensor may be told to require a gradient, and some have a tangent, or are a batch
that nobody sees. So a solve finds its Jacobian by pullbacks (`fields.pulled`), and Newton's roots
are attached by plain operations; whether there is something to differentiate is not asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._pytree import tree_leaves

from stiffguide.errors import UnsupportedError

WHY = "torch.func, or forward mode, goes through the steps in torch"
BATCHED = (
    "torch.func.vmap: a solve decides by numbers how long its steps are, and these differ from row "
    "to row: give the rows as a batch, with batched=True, instead of vmap"
)
UNSEEN = "torch.func and forward mode do not go through {name}; use {instead}"
RECORDED = "torch.autograd (requires_grad_ and backward)"
FAMILIES = ("explicit RK", "Rosenbrock", "ESDIRK", "SDIRK", "Adams")


def enter(backend: str, times: Sequence[Any], values: Sequence[Any]) -> None:
    """Raise UnsupportedError where something was given that cannot be gone through."""
    if backend == "kernel":
        raise UnsupportedError(UNSEEN.format(name="kernels", instead="backend='eager'"))
    if torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.PROXY) is not None:
        raise UnsupportedError(UNSEEN.format(name="torch.func.linearize", instead="torch.func.jvp"))
    refuse_batches(*times, *values)
    times = [getattr(x, "times", x) for x in times]
    if any(isinstance(x, Tensor) and _moves(x) for x in tree_leaves(times)):
        raise UnsupportedError(UNSEEN.format(name="t0, t1 and save_at", instead=RECORDED))


def refuse_batches(*values: Any) -> None:
    """Raise UnsupportedError where a value is a batch of vmap."""
    if any(isinstance(x, Tensor) and _batched(x) for x in tree_leaves(values)):
        raise UnsupportedError(BATCHED)


def check(r: Any, f0: Tensor) -> None:
    """Raise UnsupportedError for a solve (see `kernels.Request`) that would not be gone through."""
    refuse_batches(f0)
    p, spoken = r.problem, r.gradient not in ("auto", "direct")
    pairs = [
        (f"gradient={r.gradient!r}", "gradient='direct'", spoken),
        ("events and jumps", RECORDED, p.events is not None or p.jump_at is not None),
        ("a mass", RECORDED, r.mass is not None),
        ("guidance", RECORDED, p.guidance is not None),
        ("nonnegative", RECORDED, p.nonnegative is not None),
        ("linear_solver and jac_sparsity", RECORDED, _sparse(r)),
        (p.method.name, "'rodas5p' or 'kvaerno5'", p.method.family not in FAMILIES),
    ]
    for name, instead, there in pairs:
        if there:
            raise UnsupportedError(UNSEEN.format(name=name, instead=instead))


def _sparse(r: Any) -> bool:
    given = hasattr(r.jac, "toarray") or isinstance(r.jac, list)
    return r.linear_solver not in (None, "dense") or r.jac_sparsity is not None or given


def _batched(x: Tensor) -> bool:
    """Whether vmap hides rows in a tensor."""
    inside = torch._C._functorch
    while inside.is_functorch_wrapped_tensor(x):
        if inside.is_batchedtensor(x):
            return True
        x = inside.get_unwrapped(x)
    return False


def _moves(x: Tensor) -> bool:
    """Whether a derivative by a tensor may be asked for, here or farther out."""
    inside = torch._C._functorch
    here = inside.maybe_current_level()
    if inside.is_functorch_wrapped_tensor(x) and inside.maybe_get_level(x) != here:
        return True  # from farther out, where nobody would see a tangent
    while not (x.requires_grad or forward_ad.unpack_dual(x).tangent is not None):
        if not inside.is_functorch_wrapped_tensor(x):
            return False
        x = inside.get_unwrapped(x)
    return True
