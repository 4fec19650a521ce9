"""Run a field on real tensors, and beside every tensor keep the graph nodes of its entries.

Torch calls `Interpreter.__torch_dispatch__` for every operation of ATen, below autograd and vmap.
The operation is carried out, and the same is done to the numbers of the nodes. Composite
operations arrive as their parts; others without a rule are taken apart by torch's own table.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from stiffguide.kernels import pointwise
from stiffguide.kernels.graph import Graph
from stiffguide.kernels.movement import FILLS, INDICES, MOVES, move
from stiffguide.kernels.refusal import UntraceableError
from stiffguide.kernels.rules import RULES
from stiffguide.kernels.scalars import Scalar
from stiffguide.kernels.sources import Sources, constants

LARGEST_GRAPH = 200_000  # nodes
UNKNOWN = -1  # the number of an entry that has no scalar form
LITERALS = frozenset({"lift", "lift_fresh", "lift_fresh_copy"})  # of a new torch.tensor(...)
READS = frozenset({"_local_scalar_dense", "item", "is_nonzero", "equal", "allclose"})
CREATIONS = frozenset(
    """
    zeros ones full arange linspace logspace eye empty empty_strided scalar_tensor zeros_like
    ones_like full_like empty_like new_zeros new_ones new_full new_empty new_empty_strided
    tril_indices triu_indices _linalg_check_errors
    """.split()
)
CASTS = frozenset({"copy", "_to_copy"})
ACCUMULATING = frozenset({"index_put", "_index_put_impl"})


class Interpreter(TorchDispatchMode):
    """Keeps node numbers beside tensors while it is entered."""

    def __init__(self, graph: Graph, sources: Sources, dtype: torch.dtype) -> None:
        super().__init__()
        self._graph = graph
        self._sources = sources
        self._eps = torch.finfo(dtype).eps
        self._numbers: dict[int, tuple[Tensor, Tensor]] = {}  # by id; keeps the tensors alive
        self._foreign: set[int] = set()  # storages that f must not write to
        self.rounded = ""  # an operation in less precision than the state

    def give(self, tensor: Tensor, numbers: Tensor, *, foreign: bool = False) -> None:
        """Say what a tensor is; f may not change a foreign one in place."""
        self._numbers[id(tensor)] = (tensor, numbers)
        if foreign:
            self._foreign.add(numbers.untyped_storage().data_ptr())

    def numbers(self, tensor: Tensor) -> Tensor:
        """The node numbers of a tensor; one that was never seen before is a captured one."""
        if id(tensor) not in self._numbers:
            self.give(tensor, self._sources.capture(tensor), foreign=True)
        return self._numbers[id(tensor)][1]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Carry out one operation, twice."""
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise UntraceableError(f"f draws random numbers ({func})")
        if name in LITERALS:
            return self._created(func(*args, **kwargs))
        known = all(self._known(self.numbers(x)) for x in _tensors((args, kwargs)))
        arguments = _arguments(func, args, kwargs)
        written = _written(func, arguments)
        self._refuse(func, name, known, written)
        base = _functional(name) if written else name
        if base in ACCUMULATING and arguments["accumulate"]:
            base = "index_put_add"
        if base in MOVES:
            return self._moved(func, base, args, kwargs)
        if base in CREATIONS or (known and not written):
            return self._created(func(*args, **kwargs))
        if base in CASTS or base in RULES or base in pointwise.FORMULAS or base in pointwise.TRUTHS:
            out = func(*args, **kwargs)
            self._keep(func, out, self._symbolic(func, base, arguments, out), written)
            return out
        return self._decomposed(func, base, args, kwargs, written)

    def _known(self, numbers: Tensor) -> bool:
        nodes = self._graph.nodes
        return all(n >= 0 and nodes[n].op == "const" for n in numbers.flatten().tolist())

    def _refuse(self, func: Any, name: str, known: bool, written: list[Tensor]) -> None:
        if name in READS and not known:
            raise UntraceableError(
                "f reads the value of a tensor, by float(), .item(), or an if or while on it "
                "(torch.where can choose instead)"
            )
        if any(self.numbers(x).untyped_storage().data_ptr() in self._foreign for x in written):
            raise UntraceableError(
                f"f changes y, t, an argument or a captured tensor in place ({func})"
            )
        if len(self._graph.nodes) > LARGEST_GRAPH:
            raise UntraceableError(f"f takes more than {LARGEST_GRAPH} scalar operations")

    def _created(self, out: Any) -> Any:
        for tensor in _tensors(out):
            self._check_dtype(tensor, "a constant")
            if tensor.is_floating_point():
                # memory that was not set holds anything; here it holds nan until it is
                pass
            self.give(tensor, constants(self._graph, tensor))
        return out
