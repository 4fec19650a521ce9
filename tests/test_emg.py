"""EMG against its formulas written out line by line, its claims, and its edges."""

from __future__ import annotations

import math
import time
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from flows import F64, THIN, normal
from torch import Tensor

from stiffguide.adapters.diffusion import Emg, classifier_free, grid, problems, sample
from stiffguide.adapters.diffusion.emg_lagged import integrals as lagged_integrals
from stiffguide.adapters.diffusion.emg_lagged import panel_for
from stiffguide.adapters.diffusion.emg_weights import BLOCK, dots, dots_on_host
from stiffguide.adapters.diffusion.sampler import Interval

every_kind = pytest.mark.parametrize("kind", [Emg(2), Emg(3), Emg(3, lagged=True)], ids=repr)


def g(sigma: float, c: Tensor) -> Tensor:
    return (1 + sigma * sigma / c) ** -0.5


def integrals(a: float, b: float, c: Tensor) -> tuple[float, Tensor, Tensor]:
    zeroth = 1 - b / a
    first = torch.sqrt(1 + b * b / c) - (b / a) * torch.sqrt(1 + a * a / c)
    end = torch.full_like(c, math.pi / 2) if b == 0 else torch.atan(c.sqrt() / b)
    return zeroth, first, zeroth - b / c.sqrt() * (end - torch.atan(c.sqrt() / a))


