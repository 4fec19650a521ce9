"""The node pack, in a stand-in for ComfyUI that keeps its calling conventions."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import comfy_standin as standin
import pytest
import torch
from flows import SMOOTH, Mixture, normal
from test_kdiffusion_flows import Flow

from stiffguide.adapters import diffusion
from stiffguide.adapters.diffusion import RectifiedFlow, as_denoiser, grid
from stiffguide.adapters.diffusion.flow_in_ve_form import INFINITE
from stiffguide.adapters.kdiffusion import NOISY_SAMPLERS, SAMPLERS, sample_stiffguide_heun
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.guidance import ErkGuid, ErrorDirection

FOLDER = standin.PACK
EXAMPLES = sorted(FOLDER.parent.glob("example_workflows/*.json"))
PROGRAMS = sorted(FOLDER.glob("api_workflows/*.json"))
NODES = (
    "StiffguideSamplerEMG",
    "StiffguideSamplerErrorDirection",
    "StiffguideSamplerErkGuid",
    "StiffguideSamplerUnguided",
    "StiffguideSamplerAdaptive",
    "StiffguideSamplerCfgPlusPlus",
    "StiffguideMixScheduler",
    "StiffguideKarrasScheduler",
    "StiffguideTimeScheduler",
    "StiffguideCalibratedScheduler",
    "StiffguideMeasureCenter",
    "StiffguideSamplerNoisy",
)
MENU = (
    "stiffguide_emg",
    "stiffguide_heun_edg",
    "stiffguide_heun_edg3",
    "stiffguide_heun_erk_guid",
    "stiffguide_dpm2_erk_guid",
    "stiffguide_deis3_erk_guid",
)
UNGUIDED = [name for name in diffusion.SAMPLERS if f"stiffguide_{name}" not in NOISY_SAMPLERS]
NOISE = normal(4, 3, 1, 1, seed=11)
EMPTY = torch.zeros_like(NOISE)


class EpsSampling(standin.EPS, standin.ModelSamplingDiscrete):
    pass


class FlowSampling(standin.CONST, standin.ModelSamplingDiscreteFlow):
    pass


class FluxSampling(standin.CONST, standin.ModelSamplingFlux):
    pass


class FlowDenoiser(Flow):
    """The flow's denoiser on latents (B, C, ...)."""

    def __call__(self, x, sigma):
        return super().__call__(x.flatten(1), sigma).reshape(x.shape)


KINDS = {
    "eps": (SMOOTH, EpsSampling),
    "flow": (FlowDenoiser(SMOOTH), FlowSampling),
    "flux": (FlowDenoiser(SMOOTH), FluxSampling),
}
SOCKETS = ("MODEL", "LATENT")
BESIDE_ONE = pytest.mark.parametrize("beside", [-(2.0**-24), 2.0**-23])
BOTH = pytest.mark.parametrize("kind", ["eps", "flow"])


def guider(kind: str, negative=None, cfg: float = 1.0) -> standin.Guider:
    denoiser, model_sampling = KINDS[kind]
    negative = standin.Model(negative or denoiser, model_sampling())
    return standin.Guider(standin.Model(denoiser, model_sampling()), negative, cfg)


def inputs_of(node) -> dict:
    """Name -> (type, options) of every input, required ones first."""
    declared = node.INPUT_TYPES()
    assert set(declared) <= {"required", "optional", "hidden"}
    return {**declared.get("required", {}), **declared.get("optional", {})}


def defaults(node, kind: str = "eps") -> dict:
    model = standin.Patcher(
        standin.Model(*[part() if isinstance(part, type) else part for part in KINDS[kind]])
    )
    linked = {"MODEL": model, "LATENT": {"samples": normal(8, 3, 2, 2, seed=13)}}
    return {
        name: linked[kind] if kind in SOCKETS else options["default"]
        for name, (kind, options) in inputs_of(node).items()
    }


def execute(pack, name: str, kind: str = "eps", **changed):
    """What a node returns for its defaults, but for some inputs."""
    node = pack.NODE_CLASS_MAPPINGS[name]
    given = {**defaults(node, kind), **changed}
    assert set(given) == set(inputs_of(node))
    return getattr(node(), node.FUNCTION)(**given)


def sigmas_of(pack, kind: str, steps: int = 10, **changed) -> torch.Tensor:
    return execute(pack, "StiffguideMixScheduler", kind, steps=steps, **changed)[0].double()


# --- the pack


