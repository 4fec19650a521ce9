"""What every scheduler of this package promises to a pipeline."""

from __future__ import annotations

import copy
import inspect
import json
import math
import subprocess
import sys

import diffusers
import pytest
import torch
from schedulers import ALL, NOISE, advance, drive, net, shown, start, unit_noise
from torch._subclasses.fake_tensor import FakeTensorMode

from stiffguide.adapters.diffusers import (
    StiffguideFlowMatchHeunScheduler,
    StiffguideHeunScheduler,
    StiffguideMultistepScheduler,
)
from stiffguide.adapters.diffusers.resumed_run import ResumedRun, one_a_step, rehearsed, two_a_step
from stiffguide.adapters.diffusers.scheduler_base import refuse_without_float64
from stiffguide.adapters.diffusion import SAMPLERS, Heun, sample
from stiffguide.adapters.diffusion.sampler import Advance
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.guidance import ErkGuid, ErrorDirection, Sum

pytestmark = pytest.mark.filterwarnings("ignore:__array")

KINDS = {
    "heun": lambda: StiffguideHeunScheduler(),
    "heun plain": lambda: StiffguideHeunScheduler(guidance=None, use_karras_sigmas=True),
    "heun third order": lambda: StiffguideHeunScheduler(guidance_order=3),
    "heun erk_guid": lambda: StiffguideHeunScheduler(guidance="erk_guid", w_con=0.1),
    "flow heun": lambda: StiffguideFlowMatchHeunScheduler(shift=3.0),
    "multistep": lambda: StiffguideMultistepScheduler(),
    "multistep mix": lambda: StiffguideMultistepScheduler(sigma_grid="mix"),
    "multistep flow": lambda: StiffguideMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True
    ),
}
every = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


@every
def test_a_saved_scheduler_is_the_same(make, tmp_path):
    ours = make()
    ours.save_pretrained(tmp_path)
    again = type(ours).from_pretrained(tmp_path)
    kept = {k: v for k, v in ours.config.items() if k != "_use_default_values"}
    assert dict(again.config) == kept
    for scheduler in (ours, again):
        scheduler.set_timesteps(7)
    x = start(ours, unit_noise())
    assert torch.equal(drive(ours, x), drive(again, x))


@every
def test_a_configuration_is_plain_json(make):
    ours = make()
    assert json.loads(ours.to_json_string())["_class_name"] == type(ours).__name__
    parameters = inspect.signature(type(ours).__init__).parameters.values()
    assert all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)


@every
def test_order_tells_pipelines_how_many_calls_a_step_has(make):
    ours = make()
    ours.set_timesteps(6)
    assert ours.order == type(ours).order
    assert len(ours.timesteps) == 6 * ours.order - (ours.order - 1)
    assert len(ours.sigmas) == len(ours.timesteps) + 1
    assert ours.sigmas.device.type == "cpu"
    assert ours.num_inference_steps == 6
    assert len(ours) == 1000


@every
@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 8), (2, 3, 4, 4), (1, 2, 3, 4, 4), (2, 6, 4)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_shape_and_dtype_are_the_samples(make, shape, dtype):
    ours = make()
    ours.set_timesteps(4)
    x = start(ours, unit_noise(*shape)).to(dtype)
    for t in ours.timesteps:
        x = advance(ours, x, t)
        assert x.shape == shape
        assert x.dtype == dtype
    assert bool(torch.isfinite(x).all())


@every
def test_half_precision_is_computed_in_single(make):
    half, single = make(), make()
    half.set_timesteps(10)
    single.set_timesteps(10)
    x = start(half, unit_noise(dtype=torch.float32)).to(torch.bfloat16)
    for t in half.timesteps:
        out = net(x, t)
        shown(half, x, t), shown(single, x, t)
        expected = single.step(out.float(), t, x.float(), return_dict=False)[0]
        x = half.step(out, t, x, return_dict=False)[0]
        assert torch.equal(x, expected.to(torch.bfloat16))


@every
def test_a_model_in_half_precision_leaves_the_state_as_it_is(make):
    ours = make()
    ours.set_timesteps(4)
    x = start(ours, unit_noise(dtype=torch.float32))

    def half(x, t):
        return net(x, t).to(torch.bfloat16)

    assert drive(ours, x, half).dtype == torch.float32


