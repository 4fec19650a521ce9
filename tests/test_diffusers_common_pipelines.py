"""Every line of docs/diffusers_pipelines.md, tried: the common pipelines of diffusers.

A pipeline's run is taken down at its scheduler's `step`. It must be the run that `sample` makes: at
levels by the book, with a denoiser that answers with what the pipeline's network said there, and
that checks that it is asked where the network was.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import diffusers
import flow_pipelines
import noise_pipelines
import numpy as np
import pipelines
import pytest
import torch

from stiffguide.adapters.diffusers import (
    StiffguideFlowMatchHeunScheduler,
    StiffguideHeunScheduler,
    StiffguideMultistepScheduler,
)
from stiffguide.adapters.diffusers.thresholding import thresholded
from stiffguide.adapters.diffusion import sample
from stiffguide.adapters.diffusion.flow_in_ve_form import to_level, to_ve
from stiffguide.errors import InputError, StiffguideWarning, UnsupportedError
from stiffguide.guidance import ErrorDirection

D = diffusers
PAGE = Path(__file__).parents[1] / "docs" / "diffusers_pipelines.md"
NETWORKS = ("transformer", "transformer_2", "unet", "controlnet")
STOCHASTIC = ("DDPMScheduler", "EulerAncestralDiscreteScheduler")

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:In CPU autocast"),
]

TEXT = {"prompt": "a cat", **pipelines.IMAGE}
IMAGE = {"prompt": "a cat", "image": pipelines.picture(), "strength": 0.6}
MASK = {**TEXT, "image": pipelines.picture(), "mask_image": pipelines.half_mask(), "strength": 0.8}
SHORT = {"max_sequence_length": 16}


def old(make, kind=None, **words):
    """A pipeline of `pipelines`, and what it is called with."""
    return lambda: (make() if kind is None else make(kind), words)


def dit():
    """DiT as it is published: latents are not clipped."""
    pipe = pipelines.dit()
    pipe.scheduler = D.DDIMScheduler(clip_sample=False)
    return pipe, {"class_labels": [1], "output_type": "np"}


@dataclass(frozen=True)
class Case:
    """A pipeline, and what the page says of it."""

    make: object
    flow: bool = False
    multistep: bool = True
    heun: bool = True
    share: float = 1.0  # of the steps that are made
    blends: bool = False  # the known part is put back after every step


SD, XL, SD3, FLUX = (
    pipelines.stable_diffusion,
    pipelines.stable_diffusion_xl,
    pipelines.stable_diffusion_3,
    pipelines.flux,
)
N, F = noise_pipelines, flow_pipelines
UNSCALED = {"heun": False}
CASES = {
    "StableDiffusionPipeline": Case(old(SD, **TEXT)),
    "StableDiffusionPipeline, v": Case(N.stable_diffusion_2),
    "StableDiffusionPipeline, turbo": Case(N.turbo),
    "StableDiffusionImg2ImgPipeline": Case(
        old(SD, D.StableDiffusionImg2ImgPipeline, **IMAGE), share=0.6
    ),
    "StableDiffusionInpaintPipeline": Case(
        old(SD, D.StableDiffusionInpaintPipeline, **MASK), share=0.8, blends=True
    ),
    "StableDiffusionControlNetPipeline": Case(N.controlnet),
    "StableDiffusionInstructPix2PixPipeline": Case(N.instruct_pix2pix),
    "StableDiffusionXLPipeline": Case(old(XL, **TEXT)),
    "StableDiffusionXLImg2ImgPipeline": Case(
        old(XL, D.StableDiffusionXLImg2ImgPipeline, **IMAGE), share=0.6
    ),
    "StableDiffusionXLInpaintPipeline": Case(
        old(XL, D.StableDiffusionXLInpaintPipeline, **MASK), share=0.8, blends=True
    ),
    "DiTPipeline": Case(dit, **UNSCALED),
    "PixArtSigmaPipeline": Case(N.pixart),
    "HunyuanDiTPipeline": Case(N.hunyuan_dit),
    "CogView3PlusPipeline": Case(N.cogview3),
    "CogVideoXPipeline": Case(N.cogvideox),
    "AnimateDiffPipeline": Case(N.animate_diff),
    "LattePipeline": Case(N.latte),
    "StableVideoDiffusionPipeline": Case(N.stable_video),
    "AudioLDM2Pipeline": Case(N.audio_ldm2),
    "MarigoldDepthPipeline": Case(N.marigold, **UNSCALED),
    "KandinskyV22Pipeline": Case(N.kandinsky_2, **UNSCALED),
    "Kandinsky3Pipeline": Case(N.kandinsky_3, **UNSCALED),
    "IFPipeline": Case(N.deepfloyd, **UNSCALED),
    "DDPMPipeline": Case(N.ddpm, **UNSCALED),
    "LDMPipeline": Case(N.latent_diffusion),
    "StableDiffusion3Pipeline": Case(old(SD3, **TEXT, **SHORT), flow=True),
    "StableDiffusion3Img2ImgPipeline": Case(
        old(SD3, D.StableDiffusion3Img2ImgPipeline, **IMAGE, **SHORT, **pipelines.IMAGE),
        flow=True,
        share=0.6,
    ),
    "StableDiffusion3InpaintPipeline": Case(
        old(SD3, D.StableDiffusion3InpaintPipeline, **MASK, **SHORT),
        flow=True,
        share=0.8,
        blends=True,
    ),
    "FluxPipeline": Case(old(FLUX, **TEXT, **SHORT), flow=True),
    "FluxImg2ImgPipeline": Case(
        old(FLUX, D.FluxImg2ImgPipeline, **IMAGE, **SHORT, **pipelines.IMAGE), flow=True, share=0.6
    ),
    "FluxInpaintPipeline": Case(
        old(FLUX, D.FluxInpaintPipeline, **MASK, **SHORT), flow=True, share=0.8, blends=True
    ),
    "FluxKontextPipeline": Case(F.flux_kontext, flow=True),
    "FluxFillPipeline": Case(F.flux_fill, flow=True),
    "FluxControlNetPipeline": Case(F.flux_controlnet, flow=True),
    "Flux2Pipeline": Case(F.flux_2, flow=True),
    "ChromaPipeline": Case(F.chroma, flow=True),
    "SanaPipeline": Case(F.sana, flow=True),
    "AuraFlowPipeline": Case(F.aura_flow, flow=True),
    "Lumina2Pipeline": Case(F.lumina2, flow=True),
    "ZImagePipeline": Case(F.z_image, flow=True),
    "CogView4Pipeline": Case(F.cogview4, flow=True),
    "QwenImagePipeline": Case(F.qwen_image, flow=True),
    "LTXPipeline": Case(F.ltx, flow=True),
    "WanPipeline": Case(F.wan, flow=True),
    "HunyuanVideoPipeline": Case(F.hunyuan_video, flow=True),
    "MochiPipeline": Case(F.mochi, flow=True, multistep=False),
}


@functools.cache
def built(name):
    """A pipeline, its arguments, and the scheduler it was made with."""
    torch.manual_seed(0)
    pipe, words = CASES[name].make()
    pipelines.quiet(pipe)
    return pipe, words, pipe.scheduler


@dataclass
class Call:
    """One call of a scheduler: its time, the state, what the network said, and the next state."""

    t: float
    x: torch.Tensor
    out: torch.Tensor
    ahead: torch.Tensor
    told: float | None = None


def run(name, scheduler, steps, **more):
    """The calls of a pipeline's run, and how often it asked its networks."""
    pipe, words, own = built(name)
    calls, told = [], []
    step = scheduler.step

    @functools.wraps(step)
    def noted(out, t, x, *args, **kwargs):
        before = x.detach().clone(), out.detach().clone()
        result = step(out, t, x, *args, **kwargs)
        calls.append(Call(float(t), *before, result[0].detach().clone(), told[-1]))
        return result

    def hear(_, args, kwargs):
        time = kwargs.get("timestep", args[1] if len(args) > 1 else None)
        told.append(float(torch.as_tensor(time).flatten()[0]))

    networks = [getattr(pipe, key) for key in NETWORKS if getattr(pipe, key, None) is not None]
    hooks = [net.register_forward_pre_hook(hear, with_kwargs=True) for net in networks]
    defaults = {"num_inference_steps": steps, "output_type": "latent"}
    seed = {"generator": torch.Generator().manual_seed(0)}
    pipe.scheduler, scheduler.step = scheduler, noted
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pipe(**{**defaults, **seed, **words, **more})
    finally:
        pipe.scheduler = own
        del scheduler.step
        for hook in hooks:
            hook.remove()
    return calls, len(told)


