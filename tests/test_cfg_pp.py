"""CFG++: the published formulas, in VE form and on flows, and who can be sampled so."""

from __future__ import annotations

import math

import pytest
import torch
from flows import SMOOTH, Mixture, normal
from hypothesis import given, settings
from hypothesis import strategies as st
from test_kdiffusion_flows import Flow, shifted

from stiffguide.adapters.diffusion import (
    autoguidance,
    classifier_free,
    classifier_free_batched,
    grid,
    invert,
    sample,
)
from stiffguide.adapters.kdiffusion import (
    SAMPLERS,
    sample_stiffguide_dpmpp_2m_cfg_pp,
    sample_stiffguide_euler_cfg_pp,
)
from stiffguide.errors import InputError, SolveFailed, UnsupportedError
from stiffguide.guidance import ErrorDirection

NOISE = normal(6, 3, seed=3)
WEAK = Mixture(torch.zeros(1, 3, dtype=torch.float64), 0.9)
MODEL = classifier_free(SMOOTH, WEAK, 0.7)
NAMES = ("euler_cfg_pp", "dpmpp_2m_cfg_pp")
BOTH = pytest.mark.parametrize("name", NAMES)
FUNCTIONS = {
    "euler_cfg_pp": sample_stiffguide_euler_cfg_pp,
    "dpmpp_2m_cfg_pp": sample_stiffguide_dpmpp_2m_cfg_pp,
}


def at(denoiser, x, sigma: float):
    return denoiser(x, x.new_full((len(x),), sigma))


def by_the_formula(name: str, cond, uncond, scale: float, x, sigmas):
    """The formulas as they are published, written out."""
    old, h_last = None, None
    for a, b in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
        weak = at(uncond, x, a)
        guided = weak + scale * (at(cond, x, a) - weak)
        if b == 0:
            return guided
        h = math.log(a) - math.log(b)
        x = guided - math.exp(-h) * weak + math.exp(-h) * x
        if old is not None and name == "dpmpp_2m_cfg_pp":
            x = x + (1 - math.exp(-h)) * h / (2 * h_last) * (guided - old)
        old, h_last = weak, h
    return x


@BOTH
@pytest.mark.parametrize("zero", [False, True])
@given(scale=st.floats(0.0, 2.0), steps=st.integers(1, 9))
@settings(max_examples=10, deadline=None)
def test_it_is_the_published_formula(name: str, zero: bool, scale: float, steps: int) -> None:
    sigmas = grid.karras(steps, zero=zero)
    expected = by_the_formula(name, SMOOTH, WEAK, scale, 80 * NOISE, sigmas)
    found = sample(classifier_free(SMOOTH, WEAK, scale), NOISE, sigmas, name)
    torch.testing.assert_close(found.x, expected, rtol=1e-9, atol=1e-9)
    assert found.nfe == steps
    assert found.method == name


@given(scale=st.floats(0.05, 1.0), steps=st.integers(2, 12))
@settings(max_examples=10, deadline=None)
def test_eulers_form_is_euler_with_a_scale_for_every_step(scale: float, steps: int) -> None:
    """scale/(1 - b/a): so that the same scale guides more in more steps."""
    sigmas = grid.exponential(steps, zero=True)
    found = sample(classifier_free(SMOOTH, WEAK, scale), NOISE, sigmas, "euler_cfg_pp").x
    x = 80 * NOISE
    for a, b in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
        model = classifier_free(SMOOTH, WEAK, scale / (1 - b / a))
        x = torch.lerp(at(model, x, a), x, b / a)
    torch.testing.assert_close(found, x, rtol=1e-9, atol=1e-9)


@BOTH
def test_branches_that_agree_make_the_plain_sampler(name: str) -> None:
    """Where both say the same there is nothing to guide."""
    sigmas = grid.karras(9, zero=True)
    same = sample(classifier_free(SMOOTH, SMOOTH, 0.7), NOISE, sigmas, name).x
    plain = sample(SMOOTH, NOISE, sigmas, name.removesuffix("_cfg_pp")).x
    torch.testing.assert_close(same, plain, rtol=1e-9, atol=1e-9)


@BOTH
def test_every_kind_of_guided_model(name: str) -> None:
    sigmas = grid.karras(7)
    expected = sample(MODEL, NOISE, sigmas, name).x
    auto = sample(autoguidance(SMOOTH, WEAK, 0.7), NOISE, sigmas, name).x
    torch.testing.assert_close(auto, expected, rtol=0, atol=0)

    def net(x, sigma, condition):
        return torch.where(condition[:, :1] > 0, SMOOTH(x, sigma), WEAK(x, sigma))

    one = torch.ones(1, 1)
    batched = classifier_free_batched(net, one, -one, 0.7)
    torch.testing.assert_close(sample(batched, NOISE, sigmas, name).x, expected)


