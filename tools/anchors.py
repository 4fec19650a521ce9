"""Build LSODA in C++ for the benchmarks, from the source package of numbalsoda (MIT licence).

python tools/anchors.py

pip fetches the package, which takes a minute, and g++ makes `build/anchors/liblsoda.so` of it; the
licence stands beside it. Nothing of it belongs to this repository. Where pip reaches no index,
--source names the package as a file. CVODE needs no build: scikit-sundae brings it along.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "build" / "anchors"
PACKAGE = "numbalsoda==0.3.4"
SOURCES = ("LSODA.cpp", "wrapper.cpp")
BESIDE = ("LSODA.h", "helper.h")
LICENCE = "LICENSE.txt"
FLAGS = ("-std=c++11", "-O3", "-march=native", "-fPIC", "-shared", "-w")


def fetched(folder: Path) -> Path:
    """The source package, by pip."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*command, "--dest", str(folder), PACKAGE], check=True)
    return next(folder.glob("numbalsoda-*.tar.gz"))


def built(package: Path, folder: Path) -> Path:
    """The library that the C++ files of a package make, and its licence beside it."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise SystemExit("LSODA needs a C++ compiler: install g++")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, tarfile.open(package) as archive:
        for member in archive.getmembers():
            name = Path(member.name).name
            if member.isfile() and name in (*SOURCES, *BESIDE, LICENCE):
                content = archive.extractfile(member)
                assert content is not None
                Path(place, name).write_bytes(content.read())
        made = folder / "liblsoda.so"
        sources = [str(Path(place, name)) for name in SOURCES]
        subprocess.run([compiler, *FLAGS, *sources, "-o", str(made)], check=True)
        if Path(place, LICENCE).exists():
            shutil.copy(Path(place, LICENCE), folder / LICENCE)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, help="the source package, if it is here already")
    parser.add_argument("--out", type=Path, default=FOLDER, help="where the library goes")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        print("built", built(chosen.source or fetched(Path(place)), chosen.out))


if __name__ == "__main__":
    main()
