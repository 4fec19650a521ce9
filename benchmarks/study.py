"""One study: problems, contenders, tolerances; measured, compared, and written as a page."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import contenders
import page
import solvers
import torch
import work_precision as wp
from contenders import Contender
from systems import Case

import stiffguide as sg

ROUNDS = 7


# the sections that pages share
CALLS = """\
## What a call costs us

A call of `solve` with a kernel costs what its checks cost, whatever the problem; the rest is the
kernel.

{calls}

"""
FIRST = """\
## The first run

Building, loading and compiling are not in the times above. Seconds of wall time to the first
result, in an empty kernel cache if the benchmark was started in one:

{first}
"""


@dataclass(frozen=True)
class Study:
    """What is compared with what; `groups` name those against whom `ours` is set."""

    cases: Mapping[str, Case]
    contenders: Sequence[Contender]
    ours: str
    reference: str  # its error at rtol 1e-6 is the common one
    groups: Mapping[str, Sequence[str]]
    methods: Sequence[str]  # of ours, whose calls are taken apart
    text: str  # the page, with places for the tables

    def write(self, name: str, out: Path | None, *, quick: bool) -> None:
        """Measure, print; write page and picture if a place is given. `quick`: the first problem,
        two tolerances."""
        torch.set_num_threads(1)
        cases = dict(list(self.cases.items())[:1]) if quick else self.cases
        rtols = (1e-4, wp.AROUND) if quick else wp.RTOLS
        there, missing = contenders.present(self.contenders)
        curves = {}
        for case_name, case in cases.items():
            print(f"{case_name} ...", flush=True)
            curves[case_name] = wp.measure(case, there, rtols, 1 if quick else ROUNDS)
        errors = self.common_errors(curves)
        ratios = page.quotients(curves, errors, self.groups, self.ours)
        name = out.stem if out else name
        text = self.text.format(
            left_out=page.left_out(missing),
            calls_of_python=contenders.calls(there),
            picture=f"images/{name}.png",
            reference=self.reference,
            ours=self.ours,
            at_error=page.at_error(curves, errors),
            quotients=page.quotient_table(ratios, list(curves)),
            at_rtol=page.at_rtol(curves, wp.AROUND),
            calls=self.calls(cases),
            failures=page.failures(curves),
            first=page.first_runs(curves),
        )
        print(text)
        if out is not None:
            page.picture(curves, errors, out.parent / "images" / f"{name}.png")
            out.write_text(text, encoding="utf-8")

    def common_errors(self, studies: page.Studies) -> dict[str, float]:
        """By problem; where the reference is not there, the error of ours."""
        found = {}
        for case, curves in studies.items():
            named = {c.name: c.at(wp.AROUND) for c in curves}
            point = named.get(self.reference)
            if point is None or point.failure:
                point = named[self.ours]
            assert point is not None
            found[case] = point.error
        return found

    def calls(self, cases: Mapping[str, Case]) -> str:
        """Microseconds of a solve and of its call, at rtol 1e-6, and steps."""
        lines = []
        for name, case in cases.items():
            for method in self.methods:
                whole, steps = _microseconds(case, method, 1.0)
                call, _ = _microseconds(case, method, 1e-13)
                cells = (f"{x:.0f}" for x in (whole, call, whole - call, steps))
                lines.append([name, method, *cells, f"{(whole - call) / steps * 1e3:.0f}"])
        head = ["problem", "method", "solve, us", "call, us", "kernel, us", "steps", "ns a step"]
        return page.table(head, lines)


def _microseconds(case: Case, method: str, share: float) -> tuple[float, int]:
    """The CPU time of a solve over a share of the span, and its attempts."""
    p, f = case.problem, solvers.torch_field(case.system)
    t1 = p.t0 + share * (p.t1 - p.t0)
    settings = {"rtol": wp.AROUND, "atol": case.scale * wp.AROUND, "backend": "kernel"}

    def run() -> sg.Solution:
        return sg.solve(f, p.y0, p.t0, t1, method=method, **settings)

    stats = run().stats
    spent = []
    for _ in range(15):
        began = time.process_time()
        for _ in range(10):
            run()
        spent.append((time.process_time() - began) / 10)
    return statistics.median(spent) * 1e6, int(stats.accepted + stats.rejected)


def chosen(about: str) -> argparse.Namespace:
    """The options of every benchmark."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="the page to write; pictures go beside it")
    parser.add_argument("--quick", action="store_true", help="small: to see that all is there")
    return parser.parse_args()
