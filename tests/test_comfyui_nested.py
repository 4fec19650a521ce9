"""Latents of several parts, as some versions of ComfyUI hand them to samplers."""

from __future__ import annotations

import comfy_standin as standin
import pytest
import torch
from flows import SMOOTH, Mixture, normal
from test_comfyui import MENU, execute, sigmas_of

from stiffguide.adapters.diffusion import classifier_free, sample

PICTURE, SOUND = normal(4, 1, 2, seed=1), normal(4, 1, seed=2)  # three numbers a row
NESTED = [80 * PICTURE, 80 * SOUND]
FLAT = torch.cat([part.flatten(1) for part in NESTED], 1)
WEAK = Mixture(torch.zeros(1, 3, dtype=torch.float64), 0.9)


def flat(nested):
    return torch.cat([part.flatten(1) for part in nested.unbind()], 1)


def split(x):
    parts = x.split([2, 1], 1)
    return standin.NestedTensor([parts[0].reshape(PICTURE.shape), parts[1].reshape(SOUND.shape)])


def model(denoiser):
    """One that knows nested latents only."""

    def call(x, sigma):
        assert [part.shape for part in x.unbind()] == [PICTURE.shape, SOUND.shape]
        return split(denoiser(flat(x), sigma))

    return call


@pytest.mark.parametrize("name", [*MENU, "adaptive"])
def test_the_parts_are_sampled_as_one_state(pack, comfy, name: str) -> None:
    if name == "adaptive":
        (sampler,) = execute(pack, "StiffguideSamplerAdaptive", rtol=1e-3)
        function = lambda *args, **more: sampler.sampler_function(  # noqa: E731
            *args, **{**sampler.extra_options, **more}
        )
    else:
        function = standin.sampler_object(comfy, name).sampler_function
    sigmas, seen = sigmas_of(pack, "eps"), []
    expected = function(SMOOTH, FLAT, sigmas, disable=True)
    x = standin.NestedTensor(NESTED)
    found = function(model(SMOOTH), x, sigmas, callback=seen.append, disable=True)
    assert isinstance(found, standin.NestedTensor)
    assert torch.equal(flat(found), expected)
    assert found.unbind()[0].shape == PICTURE.shape
    for step in seen:
        for part in ("x", "denoised"):
            assert [t.shape for t in step[part].unbind()] == [PICTURE.shape, SOUND.shape]
    assert len(seen) >= 10


@pytest.mark.parametrize("solver", ["euler", "dpmpp_2m"])
def test_with_cfg_pp(pack, solver: str) -> None:
    """The unguided estimate that a listener hears is nested, too."""

    def guided(x, sigma, model_options):
        uncond = WEAK(flat(x), sigma)
        x0 = split(uncond + 0.6 * (SMOOTH(flat(x), sigma) - uncond))
        for listener in model_options["sampler_post_cfg_function"]:
            told = {"denoised": x0, "uncond": "negative", "uncond_denoised": split(uncond)}
            x0 = listener(told)
        return x0

    (sampler,) = execute(pack, "StiffguideSamplerCfgPlusPlus", solver=solver)
    sigmas = sigmas_of(pack, "eps")
    found = sampler.sampler_function(
        guided, standin.NestedTensor(NESTED), sigmas, {"model_options": {}}, disable=True
    )
    noise = FLAT / sigmas[0]
    expected = sample(classifier_free(SMOOTH, WEAK, 0.6), noise, sigmas, f"{solver}_cfg_pp").x
    torch.testing.assert_close(flat(found), expected, rtol=1e-9, atol=1e-9)


def test_a_nested_flow_is_known_as_one(pack) -> None:
    """By the model inside, as any other."""
    kind = type("Flow", (standin.CONST, standin.ModelSamplingDiscreteFlow), {})()
    inner = model(lambda x, sigma: 0.3 * x)

    def call(x, sigma):
        return inner(x, sigma)

    call.model_sampling = kind
    (sampler,) = execute(pack, "StiffguideSamplerEMG")
    sigmas = torch.tensor([1.0, 0.7, 0.3, 0.0])
    parts = standin.NestedTensor([PICTURE, SOUND])
    found = sampler.sampler_function(call, parts, sigmas, disable=True)
    plain = lambda x, sigma: 0.3 * x  # noqa: E731
    plain.model_sampling = kind
    whole = flat(parts)
    expected = sampler.sampler_function(plain, whole, sigmas, disable=True)
    torch.testing.assert_close(flat(found), expected, rtol=0, atol=0)
