"""The laws of kernels and the command line on other machines: umasks, no home, no compiler.

Every setting is one run of pytest. The arguments go to pytest; a summary says which settings
failed, and which were left out and why.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import outcomes

ROOT = Path(__file__).parents[1]
LAWS = tuple(
    str(path)
    for begin in ("test_kernel", "test_cli")
    for path in sorted((ROOT / "tests").glob(f"{begin}*.py"))
)
HOMES = ("HOME", "XDG_CACHE_HOME")
STRANGER = "54321"  # a user that no system knows
PATH = os.pathsep.join((str(ROOT / "tests"), os.environ.get("PYTHONPATH", ""))).strip(os.pathsep)
# makes $TMPDIR a file system that executes nothing, and goes on; the space is a name space, not a
# change of the machine
MOUNT = ("sh", "-c", 'mount -t tmpfs -o noexec tmpfs "$TMPDIR" && exec "$@"', "sh")
SPACE = ("unshare", "-m") if os.geteuid() == 0 else ("unshare", "-Urm")

# tests start processes of their own
TRIAL = (
    "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import pytest'], check=True)"
)


class Setting(NamedTuple):
    """One machine to run the laws on."""

    name: str
    umask: int = 0o022
    without: Sequence[str] = ()  # variables of the environment
    given: Mapping[str, str] = {}
    inside: Sequence[str] = ()  # the command that runs the laws

    def lacking(self) -> str:
        """Why it cannot be run on this machine, or ""."""
        if not self.inside:
            return ""
        if not shutil.which(self.inside[0]):
            return f"no {self.inside[0]}"
        with tempfile.TemporaryDirectory() as place:
            command = [*self.inside, sys.executable, "-c", TRIAL]
            tried = subprocess.run(
                command, env=self.environment(place), capture_output=True, text=True, check=False
            )
        said = tried.stderr.strip().splitlines() or [f"exit code {tried.returncode}"]
        return said[-1] if tried.returncode else ""

    def environment(self, place: str) -> dict[str, str]:
        """The variables of a run, whose temporary files are in a folder of that place."""
        kept = {name: text for name, text in os.environ.items() if name not in self.without}
        temporary = Path(place) / "temporary"
        temporary.mkdir(exist_ok=True)
        temporary.chmod(0o1777)
        return {**kept, **self.given, "TMPDIR": str(temporary)}


SETTINGS = (
    *(Setting(f"umask {mask:03o}", mask) for mask in (0o000, 0o002, 0o022)),
    Setting("umask 077, no home", 0o077, without=HOMES),
    Setting(
        "a user that the system does not know",
        without=HOMES,
        inside=("setpriv", "--reuid", STRANGER, "--clear-groups"),
    ),
    Setting("no compiler", without=("CXX",), given={"PATH": "/nowhere"}),
    Setting("temporary files that may not be executed", inside=(*SPACE, *MOUNT)),
    # the same where nobody may mount: see tests/no_execution.py
    Setting(
        "temporary files that the loader refuses",
        given={"PYTHONPATH": PATH, "PYTEST_ADDOPTS": "-p no_execution"},
    ),
)


def run(setting: Setting, laws: Sequence[str], arguments: Sequence[str]) -> bool:
    """Whether every law holds."""
    print(f"\n== {setting.name}", flush=True)
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        tests = Path(place) / "tests"  # they may execute what they write
        tests.mkdir()
        if STRANGER in setting.inside:
            os.chown(tests, int(STRANGER), -1)
        command = [*setting.inside, sys.executable, "-m", "pytest", "-q", *laws, *arguments]
        return (
            subprocess.run(
                [*command, "-p", "no:cacheprovider", f"--basetemp={tests / 'base'}"],
                cwd=ROOT,
                env=setting.environment(place),
                umask=setting.umask,
                check=False,
            ).returncode
            == 0
        )


def main() -> int:
    return outcomes.judge(SETTINGS, lambda setting: run(setting, LAWS, sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