def multistep(name, **words):
    return StiffguideMultistepScheduler.from_config(built(name)[2].config, **words)


def heun(name, **words):
    cls = StiffguideFlowMatchHeunScheduler if CASES[name].flow else StiffguideHeunScheduler
    return cls.from_config(built(name)[2].config, **words)


# by the book ------------------------------------------------------------------------------------


def kept(name):
    """alpha^2 of the entries, by the pipeline's own scheduler."""
    own = built(name)[2]
    found = own.alphas_cumprod.double().numpy()
    return np.maximum(found, 2.0**-24) if own.config.get("rescale_betas_zero_snr") else found


def noise_level(name, t):
    """sigma/alpha at a time."""
    if built(name)[2].config.get("timestep_type") == "continuous":
        return math.exp(4 * t)
    a = kept(name)
    return math.exp(np.interp(t, np.arange(len(a)), np.log((1 - a) / a) / 2))


def noise_x0(name, level, x, out):
    """The data that the network sees in x = alpha x0 + sigma eps."""
    config = built(name)[2].config
    alpha = 1 / math.hypot(1, level)
    sigma = level * alpha
    out = (
        out[:, : x.shape[1]] if str(config.get("variance_type", "")).startswith("learned") else out
    )
    predicted = config.get("prediction_type", "epsilon")
    x0 = {"epsilon": (x - sigma * out) / alpha, "v_prediction": alpha * x - sigma * out}[predicted]
    if config.get("thresholding"):
        return thresholded(x0, config["dynamic_thresholding_ratio"], config["sample_max_value"])
    limit = config.get("clip_sample_range", 1.0)
    return x0.clamp(-limit, limit) if config.get("clip_sample") else x0