def test_it_loads_from_a_copy_of_the_folder_alone(comfy, monkeypatch, tmp_path) -> None:
    copy = tmp_path / "Comfy.UI" / "custom_nodes" / "stiffguide"
    shutil.copytree(FOLDER, copy)
    pack = standin.load(copy, monkeypatch)
    assert set(pack.NODE_CLASS_MAPPINGS) == set(NODES)
    assert set(pack.NODE_DISPLAY_NAME_MAPPINGS) == set(NODES)
    names = pack.NODE_DISPLAY_NAME_MAPPINGS.values()
    assert len(set(names)) == len(NODES)


@pytest.mark.slow
def test_a_checkout_in_custom_nodes_is_the_pack(tmp_path) -> None:
    """In a process of its own, that finds the package nowhere else."""
    clone = tmp_path / "Comfy.UI" / "custom_nodes" / "stiffguide"
    for part in ("comfyui", "src"):
        shutil.copytree(FOLDER.parent / part, clone / part)
    shutil.copy(FOLDER.parent / "__init__.py", clone)
    code = f"""
import sys
import tomllib
from pathlib import Path
sys.path = [p for p in sys.path if not (Path(p) / "stiffguide").exists()]
sys.meta_path = [m for m in sys.meta_path if "editable" not in str(m)]
sys.path.append({str(Path(__file__).parent)!r})
import comfy_standin, pytest
with pytest.MonkeyPatch.context() as patch:
    comfy_standin.install(patch)
    pack = comfy_standin.load(Path({str(clone)!r}), patch)
    import stiffguide
    print(stiffguide.__file__)
    print(*pack.NODE_CLASS_MAPPINGS)
"""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    out = subprocess.check_output([sys.executable, "-c", code], text=True, env=environment)
    home, names = out.splitlines()
    assert home.startswith(str(clone))
    assert set(names.split()) == set(NODES)


def test_elsewhere_the_top_of_the_repository_is_no_pack() -> None:
    code = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("top", {str(FOLDER.parent / "__init__.py")!r})
spec.loader.exec_module(importlib.util.module_from_spec(spec))
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [("comfy", "put this folder into ComfyUI/custom_nodes"), ("stiffguide", "pip install PATH")],
)
def test_what_is_missing_is_said_in_one_sentence(missing: str, sentence: str) -> None:
    code = f"""
import sys, types
sys.modules["comfy"] = comfy = types.ModuleType("comfy")
sys.modules["comfy.samplers"] = comfy.samplers = types.ModuleType("comfy.samplers")
sys.modules["{missing}"] = None
sys.path.insert(0, {str(FOLDER.parent)!r})
import comfyui
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert sentence in last


@pytest.mark.slow
def test_a_broken_stiffguide_keeps_its_own_error() -> None:
    code = f"""
import sys, types
sys.modules["comfy"] = comfy = types.ModuleType("comfy")
sys.modules["comfy.samplers"] = comfy.samplers = types.ModuleType("comfy.samplers")
sys.modules["scipy"] = sys.modules["numpy"] = None
sys.path.insert(0, {str(FOLDER.parent)!r})
import comfyui
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install PATH" not in run.stderr
    assert "numpy" in run.stderr or "scipy" in run.stderr


# --- every node


@pytest.mark.parametrize("name", NODES)
def test_a_node_declares_what_comfyui_shows(pack, name: str) -> None:
    node = pack.NODE_CLASS_MAPPINGS[name]
    assert node.DESCRIPTION
    assert node.CATEGORY.startswith("sampling/custom_sampling/")
    assert len(node.OUTPUT_TOOLTIPS) == len(node.RETURN_TYPES)
    assert callable(getattr(node, node.FUNCTION))
    for key, (kind, options) in inputs_of(node).items():
        assert options["tooltip"].strip(), key
        if isinstance(kind, list):
            assert options["default"] in kind
        elif kind in ("INT", "FLOAT"):
            assert options["min"] <= options["default"] <= options["max"]
        else:
            assert kind in (*SOCKETS, "STRING")


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_node_returns_what_it_declares(pack, name: str, kind: str) -> None:
    node = pack.NODE_CLASS_MAPPINGS[name]
    choices = [
        (key, choice)
        for key, (declared, _) in inputs_of(node).items()
        if isinstance(declared, list)
        for choice in declared
    ]
    for changed in [{}, *({key: choice} for key, choice in choices)]:
        found = execute(pack, name, kind, **changed)
        assert isinstance(found, tuple)
        assert len(found) == len(node.RETURN_TYPES)
        for value, declared in zip(found, node.RETURN_TYPES, strict=True):
            if declared == "SIGMAS":
                assert value.dtype == torch.float32
                assert value.shape == (17,)
                assert bool((value[1:] < value[:-1]).all())
                continue
            if declared == "FLOAT":
                assert isinstance(value, float)
                assert value > 0
                continue
            assert declared == "SAMPLER"
            assert isinstance(value, standin.KSAMPLER)
            x = guider(kind).sample(NOISE, EMPTY, value, sigmas_of(pack, kind, 6))
            assert torch.isfinite(x).all()


