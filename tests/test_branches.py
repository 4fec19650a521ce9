"""A branch on numbers is followed both ways, and the numbers of each step choose the side."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor
from traces import F64, differentiated, traced, values

import stiffguide as sg
from stiffguide.graphs.graph import Graph
from stiffguide.tracing.decisions import MOST, merged
from stiffguide.tracing.decisions import Path as Way
from stiffguide.tracing.tracer import UntraceableError

needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="needs a C++ compiler"
)
Y = torch.tensor([0.3, 1.2, 0.7], dtype=F64)
K = torch.tensor([0.4, 0.9, 1.3], dtype=F64)
MATRIX = torch.tensor([[1.0, 2.0, 0.0], [0.0, 3.0, 1.0], [2.0, 0.5, 4.0]], dtype=F64)
TABLE = torch.linspace(0, 1, 5, dtype=F64)


def both_sides(t: Tensor, y: Tensor) -> Tensor:
    if y[0] > 0:
        return K * y
    return K * y * y + MATRIX @ y


def chained(t: Tensor, y: Tensor) -> Tensor:
    a, b, c = y
    if -0.5 < a < 0.5 and not (b < 0 or c > 1):
        return y * t
    return -y if a and t else y.flip(0)


def with_min_and_max(t: Tensor, y: Tensor) -> Tensor:
    low, high = min(y[0], y[1]), max(y[0], y[1], y[2])
    return torch.stack((low, high, sorted([y[0], y[2]])[0]))


def halved(t: Tensor, y: Tensor) -> Tensor:
    size = y[0].abs()
    for _ in range(6):
        if size < 0.2:
            break
        size = size / 2
    return size * y


def until_small(t: Tensor, y: Tensor) -> Tensor:
    size, count = (y * y).sum(), 0
    while size > 0.1 and count < 5:
        size, count = size * 0.3, count + 1
    return y * size + count


def counted(t: Tensor, y: Tensor) -> Tensor:
    return y * sum(1 for v in y if v > 0) + int(y[0] > 0.5) + 2 * (y[1] > 1).item()


def whole(t: Tensor, y: Tensor) -> Tensor:
    if torch.any(y < 0):
        return -y
    return 2 * y if torch.all(y > 0.5) else y**2


def equal(t: Tensor, y: Tensor) -> Tensor:
    if torch.equal(y[:1], y[1:2]):
        return y
    return -y if torch.allclose(y[:1], y[1:2], rtol=0.5) else 2 * y


def read_inside(t: Tensor, y: Tensor) -> Tensor:
    """A table that is read where y lies inside, and nowhere else."""
    if not 0 <= y[0] < 1:
        return -y
    i = torch.searchsorted(TABLE, y[0], right=True)
    return y * (TABLE[i] - y[0])


def inverted(t: Tensor, y: Tensor) -> Tensor:
    """A system that is singular at some of the points on the other side."""
    if y[0] > 0:
        return -y
    gap = torch.clamp(-y[0], min=0.0)
    return torch.linalg.solve(torch.diag(gap + 0 * y), y)


def of_gradient(t: Tensor, y: Tensor) -> Tensor:
    return torch.func.grad(lambda x: (x**2).sum() if x[0] > 0 else (x**3).sum())(y)


FIELDS: dict[str, Callable[..., Tensor]] = {
    f.__name__: f
    for f in (
        both_sides, chained, with_min_and_max, halved, until_small, counted, whole, equal,
        read_inside, inverted, of_gradient,
    )
}  # fmt: skip


def anew(f: Any) -> Any:
    """The same function, of which no trace is remembered."""
    return FunctionType(f.__code__.replace(), f.__globals__)


def points() -> Tensor:
    """States (60, 3) on all sides, some of them with equal components."""
    draw = torch.Generator().manual_seed(3)
    found = torch.randn(60, 3, generator=draw, dtype=F64)
    found[:8, 1] = found[:8, 0]
    found[8:12, 0] = found[8:12, 1] * 1.2
    return found


@pytest.mark.parametrize("name", FIELDS)
def test_a_graph_takes_the_side_that_its_field_takes(name: str) -> None:
    f = FIELDS[name]
    g, y = traced(f, Y), points()
    t = torch.linspace(-1, 1, len(y), dtype=F64)
    assert g.paths > 1
    found = values(g, t, y)
    for k in range(len(y)):
        expected = differentiated(f, t[k], y[k])
        for mine, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(mine[k], theirs.detach(), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", FIELDS)
def test_a_graph_does_not_depend_on_the_side_it_is_traced_from(name: str) -> None:
    starts = (Y, -Y, Y.flip(0) * 3)
    assert len({traced(anew(FIELDS[name]), start).key for start in starts}) == 1


def test_what_is_captured_is_captured_once() -> None:
    g = traced(both_sides, Y)
    assert len(g.captured) == 2
    assert len(g.parameters) == K.numel() + int(((MATRIX != 0) & (MATRIX != 1)).sum())


def test_an_argument_that_chooses_is_a_parameter() -> None:
    f = lambda t, y, k: k * y if k > 1 else -y  # noqa: E731
    g, t = traced(f, Y, (2.0,)), torch.zeros(1, dtype=F64)
    assert len(g.parameters) == 1
    for k in (2.0, 0.5):
        torch.testing.assert_close(values(g, t, Y[None], (k,))[0][0], f(t, Y, k))


# sides that are not taken ------------------------------------------------------------------------

HARMFUL: dict[str, Callable[[Tensor], Tensor]] = {
    "log": torch.log,
    "sqrt": lambda x: torch.sqrt(x),
    "one over": lambda x: 1 / x,
    "overflow": lambda x: torch.exp(-1e3 * x),
    "zero over zero": lambda x: x / x.abs() ** 2,
    "power": lambda x: x**-0.5,
}


@pytest.mark.parametrize("name", HARMFUL)
def test_a_side_that_is_not_taken_reaches_neither_value_nor_derivative(name: str) -> None:
    harm = HARMFUL[name]
    g = traced(lambda t, y: torch.stack([harm(v) if v > 0 else -v for v in y]), Y)
    y = torch.tensor([[-1.0, 0.0, 0.5]], dtype=F64)
    f, jac, dfdt = values(g, torch.zeros(1, dtype=F64), y)
    taken = y[0, 2].clone().requires_grad_()
    (slope,) = torch.autograd.grad(harm(taken), taken)
    torch.testing.assert_close(f[0], torch.stack((1.0 + 0 * slope, 0 * slope, harm(y[0, 2]))))
    torch.testing.assert_close(jac[0], torch.diag(torch.stack((-1 + 0 * slope,) * 2 + (slope,))))
    assert not dfdt.any()


def guarded(t: Tensor, y: Tensor) -> Tensor:
    if y[0] < 0:
        raise ValueError("below zero")
    assert torch.isfinite(y).all(), "not finite"
    return -y


def test_where_f_raises_an_exception_its_graph_is_nan() -> None:
    g = traced(guarded, Y)
    found = values(g, torch.zeros(2, dtype=F64), torch.stack((Y, -Y)))[0]
    torch.testing.assert_close(found[0], -Y)
    assert found[1].isnan().all()


def test_an_exception_at_the_start_is_the_users() -> None:
    with pytest.raises(ValueError, match="below zero"):
        traced(guarded, -Y)


def test_an_exception_near_the_start_is_none_at_the_start() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        assert y[0] <= 0.3
        return -y

    assert traced(f, Y).paths == 2


@pytest.mark.parametrize("kind", [list, torch.tensor])
def test_beyond_the_end_of_a_table_a_graph_is_nan(kind: Any) -> None:
    levels = kind([0.2, 0.4, 0.8])

    def above(t: Tensor, y: Tensor) -> Tensor:
        k = 0
        while y[0] > levels[k]:
            k += 1
        return k * y

    y = torch.stack([torch.full((3,), x, dtype=F64) for x in (0.1, 0.3, 0.5, 0.9)])
    found = values(traced(above, Y), torch.zeros(4, dtype=F64), y)[0]
    torch.testing.assert_close(found[:3], torch.arange(3)[:, None] * y[:3])
    assert found[3].isnan().all()


MISTAKES: dict[str, Callable[..., Any]] = {
    "RuntimeError: size": lambda t, y: MATRIX @ y[:2] if y[0] < 0 else -y,
    "TypeError: ": lambda t, y: torch.sqrt(1.0) * y if y[0] < 0 else -y,  # type: ignore[arg-type]
    "ZeroDivisionError: ": lambda t, y: y * (1 / 0) if y[0] < 0 else -y,
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_on_a_path_is_no_choice_of_f(words: str) -> None:
    with pytest.raises(UntraceableError, match=rf"f cannot be followed: {words}.*line"):
        traced(MISTAKES[words], Y)


def test_a_value_of_another_shape_on_a_path_is_refused() -> None:
    with pytest.raises(UntraceableError, match="the value of f has shape"):
        traced(lambda t, y: y[:2] if y[0] < 0 else -y, Y)


# refusals ----------------------------------------------------------------------------------------


def endless(t: Tensor, y: Tensor) -> Tensor:
    while y[0] > 0:  # here
        t = t + 1
    return y


def too_long(t: Tensor, y: Tensor) -> Tensor:
    x = y[0]
    while x > 1e-3:  # here
        x = x / 2
    return x * y


def too_many(t: Tensor, y: Tensor) -> Tensor:
    out = y
    for k in range(7):
        out = out + (k * y if y[0] * k > y[1] else t)  # here
    return out


REFUSED = {
    endless: "in a loop that ends for some of them only",
    too_long: f"branches on numbers in more than {MOST} ways",
    too_many: f"branches on numbers in more than {MOST} ways",
}


@pytest.mark.parametrize("f", REFUSED, ids=lambda f: f.__name__)
def test_too_many_branches_are_refused_with_their_line(f: Callable[..., Tensor]) -> None:
    lines = Path(__file__).read_text().split("\n")
    first = f.__code__.co_firstlineno
    line = next(n for n in range(first, len(lines)) if lines[n - 1].endswith("# here"))
    with pytest.raises(UntraceableError, match=rf"{REFUSED[f]}.*\(line {line} of test_branches"):
        traced(f, Y)


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize(
    "chooses",
    [
        lambda t, y, k: y[..., 0] > 0,
        lambda t, y, k: (y > 0).all(),
        lambda t, y, k: t.max() > 0,
        lambda t, y, k: (k > y).any(),
    ],
)
def test_rows_do_not_choose_for_each_other(chooses: Any, rows: int) -> None:
    y = torch.rand(rows, 3, dtype=F64)
    with pytest.raises(UntraceableError, match="each row has its own"):
        traced(lambda t, y, k: y if chooses(t, y, k) else -y, y, (y[:, :1],), batched=True)


def test_what_all_rows_share_chooses_for_all() -> None:
    f = lambda t, y, k: y if k > 1 else -y  # noqa: E731
    y = torch.rand(4, 3, dtype=F64)
    assert traced(f, y, (torch.tensor(2.0, dtype=F64),), batched=True).paths == 2


def test_what_is_kept_from_path_to_path_is_refused() -> None:
    kept = [torch.zeros(3, dtype=F64)]

    def f(t: Tensor, y: Tensor) -> Tensor:
        last, kept[0] = kept[0], 2 * y
        return last if y[0] > 0 else y

    with pytest.raises(UntraceableError, match="keeps values from call to call"):
        traced(f, Y)


# paths -------------------------------------------------------------------------------------------


def test_as_many_paths_as_are_allowed_are_merged() -> None:
    graph = Graph()
    y = [graph.add("y", index=k) for k in range(MOST)]
    asked = [graph.add("lt", graph.const(0.0), n) for n in y]

    def first(path: Way, among: int) -> list[int]:
        return [next((n for n, c in zip(y[:among], asked, strict=False) if path.decide(c)), y[-1])]

    (node,) = merged(graph, lambda path: first(path, MOST - 1))
    point = [-1.0] * MOST
    point[40] = 2.0
    assert graph.evaluate([node], 0.0, point) == [2.0]
    with pytest.raises(UntraceableError, match="more than"):
        merged(graph, lambda path: first(path, MOST))


def test_a_path_answers_alike_and_knows_negations() -> None:
    graph = Graph()
    condition = graph.add("lt", graph.add("y", index=0), graph.add("y", index=1))
    path = Way(graph, [False])
    assert [path.decide(condition), path.decide(graph.add("not", condition))] == [False, True]
    assert path.decide(graph.const(1.0))
    assert path.conditions == [condition]


# whole solves ------------------------------------------------------------------------------------


def friction(t: Tensor, y: Tensor) -> Tensor:
    grip = 0.3 if y[1] > 0 else -0.3
    return torch.stack((y[1], -y[0] - grip + 1.5 * torch.sin(t)))


def thermostat(t: Tensor, y: Tensor) -> Tensor:
    room, wall = y
    heat = 0.0
    if t % 24 < 8 and room < 20:
        heat = 1.5
    elif room < 16:
        heat = 1.0
    return torch.stack((heat - 0.2 * (room - 10), 40 * (room - wall)))


def contact(t: Tensor, y: Tensor) -> Tensor:
    x, v = y[:3], y[3:]
    force = torch.zeros_like(x)
    for i in range(2):
        gap = x[i + 1] - x[i]
        if gap < 0.5:
            force[i] -= 1e4 * (0.5 - gap)
            force[i + 1] += 1e4 * (0.5 - gap)
    return torch.cat((v, force - 0.1 * v))


def pump(t: Tensor, y: Tensor, rate: float) -> Tensor:
    level = max(y[0], 0 * t)
    out = 0.4 * torch.sqrt(level) if level > 0.1 else 4 * 0.4 * level
    return torch.stack((rate - out, min(out, 0.2 + 0 * t) - 30 * y[1]))


MACHINES: dict[str, tuple[Any, float, list[float], tuple[float, ...]]] = {
    "friction": (friction, 30.0, [1.0, 0.0], ()),
    "thermostat": (thermostat, 48.0, [12.0, 12.0], ()),
    "contact": (contact, 1.0, [0.0, 0.6, 1.2, 1.0, 0.0, -1.0], ()),
    "pump": (pump, 20.0, [1.0, 0.0], (0.3,)),
}


@needs_compiler
@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_that_switches_is_solved_as_by_scipy(name: str) -> None:
    f, end, start, args = MACHINES[name]
    y0 = torch.tensor(start, dtype=F64)
    found = sg.solve(f, y0, 0.0, end, args=args, rtol=1e-8, atol=1e-10, backend="kernel")
    expected = solve_ivp(
        lambda t, y: f(torch.tensor(t, dtype=F64), torch.from_numpy(y), *args).numpy(),
        (0, end), start, method="LSODA", rtol=1e-7, atol=1e-9, max_step=end / 300,
    )  # fmt: skip
    assert found.success
    last = torch.from_numpy(expected.y[:, -1])
    torch.testing.assert_close(found.y[-1], last, rtol=1e-4, atol=1e-4)


@needs_compiler
def test_a_domain_that_f_asserts_is_kept_to() -> None:
    """A step that leads where f raises an exception is rejected, as one that is not finite."""

    def drained(t: Tensor, y: Tensor) -> Tensor:
        if y[0] < 0:
            raise ValueError("an empty tank")
        return -torch.sqrt(y)

    found = sg.solve(
        drained, torch.ones(1, dtype=F64), 0.0, 1.9, method="tsit5", first_step=1.9, rtol=1e-8,
        atol=1e-10, backend="kernel",
    )  # fmt: skip
    torch.testing.assert_close(found.y[-1], torch.tensor([0.0025], dtype=F64), rtol=1e-5, atol=0)
    assert found.stats.rejected > 0