def shares(name, scheduler, calls):
    """How much noise there is at every call of a flow."""
    config = built(name)[2].config
    if name == "CogView4Pipeline":  # is told the times before they are shifted
        return scheduler.sigmas[: len(calls)].double().tolist()
    levels = [call.t / config["num_train_timesteps"] for call in calls]
    return [1 - s for s in levels] if config.get("invert_sigmas") else levels


def replayed(states, data, levels, method, unit, guidance=None, size=2e-4):
    """Where `sample` ends with a denoiser that answers as the network did."""
    asked = iter(zip(states, data, strict=True))

    def denoise(x, level):
        state, x0 = next(asked)
        near(x / unit(float(level[0])), state / unit(float(level[0])), size)
        return x0

    end = sample(denoise, states[0] / levels[0], levels, method, guidance).x
    assert next(asked, None) is None
    return end


def near(got, expected, size=2e-4):
    torch.testing.assert_close(got, expected, rtol=0, atol=size * float(expected.abs().max()))


def without_repetition(levels):
    return [level for level, _ in itertools.groupby(levels)]


RUN = [name for name, case in CASES.items() if case.multistep]
HEUN = [name for name, case in CASES.items() if case.heun]
REPLAYED = [name for name in RUN if not CASES[name].blends]
REPLAYED_HEUN = [name for name in HEUN if not CASES[name].blends and CASES[name].share == 1]


@pytest.mark.parametrize("name", REPLAYED)
def test_a_pipeline_makes_the_run_of_sample_with_emg(name):
    scheduler = multistep(name)
    calls, _ = run(name, scheduler, 5)
    xs = [call.x.double() for call in calls]
    outs = [call.out.double() for call in calls]
    if CASES[name].flow:
        at = shares(name, scheduler, calls)
        levels = [to_level(s) for s in at]
        states = [to_ve(x, s) for x, s in zip(xs, at, strict=True)]
        data = [x - s * v for x, s, v in zip(xs, at, outs, strict=True)]
        unit = lambda level: 1 + level  # noqa: E731
    else:
        levels = [noise_level(name, call.t) for call in calls]
        states = [x * math.hypot(1, level) for x, level in zip(xs, levels, strict=True)]
        data = [noise_x0(name, *parts) for parts in zip(levels, xs, outs, strict=True)]
        unit = lambda level: math.hypot(1, level)  # noqa: E731
    near(replayed(states, data, [*levels, 0.0], "emg", unit), calls[-1].ahead.double())