@every
def test_both_ways_of_returning_agree(make):
    ours = make()
    ours.set_timesteps(5)
    x = start(ours, unit_noise())
    t = ours.timesteps[0]
    step = ours.step(net(shown(ours, x, t), t), t, x)
    ours.set_timesteps(5)
    returned = ours.step(net(shown(ours, x, t), t), t, x, return_dict=False)
    assert torch.equal(returned[0], step.prev_sample)
    assert step.pred_original_sample.shape == x.shape


@every
def test_rows_do_not_know_each_other(make):
    ours, x = make(), unit_noise(3, 2, 4)
    ours.set_timesteps(9)
    x = start(ours, x)
    whole = drive(ours, x)
    for i in range(len(x)):
        ours.set_timesteps(9)
        torch.testing.assert_close(
            drive(ours, x[i : i + 1]), whole[i : i + 1], rtol=1e-9, atol=1e-9
        )


@every
def test_a_run_leaves_nothing_behind(make):
    ours, x = make(), unit_noise()
    ours.set_timesteps(6)
    x = start(ours, x)
    first = drive(ours, x)
    assert torch.equal(drive(ours, x), first)  # a run that is over begins anew
    for other in (unit_noise(5, 3, 4, 4), unit_noise(1, 2)):
        ours.set_timesteps(6)
        for t in ours.timesteps[:3]:
            other = advance(ours, other, t)
        ours.set_timesteps(6)
        assert torch.equal(drive(ours, x), first)


@every
def test_another_batch_in_the_middle_starts_afresh_or_is_told(make):
    ours = make()
    ours.set_timesteps(6)
    x = start(ours, unit_noise())
    for t in ours.timesteps[:3]:
        x = advance(ours, x, t)
    other, t = unit_noise(5, 3, 4, 4), ours.timesteps[3]
    if ours.order == 1:
        assert advance(ours, other, t).shape == other.shape
    else:
        with pytest.raises(InputError, match="middle of a step"):
            advance(ours, other, t)


@every
def test_a_copy_goes_on_alone(make):
    ours = make()
    ours.set_timesteps(6)
    x = start(ours, unit_noise())
    for t in ours.timesteps[:3]:
        x = advance(ours, x, t)
    twin = copy.deepcopy(ours)
    for t in ours.timesteps[3:]:
        other = advance(twin, x, t)
        x = advance(ours, x, t)
        assert torch.equal(x, other)
        x = other


@every
def test_no_step_but_the_first_waits_for_the_device(make):
    ours = make()
    ours.set_timesteps(12)
    x = start(ours, unit_noise(dtype=torch.float32))
    drive(ours, x)  # tables that depend on the grid alone are made once
    ours.set_timesteps(12)
    x = advance(ours, x, ours.timesteps[0])
    later = list(ours.timesteps[1:])
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        x = fake.from_tensor(x)
        for t in later:
            # a fake tensor has no values: whoever asks for one is told
            out = torch.zeros_like(x)
            if hasattr(ours, "scale_model_input"):
                ours.scale_model_input(x, t)
            x = ours.step(out, t, x).prev_sample
    assert tuple(x.shape) == (2, 3, 4, 4)


@every
def test_strides_do_not_matter(make):
    ours = make()
    x = start_of = unit_noise(4, 4, 3, 2).permute(3, 2, 0, 1)
    ends = []
    for x in (start_of, start_of.contiguous()):
        ours.set_timesteps(5)
        ends.append(drive(ours, start(ours, x)))
    assert torch.equal(*ends)


@every
def test_neither_sample_nor_output_is_changed(make):
    ours = make()
    ours.set_timesteps(4)
    x = start(ours, unit_noise())
    for t in ours.timesteps:
        out = net(shown(ours, x, t), t)
        before = x.clone(), out.clone()
        ahead = ours.step(out, t, x).prev_sample
        assert torch.equal(x, before[0])
        assert torch.equal(out, before[1])
        x = ahead


@every
def test_a_model_of_another_shape_is_told(make):
    ours = make()
    ours.set_timesteps(4)
    x = unit_noise()
    shown(ours, x, ours.timesteps[0])
    with pytest.raises(InputError, match="one shape"):
        ours.step(torch.cat((x, x), 1), ours.timesteps[0], x)


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("steps", [25, 50, 100, 999, 1000])
def test_every_length_of_training(cls, steps):
    ours = cls(num_train_timesteps=steps)
    assert len(ours) == steps
    for n in (1, 10, 25):
        ours.set_timesteps(n)
        assert float(ours.timesteps[0]) >= float(ours.timesteps[-1])
        assert bool(torch.isfinite(drive(ours, start(ours, unit_noise()))).all())


