"""Run a field on its real state, and beside every tensor keep the numbers of its entries.

The number 0 says that an entry depends on neither t nor y: its value stands in the tensor itself,
and goes into a table where it meets entries that do depend on them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from stiffguide.graphs.refusal import UntraceableError
from stiffguide.graphs.scalars import Scalar
from stiffguide.tracing import op_kinds, pointwise
from stiffguide.tracing.beside import CONSTANT, Beside, Given, Rule
from stiffguide.tracing.op_schema import arguments, tensors, written
from stiffguide.tracing.parts import QUIET
from stiffguide.tracing.stencils.entries import Entries, Numbers
from stiffguide.tracing.stencils.operands import Operands
from stiffguide.tracing.stencils.sums import SUMS

CHOICES = {"where": ("condition", "self", "other"), "masked_fill": ("mask", "value", "self")}
FORMULAS = {**pointwise.FORMULAS, **pointwise.TRUTHS}
READ = (
    "f reads a value that depends on t or y, by .item(), float() or an if on a number "
    "(torch.where chooses for every entry)"
)


class Watch(Beside):
    """Keeps the numbers of entries while it is entered."""

    def __init__(self, entries: Entries) -> None:
        super().__init__()
        self._operands = Operands(entries, self)
        self._made: set[int] = set()  # storages that f itself made, and may write to
        self.met: dict[int, Tensor] = {}  # by id, those that f reaches by itself
        self.refused: UntraceableError | None = None

    def read(self, tensor: Tensor) -> None:
        """The field reads the value of an entry that is no constant."""
        raise UntraceableError(READ)

    def flat(self, tensor: Tensor) -> Numbers:
        """The numbers of all entries, those of constants among them."""
        return self._operands.all_numbers(tensor, tensor.shape)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Carry out one operation, twice, and note what f was given and what it made."""
        kwargs = kwargs or {}
        try:
            old = self._met(func, args, kwargs) if hasattr(func, "_schema") else set()
            out = super().__torch_dispatch__(func, types, args, kwargs)
        except UntraceableError as error:
            self.refused = self.refused or error
            raise
        self._made.update({_storage(x) for x in tensors(out)} - old)
        return out

    def _met(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> set[int]:
        """The storages of the tensors that an operation is given, which are met by that."""
        name = func._schema.name.split("::")[1]
        if name in op_kinds.LITERALS:
            return set()
        if torch.Tag.nondeterministic_seeded in func.tags and name not in QUIET:
            raise UntraceableError(f"f draws random numbers ({func})")
        found = set()
        for x in tensors((args, kwargs)):
            found.add(_storage(x))
            if _storage(x) not in self._made and not self.touched(x):
                self.met[id(x)] = x
        for x in written(func, arguments(func, args, kwargs)):
            if _storage(x) not in self._made:
                raise UntraceableError(f"f changes something that it was given in place ({func})")
        return found

    def rule(self, func: Any, base: str, given: Given) -> Rule | None:
        """How the numbers come about of what an operation computes."""
        if base in ("index_put", "_index_put_impl") and given["accumulate"]:
            base = "index_put_add"
        if base in op_kinds.CASTS:
            return partial(self._cast, op_kinds.CASTS[base])
        if base in CHOICES and self.known(given[CHOICES[base][0]]):
            return partial(self._chosen, base)
        if base in FORMULAS:
            return partial(self._pointwise, func, base)
        if base in SUMS and func.namespace == "aten":
            return lambda a, results: [SUMS[base](self._operands, a, results[0].shape)]
        return None

    def _cast(self, source: str, given: Given, results: list[Tensor]) -> list[Tensor]:
        """What a change of dtype, and of shape, does to numbers."""
        x, out = given[source], results[0]
        if out.dtype == torch.bool and x.dtype != torch.bool:
            return [self._operands.apply(lambda v: v.differs(0.0), [x], out.shape)]
        if x.is_floating_point() and not out.is_floating_point():
            return [self._operands.apply(lambda v: v.apply("trunc"), [x], out.shape)]
        return [self.numbers(x).expand(out.shape)]

    def _chosen(self, base: str, given: Given, results: list[Tensor]) -> list[Tensor]:
        """What a condition chooses that depends on neither t nor y."""
        condition, yes, no = (given[name] for name in CHOICES[base])
        fixed = torch.tensor(CONSTANT)
        a, b = (self.numbers(x) if isinstance(x, Tensor) else fixed for x in (yes, no))
        return [torch.where(condition.cpu(), a, b)]

    def _pointwise(self, func: Any, base: str, given: Given, results: list[Tensor]) -> list[Tensor]:
        if base in pointwise.TRUTHS and any(x.dtype != torch.bool for x in tensors(given)):
            raise UntraceableError(f"f works on the bits of integers ({func})")
        formula, truth, out = FORMULAS[base], results[0].dtype == torch.bool, results[0]
        if out.is_complex():
            raise UntraceableError("f computes with complex numbers")
        values = [v for name, v in given.items() if name != "out"]

        def whole(*entry: Any) -> Scalar:
            try:
                value = formula(*entry)
            except TypeError as error:
                form = f"f uses {func} in a form that has no scalar rule"
                raise UntraceableError(form) from error
            return value.differs(0.0) if truth else value

        return [self._operands.apply(whole, values, out.shape)]


def _storage(x: Tensor) -> int:
    """What tells memories apart; sparse tensors have none of their own, nor are written to."""
    return x.untyped_storage()._cdata if x.layout == torch.strided else id(x)
