"""The times and levels that callers bring: at each step, and for a whole run."""

from __future__ import annotations

import copy
import math

import diffusers
import pytest
import torch
from schedulers import ALL, NOISE, SPACINGS, advance, drive, net, nodes, shown, start, unit_noise
from test_diffusers_laws import KINDS

from stiffguide.adapters.diffusers import (
    StiffguideFlowMatchHeunScheduler,
    StiffguideHeunScheduler,
    StiffguideMultistepScheduler,
)
from stiffguide.errors import InputError, UnsupportedError

pytestmark = pytest.mark.filterwarnings("ignore:__array")
every = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}


def begun(make, n=6, calls=4):
    """A scheduler in the middle of a run, and its state."""
    ours = make()
    ours.set_timesteps(n)
    x = start(ours, unit_noise())
    for t in ours.timesteps[:calls]:
        x = advance(ours, x, t)
    return ours, x


@every
def test_another_time_than_the_one_that_is_due_is_told(make):
    ours, x = begun(make)
    for t in (ours.timesteps[1], float(ours.timesteps[-1]), ours.timesteps[4].clone() + 3):
        with pytest.raises(InputError, match=r"where call 4 of .* is due"):
            ours.step(x, t, x)
    assert ours.step_index == 4  # and nothing has happened
    advance(ours, x, ours.timesteps[4])


@every
def test_a_run_can_be_begun_again_or_elsewhere(make):
    whole = make()
    whole.set_timesteps(6)
    x = start(whole, unit_noise())
    expected = drive(whole, x)
    ours, y = begun(make)
    with pytest.raises(InputError, match="is due"):  # interrupted, and called once more
        advance(ours, x, ours.timesteps[0])
    ours.set_begin_index(0)
    assert torch.equal(drive(ours, x), expected)
    ours, y = begun(make)
    ours.set_timesteps(6)
    assert torch.equal(drive(ours, x), expected)
    ours, y = begun(make)
    fresh = make()
    fresh.set_timesteps(6)
    for scheduler in (ours, fresh):  # back by a step, as inpainting with jumps in time does
        scheduler.set_begin_index(2)
    assert torch.equal(drive(ours, y, first=2), drive(fresh, y, first=2))


@every
def test_a_program_that_sets_the_index_goes_on_there(make):
    ours, x = begun(make)
    ours._step_index = 2
    fresh = make()
    fresh.set_timesteps(6)
    fresh.set_begin_index(2)
    torch.testing.assert_close(drive(ours, x, first=2), drive(fresh, x, first=2))


@every
def test_a_time_is_known_without_waiting_for_its_device(make):
    ours = make()
    ours.set_timesteps(5, device="meta")  # where a look at a value is an error
    ours.set_begin_index(0)
    x = unit_noise()
    for t in ours.timesteps[:2]:
        x = ours.step(shown(ours, x, t), t, x).prev_sample
    with pytest.raises(InputError, match="is due"):
        ours.step(x, ours.timesteps[4], x)
    strange = torch.zeros((), device="meta", dtype=torch.float64)
    ours.step(x, strange, x)  # one that is no view cannot be known


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_times_in_half_precision_are_those_of_the_run(make, dtype):
    expected, ours = make(), make()
    for scheduler in (expected, ours):
        scheduler.set_timesteps(8)
    x = start(ours, unit_noise())
    end = drive(expected, x)
    for told, t in zip(ours.timesteps.to(dtype), expected.timesteps, strict=True):
        x = ours.step(net(shown(ours, x, told), t), told, x).prev_sample
    assert torch.equal(x, end)


