"""The benchmark of image networks measures a folder of files, and says what a file lacks."""

from __future__ import annotations

import math
import re
import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPT = FOLDER / "image_networks.py"
GAUSSIAN = """
import torch
def network(samples):
    return {
        "denoiser": lambda x, s: x * (0.25 / (0.25 + s.reshape(-1, 1, 1) ** 2)).to(x.dtype),
        "shape": (3, 2),
        "range": (0.01, 20.0),
        "init": torch.ones(samples, 3, 2),
        %s
    }
"""

if not SCRIPT.exists():
    pytest.skip("the benchmarks are not in this copy", allow_module_level=True)


def run(monkeypatch, *words: str) -> None:
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def test_a_folder_of_networks(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "bell.py").write_text(GAUSSIAN % '"center": 0.2')
    (tmp_path / "wide.py").write_text(GAUSSIAN % '"images": torch.randn(64, 3, 2)')
    page = tmp_path / "page.md"
    words = ("--samples", "3", "--moved", "2", "--levels", "60", "--nfe", "6,8", "--out", str(page))
    run(monkeypatch, str(tmp_path), *words)
    text = page.read_text()
    assert text.strip() in capsys.readouterr().out
    tables = re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE)
    assert len(tables) == 4
    facts = tables[0].splitlines()[2:]
    assert [line.split(" | ")[0] for line in facts] == ["| bell", "| wide"]
    assert "| bell | 3x2 | 0.01 to 20 | 0.2 |" in facts[0]
    for table in tables[1:]:
        for line in table.splitlines()[2:]:
            # the mean of all cells lies between the means of the budgets, and below the worst
            *means, whole, worst = map(float, line.strip("| ").split(" | ")[1:])
            assert whole == pytest.approx(math.sqrt(means[0] * means[1]), rel=0.02, abs=0.01)
            assert worst >= max(means) - 0.01
    # one of the unguided samplers is the best of its cell, and none is better
    best = [line for line in tables[1].splitlines() if line.startswith("| Karras: ")]
    unguided = [line for line in best if not re.search("Heun|EMG", line)]
    cells = [float(line.split(" | ")[1]) for line in unguided]
    assert min(cells) >= 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no .py file there"),
        ("x = 1", "lacking.py: write a function network"),
        ("def network(samples): return {'shape': (2,), 'center': 1.0}", "it needs denoiser, shape"),
        ("def network(samples): return {'shape': (2,), 'denoiser': abs}", "and images or center"),
    ],
)
def test_what_a_file_lacks(tmp_path, monkeypatch, text: str, message: str) -> None:
    if text:
        (tmp_path / "lacking.py").write_text(text)
    with pytest.raises(SystemExit, match=message):
        run(monkeypatch, str(tmp_path))


def test_the_page_in_the_manual_is_of_this_benchmark() -> None:
    page = FOLDER.parent / "docs" / "image_networks_benchmark.md"
    text = page.read_text(encoding="utf-8")
    assert "`python benchmarks/image_networks.py --out docs/image_networks_benchmark.md`" in text
    named = {path.stem for path in (FOLDER / "networks").glob("*.py")}
    assert named == set(re.findall(r"^\| (\w+) \| \d+x\d+", text, re.MULTILINE))
