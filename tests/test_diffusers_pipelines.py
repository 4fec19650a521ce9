"""Pipelines of diffusers, end to end on random weights: Stable Diffusion, SDXL, SD3, FLUX, DiT."""

from __future__ import annotations

import diffusers
import noise_pipelines
import pipelines
import pytest
import torch

from stiffguide.adapters.diffusers import (
    StiffguideFlowMatchHeunScheduler,
    StiffguideHeunScheduler,
    StiffguideMultistepScheduler,
    sample_pipeline,
)
from stiffguide.adapters.diffusion import SAMPLERS
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.guidance import ErkGuid, ErrorDirection

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

TEXT = {"prompt": "a cat", **pipelines.IMAGE}
IMAGE = {"prompt": "a cat", "image": pipelines.picture(), "strength": 0.6}
MASK = {**TEXT, "image": pipelines.picture(), "mask_image": pipelines.half_mask(), "strength": 0.8}
SHORT = {"max_sequence_length": 16}
D = diffusers
CASES = {
    "sd": (pipelines.stable_diffusion, None, TEXT),
    "sd image": (pipelines.stable_diffusion, D.StableDiffusionImg2ImgPipeline, IMAGE),
    "sd inpaint": (pipelines.stable_diffusion, D.StableDiffusionInpaintPipeline, MASK),
    "sdxl": (pipelines.stable_diffusion_xl, None, TEXT),
    "sdxl image": (pipelines.stable_diffusion_xl, D.StableDiffusionXLImg2ImgPipeline, IMAGE),
    "sdxl inpaint": (pipelines.stable_diffusion_xl, D.StableDiffusionXLInpaintPipeline, MASK),
    "sd3": (pipelines.stable_diffusion_3, None, {**TEXT, **SHORT}),
    "sd3 image": (
        pipelines.stable_diffusion_3,
        D.StableDiffusion3Img2ImgPipeline,
        {**IMAGE, **SHORT, **pipelines.IMAGE},
    ),
    "sd3 inpaint": (
        pipelines.stable_diffusion_3,
        D.StableDiffusion3InpaintPipeline,
        {**MASK, **SHORT},
    ),
    "flux": (pipelines.flux, None, {**TEXT, **SHORT}),
    "flux image": (
        pipelines.flux,
        D.FluxImg2ImgPipeline,
        {**IMAGE, **SHORT, **pipelines.IMAGE},
    ),
    "flux inpaint": (pipelines.flux, D.FluxInpaintPipeline, {**MASK, **SHORT}),
    "dit": (pipelines.dit, None, {"class_labels": [1]}),
}
SHARE = {"image": 0.6, "inpaint": 0.8}  # of the steps that are made
everywhere = pytest.mark.parametrize("name", CASES)
# DiT's pipeline has no state of Heun's scheduler, and its own with diffusers' goes wrong
SCALED = [name for name in CASES if name != "dit"]
SMALL = ("sd", "sdxl", "sd3", "flux", "dit")


def both_kinds(*names):
    """Names, with every kind of scheduler that goes into their pipelines."""
    return [(name, kind) for name in names for kind in ("heun", "multistep")[name == "dit" :]]


BUILT = {}  # pipelines by name, with the schedulers they were made with


def pipeline(name):
    if name not in BUILT:
        make, kind, _ = CASES[name]
        made = make() if kind is None else make(kind)
        BUILT[name] = made, made.scheduler
    return BUILT[name][0]


def original(name):
    pipeline(name)
    return BUILT[name][1]


@pytest.fixture(autouse=True)
def put_back():
    yield
    for name in BUILT:
        pipeline(name).scheduler = original(name)


def network(pipe):
    return getattr(pipe, "unet", None) or pipe.transformer


def image(name, scheduler=None, steps=6, call=None, **words):
    """What a pipeline makes, as a tensor, and how often it asked its network."""
    pipe, arguments = pipeline(name), CASES[name][2]
    if scheduler is not None:
        pipe.scheduler = scheduler
    made = []
    hook = network(pipe).register_forward_hook(lambda *_: made.append(1))
    kind = "np" if name == "dit" else "pt"
    words = {"num_inference_steps": steps, "output_type": kind, **arguments, **words}
    try:
        words["generator"] = torch.Generator().manual_seed(0)
        found = pipe(**words) if call is None else call(pipe, **words)
    finally:
        hook.remove()
    return torch.as_tensor(found.images), len(made)


def flows(name):
    return name.startswith(("sd3", "flux"))


def heun(name, **words):
    cls = StiffguideFlowMatchHeunScheduler if flows(name) else StiffguideHeunScheduler
    return cls.from_config(original(name).config, **words)


def calls(name, steps, per_step):
    """How many calls a pipeline makes of a strength below 1."""
    left = steps * SHARE.get(name.split(" ")[-1], 1.0)
    return int(left + 0.5) * per_step - (per_step - 1)


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("guidance", ["error_direction", "erk_guid"])
def test_heun_with_guidance(name, guidance):
    made, count = image(name, heun(name, guidance=guidance, w_stiff=3.0, w_con=0.0), steps=10)
    assert bool(torch.isfinite(made).all())
    plain, same = image(name, heun(name, guidance=None), steps=10)
    assert same == count  # guidance costs no evaluation
    assert made.shape == plain.shape
    assert not torch.equal(made, plain)
    # FLUX brings its sigmas and counts calls as steps: its share is of the calls, and rounded up
    assert abs(count - calls(name, 10, 2)) <= ("flux" in name)


