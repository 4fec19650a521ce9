"""Flow matching: Heun in the flow's own variable, EMG in the noise level, grids as diffusers'."""

from __future__ import annotations

import itertools
import math

import diffusers
import numpy as np
import pytest
import torch
from schedulers import GRIDS, RULES, drive, nodes, times, unit_noise
from test_diffusers_heun import chosen_rule

from stiffguide.adapters.diffusers import (
    StiffguideFlowMatchHeunScheduler,
    StiffguideMultistepScheduler,
)
from stiffguide.adapters.diffusion import sample
from stiffguide.adapters.diffusion.flow_in_ve_form import to_level
from stiffguide.errors import InputError

FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
pytestmark = pytest.mark.filterwarnings("ignore:__array")


def velocity(x, t):
    """A network whose output is of the size of a velocity."""
    return torch.tanh(0.7 * x + t.to(x.dtype) / 400) - 0.3 * x


def close(got, expected, size=1e-6):
    torch.testing.assert_close(got, expected, rtol=0, atol=size)


@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("n", [1, 2, 7, 20])
def test_without_guidance_it_is_diffusers_own_heun(n, shift):
    theirs = diffusers.FlowMatchHeunDiscreteScheduler(shift=shift)
    ours = StiffguideFlowMatchHeunScheduler(shift=shift, guidance=None)
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(n)
    torch.testing.assert_close(ours.sigmas, theirs.sigmas, rtol=1e-6, atol=0)
    torch.testing.assert_close(ours.timesteps, theirs.timesteps, rtol=1e-6, atol=0)
    # they work in float32 whatever comes in
    close(drive(ours, unit_noise(), velocity), drive(theirs, unit_noise(), velocity), 3e-6)


@pytest.mark.parametrize("terminal", [None, 0.1])
@pytest.mark.parametrize("dynamic", [None, "exponential", "linear"])
@pytest.mark.parametrize("grid", GRIDS)
def test_grids_are_those_of_diffusers_euler(grid, dynamic, terminal):
    words = {"shift": 3.0, "shift_terminal": terminal}
    words |= {} if dynamic is None else {"use_dynamic_shifting": True, "time_shift_type": dynamic}
    words |= {} if grid is None else {grid: True}
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(**words)
    ours = StiffguideFlowMatchHeunScheduler(**words)
    own = np.linspace(1.0, 0.1, 6)
    for given in ({"num_inference_steps": 6}, {"sigmas": own}, {"num_inference_steps": 1}):
        mu = None if dynamic is None else 0.8
        if given == {"num_inference_steps": 1} and terminal is not None:
            continue  # what theirs makes of one step is told below
        theirs.set_timesteps(**given, mu=mu)
        ours.set_timesteps(**given, mu=mu)
        torch.testing.assert_close(
            torch.tensor(nodes(ours)), theirs.sigmas, rtol=2e-6, atol=1e-7, check_dtype=False
        )
        first_calls = [0, *range(2, len(ours.timesteps), 2)]
        torch.testing.assert_close(
            ours.timesteps[first_calls], theirs.timesteps, rtol=2e-6, atol=1e-4
        )


@pytest.mark.parametrize("make", [StiffguideFlowMatchHeunScheduler, StiffguideMultistepScheduler])
def test_one_step_with_a_terminal_shift_is_finite(make):
    words = FLOW if make is StiffguideMultistepScheduler else {}
    ours = make(shift_terminal=0.1, **words)
    ours.set_timesteps(1)
    assert ours.sigmas.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n", [1, 2, 9])