def dot(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum(-1)


def estimate(d: Tensor, dp: Tensor, dq: Tensor | None, x: Tensor, levels) -> Tensor:
    a, p, q = levels
    n1, m1 = dot(d - dp, d - dp), dot(d - dp, x - d)
    t = n1 / m1
    r = (t * a * a + torch.sqrt(t * t * a**4 + 4 * p * p * a * a * (1 + t))) / (2 * p * p)
    c1 = t * a * a / (1 - r)
    unusable = (m1 <= 0) | (r >= 1) | ~torch.isfinite(c1)
    c1 = torch.where(unusable, torch.tensor(1e4 * p * p, dtype=F64), c1)
    c1 = c1.clamp(1e-4 * a * a, 1e4 * p * p)
    if dq is None:
        return c1
    ratio = torch.sqrt(n1) / torch.sqrt(dot(dp - dq, dp - dq).clamp(min=1e-300))
    low = torch.full_like(ratio, math.log(1e-4 * a * a))
    high = torch.full_like(ratio, math.log(1e4 * q * q))
    for _ in range(14):
        middle = (low + high) / 2
        c = middle.exp()
        left = g(a, c) ** 2 * g(p, c) ** 2 * (p * p - a * a) / (c * (g(a, c) + g(p, c)))
        right = g(p, c) ** 2 * g(q, c) ** 2 * (q * q - p * p) / (c * (g(p, c) + g(q, c)))
        above = left / right > ratio
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return c1 ** (2 / 3) * ((low + high) / 2).exp() ** (1 / 3)


def again(levels: list[float], ds: list[Tensor], x: Tensor, c: Tensor) -> Tensor:
    """The end of q -> p from x at q, by the polynomial in g through D at a, p, q and r."""
    p, q = levels[1:3]
    at, by = np.polynomial.legendre.leggauss(40)
    sigma = q * (p / q) ** torch.from_numpy((at + 1) / 2)
    by = torch.from_numpy(by / 2) * math.log(q / p) * p / sigma  # p ds
    nodes = torch.stack([g(s, c) for s in levels], -1)
    first, unit = nodes[:, :1], nodes[:, :1] - nodes[:, 1:2]  # so that no power is tiny
    nodes, values = (nodes - first) / unit, (g(sigma, c[:, None]) - first) / unit
    powers = torch.arange(len(levels))
    # weights by which every polynomial in g of the degree is integrated
    sums = (by[None, :, None] * values[..., None] ** powers).sum(1)
    weights = torch.linalg.solve((nodes[..., None] ** powers).mT, sums)
    moved = [w[:, None] * d for w, d in zip(weights.unbind(-1), ds, strict=True)]
    return p / q * x + torch.stack(moved).sum(0)


def written_out(
    denoiser, x: Tensor, sigmas: list[float], points: int, lagged: bool = False
) -> Tensor:
    """EMG as a loop over formulas, with nothing shared and nothing clever."""
    ds, xs, c = [], [], None
    for n, (a, b) in enumerate(pairwise(sigmas)):
        d = denoiser(x, torch.full((len(x),), a, dtype=F64))
        if n == 0:
            ds, xs = [d], [x]
            x = b / a * x + (1 - b / a) * d
            continue
        p, dp, xp = sigmas[n - 1], ds[-1], xs[-1]
        q, dq = (sigmas[n - 2], ds[-2]) if n >= 2 else (0.0, None)
        w = torch.zeros(len(x), dtype=F64)
        if points == 3 and n >= 3:
            r, dr = sigmas[n - 3], ds[-3]
            ga, gp, gq, gr = (g(s, c) for s in (a, p, q, r))
            s1 = (dp - dq) / (gp - gq)[:, None]
            dd = (s1 - (dq - dr) / (gq - gr)[:, None]) / (gp - gr)[:, None]
            e = ((ga - gp) * (ga - gq))[:, None] * dd
            miss = d - dp - (ga - gp)[:, None] * s1
            w = (dot(miss, e) / dot(e, e).clamp(min=1e-300)).clamp(0, 1)
        c = estimate(d, dp, dq, x, (a, p, q))
        if lagged and n >= 2:
            levels = [a, p, q, *sigmas[n - 3 : n - 2]]
            away = again(levels, [d, dp, dq, *ds[-3:-2]], xs[-2], c) - xp
            v = (1 - w)[:, None]
            slope = 0.5 * c / (c + p * p) / (1 + (math.log(q / p) / 2) ** 2)
            xs[-1] = xp = xp + v * away
            ds[-1] = dp = dp + slope[:, None] * v * away
        i0, i1, i2 = integrals(p, a, c)
        ga, gp = g(a, c), g(p, c)
        follow = (i1 - gp * i0) / (ga - gp)
        xc = a / p * xp + i0 * dp + follow[:, None] * (d - dp)
        if points == 3 and n >= 2:
            gq = g(q, c)
            bend = (i2 - (gp + ga) * i1 + gp * ga * i0) / (ga - gq)
            xc += bend[:, None] * ((d - dp) / (ga - gp)[:, None] - (dp - dq) / (gp - gq)[:, None])
            follow = follow + bend / (ga - gp)
        mu = 0.5 * c / (c + a * a) / (1 + (math.log(p / a) / 2) ** 2)
        delta = (xc - x) / (1 - follow * mu)[:, None]
        x, d = x + delta, d + mu[:, None] * delta
        i0, i1, i2 = integrals(a, b, c)
        s1 = (d - dp) / (ga - gp)[:, None]
        ahead = b / a * x + i0 * d + (i1 - ga * i0)[:, None] * s1
        if points == 3 and n >= 3 and b > 0:
            dd = (s1 - (dp - dq) / (gp - gq)[:, None]) / (ga - gq)[:, None]
            w = w / (1 + math.log(a / b) ** 4)
            ahead = ahead + (w * (i2 - (ga + gp) * i1 + ga * gp * i0))[:, None] * dd
        xs.append(x)
        ds.append(d)
        x = ahead
    return x


@every_kind
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("make", [grid.karras, grid.mix, grid.exponential])
@pytest.mark.parametrize("n", [2, 3, 5, 16])
def test_it_is_its_formulas(n: int, make, zero: bool, kind: Emg) -> None:
    noise, levels = normal(9, 4, seed=n), make(n, zero=zero)
    expected = written_out(THIN, 80 * noise, levels.tolist(), kind.points, kind.lagged)
    found = sample(THIN, noise, levels, kind).x
    # the integral of g^2, written out, loses up to eight digits to cancellation where C is large
    tolerance = 1e-10 if kind.points == 2 else 1e-6
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("levels", [(0.5, 0.6, 0.8, 1.3), (0.002, 0.01, 0.4, 30.0), (1, 8, 64)])
@pytest.mark.parametrize("c", [1e-4, 1.0, 1e4])
def test_the_integrals_of_the_lagged_correction_keep_their_digits(levels, c: float) -> None:
    a, p, q = levels[:3]
    c = c * (p * p if c > 1 else a * a if c < 1 else 1)
    found, differences = lagged_integrals(np, panel_for(levels, None), len(levels), np.array([c]))
    at, by = np.polynomial.legendre.leggauss(200)
    sigma = q * (p / q) ** ((at + 1) / 2)
    inverse = [1 / np.sqrt(c + np.square(s)) for s in (sigma, q, p, a)]  # sqrt(C) left out
    for k, value in enumerate(found, 1):
        product = math.prod(inverse[0] - node for node in inverse[1 : k + 1])
        exact = (by / 2 * math.log(q / p) * p / sigma) @ product
        assert float(value[0]) == pytest.approx(float(exact), rel=1e-6)
    pairs = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)][: len(differences)]
    for (i, j), value in zip(pairs, differences, strict=True):
        exact = (c + levels[i] ** 2) ** -0.5 - (c + levels[j] ** 2) ** -0.5
        assert float(value[0]) == pytest.approx(exact, rel=1e-9)


