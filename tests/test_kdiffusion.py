"""k-diffusion's convention: the functions take the place of k-diffusion's own.

Where a method exists on both sides the two agree to rounding, on every wrapper of k-diffusion.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from flows import F64, SMOOTH, THIN, normal
from test_sampler_oracles import k_sampling

from stiffguide.adapters import diffusion
from stiffguide.adapters.diffusion import grid, invert
from stiffguide.adapters.kdiffusion import (
    NOISY_SAMPLERS,
    SAMPLERS,
    sample_stiffguide_deis3,
    sample_stiffguide_dpm2,
    sample_stiffguide_emg,
    sample_stiffguide_euler,
    sample_stiffguide_heun,
)
from stiffguide.errors import InputError, SolveFailed, UnsupportedError
from stiffguide.guidance import Cap, ErkGuid, ErrorDirection

NOISE = normal(6, 4, seed=8)
# without a twin in `diffusion.SAMPLERS`, and with tests elsewhere
APART = {"stiffguide_adaptive", "stiffguide_euler_cfg_pp", "stiffguide_dpmpp_2m_cfg_pp"}
APART |= set(NOISY_SAMPLERS)
PLAIN = {name: run for name, run in SAMPLERS.items() if name not in APART}
ALL = pytest.mark.parametrize("name", PLAIN)
REVERSIBLE = [name for name in PLAIN if "emg" not in name]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def plain(name: str):
    """The function without guidance, quiet."""
    bare = {"guidance": None} if name == "stiffguide_heun" else {}

    def run(model, x, sigmas, **options):
        return SAMPLERS[name](model, x, sigmas, **{"disable": True, **bare, **options})

    return run


# --- against the package itself


@ALL
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("steps", [1, 6, 11])
def test_it_is_the_sampler_of_the_package(name: str, zero: bool, steps: int) -> None:
    levels = grid.karras(steps, zero=zero)
    expected = diffusion.sample(THIN, NOISE, levels, name.removeprefix("stiffguide_")).x
    torch.testing.assert_close(plain(name)(THIN, 80 * NOISE, levels), expected, rtol=0, atol=0)


def test_every_sampler_of_the_package_is_there() -> None:
    names = {name.removeprefix("stiffguide_") for name in PLAIN}
    assert names | {"dpmpp_sde"} == set(diffusion.SAMPLERS)
    assert set(SAMPLERS) >= APART
    assert NOISY_SAMPLERS.items() < SAMPLERS.items()
    for name, function in SAMPLERS.items():
        assert function.__name__ == f"sample_{name}"
        assert function.__doc__
        assert getattr(importlib.import_module(function.__module__), function.__name__) is function


@pytest.mark.parametrize(
    ("function", "options", "method", "rule"),
    [
        (sample_stiffguide_heun, {}, "heun", ErrorDirection()),
        (sample_stiffguide_heun, {"order": 3}, "heun", ErrorDirection(3)),
        (
            sample_stiffguide_heun,
            {"guidance": "erk_guid", "w_stiff": 0.75, "w_con": 0.3},
            "heun",
            ErkGuid(0.75, 0.3),
        ),
        (
            sample_stiffguide_heun,
            {"guidance": Cap(ErrorDirection(), 0.5)},
            "heun",
            Cap(ErrorDirection(), 0.5),
        ),
        (sample_stiffguide_dpm2, {"guidance": "erk_guid"}, "dpm2", ErkGuid()),
        (
            sample_stiffguide_deis3,
            {"guidance": "erk_guid", "w_stiff": 0.4, "w_con": 0.1},
            "deis3",
            ErkGuid(0.4, 0.1),
        ),
    ],
)
def test_rules(function, options, method, rule) -> None:
    levels = grid.karras(9, zero=True)
    expected = diffusion.sample(THIN, NOISE, levels, method, rule).x
    found = function(THIN, 80 * NOISE, levels, disable=True, **options)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert not torch.equal(found, diffusion.sample(THIN, NOISE, levels, method).x)


def test_points_of_emg() -> None:
    levels = grid.karras(6, zero=True)
    three = sample_stiffguide_emg(THIN, 80 * NOISE, levels, disable=True, points=3)
    expected = diffusion.sample(THIN, NOISE, levels, diffusion.Emg(3)).x
    torch.testing.assert_close(three, expected, rtol=0, atol=0)
    assert not torch.equal(three, sample_stiffguide_emg(THIN, 80 * NOISE, levels, disable=True))


# --- in k-diffusion's place


class Net(torch.nn.Module):
    """A small network of every kind that k-diffusion wraps."""

    def __init__(self, doubled: bool = False) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.inner = torch.nn.Linear(4, 8 if doubled else 4, dtype=F64)
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=F64) ** 2
        self.alphas_cumprod = torch.cumprod(1 - betas, 0)

    def forward(self, x, t, cond=None):
        assert x.dtype == F64
        assert t.shape == (len(x),)
        assert cond is None
        return torch.tanh(self.inner(x)) * torch.cos(t / 900).unsqueeze(-1)

    apply_model = forward


def wrapped() -> dict:
    k_sampling()
    external = importlib.import_module("k_diffusion.external")
    net = Net()
    schedule = SimpleNamespace(alphas_cumprod=net.alphas_cumprod.numpy())

    def double(module):
        return module.double()

    return {
        "bare": THIN,
        "VDenoiser": external.VDenoiser(net),
        "DiscreteEpsDDPMDenoiser": double(
            external.DiscreteEpsDDPMDenoiser(net, net.alphas_cumprod, quantize=False)
        ),
        "quantized": double(
            external.DiscreteEpsDDPMDenoiser(net, net.alphas_cumprod, quantize=True)
        ),
        "DiscreteVDDPMDenoiser": double(
            external.DiscreteVDDPMDenoiser(net, net.alphas_cumprod, quantize=False)
        ),
        "CompVisDenoiser": double(external.CompVisDenoiser(net)),
        "CompVisVDenoiser": double(external.CompVisVDenoiser(net)),
        "OpenAIDenoiser": double(external.OpenAIDenoiser(Net(doubled=True), schedule)),
    }


WRAPPERS = (
    "bare",
    "VDenoiser",
    "DiscreteEpsDDPMDenoiser",
    "quantized",
    "DiscreteVDDPMDenoiser",
    "CompVisDenoiser",
    "CompVisVDenoiser",
    "OpenAIDenoiser",
)
TWINS = {
    "sample_heun": plain("stiffguide_heun"),
    "sample_dpm_2": plain("stiffguide_dpm2"),
    "sample_euler": plain("stiffguide_euler"),
    "sample_dpmpp_2m": plain("stiffguide_dpmpp_2m"),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_same_loop_runs_theirs_and_ours(wrapper: str) -> None:
    model, theirs = wrapped()[wrapper], k_sampling()
    extra = {"cond": None} if wrapper == "CompVisVDenoiser" else {}
    sigmas = theirs.get_sigmas_karras(12, 0.03, 14.6).double()
    functions = {name: getattr(theirs, name) for name in TWINS} | PLAIN
    found, calls = {}, {}
    for name, function in functions.items():
        calls[name] = []
        x = function(
            model, 14.6 * NOISE, sigmas, extra_args=extra, callback=calls[name].append, disable=True
        )
        found[name] = x
        assert torch.isfinite(x).all(), name
        assert [step["i"] for step in calls[name]] == list(range(12)), name
    for name, ours in TWINS.items():
        steps = []
        x = ours(model, 14.6 * NOISE, sigmas, extra_args=extra, callback=steps.append)
        torch.testing.assert_close(x, found[name], rtol=1e-9, atol=1e-9)
        for mine, yours in zip(steps, calls[name], strict=True):
            assert set(mine) == set(yours)
            for key in mine:
                torch.testing.assert_close(mine[key], yours[key], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "ours"), [*TWINS.items()][:3])
@pytest.mark.parametrize(
    "how",
    [
        {"s_churn": 40.0},
        {"s_churn": 4.0, "s_tmin": 0.05, "s_noise": 1.1},
    ],
)
def test_churn_with_the_same_seed(name: str, ours, how: dict) -> None:
    levels = grid.karras(11, zero=True)
    torch.manual_seed(3)
    expected = getattr(k_sampling(), name)(THIN, 80 * NOISE, levels, disable=True, **how)
    torch.manual_seed(3)
    found = ours(THIN, 80 * NOISE, levels, **how)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(found, ours(THIN, 80 * NOISE, levels), atol=1e-3)


def test_churn_tells_the_callback_both_sigmas() -> None:
    steps = []
    levels = grid.karras(5, zero=True)
    how = {"s_churn": 2.0, "s_tmax": 50.0, "guidance": None}
    sample_stiffguide_heun(THIN, 80 * NOISE, levels, None, steps.append, True, **how)
    for step, sigma in zip(steps, levels[:-1], strict=True):
        assert step["sigma"] == sigma
        factor = 1.4 if sigma <= 50 else 1.0
        torch.testing.assert_close(step["sigma_hat"], factor * sigma, rtol=1e-12, atol=0)


def test_where_noise_comes_from() -> None:
    levels = grid.karras(5, zero=True)
    x = 80 * NOISE

    def run(**options):
        return sample_stiffguide_euler(THIN, x, levels, disable=True, s_churn=2.0, **options)

    random = torch.Generator().manual_seed(5)
    kept = [torch.randn(x.shape, generator=random, dtype=F64) for _ in range(5)]
    expected = run(generator=torch.Generator().manual_seed(5))
    pairs = []

    def given(sigma, sigma_hat):
        pairs.append((sigma.item(), sigma_hat.item()))
        return kept[len(pairs) - 1]

    assert torch.equal(run(noise_sampler=given), expected)
    assert [a for a, _ in pairs] == levels[:-1].tolist()
    assert [b / a for a, b in pairs] == pytest.approx([1.4] * 5)
    pairs.clear()
    assert torch.isfinite(run(noise_sampler=given, s_tmin=0.1, s_tmax=50.0)).all()
    assert [a for a, _ in pairs] == [s for s in levels.tolist() if 0.1 <= s <= 50]
    seeds = [7, 8, 9, 10, 11, 12]
    alone = sample_stiffguide_euler(
        THIN, x[2:3], levels, disable=True, s_churn=2.0, seeds=seeds[2:3]
    )
    torch.testing.assert_close(run(seeds=seeds)[2:3], alone, rtol=1e-12, atol=1e-12)
    with pytest.raises(InputError, match="one of noise_sampler, generator and seeds"):
        run(seeds=seeds, generator=random)
    with pytest.raises(InputError, match=r"returned \(1, 4\)"):
        run(noise_sampler=lambda a, b: kept[0][:1])


# --- the callback


@ALL
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_callback_once_per_interval(name: str, dtype: torch.dtype) -> None:
    sigmas = grid.karras(7, zero=True).to(dtype)
    x = (80 * NOISE).float().reshape(3, 2, 4)
    steps = []

    def model(x, sigma):
        return 0.1 * x * (sigma / 80).reshape(-1, 1, 1)

    plain(name)(model, x, sigmas, callback=steps.append)
    assert [step["i"] for step in steps] == list(range(7))
    assert torch.equal(steps[0]["x"], x)
    for step, sigma in zip(steps, sigmas, strict=False):
        assert set(step) == {"x", "i", "sigma", "sigma_hat", "denoised"}
        for key in ("sigma", "sigma_hat"):
            assert torch.equal(step[key], sigma)
            assert step[key].dtype == dtype
        for key in ("x", "denoised"):
            assert step[key].shape == x.shape
            assert step[key].dtype == x.dtype


@ALL
@pytest.mark.parametrize("where", ["model", "callback"])
def test_an_interruption_passes_through(name: str, where: str) -> None:
    class InterruptedError(Exception):
        pass

    calls = []

    def stop(*_):
        calls.append(0)
        if len(calls) == 3:
            raise InterruptedError
        return THIN(*_) if where == "model" else None

    model, callback = (stop, None) if where == "model" else (THIN, stop)
    with pytest.raises(InterruptedError):
        SAMPLERS[name](model, 80 * NOISE, grid.karras(6), callback=callback, disable=False)


# --- what comes in, and what goes out


@ALL
def test_the_progress_bar(name: str, capfd) -> None:
    SAMPLERS[name](THIN, 80 * NOISE, grid.karras(6), disable=True)
    assert capfd.readouterr().err == ""
    SAMPLERS[name](THIN, 80 * NOISE, grid.karras(6), disable=False)
    assert "6/6" in capfd.readouterr().err
    SAMPLERS[name](THIN, 80 * NOISE, grid.karras(6), disable=None)  # tqdm: not on a terminal
    assert capfd.readouterr().err == ""


@ALL
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_in_and_out(name: str, kind: torch.dtype) -> None:
    sigmas = grid.karras(12, 0.03, 14.6, zero=True)
    x = (14.6 * NOISE).to(kind)
    told = []

    def model(x, sigma):
        told.append((x.dtype, sigma.dtype))
        return SMOOTH(x[:, :3].float(), sigma.float()).to(x.dtype)

    steps = []
    found = SAMPLERS[name](model, x[:, :3], sigmas, callback=steps.append, disable=True)
    assert found.dtype == kind
    assert {step[key].dtype for step in steps for key in ("x", "denoised")} == {kind}
    assert set(told) == {(kind, kind)}
    exact = SAMPLERS[name](SMOOTH, x[:, :3].double(), sigmas, disable=True)
    assert (found - exact).abs().max() < (0.02 if kind == torch.float16 else 0.15)


@ALL
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_small_steps_are_not_lost_in_half_precision(name: str, kind: torch.dtype) -> None:
    """For D = 0 the state is proportional to sigma; in half precision it would drift."""
    x = NOISE.to(kind)
    sigmas = grid.exponential(300, 0.5, 1.0)
    found = plain(name)(lambda x, s: torch.zeros_like(x), x, sigmas)
    torch.testing.assert_close(found, x / 2, rtol=2 * torch.finfo(kind).eps, atol=0)


@ALL
@pytest.mark.parametrize("shape", [(6,), (6, 1), (2, 3, 1, 4), (1, 2, 3, 4, 5)])
def test_shapes(name: str, shape: tuple[int, ...]) -> None:
    x = 80 * normal(*shape, seed=3)
    before = x.clone()
    seen = set()

    def model(x, sigma, factor):
        seen.add((x.shape, sigma.shape))
        return x * factor

    x0 = plain(name)(model, x, grid.karras(4, zero=True), extra_args={"factor": 0.25})
    assert x0.shape == shape
    assert torch.equal(x, before)
    assert seen == {(torch.Size(shape), torch.Size(shape[:1]))}
    flat = plain(name)(lambda x, s: x / 4, x.reshape(shape[0], -1), grid.karras(4, zero=True))
    torch.testing.assert_close(x0.reshape(flat.shape), flat)


@ALL
def test_memory_formats_and_modes(name: str) -> None:
    x = (80 * normal(2, 3, 4, 5, seed=4)).contiguous(memory_format=torch.channels_last)
    sigmas = grid.karras(5)

    def model(x, sigma):
        assert not torch.is_grad_enabled()
        return x.sin()

    expected = plain(name)(model, x.contiguous(), sigmas)
    assert torch.equal(plain(name)(model, x, sigmas), expected)
    with torch.inference_mode():
        assert torch.equal(plain(name)(model, x, sigmas), expected)
    leaf = x.clone().requires_grad_()
    assert not plain(name)(model, leaf, sigmas).requires_grad
    assert torch.equal(plain(name)(model, x, sigmas.tolist()), expected)
    assert torch.equal(plain(name)(model, x, sigmas.numpy()), expected)


@ALL
def test_short_grids(name: str) -> None:
    def never(*_):
        raise AssertionError

    x = 80 * NOISE
    for sigmas in (torch.empty(0), torch.tensor([80.0])):
        assert torch.equal(SAMPLERS[name](never, x, sigmas, callback=never), x)
    one = plain(name)(THIN, x, torch.tensor([80.0, 0.0]))
    torch.testing.assert_close(one, THIN(x, torch.full((6,), 80.0, dtype=F64)))


@ALL
@pytest.mark.parametrize(
    ("x", "sigmas", "sentence"),
    [
        (NOISE.long(), [3.0, 1.0], "real floating-point tensor"),
        (NOISE.numpy(), [3.0, 1.0], "real floating-point tensor"),
        (NOISE[:0], [3.0, 1.0], r"shape \(0, 4\)"),
        (NOISE.sum(), [3.0, 1.0], "a batch axis"),
        (NOISE, [3.0, -1.0], "must lie at 0"),
        (NOISE, [3.0, -1.0, 0.0], "must lie at 0"),
        (NOISE, [3.0, 0.0, 1.0], "rise from 0"),
        (NOISE, [float("nan"), 1.0], "finite"),
        (NOISE, [[3.0, 1.0]], "must be"),
        (NOISE, "karras", "not numbers"),
    ],
)
def test_bad_input(name: str, x, sigmas, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        SAMPLERS[name](THIN, x, sigmas, disable=True)


@ALL
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_nested_tensors_are_refused(name: str) -> None:
    nested = torch.nested.nested_tensor([NOISE[0], NOISE[1][:2]])
    with pytest.raises(UnsupportedError, match="one by one"):
        SAMPLERS[name](THIN, nested, [3.0, 1.0], disable=True)


def test_bad_options() -> None:
    args = (THIN, 80 * NOISE, grid.karras(4))
    quiet = {"disable": True}
    with pytest.raises(InputError, match="'error_direction', 'erk_guid', None"):
        sample_stiffguide_heun(*args, guidance="edg", **quiet)
    with pytest.raises(UnsupportedError, match="use method='heun'"):
        sample_stiffguide_dpm2(*args, guidance="error_direction", **quiet)
    with pytest.raises(UnsupportedError, match="or the guidance"):
        sample_stiffguide_heun(*args, s_churn=1.0, **quiet)
    with pytest.raises(InputError, match="s_churn"):
        sample_stiffguide_euler(*args, s_churn=-1.0, **quiet)
    with pytest.raises(InputError, match="points"):
        sample_stiffguide_emg(*args, points=4, **quiet)
    with pytest.raises(InputError, match="returned int"):
        sample_stiffguide_emg(lambda x, s: 3, *args[1:], **quiet)
    with pytest.raises(InputError, match=r"returned \(1, 4\)"):
        sample_stiffguide_emg(lambda x, s: x[:1], *args[1:], **quiet)


@ALL
def test_values_that_are_not_finite_are_said(name: str) -> None:
    def model(x, sigma):
        return torch.where((sigma < 1).unsqueeze(-1) & bad, torch.nan, 0.5 * x)

    bad = torch.tensor([[False], [True]])
    with pytest.warns(RuntimeWarning, match=r"row 1: the denoiser returned"):
        x = SAMPLERS[name](model, 80 * NOISE[:2], grid.karras(6), disable=True)
    assert torch.isfinite(x[0]).all()
    bad = torch.tensor([[True], [True]])
    with pytest.raises(SolveFailed, match="2 of 2 rows"):
        SAMPLERS[name](model, 80 * NOISE[:2], grid.karras(6), disable=True)


@pytest.mark.parametrize("name", REVERSIBLE)
def test_rising_sigmas_invert(name: str) -> None:
    levels = grid.karras(8).flip(0)
    x = THIN.means[:4] + 0.002 * NOISE[:4]
    expected = invert(THIN, x, levels, name.removeprefix("stiffguide_")).x
    torch.testing.assert_close(plain(name)(THIN, x, levels), expected, rtol=0, atol=0)


def test_what_does_not_rise() -> None:
    levels = grid.karras(8).flip(0)
    with pytest.raises(UnsupportedError, match="stiffguide_heun with guidance=None"):
        sample_stiffguide_emg(THIN, NOISE, levels, disable=True)
    with pytest.raises(UnsupportedError, match="guidance=None"):
        sample_stiffguide_heun(THIN, NOISE, levels, disable=True)
    with pytest.raises(UnsupportedError, match="while sigma rises"):
        sample_stiffguide_euler(THIN, NOISE, levels, disable=True, s_churn=1.0)


@pytest.mark.slow
def test_k_diffusion_is_not_imported() -> None:
    code = (
        "import sys, stiffguide.adapters.kdiffusion\n"
        "assert not any(m.split('.')[0] == 'k_diffusion' for m in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
