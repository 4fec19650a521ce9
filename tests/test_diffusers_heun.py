"""The two Heun schedulers: diffusers' own without guidance, `sample` with it."""

from __future__ import annotations

import itertools

import diffusers
import pytest
import torch
from schedulers import (
    BETAS,
    GRIDS,
    PREDICTIONS,
    RULES,
    SPACINGS,
    advance,
    drive,
    net,
    nodes,
    start,
    times,
    unit_noise,
)

from stiffguide.adapters.diffusers import StiffguideHeunScheduler
from stiffguide.adapters.diffusion import sample
from stiffguide.errors import InputError
from stiffguide.guidance import ErkGuid, ErrorDirection

# what diffusers does with tensors in numpy
pytestmark = pytest.mark.filterwarnings("ignore:__array")


def chosen_rule(words):
    """The rule that a configuration names."""
    if words["guidance"] == "erk_guid":
        return ErkGuid(words["w_stiff"], words["w_con"])
    if words["guidance"] == "error_direction":
        return ErrorDirection(words.get("guidance_order", 2))
    return None


def denoiser(scheduler, prediction):
    """D(x, sigma) of the network as a pipeline with this scheduler asks it."""
    told = times(scheduler)

    def denoise(x, sigma):
        level = float(sigma[0])
        out = net(x / (level**2 + 1) ** 0.5, told[level])
        if prediction == "epsilon":
            return x - level * out
        if prediction == "v_prediction":
            return x / (level**2 + 1) - level / (level**2 + 1) ** 0.5 * out
        return out

    return denoise


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("betas", BETAS)
@pytest.mark.parametrize("grid", GRIDS)
def test_without_guidance_it_is_diffusers_own(grid, betas, prediction):
    for spacing in SPACINGS:
        words = {
            "num_train_timesteps": 200,
            "prediction_type": prediction,
            "beta_schedule": betas,
            "timestep_spacing": spacing,
            "steps_offset": 1,
            "clip_sample_range": 0.8,
        }
        if grid is not None:
            words[grid] = True
        theirs = diffusers.HeunDiscreteScheduler(**words)
        ours = StiffguideHeunScheduler(guidance=None, **words)
        for clip, n in itertools.product((False, True), (1, 2, 7)):
            for scheduler in (theirs, ours):
                scheduler.register_to_config(clip_sample=clip)
                scheduler.set_timesteps(n)
            torch.testing.assert_close(ours.sigmas, theirs.sigmas, rtol=1e-6, atol=0)
            torch.testing.assert_close(ours.timesteps, theirs.timesteps, rtol=1e-6, atol=1e-3)
            torch.testing.assert_close(ours.init_noise_sigma, theirs.init_noise_sigma)
            theirs.sigmas = theirs.sigmas.double()  # its float32 rounding is not the question
            x = start(ours, unit_noise())
            expected = drive(theirs, x)
            size = 1 + float(expected.abs().max())
            torch.testing.assert_close(drive(ours, x), expected, rtol=0, atol=1e-6 * size)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n", [1, 2, 9])
def test_with_guidance_it_is_sample(n, rule, prediction):
    ours = StiffguideHeunScheduler(prediction_type=prediction, use_karras_sigmas=True, **rule)
    ours.set_timesteps(n)
    denoise = denoiser(ours, prediction)
    levels, noise = nodes(ours), unit_noise()
    expected = sample(denoise, noise, levels, "heun", chosen_rule(rule)).x
    got = drive(ours, levels[0] * noise)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_begun_in_the_middle_it_is_sample_from_there(rule):
    ours = StiffguideHeunScheduler(**rule)
    ours.set_timesteps(8)
    levels, noise = nodes(ours), unit_noise()
    image = torch.full_like(noise, 0.3)
    first = 2 * 3
    ours.set_begin_index(first)
    x = ours.add_noise(image, noise, ours.timesteps[first : first + 1])
    expected = sample(
        denoiser(ours, "epsilon"),
        noise,
        levels,
        "heun",
        chosen_rule(rule),
        init=image,
        strength=5 / 8,
    ).x
    torch.testing.assert_close(drive(ours, x, first=first), expected, rtol=1e-12, atol=1e-12)


def test_guidance_changes_the_result():
    ends = []
    for rule in RULES:
        ours = StiffguideHeunScheduler(**rule)
        ours.set_timesteps(8)
        ends.append(drive(ours, start(ours, unit_noise())))
    for one, other in itertools.combinations(ends, 2):
        assert not torch.allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_two_calls_a_step_but_one_in_the_last(n):
    ours = StiffguideHeunScheduler()
    ours.set_timesteps(n)
    assert len(ours.timesteps) == 2 * n - 1
    assert ours.timesteps[1::2].tolist() == ours.timesteps[2::2].tolist()
    assert len(ours.sigmas) == 2 * n
    assert ours.sigmas[-1] == 0


def test_times_of_the_callers_are_those_of_the_grid():
    ours, own = StiffguideHeunScheduler(), StiffguideHeunScheduler()
    ours.set_timesteps(6)
    own.set_timesteps(timesteps=ours.timesteps[[0, *range(1, 11, 2)]])
    torch.testing.assert_close(own.sigmas, ours.sigmas)
    x = start(ours, unit_noise())
    torch.testing.assert_close(drive(own, x), drive(ours, x))


