"""The explicit method that shares its rows with a stiff one.

It knows the spectral radius of J along its last step for nothing: two of its stages lie at the same
time (Hairer and Wanner II, IV.2). It is *at its limit* where dt times that exceeds a part of its
stability limit, for under a PI controller dt settles below the limit. After some attempts at the
limit in a row the stiff method is tried, and after long without any, too: stiffness that holds dt
back may hide from the estimate. A trial has to pay, or the row goes back and is more patient, so
that what trials cost stays a small part of the whole.
"""

from __future__ import annotations

import numpy as np
import torch

from stiffguide.methods.explicit_rk import ExplicitRK
from stiffguide.sharing.pair import MOST, Price, apart, ends, stability_limit
from stiffguide.sharing.wrapped import Wrapped
from stiffguide.stepping.contracts import Field, Step
from stiffguide.stepping.course import Array, Course, Watched
from stiffguide.stepping.tolerance import Tolerance

AT_LIMIT = 0.65  # of the stability limit
CALM = 3  # accepted attempts below the limit that make a run end
REJECTED = 3  # attempts in a row, after which further ones count: the edge of stability


class Explicit(Wrapped):
    """An explicit Runge-Kutta method with two stages at the end of the step."""

    def __init__(self, inner: ExplicitRK, price: Price) -> None:
        super().__init__(inner, price)
        self.limit: float = stability_limit(inner.tableau)
        pair = ends(inner.tableau)
        assert pair is not None
        self._pair, self._apart = pair, apart(inner.tableau, pair)

    def _after(self, f: Field, step: Step, before: Course, tolerance: Tolerance) -> Course:
        pull, direction = self._pull(step, tolerance)
        seen = before._replace(pull=pull, direction=direction, dt=step.dt.abs().numpy())
        return self._watched(seen._replace(rejected=np.zeros_like(seen.rejected)), before)

    def _pull(self, step: Step, tolerance: Tolerance) -> tuple[Array, Array]:
        """|dt| times the spectral radius along the last two stages, and the way between them."""
        with torch.no_grad():
            k, (first, second) = torch.stack(step.stages), self._pair
            scale = tolerance.scale(step.y0, step.y1)
            weights = k.new_tensor(self._apart[: len(k)])
            apart = torch.tensordot(weights, k, 1) / scale
            change = (k[second] - k[first]) / scale
            # `apart` is without the factor dt
            ratio = torch.linalg.vector_norm(change, dim=-1)
            ratio = ratio / torch.linalg.vector_norm(apart, dim=-1)
            pull = torch.nan_to_num(ratio, nan=0.0, posinf=0.0)
            return pull.to(torch.float64).numpy(), apart.to(torch.float64).numpy()

    def _watched(self, seen: Course, before: Course) -> Course:
        """The course after an attempt that counts."""
        high = seen.pull > AT_LIMIT * self.limit
        calm = np.where(high, 0, before.calm + 1)
        run = np.where(high, before.run + 1, np.where(calm >= CALM, 0, before.run))
        since = before.since + 1
        leaving = (run >= before.patience) | (since >= before.probe)
        after = seen._replace(run=run, calm=calm, since=since, leaving=leaving)
        return after.where(~before.leaving, before)

    def retry(self, before: Watched, tried: Watched) -> Watched:
        """As the method does it; many rejections in a row are counted like accepted attempts."""
        old, seen = before.course, tried.course
        rejected = old.rejected + 1
        seen = old._replace(pull=seen.pull, rejected=rejected)
        counted = self._watched(seen, old).where(rejected > REJECTED, seen)
        course = counted.where(~old.leaving, old)
        return Watched(self.inner.retry(before.inner, tried.inner), course)

    def enter(self, old: Course, t: Array) -> Course:
        """The course of rows that come back from the stiff method."""
        none = np.zeros_like(old.since)
        failed = ~old.leaving & (old.trial > 0)
        more = np.minimum(2 * old.patience, MOST)
        return old._replace(
            leaving=np.zeros_like(old.leaving),
            run=none,
            calm=none,
            rejected=none,
            since=none,
            patience=np.where(failed, more, old.patience),
            trial=np.zeros_like(old.trial),
        )