@pytest.mark.parametrize("name", REPLAYED_HEUN)
def test_a_pipeline_makes_the_run_of_sample_with_guided_heun(name):
    scheduler = heun(name)
    calls, _ = run(name, scheduler, 6)
    xs = [call.x.double() for call in calls]
    outs = [call.out.double() for call in calls]
    if CASES[name].flow:
        levels = shares(name, scheduler, calls)
        sign = -1 if built(name)[2].config.get("invert_sigmas") else 1
        data = [x - s * sign * v for x, s, v in zip(xs, levels, outs, strict=True)]
    else:
        levels = [noise_level(name, call.t) for call in calls]
        given = [x / math.hypot(1, level) for x, level in zip(xs, levels, strict=True)]
        data = [noise_x0(name, *parts) for parts in zip(levels, given, outs, strict=True)]
    nodes = [*without_repetition(levels), 0.0]
    # float32 from the level 4096 to one of 10: a correction by the error makes rounding larger
    end = replayed(xs, data, nodes, "heun", lambda level: 1.0, ErrorDirection(), 1e-2)
    near(end, calls[-1].ahead.double(), 1e-2)


@pytest.mark.parametrize("name", RUN)
def test_a_network_is_told_of_a_level_what_its_own_scheduler_tells(name):
    # told is affine in the time at `step`, 1 - t/1000 say, and in the same way for any scheduler
    own, _ = run(name, type(built(name)[2]).from_config(built(name)[2].config), 6)
    first, last = own[0], own[-1]
    slope = (last.told - first.told) / (last.t - first.t)
    for scheduler in (multistep(name), heun(name)) if CASES[name].heun else (multistep(name),):
        calls, _ = run(name, scheduler, 6)
        for call in calls:
            expected = first.told + slope * (call.t - first.t)
            assert call.told == pytest.approx(expected, rel=1e-5, abs=1e-5 * abs(slope) * 1000)


@pytest.mark.parametrize("name", RUN)
def test_calls_of_the_network_are_as_many_as_told(name):
    case = CASES[name]
    made = int(10 * case.share + 0.5)
    calls, asked = run(name, multistep(name), 10)
    assert len(calls) == made
    again, _ = run(name, multistep(name), 10)
    assert torch.equal(again[-1].ahead, calls[-1].ahead)
    assert bool(torch.isfinite(calls[-1].ahead).all())
    if case.heun:
        twice, more = run(name, heun(name), 10)
        # FLUX brings its sigmas: its share is of the calls, and rounded up
        assert abs(len(twice) - (2 * made - 1)) <= (case.share < 1 and "Flux" in name)
        assert more / len(twice) == asked / len(calls)


def reference(name):
    """A solver of diffusers for the same flow."""
    own = built(name)[2]
    # "leading" begins elsewhere for every number of steps
    grid = {} if CASES[name].flow or name == "StableVideoDiffusionPipeline" else TRAILING
    if name == "KandinskyV22Pipeline":  # DPMSolver takes learned variances for images alone
        words = ("beta_start", "beta_end", "beta_schedule")
        kept = {key: own.config[key] for key in words}
        return D.DDIMScheduler(**kept, **grid, clip_sample=False), grid
    stochastic = type(own).__name__ in STOCHASTIC
    cls = D.DPMSolverMultistepScheduler if stochastic else type(own)
    return cls.from_config({**own.config, **grid}), grid


TRAILING = {"timestep_spacing": "trailing"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].share == 1])
def test_many_steps_end_where_diffusers_own_do(name):
    theirs, grid = reference(name)
    make = multistep if CASES[name].multistep else heun

    def apart(steps):
        a = run(name, make(name, **grid), steps)[0][-1].ahead
        b = run(name, theirs, steps)[0][-1].ahead
        return float((a - b).norm() / b.norm())

    many = apart(50)
    # an interval that does not shrink, to 0, leaves some; what their first order leaves halves
    assert many < 0.02 or many < min(0.3, 0.5 * apart(8))


# the page ---------------------------------------------------------------------------------------


def rows(title):
    """The cells of a table of the page."""
    text = PAGE.read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


TABLES = {"Models with betas": "sigma/alpha", "Flows": "sigma/(1 - sigma)"}