def test_levels_of_the_callers_end_where_they_say():
    ours = StiffguideHeunScheduler()
    ours.set_timesteps(sigmas=[10.0, 3.0, 1.0, 0.2])
    assert nodes(ours) == pytest.approx([10.0, 3.0, 1.0, 0.2])
    assert len(ours.timesteps) == 6  # the last step does not go to 0, so it has two calls
    noise = unit_noise()
    rule = ErrorDirection()
    expected = sample(denoiser(ours, "epsilon"), noise, nodes(ours), "heun", rule).x
    torch.testing.assert_close(drive(ours, 10 * noise), expected, rtol=1e-6, atol=1e-6)


def test_a_pipeline_that_counts_calls_finds_its_place():
    # retrieve_timesteps reports len(timesteps) steps where a caller brings the grid
    ours = StiffguideHeunScheduler()
    ours.set_timesteps(sigmas=torch.linspace(10, 0, 11))
    believed, strength = len(ours.timesteps), 0.6
    first = int(believed * (1 - strength)) * ours.order
    assert ours.sigmas[first] == pytest.approx(6.0, abs=1.0)
    assert type(ours).order == 2
    ours.set_timesteps(10)
    assert ours.order == 2


@pytest.mark.parametrize("first", [1, 3, 5])
def test_begun_at_the_second_call_of_a_step_nothing_is_lost(first):
    # the second call is made where the next step begins: there is nothing to do but to wait
    whole, half = StiffguideHeunScheduler(), StiffguideHeunScheduler()
    for scheduler in (whole, half):
        scheduler.set_timesteps(6)
    whole.set_begin_index(first + 1)
    half.set_begin_index(first)
    x = unit_noise()
    expected = drive(whole, x, first=first + 1)
    torch.testing.assert_close(drive(half, x, first=first), expected)


def test_a_state_that_a_pipeline_changes_counts():
    # as HeunDiscreteScheduler does: inpainting pipelines put known pixels back after every call
    theirs, ours = diffusers.HeunDiscreteScheduler(), StiffguideHeunScheduler(guidance=None)
    ends = []
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(5)
        scheduler.sigmas = scheduler.sigmas.double()
        x = start(scheduler, unit_noise())
        for i, t in enumerate(scheduler.timesteps):
            x = advance(scheduler, x, t) + 0.1 * (i % 3)
        ends.append(x)
    torch.testing.assert_close(*ends, rtol=1e-6, atol=1e-6)


def test_pred_original_sample_is_x0():
    ours = StiffguideHeunScheduler(clip_sample=True, clip_sample_range=0.5)
    ours.set_timesteps(4)
    x, t = start(ours, unit_noise()), ours.timesteps[0]
    out = net(ours.scale_model_input(x, t), t)
    step = ours.step(out, t, x)
    expected = (x - float(ours.sigmas[0]) * out).clamp(-0.5, 0.5)
    torch.testing.assert_close(step.pred_original_sample, expected)
    assert torch.equal(step[0], step.prev_sample)


@pytest.mark.parametrize(
    ("words", "given", "complaint"),
    [
        ({}, {}, "exactly one"),
        ({}, {"num_inference_steps": 3, "timesteps": [9, 5]}, "exactly one"),
        ({}, {"num_inference_steps": 0}, "whole number"),
        ({}, {"num_inference_steps": 2.5}, "whole number"),
        ({}, {"timesteps": [5, 9]}, "must fall"),
        ({}, {"sigmas": [3.0]}, "two or more"),
        ({}, {"sigmas": ["a", "b"]}, "not numbers"),
        ({}, {"num_inference_steps": 3, "mu": 0.5}, "mu"),
        ({"use_karras_sigmas": True}, {"timesteps": [9, 5]}, "use_karras_sigmas"),
        ({"use_beta_sigmas": True}, {"sigmas": [9, 5]}, "use_beta_sigmas"),
        ({"use_beta_sigmas": True, "use_karras_sigmas": True}, None, "exclude each other"),
        ({"beta_schedule": "sigmoid"}, None, "trained_betas"),
        ({"prediction_type": "flow_prediction"}, None, "prediction_type"),
        ({"timestep_spacing": "even"}, None, "timestep_spacing"),
        ({"guidance": "edg"}, None, "error_direction"),
        ({"guidance": "erk_guid", "w_stiff": -1.0}, None, "w_stiff"),
        ({"guidance_order": 4}, None, "order is 2 or 3"),
    ],
)
def test_bad_input_is_told(words, given, complaint):
    with pytest.raises(InputError, match=complaint):
        StiffguideHeunScheduler(**words).set_timesteps(**({} if given is None else given))


def test_a_flow_matching_configuration_is_refused():
    for cls in (
        diffusers.FlowMatchEulerDiscreteScheduler,
        diffusers.FlowMatchHeunDiscreteScheduler,
    ):
        with pytest.raises(InputError, match="StiffguideFlowMatchHeunScheduler"):
            StiffguideHeunScheduler.from_config(cls().config)
