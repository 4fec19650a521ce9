"""What is taken over from the schedulers of diffusers: followed, refused, or named."""

from __future__ import annotations

import warnings
from pathlib import Path

import diffusers
import pytest
import torch
from schedulers import ALL, NOISE, drive, start, unit_noise
from sources import NAMES, configuration, table, verdicts
from test_diffusers_laws import PRECONDITIONED

from stiffguide.adapters.diffusers import (
    StiffguideFlowMatchHeunScheduler,
    StiffguideHeunScheduler,
    StiffguideMultistepScheduler,
)
from stiffguide.adapters.diffusers.source_keys import CLASSES
from stiffguide.errors import InputError, StiffguideWarning

pytestmark = pytest.mark.filterwarnings("ignore:__array")
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SVD = {
    **BETAS,
    "timestep_type": "continuous",
    "prediction_type": "v_prediction",
    "use_karras_sigmas": True,
    "sigma_min": 0.002,
    "sigma_max": 700.0,
    "timestep_spacing": "leading",
}
KEYS = {name: configuration(name) for name in NAMES}
DISTILLED = {"LCMScheduler", "TCDScheduler", "FlowMatchLCMScheduler"}
STAGED = {"HeliosScheduler", "HeliosDMDScheduler"}
WITH_BETAS = [n for n in NAMES if "beta_schedule" in KEYS[n] and n not in DISTILLED]
WITHOUT_BETAS = {  # in memory, where a configuration does not say whose it is
    "KarrasVeScheduler",
    "ScoreSdeVeScheduler",
    "DDPMWuerstchenScheduler",
    "IPNDMScheduler",
    "LTXEulerAncestralRFScheduler",
    "MiniMaxH3Scheduler",
    "SCMScheduler",
    "EntropyBoundScheduler",
    "BlockRefinementScheduler",
    "DiscreteDDIMScheduler",
}