@everywhere
@pytest.mark.parametrize("words", [{}, {"sigma_grid": "mix"}], ids=["own grid", "mix"])
def test_multistep(name, words):
    made, count = image(
        name, StiffguideMultistepScheduler.from_config(original(name).config, **words), steps=10
    )
    assert bool(torch.isfinite(made).all())
    assert count == calls(name, 10, 1)


@pytest.mark.parametrize("name", [name for name in SCALED if not flows(name)])
def test_plain_heun_is_diffusers_own(name):
    config = original(name).config
    # diffusers would put defaults of its own in the place of betas that were defaults, too
    betas = {key: config[key] for key in ("beta_start", "beta_end", "beta_schedule")}
    theirs = diffusers.HeunDiscreteScheduler.from_config(config, **betas)
    expected, count = image(name, theirs)
    got, same = image(name, heun(name, guidance=None))
    assert same == count
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["sd3", "sd3 image", "sd3 inpaint"])
def test_plain_flow_heun_is_diffusers_own(name):
    theirs = diffusers.FlowMatchHeunDiscreteScheduler.from_config(original(name).config)
    expected, count = image(name, theirs)
    got, same = image(name, heun(name, guidance=None))
    assert same == count
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


@everywhere
@pytest.mark.parametrize("method", ["heun", "dpm2", "dpmpp_3m", "deis3", "emg"])
def test_sample_pipeline_runs_what_no_scheduler_is(name, method):
    before = pipeline(name).scheduler
    made, count = image(
        name, steps=5, call=lambda pipe, **w: sample_pipeline(pipe, method=method, **w)
    )
    assert pipeline(name).scheduler is before
    assert bool(torch.isfinite(made).all())
    per_step = 2 if method in ("heun", "dpm2") else 1
    assert abs(count - calls(name, 5, per_step)) <= ("flux" in name and per_step == 2)


@pytest.mark.parametrize("name", ["sd", "sd image", "sdxl", "sdxl inpaint", "dit"])
@pytest.mark.parametrize(
    ("method", "theirs"),
    [
        ("dpmpp_2m", lambda c: D.DPMSolverMultistepScheduler.from_config(c)),
        ("euler", lambda c: D.DPMSolverMultistepScheduler.from_config(c, solver_order=1)),
        ("unipc2", lambda c: D.UniPCMultistepScheduler.from_config(c, lower_order_final=True)),
    ],
)
def test_sample_pipeline_agrees_with_diffusers_own_samplers(name, method, theirs):
    expected, count = image(name, theirs(original(name).config), steps=16)
    got, same = image(
        name, steps=16, call=lambda pipe, **w: sample_pipeline(pipe, method=method, **w)
    )
    assert same == count
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", ["sd3", "sd3 image", "flux", "flux image"])
def test_sample_pipeline_with_euler_is_flow_matching(name):
    # the grid of multistep schedulers for flows is another than Euler's own: give it to both
    words = {"sigmas": torch.linspace(1, 0.001, 7)[:-1].tolist()}
    expected, count = image(name, original(name), **words)
    got, same = image(
        name, call=lambda pipe, **w: sample_pipeline(pipe, method="euler", **w), **words
    )
    assert same == count
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_sample_pipeline_with_emg_is_the_multistep_scheduler(name):
    words = {"sigma_grid": "karras"}
    scheduler = StiffguideMultistepScheduler.from_config(original(name).config, **words)
    expected, _ = image(name, scheduler)
    pipeline(name).scheduler = original(name)
    got, _ = image(name, call=lambda pipe, **w: sample_pipeline(pipe, config=words, **w))
    assert torch.equal(got, expected)


@pytest.mark.parametrize("rule", [ErrorDirection(), ErrorDirection(3), ErkGuid(3.0, 0.0)])
def test_sample_pipeline_takes_rules(rule):
    made = [
        image(
            "sd",
            call=lambda pipe, rule=rule, **w: sample_pipeline(
                pipe, method="heun", guidance=rule, **w
            ),
        )
        for rule in (None, rule)
    ]
    assert made[0][1] == made[1][1]
    assert not torch.equal(made[0][0], made[1][0])


def test_sample_pipeline_tells_what_it_cannot_do():
    pipe = pipeline("sd")
    before = pipe.scheduler
    with pytest.raises(InputError, match="no sampler is called 'ddim'"):
        sample_pipeline(pipe, "a cat", method="ddim")
    with pytest.raises(UnsupportedError, match="emg"):
        sample_pipeline(pipe, "a cat", guidance=ErrorDirection())
    with pytest.raises(InputError, match="has no grid"):
        sample_pipeline(pipe, "a cat", config={"grid": "mix"})
    with pytest.raises(InputError, match="no scheduler"):
        sample_pipeline(object(), "a cat")
    with pytest.raises(TypeError, match="no_such_argument"):
        sample_pipeline(pipeline("dit"), [1], no_such_argument=1)
    assert pipe.scheduler is before
    assert pipeline("dit").scheduler is original("dit")