@pytest.mark.parametrize("cls", NOISE)
@pytest.mark.parametrize("ends", [(1e-5, 2e-4), (1e-4, 2e-3), (1e-3, 2e-2)])
def test_levels_are_those_of_the_betas(cls, ends):
    ours = cls(beta_start=ends[0], beta_end=ends[1])
    kept = torch.cumprod(1 - torch.linspace(*ends, 1000), 0)
    largest = ((1 - kept[-1]) / kept[-1]).sqrt()
    ours.set_timesteps(10)
    torch.testing.assert_close(ours.sigmas[0], largest)


@pytest.mark.parametrize("cls", NOISE)
def test_trained_betas_are_used_and_saved(cls, tmp_path):
    betas = torch.linspace(1e-4, 0.03, 100)
    for given in (betas.numpy(), betas.tolist()):
        ours = cls(num_train_timesteps=100, trained_betas=given)
        torch.testing.assert_close(ours.betas, betas)
        ours.save_pretrained(tmp_path)
        assert cls.from_pretrained(tmp_path).betas.tolist() == ours.betas.tolist()


@pytest.mark.parametrize("cls", NOISE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_add_noise_takes_a_time_a_row(cls, dtype):
    ours = cls()
    ours.set_timesteps(8)
    clean, noise = unit_noise(3, 2, 4, seed=1).to(dtype), unit_noise(3, 2, 4, seed=2).to(dtype)
    picked = ours.timesteps[[0, 2, 4]]
    got = ours.add_noise(clean, noise, picked)
    assert got.dtype == dtype
    for i in range(3):
        level = float(ours.sigmas[[0, 2, 4][i]])
        alpha = 1.0 if cls is StiffguideHeunScheduler else (1 + level**2) ** -0.5
        expected = alpha * clean[i].double() + alpha * level * noise[i].double()
        torch.testing.assert_close(got[i].double(), expected, rtol=1e-2, atol=2e-2 * alpha * level)
    # a time in training at which no call is made
    kept = ours.alphas_cumprod[400]
    level = float(((1 - kept) / kept).sqrt())
    alpha = 1.0 if cls is StiffguideHeunScheduler else (1 + level**2) ** -0.5
    got = ours.add_noise(clean.double(), noise.double(), torch.tensor([400, 400, 400]))
    expected = alpha * clean.double() + alpha * level * noise.double()
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("cls", NOISE)
def test_add_noise_after_a_step_is_of_the_next_level(cls):
    # what inpainting pipelines rely on, once they have said where they begin
    ours = cls()
    ours.set_timesteps(8)
    ours.set_begin_index(2)
    zero, one = torch.zeros(1, 1, 4), torch.ones(1, 1, 4)
    levels = []
    for i in range(2, 6):
        levels.append(float(ours.add_noise(zero, one, ours.timesteps[:1])[0, 0, 0]))
        advance(ours, zero, ours.timesteps[i], lambda x, t: x)
    sigma = ours.sigmas[2:6]
    scale = 1.0 if cls is StiffguideHeunScheduler else (1 + sigma**2) ** -0.5
    assert levels == pytest.approx((sigma * scale).tolist(), rel=1e-5)


@pytest.mark.parametrize("cls", NOISE)
def test_a_time_is_found_whatever_its_type(cls):
    ours = cls(timestep_spacing="leading")
    ours.set_timesteps(10)
    for i in (0, 2, 4):
        t = ours.timesteps[i]
        for given in (t, t[None], float(t), int(t), t.to(torch.int64)):
            assert ours.index_for_timestep(given) == i
    if cls is StiffguideHeunScheduler:
        with pytest.raises(InputError, match=r"scheduler\.timesteps"):
            ours.index_for_timestep(3.7)


@pytest.mark.parametrize("cls", ALL)
def test_a_beginning_beyond_the_end_is_told(cls):
    ours = cls()
    ours.set_timesteps(4)
    ours.set_begin_index(40)
    x = unit_noise()
    with pytest.raises(InputError, match="begin_index 40"):
        advance(ours, x, ours.timesteps[0])


@pytest.mark.parametrize("cls", NOISE)
def test_configurations_of_compatible_schedulers_are_understood(cls):
    ours = cls(beta_start=0.001, beta_end=0.015, beta_schedule="scaled_linear")
    assert len(ours.compatibles) > 10
    for other in ours.compatibles:
        theirs = other.from_config(ours.config)
        back = cls.from_config(theirs.config)
        for key, value in ours.config.items():
            assert key.startswith("_") or back.config[key] == value
        assert torch.equal(back.betas, ours.betas)


@pytest.mark.parametrize("cls", NOISE)
def test_the_words_of_stable_diffusion_are_taken_over(cls):
    theirs = diffusers.PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        steps_offset=1,
        timestep_spacing="leading",
        prediction_type="v_prediction",
    )
    ours = cls.from_config(theirs.config)
    for word in ("beta_start", "beta_schedule", "steps_offset", "timestep_spacing"):
        assert ours.config[word] == theirs.config[word]
    assert ours.config.prediction_type == "v_prediction"
    overridden = cls.from_config(theirs.config, timestep_spacing="trailing")
    assert overridden.config.timestep_spacing == "trailing"


