"""What the benchmarks of roughness and of alignment measure is what they say."""

from __future__ import annotations

import math
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from flows import F64, normal

from stiffguide.adapters.diffusion import grid, problems, sample
from stiffguide.adapters.diffusion.exponential import data_weights, midpoint_weights
from stiffguide.adapters.diffusion.rough_denoiser import RoughDenoiser

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks"

if not FOLDER.exists():
    pytest.skip("the benchmarks are not in this copy", allow_module_level=True)
sys.path.insert(0, str(FOLDER))
try:
    alignment, roughness = map(import_module, ("alignment", "roughness"))
finally:
    sys.path.remove(str(FOLDER))

NODES = (0.5, 0.8, 1.5, 2.0, 4.0)


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("points", [2, 3, 5])
def test_a_fit_takes_a_polynomial_as_it_is_and_averages_the_rest(degree, points) -> None:
    nodes = NODES[:points]
    weights = roughness.fitted_weights(degree, nodes, 0.5, 0.3)
    own = midpoint_weights if min(degree, points - 1) == 1 else data_weights
    few = nodes[: degree + 1]
    for power in range(min(degree, points - 1) + 1):
        values = [math.log(s) ** power for s in nodes]
        expected = np.dot(own(few, 0.5, 0.3), values[: len(few)])
        assert np.dot(weights, values) == pytest.approx(expected)
    if points > degree + 1:  # what an exact fit would carry on is partly left out
        assert np.linalg.norm(weights) < np.linalg.norm(own(few, 0.5, 0.3))


def test_what_is_rough_is_known_at_levels_and_linear_between_them() -> None:
    mixture = problems.get("aniso2d").mixture
    rough = RoughDenoiser(mixture, 0.1, shared=True)
    levels = grid.karras(12)
    known = roughness.AtLevels(rough, levels)
    x = normal(3, 2, seed=1)
    for level in (levels[3], levels[-1]):
        sigma = level.repeat(3)
        torch.testing.assert_close(known(x, sigma), rough(x, sigma))
    ends = [known.field(x, level.repeat(3))[1] for level in levels[5:7]]
    middle = known.field(x, (levels[5] * levels[6]).sqrt().repeat(3))[1]
    torch.testing.assert_close(middle, (ends[0] + ends[1]) / 2)


def test_the_floor_falls_to_nothing_where_the_levels_tell_all() -> None:
    (case,) = roughness.cases(("aniso2d",), 0.1, (1,), 4, shared=True)
    coarse = roughness.floor(case, "Karras", 16)
    assert roughness.floor(case, "Karras", 1200) < coarse / 50


def test_errors_are_those_of_moved_grids() -> None:
    (case,) = roughness.cases(("lr64",), 0.1, (1,), 6)
    found = case.errors("unipc2", "centered", 9, 2)
    for seed in range(2):
        levels = grid.moved(grid.mix(9, center=case.center), seed=seed)
        away = sample(case.denoiser, case.noise, levels, "unipc2").x - case.end
        size = away.norm(dim=-1)
        assert found[seed, 0] == pytest.approx(float(size.median()))
        assert found[seed, 1] == pytest.approx(float(size.square().mean().sqrt()))


class Linear:
    """D = A x + r sigma^2, with the eigenvalues `values` of A: a flow in closed form if r is 0."""

    def __init__(self, values: list[float]) -> None:
        self.values = torch.tensor(values, dtype=F64)
        q, _ = torch.linalg.qr(normal(len(values), len(values), seed=2))
        self.axes = q
        self.matrix = q @ torch.diag(self.values) @ q.T

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return x @ self.matrix


def case_of(denoiser: Linear, samples: int = 5):
    return alignment.Case("line", denoiser, normal(samples, len(denoiser.values), seed=3))


@pytest.mark.parametrize("values", [[-0.6, 0.2, 0.4, 0.9], [4.0, 0.1, 0.5, 0.8]])
def test_the_dominant_eigenvector_is_found_by_either_way(values, monkeypatch) -> None:
    denoiser = Linear(values)
    case, x = case_of(denoiser), normal(5, 4, seed=4)
    for dense in (128, 1):
        monkeypatch.setattr(alignment, "DENSE", dense)
        found = alignment.Dominant(case, x, 0.5)
        expected = torch.full((5,), (1 - values[0]) / 0.5, dtype=F64)
        torch.testing.assert_close(found.value, expected)
        cosines = alignment.cosine(found.vector, denoiser.axes[:, 0].expand(5, -1))
        torch.testing.assert_close(cosines, torch.ones(5, dtype=F64))
        assert float(found.rest.max()) < 1e-6
        known = found.share(denoiser.axes[:, :2].sum(-1).expand(5, -1))
        if dense > 1:
            assert found.others.tolist() == [1] * 5
            torch.testing.assert_close(known, torch.full((5,), 0.5**0.5, dtype=F64))
        else:
            assert bool(known.isnan().all())


