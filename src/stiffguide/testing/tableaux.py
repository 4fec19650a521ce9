"""Tableaux of a given order, by families whose order conditions hold in rational arithmetic.

Explicit: Kutta's families of up to 4 stages (Hairer, Norsett and Wanner I, II.1), and extrapolated
Euler steps of any order (II.9). Implicit: collocation (II.7) and SDIRK methods. Rosenbrock: with
two and three stages (Hairer and Wanner II, IV.7). Every tableau is drawn with the claims that its
conditions prove, no less and no more; its embedded solution is of a lower order.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction as F
from typing import TypeVar

from hypothesis import assume
from hypothesis import strategies as st

from stiffguide.errors import InputError, TableauError
from stiffguide.tableaux.exact import Matrix, Row
from stiffguide.tableaux.order import AnyTableau, prove
from stiffguide.tableaux.rosenbrock import RosenbrockTableau
from stiffguide.tableaux.tableau import Tableau

Draw = st.DrawFn

LARGEST = 20  # a coefficient beyond it makes a method that nobody wants
BY_EXTRAPOLATION = 5  # the order from which explicit ones are drawn so
MOST = 8  # the highest order
COLLOCATED = 4  # stages of a collocation method at most

nodes: st.SearchStrategy[F] = st.fractions(F(1, 6), F(5, 6), max_denominator=12)
gammas: st.SearchStrategy[F] = st.fractions(F(1, 5), F(3, 4), max_denominator=20)
betas: st.SearchStrategy[F] = st.fractions(
    F(1, 6), F(2), max_denominator=12
)  # beta_2 of a Rosenbrock method


@st.composite
def explicit_tableaux(draw: Draw, order: int | None = None) -> Tableau:
    """An explicit pair of an order from 1 to 8; drawn, where it is not given."""
    order = draw(st.integers(1, MOST)) if order is None else order
    if not 1 <= order <= MOST:
        raise InputError(f"explicit_tableaux: order must be from 1 to {MOST}, not {order}")
    if order >= BY_EXTRAPOLATION:
        return draw(_extrapolated(order))
    a, b, hat = {1: _first, 2: _second, 3: _third, 4: _fourth}[order](draw)
    return _checked(_pair("explicit", a, b, order, hat, max(1, min(2, order - 1))))


@st.composite
def implicit_tableaux(draw: Draw, order: int | None = None) -> Tableau:
    """Collocation at any nodes (order 1 to 4, full), or an SDIRK pair of order 2 or 3."""
    order = draw(st.integers(1, COLLOCATED)) if order is None else order
    if not 1 <= order <= COLLOCATED:
        raise InputError(f"implicit_tableaux: order must be from 1 to {COLLOCATED}, not {order}")
    if order in (2, 3) and draw(st.booleans()):
        return _sdirk(draw, order)
    c = sorted(draw(st.lists(nodes, min_size=order, max_size=order, unique=True)))
    basis = [_lagrange(c, i) for i in range(order)]
    a = tuple(tuple(_integral(p, x) for p in basis) for x in c)
    b = tuple(_integral(p, F(1)) for p in basis)
    return _checked(_pair("collocation", a, b, order, None, None))


@st.composite
def rosenbrock_tableaux(draw: Draw, order: int | None = None) -> RosenbrockTableau:
    """A Rosenbrock pair of order 2 (two stages) or 3 (three stages)."""
    order = draw(st.integers(2, 3)) if order is None else order
    if order not in (2, 3):
        raise InputError(f"rosenbrock_tableaux: order must be 2 or 3, not {order}")
    gamma = draw(gammas)
    assume(gamma != F(1, 2))
    alpha, below, weights, hat = (_two_linear if order == 2 else _three_linear)(draw, gamma)
    error = tuple(x - y for x, y in zip(weights, hat, strict=True))
    _moderate(weights, *below)
    assume(any(error))
    return _checked(
        RosenbrockTableau.from_textbook(
            name=f"rosenbrock{order}",
            alpha=alpha,
            big_gamma=tuple((*row, gamma) for row in below),
            weights=weights,
            order=order,
            source="drawn",
            error_weights=error,
            error_order=order - 1,
        )
    )


def tableaux(order: int | None = None) -> st.SearchStrategy[AnyTableau]:
    """Any of them, of an order from 1 to 8."""
    families: list[st.SearchStrategy[AnyTableau]] = [explicit_tableaux(order)]
    if order is None or order <= COLLOCATED:
        families.append(implicit_tableaux(order))
    if order in (None, 2, 3):
        families.append(rosenbrock_tableaux(order))
    return st.one_of(*families)


def _first(draw: Draw) -> tuple[Matrix, Row, Row]:
    node, weight = draw(nodes), draw(nodes)
    assume(node * weight != F(1, 2))
    other = draw(nodes.filter(lambda x: x != weight and x * node != F(1, 2)))
    return ((), (node,)), (1 - weight, weight), (1 - other, other)


def _second(draw: Draw) -> tuple[Matrix, Row, Row]:
    c = draw(nodes)
    return ((), (c,)), (1 - 1 / (2 * c), 1 / (2 * c)), (F(1), F(0))


def _third(draw: Draw) -> tuple[Matrix, Row, Row]:
    u, v = draw(nodes), draw(nodes)
    assume(u not in (v, F(2, 3)))
    b2, b3 = (v / 2 - F(1, 3)) / (u * (v - u)), (F(1, 3) - u / 2) / (v * (v - u))
    a32 = 1 / (6 * b3 * u)
    return ((), (u,), (v - a32, a32)), (1 - b2 - b3, b2, b3), (1 - 1 / (2 * u), 1 / (2 * u), F(0))


def _fourth(draw: Draw) -> tuple[Matrix, Row, Row]:
    """Kutta's family with c4 = 1: the weights by quadrature, the rest by the other conditions."""
    u, v = draw(nodes), draw(nodes)
    common = 6 * u * v - 4 * (u + v) + 3
    assume(u != v and F(1, 2) not in (u, v) and common)
    b2 = (2 * v - 1) / (12 * u * (v - u) * (1 - u))
    b3 = (1 - 2 * u) / (12 * v * (v - u) * (1 - v))
    b4 = common / (12 * (1 - u) * (1 - v))
    a32 = v * (v - u) / (2 * u * (1 - 2 * u))
    a42 = (1 - u) * (u + v - 1 - (2 * v - 1) ** 2) / (2 * u * (v - u) * common)
    a43 = (1 - 2 * u) * (1 - u) * (1 - v) / (v * (v - u) * common)
    a = ((), (u,), (v - a32, a32), (1 - a42 - a43, a42, a43))
    return a, (1 - b2 - b3 - b4, b2, b3, b4), (1 - 1 / (2 * u), 1 / (2 * u), F(0), F(0))


