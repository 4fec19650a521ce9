"""Figures of samplers that stand in two places: README, manual, tables and code agree."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from test_samplers import OWN_START

from stiffguide.adapters.diffusion import SAMPLERS

ROOT = Path(__file__).parents[1]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def rows(table: str) -> dict[str, list[str]]:
    """A Markdown table by its first column, without its head."""
    return {cells(line)[0]: cells(line)[1:] for line in table.strip().splitlines()[2:]}


def test_readme_has_the_figures_of_the_benchmark() -> None:
    page = text("docs/guidance_benchmark.md")
    table = re.search(r"^\| median distance at NFE 16.*?\n\n", page, re.MULTILINE | re.DOTALL)
    assert table is not None
    found = {name: row[0] for name, row in rows(table[0]).items()}
    names = (
        ("Heun", "for\nHeun"),
        ("EDG", "guided"),
        ("DPM++ 2M", "for DPM++ 2M"),
        ("EMG", "for EMG"),
        ("EMG, mix grid", "for EMG on the mix grid"),
    )
    for name, words in names:
        assert f"{found[name]} {words}" in text("README.md")


def test_the_manual_has_the_orders_of_the_samplers() -> None:
    table = re.search(r"## Samplers\n\n(.*?)\n\n", text("docs/diffusion.md"), re.DOTALL)
    assert table is not None
    told = {}
    for names, (_, orders, _) in rows(table[1]).items():
        parts = orders.split(", ") if "," in names else [orders]
        told.update(zip(re.findall(r"`(\w+)`", names), parts * 2, strict=False))
    assert told.keys() == SAMPLERS.keys()
    for name, words in told.items():
        if name == "ipndm4":
            assert words == f"4 in equal steps, else {SAMPLERS[name].order}"
        else:
            start = f" (from its own start {OWN_START[name]})" if name in OWN_START else ""
            assert words == f"{SAMPLERS[name].order}{start}"


def mean(above: list[str], below: list[str]) -> float:
    ratios = [float(a) / float(b) for a, b in zip(above, below, strict=True)]
    return math.prod(ratios) ** (1 / len(ratios))


@pytest.mark.parametrize(
    "name", ["video_digits", "audio_waveforms", "field_2d", "point_clouds", "flow_matching"]
)
def test_the_summary_of_the_examples_is_that_of_their_tables(name: str) -> None:
    page = text("docs/examples.md")
    summary = re.search(rf"^\| `{name}` \| 0.*$", page, re.MULTILINE)
    section = page[page.index(f"\n`examples/{name}.py`. ") :]
    table = re.search(r"\| relative error.*?\n\n", section, re.DOTALL)
    assert summary is not None
    assert table is not None
    errors = rows(table[0])
    pairs = (
        ("emg", "dpmpp_2m"),
        ("emg, mix grid", "dpmpp_2m, mix grid"),
        ("heun + error-direction", "heun"),
        ("emg", "heun + error-direction"),
    )
    means = [f"{mean(errors[a], errors[b]):.2f}" for a, b in pairs]
    assert cells(summary[0])[1:] == means


def test_examples_on_mix_say_where_its_bump_lies() -> None:
    page = text("docs/diffusers.md")
    examples = [block for block in re.findall(r"```py.*?```", page, re.DOTALL) if '"mix"' in block]
    assert examples
    assert all("center=" in block for block in examples)
