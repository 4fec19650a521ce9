"""The calls of torch by which a field says more than the operations that they consist of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes, _get_current_dispatch_mode_stack
from torch.utils._pytree import tree_map_only

from stiffguide.graphs.refusal import UntraceableError
from stiffguide.tracing.interpreter import Interpreter
from stiffguide.tracing.op_schema import tensors
from stiffguide.tracing.sources import Sources

TRUTHS: frozenset[Any] = frozenset({Tensor.__bool__, Tensor.is_nonzero, torch.is_nonzero})
LEAVING: frozenset[Any] = frozenset(
    {Tensor.numpy, Tensor.tolist, Tensor.__array__, Tensor.__dlpack__}
)
LEFT = (
    "f takes the values of a tensor out of torch, by .numpy(), .tolist() or a function of numpy, "
    "where they cannot be followed"
)


class Calls(TorchFunctionMode):
    """Shows f the first row only of the captured tensors that have an axis of `rows`.

    It reads x[i] with a tensor i of no axes as x[i[None]][0], where torch would ask for the value,
    and the truth of a number as that of `x != 0`.
    """

    def __init__(self, rows: int | None, sources: Sources, watch: Interpreter) -> None:
        super().__init__()
        self._rows = rows
        self._sources = sources
        self._watch = watch
        self._shown: dict[int, tuple[Tensor, Tensor]] = {}  # by id; keeps the tensors alive
        self._made: dict[int, Tensor] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Exchange the arguments, and remember the results as f's own."""
        if self._watch not in _get_current_dispatch_mode_stack():  # it works on its own numbers
            return func(*args, **(kwargs or {}))
        if func in TRUTHS and args[0].dtype != torch.bool:
            with self:
                return bool(args[0] != 0)
        if func in LEAVING and not self._fixed(args[0]):
            raise UntraceableError(LEFT)
        if func is Tensor.__getitem__ and (found := _widened(args[1])) is not None:
            index, axis = found
            with self:
                return args[0][index].squeeze(axis)
        if self._rows is None:
            return func(*args, **(kwargs or {}))
        args, kwargs = tree_map_only(Tensor, self._show, (args, kwargs or {}))
        out = func(*args, **kwargs)
        self._made.update((id(x), x) for x in tensors(out))
        return out

    def _fixed(self, tensor: Tensor) -> bool:
        """Whether the values of a tensor are part of the graph, so that a change of them shows."""
        with _disable_current_modes():
            numbers = self._watch.numbers(tensor).flatten().tolist()
        return all(n >= 0 and self._sources.graph.nodes[n].op == "const" for n in numbers)

    def _show(self, tensor: Tensor) -> Tensor:
        if id(tensor) in self._made or self._watch.knows(tensor):
            return tensor
        if tensor.ndim == 0 or tensor.shape[0] != self._rows:
            return tensor
        if id(tensor) not in self._shown:
            with _disable_current_modes():
                row = tensor.detach()[:1]
            self._watch.give(row, self._sources.capture(tensor, row), foreign=True)
            self._shown[id(tensor)] = (tensor, row)
        return self._shown[id(tensor)][1]


def _widened(subscript: Any) -> tuple[tuple[Any, ...], int] | None:
    """A subscript with integer tensors of no axes as one with an axis each, and where that comes.

    None where there are no such tensors, or where the axis would come elsewhere.
    """
    entries = subscript if isinstance(subscript, tuple) else (subscript,)
    places = [k for k, entry in enumerate(entries) if _is_place(entry)]
    if not places or not all(_is_place(e) or isinstance(e, (int, slice)) for e in entries):
        return None
    if any(isinstance(e, slice) for e in entries[places[0] : places[-1]]):
        return None
    with_axes = tuple(e.reshape(1) if k in places else e for k, e in enumerate(entries))
    return with_axes, sum(isinstance(e, slice) for e in entries[: places[0]])


def _is_place(entry: Any) -> bool:
    integer = isinstance(entry, Tensor) and not entry.is_floating_point()
    return integer and entry.ndim == 0 and entry.dtype != torch.bool