# --- what comes out of it


EXPECTED = [
    ("StiffguideSamplerEMG", {}, "emg", None),
    ("StiffguideSamplerEMG", {"points": "2"}, diffusion.Emg(2), None),
    ("StiffguideSamplerErrorDirection", {}, "heun", ErrorDirection()),
    ("StiffguideSamplerErrorDirection", {"order": "3"}, "heun", ErrorDirection(3)),
    ("StiffguideSamplerErkGuid", {}, "heun", ErkGuid(0.75, 0.3)),
    ("StiffguideSamplerErkGuid", {"solver": "dpm2", "w_con": 0.1}, "dpm2", ErkGuid(0.75, 0.1)),
    ("StiffguideSamplerErkGuid", {"solver": "deis3", "w_stiff": 0.2}, "deis3", ErkGuid(0.2, 0.3)),
    *(("StiffguideSamplerUnguided", {"sampler": s}, s, None) for s in UNGUIDED),
]


@pytest.mark.parametrize(("name", "changed", "method", "rule"), EXPECTED)
def test_a_model_of_noise_is_sampled_as_the_package_does(pack, name, changed, method, rule):
    (sampler,) = execute(pack, name, **changed)
    sigmas = sigmas_of(pack, "eps")
    # ComfyUI starts a whole run a little above the first sigma
    start = NOISE * torch.sqrt(1 + sigmas[0] ** 2) / sigmas[0]
    expected = diffusion.sample(SMOOTH, start, sigmas, method, rule).x
    found = guider("eps").sample(NOISE, EMPTY, sampler, sigmas)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "changed", "method", "rule"), EXPECTED)
def test_a_flow_is_sampled_as_the_package_does(pack, name, changed, method, rule):
    """Below 1: in VE form with the levels of the schedule, or with sigma as its own level."""
    (sampler,) = execute(pack, name, **changed)
    sigmas = sigmas_of(pack, "flow")[1:]
    flow = KINDS["flow"][0]
    follows = diffusion.SAMPLERS[method] if isinstance(method, str) else method
    if isinstance(follows, diffusion.Emg) or getattr(follows, "carrier", "") == "data":
        schedule = RectifiedFlow(shift=3.0)
        denoiser = as_denoiser(
            lambda x, s: (x - flow(x, s)) / s.reshape(-1, 1, 1, 1), "velocity", schedule
        )
        expected = diffusion.sample(denoiser, NOISE, sigmas / (1 - sigmas), method, rule).x
    else:
        expected = diffusion.sample(flow, NOISE, sigmas, method, rule).x
    found = guider("flow").sample(NOISE, EMPTY, sampler, sigmas)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["flow", "flux"])
@pytest.mark.parametrize("name", MENU)
def test_a_flow_from_pure_noise_arrives(pack, comfy, kind: str, name: str) -> None:
    sampler = standin.sampler_object(comfy, name)
    exact = KINDS[kind][0].end(NOISE.flatten(1)).reshape(NOISE.shape)
    errors = []
    for steps in (12, 96):
        sigmas = sigmas_of(pack, kind, steps, sigma_data=0.5, shift=1.0)
        assert sigmas[0] == 1
        x = guider(kind).sample(NOISE, EMPTY, sampler, sigmas)
        errors.append((x - exact).flatten(1).norm(dim=-1).median().item())
    assert errors[1] < 0.2 * errors[0]
    assert errors[1] < 0.02


