"""The methods that share the rows of a solve, and what their attempts cost.

Costs are counted in evaluations of f, so that the same is chosen on every machine.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np

from stiffguide.methods.explicit_rk import ExplicitRK
from stiffguide.stepping.contracts import Controller, Method
from stiffguide.stepping.course import Course
from stiffguide.tableaux.tableau import Tableau

RUN = 8  # attempts at the limit before a trial; each trial that is lost doubles it, up to
MOST = 128
CHEAP = 20  # evaluations for a stiff step, up to which so few attempts are enough
PROBE = 10  # trials' worth of attempts, after which there is one in any case
TRIAL = 120  # evaluations of a trial,
SHORTEST, LONGEST = 4, 12  # in so many attempts;
WARM = 40  # of a multistep method, which begins at order 1


class Price(NamedTuple):
    """What attempts cost, in evaluations of f."""

    explicit: float
    stiff: float
    trial: int  # attempts of one

    @classmethod
    def of(cls, explicit: ExplicitRK, stiff: Method, each: float) -> Price:
        """Those of two methods, where an attempt of the stiff one costs so much."""
        trial = max(SHORTEST, min(LONGEST, round(TRIAL / each)))
        return cls(explicit.evaluations, each, WARM if stiff.multistep else trial)

    @property
    def worth(self) -> float:
        """Explicit attempts that cost as much as a trial."""
        return self.trial * self.stiff / self.explicit

    def first(self, rows: int, features: int) -> Course:
        """Before the first attempt."""
        run = RUN if self.stiff <= CHEAP else math.ceil(self.worth)
        return Course.first(rows, features, run, math.ceil(PROBE * self.worth))


class Pair(NamedTuple):
    """The methods that share the rows of a solve, and the controllers that suit them."""

    explicit: ExplicitRK
    stiff: Method
    controllers: tuple[Controller, Controller]
    price: Price

    @property
    def names(self) -> tuple[str, str]:
        """Of both, the explicit one first."""
        return self.explicit.name, self.stiff.name

    @property
    def name(self) -> str:
        """Both in one."""
        return f"auto ({self.explicit.name}, {self.stiff.name})"

    @property
    def limit(self) -> float:
        """The stability limit of the explicit one."""
        return stability_limit(self.explicit.tableau)


@cache
def stability_limit(tableau: Tableau) -> float:
    """The largest x with |R(-s)| <= 1 in [0, x], as `stability` has it exactly, but at once."""
    a, b = (np.array(x, dtype=np.float64) for x in (tableau.a, tableau.b))
    terms, v = [1.0], np.ones(len(b))
    for k in range(len(b)):
        terms.append(float(b @ v) * (-1.0) ** (k + 1))
        v = a @ v
    found = []
    for level in (1.0, -1.0):
        roots = np.roots(np.array([*terms[:0:-1], terms[0] - level]))
        real = roots[np.abs(roots.imag) < 1e-9].real
        found += [float(x) for x in real if x > 1e-6]
    return min(found)


def ends(tableau: Tableau) -> tuple[int, int] | None:
    """Two stages at the end of a step, if there are two."""
    found = [i for i, node in enumerate(tableau.c) if node == 1][:2]
    return (found[0], found[1]) if len(found) == 2 else None


def apart(tableau: Tableau, pair: tuple[int, int]) -> tuple[float, ...]:
    """The weights of the way from the state of the first to that of the second, over dt."""
    first, second = (tableau.a[i] for i in pair)
    return tuple(float(x - y) for x, y in zip(second, first, strict=True))
