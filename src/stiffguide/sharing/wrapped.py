"""A method that steps as another does, and says what its attempts tell of the course."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from stiffguide.sharing.pair import Price
from stiffguide.stepping.contracts import Field, Method, Step
from stiffguide.stepping.course import Course, Watched
from stiffguide.stepping.tolerance import Tolerance


class Wrapped:
    """Steps as the method inside does."""

    inner: Method
    price: Price
    name: str
    family: str
    order: int
    error_order: int | None
    implicit: bool
    multistep: bool
    tableau: Any  # None where the method has none

    def __init__(self, inner: Method, price: Price) -> None:
        self.inner, self.price = inner, price
        self.name, self.family = inner.name, inner.family
        self.order, self.error_order = inner.order, inner.error_order
        self.implicit, self.multistep = inner.implicit, inner.multistep
        self.tableau = getattr(inner, "tableau", None)

    def __repr__(self) -> str:
        return repr(self.inner)

    @property
    def dense_order(self) -> int:
        """Order of the interpolant."""
        return self.inner.dense_order

    def init(self, f: Field, t0: Tensor, y0: Tensor) -> Watched:
        """The state of the method, and a course that begins."""
        return Watched(self.inner.init(f, t0, y0), self.price.first(*y0.shape))

    def step(
        self,
        f: Field,
        t0: Tensor,
        dt: Tensor,
        y0: Tensor,
        f0: Tensor,
        state: Watched,
        tolerance: Tolerance,
    ) -> Step:
        """Attempt one step in every row, and say what it tells of the course."""
        step = self.inner.step(f, t0, dt, y0, f0, state.inner, tolerance)
        course = self._after(f, step, state.course, tolerance)
        return step._replace(state=Watched(step.state, course))

    def _after(self, f: Field, step: Step, before: Course, tolerance: Tolerance) -> Course:
        """The course if the attempt is accepted."""
        raise NotImplementedError

    def displace(self, state: Watched, delta: Tensor) -> Watched:
        """As the method does it."""
        return state._replace(inner=self.inner.displace(state.inner, delta))

    def restart(self, state: Watched, where: Tensor) -> Watched:
        """As the method does it; what spoke for the other one is of before."""
        c, go_on = state.course, ~where.numpy()
        course = c._replace(run=c.run * go_on, calm=c.calm * go_on, rejected=c.rejected * go_on)
        return Watched(self.inner.restart(state.inner, where), course)

    def interpolant(self, step: Step, f1: Tensor) -> Tensor:
        """Coefficients (D, B, F) as the method makes them."""
        return self.inner.interpolant(step._replace(state=step.state.inner), f1)