@pytest.mark.parametrize("name", NAMES)
def test_every_scheduler_is_followed_or_refused(name):
    said, words = verdicts(name), KEYS[name]
    takers = {ours for ours, refusal in said.items() if not refusal}
    if name in CLASSES:
        assert all(CLASSES[name] in refusal for refusal in said.values())
    elif name in PRECONDITIONED:
        assert all("EDM's preconditioning" in refusal for refusal in said.values())
    elif name in DISTILLED | STAGED:
        assert not takers
        assert any("does not follow" in refusal for refusal in said.values())
    else:
        kind = StiffguideFlowMatchHeunScheduler if "shift" in words else StiffguideHeunScheduler
        assert takers == {"StiffguideMultistepScheduler", kind.__name__}


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("name", WITH_BETAS)
@pytest.mark.parametrize("ours", NOISE)
def test_what_is_taken_has_the_levels_of_the_old_scheduler(ours, name, zero):
    words = {"rescale_betas_zero_snr": zero} if "rescale_betas_zero_snr" in KEYS[name] else {}
    theirs = getattr(diffusers, name)(**words)
    made = ours.from_config(theirs.config)
    expected = theirs.alphas_cumprod.float()
    torch.testing.assert_close(made.alphas_cumprod, expected, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("name", sorted(WITHOUT_BETAS))
@pytest.mark.parametrize("ours", ALL)
def test_a_configuration_without_betas_or_flow_is_refused(ours, name):
    with pytest.raises(InputError, match=r"neither betas|not of a flow|shift|prediction_type"):
        ours.from_config(getattr(diffusers, name)().config)


@pytest.mark.parametrize("ours", NOISE)
@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("zero", [False, True])
def test_the_schedule_of_cogvideox_is_followed(zero, scale, ours):
    theirs = diffusers.CogVideoXDDIMScheduler(
        snr_shift_scale=scale, rescale_betas_zero_snr=zero, prediction_type="v_prediction"
    )
    made = ours.from_config(theirs.config)
    expected = theirs.alphas_cumprod.float()
    torch.testing.assert_close(made.alphas_cumprod, expected, rtol=2e-4, atol=1e-6)
    made.set_timesteps(8)
    assert bool(torch.isfinite(drive(made, start(made, unit_noise()))).all())


@pytest.mark.parametrize("ours", NOISE)
def test_what_a_file_does_not_name_is_what_the_old_scheduler_took(ours):
    theirs = diffusers.CogVideoXDDIMScheduler()
    made = ours.from_config({"_class_name": "CogVideoXDDIMScheduler"})
    expected = theirs.alphas_cumprod.float()
    torch.testing.assert_close(made.alphas_cumprod, expected, rtol=2e-4, atol=1e-6)
    euler = {"_class_name": "EulerDiscreteScheduler", "prediction_type": "v_prediction"}
    torch.testing.assert_close(
        ours.from_config(euler).alphas_cumprod, diffusers.EulerDiscreteScheduler().alphas_cumprod
    )


@pytest.mark.parametrize("ours", NOISE)
def test_stable_video_diffusion_is_told_a_quarter_of_log_sigma(ours):
    theirs = diffusers.EulerDiscreteScheduler(**SVD)
    made = ours.from_config(theirs.config)
    for scheduler in (theirs, made):
        scheduler.set_timesteps(10)
    at = dict(zip(made.sigmas.tolist(), made.timesteps.tolist(), strict=False))
    assert float(made.timesteps[0]) == pytest.approx(1.6378, abs=1e-3)
    for sigma, time in zip(theirs.sigmas.tolist()[:-1], theirs.timesteps.tolist(), strict=True):
        nearest = min(at, key=lambda known, sigma=sigma: abs(known - sigma))
        assert nearest == pytest.approx(sigma, rel=1e-4)
        assert at[nearest] == pytest.approx(time, abs=1e-4)
    clean, noise = torch.zeros(1, 4), torch.ones(1, 4)
    scale = 1.0 if ours is StiffguideHeunScheduler else (1 + 2.0**2) ** -0.5
    got = made.add_noise(clean, noise, torch.tensor([2.0]).log() / 4)  # at which no call is made
    torch.testing.assert_close(got, 2 * scale * noise)


@pytest.mark.parametrize("ours", NOISE)
def test_stable_video_diffusion_is_solved(ours):
    spread, noise, errors = 0.5, unit_noise(), []  # data N(0, spread^2): the flow is known

    def v(x, t):
        sigma = float(torch.exp(4 * t))
        alpha = (1 + sigma**2) ** -0.5
        y = x / alpha
        x0 = spread**2 / (spread**2 + sigma**2) * y
        return alpha * (y - x0) / sigma - alpha * sigma * x0

    for n in (20, 40):
        made = ours.from_config(diffusers.EulerDiscreteScheduler(**SVD).config)
        made.set_timesteps(n)
        first = float(made.sigmas[0])
        x = noise * (first**2 + spread**2) ** 0.5
        if ours is StiffguideMultistepScheduler:
            x = x * (1 + first**2) ** -0.5
        errors.append(float((drive(made, x, v) - spread * noise).abs().max()))
    assert errors[1] < errors[0] / 3
    assert errors[1] < 0.05


@pytest.mark.parametrize("ours", [StiffguideMultistepScheduler, StiffguideFlowMatchHeunScheduler])
@pytest.mark.parametrize("name", ["FlowMatchLCMScheduler", "HeliosScheduler", "PiflowScheduler"])
def test_distilled_and_staged_flows_are_refused_in_memory_too(name, ours):
    with pytest.raises(InputError, match=r"which Stiffguide.* does not follow"):
        ours.from_config(getattr(diffusers, name)().config)


@pytest.mark.parametrize("ours", [StiffguideMultistepScheduler, StiffguideFlowMatchHeunScheduler])
def test_noise_after_every_step_is_refused(ours):
    noisy = diffusers.FlowMatchEulerDiscreteScheduler(stochastic_sampling=True)
    with pytest.raises(InputError, match=r"stochastic_sampling = True .* new noise"):
        ours.from_config(noisy.config)
    ours.from_config(noisy.config, stochastic_sampling=False)


@pytest.mark.parametrize("ours", NOISE)
def test_a_model_that_is_not_distilled_after_all_is_taken(ours):
    theirs = diffusers.LCMScheduler(**BETAS)
    with pytest.raises(InputError) as told:
        ours.from_config(theirs.config)
    assert "original_inference_steps=None, timestep_scaling=None" in str(told.value)
    made = ours.from_config(theirs.config, original_inference_steps=None, timestep_scaling=None)
    torch.testing.assert_close(made.alphas_cumprod, theirs.alphas_cumprod)
    ours.from_config(made.config)  # and it stays so


def test_what_is_left_out_is_named():
    theirs = diffusers.DPMSolverMultistepScheduler(thresholding=True, use_lu_lambdas=True)
    with pytest.warns(StiffguideWarning, match=r"thresholding = True, use_lu_lambdas = True"):
        StiffguideHeunScheduler.from_config(theirs.config)
    with pytest.warns(StiffguideWarning, match="future_key = 3"):
        StiffguideMultistepScheduler.from_config({**theirs.config, "future_key": 3})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        StiffguideMultistepScheduler.from_config(theirs.config)
        StiffguideMultistepScheduler.from_config({**theirs.config, "future_key": False})


@pytest.mark.parametrize("ours", ALL)
@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("sigma_gird", "no option 'sigma_gird'"),
        ("guidence", "no option 'guidence'"),
        ("solver_order", "how another solver works"),
    ],
)
def test_options_that_are_none_are_refused(ours, option, complaint):
    flow = ours is StiffguideFlowMatchHeunScheduler
    theirs = diffusers.FlowMatchEulerDiscreteScheduler() if flow else diffusers.DDIMScheduler()
    with pytest.raises(InputError, match=complaint):
        ours.from_config(theirs.config, **{option: "mix"})
    _, unused = ours.from_config(theirs.config, return_unused_kwargs=True, **{option: "mix"})
    assert unused == {option: "mix"}
    with pytest.raises(TypeError, match=option):
        ours(**{option: "mix"})


