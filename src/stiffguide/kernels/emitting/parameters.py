"""Which entries of the parameter table every lane carries, and which all read where they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from stiffguide.kernels.emitting.expressions import literal
from stiffguide.tracing.traced_field import Traced

MANY = 64  # up to so many are carried by every lane, so that one kernel serves rows and all


@dataclass(frozen=True)
class Parameters:
    """`own` differ by row, or are few; of the others the first row of the table has the values."""

    own: tuple[int, ...]
    common: tuple[int, ...] = ()

    def place(self, entry: int) -> tuple[str, bool]:
        """How C++ names an entry, and whether that is one number for all lanes."""
        if entry in self._places:
            return f"p.own[{self._places[entry]}]", False
        return f"p.shared[{entry}]", True

    def constant(self, value: float) -> str:
        """How C++ names a constant: as it is."""
        return literal(value)

    @cached_property
    def _places(self) -> dict[int, int]:
        return {entry: k for k, entry in enumerate(self.own)}


def parameters(traced: Traced) -> Parameters:
    """Those of a traced field."""
    entries = enumerate(traced.parameters)
    few = len(traced.parameters) <= MANY
    own = tuple(k for k, entry in entries if few or entry.per_row)
    return Parameters(own, tuple(sorted(set(range(len(traced.parameters))) - set(own))))
