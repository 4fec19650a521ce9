"""The small examples run, and what they claim holds."""

from __future__ import annotations

import csv
import functools
import math
import re
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cached import needs_compiler
from scripts import EXAMPLES, ROOT, call, load

from stiffguide.adapters.diffusion import sample
from stiffguide.adapters.diffusion.grid import karras
from stiffguide.guidance import ErrorDirection
from stiffguide.problems.hydrogen_air import HYDROGEN_AIR
from stiffguide.problems.hydrogen_ignition import DELAYS

SMALL = ("audio_waveforms", "field_2d", "flow_matching", "point_clouds", "video_digits")


def errors(path: Path) -> dict[str, dict[int, float]]:
    """Relative errors by sampler and budget."""
    found: dict[str, dict[int, float]] = {}
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            assert int(row["nfe"]) == int(row["budget"])  # equal evaluations, as made
            value = float(row["relative error to the flow"])
            found.setdefault(row["sampler"], {})[int(row["budget"])] = value
    return found


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of what an example leaves; each is run once."""

    @functools.cache
    def run(name: str) -> Path:
        left = tmp_path_factory.mktemp(name)
        call(load(name).main, "--fast", "--out", left)
        return left

    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_small_model_is_sampled_better_with_more_evaluations_and_by_emg(
    name: str, fast: Callable[[str], Path]
) -> None:
    if name == "video_digits":
        pytest.importorskip("sklearn")
    left = fast(name)
    found = errors(left / f"{name}.csv")
    assert len({tuple(values.values()) for values in found.values()}) == len(found)
    for grid in ("", ", mix grid"):
        emg, other = found[f"emg{grid}"], found[f"dpmpp_2m{grid}"]
        assert all(0 < emg[b] < other[b] for b in (8, 12, 16)), (emg, other)
        assert emg[8] > emg[12] > emg[16]
    assert all(found["heun + error-direction"][b] < found["heun"][b] for b in (8, 12, 16))
    page = (left / f"{name}.md").read_text(encoding="utf-8")
    assert f"{found['emg'][16]:.3g}" in page
    picture = (left / f"{name}.png").read_bytes()
    assert picture.startswith(b"\x89PNG")


@pytest.mark.slow
def test_an_example_is_deterministic_and_runs_as_a_script(
    tmp_path: Path, fast: Callable[[str], Path]
) -> None:
    script = [sys.executable, EXAMPLES / "flow_matching.py", "--fast", "--out", tmp_path]
    subprocess.run(script, check=True, capture_output=True)
    places = (fast("flow_matching"), tmp_path)
    one, two = (errors(place / "flow_matching.csv") for place in places)
    for name, values in one.items():
        assert two[name] == pytest.approx(values, rel=1e-6)


def test_digits_stay_in_the_box_and_move_evenly() -> None:
    example = load("video_digits")
    dot = torch.full((20, 8, 8), -1.0)
    dot[:, 2, 3] = 1.0
    films = example.videos(dot, torch.Generator().manual_seed(0))
    assert films.shape == (20, example.FRAMES, example.SIDE, example.SIDE)
    where = (films == 0.5).nonzero()
    assert len(where) == 20 * example.FRAMES  # the dot is seen once in every frame
    steps = where[:, 2:].reshape(20, example.FRAMES, 2).diff(dim=1).abs()
    assert 0 < steps.max() <= 2


@pytest.mark.parametrize(
    ("name", "maker", "size"),
    [
        ("audio_waveforms", "sounds", 0.39),
        ("field_2d", "fields", 0.43),
        ("flow_matching", "arms", 0.46),
        ("point_clouds", "clouds", 0.47),
    ],
)
def test_data_have_the_size_that_the_preconditioning_expects(
    name: str, maker: str, size: float
) -> None:
    data = getattr(load(name), maker)(2000, torch.Generator().manual_seed(0))
    assert float(data.std()) == pytest.approx(size, abs=0.1)
    again = getattr(load(name), maker)(2000, torch.Generator().manual_seed(0))
    assert torch.equal(data, again)


def test_fields_are_periodic() -> None:
    """Neighbours across the edge are as alike as neighbours inside."""
    fields = load("field_2d").fields(500, torch.Generator().manual_seed(0))
    inside = (fields[:, 7] * fields[:, 8]).mean()
    across = (fields[:, -1] * fields[:, 0]).mean()
    assert float(across) == pytest.approx(float(inside), rel=0.1)


def test_points_lie_evenly_on_their_surfaces() -> None:
    example = load("point_clouds")
    clouds = example.clouds(3000, torch.Generator().manual_seed(0))
    assert example.off(clouds) < 1e-6
    away = example.distances(clouds).square().mean(-1)
    assert bool((away.sort(0).values[1] > 1e-3).all())  # each on one of them
    kinds = [clouds[away.argmin(0) == i].flatten(0, 1).double() for i in range(4)]
    assert all(len(points) > 40_000 for points in kinds)
    # by integrals over the surfaces: sphere, torus, box, cylinder
    r, R, b = example.TUBE, example.RING, example.SIDES.double()
    shares = b.reciprocal() / b.reciprocal().sum()  # of the faces across each axis
    means = (
        example.BALL**2,
        R**2 + 2 * r**2,
        float((b**2 * (shares + (1 - shares) / 3)).sum()),
        example.ROUND**2 + example.HEIGHT**2 / 3,
    )
    found = [float(points.square().sum(-1).mean()) for points in kinds]
    assert found == pytest.approx(means, rel=0.01)


def test_distances_to_surfaces_are_those_to_their_nearest_points() -> None:
    example = load("point_clouds")
    random = torch.Generator().manual_seed(0)
    x = 0.8 * torch.randn(200, 3, generator=random)
    clouds = example.clouds(4000, random)
    kinds = example.distances(clouds).square().mean(-1).argmin(0)
    for i, away in enumerate(example.distances(x)):
        points = clouds[kinds == i].flatten(0, 1)
        nearest = torch.cdist(x, points).amin(1)
        assert bool((nearest > away - 1e-5).all())
        assert float((nearest - away).abs().max()) < 0.03  # they are so dense


@pytest.mark.parametrize("method", ["emg", "dpmpp_2m", "heun", "guided"])
def test_points_that_change_places_in_the_noise_do_so_in_the_samples(method: str) -> None:
    small, example = load("small_models"), load("point_clouds")
    torch.manual_seed(0)
    model = small.Denoiser(example.Points(16, 2)).double().requires_grad_(False)
    noise = torch.randn(5, example.POINTS, 3, dtype=torch.float64)
    places = torch.randperm(example.POINTS)
    levels = karras(8, 0.002, 80.0)
    rule = ErrorDirection() if method == "guided" else None
    name = "heun" if method == "guided" else method
    end, moved = (sample(model, x, levels, name, rule).x for x in (noise, noise[:, places]))
    torch.testing.assert_close(moved, end[:, places], rtol=0, atol=1e-9)
    assert float((moved - end).abs().max()) > 0.1


def test_the_preconditioned_network_has_edms_limits() -> None:
    small = load("small_models")
    model = small.Denoiser(load("audio_waveforms").Dilated(16, 1))
    x = torch.randn(3, 128, dtype=torch.float64)
    with torch.no_grad():
        low = model(x, torch.full((3,), 1e-8))
        high = model(1e6 * x, torch.full((3,), 1e6))
    torch.testing.assert_close(low, x, rtol=0, atol=1e-6)
    assert float(high.abs().max()) < 100  # c_skip is 0 there


@pytest.mark.parametrize("name", SMALL)
def test_the_page_shows_every_example(name: str) -> None:
    text = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    assert f"examples/{name}.py" in text
    picture = ROOT / "docs" / "images" / f"{name}.png"
    assert f"images/{name}.png" in text
    assert picture.stat().st_size < 100_000


# combustion ---------------------------------------------------------------------------------------


def test_the_mechanism_that_comes_along_is_that_of_the_problems() -> None:
    module = load("mechanism")
    gas = module.read(module.HYDROGEN)
    assert gas.names == list(HYDROGEN_AIR.names)
    y = torch.rand(60, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y[:, 0] = torch.linspace(500, 3000, 60)
    here, pressure = torch.zeros(60, dtype=torch.float64), 2e5
    found = gas.at_pressure(here, y, pressure)
    expected = HYDROGEN_AIR.field(pressure)(here, y)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


LITTLE = """
units: {length: cm, quantity: mol, activation-energy: kcal/mol}
phases: [{name: gas, species: [A, NO, B]}]
species:
- {name: A, composition: {N: 2}, thermo: {model: NASA7, temperature-ranges: [200, 1000, 3000],
   data: [[3, 0, 0, 0, 0, 0, 1], [4, 0, 0, 0, 0, 0, 2]]}}