def test_eigenvalues_that_are_near_count_as_dominant() -> None:
    denoiser = Linear([0.0, 0.05, -0.02, 0.5])
    found = alignment.Dominant(case_of(denoiser), normal(5, 4, seed=4), 2.0)
    assert found.others.tolist() == [3] * 5
    across = denoiser.axes[:, 1:].sum(-1).expand(5, -1)
    torch.testing.assert_close(found.share(across), torch.full((5,), (2 / 3) ** 0.5, dtype=F64))


@pytest.mark.parametrize("values", [[-1.5], [-1.5, 0.3, 0.7]])
def test_the_error_of_a_step_along_eigenvectors(values) -> None:
    """Along each direction Heun multiplies by R, Euler by R_low, the flow by (b/a)^(1 - d)."""
    a, b = 2.0, 1.2
    denoiser = Linear(values)
    case = case_of(denoiser)
    x = normal(5, len(values), seed=4)
    path = [x / 1.5, x, alignment.flow(case, x, a, b)]
    parts, d = x @ denoiser.axes, denoiser.values
    exact = (b / a) ** (1 - d)
    torch.testing.assert_close(path[2] @ denoiser.axes, parts * exact, rtol=1e-7, atol=1e-9)
    found = alignment.step(case, path, [3.0, a, b], 1)
    slope = (1 - d) / a
    euler = 1 + (b - a) * slope
    heun = 1 + (b - a) / 2 * (slope + (1 - d) / b * euler)
    error, pair = parts * (heun - exact), parts * (heun - euler)
    first = torch.eye(len(values), dtype=F64)[0].expand(5, -1)
    expected = {
        "error": error.norm(dim=-1),
        "v": alignment.cosine(error, first),
        "E": alignment.cosine(pair, first),
        "dF": alignment.cosine(pair * (1 - d), first),
        "e and E": alignment.cosine(error, pair),
        "share": alignment.cosine(error, first),
        "h lambda": torch.full((5,), (a - b) * float(slope[0]), dtype=F64),
    }
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-6)
    if len(values) == 1:
        assert float(found["edg"].max()) < 0.5


@pytest.mark.parametrize(("side", "count"), [(2, 10), (12, 8)])
def test_a_network_of_ones_own_is_taken_from_its_file(side: int, count: int, tmp_path) -> None:
    (tmp_path / "net.py").write_text(
        f"shape = (1, {side}, {side})\n"
        "def denoiser(x, sigma):\n"
        "    assert x.dim() == 4 and x.shape[1:] == shape\n"
        "    return x / (1 + sigma.reshape(-1, 1, 1, 1) ** 2)\n"
    )
    case = alignment.own(str(tmp_path / "net.py"), 10)
    assert (case.name, case.noise.shape) == ("net", (count, side * side))
    torch.testing.assert_close(case.at(case.noise, 2.0), case.noise / 5, rtol=1e-6, atol=1e-6)
    found = alignment.Dominant(case, case.noise, 2.0)
    torch.testing.assert_close(found.value, torch.full((count,), 0.4, dtype=F64), rtol=1e-5, atol=0)


@pytest.mark.parametrize("size", [2, 5, 64])
def test_a_random_direction(size: int) -> None:
    angles = alignment.cosine(normal(20000, size, seed=1), normal(20000, size, seed=2))
    assert alignment.random_cosine(size) == pytest.approx(float(angles.median()), rel=0.03)


def test_bins_hold_every_step_once() -> None:
    rows = {
        "v": np.linspace(0, 1, 50),
        "edg": np.linspace(0.5, 1.5, 50),
        "erk": np.array([np.nan, *np.linspace(0.5, 1.5, 49)]),
    }
    text = alignment.gains({"a": rows, "b": rows}, "v", (0, 0.3, 1.01))
    lines = [line.split(" | ") for line in text.splitlines()[2:]]
    assert [line[0] for line in lines] == ["| 0 to 0.3", "| 0.3 to 1"]
    assert sum(float(line[1].removesuffix(" %")) for line in lines) == pytest.approx(100)
    assert lines[0][3] == "100 %"
    assert alignment.ranked(rows["v"], -rows["edg"]) == pytest.approx(-1)


@pytest.mark.slow
@pytest.mark.parametrize("module", [alignment, roughness], ids=["alignment", "roughness"])
def test_a_quick_run_writes_its_page(module, tmp_path, monkeypatch, capsys) -> None:
    pytest.importorskip("matplotlib")
    name = module.__name__
    threads = torch.get_num_threads()
    out = tmp_path / f"{name}.md"
    samples = ["--samples", "8"] if module is alignment else []
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--quick", "--out", str(out), *samples])
    try:
        module.main()
    finally:
        torch.set_num_threads(threads)
    text = out.read_text(encoding="utf-8")
    assert text.strip() in capsys.readouterr().out
    for picture in (line for line in text.splitlines() if line.startswith("![")):
        assert (tmp_path / picture.split("(")[1].rstrip(")")).exists()
    page = "alignment" if module is alignment else "roughness_benchmark"
    there = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    heads = [line for line in text.splitlines() if line.startswith("#")]
    assert [line for line in there.splitlines() if line.startswith("#")] == heads
    assert f"benchmarks/{name}.py" in there
