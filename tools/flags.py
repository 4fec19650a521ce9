"""The laws of the kernels under other compilers and flags, and where torch rounds otherwise.

Every setting is one run of pytest with a few variables of the environment. The arguments go to
pytest; a summary says which settings failed, and which were left out and why.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import outcomes

ROOT = Path(__file__).parents[1]
# lanes of a vector: the flags that leave so many, and what a processor must have for them
LANES = {
    1: ("-UWIDE -DWIDE=0", ""),
    2: ("-mno-avx", ""),
    4: ("-mno-avx512f", "avx"),
    8: ("", "avx512dq"),
}
GCC, CLANG = os.environ.get("GCC", "g++"), os.environ.get("CLANG", "clang++")
BUILDS = (
    (GCC, 1, "-O3"),
    (GCC, 2, "-O1"),
    (GCC, 4, "-O1"),
    (GCC, 8, "-O3"),
    (CLANG, 4, "-O3"),
    (CLANG, 8, "-O1"),
)

PATH = os.pathsep.join((str(ROOT / "tests"), os.environ.get("PYTHONPATH", ""))).strip(os.pathsep)


class Setting(NamedTuple):
    """One way to run the laws."""

    name: str
    environment: dict[str, str]
    needs: str = ""  # of the processor, as in /proc/cpuinfo

    def lacking(self) -> str:
        """Why it cannot be run on this machine, or ""."""
        command = shlex.split(self.environment.get("CXX", ""))
        if command and not shutil.which(command[0]):
            return f"no {command[0]}"
        if command and platform.machine() not in ("x86_64", "AMD64"):
            return f"the flags are for x86, not for {platform.machine()}"
        return f"the processor has no {self.needs}" if self.needs not in features() else ""


def features() -> str:
    """What the processor can do."""
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def built(compiler: str, lanes: int, level: str) -> Setting:
    """Kernels built otherwise; $STIFFGUIDE_CXXFLAGS is in docs/kernels.md."""
    flags, needs = LANES[lanes]
    environment = {"CXX": compiler, "STIFFGUIDE_CXXFLAGS": f"{flags} {level}".strip()}
    return Setting(f"{compiler}, {lanes} lanes, {level}", environment, needs)


SETTINGS = (
    *(built(*which) for which in BUILDS),
    Setting("torch without vectors", {"ATEN_CPU_CAPABILITY": "default"}),
    Setting("torch for AVX2", {"ATEN_CPU_CAPABILITY": "avx2"}, "avx2"),
    Setting("MKL as on any processor", {"MKL_CBWR": "COMPATIBLE"}),
    # what another machine may do: see tests/last_bit.py
    Setting("f with other last bits", {"PYTHONPATH": PATH, "PYTEST_ADDOPTS": "-p last_bit"}),
)


def run(setting: Setting, arguments: list[str]) -> bool:
    """Whether every law holds."""
    words = " ".join(f"{name}={shlex.quote(value)}" for name, value in setting.environment.items())
    print(f"\n== {setting.name}: {words}", flush=True)
    laws = [str(path) for path in sorted((ROOT / "tests").glob("test_kernel*.py"))]
    command = [sys.executable, "-m", "pytest", "-q", *laws, *arguments]
    environment = os.environ | setting.environment
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


def main() -> int:
    return outcomes.judge(SETTINGS, lambda setting: run(setting, sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