- {name: NO, composition: {N: 1}, thermo: {model: NASA7, temperature-ranges: [200, 1000, 3000],
   data: [[3, 0, 0, 0, 0, 0, 1]]}}
- {name: B, composition: {N: 1}, thermo: {model: NASA7, temperature-ranges: [200, 1000, 3000],
   data: [[3, 0, 0, 0, 0, 0, 1]]}}
reactions:
- {equation: A => 2 NO, rate-constant: {A: -3e2, b: 0.5, Ea: 1.0}}
- {equation: A + M => 2 B + M, type: three-body, rate-constant: {A: 5e8, b: 0, Ea: 0},
   default-efficiency: 0.5, efficiencies: {NO: 3}}
- {equation: NO (+ M) => B (+ M), type: falloff, high-P-rate-constant: {A: 7, b: 0, Ea: 0},
   low-P-rate-constant: {A: 9e6, b: 0, Ea: 0}}
"""


def test_a_mechanism_is_read_as_it_is_meant(tmp_path: Path) -> None:
    """Irreversible reactions at 1200 K by hand: a negative A, efficiencies, Lindemann's falloff."""
    (tmp_path / "little.yaml").write_text(LITTLE, encoding="utf-8")
    module = load("mechanism")
    gas = module.read(tmp_path / "little.yaml")
    T, C = torch.tensor([1200.0], dtype=torch.float64), torch.tensor([2.0, 3.0, 5.0]).double()
    a, no, b = C.tolist()
    thermal = -3e2 * 1200**0.5 * math.exp(-4184 / (module.R * 1200)) * a
    three = 5e8 * 1e-6 * (0.5 * a + 3 * no + 0.5 * b) * a
    low, high = 9e6 * 1e-6 * (a + no + b), 7.0
    falling = low * high / (low + high) * no
    expected = [-thermal - three, 2 * thermal - falling, 2 * three + falling]
    cp, _, g = gas.thermo(T)
    assert gas.rates(T, C, g).tolist() == pytest.approx(expected, rel=1e-12)
    assert cp.tolist() == [4.0, 3.0, 3.0]
    wrong = LITTLE.replace("three-body", "Chebyshev")
    (tmp_path / "wrong.yaml").write_text(wrong, encoding="utf-8")
    with pytest.raises(ValueError, match=r"A \+ M => 2 B \+ M: only reactions of the types"):
        module.read(tmp_path / "wrong.yaml")


