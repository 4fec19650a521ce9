"""What `sample` and `invert` do around the samplers: seeds, images, masks, noise, reports."""

from __future__ import annotations

import math
import pickle

import pytest
import torch
from flows import F64, SMOOTH, THIN, Mixture, exact_path, normal
from torch import Tensor

import stiffguide as sg
from stiffguide.adapters.diffusion import (
    SAMPLERS,
    autoguidance,
    classifier_free,
    grid,
    invert,
    noise_like,
    sample,
)
from stiffguide.adapters.diffusion.curves import COSTS
from stiffguide.errors import InputError, SolveFailed, UnsupportedError
from stiffguide.guidance import ErrorDirection

LEVELS = grid.karras(10, zero=True)
NOISE = normal(5, 4, seed=1)
every_sampler = pytest.mark.parametrize("name", SAMPLERS)


@every_sampler
@pytest.mark.parametrize("shape", [(3, 4), (2, 1, 2, 2), (2, 4, 1, 1, 1), (1, 2, 2)])
def test_any_rank(name: str, shape: tuple[int, ...]) -> None:
    noise = normal(*shape)
    found = sample(THIN, noise, LEVELS, name)
    assert found.x.shape == shape
    flat = sample(THIN, noise.flatten(1), LEVELS, name).x
    torch.testing.assert_close(found.x.flatten(1), flat, rtol=1e-12, atol=1e-12)
    assert found.status.shape == shape[:1]


def test_five_lines_show_the_difference() -> None:
    exact = exact_path(SMOOTH, 80 * normal(64, 3), [80.0, 0.002], 2000)[-1]
    plain = sample(SMOOTH, normal(64, 3), grid.karras(8)).x
    guided = sample(SMOOTH, normal(64, 3), grid.karras(8), guidance=ErrorDirection()).x
    better = sample(SMOOTH, normal(64, 3), grid.mix(16), "emg").x
    errors = [float((x - exact).norm(dim=-1).median()) for x in (plain, guided, better)]
    assert errors[2] < errors[1] < errors[0]


@every_sampler
def test_callback_once_per_interval(name: str) -> None:
    seen = []
    found = sample(THIN, NOISE, LEVELS, name, callback=seen.append, keep="states")
    assert [info["i"] for info in seen] == list(range(10))
    for info, level in zip(seen, LEVELS, strict=False):
        assert set(info) == {"x", "i", "sigma", "sigma_hat", "denoised"}
        assert float(info["sigma"]) == float(info["sigma_hat"]) == float(level)
        assert info["x"].shape == info["denoised"].shape == NOISE.shape
    assert found.trajectory.shape == (11, *NOISE.shape)
    torch.testing.assert_close(found.trajectory[:-1], torch.stack([s["x"] for s in seen]))
    assert torch.equal(found.trajectory[-1], found.x)
    estimates = sample(THIN, NOISE, LEVELS, name, keep="denoised").trajectory
    torch.testing.assert_close(estimates, torch.stack([s["denoised"] for s in seen]))


