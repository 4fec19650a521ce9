"""The node of CFG++, in the stand-in for ComfyUI, whose guider calls listeners as ComfyUI does."""

from __future__ import annotations

import comfy_standin as standin
import pytest
import torch
from flows import SMOOTH, Mixture, normal
from test_comfyui import (
    BOTH,
    EMPTY,
    KINDS,
    NOISE,
    FlowDenoiser,
    execute,
    guider,
    sigmas_of,
)

from stiffguide.adapters.diffusion import classifier_free, sample
from stiffguide.errors import UnsupportedError

NODE = "StiffguideSamplerCfgPlusPlus"
WEAK = Mixture(torch.zeros(1, 3, dtype=torch.float64), 0.9)
NEGATIVE = {"eps": WEAK, "flow": FlowDenoiser(WEAK)}
SOLVERS = pytest.mark.parametrize("solver", ["euler", "dpmpp_2m"])


@SOLVERS
@pytest.mark.parametrize("cfg", [0.6, 1.0])
def test_a_model_of_noise_is_sampled_as_the_package_does(pack, solver: str, cfg: float) -> None:
    """At a cfg of 1, too, where ComfyUI leaves the negative condition out of its own accord."""
    (sampler,) = execute(pack, NODE, solver=solver)
    sigmas = sigmas_of(pack, "eps")
    start = NOISE * torch.sqrt(1 + sigmas[0] ** 2) / sigmas[0]
    model = classifier_free(SMOOTH, WEAK, cfg)
    expected = sample(model, start, sigmas, f"{solver}_cfg_pp").x
    found = guider("eps", WEAK, cfg).sample(NOISE, EMPTY, sampler, sigmas)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@SOLVERS
def test_a_flow_is_sampled_in_ve_form(pack, solver: str) -> None:
    (sampler,) = execute(pack, NODE, solver=solver)
    sigmas = sigmas_of(pack, "flow")[1:]
    levels = sigmas / (1 - sigmas)
    model = classifier_free(SMOOTH, WEAK, 0.6)
    expected = sample(model, NOISE, levels, f"{solver}_cfg_pp").x
    found = guider("flow", NEGATIVE["flow"], 0.6).sample(NOISE, EMPTY, sampler, sigmas)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@BOTH
@SOLVERS
def test_a_mask_keeps_the_image_and_previews_come(pack, kind: str, solver: str) -> None:
    (sampler,) = execute(pack, NODE, solver=solver)
    image, mask = normal(4, 3, 1, 1, seed=12), torch.zeros(4, 3, 1, 1, dtype=torch.float64)
    mask[:, :1] = 1
    seen = []
    x = guider(kind, NEGATIVE[kind], 0.6).sample(
        NOISE,
        image,
        sampler,
        sigmas_of(pack, kind),
        denoise_mask=mask,
        callback=lambda step, x0, x, total: seen.append((step, total)),
    )
    torch.testing.assert_close(x[:, 1:], image[:, 1:], rtol=1e-9, atol=1e-9)
    assert (x[:, :1] - image[:, :1]).abs().min() > 1e-3
    assert seen == [(i, 10) for i in range(10)]


@BOTH
@SOLVERS
def test_without_a_negative_condition_it_is_refused(pack, kind: str, solver: str) -> None:
    """As under BasicGuider, where ComfyUI would hand over zeros for it."""
    (sampler,) = execute(pack, NODE, solver=solver)
    denoiser, model_sampling = KINDS[kind]
    basic = standin.Guider(standin.Model(denoiser, model_sampling()))
    with pytest.raises(UnsupportedError, match="take CFGGuider or SamplerCustom"):
        basic.sample(NOISE, EMPTY, sampler, sigmas_of(pack, kind))
