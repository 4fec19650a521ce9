"""The benchmark on the MNIST network: its page has all samplers; its ties are what they say."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from scripts import ROOT

from stiffguide.adapters.diffusion import SAMPLERS

PAGE = ROOT / "docs" / "image_model.md"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("image_model")


@pytest.mark.slow
def test_the_page_has_every_sampler_on_both_grids(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "image_model.md"
    words = [
        "image_model.py",
        "--samples",
        "3",
        "--rounds",
        "2",
        "--nfe",
        "8",
        "--many",
        "20",
        "--out",
        str(out),
    ]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(benchmark, "STEPS", 10)
    benchmark.main()
    page = out.read_text(encoding="utf-8")
    for name in (*SAMPLERS, benchmark.GUIDED):
        assert len(re.findall(rf"^\| {re.escape(name)} \|", page, re.MULTILINE)) == 4
    for picture in re.findall(r"\]\((images/\S+\.png)\)", page):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")


def test_samplers_tie_within_the_spread_over_rounds(benchmark: ModuleType) -> None:
    study = benchmark.Study(("a", "b", "c"), (8,))
    study.flow = [torch.zeros(1)] * 2
    study.distances = {
        ("g", "a", 8): [1.0, 2.0],  # the second round is twice as hard, for all
        ("g", "b", 8): [1.1, 2.0],
        ("g", "c", 8): [3.0, 9.0],
    }
    assert study.mean(("g", "a", 8)) == pytest.approx(2**0.5)
    # deviations of the logarithms from those of the sampler in the middle: 0 but for b's 1.1, c's
    assert 1.1 < study.spread("g") < 1.4
    found, order = study.nearest("g", 8)
    assert order == ["a", "b", "c"]
    assert found == ["a", "b"]


def test_the_manual_shows_the_page_as_it_was_measured(benchmark: ModuleType) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(page.count(f"\n| {name} |") == 4 for name in benchmark.SHOWN)
    for picture in re.findall(r"\]\((images/\S+\.png)\)", page):
        assert (PAGE.parent / picture).stat().st_size < 100_000
    assert "python benchmarks/image_model.py" in page