def test_with_guidance_it_is_sample_in_the_flows_variable(n, rule):
    # with D = x - s v, dx/ds = v is (x - D)/s: the same equation, with s for sigma
    ours = StiffguideFlowMatchHeunScheduler(shift=3.0, **rule)
    ours.set_timesteps(n)
    told = times(ours)

    def denoise(x, s):
        return x - float(s[0]) * velocity(x, told[float(s[0])])

    expected = sample(denoise, unit_noise(), nodes(ours), "heun", chosen_rule(rule)).x
    close(drive(ours, unit_noise(), velocity), expected, 1e-12)


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("n", [1, 2, 8, 20])
def test_emg_is_sample_in_the_noise_level(n, shift):
    ours = StiffguideMultistepScheduler(flow_shift=shift, **FLOW)
    ours.set_timesteps(n)
    shares = ours.sigmas.tolist()
    assert shares[0] == 1.0
    levels = [to_level(s) for s in shares]
    told = dict(zip(levels, zip(shares, ours.timesteps, strict=False), strict=False))

    def denoise(x, level):
        s, t = told[float(level[0])]
        alpha = 1 / (1 + float(level[0]))
        return x * alpha - s * velocity(x * alpha, t)

    expected = sample(denoise, unit_noise(), levels, "emg").x
    close(drive(ours, unit_noise(), velocity), expected, 1e-10)


def test_emg_is_exact_for_a_gaussian_from_pure_noise_on():
    # data N(m, c^2): the flow ends at m + c noise
    mean, spread = 0.4, 0.3

    def network(x, t):
        s = float(t) / 1000
        variance = (1 - s) ** 2 * spread**2 + s**2
        return ((s - (1 - s) * spread**2) * (x - (1 - s) * mean)) / variance - mean

    errors = []
    for n in (10, 20, 40):
        ours = StiffguideMultistepScheduler(sigma_grid="exponential", **FLOW)
        ours.set_timesteps(n)
        end = drive(ours, unit_noise(), network)
        errors.append(float((end - mean - spread * unit_noise()).abs().max()))
    assert errors[-1] < 1e-4
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("make", [StiffguideFlowMatchHeunScheduler, StiffguideMultistepScheduler])
@pytest.mark.parametrize("dynamic", [False, True])
def test_a_flow_configuration_is_understood(make, dynamic):
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=dynamic)
    ours = make.from_config(theirs.config)
    mu = 0.8 if dynamic else None
    ours.set_timesteps(4, mu=mu)
    moved = math.exp(0.8) / (math.exp(0.8) + 1 / 0.25 - 1) if dynamic else 3 * 0.25 / (1 + 2 * 0.25)
    ours.set_timesteps(sigmas=[1.0, 0.25], mu=mu)
    assert nodes(ours) == pytest.approx([1.0, moved, 0.0])
    assert ours.config.max_shift == theirs.config.max_shift  # pipelines look there


@pytest.mark.parametrize(
    "theirs", [diffusers.UniPCMultistepScheduler, diffusers.DPMSolverMultistepScheduler]
)
def test_a_multistep_configuration_of_a_flow_is_understood(theirs, caplog):
    made = theirs(flow_shift=3.0, **FLOW)
    multistep = StiffguideMultistepScheduler.from_config(made.config)
    heun = StiffguideFlowMatchHeunScheduler.from_config(made.config)
    assert heun.shift == 3.0
    assert "not expected" not in caplog.text
    made.set_timesteps(10)
    multistep.set_timesteps(10)
    if theirs is diffusers.UniPCMultistepScheduler:
        torch.testing.assert_close(multistep.sigmas, made.sigmas, rtol=0, atol=2e-6)


