"""What users say in a pipeline's call: callbacks, generators, grids, strengths, ends and starts."""

from __future__ import annotations

import copy
import functools
import pickle

import diffusers
import numpy as np
import pipelines
import pytest
import torch
from diffusers.schedulers import AysSchedules
from schedulers import ALL, advance, start, unit_noise
from test_diffusers_common_pipelines import built, heun, multistep, noise_level, run

from stiffguide.adapters.diffusion import SAMPLERS
from stiffguide.errors import InputError

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

SD, XL = "StableDiffusionPipeline", "StableDiffusionXLPipeline"
SD3, FLUX = "StableDiffusion3Pipeline", "FluxPipeline"
REFINER = "StableDiffusionXLImg2ImgPipeline"
both = pytest.mark.parametrize("make", [multistep, heun])
LATENTS = {"callback_on_step_end_tensor_inputs": ["latents"]}


def end(name, scheduler, steps, **words):
    return run(name, scheduler, steps, **words)[0][-1].ahead


def near(got, expected, size=1e-3):
    torch.testing.assert_close(got, expected, rtol=0, atol=size * float(expected.abs().max()))


def driven(name, method, **words):
    """The multistep scheduler with another sampler."""
    scheduler = multistep(name, **words)
    scheduler.use(SAMPLERS[method])
    return scheduler


@both
@pytest.mark.parametrize("name", [SD, SD3, FLUX])
def test_a_callback_that_gives_the_latents_back_changes_nothing(name, make):
    seen = []

    def callback(pipe, i, t, given):
        seen.append((i, float(t)))
        return {"latents": given["latents"].clone()}

    scheduler = make(name)
    told = {"callback_on_step_end": callback, **LATENTS}
    assert torch.equal(end(name, scheduler, 4, **told), end(name, make(name), 4))
    assert seen == list(enumerate(scheduler.timesteps.tolist()))


@pytest.mark.parametrize("name", [SD, SD3])
@pytest.mark.parametrize("method", ["euler", "heun"])
def test_latents_that_a_callback_puts_in_count(name, method):
    # two runs of a sampler without memory are one from where their states are
    other, _ = run(name, driven(name, method), 4, latents=latents(name, 7))
    made = 2 if method == "heun" else 1

    def callback(pipe, i, t, given):
        # in the middle of a step, too, what is put in is where the slope is
        return {"latents": other[i].ahead} if i == 2 * made - 1 else {}

    told = {"callback_on_step_end": callback, **LATENTS, "latents": latents(name, 3)}
    near(end(name, driven(name, method), 4, **told), other[-1].ahead, 1e-5)


def latents(name, seed):
    """Unit noise of the shape that a pipeline has."""
    shape = {SD: (1, 4, 16, 16), SD3: (1, 16, 16, 16)}[name]
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@both
@pytest.mark.parametrize("name", [SD, XL, SD3, FLUX])
def test_images_of_one_prompt_are_those_of_their_generators(name, make):
    def seeds(*values):
        return [torch.Generator().manual_seed(value) for value in values]

    together = end(name, make(name), 3, num_images_per_prompt=3, generator=seeds(1, 2, 1))
    assert len(together) == 3
    near(together[0], together[2], 1e-5)
    for row, seed in ((0, 1), (1, 2)):
        alone = end(name, make(name), 3, generator=seeds(seed))
        near(together[row], alone[0], 5e-3)  # a batch rounds otherwise
    assert float((together[0] - together[1]).abs().mean()) > 0.05


@both
@pytest.mark.parametrize("rescale", [0.0, 0.7])
def test_a_rescaled_guidance_is_what_the_scheduler_is_given(rescale, make):
    calls, _ = run(SD, make(SD), 3, guidance_rescale=rescale)
    plain, _ = run(SD, make(SD), 3)
    assert torch.equal(calls[0].out, plain[0].out) == (rescale == 0)
    assert bool(torch.isfinite(calls[-1].ahead).all())


@both
def test_times_of_the_callers_are_those_of_the_steps(make):
    times = [float(t) for t in AysSchedules["StableDiffusionTimesteps"]]
    calls, _ = run(SD, make(SD), 10, timesteps=times)
    told = [call.t for call in calls]
    assert told[0] == times[0]
    assert list(dict.fromkeys(told)) == times
    with pytest.raises(InputError, match="exclude"):
        run(SD, make(SD, use_karras_sigmas=True), 10, timesteps=times)


@both
def test_levels_of_the_callers_are_those_of_the_steps(make):
    levels = AysSchedules["StableDiffusionXLSigmas"]
    calls, _ = run(XL, make(XL), 10, sigmas=levels)
    visited = dict.fromkeys(call.t for call in calls)
    assert [noise_level(XL, t) for t in visited] == pytest.approx(levels[:-1], rel=1e-4)
    theirs, _ = run(XL, built(XL)[2], 10, sigmas=levels)
    # whole times are Euler's own, and told as they are
    assert list(visited) == pytest.approx([call.t for call in theirs], abs=0.5)


@pytest.mark.parametrize("name", [SD3, FLUX, "QwenImagePipeline", "SanaPipeline"])
def test_levels_of_a_flow_are_shifted_as_its_own_scheduler_shifts_them(name):
    given = {"sigmas": [1.0, 0.7, 0.4, 0.1]}
    own = heun(name, guidance=None)
    calls, _ = run(name, own, 4, **given)
    expected = list(dict.fromkeys(call.t for call in calls))
    if "Flow" in type(built(name)[2]).__name__:
        theirs = built(name)[2]
        euler, _ = run(name, type(theirs).from_config(theirs.config), 4, **given)
        assert expected == pytest.approx([call.t for call in euler], rel=1e-5)
    told = [call.t for call in run(name, multistep(name), 4, **given)[0]]
    if name == FLUX:  # leaves a caller's levels out where a scheduler has use_flow_sigmas
        assert told == [call.t for call in run(name, multistep(name), 4)[0]]
    else:
        assert told == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("grid", [{}, {"use_karras_sigmas": True}, {"sigma_grid": "exponential"}])
