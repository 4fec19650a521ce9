"""One worker as its parent sees it: asked, watched, and begun again when it dies."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from campaign.cases import TARGETS, Outcome

PATIENCE = 20  # wall seconds for a CPU second, on a machine that others use, too
TESTS = Path(__file__).parents[1]
RENEWED = 400  # cases after which a process is begun anew, so that nothing piles up


class Worker:
    """A process that outlives its cases, unless one of them ends it."""

    def __init__(self, folder: Path, planted: str = "") -> None:
        self._folder = folder
        self._planted = planted  # a module to import first: the tests of the campaign break things
        self._process: subprocess.Popen[str] | None = None
        self._asked = 0

    def ask(self, name: str, **case: Any) -> Outcome:
        """A case by its `seed` or its `choices`."""
        if self._process is None or self._asked >= RENEWED:
            self._begin()
        self._asked += 1
        seconds = case.pop("seconds", TARGETS[name])
        line = self._answer({"target": name, "seconds": seconds, **case}, seconds * PATIENCE)
        return Outcome.of(json.loads(line)) if line else self._death(seconds)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._errors.close()
            self._process = None

    def _begin(self) -> None:
        self.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._asked = 0
        handle, name = tempfile.mkstemp(prefix="journal-", dir=self._folder)
        os.close(handle)
        self._journal = Path(name)
        self._errors = self._journal.with_suffix(".errors").open("w+b")
        start = ["-m", "campaign.worker"]
        if self._planted:
            run = "import runpy; runpy.run_module('campaign.worker', run_name='__main__')"
            start = ["-c", f"import {self._planted}; {run}"]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "STIFFGUIDE_CACHE": str(self._folder / "kernels"),
            "STIFFGUIDE_CXXFLAGS": os.environ.get("STIFFGUIDE_CXXFLAGS", "-O0"),
            "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
        }
        self._process = subprocess.Popen(
            [sys.executable, *start, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment,
        )

    def _answer(self, question: dict[str, Any], wall: float) -> str:
        """A line, or none if the process died, or was killed for being silent."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return ""
        ready, _, _ = select.select([self._process.stdout], [], [], wall)
        return self._process.stdout.readline() if ready else ""

    def _death(self, seconds: float) -> Outcome:
        assert self._process is not None
        try:
            code: int | None = self._process.wait(2)
        except subprocess.TimeoutExpired:
            code = None
        drawn = tuple(map(int, self._journal.read_text(encoding="ascii").split()))
        self._errors.seek(0)
        last = self._errors.read()[-2000:].decode(errors="replace").strip().splitlines()
        self.close()
        if code in (None, -signal.SIGXCPU):
            return Outcome("failed", "hang", f"no answer within {seconds:g} CPU seconds", drawn)
        ended = signal.Signals(-code).name if code and code < 0 else f"code {code}"
        said = f": {last[-1][:200]}" if last else ""
        return Outcome("failed", "death", f"the process ended by {ended}{said}", drawn)
