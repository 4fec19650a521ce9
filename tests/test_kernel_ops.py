"""Every operation that tracing has a formula or a rule for is torch's, derivatives included."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from traces import F64, assert_follows, traced, values

from stiffguide.graphs.refusal import UntraceableError
from stiffguide.tracing import op_rules
from stiffguide.tracing.pointwise import FORMULAS, TRUTHS

ATEN = torch.ops.aten
Y = torch.tensor([0.3, 0.6, 0.9, 0.4], dtype=F64)
ABOVE_ONE = {"acosh"}
FLAT = {"floor_divide", "heaviside"}  # torch has no derivative; it is 0
SINGLE = {"hardsigmoid"}  # torch's own derivative is 1/6 in float32
COMPOSITE = {"float_power", "square", "positive", "isfinite", "__and__", "__or__", "__xor__"}
NUMBERS = {"number", "float", "Optional[number]", "Optional[float]"}
PLAIN = {"Tensor", "Optional[str]", *NUMBERS}
MASKS = {"condition", "mask"}


def overload(name: str) -> Any:
    """The form of an operation that makes one tensor of tensors and numbers; most tensors first."""
    packet, found = getattr(ATEN, name), []
    for op in (getattr(packet, form) for form in packet.overloads()):
        kinds = [str(a.type) for a in op._schema.arguments if not a.has_default_value()]
        made = [str(r.type) for r in op._schema.returns]
        if set(kinds) <= PLAIN and made == ["Tensor"] and not op._schema.is_mutable:
            found.append((kinds.count("Tensor"), op))
    return max(found, key=lambda pair: pair[0])[1]


def applied(name: str, y: Tensor) -> Tensor:
    """The operation on y and its neighbours; most numbers are 0.45, what is true is over 0.5."""
    op, truths = overload(name), name in TRUTHS or name.startswith("logical_")
    tensors = iter((y, y.flip(0) + 0.1, y.roll(1) * y))
    given = {}
    for a in op._schema.arguments:
        given[a.name] = a.default_value
        if str(a.type) == "Tensor":
            x = next(tensors)
            x = x > 0.5 if truths or a.name in MASKS else x
            given[a.name] = x[1] if a.name == "value" else x  # a fill is one number
        elif str(a.type) in NUMBERS:
            given[a.name] = 0.8 if a.name == "max" else 0.45
    return op(**given) * 2.0  # a number again, if it was a truth


def watch(patch: pytest.MonkeyPatch, table: dict[str, Any], name: str) -> list[str]:
    """A list that grows whenever an entry of a table is asked."""
    rule, asked = table[name], []

    def watched(*arguments: Any) -> Any:
        asked.append(name)
        return rule(*arguments)

    patch.setitem(table, name, watched)
    return asked


@pytest.mark.parametrize("name", [*FORMULAS, *TRUTHS])
def test_a_formula_is_torchs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = watch(monkeypatch, TRUTHS if name in TRUTHS else FORMULAS, name)
    y = Y + 1 if name in ABOVE_ONE else Y
    f = lambda t, y: applied(name, y) + 0 * y  # noqa: E731 - the last term has a derivative
    with torch.inference_mode(name in COMPOSITE):  # else torch takes them apart before
        traced(f, y)
    if name not in FLAT | SINGLE:
        assert_follows(f, y, at=y * 1.07)
    else:
        found, jac, _ = values(traced(f, y), torch.zeros(1, dtype=F64), y[None] * 1.07)
        torch.testing.assert_close(found[0], f(None, y * 1.07), rtol=1e-14, atol=0)
        assert name in SINGLE or not jac.any()
    assert asked


def square(y: Tensor) -> Tensor:
    return torch.outer(y, y) + torch.eye(4, dtype=F64)


def put(name: str, y: Tensor) -> Tensor:
    """Values added where an index says."""
    index = torch.tensor([1, 1, 3])
    if name == "index_put":
        return y.index_put((index,), y[:3] ** 2, accumulate=True)
    return getattr(y, name)(0, index, y[:3] ** 2)


A = torch.linspace(-1, 1, 16, dtype=F64).reshape(4, 4)
SPARSE = A.to_sparse()
EDGES = torch.tensor([0.2, 0.5, 0.8], dtype=F64)
PLANE = A.reshape(1, 1, 4, 4)
FIELDS: dict[str, Any] = {
    "sum": lambda y: square(y).sum(0),
    "mean": lambda y: square(y).mean(1),
    "prod": lambda y: square(y).prod(1),
    "amax": lambda y: square(y).amax(0),
    "amin": lambda y: square(y).amin(0),
    "all": lambda y: y * (square(y) > 0.2).all(0),
    "any": lambda y: y * (square(y) > 0.7).any(0),
    "max": lambda y: y * y.max(),
    "min": lambda y: y * y.min(),
    "logsumexp": lambda y: square(y).logsumexp(0),
    "var": lambda y: square(y).var(0),
    "var_mean": lambda y: sum(torch.var_mean(square(y), 0)),
    "linalg_vector_norm": lambda y: torch.linalg.vector_norm(square(y), 3, 0),
    "cumsum": lambda y: y.cumsum(0),
    "cumprod": lambda y: y.cumprod(0),
    "cummax": lambda y: (-y).cummax(0).values,
    "cummin": lambda y: y.cummin(0).values,
    "logcumsumexp": lambda y: y.logcumsumexp(0),
    "_softmax": lambda y: y.softmax(0),
    "_log_softmax": lambda y: y.log_softmax(0),
    "mm": lambda y: torch.mm(A, square(y)).sum(0),
    "bmm": lambda y: torch.bmm(A[None], square(y)[None])[0, 1],
    "mv": lambda y: torch.mv(A, y),
    "dot": lambda y: y * torch.dot(y, y.flip(0)),
    "vdot": lambda y: y * torch.vdot(y, y.roll(1)),
    "addmm": lambda y: torch.addmm(A, A, square(y), beta=0.3, alpha=2.0).sum(0),
    "_sparse_addmm": lambda y: torch.sparse.addmm(square(y), SPARSE, square(y)).sum(0),
    "addmv": lambda y: torch.addmv(y, A, y, beta=0.3, alpha=2.0),
    "baddbmm": lambda y: torch.baddbmm(A[None], A[None], square(y)[None], beta=0.3)[0, 2],
    "convolution": lambda y: torch.conv1d(y.reshape(1, 1, 4), A[:1, None, :3], padding=1)[0, 0],
    "avg_pool2d": lambda y: torch.avg_pool1d(y[None], 3, 1, 1)[0],
    "max_pool2d_with_indices": lambda y: torch.max_pool2d(PLANE * y, 2).reshape(-1),
    "scatter_reduce": lambda y: y.scatter_reduce(0, torch.tensor([1, 1, 3]), y[:3] ** 2, "mean"),
    "index_add": lambda y: put("index_add", y),
    "scatter_add": lambda y: put("scatter_add", y),
    "index_put_add": lambda y: put("index_put", y),
    "std": lambda y: y * y.std(),
    "std_mean": lambda y: y * torch.std_mean(y)[0],
    "searchsorted": lambda y: y * torch.searchsorted(EDGES, y),
    "bucketize": lambda y: y * torch.bucketize(y, EDGES),
    "_linalg_solve_ex": lambda y: torch.linalg.solve(square(y), y),
    "linalg_inv_ex": lambda y: torch.linalg.inv(square(y))[1],
    "_linalg_det": lambda y: y * torch.linalg.det(square(y)),
}


def test_every_rule_has_a_field() -> None:
    assert set(FIELDS) == set(op_rules.RULES)


@pytest.mark.parametrize("name", op_rules.RULES)
def test_a_rule_is_torchs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = watch(monkeypatch, op_rules.RULES, name)
    assert_follows(lambda t, y: FIELDS[name](y), Y, at=Y * 1.07)
    assert asked


def test_a_scatter_that_adds_is_not_taken_for_a_movement() -> None:
    places = torch.tensor([0, 0, 1, 2])
    with pytest.raises(UntraceableError, match=r"uses aten\.scatter\.reduce, which has no scalar"):
        traced(lambda t, y: torch.zeros_like(y).scatter(0, places, y, reduce="add"), Y)