def test_the_scale_of_a_flows_noise_changes_nothing_for_emg(pack) -> None:
    """x = sigma 2 noise + (1 - sigma) x0: EMG reads ratios of levels only."""

    def scaled(x, sigma):
        if bool((sigma == 1).all()):
            return mean.expand(x.shape)
        left = (1 - sigma).reshape(-1, 1)
        level = 2 * sigma / (1 - sigma)
        return Mixture(SMOOTH.means, 0.4)(x.flatten(1) / left, level).reshape(x.shape)

    mean = SMOOTH.means.mean(0).reshape(1, 3, 1, 1)
    kind = FlowSampling(noise_scale=2.0)
    model = standin.Model(scaled, kind)
    node = pack.NODE_CLASS_MAPPINGS["StiffguideMixScheduler"]()
    sigmas = node.get_sigmas(standin.Patcher(model), 10, 1.0, 1.0, 3.0)[0].double()
    (sampler,) = execute(pack, "StiffguideSamplerEMG")
    found = standin.Guider(model).sample(NOISE, EMPTY, sampler, sigmas)
    levels = 2 * sigmas / (1 - sigmas)
    levels[0] = INFINITE

    def denoiser(x, sigma):
        wide = torch.clamp(sigma, max=1e12)
        return SMOOTH(x * (wide / sigma).reshape(-1, 1, 1, 1), wide)

    expected = diffusion.sample(denoiser, NOISE, levels, "emg").x
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@BOTH
@pytest.mark.parametrize("name", MENU)
def test_previews_and_progress(pack, comfy, kind: str, name: str) -> None:
    sampler = standin.sampler_object(comfy, name)
    sigmas = sigmas_of(pack, kind).float()
    seen = []

    def callback(step, x0, x, total):
        assert x0.shape == x.shape == NOISE.shape
        assert x0.dtype == x.dtype == torch.float32
        seen.append((step, total))

    guider(kind).sample(NOISE.float(), EMPTY.float(), sampler, sigmas, callback=callback)
    assert seen == [(i, 10) for i in range(10)]


@BOTH
@pytest.mark.parametrize("name", MENU)
def test_the_model_is_told_the_sigmas_of_the_grid(pack, comfy, kind: str, name: str) -> None:
    """Other nodes find the step they are in by comparing sigma with the grid."""
    sampler = standin.sampler_object(comfy, name)
    sigmas = sigmas_of(pack, kind).float()
    model = guider(kind)
    model.sample(NOISE.float(), EMPTY.float(), sampler, sigmas)
    told = {s.item() for s in torch.cat(model.inner_model.told)}
    assert {s.item() for s in sigmas[:-1]} <= told
    if "dpm2" not in name:
        assert told <= {s.item() for s in sigmas}


@BOTH
@pytest.mark.parametrize("name", MENU)
@pytest.mark.parametrize("part", [1.0, 0.5])
def test_a_mask_keeps_the_image(pack, comfy, kind: str, name: str, part: float) -> None:
    """Both for a run from noise and for one from the image."""
    sampler = standin.sampler_object(comfy, name)
    sigmas = sigmas_of(pack, kind, denoise=part)
    image = normal(4, 3, 1, 1, seed=12)
    mask = torch.zeros_like(image)
    mask[:, :1] = 1
    x = guider(kind).sample(NOISE, image, sampler, sigmas, denoise_mask=mask)
    torch.testing.assert_close(x[:, 1:], image[:, 1:], rtol=1e-9, atol=1e-9)
    assert (x[:, :1] - image[:, :1]).abs().min() > 1e-3


@BOTH
@pytest.mark.parametrize("name", MENU)
def test_video_interruption_and_half(pack, comfy, kind: str, name: str) -> None:
    sampler = standin.sampler_object(comfy, name)
    sigmas = sigmas_of(pack, kind)
    video = NOISE.reshape(4, 1, 3, 1, 1)
    flat = guider(kind).sample(NOISE, EMPTY, sampler, sigmas)
    same = guider(kind)
    inner = same.inner_model.denoiser
    same.inner_model.denoiser = lambda x, s: inner(x.reshape(NOISE.shape), s).reshape(x.shape)
    x = same.sample(video, torch.zeros_like(video), sampler, sigmas)
    torch.testing.assert_close(x.reshape(NOISE.shape), flat)

    half = guider(kind)
    inner = half.inner_model.denoiser
    half.inner_model.denoiser = lambda x, s: inner(x.float(), s.float()).half()
    x = half.sample(NOISE.half(), EMPTY.half(), sampler, sigmas.half())
    assert x.dtype == torch.float16
    assert (x - flat).abs().median() < 0.05

    class InterruptProcessingError(Exception):
        pass

    def stop(step, *_):
        if step == 3:
            raise InterruptProcessingError

    with pytest.raises(InterruptProcessingError):
        guider(kind).sample(NOISE, EMPTY, sampler, sigmas, callback=stop)


