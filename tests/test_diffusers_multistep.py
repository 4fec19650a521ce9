"""EMG as a scheduler: equal to `sample`, on the grids of DPMSolverMultistep and UniPC."""

from __future__ import annotations

import itertools
import math

import diffusers
import pytest
import torch
from schedulers import BETAS, PREDICTIONS, SPACINGS, drive, net, unit_noise

from stiffguide.adapters.diffusers import StiffguideHeunScheduler, StiffguideMultistepScheduler
from stiffguide.adapters.diffusers.trained_schedule import spread_levels
from stiffguide.adapters.diffusion import SAMPLERS, DDPMTable, Emg, as_network, problems, sample
from stiffguide.adapters.diffusion import grid as grids
from stiffguide.errors import InputError, StiffguideWarning

pytestmark = pytest.mark.filterwarnings("ignore:__array")
NAMED = ("mix", "karras", "exponential", "linear", "quadratic", "beta")


def denoiser(scheduler, prediction):
    """D(X, level) of the network, in VE form."""
    told = dict(zip(scheduler.sigmas.tolist(), scheduler.timesteps, strict=False))

    def denoise(x, sigma):
        level = float(sigma[0])
        alpha = 1 / math.hypot(1.0, level)
        x = x * alpha
        out = net(x, told[level])
        if prediction == "epsilon":
            return (x - level * alpha * out) / alpha
        return alpha * x - level * alpha * out if prediction == "v_prediction" else out

    return denoise


def in_ve(scheduler, x):
    """Unit noise of `sample` for a state that a pipeline starts from, and the other way."""
    first, last = (math.hypot(1.0, float(scheduler.sigmas[i])) for i in (0, -1))
    return x * first / float(scheduler.sigmas[0]), last


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("points", [None, 2, 3])
@pytest.mark.parametrize("final", ["zero", "sigma_min"])
def test_it_is_sample(final, points, prediction):
    for grid, n in itertools.product((None, "mix", "karras"), (2, 3, 8, 12)):
        ours = StiffguideMultistepScheduler(
            prediction_type=prediction, final_sigmas_type=final, points=points, sigma_grid=grid
        )
        ours.set_timesteps(n)
        assert len(ours.timesteps) == n
        noise, last = in_ve(ours, unit_noise())
        found = sample(denoiser(ours, prediction), noise, ours.sigmas, Emg(points)).x / last
        got = drive(ours, unit_noise())
        torch.testing.assert_close(got, found, rtol=1e-11, atol=1e-12 * float(found.abs().max()))


def test_begun_in_the_middle_it_is_sample_from_there():
    ours = StiffguideMultistepScheduler()
    ours.set_timesteps(20)
    first = 11  # nine steps are left: three points
    ours.set_begin_index(first)
    noise, image = unit_noise(), torch.full((2, 3, 4, 4), 0.3, dtype=torch.float64)
    x = ours.add_noise(image, noise, ours.timesteps[first : first + 1])
    denoise = denoiser(ours, "epsilon")
    expected = sample(denoise, noise, ours.sigmas, "emg", init=image, strength=9 / 20).x
    torch.testing.assert_close(drive(ours, x, first=first), expected, rtol=1e-11, atol=1e-11)


