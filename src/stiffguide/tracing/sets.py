"""Which components of the state every entry depends on, kept beside tensors while f runs."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes

from stiffguide.graphs.refusal import UntraceableError
from stiffguide.tracing import pointwise
from stiffguide.tracing.beside import Beside, Given, Rule
from stiffguide.tracing.index_sets import MOVING, CrowdedError, IndexSets
from stiffguide.tracing.set_indices import INDEXED, LOOKUPS, looked_up
from stiffguide.tracing.set_products import PRODUCTS
from stiffguide.tracing.set_rules import POINTWISE, RULES, flat
from stiffguide.tracing.set_rules import pointwise as entries
from stiffguide.tracing.set_windows import WINDOWS

MOST = 20_000  # operations that compute, 10 s or so
TABLE = {**RULES, **INDEXED, **PRODUCTS, **WINDOWS}
ENTRIES = POINTWISE | pointwise.FORMULAS.keys() | pointwise.TRUTHS.keys()
LEAVING: frozenset[Any] = frozenset(
    {
        Tensor.numpy, Tensor.tolist, Tensor.__array__, Tensor.data_ptr, Tensor.__dlpack__,
        Tensor.untyped_storage,
    }
)  # fmt: skip


class Sets(Beside):
    """Numbers of index sets beside tensors."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.sets: IndexSets = IndexSets(columns)
        self._operations = 0
        self.reads: list[Tensor] = []  # numbers of what f has read the value of

    @property
    def trusted(self) -> bool:
        """Whether Python's numbers in f cannot have come from t or y."""
        return not self.reads

    def read(self, tensor: Tensor) -> None:
        """What is computed from constants may from now on depend on what was read."""
        self.reads.append(self.numbers(tensor).clone())

    def constant(self, made: list[Tensor]) -> None:
        """Constants that are made after a value was read may come from it."""
        for x in made if self.reads else ():
            if x.layout == torch.strided and not _discrete(x):
                self.give(x, torch.full((), MOVING))

    def rule(self, func: Any, base: str, given: Given) -> Rule | None:
        """From the tables, or by the kind of the operation."""
        self._operations += 1
        if self._operations > MOST:
            raise CrowdedError(f"f takes over {MOST} operations")
        if self.sets.full:
            self.sets.keep(self.living())
        if base in LOOKUPS:
            return partial(looked_up, func, self)
        entrywise = base not in TABLE and (torch.Tag.pointwise in func.tags or base in ENTRIES)
        found = entries if entrywise else TABLE.get(base)
        if found is None:
            return None

        def rule(a: Given, outs: list[Tensor]) -> list[Tensor]:
            if entrywise and _discrete(outs[0]):
                return flat(self, a, outs)
            numbers = found(self, a, outs)
            pairs = zip(numbers, outs, strict=True)
            return [x.clamp(max=MOVING) if _discrete(o) else x for x, o in pairs]

        return rule


def _discrete(x: Tensor) -> bool:
    """Integers and truth values, which have no derivatives."""
    return not (x.is_floating_point() or x.is_complex())


class Leaves(TorchFunctionMode):
    """Refuses what takes values out of torch, where they cannot be followed."""

    def __init__(self, watch: Sets) -> None:
        super().__init__()
        self._watch = watch

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Carry out any other call."""
        if func in LEAVING:
            with _disable_current_modes():
                known = self._watch.known(args[0])
            if not known:
                raise UntraceableError("f takes values out of torch, such as by .numpy()")
        return func(*args, **(kwargs or {}))
