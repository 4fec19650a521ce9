"""What every test runs under: one thread, examples that stay, no deadline, an empty cache."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator

import comfy_standin
import compilations
import hypothesis
import pytest
import torch

from stiffguide import forward_mode

# tests use forward mode themselves, too
forward_mode.load()
# small problems: threads would fight over the cores with the other workers
torch.set_num_threads(1)

hypothesis.settings.register_profile(
    "laws", derandomize=True, deadline=None, max_examples=25, database=None
)
hypothesis.settings.load_profile("laws")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Of a million objects that libraries leave, no collection of garbage has to look at one."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def common(tmp_path_factory):
    """A folder of all workers of a session."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session", autouse=True)
def compiled_once(common):
    """Who has the system's compiler compile a text again, with equal flags, gets what it made."""
    from stiffguide.kernels.running import compiler

    kept = common / "compiled"
    kept.mkdir(mode=0o700, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "finished", compilations.remembered(compiler.finished, kept))
        yield


@pytest.fixture(scope="session", autouse=True)
def kernels_of_the_session(common):
    """A cache of kernels of its own: tests neither use nor fill the user's.

    And a backend that does not depend on which tests went before: "eager", or the one that
    `make test-backends` names. Tests that ask for a backend get it, those of "auto" unset it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STIFFGUIDE_CACHE", str(common / "kernels"))
        patch.setenv("STIFFGUIDE_BACKEND", os.environ.get("STIFFGUIDE_BACKEND", "eager"))
        yield


@pytest.fixture
def eager(monkeypatch):
    """What is said of the loop in torch alone: its counts, its checks, what it sees on the way."""
    monkeypatch.setenv("STIFFGUIDE_BACKEND", "eager")


@pytest.fixture
def auto(monkeypatch):
    """The backend that users have when they ask for none."""
    monkeypatch.delenv("STIFFGUIDE_BACKEND")


@pytest.fixture
def plain_builds(monkeypatch):
    """Kernels without optimisation, of laws that it cannot break: built in a third of the time.

    Flags that `make test-flags` gives stay.
    """
    if "STIFFGUIDE_CXXFLAGS" not in os.environ:
        monkeypatch.setenv("STIFFGUIDE_CXXFLAGS", "-O0")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of kernels that is not there yet, and nothing loaded."""
    from stiffguide.kernels import backend

    monkeypatch.setenv("STIFFGUIDE_CACHE", str(tmp_path / "cache"))
    backend.forget()
    yield tmp_path / "cache"
    backend.forget()


@pytest.fixture
def comfy(monkeypatch, tmp_path):
    """A stand-in for ComfyUI, whose input folder has a calibrated grid."""
    from stiffguide.adapters.diffusion import CalibratedGrid

    made = comfy_standin.install(monkeypatch)
    CalibratedGrid((10.0, 1.0, 0.05), (1.0, 2.0)).save(tmp_path / "grid.json")
    folder = lambda: str(tmp_path)  # noqa: E731
    monkeypatch.setattr(sys.modules["folder_paths"], "get_input_directory", folder)
    return made


@pytest.fixture
def pack(comfy, monkeypatch):
    """The node pack in it."""
    return comfy_standin.load(comfy_standin.PACK, monkeypatch)