CONFIGURATIONS = [
    {},
    {"use_karras_sigmas": True},
    {"use_exponential_sigmas": True},
    {"use_beta_sigmas": True},
    {"use_lu_lambdas": True},
    {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
    {"final_sigmas_type": "sigma_min"},
    {"lambda_min_clipped": -3.1},
    *({"timestep_spacing": spacing, "steps_offset": 1} for spacing in SPACINGS),
    *({"beta_schedule": betas} for betas in BETAS if betas != "exp"),
]


@pytest.mark.parametrize("words", CONFIGURATIONS, ids=str)
def test_grids_are_those_of_dpm_solver_multistep(words):
    theirs = diffusers.DPMSolverMultistepScheduler(**words)
    ours = StiffguideMultistepScheduler.from_config(theirs.config)
    for n in (1, 4, 10):
        theirs.set_timesteps(n)
        ours.set_timesteps(n)
        torch.testing.assert_close(ours.sigmas, theirs.sigmas, rtol=1e-5, atol=1e-7)
        # theirs are rounded, so that the model is told another level than the solver uses
        assert float((ours.timesteps - theirs.timesteps).abs().max()) < 1


@pytest.mark.parametrize("name", NAMED)
def test_a_grid_by_name_spans_what_the_model_knows(name):
    ours = StiffguideMultistepScheduler(sigma_grid=name)
    ours.set_timesteps(7)
    table = DDPMTable.linear()
    low, high = float(table.levels[0]), float(table.levels[-1])
    assert float(ours.sigmas[0]) == pytest.approx(high, rel=1e-3)
    assert float(ours.sigmas[-2]) == pytest.approx(low, rel=1e-3)
    assert ours.sigmas.tolist() == sorted(ours.sigmas.tolist(), reverse=True)
    narrow = StiffguideMultistepScheduler(sigma_grid=name, sigma_min=0.1, sigma_max=9.0)
    narrow.set_timesteps(7)
    expected = torch.tensor(spread_levels(name, 7, 0.1, 9.0), dtype=torch.float32)
    torch.testing.assert_close(narrow.sigmas[:-1], expected)


@pytest.mark.parametrize("nfe", [8, 12, 16])
@pytest.mark.parametrize("grid", ["use_karras_sigmas", "use_exponential_sigmas"])
def test_it_beats_what_it_stands_in_for(nfe, grid):
    problem = problems.get("aniso2d")
    network = as_network(problem.mixture, "epsilon", DDPMTable.scaled_linear())
    noise = problem.noise(1, count=128)
    errors = []
    levels = DDPMTable.scaled_linear().levels
    top = float(levels[-1])
    start = noise * math.hypot(1.0, top) / top
    end = problems.reference_end(problem.mixture, start, top, 1e-3)
    for cls in (
        StiffguideMultistepScheduler,
        diffusers.DPMSolverMultistepScheduler,
        diffusers.UniPCMultistepScheduler,
    ):
        made = cls(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", **{grid: True}
        )
        made.set_timesteps(nfe)
        x = drive(made, noise, lambda x, t: network(x, t.double().expand(len(x))))
        errors.append(float((x - end).norm(dim=-1).median()))
    assert errors[0] < 0.9 * min(errors[1:])


def test_dynamic_thresholding_is_that_of_dpm_solver():
    words = {"thresholding": True, "sample_max_value": 1.5, "prediction_type": "sample"}
    theirs = diffusers.DPMSolverMultistepScheduler(solver_order=1, **words)
    ours = StiffguideMultistepScheduler(**words)
    x = unit_noise()
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(2)
    out = 3 * unit_noise(seed=4)
    t = ours.timesteps[0]
    got = ours.step(out, t, x)
    torch.testing.assert_close(got.prev_sample, theirs.step(out, t, x).prev_sample.double())
    assert float(got.pred_original_sample.abs().max()) == 1.0


def test_mix_without_a_center_is_karras(caplog):
    grids._say_how_to_measure.cache_clear()
    made = {}
    for words in ({"sigma_grid": "mix"}, {"sigma_grid": "karras"}, {"sigma_data": 0.5}):
        ours = StiffguideMultistepScheduler(**{"sigma_grid": "mix", **words})
        ours.set_timesteps(9)
        made[next(iter(words.values()))] = ours.sigmas
    assert torch.equal(made["mix"], made["karras"])
    # what configurations from before have is what it was
    low, high = DDPMTable.linear().range()
    torch.testing.assert_close(made[0.5][:-1].double(), grids.mix(8, low, high), rtol=1e-3, atol=0)
    assert caplog.text.count("measure the data once: center=0.375") == 1


@pytest.mark.parametrize("flow", [False, True])
def test_the_center_of_mix_is_a_level(flow):
    words = {"prediction_type": "flow_prediction", "use_flow_sigmas": True} if flow else {}
    ours = StiffguideMultistepScheduler(sigma_grid="mix", sigma_data=1.0, center=1.3, **words)
    ours.set_timesteps(9)
    sigmas = ours.sigmas[1:-1].double()
    table = DDPMTable.linear().levels
    low, high = (1 / 999, 999.0) if flow else (float(table[0]), float(table[-1]))
    expected = grids.mix(8, low, high, center=1.3)[1:]
    found = sigmas / (1 - sigmas) if flow else sigmas
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)
    assert not torch.allclose(found, grids.mix(8, low, high, sigma_data=1.0)[1:], rtol=1e-2)


@pytest.mark.parametrize("ours", [StiffguideMultistepScheduler, StiffguideHeunScheduler])
def test_what_lies_beyond_the_schedule_in_training_is_said(ours):
    betas = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
    for words, sentence in (
        ({"sigmas": [200.0, 1.0, 0.0]}, "levels above 157.4, .* take levels from 0.01 to 157.4"),
        ({"sigmas": [100.0, 0.002, 0.0]}, "levels below 0.01"),
        ({"timesteps": [1200, 500, 1]}, "timesteps above 999, .* from 0 to 999"),
    ):
        with pytest.warns(StiffguideWarning, match=sentence):
            ours(**betas).set_timesteps(**words)
    low, high = (float(DDPMTable.linear().levels[i]) for i in (0, -1))
    ours(**betas).set_timesteps(sigmas=[1.005 * high, 1.0, low / 1.005, 0.0])
    ours(**betas).set_timesteps(timesteps=[999, 500, 0])


