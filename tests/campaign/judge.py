"""Whether the end of a solve is right, where no formula says what is.

Two solvers of scipy tell at tolerances far below the one asked for; where they contradict each
other there is no verdict. A success may be off by a thousand tolerances. Some solutions multiply an
error of one tolerance on their way: how much is measured, by solving again from states that are one
tolerance off, at several times, and then a thousand times that is allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from campaign.cases import Unknown, Wrong

Array = NDArray[np.float64]
Field = Callable[[float, Array], Array]

ALLOWED = 1e3  # tolerances
CALLS = 20_000  # of a field, by one reference


class Reference:
    """Solves of y' = f(t, y), y(t0) = y0, to t1, by scipy."""

    def __init__(self, f: Field, y0: Array, t0: float, t1: float, rtol: float, atol: Any) -> None:
        self._f, self._y0, self._t0, self._t1 = f, np.asarray(y0, float), t0, t1
        self._rtol, self._atol = rtol, np.broadcast_to(np.asarray(atol, float), self._y0.shape)

    def judge(self, end: Array, who: str) -> None:
        """Raise `Wrong` if the end of a success is wrong, `Unknown` if that cannot be said."""
        if not np.isfinite(end).all():
            raise Wrong("wrong", f"{who}: a success that is {end.tolist()}")
        path = self._solve("LSODA", 1e-3)
        off = self._tolerances(end, path.y[:, -1])
        if off <= ALLOWED:
            return
        again = self._solve("Radau", 1e-4).y[:, -1]
        if self._tolerances(again, path.y[:, -1]) > 0.1 * off:
            raise Unknown("the references contradict each other")
        grown = self._growth(path)
        if off <= ALLOWED * max(1.0, grown):
            return
        raise Wrong(
            "wrong",
            f"{who}: a success that is {off:.3g} tolerances off, where one tolerance grows to "
            f"{grown:.3g}",
        )

    def end(self) -> Array:
        """The end, by one reference."""
        y: Array = self._solve("LSODA", 1e-3).y[:, -1]
        return y

    def _growth(self, path: Any) -> float:
        """To how many tolerances one of them grows, from states on the path."""
        most, signs = 0.0, np.random.default_rng(0)
        for at in sorted({int(share * (path.t.size - 1)) for share in (0, 0.1, 0.3, 0.6, 0.9)}):
            start = path.y[:, at]
            size = self._atol + self._rtol * np.abs(start)
            for _ in range(2):
                moved = start + size * signs.choice([-1.0, 1.0], size.shape)
                try:
                    end = self._solve("LSODA", 1e-3, moved, path.t[at]).y[:, -1]
                except Unknown:
                    return float("inf")  # it is not defined a tolerance away
                most = max(most, self._tolerances(end, path.y[:, -1]))
        return most

    def _tolerances(self, y: Array, right: Array) -> float:
        return float((np.abs(y - right) / (self._atol + self._rtol * np.abs(right))).max())

    def _solve(
        self, method: str, tighter: float, y0: Array | None = None, t0: float | None = None
    ) -> Any:
        calls = 0

        def f(t: float, y: Array) -> Array:
            nonlocal calls
            calls += 1
            if calls > CALLS:
                raise Unknown("too dear for a reference")
            return self._f(t, y)

        t0 = self._t0 if t0 is None else t0
        start = self._y0 if y0 is None else y0
        rtol = max(self._rtol * tighter, 1e-12)
        settings = {"rtol": rtol, "atol": self._atol * tighter, "method": method}
        if t0 == self._t1:
            raise Unknown("nothing is left to solve")
        try:
            with np.errstate(all="ignore"):
                found = solve_ivp(f, (t0, self._t1), start, **settings)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
            raise Unknown(f"no reference: {error}") from error
        if not found.success or not np.isfinite(found.y).all():
            raise Unknown("no reference reaches the end")
        return found