@pytest.mark.parametrize("at", ["pressure", "volume"])
def test_a_reactor_without_walls_that_conduct_keeps_its_energy(at: str) -> None:
    module = load("mechanism")
    gas = module.read(module.HYDROGEN)
    y = torch.rand(9, 11, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y[:, 0] = torch.linspace(800, 2500, 9)
    cp, h, _ = gas.thermo(y[:, :1])
    change = getattr(gas, f"at_{at}")(torch.zeros(9), y, 1.5e5 if at == "pressure" else 0.3)
    pv = float(at == "volume")  # u = h - p V, and its derivative cp - R
    made = (h - pv) * y[:, :1] * change[:, 1:] / gas.weights
    warmed = (cp - pv) * change[:, :1] * y[:, 1:] / gas.weights
    assert (made.sum(-1) + warmed.sum(-1)).abs().max() < 1e-12 * made.abs().sum(-1).max()
    assert change[:, 1:].sum(-1).abs().max() < 1e-12 * change[:, 1:].abs().max()


@needs_compiler
@pytest.mark.parametrize("at", ["pressure", "volume"])
def test_hydrogen_ignites_when_it_does_in_cantera(at: str, tmp_path: Path) -> None:
    said = call(load("ignition").main, "--fast", "--at", at, "--out", tmp_path)
    assert said.startswith("36 ignitions")
    with (tmp_path / "ignition.csv").open(encoding="utf-8") as file:
        rows = [[float(x) for x in row] for row in list(csv.reader(file))[1:]]
    found = {(T, phi): delay for T, phi, delay in rows}
    for phi in (0.5, 1.0, 2.0):
        by_heat = [delay for (_, ratio), delay in found.items() if ratio == phi]
        assert by_heat == sorted(by_heat, reverse=True)
        for T in (1000.0, 1400.0):
            sooner = found[T, phi] / DELAYS[T, phi]
            assert sooner == pytest.approx(1, rel=1e-4) if at == "pressure" else 0.7 < sooner < 1
    assert (tmp_path / "ignition.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_shows_ignitions() -> None:
    text = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    assert "examples/ignition.py" in text
    assert "images/ignition.png" in text
    assert (ROOT / "docs" / "images" / "ignition.png").stat().st_size < 100_000


# a fit --------------------------------------------------------------------------------------------


def test_the_page_shows_the_fit() -> None:
    text = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    assert "examples/fit_hires.py" in text
    assert "images/fit_hires.png" in text
    assert (ROOT / "docs" / "images" / "fit_hires.png").stat().st_size < 100_000


@needs_compiler
@pytest.mark.slow
@pytest.mark.usefixtures("auto")
def test_the_rates_of_hires_lie_in_their_intervals(tmp_path: Path) -> None:
    said = call(load("fit_hires").main, "--fast", "--out", tmp_path)
    assert said.startswith("Fit of 15 parameters to 640 values")
    with (tmp_path / "fit_hires.csv").open(encoding="utf-8") as file:
        rows = [tuple(map(float, row[1:])) for row in list(csv.reader(file))[1:]]
    assert sum(low < true < high for true, _, low, high in rows) >= 13  # of 95 %
    assert sum(high < 1.3 * low for _, _, low, high in rows) >= 10
    assert (tmp_path / "fit_hires.png").read_bytes().startswith(b"\x89PNG")


# a neural ODE -------------------------------------------------------------------------------------


def test_the_page_shows_the_neural_ode() -> None:
    text = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    assert "examples/stiff_neural_ode.py" in text
    assert "images/stiff_neural_ode.png" in text
    assert (ROOT / "docs" / "images" / "stiff_neural_ode.png").stat().st_size < 100_000


@needs_compiler
def test_a_network_learns_a_stiff_reaction(tmp_path: Path) -> None:
    said = call(load("stiff_neural_ode").main, "--fast", "--out", tmp_path)
    assert said.startswith("59 weights, 150 gradients")
    with (tmp_path / "stiff_neural_ode.csv").open(encoding="utf-8") as file:
        losses = [float(row[1]) for row in list(csv.reader(file))[1:]]
    assert losses[-1] < 0.02 < losses[0]
    assert (tmp_path / "stiff_neural_ode.png").read_bytes().startswith(b"\x89PNG")


# torchdiffeq's interface --------------------------------------------------------------------------

FRONT = ("odeint_cnf", "odeint_flow_matching")


@pytest.mark.parametrize("name", FRONT)
def test_the_page_shows_the_flows(name: str) -> None:
    text = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    assert f"examples/{name}.py" in text
    assert f"images/{name}.png" in text
    assert (ROOT / "docs" / "images" / f"{name}.png").stat().st_size < 100_000


@pytest.mark.parametrize("name", FRONT)
def test_flows_run_as_they_do_with_torchdiffeq_and_keep_their_mass(
    name: str, tmp_path: Path
) -> None:
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    found = re.sub(r"from stiffguide\.fronts\.torchdiffeq import", "from torchdiffeq import", text)
    assert "import stiffguide" not in found
    assert "from stiffguide" not in found
    theirs = types.ModuleType(name)
    exec(compile(found, f"{name} of torchdiffeq", "exec"), theirs.__dict__)
    tables = []
    for script in (load(name), theirs):
        said = call(script.main, "--fast", "--out", tmp_path)
        mass = re.search(r"the density integrates to ([\d.]+)", said)
        assert mass is not None
        assert float(mass[1]) == pytest.approx(1, abs=0.005)
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        with (tmp_path / f"{name}.csv").open(encoding="utf-8") as file:
            tables.append(list(csv.reader(file))[1:])
    assert len(tables[0]) > 4
    for ours, other in zip(*tables, strict=True):
        if ours[0] != "dopri5":  # whose error is as large as its last step
            assert float(ours[-1]) == pytest.approx(float(other[-1]), rel=1e-3, abs=1e-5)
