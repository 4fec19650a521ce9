"""Laws of the derivatives by vertex elimination: those of forward mode, for fewer operations."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from traces import traced

from stiffguide import problems
from stiffguide.graphs.borders import Borders, Tangent
from stiffguide.graphs.derive import (
    CHOICES,
    LARGEST_DERIVED,
    by_elimination,
    by_forward_mode,
    derived,
    size,
)
from stiffguide.graphs.graph import ARITY, Graph
from stiffguide.graphs.scalars import Scalar, total
from stiffguide.graphs.vertex_elimination import Linearised

Tangents = dict[int, Tangent]


def both_ways(graph: Graph, outputs: list[int]) -> tuple[Tangents, Tangents]:
    """The tangents of the outputs by forward mode, and by elimination."""
    borders = Borders(graph)
    tangents = by_forward_mode(borders, outputs)
    return {n: tangents[n] for n in outputs}, by_elimination(borders, outputs, tangents)


def assert_same(
    graph: Graph, outputs: list[int], y: np.ndarray[Any, Any], p: Any = (), *, rtol: float = 1e-9
) -> None:
    """Both ways have the same zeros by structure, and the same numbers at points y (B, F).

    They may differ by a rounding of the largest number on the way; where f is not finite, and
    where forward mode leaves a derivative to differences, there is nothing to agree with.
    """
    forward, eliminated = both_ways(graph, outputs)
    places = [(n, j) for n in outputs for j in forward[n]]
    assert places == [(n, j) for n in outputs for j in eliminated[n]]
    roots = [[way[n][j] for n, j in places] for way in (forward, eliminated)]
    everything = graph.needed([*outputs, *roots[0], *roots[1]])
    t = np.full(len(y), 0.3)
    known = dict(zip(everything, graph.evaluate(everything, t, y, p), strict=True))
    sizes = np.abs([np.broadcast_to(x, t.shape) for x in known.values()])
    largest = np.where(np.isfinite(sizes), sizes, 0).max(0, initial=0)
    for (n, _), a, b in zip(places, *roots, strict=True):
        value, wanted, found = (np.broadcast_to(known[x], t.shape) for x in (n, a, b))
        finite = np.isfinite(value) & np.isfinite(wanted)
        assert np.isfinite(found[finite]).all()
        assert (np.abs(found[finite] - wanted[finite]) <= rtol * largest[finite]).all()


# graphs -------------------------------------------------------------------------------------------

N = 3
OPS = sorted(op for op, arity in ARITY.items() if arity)
# ordinary states, borders of domains, and where exponentials overflow
STATES = [
    [0.4, 1.1, 0.6],
    [0.0, 1.0, -1.0],
    [-0.7, 0.0, 3.0],
    [1.0, 1.0, 0.0],
    [800.0, -800.0, 0.5],
]
places = st.integers(0, 1_000_000)
OFTEN = ["add", "mul", "div"] * 6 + list(CHOICES)
nodes = st.tuples(st.sampled_from([*OPS, *OFTEN]), places, places, places)


def grown(drawn: list[tuple[str, int, int, int]]) -> tuple[Graph, list[int]]:
    """A graph by operations on what was before, rather on the last; its last nodes are the f_i."""
    graph = Graph()
    numbers = [graph.add("y", index=i) for i in range(N)]
    numbers += [graph.add("t"), graph.const(2.0), graph.const(0.3)]
    for op, *wanted in drawn:
        args = [numbers[-1 - k % min(len(numbers), 10)] for k in wanted[: ARITY[op]]]
        numbers.append(graph.add(op, *args))
    return graph, numbers[-N:]


@settings(max_examples=400)
@given(st.lists(nodes, min_size=6, max_size=30))
def test_a_random_graph_has_the_same_derivatives_both_ways(drawn: Any) -> None:
    graph, outputs = grown(drawn)
    assert_same(graph, outputs, np.array(STATES))


def test_a_direction_that_cancels_meets_no_infinite_factor() -> None:
    """tanh(1 / d) + a with d = 2 (3 a) - (6 a - b^2), at b = 0: 1 by a."""
    graph = Graph()
    a, b = (Scalar(graph, graph.add("y", index=i)) for i in range(2))
    root = (1.0 / (2 * (3 * a) - (6 * a - b * b))).apply("tanh") + a
    others = [(3 * a).apply(op) for op in ("sin", "cos", "exp", "tanh")]  # so that 3 a comes last
    for way in both_ways(graph, [root.number, *(x.number for x in others)]):
        assert graph.evaluate([way[root.number][0]], 0.0, [0.5, 0.0]) == [1.0]


def test_an_entry_that_cancels_by_one_way_only_stays() -> None:
    graph = Graph()
    sine = Scalar(graph, graph.add("y", index=0)).apply("sin")
    root = (2 * (3 * sine) - 6 * sine).number
    for way in both_ways(graph, [root]):
        assert set(way[root]) == {0}


# problems -----------------------------------------------------------------------------------------

SMALL = [name for name in problems.names() if problems.get(name).size <= 64]


@pytest.mark.parametrize("name", SMALL)
def test_a_problem_has_the_same_derivatives_both_ways(name: str) -> None:
    problem = problems.get(name)
    g = traced(problem.f, problem.y0)
    y = problem.y0.numpy() + np.array([[0.0], [0.01], [0.3]])
    p = g.parameter_table((), len(y)).numpy()
    assert_same(g.plain.copy(), g.values, y, p, rtol=1e-13)


@pytest.mark.parametrize("name", SMALL)
def test_the_shorter_way_is_taken(name: str) -> None:
    problem = problems.get(name)
    g = traced(problem.f, problem.y0)
    graph = g.plain.copy()
    assert len(derived(g.plain, g.values).graph.nodes) == min(
        size(graph, way) for way in both_ways(graph, g.values)
    )


class Counting(Graph):
    """A graph that counts the products asked of it, those by 1 included."""

    products = 0

    def add(self, op: str, *args: int, value: float = 0.0, index: int = 0) -> int:
        self.products += op == "mul"
        return super().add(op, *args, value=value, index=index)


def counting(plain: Graph) -> Counting:
    return Counting(plain.nodes.copy(), {node: n for n, node in enumerate(plain.nodes)})


def test_elimination_halves_the_work_for_burning_hydrogen() -> None:
    problem = problems.hydrogen_ignition()
    g = traced(problem.f, problem.y0)
    graph = counting(g.plain)
    borders = Borders(graph)
    tangents = by_forward_mode(borders, g.values)
    forward = graph.products
    eliminated = by_elimination(borders, g.values, tangents)
    assert graph.products - forward <= 0.5 * forward
    f = len(g.plain.nodes)
    whole = size(graph, {n: tangents[n] for n in g.values})
    assert size(graph, eliminated) - f <= 0.55 * (whole - f)


@pytest.mark.parametrize(
    "choose",
    [lambda x: x.apply("max", 0.0), lambda x: (x < 0.3).where(x * x, x.apply("log"))],
)
def test_nodes_that_choose_are_eliminated(choose: Any) -> None:
    """n inputs, a sum of them, a choice, n outputs: n edges and not n n through the choice."""
    graph, n, m = Graph(), 8, 6
    y = [Scalar(graph, graph.add("y", index=i)) for i in range(n)]
    middle = choose(total([one * one for one in y]))
    for _ in range(m):
        middle = choose(middle.apply("sin"))
    outputs = [(one * middle).number for one in y]
    forward, eliminated = both_ways(graph, outputs)
    more = [size(graph, way) - len(graph.needed(outputs)) for way in (forward, eliminated)]
    assert more[1] < 0.6 * more[0]
    assert_same(graph, outputs, np.linspace(-1, 1, 5 * n).reshape(5, n), rtol=1e-13)


def test_a_field_is_refused_for_its_shorter_way_alone() -> None:
    """840 rates among 70 species, each with a density that all of them make."""
    graph, n = Graph(), 70
    y = [Scalar(graph, graph.add("y", index=i)) for i in range(n)]
    density = 1.0 / total([one * one for one in y])
    rates = [y[k % n] * y[(k + 1 + k // n) % n] * density for k in range(12 * n)]
    outputs = [total(rates[i::n]).number for i in range(n)]
    both = graph.copy()
    forward, _ = both_ways(both, outputs)
    assert size(both, forward) > LARGEST_DERIVED
    assert len(derived(graph, outputs).graph.nodes) < 0.2 * LARGEST_DERIVED


# vertices -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, -1])
def test_a_chain_between_many_inputs_and_many_outputs_is_multiplied_first(step: int) -> None:
    """n inputs, a chain of m vertices, n outputs, whichever end has the lower numbers."""
    n, m = 6, 5
    graph = counting(Graph())
    slopes = iter([graph.add("p", index=k) for k in range(2 * n + m - 1)])
    chain = [100 + k for k in range(m)][::step]
    edges = {v: {u: next(slopes)} for u, v in pairwise(chain)}
    edges[chain[0]] = {i: next(slopes) for i in range(n)}
    edges |= {~i: {chain[-1]: next(slopes)} for i in range(n)}
    found = Linearised(Borders(graph), edges, sinks=[~i for i in range(n)]).eliminate()
    assert {v: set(into) for v, into in found.items()} == {~i: set(range(n)) for i in range(n)}
    assert graph.products == (m - 2) + n + n * n  # by forward mode n (m - 1) + n n