def test_inverted_sigmas_are_the_same_run():
    plain, inverted = (
        StiffguideFlowMatchHeunScheduler(invert_sigmas=inverted) for inverted in (False, True)
    )
    for scheduler in (plain, inverted):
        scheduler.set_timesteps(6)
    torch.testing.assert_close(inverted.sigmas, 1 - plain.sigmas)
    torch.testing.assert_close(inverted.timesteps, 1000 - plain.timesteps, atol=1e-3, rtol=0)
    end = drive(plain, unit_noise(), velocity)
    mirrored = drive(inverted, unit_noise(), lambda x, t: -velocity(x, 1000 - t))
    close(mirrored, end, 1e-5)
    image, noise = unit_noise(seed=1), unit_noise(seed=2)
    torch.testing.assert_close(
        inverted.scale_noise(image, inverted.timesteps[3:4], noise),
        plain.scale_noise(image, plain.timesteps[3:4], noise),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("make", [StiffguideFlowMatchHeunScheduler, StiffguideMultistepScheduler])
def test_scale_noise_takes_a_time_a_row(make):
    ours = make(**(FLOW if make is StiffguideMultistepScheduler else {}))
    ours.set_timesteps(8)
    image, noise = unit_noise(3, 4, seed=1), unit_noise(3, 4, seed=2)
    picked = ours.timesteps[[0, 2, 5]]
    got = ours.scale_noise(image, picked, noise)
    share = (picked / 1000).double().unsqueeze(-1)
    torch.testing.assert_close(got, share * noise + (1 - share) * image, rtol=1e-6, atol=1e-6)
    # times in training that no call is made at
    got = ours.scale_noise(image, torch.tensor([250.0]), noise)
    torch.testing.assert_close(got, 0.25 * noise + 0.75 * image)


def test_set_shift_counts_from_the_next_run_on():
    ours = StiffguideFlowMatchHeunScheduler()
    ours.set_shift(4.0)
    ours.set_timesteps(sigmas=[1.0, 0.5])
    assert nodes(ours) == pytest.approx([1.0, 0.8, 0.0])


@pytest.mark.parametrize("n", [4, 5])
def test_a_flow_pipeline_that_counts_calls_finds_its_place(n):
    # FLUX passes sigmas, is told 2n - 1 steps, and leaves out a share of those times order
    ours = StiffguideFlowMatchHeunScheduler(guidance=None)
    ours.set_timesteps(sigmas=np.linspace(1.0, 1 / n, n))
    believed = len(ours.timesteps)
    for strength in (0.25, 0.5, 0.75, 1.0):
        first = int(max(believed - min(believed * strength, believed), 0)) * ours.order
        assert ours.timesteps[first] == pytest.approx(1000 * strength, abs=1000 / n)
    close(torch.tensor(ours.order), torch.tensor(1))


@pytest.mark.parametrize(
    ("words", "given", "complaint"),
    [
        ({"use_dynamic_shifting": True}, {"num_inference_steps": 4}, "mu"),
        ({"time_shift_type": "cubic"}, None, "time_shift_type"),
        ({"shift": 0.0}, None, "shift must be positive"),
        ({"shift": "three"}, None, "shift must be positive and finite, not 'three'"),
        ({}, {"num_inference_steps": 3, "sigmas": [1.0, 0.5]}, "agree in length"),
        ({}, {}, "agree in length"),
        ({}, {"sigmas": [2.0, 0.5]}, r"lie in \[0, 1\]"),
        ({}, {"sigmas": [0.5, 1.0]}, "must fall"),
        ({}, {"sigmas": [float("nan"), 0.5]}, "finite"),
    ],
)
def test_bad_input_is_told(words, given, complaint):
    with pytest.raises(InputError, match=complaint):
        StiffguideFlowMatchHeunScheduler(**words).set_timesteps(**({} if given is None else given))


def test_the_number_of_a_timestep_is_refused():
    ours = StiffguideFlowMatchHeunScheduler()
    ours.set_timesteps(4)
    x = unit_noise()
    for index in (0, torch.tensor(0)):
        with pytest.raises(InputError, match="is whole"):
            ours.step(x, index, x)


def test_another_models_configuration_is_refused():
    with pytest.raises(InputError, match="use StiffguideHeunScheduler"):
        StiffguideFlowMatchHeunScheduler.from_config(diffusers.DDIMScheduler().config)


def test_every_combination_of_form_and_prediction_is_one_flow():
    # on a flow's path noise, data and velocity are three words for one network
    ends = []
    for prediction in ("flow_prediction", "epsilon", "sample"):
        ours = StiffguideMultistepScheduler(use_flow_sigmas=True, prediction_type=prediction)
        ours.set_timesteps(sigmas=[0.9, 0.7, 0.4, 0.2])

        def network(x, t, prediction=prediction):
            s, v = float(t) / 1000, velocity(x, t)
            x0 = x - s * v
            return {"flow_prediction": v, "epsilon": v + x0, "sample": x0}[prediction]

        ends.append(drive(ours, unit_noise(), network))
    for one, other in itertools.pairwise(ends):
        close(one, other, 1e-5)