def test_eight_steps_and_fewer_use_two_points() -> None:
    noise = normal(4, 4)
    for n, points in ((8, 2), (9, 3)):
        levels = grid.karras(n)
        torch.testing.assert_close(
            sample(THIN, noise, levels, "emg").x,
            sample(THIN, noise, levels, Emg(points)).x,
            rtol=0,
            atol=0,
        )
    few, more = (sample(THIN, noise, grid.karras(n), "emg").x for n in (8, 9))
    assert torch.equal(sample(THIN, noise, grid.karras(8), "emg_lagged").x, few)
    assert not torch.equal(sample(THIN, noise, grid.karras(9), "emg_lagged").x, more)


@pytest.mark.parametrize("name", ["aniso2d", "lr64"])
@pytest.mark.parametrize("n", [8, 12, 16, 24])
def test_it_beats_the_unguided_samplers_on_one_grid(name: str, n: int) -> None:
    problem = problems.get(name)
    denoiser, noise = problem.folded(problem.noise(1)[:64])
    exact = problems.reference_end(denoiser, noise)

    def error(method: str, levels: Tensor) -> float:
        found = sample(denoiser, noise, levels, method).x
        return float(torch.linalg.vector_norm(found - exact, dim=-1).median())

    best = min(error(m, grid.karras(n)) for m in ("dpmpp_2m", "unipc2"))
    assert error("emg", grid.karras(n)) < 0.9 * best
    assert error("emg", grid.mix(n)) < 0.5 * best


def test_it_works_with_classifier_free_guidance() -> None:
    problem = problems.get("lr64")
    part = problem.mixture.subset(range(5))
    denoiser = classifier_free(part, problem.mixture, 2.0)
    noise = problem.noise(2)[:32]
    exact = problems.reference_end(denoiser, noise)
    errors = {
        m: float((sample(denoiser, noise, grid.mix(16), m).x - exact).norm(dim=-1).median())
        for m in ("emg", "unipc2", "dpmpp_2m")
    }
    assert errors["emg"] < 1.1 * min(errors.values())


@pytest.mark.parametrize(
    "denoiser",
    [
        lambda x, sigma: torch.zeros_like(x),  # no rise at all: 0/0 everywhere
        lambda x, sigma: x,  # no noise left: m1 = 0
        lambda x, sigma: 2 * x,  # m1 < 0
        lambda x, sigma: torch.full_like(x, 1e-200),  # squares underflow
        lambda x, sigma: x * sigma.unsqueeze(-1),
        lambda x, sigma: torch.sin(50 * x),
    ],
)
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_edges_stay_finite(denoiser, zero: bool, dtype: torch.dtype) -> None:
    noise = normal(3, 4).to(dtype)
    for n, lagged in product((1, 2, 3, 4, 12), (False, True)):
        levels = grid.karras(n, 0.01, 2.0, zero=zero)
        found = sample(denoiser, noise, levels, Emg(3, lagged=lagged))
        assert bool(found.ok.all()), (n, found.message)


