"""The small examples run, and what they claim holds."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from scripts import EXAMPLES, ROOT, call, load

SMALL = ("audio_waveforms", "field_2d", "flow_matching", "video_digits")


def errors(path: Path) -> dict[str, dict[int, float]]:
    """Relative errors by sampler and budget."""
    found: dict[str, dict[int, float]] = {}
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            assert int(row["nfe"]) == int(row["budget"])  # equal evaluations, as made
            value = float(row["relative error to the flow"])
            found.setdefault(row["sampler"], {})[int(row["budget"])] = value
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_small_model_is_sampled_better_with_more_evaluations_and_by_emg(
    name: str, tmp_path: Path
) -> None:
    if name == "video_digits":
        pytest.importorskip("sklearn")
    call(load(name).main, "--fast", "--out", tmp_path)
    found = errors(tmp_path / f"{name}.csv")
    assert len({tuple(values.values()) for values in found.values()}) == len(found)
    for grid in ("", ", mix grid"):
        emg, other = found[f"emg{grid}"], found[f"dpmpp_2m{grid}"]
        assert all(0 < emg[b] < other[b] for b in (8, 12, 16)), (emg, other)
        assert emg[8] > emg[12] > emg[16]
    assert all(found["heun + error-direction"][b] < found["heun"][b] for b in (8, 12, 16))
    page = (tmp_path / f"{name}.md").read_text(encoding="utf-8")
    assert f"{found['emg'][16]:.3g}" in page
    picture = (tmp_path / f"{name}.png").read_bytes()
    assert picture.startswith(b"\x89PNG")


@pytest.mark.slow
def test_an_example_is_deterministic_and_runs_as_a_script(tmp_path: Path) -> None:
    call(load("flow_matching").main, "--fast", "--out", tmp_path / "a")
    script = [sys.executable, EXAMPLES / "flow_matching.py", "--fast", "--out", tmp_path / "b"]
    subprocess.run(script, check=True, capture_output=True)
    one, two = (errors(tmp_path / place / "flow_matching.csv") for place in "ab")
    for name, values in one.items():
        assert two[name] == pytest.approx(values, rel=1e-6)


def test_digits_stay_in_the_box_and_move_evenly() -> None:
    example = load("video_digits")
    dot = torch.full((20, 8, 8), -1.0)
    dot[:, 2, 3] = 1.0
    films = example.videos(dot, torch.Generator().manual_seed(0))
    assert films.shape == (20, example.FRAMES, example.SIDE, example.SIDE)
    where = (films == 0.5).nonzero()
    assert len(where) == 20 * example.FRAMES  # the dot is seen once in every frame
    steps = where[:, 2:].reshape(20, example.FRAMES, 2).diff(dim=1).abs()
    assert 0 < steps.max() <= 2


@pytest.mark.parametrize(
    ("name", "maker", "size"),
    [
        ("audio_waveforms", "sounds", 0.39),
        ("field_2d", "fields", 0.43),
        ("flow_matching", "arms", 0.46),
    ],
)
def test_data_have_the_size_that_the_preconditioning_expects(
    name: str, maker: str, size: float
) -> None:
    data = getattr(load(name), maker)(2000, torch.Generator().manual_seed(0))
    assert float(data.std()) == pytest.approx(size, abs=0.1)
    again = getattr(load(name), maker)(2000, torch.Generator().manual_seed(0))
    assert torch.equal(data, again)


def test_fields_are_periodic() -> None:
    """Neighbours across the edge are as alike as neighbours inside."""
    fields = load("field_2d").fields(500, torch.Generator().manual_seed(0))
    inside = (fields[:, 7] * fields[:, 8]).mean()
    across = (fields[:, -1] * fields[:, 0]).mean()
    assert float(across) == pytest.approx(float(inside), rel=0.1)


def test_the_preconditioned_network_has_edms_limits() -> None:
    small = load("small_models")
    model = small.Denoiser(load("audio_waveforms").Dilated(16, 1))
    x = torch.randn(3, 128, dtype=torch.float64)
    with torch.no_grad():
        low = model(x, torch.full((3,), 1e-8))
        high = model(1e6 * x, torch.full((3,), 1e6))
    torch.testing.assert_close(low, x, rtol=0, atol=1e-6)
    assert float(high.abs().max()) < 100  # c_skip is 0 there


@pytest.mark.parametrize("name", SMALL)
def test_the_page_shows_every_example(name: str) -> None:
    text = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    assert f"examples/{name}.py" in text
    picture = ROOT / "docs" / "images" / f"{name}.png"
    assert f"images/{name}.png" in text
    assert picture.stat().st_size < 100_000