@BOTH
def test_two_stages_are_one_run(pack, kind: str) -> None:
    """A sampler without memory goes on from a latent that is not clean yet, noise left out."""
    (sampler,) = execute(pack, "StiffguideSamplerUnguided")
    sigmas = sigmas_of(pack, kind)
    whole = guider(kind).sample(NOISE, EMPTY, sampler, sigmas)
    half = guider(kind).sample(NOISE, EMPTY, sampler, sigmas[:6])
    rest = guider(kind).sample(EMPTY, half, sampler, sigmas[5:])
    torch.testing.assert_close(rest, whole, rtol=1e-9, atol=1e-9)


def test_a_model_of_another_make_is_integrated_in_sigma(pack, comfy) -> None:
    sampler = standin.sampler_object(comfy, "stiffguide_heun_edg")
    sigmas = sigmas_of(pack, "flow")
    flow = KINDS["flow"][0]
    found = sampler.sampler_function(flow, NOISE, sigmas, disable=True)
    assert torch.equal(found, sample_stiffguide_heun(flow, NOISE, sigmas, disable=True, flow=True))


def test_churn_where_it_fits(pack) -> None:
    how = {"s_churn": 5.0, "s_tmax": 10.0}
    (sampler,) = execute(pack, "StiffguideSamplerUnguided", **how)
    sigmas = sigmas_of(pack, "eps")
    torch.manual_seed(7)
    found = guider("eps").sample(NOISE, EMPTY, sampler, sigmas)
    torch.manual_seed(7)
    start = NOISE * torch.sqrt(1 + sigmas[0] ** 2) / sigmas[0]
    expected = diffusion.sample(SMOOTH, start, sigmas, "heun", **how).x
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    with pytest.raises(UnsupportedError, match="rectified flow"):
        guider("flow").sample(NOISE, EMPTY, sampler, sigmas_of(pack, "flow"))
    with pytest.raises(UnsupportedError, match="not with unipc2: set it to 0"):
        execute(pack, "StiffguideSamplerUnguided", sampler="unipc2", s_churn=1.0)


# --- the menus


@BOTH
@pytest.mark.parametrize("name", NOISY_SAMPLERS)
def test_noise_belongs_to_the_seed_of_comfyui(pack, comfy, kind: str, name: str) -> None:
    for menu in (comfy.samplers.SAMPLER_NAMES, comfy.samplers.KSampler.SAMPLERS):
        assert menu.count(name) == 1
    sigmas = sigmas_of(pack, kind, 8)
    by_menu = standin.sampler_object(comfy, name)
    x = guider(kind).sample(NOISE, EMPTY, by_menu, sigmas)
    assert torch.equal(x, guider(kind).sample(NOISE, EMPTY, by_menu, sigmas))
    choice = {"sampler": name.removeprefix("stiffguide_")}
    (node,) = execute(pack, "StiffguideSamplerNoisy", **choice)
    assert torch.equal(x, guider(kind).sample(NOISE, EMPTY, node, sigmas))
    # an image of a larger batch is what it is in a smaller one
    fewer = guider(kind).sample(NOISE[:2], EMPTY[:2], by_menu, sigmas)
    torch.testing.assert_close(fewer, x[:2], rtol=1e-9, atol=1e-9)
    torch.manual_seed(1)
    again = guider(kind)
    other = {"model_options": {}, "seed": 42}
    mine = {"model_options": {}, "seed": 41}
    run = by_menu.sampler_function
    start = sigmas[0] * NOISE
    assert torch.equal(
        run(again, start, sigmas, mine, None, True), run(again, start, sigmas, mine, None, True)
    )
    assert not torch.allclose(
        run(again, start, sigmas, mine, None, True), run(again, start, sigmas, other, None, True)
    )
    (still,) = execute(pack, "StiffguideSamplerNoisy", **choice, eta=0.0)
    (s_still,) = execute(pack, "StiffguideSamplerNoisy", **choice, s_noise=0.0)
    assert not torch.allclose(x, guider(kind).sample(NOISE, EMPTY, still, sigmas))
    assert not torch.allclose(x, guider(kind).sample(NOISE, EMPTY, s_still, sigmas))


