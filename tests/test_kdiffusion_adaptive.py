"""The sampler of k-diffusion's convention that chooses its own steps."""

from __future__ import annotations

import math

import pytest
import torch
from flows import SMOOTH, THIN, Mixture, normal
from test_kdiffusion import WRAPPERS, wrapped
from test_kdiffusion_flows import FLOW, START, shifted

from stiffguide.adapters.diffusion import grid, sample_adaptive
from stiffguide.adapters.kdiffusion import SAMPLERS, sample_stiffguide_adaptive
from stiffguide.errors import InputError, SolveFailed, UnsupportedError

NOISE = normal(6, 4, seed=8)
LEVELS = grid.karras(9, zero=True)


def run(model, x, sigmas, **options):
    return sample_stiffguide_adaptive(model, x, sigmas, disable=True, **options)


def test_it_is_in_the_table() -> None:
    assert SAMPLERS["stiffguide_adaptive"] is sample_stiffguide_adaptive


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("options", [{}, {"rtol": 1e-4, "method": "tsit5", "sigma_data": 1.0}])
def test_it_is_sample_adaptive_between_the_ends(zero: bool, options) -> None:
    levels = grid.karras(9, zero=zero)
    expected = sample_adaptive(THIN, NOISE, 0.002, 80.0, denoise_to_zero=zero, **options)
    found = run(THIN, 80 * NOISE, levels, **options)
    torch.testing.assert_close(found, expected.x, rtol=1e-12, atol=1e-12)


def test_of_the_sigmas_the_ends_count() -> None:
    few, many = (grid.karras(n, zero=True) for n in (2, 90))
    x = 80 * NOISE
    assert torch.equal(run(THIN, x, few), run(THIN, x, many))
    assert torch.equal(
        run(THIN, x, torch.tensor([80.0, 5.0, 0.0]), sigma_min=0.002), run(THIN, x, few)
    )
    assert not torch.equal(run(THIN, x, torch.tensor([80.0, 5.0, 0.0])), run(THIN, x, few))


def test_the_model_is_called_as_k_diffusion_does() -> None:
    """With one sigma a row, in the dtype of x, and the extra arguments."""
    told = []

    def model(x, sigma, cond, scale):
        assert (cond, scale) == ("cat", 7)
        assert x.dtype == sigma.dtype == torch.float16
        assert sigma.shape == (6,)
        told.append(sigma.double())
        return THIN(x.double(), sigma.double()).half()

    x = (80 * NOISE).half()
    found = run(model, x, LEVELS, rtol=0.05, extra_args={"cond": "cat", "scale": 7})
    assert found.dtype == torch.float16
    assert any(float(s.max() - s.min()) > 1e-3 for s in told)
    exact = run(THIN, x.double(), LEVELS, rtol=1e-6)
    assert (found - exact).abs().median() < 0.02


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_on_the_wrappers_of_k_diffusion(wrapper: str) -> None:
    """Rows at sigmas of their own; `quantized` rounds them, so that its denoiser jumps."""
    model = wrapped()[wrapper]
    extra = {"cond": None} if wrapper == "CompVisVDenoiser" else {}
    ends = torch.tensor([14.6, 0.03], dtype=torch.float64)
    exact = SAMPLERS["stiffguide_heun"](
        model, 14.6 * NOISE, grid.karras(400, 0.03, 14.6), extra, disable=True, guidance=None
    )
    for rtol in (1e-2, 1e-3):
        found = run(model, 14.6 * NOISE, ends, rtol=rtol, extra_args=extra)
        # the network is no denoiser of anything: what it ends in is some 20 in size
        assert (found - exact).norm() < rtol * exact.norm()


def test_together() -> None:
    told = []

    def model(x, sigma):
        told.append(sigma)
        return THIN(x, sigma)

    run(model, 80 * NOISE, LEVELS, together=True)
    assert all(float(s.max()) == float(s.min()) for s in told)