def _two_linear(draw: Draw, gamma: F) -> tuple[Matrix, Matrix, Row, Row]:
    """alpha, Gamma below its diagonal, weights and embedded ones, of order 2."""
    node, beta = draw(nodes), draw(betas)
    weight = (F(1, 2) - gamma) / beta
    return ((), (node,)), ((), (beta - node,)), (1 - weight, weight), (F(1), F(0))


def _three_linear(draw: Draw, gamma: F) -> tuple[Matrix, Matrix, Row, Row]:
    """The same of order 3: beta_2, the nodes and b_3 are free."""
    second, third, last, beta = draw(nodes), draw(nodes), draw(nodes), draw(betas)
    middle = (F(1, 3) - last * third**2) / second**2
    sum_3 = (F(1, 2) - gamma - middle * beta) / last
    b32 = (F(1, 6) - gamma + gamma**2) / (last * beta)
    below = ((), (beta - second,), (sum_3 - b32 - third, b32))
    share = (F(1, 2) - gamma) / beta
    weights = (1 - middle - last, middle, last)
    return ((), (second,), (third,)), below, weights, (1 - share, share, F(0))


@st.composite
def _extrapolated(draw: Draw, order: int) -> Tableau:
    """Euler steps with n_1 < n_2 < ... parts, extrapolated to dt = 0 by Aitken and Neville."""
    gaps = draw(st.lists(st.integers(1, 2), min_size=order, max_size=order))
    parts = [sum(gaps[: i + 1]) for i in range(order)]
    ends: list[dict[int, F]] = []
    a: list[dict[int, F]] = [{}]  # the first stage, f0, is shared
    for n in parts:
        weights = {0: F(1, n)}
        for _ in range(n - 1):
            a.append(dict(weights))
            weights[len(a) - 1] = F(1, n)
        ends.append(weights)
    stages = len(a)

    def extrapolated(count: int) -> Row:
        chosen = parts[-count:]
        total = [F(0)] * stages
        for n, end in zip(chosen, ends[-count:], strict=True):
            share = F(1)
            for m in chosen:
                share *= F(n, n - m) if m != n else 1
            for j, w in end.items():
                total[j] += share * w
        return tuple(total)

    rows = tuple(tuple(row.get(j, F(0)) for j in range(i)) for i, row in enumerate(a))
    b, hat = extrapolated(order), extrapolated(order - 1)
    return _checked(_pair("extrapolated", rows, b, order, hat, order - 1))


