"""Run a function on tensors, and keep a number beside every entry of every tensor.

What only moves entries about is done to the numbers by torch itself. The numbers belong to the
memory, not to the tensor: a view has those of its base, and a write into a view shows in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from stiffguide.graphs.refusal import UntraceableError
from stiffguide.tracing import op_kinds
from stiffguide.tracing.movement import FILLS, INDICES, MOVES, VIEWS, move
from stiffguide.tracing.op_schema import arguments, functional, replaced, tensors, written
from stiffguide.tracing.parts import PARTS

CONSTANT = 0  # the number of an entry that depends on nothing given; its value is in the tensor
HELD = 1 << 20  # numbers that may lie beside tensors that are gone before anyone looks for them
SAME = frozenset({"copy", "_to_copy"})  # movements, unless they change the dtype
COMPARES = frozenset({"equal"})
PARTED = frozenset({"view_as_real"})  # views that movements do not know of
Given = dict[str, Any]
Rule = Callable[[Given, list[Tensor]], list[Tensor]]


class Call(NamedTuple):
    """An operation with its arguments."""

    func: Any
    base: str  # its name, without that of its being in place
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    given: Given  # all arguments by name
    targets: list[Tensor]  # what it changes in place,
    made: set[str]  # or has been given to write its results to


class Memory:
    """The numbers of one storage."""

    def __init__(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        # while it is held, no other storage has the key
        self.storage: StorageWeakRef = StorageWeakRef(storage)
        self.width: int = tensor.element_size()
        self.numbers: Tensor = torch.zeros(0, dtype=torch.int64, device="cpu")
        self.grow(storage.nbytes())

    def grow(self, nbytes: int) -> None:
        """Make room for all entries that the storage has by now."""
        more = nbytes // self.width - len(self.numbers)
        if more > 0:
            self.numbers = torch.cat(
                (self.numbers, torch.zeros(more, dtype=torch.int64, device="cpu"))
            )

    def read(self, tensor: Tensor) -> Tensor:
        """The numbers of a tensor that lies here: a view, but where it sees halves of entries."""
        numbers, width = self.numbers, tensor.element_size()
        if width != self.width:
            if self.width != 2 * width:  # else the parts of complex numbers
                raise UntraceableError("f looks at a tensor as another dtype")
            numbers = numbers.repeat_interleave(2)
        return numbers.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


class Beside(TorchDispatchMode):
    """Keeps numbers beside tensors while it is entered; what they mean is for others to say.

    Tensors that were never given numbers are constants. On CPU only.
    """

    supports_higher_order_operators = True  # so that they come here, to be refused

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._memories: dict[int, Memory] = {}
        self._held, self._room = 0, HELD

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch would import its compiler, a second or more, to keep it away from this class
        return False

    def rule(self, func: Any, base: str, given: Given) -> Rule | None:
        """How the numbers come about of what an operation computes, one tensor for each result.

        A rule is called with the arguments by the names of the schema, and the results; where the
        operation writes to one of its arguments, with that argument, before it does.
        """
        raise NotImplementedError

    def read(self, tensor: Tensor) -> None:
        """The field reads the value of an entry that is no constant."""
        raise NotImplementedError

    def constant(self, made: list[Tensor]) -> None:
        """An operation on constants has given these tensors."""

    def known(self, tensor: Tensor) -> bool:
        """Whether all entries are constants."""
        return not self.touched(tensor) or not bool(self.numbers(tensor).any())

    def touched(self, tensor: Tensor) -> bool:
        """Whether a tensor lies in memory that has numbers."""
        return self._memory(tensor) is not None

    def numbers(self, tensor: Tensor) -> Tensor:
        """The numbers of a tensor, in its shape; not to be written to."""
        memory = self._memory(tensor)
        if memory is None:
            return torch.zeros((), dtype=torch.int64, device="cpu").expand(tensor.shape)
        return memory.read(tensor)

    def living(self) -> Iterator[Tensor]:
        """The numbers of all memory that is still in use."""
        self._forget()
        return (memory.numbers for memory in self._memories.values())

    def give(self, tensor: Tensor, numbers: Tensor) -> None:
        """Say what the entries of a tensor are; `numbers` are copied."""
        if tensor.layout != torch.strided:
            raise UntraceableError("f makes a sparse tensor of y")
        self._writable(tensor).copy_(numbers)

    def _memory(self, tensor: Tensor) -> Memory | None:
        if not self._memories or tensor.layout != torch.strided:
            return None
        storage = tensor.untyped_storage()
        memory = self._memories.get(storage._cdata)
        if memory is not None and len(memory.numbers) * memory.width < storage.nbytes():
            memory.grow(storage.nbytes())
        return memory

    def _writable(self, tensor: Tensor) -> Tensor:
        memory = self._memory(tensor)
        if memory is None:
            memory = self._memories[tensor.untyped_storage()._cdata] = Memory(tensor)
            self._held += len(memory.numbers)
            if self._held > self._room:
                self._forget()
        if memory.width != tensor.element_size():
            raise UntraceableError("f writes to a tensor that it looks at as another dtype")
        return memory.read(tensor)

    def _forget(self) -> None:
        """Drop the numbers of memory that torch has freed."""
        self._memories = {k: m for k, m in self._memories.items() if not m.storage.expired()}
        self._held = sum(len(m.numbers) for m in self._memories.values())
        self._room = 2 * self._held + HELD

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Carry out one operation, twice."""
        if not isinstance(func, torch._ops.OpOverload):
            raise UntraceableError(f"f uses torch's operator {func}, which takes functions")
        with torch._C.DisableTorchFunction():
            return self._carried_out(func, args, kwargs or {})

    def _carried_out(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = func._schema.name.split("::")[1]
        given = arguments(func, args, kwargs)
        targets = written(func, given)
        made = {a.name for a in func._schema.arguments if a.is_out} if targets else set()
        call = Call(func, functional(name) if targets else name, args, kwargs, given, targets, made)
        inputs = tensors([value for key, value in given.items() if key not in made])
        unknown = [x for x in inputs if not self.known(x)]
        if not unknown or self._overwritten(call):
            for x in targets:
                if self.touched(x):
                    self._writable(x).zero_()
            out = func(*args, **kwargs)
            self.constant(tensors(out))
            return out
        if name in op_kinds.READS or call.base in COMPARES:
            for x in unknown:
                self.read(x)
            return func(*args, **kwargs)
        about = name in op_kinds.ABOUT or call.base in op_kinds.CREATIONS
        if about or torch.Tag.inplace_view in func.tags:
            return func(*args, **kwargs)
        if self._moves(call.base, given) and not made:
            return self._moved(call)
        rule = self.rule(func, call.base, given)
        return self._computed(call, rule) if rule else self._decomposed(call)

    def _overwritten(self, call: Call) -> bool:
        """Whether all that was there is replaced by a constant."""
        filled = call.base == "fill" and all(self.known(x) for x in tensors(call.args[1:]))
        return bool(call.targets) and (call.base == "zero" or filled)

    def _moves(self, base: str, given: Given) -> bool:
        if given.get("accumulate") or given.get("reduce") is not None:
            return False  # entries are added
        if base in SAME:
            source = given["src" if base == "copy" else "self"]
            wanted = given["self"].dtype if base == "copy" else given["dtype"]
            return wanted in (None, source.dtype)
        looked_up = [given[name] for name in INDICES if name in given]
        return base in MOVES | PARTED and all(self.known(x) for x in tensors(looked_up))

    def _moved(self, call: Call) -> Any:
        def number(name: str, value: Any) -> Any:
            if name in INDICES:
                return value
            if name in FILLS and isinstance(value, (bool, int, float)):
                return CONSTANT
            return tree_map_only(Tensor, self.numbers, value)

        func, base, args, kwargs, _, targets, _ = call
        if base in VIEWS and isinstance(args[1], torch.dtype):
            raise UntraceableError(f"f looks at a tensor as {args[1]}")
        for x in targets:
            self._writable(x)  # where only constants lie there is nothing to write to yet
        out = func(*args, **kwargs)
        if not targets and all(self.touched(x) for x in tensors(out)):
            return out  # views
        if base == "_to_copy":
            self.give(out, self.numbers(args[0]))
            return out
        moved = move(func, base, *replaced(func, args, kwargs, number))
        if not targets:
            for tensor, numbers in zip(tensors(out), tensors(moved), strict=True):
                self.give(tensor, numbers)
        return out

    def _computed(self, call: Call, rule: Rule) -> Any:
        func, _, args, kwargs, _, targets, made = call
        given = {name: value for name, value in call.given.items() if name not in made}
        if targets and not made:  # the rule sees values as they were
            found = rule(given, targets)
            out = func(*args, **kwargs)
            for tensor, numbers in zip(targets, found, strict=True):
                self.give(tensor, numbers)
            return out
        out = func(*args, **kwargs)
        results = tensors(out)
        for tensor, numbers in zip(results, rule(given, results), strict=True):
            if made or not self.touched(tensor):  # else it is a view
                self.give(tensor, numbers)
        return out

    def _decomposed(self, call: Call) -> Any:
        from torch._decomp import decomposition_table  # late: most fields never need it

        func, base, args, kwargs, _, targets, made = call
        parts = PARTS.get(base) or decomposition_table.get(func)
        with self:
            out = parts(*args, **kwargs) if parts else func.decompose(*args, **kwargs)
            if out is NotImplemented and targets and hasattr(torch.ops.aten, base):
                given = {name: value for name, value in kwargs.items() if name not in made}
                value = getattr(torch.ops.aten, base)(*args, **given)
                return targets[0].copy_(value)
        if out is NotImplemented:
            raise UntraceableError(f"f uses {func}, for which there is no rule")
        return out