@pytest.mark.parametrize("title", TABLES)
def test_a_line_says_what_was_tried(title):
    found = {row[0].replace("`", ""): row[1:] for row in rows(title)}
    flow = title == "Flows"
    assert list(found) == [name for name, case in CASES.items() if case.flow == flow]
    for name, (own, multi, twice, center) in found.items():
        case, pipe = CASES[name], built(name)[0]
        assert type(pipe).__name__ == name.split(",")[0]
        assert own == f"`{type(built(name)[2]).__name__}`"
        assert (multi == "yes", twice == "yes") == (case.multistep, case.heun)
        assert center in (TABLES[title], "own")
        if center == "own":
            assert refusal(name, "multistep", sigma_grid="mix", center=1.0)
        else:
            run(name, multistep(name, sigma_grid="mix", center=1.0), 3)


SENTENCES = {
    "unscaled": "take StiffguideMultistepScheduler, or sample_pipeline with method='heun'",
    "variance": "a model that also learns the variance needs variance_type",
    "inverted": "invert_sigmas=True: use StiffguideFlowMatchHeunScheduler",
}


def refusal(name, kind, **words):
    """The sentence with which a scheduler says no to a pipeline."""
    make = multistep if kind == "multistep" else heun
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StiffguideWarning)  # of a threshold that is left out
        with pytest.raises(InputError) as told:
            run(name, make(name, **words), 3)
    return str(told.value)


def test_a_no_is_said_in_the_words_of_the_page():
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    for title in TABLES:
        for row in rows(title):
            for kind, cell in zip(("multistep", "heun"), row[2:4], strict=True):
                if cell != "yes":
                    sentence = SENTENCES[cell.removeprefix("no: ")]
                    assert sentence in refusal(row[0].replace("`", ""), kind)
                    assert f'"{sentence}"' in text
    told = refusal("CogView4Pipeline", "multistep", sigma_grid="karras")
    assert "timesteps of your own exclude the grid" in told


@pytest.mark.parametrize("row", rows("What is refused"), ids=lambda row: row[1].strip("`"))
def test_a_refused_pipeline_is_refused_in_these_words(row):
    for name in re.findall(r"`(\w+Pipeline)`", row[0]):
        assert hasattr(D, name)
    name = row[1].strip("`")
    config = {**getattr(D, name)().config, "_class_name": name}  # as a file says it
    for cls in (
        StiffguideMultistepScheduler,
        StiffguideHeunScheduler,
        StiffguideFlowMatchHeunScheduler,
    ):
        with pytest.raises(InputError, match=re.escape(row[2])):
            cls.from_config(config)


def test_words_of_other_solvers_are_refused_at_the_first_step():
    pipe, words = noise_pipelines.ddim()
    pipe = pipelines.quiet(pipe)
    pipe.scheduler = StiffguideMultistepScheduler.from_config(pipe.scheduler.config)
    with pytest.raises(TypeError, match="eta"):
        pipe(num_inference_steps=3, **words)
    prior = StiffguideMultistepScheduler.from_config(D.UnCLIPScheduler().config)
    prior.set_timesteps(3)
    x = torch.zeros(1, 4)
    with pytest.raises(TypeError, match="prev_timestep"):
        prior.step(x, prior.timesteps[0], x, prev_timestep=0)
    flow = heun("LTXPipeline")
    flow.set_timesteps(sigmas=[1.0, 0.5], mu=1.0)
    with pytest.raises(UnsupportedError, match="keep FlowMatchEulerDiscreteScheduler"):
        flow.step(x, flow.timesteps[0], x, per_token_timesteps=torch.ones(1, 4))


def test_an_unconditional_model_is_sampled_alike_by_both_of_its_pipelines():
    pipe, words = noise_pipelines.ddim()
    expected = pipelines.quiet(pipe)
    expected.scheduler = D.DDIMScheduler(clip_sample=False, **TRAILING)
    ours = pipelines.quiet(D.DDPMPipeline(pipe.unet, D.DDPMScheduler(clip_sample=False)))
    ours.scheduler = StiffguideMultistepScheduler.from_config(ours.scheduler.config, **TRAILING)

    def end(pipe, steps):
        seed = torch.Generator().manual_seed(0)
        return pipe(num_inference_steps=steps, generator=seed, **words)[0]

    fine = end(expected, 200)
    near_one, far_one = (float(np.abs(end(ours, n) - fine).mean()) for n in (50, 3))
    assert near_one < 0.5 * far_one
