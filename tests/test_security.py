"""What docs/security.md says of the sources is so: what is never called, and every bound."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest

import stiffguide as sg
from stiffguide import InputError, documents, packing
from stiffguide.kernels.running import upkeep

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
SOURCES = {
    str(path.relative_to(ROOT / "src")): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "src").rglob("*.py"))
}
COMPILER = "stiffguide/kernels/running/compiler.py"
# modules that run what a file says, start programs or open addresses
NEVER = {
    *("pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml"),
    *("urllib", "http", "socket", "requests", "httpx", "ftplib", "smtplib", "huggingface_hub"),
    *("runpy", "code", "codeop", "webbrowser", "pty", "zipimport"),
}
CALLED = {"eval", "exec"}
ATTRIBUTES = {"load_state_dict_from_url", "from_pretrained", "hf_hub_download"}
WHOLE = {"os.system", "os.popen", "torch.load", "torch.hub.load", "torch.jit.load"}


def imported(tree: ast.AST) -> set[str]:
    """The names at the top of every import."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).split(".")[0])
    return found


def calls(tree: ast.AST) -> list[str]:
    """What is called, as it is written."""
    return [ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)]


def complaints(tree: ast.AST) -> set[str]:
    """What of a file the page says that nothing does."""
    found = imported(tree) & NEVER
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            plain = isinstance(node.func, ast.Name)
            if (plain and name in CALLED) or name.split(".")[-1] in ATTRIBUTES:
                found.add(name)
            if name in WHOLE:
                found.add(name)
            for k in node.keywords:
                if k.arg == "allow_pickle" and ast.unparse(k.value) != "False":
                    found.add("allow_pickle")
            if any(k.arg == "shell" for k in node.keywords):
                found.add("shell")
    return found


def test_nothing_unpickles_evaluates_or_opens_addresses() -> None:
    # commands run files that users name as programs
    own = {"stiffguide/cli/models.py": {"runpy"}}
    for path, tree in SOURCES.items():
        assert complaints(tree) == own.get(path, set()), path


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("import pickle", "pickle"),
        ("from urllib.request import urlopen", "urllib"),
        ("def f(x):\n    return eval(x)", "eval"),
        ("import torch\ntorch.load('x')", "torch.load"),
        ("import numpy as np\nnp.load('x', allow_pickle=True)", "allow_pickle"),
        ("import os\nos.system('ls')", "os.system"),
        ("import subprocess\nsubprocess.run('ls', shell=True)", "shell"),
    ],
)
def test_what_would_be_unsafe_is_seen(text: str, what: str) -> None:
    assert complaints(ast.parse(text)) == {what}


def test_one_file_starts_programs_and_one_loads_libraries() -> None:
    starting = {path for path, tree in SOURCES.items() if "subprocess" in imported(tree)}
    assert starting == {COMPILER}
    loading = {p for p, tree in SOURCES.items() if any("CDLL(" in f"{c}(" for c in calls(tree))}
    assert loading == {"stiffguide/kernels/running/loading.py"}


def test_every_variable_of_the_environment_is_on_the_page() -> None:
    text = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    used = set(re.findall(r"STIFFGUIDE_[A-Z_]+", text))
    read = set(re.findall(r"environ(?:\.get\(|\[)\"([A-Z_]+)\"", text))
    told = set(re.findall(r"`([A-Z_]{3,})`", PAGE.split("## Variables")[1]))
    assert used <= told
    # torchrun and batch systems say which process this is
    assert read - told - {"RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_ARRAY_TASK_ID"} == set()


def test_the_bounds_are_those_of_the_page() -> None:
    for bound in (
        f"{documents.MOST_BYTES:,} bytes",
        f"{documents.MOST_LEVELS} levels",
        f"{documents.MOST_DIGITS} digits a number",
        f"{packing.SPARSE} times its size",
        f"{upkeep.LARGEST} MiB",
    ):
        assert bound in PAGE
    assert upkeep.OLD == 24 * 3600  # "after a day"


def test_arrays_that_would_be_unpickled_or_unpacked_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    np.savez_compressed(tmp_path / "packed.npz", x=np.zeros(10**6))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    for name in ("objects", "packed"):
        with pytest.raises(InputError):
            documents.arrays(tmp_path / f"{name}.npz", ["x"])
    with pytest.raises(InputError):
        documents.array(tmp_path / "objects.npy")


def test_the_report_leads_here() -> None:
    assert "docs/security.md" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert sg.__version__  # which a report names