@pytest.mark.parametrize("end", [0.0, 0.002 / 1.002])
def test_a_flow_from_pure_noise_arrives(end: float) -> None:
    sigmas = shifted(9, end=0.002 / 1.002)
    if end == 0:
        sigmas = torch.cat((sigmas, torch.zeros(1)))
    exact = FLOW.end(START)
    errors = []
    for rtol in (1e-2, 1e-4, 1e-6):
        found = run(FLOW, START, sigmas, rtol=rtol, flow=True)
        errors.append(float((found / (1 - end) - exact).abs().median()))
    # what is left at the end is the noise of level 0.002, and the half of an error bound
    assert errors[0] < 1e-2
    assert errors[1] < 1e-4 + 1e-4 * (end == 0)
    assert errors[2] < (5e-5 if end == 0 else 3e-6)


def test_a_flow_below_one_is_its_ve_form() -> None:
    sigmas = shifted(9)[1:]
    high, low = (float(s / (1 - s)) for s in (sigmas[0], sigmas[-1]))
    expected = sample_adaptive(SMOOTH, START, low, high, rtol=1e-3).x * (1 - sigmas[-1])
    found = run(FLOW, START * sigmas[0], sigmas, rtol=1e-3, flow=True)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_a_flow_without_being_told_is_integrated_in_sigma() -> None:
    """As dx/dsigma = (x - D)/sigma, which is right for it from below 1 on."""
    sigmas = shifted(9)[1:]
    flow = run(FLOW, START * sigmas[0], sigmas, rtol=1e-6, flow=True)
    plain = run(FLOW, START * sigmas[0], sigmas, rtol=1e-6)
    torch.testing.assert_close(plain, flow, rtol=0, atol=1e-5)


def test_callback_and_bar_count_the_callers_intervals(capsys) -> None:
    seen = []
    found = sample_stiffguide_adaptive(
        SMOOTH, 80 * normal(5, 3), LEVELS, callback=seen.append, disable=False
    )
    places = [info["i"] for info in seen]
    assert places == sorted(places)
    assert set(places) <= set(range(9))
    assert places[-1] == 8
    assert "9/9" in capsys.readouterr().err
    for info in seen:
        assert info["x"].shape == info["denoised"].shape == found.shape
        assert info["sigma"].ndim == 0
    assert float(seen[0]["sigma"]) == pytest.approx(80.0)
    sigmas = [float(info["sigma"]) for info in seen]
    assert sigmas == sorted(sigmas, reverse=True)


def test_failures_are_said() -> None:
    bad = (torch.arange(6) == 4).unsqueeze(-1)

    def one(x, sigma):
        return torch.where(bad & (sigma < 1).unsqueeze(-1), torch.nan, THIN(x, sigma))

    with pytest.warns(RuntimeWarning, match="row 4: at sigma = 1 the denoiser returned"):
        found = run(one, 80 * NOISE, LEVELS)
    assert bool(torch.isfinite(found).all())
    with pytest.raises(SolveFailed, match="6 of 6 rows failed"):
        run(lambda x, sigma: x * math.nan, 80 * NOISE, LEVELS)


def test_nothing_to_do() -> None:
    x = 80 * NOISE
    assert run(THIN, x, torch.tensor([80.0])) is x
    assert run(THIN, x, torch.tensor([80.0, 80.0])) is x


@pytest.mark.parametrize(
    ("sigmas", "options", "error", "sentence"),
    [
        ([80.0, 0.0], {}, InputError, "from 80 to 0 at once: give sigma_min"),
        ([80.0, 0.0], {"sigma_min": 90.0}, InputError, "must lie between 0 and"),
        ([80.0, 1.0, 2.0], {}, UnsupportedError, "runs down in sigma only"),
        ([0.002, 80.0], {}, UnsupportedError, "runs down in sigma only"),
        ([80.0, 0.1], {"flow": True}, InputError, "sigmas in \\[0, 1\\]"),
        ([80.0, 0.1], {"method": "rodas5p"}, UnsupportedError, "asks for the Jacobian"),
    ],
)
def test_bad_input(sigmas, options, error, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        run(THIN, 80 * NOISE, torch.tensor(sigmas, dtype=torch.float64), **options)


def test_the_error_follows_rtol_here_too() -> None:
    narrow = Mixture(normal(5, 4, seed=2), 0.1)
    exact = run(narrow, 80 * NOISE, LEVELS, rtol=1e-9, method="dop853")
    for rtol in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
        error = (run(narrow, 80 * NOISE, LEVELS, rtol=rtol) - exact).square().mean(-1).sqrt()
        assert 1e-3 * rtol < error.median() < rtol
