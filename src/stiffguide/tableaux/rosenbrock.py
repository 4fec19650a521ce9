"""Tableaux of Rosenbrock methods: the numbers of a program, checked against those of the book."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from stiffguide.errors import TableauError
from stiffguide.tableaux.exact import EXACT_DIGITS, Matrix, Row, invert_lower, matmul, square
from stiffguide.tableaux.tableau import Coefficients


@dataclass(frozen=True)
class RosenbrockTableau(Coefficients):
    """Coefficients of a Rosenbrock method, in the form that a program uses.

    With W = I/(dt gamma) - J, stage i solves (Hairer and Wanner II, IV.7, eq. 7.25)
    W u_i = f(t0 + c_i dt, y0 + sum_j a_ij u_j) + sum_j (C_ij/dt) u_j + g_i dt df/dt,
    y1 = y0 + sum_i b_i u_i, error = sum_i b_error_i u_i. `a` and `big_c` are strictly lower
    triangular (short rows are completed). `dense[i][d]` weighs u_i by theta^(d+1).
    The coefficients alpha, Gamma of the textbook form (eq. 7.4) are derived, and checked:
    row sums of alpha give c, row sums of Gamma give g.

    Raises TableauError, naming the sum or the row that does not hold.
    """

    name: str
    gamma: Fraction
    a: Matrix
    big_c: Matrix
    b: Row
    c: Row
    g: Row
    order: int
    source: str
    b_error: Row | None = None
    error_order: int | None = None
    dense: Matrix | None = None
    dense_order: int | None = None
    digits: int = EXACT_DIGITS

    def __post_init__(self) -> None:
        object.__setattr__(self, "a", square(self.a))
        object.__setattr__(self, "big_c", square(self.big_c))
        self._check_shapes()
        for i in range(self.stages):
            for letter, matrix, row in (("c", self.alpha, self.c), ("g", self.big_gamma, self.g)):
                if abs(sum(matrix[i], Fraction(0)) - row[i]) > self.tolerance:
                    raise TableauError(
                        f"{self.name}: {letter}[{i}] is {float(row[i]):.17g}, the row sum that "
                        f"belongs to it is {float(sum(matrix[i])):.17g}"
                    )
        if abs(sum(self.weights, Fraction(0)) - 1) > self.tolerance:
            raise TableauError(f"{self.name}: the weights sum to {float(sum(self.weights)):.17g}")
        if (
            self.error_weights is not None
            and abs(sum(self.error_weights, Fraction(0))) > self.tolerance
        ):
            raise TableauError(f"{self.name}: the embedded weights do not sum to 1")
        for i, row in enumerate(self.dense or ()):
            if abs(sum(row, Fraction(0)) - self.b[i]) > self.tolerance:
                raise TableauError(f"{self.name}: dense row {i} does not end at b[{i}]")

    def _check_shapes(self) -> None:
        s = len(self.b)
        fields = ("a", "big_c", "c", "g", "b_error", "dense")
        for field in fields:
            rows = getattr(self, field)
            if rows is not None and len(rows) != s:
                raise TableauError(f"{self.name}: {field} has {len(rows)} rows, b has {s} entries")
        for matrix in (self.a, self.big_c):
            if any(matrix[i][j] for i in range(s) for j in range(i, s)):
                raise TableauError(f"{self.name}: a and big_c must be strictly lower triangular")
        if self.gamma <= 0:
            raise TableauError(f"{self.name}: gamma must be positive")
        self._check_pairs()

    @classmethod
    def from_textbook(
        cls,
        *,
        name: str,
        alpha: Matrix,
        big_gamma: Matrix,
        weights: Row,
        order: int,
        source: str,
        error_weights: Row | None = None,
        error_order: int | None = None,
        digits: int = EXACT_DIGITS,
    ) -> RosenbrockTableau:
        """Build from alpha, Gamma (diagonal included) and b of eq. 7.4; rows may be short."""
        alpha, big_gamma = square(alpha), square(big_gamma)
        _check_textbook(
            name, alpha, big_gamma, {"weights": weights, "error_weights": error_weights}
        )
        gamma = big_gamma[0][0]
        inverse = invert_lower(big_gamma)
        s = len(weights)
        big_c = tuple(
            tuple((1 / gamma if i == j else Fraction(0)) - inverse[i][j] for j in range(s))
            for i in range(s)
        )
        return cls(
            name=name,
            gamma=gamma,
            a=matmul(alpha, inverse),
            big_c=big_c,
            b=matmul((weights,), inverse)[0],
            c=tuple(sum(row, Fraction(0)) for row in alpha),
            g=tuple(sum(row, Fraction(0)) for row in big_gamma),
            order=order,
            source=source,
            b_error=None if error_weights is None else matmul((error_weights,), inverse)[0],
            error_order=error_order,
            digits=digits,
        )

    @cached_property
    def big_gamma(self) -> Matrix:
        """Gamma of the textbook form (S, S), diagonal included: (I/gamma - C)^-1."""
        s = self.stages
        inverse = tuple(
            tuple((1 / self.gamma if i == j else Fraction(0)) - self.big_c[i][j] for j in range(s))
            for i in range(s)
        )
        return invert_lower(inverse)

    @cached_property
    def alpha(self) -> Matrix:
        """Alpha of the textbook form (S, S): a Gamma."""
        return matmul(self.a, self.big_gamma)

    @cached_property
    def weights(self) -> Row:
        """Weights of the textbook form: b Gamma."""
        return matmul((self.b,), self.big_gamma)[0]

    @cached_property
    def error_weights(self) -> Row | None:
        """b - b_hat of the textbook form."""
        return None if self.b_error is None else matmul((self.b_error,), self.big_gamma)[0]

    @cached_property
    def stiffly_accurate(self) -> bool:
        """alpha_Si + Gamma_Si = weights_i and sum of alpha_S = 1 (Hairer and Wanner, IV.7.15)."""
        last = [x + y for x, y in zip(self.alpha[-1], self.big_gamma[-1], strict=True)]
        close = all(abs(x - y) <= self.tolerance for x, y in zip(last, self.weights, strict=True))
        return close and abs(self.c[-1] - 1) <= self.tolerance

    @cached_property
    def fsal(self) -> bool:
        """The last stage evaluates f at (t1, y1), which the next step needs."""
        return self.c[-1] == 1 and self.a[-1] == self.b


def _check_textbook(
    name: str, alpha: Matrix, big_gamma: Matrix, weights: Mapping[str, Row | None]
) -> None:
    s = len(big_gamma)
    rows = {"alpha": alpha, **{label: row for label, row in weights.items() if row is not None}}
    for label, row in rows.items():
        if len(row) != s:
            raise TableauError(f"{name}: {label} has {len(row)} entries, Gamma has {s} rows")
    if not s or any(len(row) != s for row in (*alpha, *big_gamma)):
        raise TableauError(f"{name}: alpha and Gamma must be square, and not empty")
    above = any(alpha[i][j] for i in range(s) for j in range(i, s))
    if above or any(big_gamma[i][j] for i in range(s) for j in range(i + 1, s)):
        raise TableauError(f"{name}: alpha must be strictly lower triangular, Gamma lower")
    diagonal = {big_gamma[i][i] for i in range(s)}
    if len(diagonal) > 1 or min(diagonal) <= 0:
        raise TableauError(
            f"{name}: the diagonal of Gamma must be one positive gamma, not "
            f"{', '.join(f'{float(x):.17g}' for x in sorted(diagonal))}"
        )