@every_sampler
def test_a_last_step_to_zero(name: str) -> None:
    seen = []
    ended = sample(THIN, NOISE, grid.karras(9), name, denoise_to_zero=True)
    same = sample(THIN, NOISE, LEVELS, name, callback=seen.append)
    assert torch.equal(ended.x, same.x)
    assert ended.nfe == same.nfe
    assert float(ended.sigmas[-1]) == 0
    if name not in ("emg", "emg_lagged"):  # EMG has a formula of its own for sigma = 0
        torch.testing.assert_close(same.x, seen[-1]["denoised"], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(same.x, seen[-1]["denoised"], rtol=1e-3, atol=1e-3)


def test_seeds_make_the_noise_of_a_sample() -> None:
    whole = noise_like((4, 3, 2), [7, 8, 9, 2**40])
    assert whole.dtype == torch.float32
    for i, seed in enumerate([7, 8, 9, 2**40]):
        assert torch.equal(noise_like((1, 3, 2), [seed])[0], whole[i])
    assert not torch.equal(whole[0], whole[1])
    assert torch.equal(noise_like(torch.empty(2, 3, 2), torch.tensor([7, 9])), whole[[0, 2]])
    assert noise_like((1, 2), [0], dtype=torch.bfloat16).dtype == torch.bfloat16
    big = noise_like((2, 20000), [1, 2], dtype=F64)
    assert float(big.mean().abs()) < 0.02
    assert abs(float(big.std()) - 1) < 0.02


STOCHASTIC = [("heun", {"s_churn": 20.0}), ("euler", {"s_churn": 5.0, "s_tmax": 10.0})]
STOCHASTIC += [(n, {"eta": 1.0}) for n, s in SAMPLERS.items() if s.splitting is not None]
STOCHASTIC += [("heun", {"eta": 0.5}), ("dpmpp_2m", {"eta": 0.3})]


@pytest.mark.parametrize(("name", "how"), STOCHASTIC)
def test_noise_on_the_way_belongs_to_the_sample(name: str, how: dict[str, float]) -> None:
    seeds = [3, 4, 5, 6, 7]
    whole = sample(THIN, NOISE, LEVELS, name, seeds=seeds, **how).x
    part = sample(THIN, NOISE[2:4], LEVELS, name, seeds=seeds[2:4], **how).x
    torch.testing.assert_close(part, whole[2:4], rtol=1e-9, atol=1e-9)
    assert not torch.equal(whole, sample(THIN, NOISE, LEVELS, name).x)
    assert not torch.equal(sample(THIN, NOISE, LEVELS, name, **how).x, whole)
    idle = {key: 0.0 for key in how if key != "s_tmax"}
    assert torch.equal(
        sample(THIN, NOISE, LEVELS, name, **idle).x, sample(THIN, NOISE, LEVELS, name).x
    )


@pytest.mark.parametrize(("name", "how"), STOCHASTIC)
def test_noise_on_the_way_keeps_the_distribution(name: str, how: dict[str, float]) -> None:
    c, noise = 0.5, normal(4000, 1)

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        return (c**2 / (c**2 + sigma**2)).unsqueeze(-1) * x

    torch.manual_seed(0)
    found = sample(denoiser, noise, grid.karras(200, 0.01, 20.0), name, **how).x
    assert float(found.std()) == pytest.approx(math.hypot(c, 0.01), rel=0.05)


@every_sampler
def test_noise_is_refused_not_ignored(name: str) -> None:
    sampler = SAMPLERS[name]
    if sampler.memory:
        with pytest.raises(UnsupportedError, match="is made for the flow, which churn leaves"):
            sample(THIN, NOISE, LEVELS, name, s_churn=1.0)
    if sampler.splitting is None:
        with pytest.raises(UnsupportedError, match="is made for the flow, not for"):
            sample(THIN, NOISE, LEVELS, name, eta=1.0)
    refused = [name for name, sampler in SAMPLERS.items() if sampler.splitting is None]
    assert refused == ["deis3", "ipndm4", "emg_lagged"]


@every_sampler
def test_starting_from_an_image(name: str) -> None:
    image = THIN.means[[0, 1, 2, 3, 4]]
    levels = grid.karras(20, zero=True)
    near = sample(THIN, NOISE, levels, name, init=image, strength=0.25)
    assert len(near.sigmas) == 6  # a quarter of the intervals
    assert near.nfe == 4 * COSTS.get(name, 1) + 1
    assert float((near.x - image).norm(dim=-1).max()) < 0.6
    far = sample(THIN, NOISE, levels, name, init=image, strength=1.0)
    torch.testing.assert_close(far.sigmas, levels)
    start = sample(THIN, NOISE, levels, name, init=image, strength=0.5, keep="states").trajectory[0]
    torch.testing.assert_close(start, image + levels[10] * NOISE)


@every_sampler
@pytest.mark.parametrize("zero", [False, True])
def test_a_mask_keeps_what_it_must(name: str, zero: bool) -> None:
    image = THIN.means[[0, 1, 2, 3, 4]]
    mask = torch.tensor([0.0, 0.0, 1.0, 1.0])
    levels = grid.karras(12, zero=zero)
    found = sample(THIN, NOISE, levels, name, init=image, mask=mask, keep="states")
    expected = image + levels[-1] * NOISE
    torch.testing.assert_close(found.x[:, :2], expected[:, :2], rtol=1e-9, atol=1e-9)
    for state, level in zip(found.trajectory, levels, strict=True):
        known = image + level * NOISE
        torch.testing.assert_close(state[:, :2], known[:, :2], rtol=1e-9, atol=1e-9)
    assert not torch.allclose(found.x[:, 2:], expected[:, 2:])
    boolean = sample(THIN, NOISE, levels, name, init=image, mask=mask.bool()).x
    assert torch.equal(boolean, found.x)


@pytest.mark.parametrize("name", [n for n, s in SAMPLERS.items() if s.reversible])
def test_there_and_back(name: str) -> None:
    soft = Mixture(normal(3, 4, seed=2), 0.6)
    data = sample(soft, NOISE, grid.karras(200, 0.02, 20.0), "heun").x
    n = 3000 if name == "euler" else 300
    back = invert(soft, data, grid.karras(n, 0.02, 20.0).flip(0), name)
    assert float(back.sigmas[-1]) == 20.0
    torch.testing.assert_close(back.x / 20.0, NOISE, rtol=1e-2, atol=1e-2)
    assert back.nfe == n * COSTS.get(name, 1)


@pytest.mark.parametrize("name", ["heun", "dpmpp_2m", "emg"])
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_a_model_in_half_precision(name: str, half: torch.dtype) -> None:
    seen = set()

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        seen.add((x.dtype, sigma.dtype))
        return THIN(x.double(), sigma.double()).to(half)

    for state in (torch.float32, torch.float64):
        seen.clear()
        found = sample(denoiser, NOISE, LEVELS, name, dtype=state, model_dtype=half)
        assert found.x.dtype == state
        assert seen == {(half, torch.float32)}
        assert bool(found.ok.all())
    assert sample(THIN, NOISE.to(half), LEVELS, name).x.dtype == torch.float32


def test_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    sample(THIN, NOISE, LEVELS, progress=True)
    assert "10/10" in capsys.readouterr().err


def test_the_record() -> None:
    found = sample(THIN, NOISE, LEVELS, "emg", keep="states")
    text = repr(found)
    for part in ("(5, 4)", "emg", "10 steps", "sigma 80 to 0", "nfe 10", "trajectory of 11"):
        assert part in text
    again = pickle.loads(pickle.dumps(found))
    assert torch.equal(again.x, found.x)
    assert found.raise_if_failed() is found
    assert bool((found.status == int(sg.Status.SUCCESS)).all())
    assert sample(lambda x, s: x.requires_grad_() * 0.5, NOISE, LEVELS).x.requires_grad is False


@every_sampler
def test_a_denoiser_that_breaks_is_named(name: str) -> None:
    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        x0 = THIN(x, sigma).clone()
        if float(sigma[0]) < 1.0:
            x0[3, 1] = math.nan
        return x0

    found = sample(denoiser, NOISE, LEVELS, name)
    assert found.ok.tolist() == [True, True, True, False, True]
    assert int(found.status[3]) == int(sg.Status.NON_FINITE)
    assert found.message.startswith("row 3: the denoiser returned values that are not finite")
    step = int(found.message.split("in step ")[1].split(" ")[0])
    sigma = float(found.message.split("sigma = ")[1].split(",")[0])
    assert sigma < 1.0
    assert float(LEVELS[step + 1]) * 0.999 <= sigma <= float(LEVELS[step]) * 1.001
    fine = sample(THIN, NOISE, LEVELS, name).x
    torch.testing.assert_close(found.x[:3], fine[:3], rtol=1e-12, atol=1e-12)
    with pytest.raises(SolveFailed, match="row 3"):
        found.raise_if_failed()
    assert "row 3" in repr(found)


def test_a_state_that_outgrows_its_dtype_is_named() -> None:
    found = sample(lambda x, s: -1e30 * x, NOISE.float(), [1e6, 1.0, 1e-6])
    assert not bool(found.ok.any())
    assert "5 of 5 rows failed" in found.message


def test_an_interval_of_sigma_saves_calls() -> None:
    calls = []

    def weak(x: Tensor, sigma: Tensor) -> Tensor:
        calls.append(float(sigma[0]))
        return THIN(x, 2 * sigma)

    for make in (classifier_free, autoguidance):
        guided = make(THIN, weak, 2.0, (0.1, 5.0))
        calls.clear()
        found = sample(guided, NOISE, LEVELS, "dpmpp_2m").x
        inside = [s for s in LEVELS.tolist()[:-1] if 0.1 <= s <= 5.0]
        assert calls == inside

        def by_rows(x: Tensor, sigma: Tensor, guided=guided) -> Tensor:
            return guided(x, sigma)

        torch.testing.assert_close(sample(by_rows, NOISE, LEVELS, "dpmpp_2m").x, found)


def test_scale_one_is_the_strong_branch_and_zero_the_weak() -> None:
    x, sigma = normal(3, 4), torch.tensor([0.1, 1.0, 10.0], dtype=F64)

    def weak(x: Tensor, sigma: Tensor) -> Tensor:
        return 0.5 * x

    for make in (classifier_free, autoguidance):
        assert torch.equal(make(THIN, weak, 1.0)(x, sigma), THIN(x, sigma))
        assert torch.equal(make(THIN, weak, 0.0)(x, sigma), weak(x, sigma))
        expected = 0.5 * x + 3 * (THIN(x, sigma) - 0.5 * x)
        torch.testing.assert_close(make(THIN, weak, 3.0)(x, sigma), expected)
        mixed = make(THIN, weak, 3.0, (0.5, 5.0))(x, sigma)
        torch.testing.assert_close(mixed[1], expected[1])
        assert torch.equal(mixed[[0, 2]], THIN(x, sigma)[[0, 2]])
    with pytest.raises(InputError, match="low < high"):
        classifier_free(THIN, weak, 2.0, (3.0, 1.0))
    with pytest.raises(InputError, match="scale must be finite"):
        autoguidance(THIN, weak, math.inf)