def test_half_precision_that_cannot_tell_two_times_apart_is_told():
    ours = StiffguideMultistepScheduler()
    ours.set_timesteps(500)
    x = unit_noise()
    with pytest.raises(InputError, match=r"in torch\.bfloat16 stands for 2 of the 500"):
        ours.step(x, ours.timesteps[1].to(torch.bfloat16), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("n", [10, 300])
@pytest.mark.parametrize("make", NOISE)
def test_a_run_at_times_in_half_precision(make, n, dtype):
    ours = make()
    times = torch.linspace(999, 0, n).to(dtype)
    ours.set_timesteps(timesteps=times)
    assert ours.num_inference_steps == n
    assert bool(torch.isfinite(drive(ours, start(ours, unit_noise()))).all())


@every
def test_a_time_a_row_is_told(make):
    ours = make()
    ours.set_timesteps(6)
    x = unit_noise(4, 3)
    shown(ours, x, ours.timesteps[0])
    for t in (ours.timesteps[0].repeat(4), ours.timesteps[:4], ours.timesteps[0].expand(4)):
        with pytest.raises(InputError, match=r"timestep has shape \(4,\)"):
            ours.step(x, t, x)
    ours.step(x, ours.timesteps[:1], x)


@pytest.mark.parametrize("make", ALL)
def test_times_of_tokens_are_told(make):
    ours = make()
    ours.set_timesteps(4)
    x = unit_noise(1, 6, 8)
    shown(ours, x, ours.timesteps[0])
    with pytest.raises(UnsupportedError, match="keep FlowMatchEulerDiscreteScheduler"):
        ours.step(x, ours.timesteps[0], x, per_token_timesteps=torch.ones(1, 6))
    ours.step(x, ours.timesteps[0], x, per_token_timesteps=None)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_whole_times_are_numbers_of_entries(spacing):
    for n in (1, 7, 50):
        ours = StiffguideMultistepScheduler(timestep_spacing=spacing, steps_offset=1)
        theirs = diffusers.DPMSolverMultistepScheduler(timestep_spacing=spacing, steps_offset=1)
        for scheduler in (ours, theirs):
            scheduler.set_timesteps(n)
        assert ours.timesteps.dtype == theirs.timesteps.dtype == torch.int64
        assert torch.equal(ours.timesteps, theirs.timesteps)
        assert ours.alphas_cumprod[ours.timesteps].shape == (n,)
    ours = StiffguideMultistepScheduler(use_karras_sigmas=True)
    ours.set_timesteps(7)  # between entries: whole ones would be the times of other levels
    assert ours.timesteps.dtype == torch.float32


@pytest.mark.parametrize("make", NOISE)
def test_leading_times_are_taken_up_to_the_last(make):
    most = 1000 if make is StiffguideHeunScheduler else 999
    for offset in (0, 1):
        ours = make(timestep_spacing="leading", steps_offset=offset)
        ours.set_timesteps(most)
        assert float(ours.timesteps.max()) <= 999
        x = start(ours, unit_noise(1, 2))
        assert bool(torch.isfinite(drive(ours, x)).all())
        with pytest.raises(InputError, match=f"'leading' .* {most} at most"):
            ours.set_timesteps(most + 1)


def laid_out(make, levels):
    """A scheduler with these levels, the last of which is where the run ends."""
    flow = make is StiffguideFlowMatchHeunScheduler
    ours = make()
    ours.set_timesteps(sigmas=levels[:-1] if flow else levels)
    return ours


def ladder(make):
    """Levels from high to 0."""
    return [0.9, 0.6, 0.4, 0.2, 0.0] if make is ALL[-1] else [14.0, 5.0, 1.5, 0.4, 0.0]


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("place", [0, 1, 2, 3])
@pytest.mark.parametrize("times", [1, 2])
def test_a_level_once_more_is_a_step_that_does_nothing(make, place, times):
    levels = ladder(make)
    once = laid_out(make, levels)
    again = laid_out(make, levels[:place] + levels[place : place + 1] * times + levels[place:])
    assert again.num_inference_steps == once.num_inference_steps + times
    x = unit_noise()
    torch.testing.assert_close(drive(again, x), drive(once, x))


@pytest.mark.parametrize("make", NOISE)
def test_zero_once_more_is_a_step_that_does_nothing(make):
    once, again = laid_out(make, ladder(make)), laid_out(make, [*ladder(make), 0.0])
    x = unit_noise()
    torch.testing.assert_close(drive(again, x), drive(once, x))


@pytest.mark.parametrize("make", ALL)
def test_a_level_that_rises_is_a_step_of_euler_and_a_new_beginning(make):
    a, b, c, d, _ = ladder(make)
    turning = laid_out(make, [a, b, d, c, d, 0.0])
    down, up = laid_out(make, [a, b, d, 0.0]), laid_out(make, [c, d, 0.0])
    x = y = unit_noise()
    climb = next(i for i, s in enumerate(turning.sigmas[1:].tolist()) if s == pytest.approx(c))
    for t in turning.timesteps[:climb]:
        x, y = advance(turning, x, t), advance(down, y, t)
    torch.testing.assert_close(x, y)
    t = turning.timesteps[climb]
    told = turning.scale_model_input(x, t) if hasattr(turning, "scale_model_input") else x
    step = turning.step(net(told, t), t, x)
    root = [1.0, 1.0]
    if make is StiffguideMultistepScheduler:
        root = [math.hypot(1, d), math.hypot(1, c)]
    expected = torch.lerp(step.pred_original_sample, x * root[0], c / d) / root[1]
    torch.testing.assert_close(step.prev_sample, expected, rtol=1e-6, atol=1e-6)
    end = drive(turning, step.prev_sample, first=climb + 1)
    torch.testing.assert_close(end, drive(up, step.prev_sample))


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize(
    ("levels", "complaint"),
    [
        ([0.5, 0.3, -0.1], "at 0 or above"),
        ([0.5, -0.2, 0.0], "at 0 or above"),
        ([0.1, 0.3, 0.5], "must fall"),
        ([0.5, 0.0, 0.3], "rise from 0"),
    ],
)
def test_levels_that_mean_nothing_are_told(make, levels, complaint):
    with pytest.raises(InputError, match=complaint):
        make().set_timesteps(sigmas=levels)


@pytest.mark.parametrize("make", ALL)
def test_times_below_zero_are_told(make):
    with pytest.raises(InputError, match="at 0 or above"):
        make().set_timesteps(timesteps=[500.0, -1.0])


@pytest.mark.parametrize("make", [StiffguideFlowMatchHeunScheduler, StiffguideMultistepScheduler])
@pytest.mark.parametrize("dynamic", [False, True])
def test_times_of_the_callers_are_shifted_as_diffusers_does(make, dynamic):
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=dynamic)
    ours = make.from_config(theirs.config)
    times = [1000.0, 700.0, 300.0, 50.0]
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(timesteps=times, mu=0.8 if dynamic else None)
    torch.testing.assert_close(torch.tensor(nodes(ours)), theirs.sigmas)
    first = [0, *range(2, len(ours.timesteps), 2)] if make is ALL[-1] else slice(None)
    assert ours.timesteps[first].tolist() == theirs.timesteps.tolist() == times


