"""`make fuzz`: asks cases of all targets in turn, for a time or a number of them."""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from campaign import page
from campaign.cases import TARGETS, Outcome
from campaign.findings import REGRESSIONS, Finding, kept
from campaign.pool import Worker
from campaign.shrinking import Drawn, shrink

QUESTION = tuple[str, int]
LONG = 20.0  # CPU seconds of a try that is to end
HANGS = 15  # tries that may take all of these


class Campaign:
    """What was asked and what came of it; workers in threads share it."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in given.target}
        self.seconds: Counter[str] = Counter()
        self.findings: dict[tuple[str, str], Path] = {}
        self._known: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._ends = time.monotonic() + given.seconds if given.seconds else None
        self._questions = self._all()

    def _all(self) -> Iterator[QUESTION]:
        """So many of each target in turn; or, by time, of the target that had the least of it."""
        first, cases = self.given.first, self.given.cases
        if self.given.seed is not None:
            first, cases = self.given.seed, 1
        if cases is not None:
            yield from ((name, first + k) for k in range(cases) for name in self.given.target)
            return
        seeds = {name: itertools.count(first) for name in self.given.target}
        while True:
            name = min(self.given.target, key=lambda name: self.seconds[name])
            self.seconds[name] += 1e-3  # so that others are asked while this one is
            yield name, next(seeds[name])

    def next(self) -> QUESTION | None:
        """What to ask, or nothing more."""
        with self._lock:
            late = self._ends is not None and time.monotonic() > self._ends
            late |= bool(self.given.stop and self.findings)
            return None if late else next(self._questions, None)

    def run(self) -> None:
        """All that is asked for, by so many workers."""
        with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
            self._replay(Path(scratch))
            threads = [
                threading.Thread(target=self._work, args=(Path(scratch) / str(k),))
                for k in range(self.given.jobs)
            ]
            for thread in threads:
                thread.start()
            try:
                for thread in threads:
                    thread.join()
            except KeyboardInterrupt:
                self._ends = 0.0  # with the cases that are asked now
                for thread in threads:
                    thread.join()

    def _replay(self, scratch: Path) -> None:
        worker = Worker(scratch / "replay", self.given.plant)
        for path, finding in kept(REGRESSIONS, self.given.out):
            name = finding["target"]
            if name not in self.given.target:
                continue
            outcome = worker.ask(name, choices=finding["choices"])
            still = outcome.result == "failed"
            print(f"{'still fails' if still else 'holds'}: {path}", flush=True)
            if still:
                self._known[name, outcome.signature] += 1
                self.findings[name, outcome.signature] = path
        worker.close()

    def _work(self, scratch: Path) -> None:
        worker = Worker(scratch, self.given.plant)
        while (question := self.next()) is not None:
            name, seed = question
            begun = time.monotonic()
            outcome = worker.ask(name, seed=seed)
            with self._lock:
                self.seconds[name] += time.monotonic() - begun
                self.counts[name][outcome.result] += 1
                key = (name, outcome.signature)
                new = outcome.result == "failed" and not self._known[key]
                self._known[key] += outcome.result == "failed"
            if new:
                self._keep(worker, name, seed, outcome)
        worker.close()

    def _keep(self, worker: Worker, name: str, seed: int, outcome: Outcome) -> None:
        small = smaller(worker, name, outcome, self.given.tries)
        path = Finding(name, seed, small).save(self.given.out)
        with self._lock:
            self.findings[name, outcome.signature] = path
            self._known[name, small.signature] += 1
        print(
            f"{name} --seed {seed} fails\n  {small.kind}: {small.sentence}\n"
            f"  {len(outcome.choices)} choices, made {len(small.choices)}; kept in {path}",
            flush=True,
        )


def smaller(worker: Worker, name: str, outcome: Outcome, tries: int) -> Outcome:
    """The smallest failure of its kind that is found."""
    best = outcome

    def still_fails(choices: Drawn) -> Drawn | None:
        nonlocal best
        found = worker.ask(name, choices=list(choices), seconds=min(LONG, TARGETS[name]))
        if found.result != "failed" or found.kind != outcome.kind:
            return None
        if not found.choices:  # it died, and the journal did not survive
            return None
        best = found if len(found.choices) <= len(best.choices) else best
        return found.choices

    tries = min(tries, HANGS) if outcome.kind == "hang" else tries
    small = shrink(outcome.choices, still_fails, tries)
    again = worker.ask(name, choices=list(small))
    return again if again.result == "failed" else best


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--target", action="append", choices=[*TARGETS], help="may be repeated")
    parser.add_argument("--seed", type=int, help="one case of each target")
    parser.add_argument("--seconds", type=float, help="wall time; 60 where no number is given")
    parser.add_argument("--cases", type=int, help="of each target")
    parser.add_argument("--first", type=int, default=0, help="the seed to begin with")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument(
        "--out", type=Path, default=Path("out/fuzz"), help="where failures are kept"
    )
    parser.add_argument("--tries", type=int, default=200, help="to make a failure smaller")
    parser.add_argument("--stop", action="store_true", help="end with the first failure")
    parser.add_argument("--page", type=Path, help="write the table of the counts into this page")
    parser.add_argument("--plant", default="", help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    given.target = given.target or [*TARGETS]
    if given.seed is None and given.cases is None and given.seconds is None:
        given.seconds = 60.0
    return given


def main(words: list[str] | None = None) -> int:
    """1 if anything failed."""
    given = arguments(words)
    campaign = Campaign(given)
    campaign.run()
    table = page.table(campaign.counts, campaign.seconds)
    print(table, end="")
    if given.page is not None:
        page.write(given.page, table, sys.argv[1:] if words is None else words)
    for (name, signature), path in campaign.findings.items():
        print(f"{name}: {signature}\n  {path}")
    return 1 if campaign.findings else 0


if __name__ == "__main__":
    sys.exit(main())
