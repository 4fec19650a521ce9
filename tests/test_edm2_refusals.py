"""The EDM2 example: what it refuses, each in one sentence."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scripts import edm2, load


@pytest.fixture(scope="module")
def dry(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The files of a dry run."""
    return load("edm2.stand_ins").write(tmp_path_factory.mktemp("dry"))


class Code:
    """Runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return print, ("code ran",)


def run_with(dry: Any, tmp_path: Path, **files: object) -> list[object]:
    """A run on the CPU with the stand-ins given as if they were real."""
    given = {"net": dry.net, "inception": dry.inception, "ref": dry.ref, **files}
    words = [part for name, path in given.items() for part in (f"--{name}", path)]
    return ["tables", *words, "--device", "cpu", "--seeds", "0-11", "--out", tmp_path / "out"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"cdnnlib.util\nopen_url\n.", "clone github.com/NVlabs/edm2"),
        (b"cnosuchthing\nname\n.", "needs the module nosuchthing, which is not installed"),
        (b"\x89PNG not a pickle", "cannot be loaded as a pickle"),
        (b"", "cannot be loaded as a pickle"),
        (pickle.dumps({"net": 1}), "holds net: a network snapshot has 'ema'"),
        (pickle.dumps([1]), "holds list: a network snapshot has 'ema'"),
        (pickle.dumps({"ema": 3.0}), "no EDM network: it lacks __call__, img_channels"),
        (None, "4 channels, which are no colours"),
    ],
)
def test_a_file_that_is_no_network_is_refused(
    content: bytes | None, sentence: str, dry: Any, tmp_path: Path
) -> None:
    path = tmp_path / "net.pkl"
    latents = {"ema": load("edm2.stand_ins").Net(0)}  # without what decodes them
    path.write_bytes(pickle.dumps(latents) if content is None else content)
    assert sentence in edm2(*run_with(dry, tmp_path, net=path), code=2)


def test_statistics_cannot_run_code(dry: Any, tmp_path: Path) -> None:
    path = tmp_path / "ref.pkl"
    path.write_bytes(pickle.dumps({"fid": Code()}))
    text = edm2(*run_with(dry, tmp_path, ref=path), code=2)
    assert "print is not an array" in text
    assert "code ran" not in text


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"fd_dinov2": {"mu": np.zeros(16), "sigma": np.eye(16)}}, "for fd_dinov2, not for fid"),
        ({"fid": {"mu": np.zeros(9), "sigma": np.eye(9)}}, "has 9 features, the detector gives 24"),
        ({"fid": {"mu": np.zeros(9)}}, "are 'mu' and 'sigma'"),
        ({"fid": {"mu": np.zeros(3), "sigma": np.eye(2)}}, "sigma (2, 2)"),
        ([1], "holds list, not statistics"),
    ],
)
def test_statistics_that_do_not_fit_are_refused(
    content: object, sentence: str, dry: Any, tmp_path: Path
) -> None:
    path = tmp_path / "ref.pkl"
    path.write_bytes(pickle.dumps(content))
    assert sentence in edm2(*run_with(dry, tmp_path, ref=path), code=2)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--net", "nowhere.pkl"), "there is no file nowhere.pkl"),
        (("--net", "https://example.org/net.pkl"), "allow that with --download"),
        (("--metrics", "fd_dinov2"), "fd_dinov2 needs a detector: --dinov2 FILE"),
        (("--metrics", "kid"), "no metric is called 'kid'"),
        (("--metrics", "fid", "--inception", "nothing.pt"), "there is no file nothing.pt"),
        (("--dinov2", "hub"), "allow it by --download"),
        (("--which", "4"), "no table is called '4'"),
        (("--only", "ddim"), "is left by --only ddim"),
        (("--seeds", "0-8"), "leave it out with --metrics"),
        (("--seeds", "1", "--metrics", "fid"), "two images"),
    ],
)
def test_options_that_cannot_be_met_are_one_sentence(
    words: tuple[str, ...], sentence: str, dry: Any, tmp_path: Path
) -> None:
    assert sentence in edm2(*run_with(dry, tmp_path), *words, code=2)


def test_no_gpu_is_a_sentence(dry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = run_with(dry, tmp_path)
    words = [w for w in words if w not in ("--device", "cpu")]
    assert "no CUDA device was found" in edm2(*words, code=2)


def test_images_that_are_not_finite_give_no_number(dry: Any, tmp_path: Path) -> None:
    net = load("edm2.stand_ins").Net(1)
    net.memory[0, 0, 0, 0] = torch.nan
    path = tmp_path / "net.pkl"
    path.write_bytes(pickle.dumps({"ema": net, "encoder": load("edm2.stand_ins").Decoder()}))
    words = run_with(dry, tmp_path, net=path)
    text = edm2(*words, "--which", "samplers", "--only", "emg", code=2)
    assert "12 of 12 images are not finite, the first one of seed 0" in text
