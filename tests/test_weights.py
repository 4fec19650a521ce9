"""Weights stand beside the package: where they are found, what is said if not; what a wheel has."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from commands import good, refused
from hatchling.builders.wheel import WheelBuilder
from scripts import ROOT

from stiffguide.adapters.diffusion import weights
from stiffguide.adapters.diffusion.digits import load_digits_denoiser
from stiffguide.errors import InputError


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As if the package stood in site-packages, without a clone around it."""
    monkeypatch.setattr(weights, "SOURCES", tmp_path / "lib" / "site-packages")
    monkeypatch.delenv(weights.VARIABLE, raising=False)


@pytest.mark.usefixtures("installed")
def test_an_installed_package_says_where_weights_are_to_be_had() -> None:
    with pytest.raises(InputError) as told:
        load_digits_denoiser()
    for words in ("digits.safetensors comes with no installed package", "clone", "give its path"):
        assert words in str(told.value)
    assert "STIFFGUIDE_WEIGHTS" in str(told.value)
    assert "examples/train_digits.py makes it" in str(told.value)


@pytest.mark.usefixtures("installed")
def test_a_folder_or_a_path_can_be_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copy(ROOT / "weights" / "digits_weak.safetensors", tmp_path)
    file = tmp_path / "digits_weak.safetensors"
    assert weights.find(file.name, "x.py", file) == file
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path))
    assert weights.find(file.name, "x.py") == file
    load_digits_denoiser(model="digits_weak")
    with pytest.raises(InputError, match=rf"not in {tmp_path}, the folder of STIFFGUIDE_WEIGHTS"):
        load_digits_denoiser()
    # a path counts before the folder, and is not forgiven either
    with pytest.raises(InputError, match="not at the path that was given, nowhere"):
        load_digits_denoiser(path="nowhere")


def test_a_clone_finds_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(weights.VARIABLE, raising=False)
    assert weights.find("digits.safetensors", "x.py") == ROOT / "weights" / "digits.safetensors"
    monkeypatch.setattr(weights, "SOURCES", tmp_path / "src")
    with pytest.raises(InputError, match="missing in the folder `weights` of this clone"):
        weights.find("digits.safetensors", "x.py")


def test_another_file_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    for name, make in {
        "text": lambda path: path.write_text("no weights"),
        "other": lambda path: save_file({}, path),
    }.items():
        make(tmp_path / name)
        with pytest.raises(InputError, match="holds no network of the examples"):
            load_digits_denoiser(path=tmp_path / name)


@pytest.mark.usefixtures("installed")
def test_the_command_line_says_so_in_a_sentence(tmp_path: Path) -> None:
    assert "STIFFGUIDE_WEIGHTS" in refused("sample", "--nfe", 4, "--seeds", "0", code=2)


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
def test_the_demo_leaves_out_what_it_has_no_weights_for(tmp_path: Path) -> None:
    said = good("demo", "--out", tmp_path / "out", "--rows", 5, "--quick")
    assert "No digits are sampled here: digits.safetensors comes with no installed" in said
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert "batch.png" in left
    assert "digits.png" not in left


def test_the_wheel_has_the_package_alone_and_stays_small(tmp_path: Path) -> None:
    (made,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(made) as wheel:
        names = set(wheel.namelist())
    sources = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "stiffguide").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if ".dist-info/" not in name} == sources
    assert not [name for name in names if name.endswith((".safetensors", ".npz"))]
    assert Path(made).stat().st_size < 1.25 * 2**20