@pytest.mark.parametrize("share", [0.8, 0.5])
def test_a_refiner_goes_on_where_the_base_ends(share, grid):
    # with one network for both, two parts of a run are the run
    pipe, words, _ = built(XL)
    refiner = diffusers.StableDiffusionXLImg2ImgPipeline(
        **{key: part for key, part in pipe.components.items() if "image" not in key}
        | {"requires_aesthetics_score": False}
    )
    pipelines.quiet(refiner)
    whole, _ = run(XL, driven(XL, "euler", **grid), 10)
    first, _ = run(XL, driven(XL, "euler", **grid), 10, denoising_end=share)
    second = []
    scheduler = driven(XL, "euler", **grid)
    step = scheduler.step

    @functools.wraps(step)
    def noted(*args, **kwargs):
        second.append(step(*args, **kwargs))
        return second[-1]

    scheduler.step = noted
    refiner.scheduler = scheduler
    refiner(
        prompt=words["prompt"],
        image=first[-1].ahead,
        denoising_start=share,
        num_inference_steps=10,
        output_type="latent",
    )
    assert 0 < len(first) < 10
    assert len(first) + len(second) == 10
    near(second[-1][0], whole[-1].ahead, 5e-3)


def test_heun_is_cut_within_a_step_where_a_base_ends():
    # the pipeline cuts by times, and a step's second call is at the time of the next one's first
    times = [call.t for call in run(XL, heun(XL), 10, denoising_end=0.8)[0]]
    assert len(times) % 2 == 1
    assert times[-1] == times[-2] > 200


def test_between_levels_with_times_of_their_own_a_network_is_told_what_lies_between():
    name = "CogView4Pipeline"
    own, _ = run(name, type(built(name)[2]).from_config(built(name)[2].config), 4)
    theirs = [call.t for call in own]
    calls, _ = run(name, driven(name, "dpm2"), 4)
    assert len(calls) == 7
    assert [call.t for call in calls[::2]] == pytest.approx(theirs)
    for i, call in enumerate(calls[1::2]):
        assert theirs[i] > call.t > theirs[i + 1]


@both
@pytest.mark.parametrize(
    "name",
    [
        "StableDiffusionImg2ImgPipeline",
        "StableDiffusionXLImg2ImgPipeline",
        "StableDiffusion3Img2ImgPipeline",
        "FluxImg2ImgPipeline",
    ],
)
@pytest.mark.parametrize("strength", [0.3, 0.7, 1.0])
def test_a_run_from_an_image_begins_at_the_level_of_its_first_time(strength, name, make):
    scheduler = make(name)
    mixed = []
    for key in ("add_noise", "scale_noise"):
        if hasattr(scheduler, key):
            setattr(scheduler, key, noting(getattr(scheduler, key), key, mixed))
    calls, _ = run(name, scheduler, 10, strength=strength)
    if strength == 1.0 and "XL" in name:  # starts from noise alone
        return
    image, noise, x = mixed[0]
    t = calls[0].t
    if "3" in name or "Flux" in name:
        alpha, sigma = 1 - t / 1000, t / 1000
    else:
        level = noise_level(name, t)
        alpha = 1.0 if make is heun else 1 / np.hypot(1, level)
        sigma = level * alpha
    near(x, alpha * image + sigma * noise, 1e-4)
    assert torch.equal(calls[0].x.flatten(), x.flatten()) or "Flux" in name  # which packs it


def noting(mix, key, mixed):
    """What a pipeline mixes, and what comes of it."""

    @functools.wraps(mix)
    def noted(sample, a, b):
        made = mix(sample, a, b)
        noise = a if key == "add_noise" else b
        mixed.append((sample, noise, made))
        return made

    return noted


@both
@pytest.mark.parametrize("name", ["StableDiffusionPipeline, turbo", SD3])
def test_one_step_ends_at_what_the_network_sees(name, make):
    scheduler = make(name)
    calls, _ = run(name, scheduler, 1)
    assert len(calls) == 1
    call = calls[0]
    if name == SD3:
        x0 = call.x - call.t / 1000 * call.out
    else:
        level = noise_level(name, call.t)
        x0 = call.x - level * call.out
        x0 = x0 if make is heun else call.x * np.hypot(1, level) - level * call.out
    near(call.ahead, x0, 1e-4)


@both
@pytest.mark.parametrize("name", [SD, SD3])
def test_a_scheduler_that_was_copied_or_packed_drives_a_pipeline_alike(name, make):
    used = make(name)
    expected = end(name, used, 4)
    for other in (copy.deepcopy(used), pickle.loads(pickle.dumps(used))):
        assert torch.equal(end(name, other, 4), expected)


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("at", [2, 3])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (torch.float32, torch.bfloat16),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float64),
        (torch.float64, torch.float32),
    ],
)
def test_a_state_that_changes_its_dtype_on_the_way_is_followed(before, after, at, cls):
    ours, whole = cls(), cls()
    for scheduler in (ours, whole):
        scheduler.set_timesteps(6)
    x = start(ours, unit_noise(dtype=before))
    y = start(whole, unit_noise())
    for i, t in enumerate(ours.timesteps):
        x = advance(ours, x.to(after) if i == at else x, t)
        y = advance(whole, y, t)
    assert x.dtype == after
    near(x.double(), y, 0.1 if torch.bfloat16 in (before, after) else 1e-5)