def _sdirk(draw: Draw, order: int) -> Tableau:
    """Two stages for order 2, three for order 3, with any gamma."""
    g, u = draw(gammas), draw(nodes)
    assume(g not in (u, F(1, 2)))
    if order == 2:
        weight = (F(1, 2) - g) / (u - g)
        a: Matrix = ((g,), (u - g, g))
        return _checked(_pair("sdirk", a, (1 - weight, weight), 2, (F(1), F(0)), 1))
    v = draw(nodes)
    assume(v not in (u, g))
    basis = [_lagrange((g, u, v), i) for i in range(3)]
    b = tuple(_integral(p, F(1)) for p in basis)
    assume(b[2])
    # sum b_i a_ij c_j = 1/6, in which a32 is what is left
    a32 = (F(1, 6) - g / 2 - b[1] * (u - g) * g - b[2] * (v - g) * g) / (b[2] * (u - g))
    a = ((g,), (u - g, g), (v - g - a32, a32, g))
    share = (F(1, 2) - g) / (u - g)
    return _checked(_pair("sdirk", a, b, 3, (1 - share, share, F(0)), 2))


def _pair(
    name: str, a: Matrix, b: Row, order: int, hat: Row | None, error_order: int | None
) -> Tableau:
    _moderate(b, *a)
    error = None if hat is None else tuple(x - y for x, y in zip(b, hat, strict=True))
    assume(error is None or any(error))
    return Tableau(
        name=f"{name}{order}",
        a=a,
        b=b,
        c=tuple(sum(row, F(0)) for row in a),
        order=order,
        source="drawn",
        b_error=error,
        error_order=error_order,
    )


T = TypeVar("T", Tableau, RosenbrockTableau)


def _checked(tableau: T) -> T:
    """The tableau, unless by chance it fulfils more conditions than it claims."""
    try:
        prove(tableau)
    except TableauError as error:
        if "at least" not in str(error):  # which would be a mistake of the family
            raise
        assume(False)
    return tableau


def _moderate(*rows: Sequence[F]) -> None:
    assume(all(abs(x) <= LARGEST * max(1, len(row)) for row in rows for x in row))


def _lagrange(c: Sequence[F], i: int) -> Row:
    """Coefficients of 1, x, x^2, ... of the polynomial that is 1 at c_i and 0 at the others."""
    poly: list[F] = [F(1)]
    for j, node in enumerate(c):
        if j != i:
            scale = 1 / (c[i] - node)
            shifted = [F(0), *poly]
            poly = [scale * (s - node * p) for s, p in zip(shifted, [*poly, F(0)], strict=True)]
    return tuple(poly)


def _integral(poly: Sequence[F], end: F) -> F:
    """From 0 to `end`."""
    return sum((p * end ** (k + 1) / (k + 1) for k, p in enumerate(poly)), F(0))
