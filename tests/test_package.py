"""What is published says what is so: metadata, the source archive, versions, the citation."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest
import torch
import yaml
from hatchling.builders.sdist import SdistBuilder
from packaging.requirements import Requirement
from trove_classifiers import classifiers

import stiffguide as sg
from stiffguide import methods

ROOT = Path(__file__).parents[1]
FACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = FACTS["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
CITING = (ROOT / "docs" / "citing.md").read_text(encoding="utf-8")
INSTALLING = (ROOT / "docs" / "installing.md").read_text(encoding="utf-8")


# by builds and caches
MADE = re.compile(r"__pycache__|/_build/|/_generated/|^docs/gallery/|/\.\w+_cache/")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, unpacked."""
    place = tmp_path_factory.mktemp("archive")
    (made,) = SdistBuilder(str(ROOT)).build(directory=str(place))
    with tarfile.open(made) as packed:
        packed.extractall(place, filter="data")
    (inside,) = (path for path in place.iterdir() if path.is_dir())
    return inside


@pytest.fixture(scope="module")
def metadata(archive: Path) -> Message:
    return message_from_string((archive / "PKG-INFO").read_text(encoding="utf-8"))


def test_the_archive_has_all_that_the_repository_shows(archive: Path) -> None:
    def files(root: Path, *parts: str) -> set[str]:
        found = (path for part in parts for path in (root / part).rglob("*") if path.is_file())
        names = (path.relative_to(root).as_posix() for path in found)
        return {name for name in names if not MADE.search(name)}

    parts = ("src", "tests", "tools", "docs", "examples", "benchmarks", "weights", "comfyui")
    assert files(archive, *parts) == files(ROOT, *parts)
    beside = ("Makefile", "constraints.txt", "CONTRIBUTING.md", "SECURITY.md", "CITATION.cff")
    for name in (*beside, "README.md", "CHANGELOG.md", "LICENSE", "__init__.py"):
        assert (archive / name).read_bytes() == (ROOT / name).read_bytes()


@pytest.mark.slow
def test_a_page_runs_from_the_archive(archive: Path) -> None:
    """The tests of the archive, on the sources of the archive."""
    env = os.environ | {"PYTHONPATH": str(archive / "src")}
    test = "tests/test_docs.py::test_every_block_of_a_page_runs[citing.md]"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", test],
        **{"cwd": archive, "env": env, "capture_output": True, "text": True, "timeout": 600},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_the_metadata_are_those_of_the_project(metadata: Message) -> None:
    assert metadata["Name"] == PROJECT["name"]
    assert metadata["Version"] == PROJECT["version"]
    assert metadata["Author"] == "The stiffguide developers"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("Provides-Extra") == sorted(PROJECT["optional-dependencies"])
    assert set(PROJECT["classifiers"]) <= classifiers


def test_no_address_is_invented() -> None:
    """A release sets them (docs/releasing.md); then they are no examples."""
    addresses = [*PROJECT.get("urls", {}).values(), CITATION.get("repository-code", "https://")]
    for address in addresses:
        assert re.match(r"https://", address)
        assert not re.search(r"example\.|your-?name|/TODO|localhost", address)


def test_every_version_is_the_same() -> None:
    quoted = re.findall(r"version = \{(.+?)\}", CITING)
    assert {PROJECT["version"], CITATION["version"], *quoted} == {sg.__version__}


def test_a_python_is_named_where_it_ran() -> None:
    named = {c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)}
    ran = set(re.findall(r"^\| Python (3\.\d+)", INSTALLING, re.MULTILINE))
    assert named == ran
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(min(named) + ".0")


def test_torch_is_admitted_as_far_as_it_ran() -> None:
    (need,) = (Requirement(n) for n in PROJECT["dependencies"] if n.startswith("torch"))
    ran = re.findall(r"^\| torch (\d+\.\d+\.\d+)", INSTALLING, re.MULTILINE)
    assert ran
    assert all(need.specifier.contains(version) for version in ran)
    parts = sorted(tuple(map(int, version.split("."))) for version in ran)
    low, high = parts[0], parts[-1]
    assert not need.specifier.contains(f"{low[0]}.{low[1] - 1}.0")
    assert not need.specifier.contains(f"{high[0]}.{high[1] + 1}.0")
    assert need.specifier.contains(torch.__version__.partition("+")[0])


def test_every_extra_has_its_line_and_its_trial() -> None:
    import extras

    told = re.findall(r"^\| `([a-z]+)` \|", INSTALLING, re.MULTILINE)
    assert sorted(told) == sorted(PROJECT["optional-dependencies"])
    assert set(extras.USES) == {"", *PROJECT["optional-dependencies"]}


@pytest.mark.parametrize("word", PROJECT["keywords"])
def test_keywords_are_of_what_there_is(word: str) -> None:
    known = {*methods.names(), *(methods.get(name).family for name in methods.names())}
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    places = {path.name for path in (ROOT / "src" / "stiffguide").rglob("*")}
    words = {"pytorch": "torch", "runge-kutta": "explicit RK", "diffusion models": "diffusion"}
    words |= {"parameter estimation": "fitting", "adjoint": "gradients", "stiff": "which_method"}
    words |= {"ode": "solving"}
    there = words.get(word, word)
    assert there in {name.lower() for name in known} | known | pages | places | {"torch"}


# the citation -------------------------------------------------------------------------------------


def test_the_citation_has_what_its_format_wants() -> None:
    """The required keys of Citation File Format 1.2.0, and the types of authors."""
    assert CITATION["cff-version"] == "1.2.0"
    for entry in (CITATION, *CITATION["references"]):
        assert {"title", "authors"} <= set(entry)
        for author in entry["authors"]:
            assert "name" in author or {"family-names", "given-names"} <= set(author)
    assert CITATION["message"]
    assert CITATION["type"] == "software"
    assert CITATION["license"] == PROJECT["license"]


def test_the_page_cites_what_the_file_does() -> None:
    one_line = " ".join(CITING.split())
    assert f"title = {{{CITATION['title']}}}" in one_line
    assert CITATION["authors"] == [{"name": name["name"]} for name in PROJECT["authors"]]
    (paper,) = CITATION["references"]
    names = (f"{a['family-names']}, {a['given-names']}" for a in paper["authors"])
    for part in (paper["title"], " and ".join(names), paper["collection-title"], paper["url"]):
        assert f"{{{part}}}" in one_line
    assert f"year = {{{paper['year']}}}" in one_line