def test_sample_pipeline_names_its_samplers():
    with pytest.raises(InputError) as told:
        sample_pipeline(pipeline("sd"), "a cat", method="none")
    assert all(name in str(told.value) for name in SAMPLERS)


@pytest.mark.parametrize(("name", "kind"), both_kinds("sd", "flux", "dit"))
def test_a_second_call_with_another_batch_starts_afresh(name, kind):
    config = original(name).config
    fresh = heun(name) if kind == "heun" else StiffguideMultistepScheduler.from_config(config)
    words = {"class_labels": [1, 2, 3]} if name == "dit" else {"prompt": ["a cat"] * 3}
    first, _ = image(name, fresh)
    more, _ = image(name, fresh, **words)
    again, _ = image(name, fresh)
    assert len(more) == 3
    assert torch.equal(again, first)


@pytest.mark.parametrize(("name", "kind"), both_kinds(*SMALL))
def test_classifier_free_guidance_is_as_it_was(name, kind):
    config = original(name).config
    scheduler = heun(name) if kind == "heun" else StiffguideMultistepScheduler.from_config(config)
    ends = [image(name, scheduler, guidance_scale=scale)[0] for scale in (1.0, 7.5)]
    assert all(bool(torch.isfinite(end).all()) for end in ends)
    # FLUX's network takes the scale as an input, and this one has not learned to
    assert torch.equal(*ends) == (name == "flux")


@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3", "flux"])
@pytest.mark.parametrize("kind", ["heun", "multistep"])
def test_pipelines_in_half_precision(name, kind):
    config = original(name).config
    words = {**CASES[name][2], "num_inference_steps": 5, "output_type": "latent"}
    ends, latents = [], None
    for dtype in (torch.float32, torch.bfloat16):
        pipe = CASES[name][0]().to(dtype)
        pipe.scheduler = (
            heun(name) if kind == "heun" else StiffguideMultistepScheduler.from_config(config)
        )
        if latents is None:
            latents = torch.zeros_like(pipe(**words).images)
            latents.normal_(generator=torch.Generator().manual_seed(1))
        ends.append(pipe(**words, latents=latents.to(dtype)).images)
    assert ends[1].dtype == torch.bfloat16
    scale = float(ends[0].abs().max())
    assert float((ends[0] - ends[1].float()).abs().max()) < 0.1 * scale


def unconditional(kind, **words):
    """A pipeline of two modules, with a scheduler of this kind."""
    torch.manual_seed(0)
    pipe = pipelines.quiet(noise_pipelines.latent_diffusion()[0])
    cls = StiffguideHeunScheduler if kind == "heun" else StiffguideMultistepScheduler
    pipe.scheduler = cls.from_config(pipe.scheduler.config, **words)
    return pipe


def drawn(pipe, steps=6):
    seed = torch.Generator().manual_seed(0)
    return torch.as_tensor(pipe(num_inference_steps=steps, output_type="np", generator=seed).images)


@pytest.mark.parametrize("kind", ["heun", "multistep"])
def test_a_saved_pipeline_comes_back_with_its_scheduler(kind, tmp_path):
    words = {"guidance_order": 3} if kind == "heun" else {"sigma_grid": "mix", "center": 1.0}
    pipe = unconditional(kind, **words)
    pipe.save_pretrained(tmp_path)
    again = pipelines.quiet(diffusers.LDMPipeline.from_pretrained(tmp_path))
    assert type(again.scheduler) is type(pipe.scheduler)
    assert {**again.scheduler.config}.items() >= words.items()
    # a loaded network rounds otherwise, and a random one makes more of it
    torch.testing.assert_close(drawn(again), drawn(pipe), rtol=0, atol=1e-2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit")  # of torch, while it compiles
@pytest.mark.parametrize("kind", ["heun", "multistep"])
def test_a_compiled_model_is_compiled_once(kind):
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    pipe = unconditional(kind)
    expected = drawn(pipe, 4)
    pipe.unet = torch.compile(pipe.unet, backend=backend)
    torch.testing.assert_close(drawn(pipe, 4), expected)
    after_one = len(compiled)
    assert after_one > 0
    drawn(pipe, 4)
    assert len(compiled) == after_one
    torch._dynamo.reset()


@pytest.mark.slow
def test_the_strength_of_an_image_says_how_much_is_new():
    # at a small strength the image is kept, whatever the scheduler
    kept = pipeline("sd image")
    config = original("sd image").config
    small = torch.as_tensor(0.0)
    for scheduler in (heun("sd image"), StiffguideMultistepScheduler.from_config(config)):
        kept.scheduler = scheduler
        ends = [image("sd image", strength=s, steps=20)[0] for s in (0.1, 0.3, 1.0)]
        far = [float((end - ends[0]).abs().mean()) for end in ends]
        assert far[0] == small < far[1] < far[2]