@pytest.mark.parametrize("largest", [0.3, 1.0, 1.5])
def test_thresholding_is_that_of_dpm_solver_at_every_size(largest):
    words = {"thresholding": True, "sample_max_value": largest, "prediction_type": "sample"}
    theirs = diffusers.DPMSolverMultistepScheduler(solver_order=1, **words)
    ours = StiffguideMultistepScheduler(**words)
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(2)
    out, t = 3 * unit_noise(seed=4), ours.timesteps[0]
    got = ours.step(out, t, unit_noise()).prev_sample
    torch.testing.assert_close(got, theirs.step(out, t, unit_noise()).prev_sample.double())


def test_a_copy_of_a_time_counts_as_the_time():
    ours, x = begun(KINDS["multistep"])
    ours.step(x, copy.deepcopy(ours.timesteps[4]), x)


def test_a_state_that_is_not_scaled_for_its_model_is_told():
    ours = StiffguideHeunScheduler()
    ours.set_timesteps(4)
    x = start(ours, unit_noise())
    t = ours.timesteps[0]
    with pytest.raises(InputError, match=r"the state as it is.*take StiffguideMul"):
        ours.step(x, t, x, generator=None)
    told = ours.scale_model_input(x, t)
    with pytest.raises(InputError, match="step was given what the model was given"):
        ours.step(told, t, told)
    ours.set_timesteps(4)
    expected = advance(ours, x, t)
    ours.set_timesteps(4)
    seeded = torch.Generator().manual_seed(0)
    told = ours.scale_model_input(x, t)
    assert torch.equal(ours.step(net(told, t), t, x, generator=seeded).prev_sample, expected)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_a_flow_takes_levels_and_what_is_told_there(shift):
    # CogView4's pipeline brings both, and levels alone are shifted
    times, sigmas = [1000.0, 700.0, 300.0], [1.0, 0.8, 0.2]
    ours = StiffguideMultistepScheduler(flow_shift=shift, **FLOW)
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    for scheduler in (ours, theirs):
        scheduler.set_timesteps(timesteps=times, sigmas=sigmas)
    assert ours.timesteps.tolist() == times
    torch.testing.assert_close(ours.sigmas, theirs.sigmas, rtol=1e-6, atol=0)
    with pytest.raises(InputError, match="go in pairs: got 3 and 2"):
        ours.set_timesteps(timesteps=times, sigmas=sigmas[:2])
    with pytest.raises(InputError, match="one level a time"):
        StiffguideMultistepScheduler().set_timesteps(timesteps=times, sigmas=sigmas)
