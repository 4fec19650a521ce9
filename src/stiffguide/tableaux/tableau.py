"""Butcher tableaux, and what all tableaux share: numbers that are checked when they are born.

A coefficient is a `Fraction` wherever its source is exact, and a `Fraction` made from at least 50
digits where it is irrational (`sqrt`, `decimals` below). Coefficients that a source prints with
finitely many digits are Fractions of these decimals, and `digits` says how far they can be trusted:
every check uses the tolerance 10^(2 - digits). Everything that can be computed from the numbers
(stages, `fsal`, `stiffly_accurate`, `gamma`, ...) is a property and never typed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from stiffguide.errors import TableauError
from stiffguide.tableaux.exact import EXACT_DIGITS, Matrix, Row, square


class Coefficients:
    """What both kinds of tableau have in common."""

    name: str
    b: Row
    order: int
    b_error: Row | None
    error_order: int | None
    dense: Matrix | None
    dense_order: int | None
    digits: int

    @property
    def tolerance(self) -> Fraction:
        """How far a condition may be off, given the digits of the source."""
        return Fraction(1, 10 ** (self.digits - 2))

    @property
    def stages(self) -> int:
        """Number of stages S."""
        return len(self.b)

    @property
    def estimate_order(self) -> int | None:
        """The error estimate is O(dt^(estimate_order + 1)): the lower order of the pair."""
        return None if self.error_order is None else min(self.order, self.error_order)

    def _check_pairs(self) -> None:
        if (self.b_error is None) != (self.error_order is None):
            raise TableauError(f"{self.name}: b_error and error_order come together or not at all")
        if (self.dense is None) != (self.dense_order is None):
            raise TableauError(f"{self.name}: dense and dense_order come together or not at all")


@dataclass(frozen=True)
class Tableau(Coefficients):
    """Coefficients of a Runge-Kutta method with, possibly, an embedded one and a dense output.

    `a` (S, S) may be given with short rows; `b_error` = b - b_hat with b_hat of order
    `error_order`; `dense[i][d]` is the coefficient of theta^(d+1) in the weight b_i(theta) of the
    continuous extension y(t0 + theta dt) = y0 + dt sum_i b_i(theta) k_i, of order `dense_order`;
    where a method is not FSAL, a row for f1 may follow the S rows of the stages. `lower` is the
    same method with another embedded solution, of lower order, whose error damps the first one.
    Raises TableauError, naming the violated condition.
    """

    name: str
    a: Matrix
    b: Row
    c: Row
    order: int
    source: str
    b_error: Row | None = None
    error_order: int | None = None
    dense: Matrix | None = None
    dense_order: int | None = None
    digits: int = EXACT_DIGITS
    lower: Tableau | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "a", square(self.a))
        for field in ("b", "c", "b_error"):
            if getattr(self, field) is not None:
                object.__setattr__(self, field, tuple(map(Fraction, getattr(self, field))))
        self._check_shapes()
        self._check_sums()
        self._check_dense()

    def _check_shapes(self) -> None:
        s = len(self.b)
        for field, rows in (("a", self.a), ("c", self.c), ("b_error", self.b_error)):
            if rows is not None and len(rows) != s:
                raise TableauError(f"{self.name}: {field} has {len(rows)} rows, b has {s} entries")
        if any(len(row) != s for row in self.a):
            raise TableauError(f"{self.name}: a row of a has more than {s} entries")
        self._check_pairs()
        if self.order < 1:
            raise TableauError(f"{self.name}: the order must be at least 1, not {self.order}")

    def _check_sums(self) -> None:
        for i, (row, node) in enumerate(zip(self.a, self.c, strict=True)):
            if abs(sum(row, Fraction(0)) - node) > self.tolerance:
                raise TableauError(
                    f"{self.name}: row {i} of a sums to {float(sum(row)):.17g}, "
                    f"c[{i}] says {float(node):.17g}"
                )
        if abs(sum(self.b, Fraction(0)) - 1) > self.tolerance:
            raise TableauError(f"{self.name}: b sums to {float(sum(self.b)):.17g}, not to 1")
        if self.b_error is None:
            return
        if abs(sum(self.b_error, Fraction(0))) > self.tolerance:
            raise TableauError(
                f"{self.name}: b_error sums to {float(sum(self.b_error)):.3g}, not to 0; "
                "it is b - b_hat"
            )
        if not any(self.b_error):
            raise TableauError(f"{self.name}: b_error is zero: the two methods are the same")

    def _check_dense(self) -> None:
        if self.dense is None:
            return
        if len(self.dense) not in (self.stages, self.stages + (not self.fsal)):
            raise TableauError(f"{self.name}: dense has {len(self.dense)} rows of weights")
        ends = (*self.b, Fraction(0))
        for i, row in enumerate(self.dense):
            if abs(sum(row, Fraction(0)) - ends[i]) > self.tolerance:
                raise TableauError(
                    f"{self.name}: dense row {i} gives {float(sum(row)):.17g} at theta = 1, "
                    f"b says {float(ends[i]):.17g}"
                )

    @cached_property
    def explicit(self) -> bool:
        """a is strictly lower triangular."""
        return not any(self.a[i][j] for i in range(self.stages) for j in range(i, self.stages))

    @cached_property
    def diagonally_implicit(self) -> bool:
        """a is lower triangular but not strictly so."""
        upper = any(self.a[i][j] for i in range(self.stages) for j in range(i + 1, self.stages))
        return not upper and not self.explicit

    @cached_property
    def explicit_first_stage(self) -> bool:
        """The first stage is f(t0, y0)."""
        return self.c[0] == 0 and not any(self.a[0])

    @cached_property
    def gamma(self) -> Fraction | None:
        """The one non-zero value on the diagonal of a, if there is exactly one."""
        values = {self.a[i][i] for i in range(self.stages)} - {Fraction(0)}
        return values.pop() if len(values) == 1 else None

    @cached_property
    def singly_diagonal(self) -> bool:
        """a is lower triangular with one gamma in all stages, but for an explicit first one."""
        later = range(int(self.explicit_first_stage), self.stages)
        alike = self.gamma is not None and all(self.a[i][i] == self.gamma for i in later)
        return self.diagonally_implicit and alike

    @cached_property
    def stiffly_accurate(self) -> bool:
        """The last stage is y1."""
        return self.c[-1] == 1 and self.a[-1] == self.b

    @cached_property
    def fsal(self) -> bool:
        """The last stage of a step is the first of the next."""
        return self.stages > 1 and self.explicit_first_stage and self.stiffly_accurate

    @property
    def estimate_order(self) -> int | None:
        """The error estimate is O(dt^(estimate_order + 1)): the lower order of the pair.

        With `lower` the estimate is error^2/|(error, lower error)|.
        """
        if self.error_order is None:
            return None
        if self.lower is not None and self.lower.error_order is not None:
            return 2 * self.error_order - self.lower.error_order
        return min(self.order, self.error_order)

    @cached_property
    def companion_stage(self) -> int | None:
        """The stage that evaluates f at the embedded solution, as the second one of Heun's."""
        found = (j for j in range(self.stages) if self.a[j] == self.b_hat and self.c[j] == 1)
        return next(found, None)

    @property
    def b_hat(self) -> Row | None:
        """Weights of the embedded method."""
        if self.b_error is None:
            return None
        return tuple(x - e for x, e in zip(self.b, self.b_error, strict=True))
