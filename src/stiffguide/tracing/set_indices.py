"""What reading and writing at indices, and under masks, does to index sets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from stiffguide.graphs.refusal import UntraceableError
from stiffguide.tracing.beside import Given
from stiffguide.tracing.index_sets import MOVING
from stiffguide.tracing.lookup import axis_of, indices_of
from stiffguide.tracing.movement import destinations
from stiffguide.tracing.op_schema import tensors
from stiffguide.tracing.set_rules import SetRule, choice, united

if TYPE_CHECKING:
    from stiffguide.tracing.sets import Sets

aten: Any = torch.ops.aten
PLACES = "f writes to places that it computes from t or y"


def _accumulated(name: str, source: str, s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    """Entries added at indices that are known."""
    index = [a[k] for k in ("index", "indices") if k in a]
    if not all(s.known(x) for x in tensors(index)):
        raise UntraceableError(PLACES)
    old, new = s.numbers(a["self"]), s.numbers(a[source])
    places = destinations(name, a["self"].shape, a)
    if name == "scatter_add":
        new = new[tuple(slice(n) for n in places.shape)]
    to, new = places.numpy().ravel(), new.expand(places.shape).reshape(-1)
    order = np.argsort(to, kind="stable")
    ends = np.searchsorted(to[order], np.arange(old.numel() + 1))
    added = s.sets.product(order, ends, new).reshape(old.shape)
    return [s.sets.union([old, added], old.shape)]


def _scattered(s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    """Added, or multiplied by, where an index says."""
    if "src" in a:
        return _accumulated("scatter_add", "src", s, a, outs)
    old = s.numbers(a["self"])
    return [old if s.known(a["index"]) else old.clamp(min=MOVING)]


def _put(s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    """Added at indices, or one value written wherever a computed mask holds."""
    masks = [x for x in a["indices"] if x is not None and x.dtype == torch.bool]
    if a["accumulate"] or len(masks) != 1 or a["values"].numel() != 1:
        return _accumulated("index_put", "values", s, a, outs)
    if len(tensors(a["indices"])) > 1:
        raise UntraceableError(PLACES)
    (mask,), shape = masks, a["self"].shape
    before = next(k for k, x in enumerate(a["indices"]) if x is not None)
    mask = mask[(None,) * before + (...,) + (None,) * (len(shape) - before - mask.ndim)]
    return [choice(s, mask.expand(shape), a["values"].reshape(()), a["self"], shape)]


def _masked_move(
    func: Callable[..., Tensor], s: Sets, a: Given, outs: list[Tensor]
) -> list[Tensor]:
    """Entries from or to places that are known."""
    places = [a[k] for k in ("mask", "index") if k in a]
    if not all(s.known(x) for x in places) or a.get("accumulate"):
        raise UntraceableError(PLACES)
    inputs = {k: s.numbers(v) if k in ("self", "source") else v for k, v in a.items()}
    return [func(**inputs)]


def _counted(s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    """The sums of weights by number."""
    if not s.known(a["self"]):
        raise UntraceableError(PLACES)
    order = np.argsort(a["self"].numpy(), kind="stable")
    ends = np.searchsorted(a["self"].numpy()[order], np.arange(outs[0].numel() + 1))
    return [s.sets.product(order, ends, s.numbers(a["weights"]))]


def looked_up(func: Any, s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    """What lies at places that are computed may come from anywhere along their axes."""
    x = s.numbers(a["self"])
    computed = [i for i in indices_of(a) if not s.known(i)]
    if any(i.dtype in (torch.bool, torch.uint8) for i in computed):
        raise UntraceableError("f selects entries by a mask that it computes from t or y")
    if "indices" in a:
        dims = [k for k, i in enumerate(a["indices"]) if any(i is c for c in computed)]
    else:
        axis = axis_of(a)
        dims = list(range(x.ndim)) if axis is None else [axis % max(x.ndim, 1)]

    def number(value: Tensor) -> Tensor:
        if value is a["self"]:
            return united(s, x, dims).expand(x.shape)
        return torch.zeros_like(value) if any(value is c for c in computed) else value

    found: Tensor = func(**tree_map_only(Tensor, number, a))
    return [found.clamp(min=MOVING)]


def _padded_back(
    view: Callable[..., Tensor], s: Sets, a: Given, outs: list[Tensor]
) -> list[Tensor]:
    """The derivative of a view: zeros around what it showed."""
    found = torch.zeros(outs[0].shape, dtype=torch.int64)
    rest = [v for k, v in a.items() if k not in ("grad_output", "input_sizes")]
    view(found, *rest).copy_(s.numbers(a["grad_output"]))
    return [found]


INDEXED: dict[str, SetRule] = {
    "index_add": partial(_accumulated, "index_add", "source"),
    "scatter_add": partial(_accumulated, "scatter_add", "src"),
    "scatter": _scattered,
    "scatter_reduce": partial(_accumulated, "scatter_add", "src"),
    "index_reduce": partial(_accumulated, "index_add", "source"),
    "bincount": _counted,
    "masked_select": partial(_masked_move, aten.masked_select.default),
    "masked_scatter": partial(_masked_move, aten.masked_scatter.default),
    "put": partial(_masked_move, aten.put.default),
    **dict.fromkeys(("index_put", "_index_put_impl", "_unsafe_index_put"), _put),
    "slice_backward": partial(_padded_back, aten.slice.Tensor),
    "select_backward": partial(_padded_back, aten.select.int),
    "diagonal_backward": partial(_padded_back, aten.diagonal.default),
}
LOOKUPS = frozenset({"index", "_unsafe_index", "index_select", "gather", "take"})