@BOTH
@pytest.mark.parametrize("name", MENU)
def test_the_menu_has_it(pack, comfy, kind: str, name: str) -> None:
    for menu in (comfy.samplers.SAMPLER_NAMES, comfy.samplers.KSampler.SAMPLERS):
        assert menu.count(name) == 1
    node, changed = {
        "stiffguide_emg": ("StiffguideSamplerEMG", {}),
        "stiffguide_heun_edg": ("StiffguideSamplerErrorDirection", {}),
        "stiffguide_heun_edg3": ("StiffguideSamplerErrorDirection", {"order": "3"}),
    }.get(name, ("StiffguideSamplerErkGuid", {"solver": name.split("_")[1]}))
    for steps, weights in ((8, (0.5, 0.1)), (16, (0.75, 0.3)), (32, (1.0, 0.5))):
        if "erk" in name:
            changed |= {"w_stiff": weights[0], "w_con": weights[1]}
        sigmas = sigmas_of(pack, kind, steps)
        by_menu = guider(kind).sample(NOISE, EMPTY, standin.sampler_object(comfy, name), sigmas)
        by_node = guider(kind).sample(NOISE, EMPTY, execute(pack, node, **changed)[0], sigmas)
        assert torch.equal(by_menu, by_node)


def test_the_menu_of_schedulers(pack, comfy) -> None:
    handler, by_model = comfy.samplers.SCHEDULER_HANDLERS["stiffguide_mix"]
    assert by_model
    assert comfy.samplers.KSampler.SCHEDULERS.count("stiffguide_mix") == 1
    for kind in KINDS:
        sigmas = handler(KINDS[kind][1](), 9)
        assert torch.equal(sigmas.double(), sigmas_of(pack, kind, 9))


def test_loading_twice_adds_nothing(pack, comfy, monkeypatch) -> None:
    before = list(comfy.samplers.SAMPLER_NAMES), list(comfy.samplers.SCHEDULER_NAMES)
    standin.load(FOLDER, monkeypatch)
    assert before == (comfy.samplers.SAMPLER_NAMES, comfy.samplers.SCHEDULER_NAMES)
    assert comfy.samplers.SAMPLER_NAMES[:2] == ["euler", "uni_pc_bh2"]


def test_versions_without_scheduler_handlers(monkeypatch) -> None:
    comfy = standin.install(monkeypatch, schedulers=False)
    standin.load(FOLDER, monkeypatch)
    assert "stiffguide_emg" in comfy.samplers.SAMPLER_NAMES
    assert comfy.samplers.SCHEDULER_NAMES == ["simple"]


# --- the grid


@BESIDE_ONE
def test_a_largest_sigma_that_rounding_put_beside_one(pack, comfy, beside: float) -> None:
    model = standin.Model(KINDS["flow"][0], FlowSampling())
    table = model.model_sampling.sigmas
    table[-1] += beside
    assert table[-1] != 1
    inner = model.denoiser
    model.denoiser = lambda x, s: inner(x, torch.where(s > 1 - 1e-6, 1.0, s))
    (sigmas,) = execute(pack, "StiffguideMixScheduler", steps=10, model=standin.Patcher(model))
    assert sigmas[0] == table[-1]
    whole = sigmas_of(pack, "flow", 10).float()
    assert torch.equal(sigmas[1:], whole[1:])
    for name in MENU:
        sampler = standin.sampler_object(comfy, name)
        found = standin.Guider(model).sample(NOISE.float(), EMPTY.float(), sampler, sigmas)
        exact = guider("flow").sample(NOISE.float(), EMPTY.float(), sampler, whole)
        torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1, 2, 8, 50, 1000])
def test_the_grid_covers_the_model(pack, kind: str, steps: int) -> None:
    sigmas = sigmas_of(pack, kind, steps)
    assert sigmas.shape == (steps + 1,)
    assert sigmas[0] == KINDS[kind][1]().sigma_max
    assert sigmas[-1] == 0
    assert bool((sigmas[1:] < sigmas[:-1]).all())


def test_the_grid_is_mix(pack) -> None:
    found = sigmas_of(pack, "eps", 8, sigma_data=0.7)
    table = standin.ModelSamplingDiscrete().sigmas
    expected = grid.mix(8, float(table[0]), float(table[-1]), sigma_data=0.7, zero=True)
    torch.testing.assert_close(found, expected.float().double(), rtol=0, atol=0)
    # of a flow: EDM's range in units of sigma_data, moved by the shift, from sigma = 1
    for kind, shift in (("flow", 3.0), ("flux", 2.718281828459045**1.15)):
        sigmas = sigmas_of(pack, kind, 8, sigma_data=1.0)[1:-1]
        levels = shift * grid.mix(8, 0.004, 160.0, sigma_data=1.0, zero=True)[1:-1]
        torch.testing.assert_close(sigmas / (1 - sigmas), levels, rtol=1e-4, atol=0)
        given = sigmas_of(pack, kind, 8, shift=1.0, sigma_data=1.0)[1:-1]
        torch.testing.assert_close(shift * given / (1 - given), levels, rtol=1e-4, atol=0)