def test_learned_variances_are_left_out():
    ours = StiffguideMultistepScheduler(variance_type="learned_range")
    ours.set_timesteps(3)
    x = unit_noise()
    t = ours.timesteps[0]
    both = torch.cat((net(x, t), unit_noise(seed=3)), 1)
    got = ours.step(both, t, x).prev_sample
    ours.set_timesteps(3)
    torch.testing.assert_close(got, ours.step(net(x, t), t, x).prev_sample)


def test_rounded_times_find_the_nearest_call():
    ours = StiffguideMultistepScheduler(use_karras_sigmas=True)
    ours.set_timesteps(10)
    for i, t in enumerate(ours.timesteps.tolist()):
        assert ours.index_for_timestep(t) == i
    assert ours.index_for_timestep(round(float(ours.timesteps[2]))) == 2


def test_custom_timesteps_and_levels():
    ours = StiffguideMultistepScheduler()
    ours.set_timesteps(timesteps=[900, 500, 100])
    table = DDPMTable.linear()
    expected = [*table.level(torch.tensor([900.0, 500.0, 100.0])).tolist(), 0.0]
    assert ours.sigmas.tolist() == pytest.approx(expected, rel=1e-3)
    ours.set_timesteps(sigmas=[14.0, 3.0, 0.5, 0.1])
    assert ours.sigmas.tolist() == pytest.approx([14.0, 3.0, 0.5, 0.1])
    assert len(ours.timesteps) == 3


@pytest.mark.parametrize("method", SAMPLERS)
def test_another_sampler_can_be_driven(method):
    ours = StiffguideMultistepScheduler(use_karras_sigmas=True)
    ours.use(SAMPLERS[method])
    ours.set_timesteps(6)
    calls = []

    def denoise(x, sigma):
        level = float(sigma[0])
        alpha = 1 / math.hypot(1.0, level)
        at = min(told, key=lambda known: abs(known - level))
        calls.append(level)
        return x - level * net(x * alpha, told[at])

    told = dict(zip(ours.sigmas.tolist(), ours.timesteps, strict=False))
    levels = [float(ours.sigmas[0])] + [
        s for a, s in itertools.pairwise(ours.sigmas.tolist()) if s < a
    ]
    if method in ("dpm2", "dpmpp_2s", "dpmpp_sde"):
        levels = [*levels[:-1:2], 0.0]  # without the middles
    noise, last = in_ve(ours, unit_noise())
    expected = sample(denoise, noise, levels, method).x / last
    assert len(calls) == len(ours.timesteps)
    assert len(calls) == 6 * ours.order - (ours.order - 1)
    torch.testing.assert_close(drive(ours, unit_noise()), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "given", "complaint"),
    [
        ({}, {}, "pass num_inference_steps"),
        ({}, {"num_inference_steps": 4, "timesteps": [9, 5]}, "exclude"),
        ({"use_karras_sigmas": True}, {"timesteps": [9, 5]}, "karras"),
        ({}, {"timesteps": [5, 9]}, "must fall"),
        ({}, {"sigmas": [5.0]}, "two or more"),
        ({"sigma_grid": "cubic"}, {"num_inference_steps": 4}, "a grid of levels"),
        ({"points": 4}, None, "points"),
        ({"final_sigmas_type": "one"}, None, "final_sigmas_type"),
        ({"shift_terminal": 0.1}, None, "flow matching"),
        ({"lambda_min_clipped": 99.0}, None, "leaves no level"),
        ({"prediction_type": "score"}, None, "prediction_type"),
        ({"timestep_spacing": "leading"}, {"num_inference_steps": 1000}, "999 at most"),
    ],
)
def test_bad_input_is_told(words, given, complaint):
    with pytest.raises(InputError, match=complaint):
        StiffguideMultistepScheduler(**words).set_timesteps(**({} if given is None else given))


def test_step_before_set_timesteps_is_told():
    x = unit_noise()
    with pytest.raises(InputError, match="set_timesteps before step"):
        StiffguideMultistepScheduler().step(x, 1, x)


def test_a_configuration_survives_the_way_through_another_scheduler():
    ours = StiffguideMultistepScheduler(sigma_grid="mix", sigma_data=0.7, center=1.3, points=2)
    there = StiffguideHeunScheduler.from_config(ours.config)
    back = StiffguideMultistepScheduler.from_config(there.config)
    for key, value in ours.config.items():
        if not key.startswith("_"):
            assert back.config[key] == value
