"""Rules for the operations of ATen that are neither pointwise nor mere movement.

A rule takes the graph and the arguments by the names of the schema, node numbers (int64) in place
of tensors, and returns node numbers; None in a tuple stands for a result that has no scalar form.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from stiffguide.graphs.graph import Graph
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.graphs.scalars import Scalar, array, total
from stiffguide.tracing import matrices, reductions, windows
from stiffguide.tracing.lookup import place_among
from stiffguide.tracing.movement import destinations
from stiffguide.tracing.pointwise import logaddexp

Arguments = dict[str, Any]
Rule = Callable[[Graph, Arguments], "Tensor | tuple[Tensor | None, ...]"]
LARGEST_SYSTEM = 8  # unknowns of a linear system inside f


def _reduction(fold: reductions.Fold, empty: float, g: Graph, a: Arguments) -> Tensor:
    return reductions.along(g, a["self"], a.get("dim"), a.get("keepdim", False), fold, empty)


def _extreme(fold: reductions.Fold, g: Graph, a: Arguments) -> Tensor | tuple[Tensor | None, ...]:
    values = _reduction(fold, 0.0, g, a)
    return (values, None) if "dim" in a else values  # with the places, which are not known


def _variance(g: Graph, a: Arguments) -> Tensor:
    correction = a["correction"] if "correction" in a else a.get("unbiased", True)
    correction = 1.0 if correction is None else float(correction)
    return _reduction(reductions.variance(correction), 0.0, g, a)


def _variance_and_mean(g: Graph, a: Arguments) -> tuple[Tensor | None, ...]:
    return _variance(g, a), _reduction(reductions.mean, 0.0, g, a)


def _deviation(g: Graph, a: Arguments) -> Tensor:
    variance = _variance(g, a)
    roots = [reductions.root(Scalar(g, n)).number for n in variance.flatten().tolist()]
    return array(roots, variance.shape)


def _deviation_and_mean(g: Graph, a: Arguments) -> tuple[Tensor | None, ...]:
    return _deviation(g, a), _reduction(reductions.mean, 0.0, g, a)


def _norm(g: Graph, a: Arguments) -> Tensor:
    return _reduction(reductions.norm(float(a["ord"])), 0.0, g, a)


def _logsumexp(g: Graph, a: Arguments) -> Tensor:
    def fold(values: list[Scalar]) -> Scalar:
        high = reductions.largest(values)
        return high + total([(v - high).apply("exp") for v in values]).apply("log")

    return _reduction(fold, float("-inf"), g, a)


def _running(op: str, g: Graph, a: Arguments) -> Tensor:
    return reductions.running(g, a["self"], a["dim"], op)


def _running_extreme(op: str, g: Graph, a: Arguments) -> tuple[Tensor | None, ...]:
    return _running(op, g, a), None  # the places are not known


def _running_logsumexp(g: Graph, a: Arguments) -> Tensor:
    return reductions.accumulated(g, a["self"], a["dim"], logaddexp)


def _softmax(log: bool, g: Graph, a: Arguments) -> Tensor:
    return reductions.softmax(g, a["self"], a["dim"], log)


def _pointwise(g: Graph, op: str, x: Tensor, y: Tensor) -> Tensor:
    x, y = torch.broadcast_tensors(x, y)
    pairs = zip(x.flatten().tolist(), y.flatten().tolist(), strict=True)
    return array([g.add(op, m, n) for m, n in pairs], x.shape)


def _mm(g: Graph, a: Arguments) -> Tensor:
    return matrices.matmul(g, a["self"], a["mat2"])


def _mv(g: Graph, a: Arguments) -> Tensor:
    return matrices.matmul(g, a["self"], a["vec"].unsqueeze(-1)).squeeze(-1)


def _dot(g: Graph, a: Arguments) -> Tensor:
    other = a["tensor"] if "tensor" in a else a["other"]
    return matrices.matmul(g, a["self"].unsqueeze(0), other.unsqueeze(-1)).reshape(())


def _fused(first: str, second: str, g: Graph, a: Arguments) -> Tensor:
    """Beta self + alpha first @ second."""
    left, right = a[first], a[second]
    vector = right.ndim == 1
    made = matrices.matmul(g, left, right.unsqueeze(-1) if vector else right)
    made = made.squeeze(-1) if vector else made
    made = _pointwise(g, "mul", array(g.const(a["alpha"])), made)
    offset = _pointwise(g, "mul", array(g.const(a["beta"])), a["self"])
    return _pointwise(g, "add", made, offset)


def _accumulate(name: str, source: str, g: Graph, a: Arguments) -> Tensor:
    kept: Tensor = a["self"].clone(memory_format=torch.contiguous_format)
    places = destinations(name, kept.shape, tree_map_only(Tensor, Tensor.cpu, a))
    flat = kept.reshape(-1)
    numbers = a[source]
    if name == "scatter_add":
        numbers = numbers[tuple(slice(n) for n in places.shape)]
    if a.get("alpha", 1) != 1:
        numbers = _pointwise(g, "mul", numbers, array(g.const(a["alpha"])))
    for place, number in zip(
        places.flatten().tolist(), numbers.expand_as(places).flatten().tolist(), strict=True
    ):
        flat[place] = g.add("add", int(flat[place]), number)
    return flat.reshape(kept.shape)


def _scatter_reduce(g: Graph, a: Arguments) -> Tensor:
    kept: Tensor = a["self"].clone(memory_format=torch.contiguous_format)
    places = destinations("scatter_add", kept.shape, tree_map_only(Tensor, Tensor.cpu, a))
    flat, index = kept.reshape(-1), places.flatten().tolist()
    numbers = a["src"][tuple(slice(n) for n in places.shape)].flatten().tolist()
    gathered: dict[int, list[Scalar]] = {}
    for place, number in zip(index, numbers, strict=True):
        first = [Scalar(g, int(flat[place]))] if a["include_self"] else []
        gathered.setdefault(place, first).append(Scalar(g, number))
    for place, values in gathered.items():
        flat[place] = SCATTERED[a["reduce"]](values).number
    return flat.reshape(kept.shape)


def _small(matrix: Tensor) -> None:
    if matrix.shape[-1] > LARGEST_SYSTEM:
        raise UntraceableError(
            f"f solves a linear system of {matrix.shape[-1]} unknowns; in a kernel {LARGEST_SYSTEM}"
            " is the most"
        )


def _solve(g: Graph, a: Arguments) -> tuple[Tensor | None, ...]:
    matrix, sides = a["A"], a["B"]
    _small(matrix)
    vector = sides.ndim == 1 or (sides.ndim == matrix.ndim - 1 and matrix.ndim > 2)
    if vector:
        sides = sides.unsqueeze(-1)
    if not a["left"]:
        matrix, sides = matrix.mT, sides.mT
    batch = torch.broadcast_shapes(matrix.shape[:-2], sides.shape[:-2])
    matrix = matrix.expand(*batch, *matrix.shape[-2:])
    solved = matrices.solve(g, matrix, sides.expand(*batch, *sides.shape[-2:]))
    if not a["left"]:
        solved = solved.mT
    return solved.squeeze(-1) if vector else solved, None, None, None


def _inverse(g: Graph, a: Arguments) -> tuple[Tensor | None, ...]:
    _small(a["A"])
    one = g.const(1.0)  # and node 0 is the constant 0
    eye = torch.eye(a["A"].shape[-1], dtype=torch.int64, device="cpu") * one
    return matrices.solve(g, a["A"], eye.expand_as(a["A"])), None


def _determinant(g: Graph, a: Arguments) -> tuple[Tensor | None, ...]:
    _small(a["A"])
    return matrices.determinant(g, a["A"]), None, None


def _convolution(g: Graph, a: Arguments) -> Tensor:
    if a["transposed"]:
        raise UntraceableError("f uses a transposed convolution, which a kernel cannot carry out")
    return windows.convolution(g, a)


SCATTERED: dict[str, reductions.Fold] = {
    "sum": total,
    "mean": reductions.mean,
    "prod": reductions.product,
    "amax": reductions.largest,
    "amin": reductions.smallest,
}
RULES: dict[str, Rule] = {
    "sum": partial(_reduction, total, 0.0),
    "mean": partial(_reduction, reductions.mean, float("nan")),
    "prod": partial(_reduction, reductions.product, 1.0),
    "amax": partial(_reduction, reductions.largest, 0.0),
    "amin": partial(_reduction, reductions.smallest, 0.0),
    "all": partial(_reduction, reductions.every, 1.0),
    "any": partial(_reduction, reductions.some, 0.0),
    "max": partial(_extreme, reductions.largest),
    "min": partial(_extreme, reductions.smallest),
    "logsumexp": _logsumexp,
    "var": _variance,
    "var_mean": _variance_and_mean,
    "std": _deviation,
    "std_mean": _deviation_and_mean,
    "linalg_vector_norm": _norm,
    "cumsum": partial(_running, "add"),
    "cumprod": partial(_running, "mul"),
    "cummax": partial(_running_extreme, "max"),
    "cummin": partial(_running_extreme, "min"),
    "logcumsumexp": _running_logsumexp,
    "_softmax": partial(_softmax, False),
    "_log_softmax": partial(_softmax, True),
    "mm": _mm,
    "bmm": _mm,
    "mv": _mv,
    "dot": _dot,
    "vdot": _dot,
    "addmm": partial(_fused, "mat1", "mat2"),
    "_sparse_addmm": partial(_fused, "mat1", "mat2"),
    "addmv": partial(_fused, "mat", "vec"),
    "baddbmm": partial(_fused, "batch1", "batch2"),
    "convolution": _convolution,
    "avg_pool2d": windows.average_pool,
    "max_pool2d_with_indices": windows.largest_pool,
    "scatter_reduce": _scatter_reduce,
    "index_add": partial(_accumulate, "index_add", "source"),
    "scatter_add": partial(_accumulate, "scatter_add", "src"),
    "index_put_add": partial(_accumulate, "index_put", "values"),
    "searchsorted": place_among,
    "bucketize": place_among,
    "_linalg_solve_ex": _solve,
    "linalg_inv_ex": _inverse,
    "_linalg_det": _determinant,
}