def test_a_near_name_is_offered():
    with pytest.raises(InputError, match="did you mean sigma_grid"):
        StiffguideMultistepScheduler.from_config(diffusers.DDIMScheduler().config, sigma_gird="mix")


def test_a_shift_has_one_name():
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0).config
    made = StiffguideMultistepScheduler.from_config(theirs, flow_shift=5.0)
    assert (made.config.flow_shift, made.config.prediction_type) == (5.0, "flow_prediction")
    assert StiffguideFlowMatchHeunScheduler.from_config(made.config, shift=2.0).shift == 2.0
    with pytest.raises(InputError, match="no option 'shift'"):
        StiffguideMultistepScheduler.from_config(theirs, shift=5.0)
    with pytest.raises(InputError, match="no option 'flow_shift'"):
        StiffguideFlowMatchHeunScheduler.from_config(made.config, flow_shift=5.0)


def test_two_grids_are_refused_and_one_takes_the_place_of_another():
    with pytest.raises(InputError, match="sigma_grid = 'mix' and use_karras_sigmas = True"):
        StiffguideMultistepScheduler(sigma_grid="mix", use_karras_sigmas=True)
    theirs = diffusers.DPMSolverMultistepScheduler(use_karras_sigmas=True)
    for option, other in (
        ({"sigma_grid": "mix"}, {"sigma_grid": "mix"}),
        ({}, {"use_karras_sigmas": True}),
    ):
        made = StiffguideMultistepScheduler.from_config(theirs.config, **option)
        alone = StiffguideMultistepScheduler(**other)
        for scheduler in (made, alone):
            scheduler.set_timesteps(8)
        assert torch.equal(made.sigmas, alone.sigmas)
    mix = StiffguideMultistepScheduler(sigma_grid="mix")
    back = StiffguideMultistepScheduler.from_config(mix.config, use_karras_sigmas=True)
    assert (back.config.sigma_grid, back.config.use_karras_sigmas) == (None, True)
    with pytest.raises(InputError, match="name two grids"):
        StiffguideMultistepScheduler.from_config(
            mix.config, sigma_grid="mix", use_karras_sigmas=True
        )


def test_a_named_grid_and_levels_of_the_callers():
    with pytest.raises(InputError, match="exclude the grid 'mix'"):
        StiffguideMultistepScheduler(sigma_grid="mix").set_timesteps(sigmas=[5.0, 1.0, 0.0])
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "sigma_grid": "mix"}
    brought, own = (StiffguideMultistepScheduler(**flow) for _ in range(2))
    brought.set_timesteps(sigmas=[1.0, 0.75, 0.5, 0.25])  # as some pipelines do unasked
    own.set_timesteps(4)
    assert torch.equal(brought.sigmas, own.sigmas)


def test_samples_of_pixels_are_clipped_as_their_scheduler_does():
    theirs = diffusers.DDIMScheduler(clip_sample=True, clip_sample_range=0.5)
    ours = StiffguideMultistepScheduler.from_config(theirs.config)
    ours.set_timesteps(4)
    found = ours.step(-9 * unit_noise(), ours.timesteps[0], unit_noise()).pred_original_sample
    assert float(found.abs().max()) == 0.5


def test_the_manual_shows_the_table():
    page = Path(__file__).parents[1] / "docs" / "diffusers.md"
    assert "{include} _generated/schedulers.md" in page.read_text(encoding="utf-8")
    rows = table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == NAMES
    assert all("| none: " in row or "Stiffguide" in row for row in rows)