def test_a_device_without_float64_is_told():
    device = torch.device("mps")
    refuse_without_float64(device, Heun())
    refuse_without_float64(torch.device("cpu"), SAMPLERS["emg"])
    for sampler in (SAMPLERS["emg"], Heun().bind(ErrorDirection())):
        with pytest.raises(UnsupportedError, match="float64"):
            refuse_without_float64(device, sampler)


def test_a_resumed_run_is_the_sampler():
    def denoise(x, level):
        return x / (1 + level**2) + 0.1 * torch.sin(x)

    levels = [10.0, 4.0, 1.5, 0.5, 0.1, 0.0]
    rules = (None, ErrorDirection(), ErkGuid(), Sum((ErkGuid(), ErrorDirection())))
    samplers = [*SAMPLERS.values(), *(Heun().bind(rule) for rule in rules[1:])]
    for sampler in samplers:
        calls = rehearsed(sampler, levels)
        x = unit_noise(2, 6) * 10
        run, at = ResumedRun(sampler, levels), x
        for call in calls:
            assert run.between_steps == call.first
            at = run.take(at, denoise(at, call.level))

        def shaped(x, sigma):
            return denoise(x, float(sigma[0]))

        expected = sample(shaped, unit_noise(2, 6), levels, sampler)
        assert len(calls) == expected.nfe
        torch.testing.assert_close(at, expected.x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("end", [0.0, 0.1])
def test_calls_are_as_rehearsed(end):
    levels = [10.0, 4.0, 1.0, end]
    assert two_a_step(levels) == rehearsed(SAMPLERS["heun"], levels)
    assert one_a_step(levels) == rehearsed(SAMPLERS["emg"], levels)


def test_a_sampler_that_begins_elsewhere_is_refused():
    class Late:
        name, order, error_order, memory, reversible = "late", 1, None, False, False

        def init(self, x, levels):
            return ()

        def step(self, denoise, interval, x, state):
            return Advance(x, x, denoise(x, interval.end), state)

    with pytest.raises(UnsupportedError, match="late does not begin"):
        rehearsed(Late(), [3.0, 1.0])


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_diffusers_is_imported_only_where_it_is_asked_for():
    done = run(
        "import sys, stiffguide, stiffguide.adapters.diffusion\n"
        "sys.exit('diffusers' in sys.modules)"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_without_diffusers_the_extra_is_named():
    done = run("import sys; sys.modules['diffusers'] = None\nimport stiffguide.adapters.diffusers")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert "pip install 'stiffguide[diffusers]'" in last


PRECONDITIONED = (
    "EDMEulerScheduler",
    "EDMDPMSolverMultistepScheduler",
    "CosineDPMSolverMultistepScheduler",
    "CMStochasticIterativeScheduler",
)


@pytest.mark.parametrize("name", PRECONDITIONED)
@pytest.mark.parametrize("ours", ALL, ids=lambda ours: ours.__name__)
def test_a_model_with_another_scaling_is_refused(ours, name):
    theirs = getattr(diffusers, name)()
    with pytest.raises(InputError, match="EDM's preconditioning"):
        ours.from_config(theirs.config)


NONSENSE = (0, -1, 1.5, "x", None, math.nan, math.inf, True, [1], 10**30)


@pytest.mark.parametrize("cls", ALL)
def test_whatever_a_configuration_says_there_are_levels_or_a_sentence(cls):
    """Each of its words in turn."""
    said = []
    for key in list(inspect.signature(cls.__init__).parameters)[1:]:
        for value in NONSENSE:
            try:
                ours = cls(**{key: value})
                ours.set_timesteps(5)
            except InputError as error:
                said.append(str(error))
            else:
                assert bool(torch.isfinite(ours.sigmas).all()), (key, value)
    assert len(said) > 60
    assert not any("\n" in sentence for sentence in said)
