"""Whether autograd sees all of a field, asked once before a solve.

Three things hide a part of f from it: numbers (`.item()`, numpy), tensors without a history
(`.detach()`, `torch.tensor([y[0], ...])`, `torch.no_grad`), and operations without a derivative
(`//`, a function of one's own without `backward`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

from stiffguide import forward_mode

Flat = Callable[[Tensor, Tensor], Tensor]  # f(t (B,), y (B, F)) -> (B, F)

# What forgets where its argument came from.
FORGETFUL: set[Any] = {
    *(Tensor.item, Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__),
    *(Tensor.__float__, Tensor.__int__, Tensor.__complex__),
    *(Tensor.detach, Tensor.detach_, Tensor.new_tensor, Tensor.__deepcopy__),
    Tensor.data.__get__,  # type: ignore[attr-defined]  # a property
    *(torch.tensor, torch.as_tensor, torch.asarray),
}
KEEPING: set[Any] = {torch.as_tensor, torch.asarray}  # of those, what hands a tensor on as it is
# What torch raises where it cannot record, or cannot differentiate what it recorded.
UNRECORDABLE = (RuntimeError, BufferError)


class Sight(NamedTuple):
    """What autograd sees of f as a function of t or of y."""

    whole: bool  # nothing is hidden from it
    depends: bool  # f depends on the argument, as far as it sees


def look(f: Flat, t: Tensor, y: Tensor, argument: Tensor) -> Sight:
    """What autograd sees of f(t, y) by `argument`: t or y, a leaf that requires grad.

    f is known to work at (t, y): what fails here is the recording.
    """
    try:
        with torch.enable_grad(), _Forgotten(argument) as forgotten:
            value = f(t, y)
        if forgotten.seen or not value.requires_grad:
            return Sight(whole=not forgotten.seen, depends=forgotten.seen)
        # some operations own up on the way back only
        ones = torch.ones_like(value)
        (slope,) = torch.autograd.grad(value, argument, ones, allow_unused=True)
    except UNRECORDABLE:
        return Sight(whole=False, depends=True)
    return Sight(whole=True, depends=slope is not None)


def time_derivative(f: Flat, t: Tensor, y: Tensor) -> Tensor | None:
    """df/dt (B, F) in forward mode; None where an operation has no forward rule."""
    try:
        forward_mode.load()
        with forward_ad.dual_level():
            value = f(forward_ad.make_dual(t, torch.ones_like(t)), y)
            tangent = forward_ad.unpack_dual(value).tangent
    except UNRECORDABLE:
        return None
    return torch.zeros_like(value) if tangent is None else tangent


class _Forgotten(TorchFunctionMode):
    """Notices where what was computed from a tensor loses its history."""

    def __init__(self, root: Tensor) -> None:
        super().__init__()
        self.seen = False
        self._root = root

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in FORGETFUL and not (func in KEEPING and isinstance(args[0], Tensor)):
            if any(map(self._descends, tree_leaves((args, kwargs)))):
                self.seen = True
            # torch would refuse some of these, or warn, though nobody asks for a gradient
            args, kwargs = tree_map_only(Tensor, Tensor.detach, (args, kwargs))
            return func(*args, **kwargs)
        found = func(*args, **kwargs)
        if not torch.is_grad_enabled() and _differentiable(found):
            self.seen |= any(map(self._descends, tree_leaves((args, kwargs))))
        return found

    def _descends(self, value: Any) -> bool:
        """Whether a value was computed from the root."""
        if not isinstance(value, Tensor) or not value.requires_grad:
            return False
        left, known = [value.grad_fn], set()
        while left:
            node = left.pop()
            if node is None or node in known:
                continue
            if getattr(node, "variable", None) is self._root:
                return True
            known.add(node)
            left += [before for before, _ in node.next_functions]
        return value is self._root


def _differentiable(value: Any) -> bool:
    """Whether a result has a derivative to lose."""
    tensors = (x for x in tree_leaves(value) if isinstance(x, Tensor))
    return any(x.is_floating_point() or x.is_complex() for x in tensors)
