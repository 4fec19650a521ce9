"""The nodes that give SIGMAS, and the one that measures a center, in the stand-in for ComfyUI."""

from __future__ import annotations

import sys

import comfy_standin as standin
import pytest
import torch
from flows import SMOOTH, normal
from test_comfyui import EMPTY, KINDS, NOISE, execute, guider

from stiffguide.adapters.diffusion import CalibratedGrid, grid, sample
from stiffguide.errors import InputError

GRIDS = ("Karras", "Time", "Calibrated")
EVERY = pytest.mark.parametrize("name", GRIDS)
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
MADE = CalibratedGrid((10.0, 1.0, 0.05), (1.0, 2.0))  # which the fixture has saved


def sigmas_of(pack, name: str, kind: str, steps: int = 10, **changed) -> torch.Tensor:
    return execute(pack, f"Stiffguide{name}Scheduler", kind, steps=steps, **changed)[0].double()


@EVERY
@EVERY_KIND
@pytest.mark.parametrize("steps", [1, 2, 8, 50])
def test_a_grid_falls_from_the_model_to_zero(pack, name: str, kind: str, steps: int) -> None:
    sigmas = sigmas_of(pack, name, kind, steps)
    assert sigmas.shape == (steps + 1,)
    calibrated = name == "Calibrated" and kind == "eps"
    assert float(sigmas[0]) == (10.0 if calibrated else float(KINDS[kind][1]().sigma_max))
    assert sigmas[-1] == 0
    assert bool((sigmas[1:] < sigmas[:-1]).all())


@EVERY
@EVERY_KIND
def test_denoise_runs_the_end_of_a_longer_grid(pack, name: str, kind: str) -> None:
    whole = sigmas_of(pack, name, kind, 20)
    assert torch.equal(sigmas_of(pack, name, kind, 10, denoise=0.5), whole[10:])
    assert len(sigmas_of(pack, name, kind, denoise=0.0)) == 0


def test_karras_over_the_models_own_range(pack) -> None:
    table = standin.ModelSamplingDiscrete().sigmas
    low, high = float(table[0]), float(table[-1])
    expected = grid.karras(9, low, high, rho=5.0, zero=True).float().double()
    assert torch.equal(sigmas_of(pack, "Karras", "eps", 9, rho=5.0), expected)
    # of a flow in its levels, from EDM's end in units of the shift to the least of the model
    sigmas = sigmas_of(pack, "Karras", "flow", 9)[1:-1]
    least = float(KINDS["flow"][1]().sigma_min)
    levels = grid.karras(9, least / (1 - least), 3 * 160.0, zero=True)[1:-1]
    torch.testing.assert_close(sigmas / (1 - sigmas), levels, rtol=1e-4, atol=0)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_even_steps_in_time(pack, power: float) -> None:
    times = torch.linspace(1, 0, 9, dtype=torch.float64)[1:-1] ** power
    sigmas = sigmas_of(pack, "Time", "flow", 8, power=power)[1:-1]
    torch.testing.assert_close(sigmas, 3 * times / (1 + 2 * times), rtol=1e-5, atol=0)
    table = standin.ModelSamplingDiscrete()
    expected = torch.stack([table.sigma(t * 999) for t in times]).double()
    found = sigmas_of(pack, "Time", "eps", 8, power=power)[1:-1]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_a_calibrated_grid_is_that_of_the_file(pack) -> None:
    found = sigmas_of(pack, "Calibrated", "eps", 9)
    assert torch.equal(found, MADE(9, zero=True).float().double())
    sigmas = sigmas_of(pack, "Calibrated", "flow", 9)[1:-1]
    levels = MADE(9, zero=True)[1:-1]
    torch.testing.assert_close(sigmas / (1 - sigmas), levels, rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", ["no.json", "../grid.json", "/etc/hostname", ""])
def test_a_file_is_one_of_the_input_folder(pack, tmp_path, monkeypatch, name: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    MADE.save(inside / "other.json")
    monkeypatch.setattr(sys.modules["folder_paths"], "get_input_directory", lambda: str(inside))
    with pytest.raises(InputError, match=r"no file .* in the input folder of ComfyUI"):
        sigmas_of(pack, "Calibrated", "eps", file=name)
    assert len(sigmas_of(pack, "Calibrated", "eps", file="other.json")) == 11


def test_a_file_of_another_model_or_none_is_said(pack, tmp_path) -> None:
    CalibratedGrid((80.0, 0.1), (1.0,)).save(tmp_path / "edm.json")
    with pytest.raises(InputError, match=r"goes up to sigma = 80 and the model to 14\.6"):
        sigmas_of(pack, "Calibrated", "eps", file="edm.json")
    (tmp_path / "text.json").write_text("a lighthouse")
    with pytest.raises(InputError, match=r"text\.json"):
        sigmas_of(pack, "Calibrated", "eps", file="text.json")


def test_a_file_that_changes_is_read_again(pack, tmp_path) -> None:
    node = pack.NODE_CLASS_MAPPINGS["StiffguideCalibratedScheduler"]
    given = {"model": None, "steps": 8, "denoise": 1.0, "file": "grid.json"}
    before = node.IS_CHANGED(**given)
    assert node.IS_CHANGED(**given) == before
    CalibratedGrid((9.0, 0.1), (1.0,)).save(tmp_path / "grid.json")
    assert node.IS_CHANGED(**given) != before


def test_the_center_is_measured_as_the_model_sees_latents(pack) -> None:
    latents = 3 * normal(40, 4, 3, 3, seed=4) + 1
    (center,) = execute(pack, "StiffguideMeasureCenter", latent={"samples": latents})
    seen = standin.LatentFormat.scale_factor * latents
    assert center == pytest.approx(0.375 * grid.principal_deviation(seen), rel=1e-12)
    with pytest.raises(InputError, match="say nothing of their spread"):
        execute(pack, "StiffguideMeasureCenter", latent={"samples": latents[:1]})


def test_the_center_of_latents_of_several_parts(pack) -> None:
    parts = [normal(40, 4, 3, seed=4), normal(40, 5, seed=5)]
    nested = standin.NestedTensor(parts)
    (center,) = execute(pack, "StiffguideMeasureCenter", latent={"samples": nested})
    flat = torch.cat([part.flatten(1) for part in parts], 1)
    seen = standin.LatentFormat.scale_factor * flat
    assert center == pytest.approx(0.375 * grid.principal_deviation(seen), rel=1e-12)


def test_a_measured_center_goes_into_the_mix_grid(pack) -> None:
    (center,) = execute(pack, "StiffguideMeasureCenter")
    found = sigmas_of(pack, "Mix", "eps", 8, center=center)
    table = standin.ModelSamplingDiscrete().sigmas
    expected = grid.mix(8, float(table[0]), float(table[-1]), center=center, zero=True)
    torch.testing.assert_close(found, expected.float().double(), rtol=0, atol=0)


@EVERY
def test_samplers_take_them(pack, name: str) -> None:
    (sampler,) = execute(pack, "StiffguideSamplerEMG")
    sigmas = sigmas_of(pack, name, "eps", 12)
    found = guider("eps").sample(NOISE, EMPTY, sampler, sigmas)
    # ComfyUI starts a whole run a little above the first sigma
    whole = float(sigmas[0]) == float(standin.ModelSamplingDiscrete().sigma_max)
    start = NOISE * torch.sqrt(1 + sigmas[0] ** 2) / sigmas[0] if whole else NOISE
    expected = sample(SMOOTH, start, sigmas, "emg").x
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
