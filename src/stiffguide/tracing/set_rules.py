"""What operations of ATen do to index sets, entry by entry and along axes.

A rule takes the watch, the arguments by the names of the schema, and the results; it returns the
numbers of each. It may name more than the derivative has, never less.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from stiffguide.tracing.beside import CONSTANT, Given
from stiffguide.tracing.index_sets import MOVING, check
from stiffguide.tracing.op_schema import tensors

if TYPE_CHECKING:
    from stiffguide.tracing.sets import Sets

SetRule = Callable[["Sets", Given, list[Tensor]], list[Tensor]]


def moving(s: Sets, given: Given, outs: list[Tensor]) -> list[Tensor]:
    """Integers and truth values: they vary, and have no derivatives."""
    return [torch.full(x.shape, MOVING) for x in outs]


def flat(s: Sets, given: Given, outs: list[Tensor]) -> list[Tensor]:
    """Steps: entries vary where one of the arguments does."""
    found = torch.zeros((), dtype=torch.int64).expand(outs[0].shape)
    for x in tensors(given):
        found = torch.maximum(found, s.numbers(x).clamp(max=MOVING))
    return [found]


def pointwise(s: Sets, given: Given, outs: list[Tensor]) -> list[Tensor]:
    """Any function entry by entry."""
    united = s.sets.union([s.numbers(x) for x in tensors(given)], outs[0].shape)
    return [united] * len(outs)


def _zero(s: Sets, x: Any) -> Tensor | bool:
    """Where an argument is the constant 0."""
    if not isinstance(x, Tensor):
        return s.trusted and bool(x == 0)
    numbers = s.numbers(x)
    return not bool(numbers.all()) and (x == 0) & (numbers == CONSTANT)


def _cleared(numbers: Tensor, *zeros: Tensor | bool) -> Tensor:
    """Products with the constant 0 are constants."""
    for zero in zeros:
        if isinstance(zero, Tensor):
            numbers = torch.where(zero, CONSTANT, numbers)
        elif zero:
            numbers = torch.zeros_like(numbers)
    return numbers


def _mul(s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    (united,) = pointwise(s, a, outs)
    return [_cleared(united, _zero(s, a["self"]), _zero(s, a["other"]))]


def _div(s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    if a.get("rounding_mode") is not None:
        return flat(s, a, outs)
    return [_cleared(pointwise(s, a, outs)[0], _zero(s, a["self"]))]


def _added(second: str | None, s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    """Self + value tensor1 (tensor2)."""
    shape = outs[0].shape
    product = s.sets.union([s.numbers(a["tensor1"]), s.numbers(a["tensor2"])], shape)
    zeros = [_zero(s, a["tensor1"]), _zero(s, a["value"])]
    zeros += [_zero(s, a[second])] if second else []
    return [s.sets.union([s.numbers(a["self"]), _cleared(product, *zeros)], shape)]


def choice(s: Sets, condition: Tensor, a: Any, b: Any, shape: Sequence[int]) -> Tensor:
    """`where`: a condition that is a constant chooses; others have no derivatives."""
    a, b = (s.numbers(x) if isinstance(x, Tensor) else torch.tensor(CONSTANT) for x in (a, b))
    chosen = torch.where(condition, a, b)
    asked = s.numbers(condition)
    if not bool(asked.any()):
        return chosen
    either = s.sets.union([a, b, asked.clamp(max=MOVING)], shape)
    return torch.where(asked == CONSTANT, chosen, either)


def _where(s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    return [choice(s, a["condition"], a["self"], a["other"], outs[0].shape)]


def _masked(s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    return [choice(s, a["mask"], a["value"], a["self"], outs[0].shape)]


def cast(s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    """Another dtype."""
    source = a["src"] if "src" in a else a["self"]
    return [s.numbers(source).expand(outs[0].shape)]


def fill(s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    """All entries alike."""
    return [s.numbers(a["value"]).expand(outs[0].shape)]


def axes(dims: Any, ndim: int) -> list[int]:
    """Which axes an argument `dim` means; none or an empty list: all."""
    dims = [dims] if isinstance(dims, int) else dims
    return sorted({d % ndim for d in dims}) if dims and ndim else list(range(ndim))


def united(s: Sets, numbers: Tensor, dims: Sequence[int]) -> Tensor:
    """The union along some axes, which are then of length 1."""
    kept = [d for d in range(numbers.ndim) if d not in dims]
    lines = numbers.permute(*kept, *dims).reshape(prod(numbers.shape[d] for d in kept), -1)
    shape = [1 if d in dims else n for d, n in enumerate(numbers.shape)]
    if not lines.numel():
        return torch.zeros(shape, dtype=torch.int64)
    return s.sets.groups(lines).reshape(shape)


def _reduced(s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    x = s.numbers(a["self"])
    whole = united(s, x, axes(a.get("dim"), x.ndim))
    return [whole.reshape(o.shape) for o in outs]


def _extreme(s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    """Of two tensors, or along an axis."""
    return pointwise(s, a, outs) if "other" in a else _reduced(s, a, outs)


def _line(s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    """Every result depends on the whole of its line: softmax, sort, the largest of each line."""
    inputs = [s.numbers(a[k]) for k in ("self", "grad_output", "output") if k in a]
    x = s.sets.union(inputs, inputs[0].shape)
    dims = axes(a.get("dim"), x.ndim)
    whole, found = united(s, x, dims), []
    for o in outs:
        wide = whole if o.ndim == x.ndim else whole.squeeze(tuple(dims))
        found.append(wide.expand(o.shape))
    return found


def _running(s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    """Every result depends on its line up to there."""
    x = s.numbers(a["self"])
    if x.ndim == 0:
        return [x] * len(outs)
    lines = x.movedim(a["dim"], -1)
    m, count = lines.shape[-1], lines.numel()
    check(count * m)  # twice as many as there are
    before = np.tri(m, dtype=bool).nonzero()[1]
    starts = np.repeat(np.arange(0, count, m), len(before))
    inputs = np.tile(before, count // m) + starts
    ends = np.concatenate(([0], np.cumsum(np.tile(np.arange(1, m + 1), count // m))))
    made = (
        s.sets.product(inputs, ends, lines.reshape(-1)).reshape(lines.shape).movedim(-1, a["dim"])
    )
    return [made] * len(outs)


RULES: dict[str, SetRule] = {
    "mul": _mul,
    "div": _div,
    "addcmul": partial(_added, "tensor2"),
    "addcdiv": partial(_added, None),
    "where": _where,
    "masked_fill": _masked,
    "copy": cast,
    "_to_copy": cast,
    "_conj": cast,
    "_neg_view": cast,
    "resolve_conj": cast,
    "resolve_neg": cast,
    "fill": fill,
    **dict.fromkeys(("max", "min"), _extreme),
    **dict.fromkeys(
        ("any", "all", "argmax", "argmin", "argsort", "count_nonzero", "searchsorted", "bucketize"),
        moving,
    ),
    **dict.fromkeys(("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"), _running),
    **dict.fromkeys(
        ("floor", "ceil", "round", "trunc", "sign", "sgn", "floor_divide", "heaviside"), flat
    ),
    **dict.fromkeys(
        (
            "sum", "mean", "prod", "amax", "amin", "aminmax", "logsumexp", "var", "std", "var_mean",
            "std_mean", "norm", "linalg_vector_norm", "nansum", "median", "nanmedian",
        ),
        _reduced,
    ),
    **dict.fromkeys(
        (
            "_softmax", "_log_softmax", "_safe_softmax", "sort", "topk", "kthvalue", "mode",
            "_softmax_backward_data", "_log_softmax_backward_data",
        ),
        _line,
    ),
}  # fmt: skip
# Entry by entry, though torch does not tag them so.
POINTWISE = frozenset(
    {
        "complex", "polar", "log_sigmoid_forward", "log_sigmoid_backward", "hardswish",
        "elu_backward", "hardswish_backward", "hardsigmoid_backward", "hardtanh_backward",
        "leaky_relu_backward",
        "softplus_backward", "mish_backward", "softshrink_backward", "hardshrink_backward",
        "_prelu_kernel", "absolute", "masked_fill", "true_divide", "subtract", "multiply",
    }
)  # fmt: skip