@BOTH
def test_outside_of_the_interval_it_is_the_strong_branch_alone(name: str) -> None:
    """And the weak one is not even called."""
    told = []

    def weak(x, sigma):
        told.append(float(sigma[0]))
        return WEAK(x, sigma)

    sigmas = grid.karras(12, zero=True)
    model = classifier_free(SMOOTH, weak, 0.7, interval=(0.3, 5.0))
    sample(model, NOISE, sigmas, name)
    inside = [s for s in sigmas.tolist() if 0.3 <= s <= 5.0]
    torch.testing.assert_close(torch.tensor(told).double(), torch.tensor(inside).double())
    never = classifier_free(SMOOTH, WEAK, 0.7, interval=(1e3, 1e4))
    plain = sample(SMOOTH, NOISE, sigmas, name.removesuffix("_cfg_pp")).x
    torch.testing.assert_close(sample(never, NOISE, sigmas, name).x, plain)


@BOTH
def test_image_mask_callback_and_half(name: str) -> None:
    image, mask = normal(6, 3, seed=5), torch.tensor([1.0, 1.0, 0.0])
    sigmas, seen = grid.karras(8, 0.01, 4.0, zero=True), []
    found = sample(
        MODEL, NOISE, sigmas, name, init=image, mask=mask, callback=seen.append, keep="denoised"
    )
    torch.testing.assert_close(found.x[:, 2], image[:, 2], rtol=0, atol=1e-12)
    assert [info["i"] for info in seen] == list(range(8))
    assert torch.equal(seen[-1]["denoised"], found.x)
    low = classifier_free(
        lambda x, s: SMOOTH(x.float(), s).bfloat16(),
        lambda x, s: WEAK(x.float(), s).bfloat16(),
        0.7,
    )
    half = sample(low, NOISE.float(), sigmas, name, model_dtype=torch.bfloat16).x
    exact = sample(MODEL, NOISE, sigmas, name).x
    torch.testing.assert_close(half.double(), exact, rtol=0, atol=0.05)


class Told:
    """A model of the user's own: what a guided denoiser must do, no more."""

    def __init__(self, weak) -> None:
        self.weak = weak

    def __call__(self, x, sigma):
        return SMOOTH(x, sigma)

    def branches_at(self, level: float):
        return lambda x, sigma: (SMOOTH(x, sigma), self.weak(x, sigma))


@BOTH
def test_a_weak_branch_that_is_not_finite_is_said(name: str) -> None:
    """By its own name, even where the guided estimate is none the worse for it."""
    bad = (torch.arange(6) == 3).unsqueeze(-1)
    model = Told(lambda x, sigma: torch.where(bad, torch.nan, WEAK(x, sigma)))
    found = sample(model, NOISE, grid.karras(1), name)
    assert found.ok.tolist() == [i != 3 for i in range(6)]
    with pytest.raises(SolveFailed, match="row 3: the denoiser returned values that are not"):
        found.raise_if_failed()


@BOTH
def test_what_cannot_be_sampled_so(name: str) -> None:
    with pytest.raises(UnsupportedError, match="make the denoiser by classifier_free"):
        sample(SMOOTH, NOISE, grid.karras(5), name)
    with pytest.raises(UnsupportedError, match="follows no flow whose error"):
        sample(MODEL, NOISE, grid.karras(5), name, ErrorDirection())
    with pytest.raises(UnsupportedError, match="runs down in sigma only"):
        invert(MODEL, NOISE, grid.karras(5).flip(0), name)
    with pytest.raises(UnsupportedError, match="is made for the flow, not for"):
        sample(MODEL, NOISE, grid.karras(5), name, eta=1.0)
    with pytest.raises(UnsupportedError, match="is made for the flow, which churn leaves"):
        sample(MODEL, NOISE, grid.karras(5), name, s_churn=4.0)
    with pytest.raises(InputError, match=f"there are .*{name}"):
        sample(MODEL, NOISE, grid.karras(5), "euler_cfg")


# --- by k-diffusion's convention


