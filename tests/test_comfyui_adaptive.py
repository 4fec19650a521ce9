"""The node whose sampler chooses its own steps, in the stand-in for ComfyUI."""

from __future__ import annotations

import comfy_standin as standin
import pytest
import torch
from flows import SMOOTH, normal
from test_comfyui import BOTH, EMPTY, KINDS, NOISE, execute, guider, sigmas_of

from stiffguide.adapters.diffusion import sample_adaptive

NODE = "StiffguideSamplerAdaptive"


@BOTH
def test_the_error_follows_rtol(pack, kind: str) -> None:
    """From the model's largest sigma; a flow's is 1, pure noise."""
    sigmas = sigmas_of(pack, kind, 10)
    (fine,) = execute(pack, NODE, rtol=1e-6, method="dopri5")
    exact = guider(kind).sample(NOISE, EMPTY, fine, sigmas)
    for rtol in (1e-1, 1e-2, 1e-3, 1e-4):
        (sampler,) = execute(pack, NODE, rtol=rtol)
        x = guider(kind).sample(NOISE, EMPTY, sampler, sigmas)
        assert (x - exact).square().mean(1).sqrt().median() < rtol


def test_a_model_of_noise_is_sampled_as_the_package_does(pack) -> None:
    sigmas = sigmas_of(pack, "eps")
    start = NOISE * torch.sqrt(1 + sigmas[0] ** 2) / sigmas[0]
    low, high = float(standin.ModelSamplingDiscrete().sigmas[0]), float(sigmas[0])
    how = {"rtol": 3e-3, "method": "tsit5"}
    expected = sample_adaptive(
        SMOOTH, start, low, high, **how, atol=2e-3, sigma_data=1.0, denoise_to_zero=True
    ).x
    (sampler,) = execute(pack, NODE, atol=2e-3, **how)
    found = guider("eps").sample(NOISE, EMPTY, sampler, sigmas)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_few_steps_end_as_many_do(pack, kind: str) -> None:
    """Of the sigmas the ends count, and the last step to 0 begins at the model's least sigma."""
    (sampler,) = execute(pack, NODE)
    sigmas = sigmas_of(pack, kind, 30)
    least = KINDS[kind][1]().sigma_min
    assert least <= sigmas[-2]
    few = torch.stack((sigmas[0], sigmas[10], sigmas[-1]))
    many = torch.cat((sigmas[:-1][sigmas[:-1] > least], least.double().reshape(1), few[-1:]))
    ends = [guider(kind).sample(NOISE, EMPTY, sampler, part) for part in (few, many)]
    torch.testing.assert_close(*ends, rtol=1e-9, atol=1e-9)


@BOTH
def test_an_image_is_the_same_alone_and_in_a_batch(pack, kind: str) -> None:
    (sampler,) = execute(pack, NODE)
    sigmas = sigmas_of(pack, kind)
    model = guider(kind)
    whole = model.sample(NOISE, EMPTY, sampler, sigmas)
    assert any(float(s.max()) > float(s.min()) for s in model.inner_model.told)
    for row in range(len(NOISE)):
        part = slice(row, row + 1)
        alone = guider(kind).sample(NOISE[part], EMPTY[part], sampler, sigmas)
        torch.testing.assert_close(alone, whole[part], rtol=1e-9, atol=1e-9)


@BOTH
def test_together_the_model_is_told_one_sigma(pack, kind: str) -> None:
    (sampler,) = execute(pack, NODE, steps="all images together")
    model = guider(kind)
    model.sample(NOISE, EMPTY, sampler, sigmas_of(pack, kind))
    assert all(float(s.max()) == float(s.min()) for s in model.inner_model.told)


@BOTH
@pytest.mark.parametrize("part", [1.0, 0.5])
def test_a_mask_keeps_the_image(pack, kind: str, part: float) -> None:
    (sampler,) = execute(pack, NODE)
    image = normal(4, 3, 1, 1, seed=12)
    mask = torch.zeros_like(image)
    mask[:, :1] = 1
    sigmas = sigmas_of(pack, kind, denoise=part)
    x = guider(kind).sample(NOISE, image, sampler, sigmas, denoise_mask=mask)
    torch.testing.assert_close(x[:, 1:], image[:, 1:], rtol=1e-9, atol=1e-9)
    assert (x[:, :1] - image[:, :1]).abs().min() > 1e-3


@BOTH
def test_previews_go_through_the_steps_of_the_bar(pack, kind: str) -> None:
    (sampler,) = execute(pack, NODE)
    seen = []

    def callback(step, x0, x, total):
        assert x0.shape == x.shape == NOISE.shape
        assert total == 10
        seen.append(step)

    guider(kind).sample(NOISE, EMPTY, sampler, sigmas_of(pack, kind), callback=callback)
    assert seen == sorted(seen)
    assert seen[0] >= 0
    assert seen[-1] == 9


@BOTH
def test_interruption_half_precision_and_two_stages(pack, kind: str) -> None:
    (sampler,) = execute(pack, NODE)
    sigmas = sigmas_of(pack, kind)
    whole = guider(kind).sample(NOISE, EMPTY, sampler, sigmas)
    half = guider(kind).sample(NOISE, EMPTY, sampler, sigmas[:6])
    rest = guider(kind).sample(EMPTY, half, sampler, sigmas[5:])
    torch.testing.assert_close(rest, whole, rtol=0, atol=0.02)

    low = guider(kind)
    inner = low.inner_model.denoiser
    low.inner_model.denoiser = lambda x, s: inner(x.float(), s.float()).half()
    x = low.sample(NOISE.half(), EMPTY.half(), sampler, sigmas.half())
    assert x.dtype == torch.float16
    assert (x - whole).abs().median() < 0.05

    class InterruptProcessingError(Exception):
        pass

    def stop(step, *_):
        if step >= 3:
            raise InterruptProcessingError

    with pytest.raises(InterruptProcessingError):
        guider(kind).sample(NOISE, EMPTY, sampler, sigmas, callback=stop)
