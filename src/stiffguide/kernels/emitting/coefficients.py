"""What the emitters need of a method: the numbers of its tableau, as the eager steppers do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stiffguide.errors import UnsupportedError
from stiffguide.methods.esdirk import Esdirk
from stiffguide.methods.explicit_rk import ExplicitRK
from stiffguide.methods.rosenbrock import Rosenbrock
from stiffguide.sharing.pair import ends
from stiffguide.stepping.contracts import Method
from stiffguide.stepping.interpolate import extrapolation
from stiffguide.tableaux.continuous import continuous_extension, damped_extension
from stiffguide.tableaux.exact import floats
from stiffguide.tableaux.rosenbrock import RosenbrockTableau
from stiffguide.tableaux.stability import is_a_stable
from stiffguide.tableaux.tableau import Tableau

Row = tuple[float, ...]


@dataclass(frozen=True)
class Interpolant:
    """Coefficient d of theta^(d+1) is (dt) sum_j weights[d][j] k_j; without weights: Hermite."""

    weights: tuple[Row, ...] | None
    with_dt: bool
    late: int = 0  # stages that serve the interpolant alone
    filters: tuple[Row, ...] = ()  # of stages, whose sums go through W^-1 and follow the stages

    @property
    def degree(self) -> int:
        """The degree D of the polynomial."""
        return 3 if self.weights is None else len(self.weights)


@dataclass(frozen=True)
class Coefficients:
    """A method in float64. Letters as in `Tableau` and `RosenbrockTableau`."""

    name: str
    family: str  # "rosenbrock", "explicit", "esdirk"
    order: int
    error_order: int
    stages: int  # late ones not counted
    a: tuple[Row, ...]
    b: Row
    c: Row
    b_error: Row
    interpolant: Interpolant
    gamma: float = 0.0
    big_c: tuple[Row, ...] = ()
    g: Row = ()
    f_at: int | None = None  # the stage that is f(t1, y1)
    accurate: bool = False  # y1 is where the last stage was evaluated
    b_lower: Row | None = None  # a second, lower estimate
    guesses: tuple[Row, ...] = ()  # of a Newton iteration: weights of f0 and the stages before
    implicit: tuple[bool, ...] = ()
    filtered: bool = False  # the error goes through W^-1
    ends: tuple[int, int] | None = None  # two stages at t1, if there are two


def of(method: Method) -> Coefficients:
    """The numbers of a method; raises UnsupportedError where no kernel is emitted for it."""
    known = _known.get(id(method))
    if known is None or known[0] is not method:
        if len(_known) >= REMEMBERED:
            _known.clear()
        known = _known[id(method)] = (method, _read(method))
    return known[1]


REMEMBERED = 256
_known: dict[int, tuple[Method, Coefficients]] = {}


def _read(method: Method) -> Coefficients:
    if method.error_order is None:
        raise UnsupportedError(f"{method.name} has no error estimate: a kernel chooses dt by it")
    # exactly: one that is made of them steps in its own way
    if type(method) is Rosenbrock:
        return _rosenbrock(method.tableau, method.error_order)
    if type(method) is ExplicitRK:
        return _explicit(method.tableau, method.error_order)
    if type(method) is Esdirk:
        return _esdirk(method.tableau, method.error_order)
    raise UnsupportedError(
        f"{method.name} has no kernel: explicit, Rosenbrock and (E)SDIRK methods do; "
        "use one of these, or backend='eager'"
    )


def _transposed(rows: Any) -> tuple[Row, ...]:
    return tuple(zip(*(floats(row) for row in rows), strict=True))


def _lower(matrix: Any) -> tuple[Row, ...]:
    return tuple(floats(row[:i]) for i, row in enumerate(matrix))


def _rosenbrock(tableau: RosenbrockTableau, error_order: int) -> Coefficients:
    dense = None if tableau.dense is None else _transposed(tableau.dense)
    assert tableau.b_error is not None
    return Coefficients(
        name=tableau.name,
        family="rosenbrock",
        order=tableau.order,
        error_order=error_order,
        stages=tableau.stages,
        a=_lower(tableau.a),
        b=floats(tableau.b),
        c=floats(tableau.c),
        b_error=floats(tableau.b_error),
        interpolant=Interpolant(dense, with_dt=False),
        gamma=float(tableau.gamma),
        big_c=_lower(tableau.big_c),
        g=floats(tableau.g),
        f_at=tableau.stages - 1 if tableau.fsal else None,
        accurate=tableau.fsal,
    )


def _explicit(tableau: Tableau, error_order: int) -> Coefficients:
    lower = None if tableau.lower is None else tableau.lower.b_error
    assert tableau.b_error is not None
    end = [j for j, row in enumerate(tableau.a) if row == tableau.b and tableau.c[j] == 1]
    weights = [w for w in (tableau.b, tableau.b_error, lower) if w is not None]
    used = [j for j in range(tableau.stages) if any(w[j] for w in weights)]
    companion = tableau.companion_stage
    n = 1 + max([*used, *end, *([] if companion is None else [companion])])
    return Coefficients(
        name=tableau.name,
        family="explicit",
        order=tableau.order,
        error_order=error_order,
        stages=n,
        a=_lower(tableau.a),
        b=floats(tableau.b[:n]),
        c=floats(tableau.c),
        b_error=floats(tableau.b_error[:n]),
        interpolant=Interpolant(
            _transposed(continuous_extension(tableau).weights), True, tableau.stages - n
        ),
        f_at=end[0] if end else None,
        accurate=bool(end) and end[0] == n - 1,
        b_lower=None if lower is None else floats(lower[:n]),
        ends=ends(tableau),
    )


def _esdirk(tableau: Tableau, error_order: int) -> Coefficients:
    assert tableau.b_error is not None
    assert tableau.gamma is not None
    hat, extension = tableau.b_hat, damped_extension(tableau)
    return Coefficients(
        name=tableau.name,
        family="esdirk",
        order=tableau.order,
        error_order=error_order,
        stages=tableau.stages,
        a=_lower(tableau.a),
        b=floats(tableau.b),
        c=floats(tableau.c),
        b_error=floats(tableau.b_error),
        interpolant=Interpolant(
            _transposed(extension.weights), True, filters=tuple(map(floats, extension.filters))
        ),
        gamma=float(tableau.gamma),
        f_at=tableau.stages - 1 if tableau.fsal else None,
        accurate=tableau.stiffly_accurate,
        guesses=tuple(extrapolation(floats(tableau.c), i) for i in range(tableau.stages)),
        implicit=tuple(tableau.a[i][i] != 0 for i in range(tableau.stages)),
        filtered=hat is not None and not is_a_stable(tableau, hat),
    )
