"""What README and manual show is true: every python block runs, and every name exists."""

from __future__ import annotations

import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchdiffeq
from blocks import FENCE, blocks, run
from click.testing import CliRunner
from matplotlib import pyplot as plt

import stiffguide as sg
from stiffguide import methods
from stiffguide.cli.app import app
from stiffguide.tableaux import file as tableau_file
from stiffguide.verification import observed_order

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
COMMAND = re.compile(r"^stiffguide ([a-z-]+)(.*)$", re.MULTILINE)


def of(page, language):
    return blocks(page.read_text(encoding="utf-8"), language)


with_code = [page for page in PAGES if any(of(page, "python"))]


@pytest.fixture(autouse=True)
def closed():
    """Pages leave their figures open, for the manual to show."""
    yield
    plt.close("all")


@pytest.mark.slow
@pytest.mark.usefixtures("auto", "plain_builds")
@pytest.mark.parametrize("page", with_code, ids=lambda page: page.name)
def test_every_block_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "torchdiffeq", torchdiffeq)  # a page puts ours in its place
    torch.manual_seed(0)
    names = {"__name__": "__main__"}
    for code in of(page, "python"):
        run(code, page, names)


@pytest.mark.usefixtures("auto")
def test_the_first_block_of_the_readme_stands_alone(capsys):
    run(next(of(ROOT / "README.md", "python")), "README.md", {"__name__": "__main__"})
    text = capsys.readouterr().out
    assert "7.15827e-01" in text  # the textbook value of y1(40)
    assert "accepted=" in text


def test_the_quoted_failure_is_what_is_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    quote = " ".join(line[2:] for line in text.splitlines() if line.startswith("> "))
    codes = list(of(ROOT / "README.md", "python"))
    names = {"__name__": "__main__"}
    for code in (*codes[:3], *(code for code in codes if "wrong = " in code)):
        run(code, "README.md", names)
    assert re.sub(r"[\d.]+", "#", quote) == re.sub(r"[\d.]+", "#", names["wrong"].message)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_methods_and_links_exist(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r'method="([a-z0-9_]+)"', text):
        known = {"auto", "rodas6", "emg", *methods.names()}
        assert name in known or "diffusion" in text
    for target in re.findall(r"\]\(([^)#:]+\.md)\)", text):
        assert (page.parent / target).exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_exist(page):
    for name in re.findall(r"\bstiffguide(?:\.[a-z_]\w*)+", page.read_text(encoding="utf-8")):
        pkgutil.resolve_name(name)  # raises where there is no such module or name in one


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page):
    for command, rest in COMMAND.findall(page.read_text(encoding="utf-8")):
        text = CliRunner().invoke(app, [command, "--help"]).output
        assert "Usage" in text, command
        for option in re.findall(r"--[a-z0-9-]+", rest):
            assert option in text, f"{command} {option}"


def test_the_tableau_of_the_guide_is_proved(tmp_path):
    path = tmp_path / "ralston.toml"
    path.write_text(next(of(ROOT / "docs" / "adding_a_method.md", "toml")))
    assert observed_order(tableau_file.load(path)) == pytest.approx(2, abs=0.15)


def test_the_arguments_of_solve_are_those_of_the_page():
    text = (ROOT / "docs" / "solving.md").read_text(encoding="utf-8")
    signature = next(block for block in FENCE.split(text)[0].split("```") if "solve(" in block)
    told = re.findall(r"(\w+)=", signature)
    known = inspect.signature(sg.solve).parameters.values()
    assert told == [p.name for p in known if p.kind is p.KEYWORD_ONLY]


@pytest.mark.slow
def test_the_manual_builds_without_a_warning(tmp_path):
    """In a process of its own: what imports for the reference loads modules again."""
    pytest.importorskip("sphinx", reason="the docs extra is not installed")
    pytest.importorskip("furo", reason="the docs extra is not installed")
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "-q", ROOT / "docs", tmp_path / "html"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"STIFFGUIDE_DOCS": "plain"},  # its code runs in tests
    )
    assert built.returncode == 0, built.stderr
    for page in ("api", "gallery/index", "gallery/1_solve/plot_van_der_pol"):
        assert (tmp_path / "html" / f"{page}.html").exists()
