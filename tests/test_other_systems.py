"""Where the modules of Unix are missing, as on Windows: everything is imported, and solves run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import stiffguide as sg

ROOT = Path(sg.__file__).parents[1]
# of the standard library, for Unix only: https://docs.python.org/3/library/unix.html, and `grp`
UNIX = (
    "fcntl",
    "grp",
    "pwd",
    "resource",
    "termios",
    "tty",
    "pty",
    "syslog",
    "crypt",
    "spwd",
    "nis",
)
MASKED = """
import importlib, pkgutil, sys
for name in {unix}:
    assert name not in sys.modules or name in {early}, name
    sys.modules[name] = None  # to import it is an ImportError
import stiffguide as sg
names = [m.name for m in pkgutil.walk_packages(sg.__path__, "stiffguide.")]
for name in names:
    if name != "stiffguide.__main__":
        importlib.import_module(name)
print(len(names))
"""
SOLVES = """
import os, torch
stiff = lambda t, y: -50.0 * (y - torch.cos(t))
y0 = torch.ones(2, dtype=torch.float64)
for backend in ("eager", "auto", "kernel"):
    for method in ("rodas5p", "auto"):
        found = sg.solve(stiff, y0, 0.0, 1.0, method=method, backend=backend)
        assert found.success, found.message
print(found.stats.backend)
sg.solve(stiff, y0, 0.0, 1.0, method="rodas5p", checkpoint="run.ckpt", every=1)
design = sg.designs.sobol(2, k=(0.1, 1.0))
field = lambda t, y, p: -p["k"].unsqueeze(-1) * y
print(sg.sweep(field, y0, 0.0, 1.0, design, out="study").open()["y"].shape[0])
from stiffguide.cli import main
sys.argv[1:] = ["cache"]
main()
"""


def masked(text: str, place: Path) -> list[str]:
    """The lines that a program prints to which a system of another kind is played."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "STIFFGUIDE_CACHE": str(place / "cache")}
    env |= {"STIFFGUIDE_CXXFLAGS": "-O0"}
    env.pop("STIFFGUIDE_BACKEND", None)
    early = subprocess.run(
        [sys.executable, "-c", "import sys; print([*sys.modules])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    done = subprocess.run(
        [sys.executable, "-c", MASKED.format(unix=UNIX, early=early.strip()) + text],
        cwd=place,
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_module_is_imported_and_a_solve_works(tmp_path: Path) -> None:
    count, backend, rows, *_ = masked(SOLVES, tmp_path)
    assert int(count) == sum(1 for path in (ROOT / "stiffguide").rglob("*.py")) - 1
    assert (backend, rows) == ("kernel", "2")
