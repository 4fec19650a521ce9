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
from torch.utils._pytree import tree_map, tree_map_only

from stiffguide.graphs.graph import Graph
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.graphs.scalars import Scalar, array
from stiffguide.tracing import op_kinds, pointwise
from stiffguide.tracing.casts import cast
from stiffguide.tracing.course import Course
from stiffguide.tracing.lookup import LOOKUPS, axis_of, indices_of, look_up, merged
from stiffguide.tracing.movement import FILLS, INDICES, MOVES, VIEWS, move
from stiffguide.tracing.op_rules import RULES
from stiffguide.tracing.op_schema import arguments, functional, replaced, tensors, written
from stiffguide.tracing.parts import QUIET, taken_apart
from stiffguide.tracing.sources import Sources, constants

LARGEST_GRAPH = 80_000  # nodes; a compiler takes half a minute for so many
TABLES = (op_kinds.CASTS, RULES, pointwise.FORMULAS, pointwise.TRUTHS)
UNKNOWN = -1  # the number of an entry that has no scalar form


class Interpreter(TorchDispatchMode):
    """Keeps node numbers beside tensors while it is entered."""

    operations: int

    supports_higher_order_operators = True  # so that they come here, to be refused

    def __init__(self, graph: Graph, sources: Sources, dtype: torch.dtype, course: Course) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._graph = graph
        self._sources = sources
        self._course = course
        self._eps = torch.finfo(dtype).eps
        self._numbers: dict[int, tuple[Tensor, Tensor]] = {}  # by id; keeps the tensors alive
        self._foreign: set[int] = set()  # storages that f must not write to
        self.rounded: str = ""  # an operation in less precision than the state's
        self.compiled: bool = False  # f called torch's compiler
        self.operations = 0  # that torch dispatched
        self.refused: UntraceableError | None = None
        self._whole: Any = None  # the operation that is being taken apart

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch would import its compiler, a second or more, to keep it away from this class
        return False

    def give(self, tensor: Tensor, numbers: Tensor, *, foreign: bool = False) -> None:
        """Say what a tensor is; f may not change a foreign one in place."""
        self._numbers[id(tensor)] = (tensor, numbers)
        if foreign:
            self._foreign.add(numbers.untyped_storage().data_ptr())

    def knows(self, tensor: Tensor) -> bool:
        """Whether a tensor has numbers already."""
        return id(tensor) in self._numbers

    def numbers(self, tensor: Tensor) -> Tensor:
        """The node numbers of a tensor; one that was never seen before is a captured one."""
        if id(tensor) not in self._numbers:
            self.give(tensor, self._sources.capture(tensor), foreign=True)
        return self._numbers[id(tensor)][1]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Carry out one operation, twice."""
        self.operations += 1
        try:
            return self._carried_out(func, args, kwargs or {})
        except UntraceableError as error:
            self.refused = self.refused or error
            raise

    def _carried_out(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not isinstance(func, torch._ops.OpOverload):
            return self._higher(func, args)
        name = func._schema.name.split("::")[1]
        if torch.Tag.nondeterministic_seeded in func.tags and name not in QUIET:
            raise UntraceableError(f"f draws random numbers ({func})")
        if name in op_kinds.LITERALS:
            return self._created(func(*args, **kwargs))
        known = self._all_known(tensors((args, kwargs)))
        given = arguments(func, args, kwargs)
        targets = written(func, given)
        if name in op_kinds.READS and not known:
            return self._read(*tensors(args))
        if name in op_kinds.VERDICTS and not self._course.real:
            return None
        self._refuse(func, targets)
        base = functional(name) if targets else name
        if base in ("index_put", "_index_put_impl") and given["accumulate"]:
            base = "index_put_add"
        if base in LOOKUPS and not self._all_known(indices_of(given)):
            return self._looked_up(func, base, given)
        if base in MOVES and given.get("reduce") is None:  # a sum is no movement
            return self._moved(func, base, args, kwargs)
        if name in op_kinds.ABOUT or base in op_kinds.CREATIONS or (known and not targets):
            return self._created(func(*args, **kwargs), unset="empty" in name)
        if any(base in table for table in TABLES):
            out = func(*args, **kwargs)
            given.pop("out", None)
            self._keep(func, out, self._symbolic(func, base, given, tensors(out)[0]), targets)
            return out
        return self._decomposed(func, base, args, kwargs, targets)

    def varying(self) -> frozenset[int]:
        """The ids of tensors that hold values of t or y, or computed from them."""
        moving: list[bool] = []
        for node in self._graph.nodes:
            moving.append(node.op in ("t", "y") or any(moving[a] for a in node.args))
        return frozenset(
            key
            for key, (_, numbers) in self._numbers.items()
            if any(n < 0 or moving[n] for n in numbers.flatten().tolist())
        )

    def _all_known(self, inputs: list[Tensor]) -> bool:
        nodes = self._graph.nodes
        numbers = [n for x in inputs for n in self.numbers(x).flatten().tolist()]
        return all(n >= 0 and nodes[n].op == "const" for n in numbers)

    def _higher(self, func: Any, args: tuple[Any, ...]) -> Any:
        """An operator that takes functions: of a conditional, both ways are followed."""
        self.compiled = True
        if func.name() != "cond":
            raise UntraceableError(f"f uses torch's operator {func}, which takes functions")
        condition, if_true, if_false, operands = args
        with self:
            ways = if_true(*operands), if_false(*operands)
            return tree_map(lambda a, b: torch.where(condition, a, b), *ways)

    def _read(self, tensor: Tensor) -> bool:
        """The truth of a condition; no other number can be read."""
        if tensor.dtype != torch.bool:
            raise UntraceableError(
                "f reads the value of a tensor, by float(), .item() or a function of math "
                "(those of torch keep it a tensor)"
            )
        self._check_places([tensor])
        return self._course.decide(int(self.numbers(tensor)), bool(tensor))

    def _refuse(self, func: Any, targets: list[Tensor]) -> None:
        if any(self.numbers(x).untyped_storage().data_ptr() in self._foreign for x in targets):
            raise UntraceableError(f"f changes something it was given in place ({func})")
        if len(targets) > 1:
            raise UntraceableError(f"f uses {func}, which changes several tensors in place")
        if len(self._graph.nodes) > LARGEST_GRAPH:
            raise UntraceableError(f"f takes over {LARGEST_GRAPH} scalar operations, too many")

    def _created(self, out: Any, *, unset: bool = False) -> Any:
        for tensor in tensors(out):
            _refuse_complex(tensor, "a constant")
            if unset:  # whatever memory held must not become a constant
                tensor.fill_(float("nan") if tensor.is_floating_point() else 0)
            self.give(tensor, constants(self._graph, tensor))
        return out

    def _keep(
        self, func: Any, out: Any, results: list[Tensor | None], targets: list[Tensor]
    ) -> None:
        if targets:
            assert results[0] is not None
            self.numbers(targets[0]).copy_(results[0])
            return
        for tensor, result in zip(tensors(out), results, strict=True):
            _refuse_complex(tensor, func)
            if tensor.is_floating_point() and torch.finfo(tensor.dtype).eps > self._eps:
                self.rounded = self.rounded or f"{func} in {tensor.dtype}"
            if result is None:
                result = torch.full(tensor.shape, UNKNOWN, device="cpu")
            self.give(tensor, result)

    def _moved(self, func: Any, base: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        def number(name: str, value: Any) -> Any:
            if name in INDICES:
                if not self._all_known(tensors(value)):
                    raise UntraceableError(f"f computes an index from y or t ({func})")
                return tree_map_only(Tensor, Tensor.cpu, value)
            if name in FILLS and isinstance(value, (int, float)):
                return self._graph.const(value)
            return tree_map_only(Tensor, self.numbers, value)

        numbers, others = replaced(func, args, kwargs, number)
        if base in VIEWS and isinstance(numbers[1], torch.dtype):
            raise UntraceableError(f"f looks at a tensor as {numbers[1]}")
        if base == "as_strided" and numbers[0].stride() != args[0].stride():
            raise UntraceableError("f uses as_strided on a tensor whose layout is not its own")
        result = move(func, base, numbers, others)
        out = func(*args, **kwargs)
        for tensor, moved in zip(tensors(out), tensors(result), strict=True):
            if id(tensor) not in self._numbers:  # else it was changed in place
                self.give(tensor, moved)
        return out

    def _looked_up(self, func: Any, base: str, given: dict[str, Any]) -> Tensor:
        if len(indices_of(given)) > 1:
            with self:
                read_at: Tensor = func(*merged(given))
            return read_at
        (index,), axis = indices_of(given), axis_of(given)
        if index.dtype == torch.bool:
            raise UntraceableError(
                "f selects entries by a computed mask, so that their number is not known "
                "(torch.where keeps it)"
            )
        self._check_places([index])
        at = index if self._course.real else torch.zeros_like(index)  # where it may be anything
        out: Tensor = func(**tree_map_only(Tensor, lambda x: at if x is index else x, given))
        source = self.numbers(given["self"])

        def read(k: int) -> Tensor:
            here = torch.full(index.shape, k, device="cpu")
            same = tree_map_only(Tensor, lambda x: here if x is index else source, given)
            moved: Tensor = func(**same)
            return moved

        shape = tuple(source.shape)
        numbers = self.numbers(index)
        self.give(out, look_up(self._graph, numbers, axis, shape, tuple(out.shape), base, read))
        return out

    def _check_places(self, inputs: list[Tensor]) -> None:
        if any(bool((self.numbers(x) < 0).any()) for x in inputs):
            raise UntraceableError("f computes with the places of extremes, such as an argmax")

    def _symbolic(
        self, func: Any, base: str, given: dict[str, Any], out: Tensor
    ) -> list[Tensor | None]:
        if base in op_kinds.CASTS:
            source = given[op_kinds.CASTS[base]]
            return [cast(self._graph, func, source, self.numbers(source), out, self._eps)]
        self._check_places(tensors(given))
        if base in RULES:
            numbers = {
                name: value if name in INDICES else tree_map_only(Tensor, self.numbers, value)
                for name, value in given.items()
            }
            result = RULES[base](self._graph, numbers)
            return list(result) if isinstance(result, tuple) else [result]
        if base in pointwise.TRUTHS:
            if any(x.dtype != torch.bool for x in tensors(given)):
                raise UntraceableError(f"f works on the bits of integers ({func})")
            return [self._pointwise(func, pointwise.TRUTHS[base], given, out)]
        return [self._pointwise(func, pointwise.FORMULAS[base], given, out)]

    def _pointwise(
        self, func: Any, formula: pointwise.Formula, given: dict[str, Any], out: Tensor
    ) -> Tensor:
        graph, columns = self._graph, []
        for value in given.values():
            if isinstance(value, Tensor):
                numbers = self.numbers(value).expand(out.shape).flatten().tolist()
                columns.append([Scalar(graph, n) for n in numbers])
            else:
                number = isinstance(value, (int, float))
                fixed = Scalar(graph, graph.const(value)) if number else value
                columns.append([fixed] * out.numel())
        try:
            values = [formula(*entry) for entry in zip(*columns, strict=True)]
        except TypeError as error:
            raise UntraceableError(f"f uses {func} in a form that has no scalar rule") from error
        if out.dtype == torch.bool:
            values = [v.differs(0.0) for v in values]
        return array([v.number for v in values], out.shape)

    def _decomposed(
        self, func: Any, base: str, args: Any, kwargs: Any, targets: list[Tensor]
    ) -> Any:
        outer, self._whole = self._whole, self._whole or func
        with self:
            out = taken_apart(func, base, args, kwargs, targets)
        if out is NotImplemented:
            raise UntraceableError(f"f uses {self._whole}, which has no scalar rule")
        self._whole = outer
        return out


def _refuse_complex(tensor: Tensor, what: Any) -> None:
    if tensor.is_complex():
        raise UntraceableError(f"f computes with complex numbers ({what})")
