"""Work and precision: CPU time and error of many contenders, in turn, and their comparison.

A contender's front holds the runs that no other run of it beats in both time and error. Its time
at an error is read off the front, straight in the logarithms between two runs. Where the error
asked for is larger than any on the front, the cheapest run counts, which does more than was asked;
where it is smaller, the last two runs are extended. Both are marked `*`.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from contenders import Contender
from solvers import Failed, Run
from systems import Case

RTOLS = tuple(10.0**-k for k in range(3, 10))
AROUND = 1e-6  # the tolerance at which the reference contender sets the common error
NO_DIGIT = 0.5  # an error of this size is no answer
SAMPLE, LONG = 5e-3, 0.1  # CPU seconds: of a sample, and of a run that gets one sample only
PATIENCE = 1.0  # CPU seconds: whose run takes longer is asked for no tighter tolerance
WRONG = "success, it says, without a right digit"


class Point(NamedTuple):
    """One run: CPU seconds (median) and error, or why it does not count."""

    rtol: float
    seconds: float = math.nan
    error: float = math.nan
    failure: str = ""


@dataclass
class Curve:
    """A contender on a problem at all its tolerances."""

    name: str
    points: list[Point] = field(default_factory=list)
    first: float = math.nan  # wall seconds of the first run, with all that is compiled for it
    ours: bool = False

    def good(self) -> list[Point]:
        return [p for p in self.points if not p.failure]

    def at(self, rtol: float) -> Point | None:
        return next((p for p in self.points if math.isclose(p.rtol, rtol)), None)


class Matched(NamedTuple):
    """Seconds at an error; `beyond` where no two runs enclose that error."""

    seconds: float
    beyond: bool


def front(points: Sequence[Point]) -> list[Point]:
    """The runs that no other beats in both time and error, from the loosest to the tightest."""
    best: list[Point] = []
    for p in sorted(points, key=lambda p: (p.error, p.seconds)):
        if not best or p.seconds < best[-1].seconds:
            best.append(p)
    return best[::-1]


def matched(points: Sequence[Point], error: float) -> Matched | None:
    """The time at which a contender reaches an error; None where it has no runs to tell."""
    best = front(points)
    if not best:
        return None
    if error >= best[0].error:
        return Matched(best[0].seconds, error > best[0].error)
    if len(best) == 1:
        return None
    after = next((i for i, p in enumerate(best) if p.error <= error), None)
    i = len(best) - 1 if after is None else after
    a, b = best[i - 1], best[i]
    share = math.log(error / a.error) / math.log(b.error / a.error)
    seconds = a.seconds * (b.seconds / a.seconds) ** share
    return Matched(seconds, after is None)


def geometric_mean(values: Sequence[float]) -> float:
    """nan where there is none."""
    return math.exp(statistics.fmean(map(math.log, values))) if values else math.nan


def measure(
    case: Case, contenders: Sequence[Contender], rtols: Sequence[float], rounds: int
) -> list[Curve]:
    """Every contender at every tolerance, taken in turn, so that noise meets all alike."""
    curves = [Curve(c.name, ours=c.ours) for c in contenders]
    prepared = []
    for contender, curve in zip(contenders, curves, strict=True):
        began = time.perf_counter()
        made = contender.make(case)
        with contextlib.suppress(Failed):
            made(rtols[0])()
        curve.first = time.perf_counter() - began
        prepared.append(made)
    asked = set(range(len(contenders)))
    for rtol in rtols:
        found = _in_turn(case, rtol, {i: prepared[i](rtol) for i in sorted(asked)}, rounds)
        for i, point in found.items():
            curves[i].points.append(point)
            if point.seconds > PATIENCE or 0.9 * rtol < contenders[i].tightest:
                asked.remove(i)
    return curves


def _in_turn(case: Case, rtol: float, runs: Mapping[int, Run], rounds: int) -> dict[int, Point]:
    found = {i: _looked_at(case, rtol, run) for i, run in runs.items()}
    timed = {i: runs[i] for i, point in found.items() if not point.failure}
    samples: dict[int, list[float]] = {i: [] for i in timed}
    for _ in range(rounds):
        for i, run in timed.items():
            least = min(samples[i], default=found[i].seconds)
            if least < LONG or not samples[i]:
                samples[i].append(seconds(run, max(1, math.ceil(SAMPLE / least))))
    for i, spent in samples.items():
        found[i] = found[i]._replace(seconds=statistics.median(spent))
    return found


def _looked_at(case: Case, rtol: float, run: Run) -> Point:
    """The error, and the time of one run alone, or the failure."""
    began = time.process_time()
    try:
        error = case.error(run())  # whatever is still compiled for this tolerance is compiled here
    except Failed as failure:
        return Point(rtol, time.process_time() - began, failure=str(failure))
    spent = seconds(run, 1)
    if not error <= NO_DIGIT:
        return Point(rtol, spent, error, WRONG)
    # an error of 0 has no logarithm; below 1e-17 it is rounding
    return Point(rtol, spent, max(error, 1e-17))


def seconds(run: Run, calls: int) -> float:
    """CPU seconds of a call, from several in a row."""
    began = time.process_time()
    for _ in range(calls):
        run()
    return max(time.process_time() - began, 1e-9) / calls