class Comfy:
    """A guided model as ComfyUI calls it, with the listeners of its model_options."""

    def __init__(self, cond, uncond, scale: float, told=True) -> None:
        self.cond, self.uncond, self.scale, self.told = cond, uncond, scale, told
        self.seen = []

    def __call__(self, x, sigma, model_options, seed):
        assert seed == 4
        assert model_options["disable_cfg1_optimization"]
        self.seen.append(model_options)
        uncond = None if self.uncond is None else self.uncond(x, sigma)
        weak = torch.zeros_like(x) if uncond is None else uncond
        denoised = weak + self.scale * (self.cond(x, sigma) - weak)
        for listener in model_options["sampler_post_cfg_function"]:
            args = {"denoised": denoised, "uncond_denoised": weak, "uncond": uncond}
            denoised = listener(args) if self.told else denoised
        return denoised


@BOTH
@pytest.mark.parametrize("by", ["classifier_free", "listening"])
def test_the_functions_are_the_samplers(name: str, by: str) -> None:
    assert SAMPLERS[f"stiffguide_{name}"] is FUNCTIONS[name]
    sigmas = grid.karras(9, zero=True)
    expected = sample(MODEL, NOISE, sigmas, name).x
    model, extra = MODEL, {}
    others = [lambda args: args["denoised"]]
    if by == "listening":
        model = Comfy(SMOOTH, WEAK, 0.7)
        extra = {"seed": 4, "model_options": {"sampler_post_cfg_function": others, "a": 1}}
    found = FUNCTIONS[name](model, 80 * NOISE, sigmas, extra, disable=True)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    if by == "listening":  # the caller's own options are as they were
        assert len(others) == 1
        assert set(extra["model_options"]) == {"sampler_post_cfg_function", "a"}
        assert all(options["a"] == 1 for options in model.seen)
        assert all(options["sampler_post_cfg_function"][0] is others[0] for options in model.seen)


@BOTH
def test_a_flow_is_renoised_as_a_flow(name: str) -> None:
    """x_t = (1 - t) D + t (x_s - (1 - s) U)/s: what CFG++ is with alpha = 1 - s."""
    strong, weak = Flow(SMOOTH), Flow(WEAK)
    model = classifier_free(strong, weak, 0.7)
    sigmas = shifted(7, end=0.0)
    found = FUNCTIONS[name](model, NOISE, sigmas, disable=True, flow=True)
    x, old, last = NOISE, None, None
    for s, t in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
        u = at(weak, x, s)
        d = u + 0.7 * (at(strong, x, s) - u)
        x1 = (1 - t) * d + t * (x - (1 - s) * u) / s
        if name.startswith("dpmpp") and old is not None and t > 0:
            h, r = math.log(s * (1 - t) / (t * (1 - s))), last
            x1 = x1 + (1 - t) * (1 - math.exp(-h)) * h / (2 * r) * (d - old)
        if s < 1:  # the first step is from an infinite level, which is no node
            old, last = u, math.log(s * (1 - t) / (t * (1 - s))) if t > 0 else None
        x = x1
    torch.testing.assert_close(found, x, rtol=1e-9, atol=1e-9)


@BOTH
def test_the_dtype_of_the_caller_is_that_of_the_model(name: str) -> None:
    def half(model):
        def call(x, sigma):
            assert x.dtype == sigma.dtype == torch.float16
            return model(x.double(), sigma.double()).half()

        return call

    model = classifier_free(half(SMOOTH), half(WEAK), 0.7)
    sigmas = grid.karras(9, 0.01, 40.0, zero=True)
    found = FUNCTIONS[name](model, (40 * NOISE).half(), sigmas, disable=True)
    assert found.dtype == torch.float16
    exact = FUNCTIONS[name](MODEL, 40 * NOISE, sigmas, disable=True)
    assert (found - exact).abs().median() < 0.05


@BOTH
@pytest.mark.parametrize(
    ("model", "extra", "sentence"),
    [
        (SMOOTH, {}, "give a model made by classifier_free, or one that takes model_options"),
        (Comfy(SMOOTH, WEAK, 0.7, told=False), {"seed": 4, "model_options": {}}, "calls no"),
        (Comfy(SMOOTH, None, 0.7), {"seed": 4, "model_options": None}, "needs a negative"),
    ],
)
def test_a_model_that_does_not_tell(name: str, model, extra, sentence: str) -> None:
    with pytest.raises(UnsupportedError, match=sentence):
        FUNCTIONS[name](model, 80 * NOISE, grid.karras(5), extra, disable=True)


@BOTH
def test_sigmas_that_rise_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedError, match="runs down in sigma only"):
        FUNCTIONS[name](MODEL, NOISE, grid.karras(5).flip(0), disable=True)