def test_without_a_center_the_levels_are_those_of_karras(pack, caplog) -> None:
    grid._say_how_to_measure.cache_clear()
    table = standin.ModelSamplingDiscrete().sigmas
    low, high = float(table[0]), float(table[-1])
    expected = grid.karras(8, low, high, zero=True).float().double()
    torch.testing.assert_close(sigmas_of(pack, "eps", 8), expected, rtol=0, atol=0)
    sigmas = sigmas_of(pack, "flow", 8)[1:-1]
    levels = 3 * grid.karras(8, 0.004, 160.0, zero=True)[1:-1]
    torch.testing.assert_close(sigmas / (1 - sigmas), levels, rtol=1e-4, atol=0)
    assert caplog.text.count("measure the data once: center=0.375") == 1


def test_no_shift_moves_the_center(pack) -> None:
    table = standin.ModelSamplingDiscrete().sigmas
    low, high = float(table[0]), float(table[-1])
    expected = grid.mix(8, low, high, center=2.0, zero=True).float().double()
    found = sigmas_of(pack, "eps", 8, center=2.0)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    sigmas = sigmas_of(pack, "flow", 8, center=2.0)[1:-1]
    levels = grid.mix(8, 3 * 0.004, 3 * 160.0, center=2.0, zero=True)[1:-1]
    torch.testing.assert_close(sigmas / (1 - sigmas), levels, rtol=1e-4, atol=0)
    (old,) = pack.NODE_CLASS_MAPPINGS["StiffguideMixScheduler"]().get_sigmas(
        standin.Patcher(standin.Model(SMOOTH, EpsSampling())), 8, 1.0, 1.0, 0.0
    )  # as a workflow from before has it
    expected = sigmas_of(pack, "eps", 8, sigma_data=1.0)
    torch.testing.assert_close(old.double(), expected, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_denoise_runs_the_end_of_a_longer_grid(pack, kind: str) -> None:
    whole = sigmas_of(pack, kind, 20)
    assert torch.equal(sigmas_of(pack, kind, 10, denoise=0.5), whole[10:])
    assert len(sigmas_of(pack, kind, 10, denoise=0.0)) == 0
    image = normal(4, 3, 1, 1, seed=12)
    (sampler,) = execute(pack, "StiffguideSamplerEMG")
    nothing = guider(kind).sample(NOISE, image, sampler, sigmas_of(pack, kind, 10, denoise=0.0))
    assert torch.equal(nothing, image)
    little = guider(kind).sample(NOISE, image, sampler, sigmas_of(pack, kind, 5, denoise=0.05))
    assert (little - image).abs().max() < 0.5


def test_bad_numbers_for_the_grid(pack) -> None:
    handler = sys.modules[f"{pack.__name__}.mix_grid"].mix_sigmas
    for numbers in ((-1.0, 1.0), (1.0, -1.0), (1.0, 1.0, -1.0)):
        with pytest.raises(InputError, match="must be positive, or 0"):
            handler(EpsSampling(), 8, *numbers)


# --- the workflows


def declared(pack, name: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Inputs by type, outputs, of a node of ours or of ComfyUI."""
    if name in standin.CORE_NODES:
        return standin.CORE_NODES[name]
    node = pack.NODE_CLASS_MAPPINGS[name]
    kinds = {k: "COMBO" if isinstance(v[0], list) else v[0] for k, v in inputs_of(node).items()}
    return kinds, node.RETURN_TYPES


WIDGETS = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool, "COMBO": str}


def check_widgets(pack, name: str, values: dict) -> None:
    kinds, _ = declared(pack, name)
    for key, value in values.items():
        assert isinstance(value, WIDGETS[kinds[key]]), (name, key)
        if name in pack.NODE_CLASS_MAPPINGS:
            kind, options = inputs_of(pack.NODE_CLASS_MAPPINGS[name])[key]
            if isinstance(kind, list):
                assert value in kind
            else:
                assert options["min"] <= value <= options["max"]


def widgets_of(pack, node: dict) -> dict:
    """The values of a node by name; a seed is followed by what happens to it afterwards."""
    kinds, _ = declared(pack, node["type"])
    names = []
    for key, kind in kinds.items():
        if kind in WIDGETS:
            names += [key, None] if key == "noise_seed" else [key]
    pairs = zip(names, node["widgets_values"], strict=True)
    return {key: value for key, value in pairs if key is not None}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_workflow_of_the_interface(pack, path: Path) -> None:
    flow = json.loads(path.read_text())
    assert flow["version"] == 0.4
    nodes = {node["id"]: node for node in flow["nodes"]}
    assert len(nodes) == len(flow["nodes"])
    assert flow["last_node_id"] == max(nodes)
    links = {link[0]: link for link in flow["links"]}
    assert flow["last_link_id"] == max(links)
    assert set(pack.NODE_CLASS_MAPPINGS) & {node["type"] for node in nodes.values()}
    fed = set()
    for node in nodes.values():
        assert {"id", "type", "pos", "size", "flags", "order", "mode", "properties"} <= set(node)
        kinds, outputs = declared(pack, node["type"])
        check_widgets(pack, node["type"], widgets_of(pack, node))
        sockets = {key: kind for key, kind in kinds.items() if kind not in WIDGETS}
        assert {slot["name"]: slot["type"] for slot in node["inputs"]} == sockets
        assert tuple(slot["type"] for slot in node["outputs"]) == tuple(outputs)
        fed |= {(slot["link"], node["id"], i) for i, slot in enumerate(node["inputs"])}
    assert fed == {(link[0], link[3], link[4]) for link in links.values()}
    for number, source, out, target, slot, kind in links.values():
        assert number in nodes[source]["outputs"][out]["links"]
        assert nodes[source]["outputs"][out]["type"] == kind
        assert nodes[target]["inputs"][slot]["type"] == kind
        assert nodes[source]["order"] < nodes[target]["order"]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_workflow_of_the_api(pack, path: Path) -> None:
    nodes = json.loads(path.read_text())
    for node in nodes.values():
        kinds, _ = declared(pack, node["class_type"])
        assert set(node["inputs"]) == set(kinds)
        widgets = {k: v for k, v in node["inputs"].items() if kinds[k] in WIDGETS}
        check_widgets(pack, node["class_type"], widgets)
        for key in set(kinds) - set(widgets):
            source, out = node["inputs"][key]
            assert declared(pack, nodes[source]["class_type"])[1][out] == kinds[key]
    twin = json.loads((FOLDER.parent / "example_workflows" / path.name).read_text())
    for node in twin["nodes"]:
        assert nodes[str(node["id"])]["class_type"] == node["type"]
        assert widgets_of(pack, node).items() <= nodes[str(node["id"])]["inputs"].items()


def test_a_checkout_shows_its_workflows_where_comfyui_looks_for_them() -> None:
    """As files at the top: links are no links in a checkout on Windows, or in an archive."""
    folder = FOLDER.parent / "example_workflows"
    assert not folder.is_symlink()
    assert sorted(path for path in folder.iterdir() if path.suffix == ".json") == EXAMPLES
    assert not any(path.is_symlink() for path in EXAMPLES)


def test_what_the_registry_of_comfyui_asks_for() -> None:
    """docs.comfy.org/registry/specifications: a name, a version, a publisher, light needs."""
    known = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))
    project, comfy = known["project"], known["tool"]["comfy"]
    assert re.fullmatch(r"(?!.*[-_.]{2})[A-Za-z][A-Za-z0-9._-]{1,98}", project["name"])
    assert "comfyui" not in project["name"].lower()
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])
    assert comfy["PublisherId"]
    assert comfy["DisplayName"]
    assert set(comfy) <= {"PublisherId", "DisplayName", "Icon", "Banner", "includes"}
    assert all((FOLDER.parent / part).is_dir() for part in comfy["includes"])
    # what ComfyUI has: its manager installs nothing
    needed = {re.split(r"[<>=]", need)[0] for need in project["dependencies"]}
    assert needed == {"torch", "numpy", "scipy"}


def test_there_are_workflows_of_both_forms() -> None:
    shown = {node["type"] for path in EXAMPLES for node in json.loads(path.read_text())["nodes"]}
    assert {"StiffguideSamplerEMG", "StiffguideSamplerAdaptive", "FluxGuidance"} <= shown
    assert PROGRAMS


def test_every_sampler_of_the_package_can_be_reached(pack) -> None:
    (choices, _) = inputs_of(pack.NODE_CLASS_MAPPINGS["StiffguideSamplerUnguided"])["sampler"]
    # with nodes of their own
    apart = {"stiffguide_adaptive", "stiffguide_euler_cfg_pp", "stiffguide_dpmpp_2m_cfg_pp"}
    apart |= set(NOISY_SAMPLERS)
    assert {f"stiffguide_{name}" for name in choices} == set(SAMPLERS) - apart
    assert not [a for a, b in itertools.pairwise(choices) if a == b]