@pytest.mark.parametrize("size", [1, 5, BLOCK - 1, BLOCK, BLOCK + 1, 40 * BLOCK + 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inner_products_are_as_exact_as_the_numbers(size: int, dtype: torch.dtype) -> None:
    x, y = (0.1 + 0.01 * normal(3, size, seed=i).to(dtype) for i in (1, 2))
    x[2] = 0.1  # rounding errors that are all of one sign
    pairs = [(x, x), (x, y), (y, y)]
    expected = torch.stack([dot(u.double(), v.double()) for u, v in pairs])
    found = torch.stack([torch.from_numpy(row) for row in dots_on_host(pairs)])
    # how many partial sums a processor keeps decides how many roundings a block of numbers has
    rtol = 64 * torch.finfo(dtype).eps
    for sums in (found, dots(pairs)):
        assert sums.dtype == F64
        torch.testing.assert_close(sums, expected, rtol=rtol, atol=0)
    alone = dots_on_host([(x[1:2], y[1:2])])[0]
    assert float(alone[0]) == float(found[1, 1])


def steps(x: Tensor, levels: list[float], sampler: Emg, seen: list[Tensor]) -> Tensor:
    """A run by the sampler's own verbs; `seen` gets all tensors that others hold."""
    state = sampler.init(x, levels)

    def denoise(x: Tensor, sigma: float) -> Tensor:
        d = THIN(x, torch.full((len(x),), sigma, dtype=x.dtype))
        seen.extend((x, d))
        return d

    for i in range(len(levels) - 1):
        past = tuple(levels[max(0, i - 4) : i][::-1])
        interval = Interval(levels[i], levels[i + 1], past, len(levels) - 1 - i)
        x, start, denoised, state = sampler.step(denoise, interval, x, state)
        held = (start, denoised, state.x, state.d, state.rise, *(state.before or ()))
        seen.extend(y for y in held if y is not None)
    return x


@every_kind
def test_autograd_follows_the_numbers_of_a_run_that_it_does_not_follow(kind: Emg) -> None:
    levels = grid.karras(7, 0.5, 3.0).tolist()
    x = 3 * normal(2, 4, seed=7)
    leaf = x.clone().requires_grad_()
    found = steps(leaf, levels, kind, [])
    torch.testing.assert_close(found.detach(), steps(x, levels, kind, []), rtol=1e-9, atol=1e-9)
    along = normal(2, 4, seed=8)
    (slope,) = torch.autograd.grad((found * along).sum(), leaf)
    way = 1e-6 * normal(2, 4, seed=9)
    there, back = (steps(x + sign * way, levels, kind, []) for sign in (1, -1))
    change = float(((there - back) * along).sum()) / 2
    assert float((slope * way).sum()) == pytest.approx(change, rel=1e-5)


@every_kind
def test_vmap_goes_through_a_run_without_a_warning(kind: Emg) -> None:
    levels, x = grid.karras(7, 0.5, 3.0).tolist(), 3 * normal(6, 4, seed=7)
    mapped = torch.func.vmap(lambda x: steps(x, levels, kind, []))(x.reshape(3, 2, 4))
    expected = steps(x, levels, kind, [])
    torch.testing.assert_close(mapped.reshape(6, 4), expected, rtol=1e-9, atol=1e-9)


@every_kind
def test_nothing_that_others_hold_is_written_over(kind: Emg) -> None:
    class Copied(list[Tensor]):
        def extend(self, tensors) -> None:
            super().extend((y, y.clone()) for y in tensors)  # type: ignore[misc]

    x, seen = 5 * normal(2, 4, seed=7), Copied()
    steps(x, grid.karras(7, 0.1, 5.0, zero=True).tolist(), kind, seen)
    assert len(seen) > 40
    assert all(torch.equal(now, then) for now, then in seen)
    assert torch.equal(x, 5 * normal(2, 4, seed=7))


def test_its_overhead_is_small() -> None:
    noise, levels = normal(32, 64).float(), grid.karras(32)

    def seconds(method: str) -> float:
        best = math.inf
        for _ in range(12):
            start = time.thread_time()
            sample(lambda x, sigma: x * 0.5, noise, levels, method)
            best = min(best, time.thread_time() - start)
        return best / 32

    # 0.4 ms here; the bound leaves room for busy machines
    assert seconds("emg") - seconds("unipc2") < 1e-3
