"""Peak memory of one solve of many rows, in a process of its own.

python benchmarks/peak_memory.py ROWS TIMES

prints the bytes that `Solution.y` holds and those by which the process grew at most, beyond what it
held before the solve, the arguments among it.
"""

from __future__ import annotations

import one_thread  # noqa: F401  before the libraries that read its settings

# isort: split
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import populations
import solvers
import torch

import stiffguide as sg


class Growth(NamedTuple):
    """Bytes."""

    kept: int
    grown: int


def measure(rows: int, times: int) -> Growth:
    """In another process, so that nothing that is done here counts."""
    command = [sys.executable, __file__, str(rows), str(times)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Growth(*map(int, done.stdout.split()))


def _solve(rows: int, times: int) -> Growth:
    p = populations.robertson(rows)
    f, y0 = solvers.torch_field(p.system), p.states
    save_at = None if times == 1 else torch.linspace(p.t1 / times, p.t1, times).double()
    settings = {"batched": True, "save_at": save_at, "backend": "kernel"}
    few = tuple(x[:8] for x in p.args)
    sg.solve(f, y0[:8], 0.0, p.t1, args=few, **settings)  # traced, built, loaded
    held = _status("VmRSS")
    found = sg.solve(f, y0, 0.0, p.t1, args=p.args, **settings)
    return Growth(found.y.numel() * found.y.element_size(), _status("VmHWM") - held)


def _status(name: str) -> int:
    """Bytes of an entry of /proc: VmRSS is held now, VmHWM was held at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(*_solve(*map(int, sys.argv[1:])))
