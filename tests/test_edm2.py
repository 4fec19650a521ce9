"""The EDM2 example: the pipeline against its definition, and the tables it fills."""

from __future__ import annotations

import csv
import json
import math
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from scripts import EXAMPLES, ROOT, call, edm2, load

from stiffguide import InputError
from stiffguide.adapters.diffusion.metrics import moments


@pytest.fixture(scope="module")
def dry(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The files of a dry run."""
    return load("edm2.stand_ins").write(tmp_path_factory.mktemp("dry"))


GENERATE = ("generate", "--dry-run", "--metrics", "fid,fd_dinov2")


def features(folder: Path) -> dict[str, np.ndarray]:
    """What a run has kept of its images."""
    with np.load(folder / "features.npz") as file:
        return dict(file)


def test_heun_with_a_weak_network_is_edms_sampler(dry: Any) -> None:
    """Noise, labels, grid, last step and guidance as EDM defines them, written out again."""
    networks, cpu = load("edm2.networks"), torch.device("cpu")
    strong = networks.load(dry.net, cpu)
    weak = networks.load(dry.gnet, cpu, decoder=False)
    seeds, steps, scale = [5, 2**32 + 7], 6, 1.7
    noise, labels = [], []
    for seed in seeds:
        stream = torch.Generator().manual_seed(seed % 2**32)
        noise.append(torch.randn(4, 8, 8, generator=stream))
        labels.append(torch.eye(10)[torch.randint(10, (), generator=stream)])
    label = torch.stack(labels)
    t = (
        80 ** (1 / 7) + torch.arange(steps) / (steps - 1) * (0.002 ** (1 / 7) - 80 ** (1 / 7))
    ) ** 7
    t = [*t.double().tolist(), 0.0]
    x = torch.stack(noise).double() * 80.0

    def slope(x: torch.Tensor, sigma: float) -> torch.Tensor:
        level = torch.full((2,), sigma)
        good, bad = (n.net(x, level, label).double() for n in (strong, weak))
        return (x - (bad + scale * (good - bad))) / sigma

    for a, b in pairwise(t):
        first = slope(x, a)
        ahead = x + (b - a) * first
        x = ahead if b == 0 else x + (b - a) * (first + slope(ahead, b)) / 2
    recipe = load("edm2.recipe").Recipe("heun", steps, scale=scale)
    made = load("edm2.job").Generator(strong, weak, recipe, seeds)([0, 1])
    assert made.nfe == recipe.nfe == 2 * steps - 1
    expected = strong.decode(x)
    assert expected.float().std() > 10
    assert (made.images.int() - expected.int()).abs().max() <= 1  # float32 in the network


def test_levels_keep_to_what_the_network_knows() -> None:
    networks, recipe = load("edm2.networks"), load("edm2.recipe").Recipe(steps=4)
    net = load("edm2.stand_ins").Net(0)
    net.sigma_min, net.sigma_max = 0.01, 50.0
    net.round_sigma = lambda sigma: (torch.as_tensor(sigma) * 4).ceil() / 4
    network = networks.Network("", net, networks.Pixels(), torch.device("cpu"))
    levels = network.rounded(recipe.levels(*network.span(0.002, 80.0)))
    assert levels[0] == 50.0
    assert levels[-2:].tolist() == [0.25, 0.0]


def test_images_lie_in_folders_of_a_thousand_and_do_not_depend_on_their_batch(
    tmp_path: Path,
) -> None:
    pictures = load("edm2.pictures")
    words = (*GENERATE, "--steps", "5", "--seeds", "7,998-1001")
    edm2(*words, "--batch", "5", "--out", tmp_path / "a")
    edm2(*words, "--batch", "2", "--out", tmp_path / "b")
    names = [
        [p.relative_to(tmp_path / place / "images") for p in pictures.listed(tmp_path / place)]
        for place in "ab"
    ]
    assert names[0] == names[1]
    assert [str(name) for name in names[0]][:2] == ["000000/000007.png", "000000/000998.png"]
    assert str(names[0][-1]) == "001000/001001.png"
    one, two = (pictures.read(pictures.listed(tmp_path / place)).int() for place in "ab")
    assert (one - two).abs().max() <= 1
    assert (one[0] - one[1]).abs().max() > 20  # seeds are different images


def test_classes_are_dealt_out_in_turn(dry: Any) -> None:
    networks = load("edm2.networks")
    net = networks.load(dry.net, torch.device("cpu"))
    drawn = networks.draw(net, [3, 4, 5], None)
    fixed = networks.draw(net, [3, 4, 5], [9, 0, 9])
    assert torch.equal(drawn.noise, fixed.noise)
    assert fixed.labels.argmax(1).tolist() == [9, 0, 9]
    with pytest.raises(InputError, match="classes 0 to 9"):
        networks.draw(net, [3], [10])


def test_a_stopped_run_goes_on_and_other_settings_are_refused(tmp_path: Path) -> None:
    words = (*GENERATE, "--seeds", "0-9", "--batch", "4", "--steps", "4", "--out", tmp_path)
    edm2(*words)
    whole = features(tmp_path)
    kept, lost, _ = sorted((tmp_path / "chunks").glob("*.npz"))
    before = kept.stat().st_mtime_ns
    lost.unlink()
    edm2(*words)
    assert kept.stat().st_mtime_ns == before
    assert all(np.array_equal(whole[name], part) for name, part in features(tmp_path).items())
    assert "other settings" in edm2(*words, "--grid", "mix", code=2)


def test_metrics_of_the_written_images_are_those_of_the_run(tmp_path: Path) -> None:
    words = ("--seeds", "0-11", "--batch", "4", "--steps", "6")
    edm2("generate", "--dry-run", *words, "--out", tmp_path / "a")
    edm2("metrics", "--dry-run", "--images", tmp_path / "a" / "images", "--out", tmp_path / "b")
    one, two = (json.loads((tmp_path / place / "metrics.json").read_text()) for place in "ab")
    assert set(one) == {"fid", "fd_dinov2", "is"}
    assert two == pytest.approx(one, rel=1e-6)


def test_the_frechet_distance_is_the_published_formula(tmp_path: Path) -> None:
    statistics = load("edm2.statistics")
    random = torch.Generator().manual_seed(0)
    real, made = (torch.randn(300, 6, generator=random) @ torch.randn(6, 6) for _ in range(2))
    statistics.save({"fid": real, "is": real}, tmp_path / "ref.pkl")
    reference = statistics.load(str(tmp_path / "ref.pkl"))
    assert set(reference) == {"fid"}
    mu, sigma = (
        (f.double().mean(0).numpy() for f in (real, made)),
        (np.cov(f.double().numpy().T) for f in (real, made)),
    )
    (m1, m2), (s1, s2) = mu, sigma
    root = scipy.linalg.sqrtm(s1 @ s2)
    expected = np.square(m1 - m2).sum() + np.trace(s1 + s2 - 2 * root).real
    found = statistics.measure({"fid": made}, reference)["fid"]
    assert found == pytest.approx(expected, rel=1e-8)
    np.savez(tmp_path / "ref.npz", mu=m1, sigma=s1)
    other = statistics.load(str(tmp_path / "ref.npz"))
    assert statistics.measure({"fid": made}, other)["fid"] == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("count", [2, 7, 8, 9, 17])
def test_moments_in_blocks_are_those_of_all(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    statistics = load("edm2.statistics")
    monkeypatch.setattr(statistics, "BLOCK", 4)
    features = torch.randn(count, 3, dtype=torch.float64)
    found, expected = statistics.summed(features), moments(features)
    assert found.samples == count
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(found.covariance, expected.covariance)


def test_the_inception_score_of_certain_and_of_clueless_classes() -> None:
    statistics = load("edm2.statistics")
    certain = torch.eye(5).repeat(20, 1)
    assert statistics.inception_score(certain) == pytest.approx(5)
    assert statistics.inception_score(torch.full((100, 5), 0.2)) == pytest.approx(1)
    p = torch.rand(200, 5).softmax(1).double()
    parts = [math.exp((q * (q.log() - q.mean(0).log())).sum(1).mean()) for q in p.tensor_split(10)]
    assert statistics.inception_score(p) == pytest.approx(np.mean(parts))


def test_few_images_are_told() -> None:
    warning = load("edm2.statistics").warning
    assert "rank 99 " in warning(100, {"fid": 2048, "is": 10_000})
    assert "fewer" in warning(5000, {"fid": 2048})
    assert warning(50_000, {"fid": 2048}) == ""


FEW = ("tables", "--dry-run", "--which", "guided,samplers", "--only")


def lines(folder: Path) -> list[dict[str, str]]:
    """The lines of a table."""
    with (folder / "tables.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_one_process_and_two_give_the_same_table(tmp_path: Path) -> None:
    words = (*FEW, "emg", "--seeds", "0-9", "--batch", "3", "--out")
    edm2(*words, tmp_path / "one")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    script = [*launch, EXAMPLES / "edm2_imagenet.py", *words, tmp_path / "two"]
    subprocess.run(script, check=True, capture_output=True, timeout=300)
    one, two = (
        {p.name: p.read_text() for p in (tmp_path / d / "results").iterdir()}
        for d in ("one", "two")
    )
    assert len(one) == 11
    assert one == two  # to the last bit
    assert lines(tmp_path / "one") == lines(tmp_path / "two")


@pytest.mark.slow
def test_tables_are_measured_once_and_written_as_asked(tmp_path: Path) -> None:
    words = (*FEW, "deis3,emg", "--seeds", "0-11", "--batch", "6", "--out", tmp_path)
    text = edm2(*words)
    found = lines(tmp_path)
    assert "random stand-ins" in text
    assert {row["model guidance"] for row in found} == {"none", "cfg", "auto"}
    assert [row["NFE"] for row in found if row["sampler"] == "deis3"] == [
        "6",
        "6",
        "8",
        "8",
        "10",
        "10",
    ]
    first = found[8]
    assert (first["sampler"], first["published FID / FD-DINOv2"]) == ("deis3", "12.6 / -")
    assert all(float(row["FID"]) >= 0 for row in found)
    assert len({row["FD-DINOv2"] for row in found}) > 6
    assert list((tmp_path / "chunks").iterdir()) == []  # features are not kept
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "results").iterdir()}
    edm2(*words)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert "other settings" in edm2(*words, "--guidance", "3", code=2)


@pytest.mark.slow
def test_better_resolved_samples_are_nearer_to_the_stand_ins_statistics(tmp_path: Path) -> None:
    words = ("tables", "--dry-run", "--which", "samplers", "--only", "heun", "--metrics", "fid")
    edm2(*words, "--seeds", "0-63", "--batch", "32", "--out", tmp_path)
    plain = [float(r["FID"]) for r in lines(tmp_path) if not r["solver guidance"]]
    guided = [float(r["FID"]) for r in lines(tmp_path) if r["solver guidance"] == "error-direction"]
    assert plain[0] > plain[1] > plain[2]
    assert all(g < p for g, p in zip(guided, plain, strict=True))


def test_every_cell_has_a_name_of_its_own_and_the_paper_is_covered() -> None:
    paper = load("edm2.paper")
    cells = paper.cells("steps,guided,samplers", {"none", "cfg", "auto"})
    assert len({cell.name for cell in cells}) == len(cells)
    told = {cell.published for cell in cells} - {""}
    assert told == set(paper.PUBLISHED.values()) | set(paper.PUBLISHED_64.values())
    pairs: dict[Any, dict[str, float]] = {}
    for cell in cells:
        if cell.published:
            number = float(cell.published.split()[0 if cell.guidance == "none" else 2])
            key = (cell.guidance, cell.recipe.method, cell.recipe.nfe)
            pairs.setdefault(key, {})[cell.recipe.rule] = number
    assert len(pairs) == 8
    assert all(pair["erk-guid"] < pair["none"] for pair in pairs.values())
    heun = [c.recipe for c in cells if c.table == "steps" and c.recipe.method == "heun"]
    assert {(r.steps, r.nfe) for r in heun} == {(8, 15), (16, 31), (32, 63)}
    assert not [c for c in paper.cells("guided", {"none", "auto"}) if c.guidance == "cfg"]


def test_the_guide_names_commands_and_options_that_exist() -> None:
    text = (ROOT / "docs" / "edm2.md").read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(r"edm2_imagenet\.py ([a-z]+)([^\n`]*)", text)
    assert {command for command, _ in found} == {"generate", "metrics", "tables"}
    for command, rest in found:
        known = edm2_help(command)
        for option in re.findall(r"--[a-z0-9-]+", rest):
            assert option in known, f"{command} {option}"


def edm2_help(command: str) -> str:
    """The help of a command."""
    return call(load("edm2_imagenet").app, command, "--help")
