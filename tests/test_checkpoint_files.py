"""The files of checkpoints: there whole or not at all, data only, and plain words for the rest."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kills import Case, Fuse, Killed, identical, quick, same
from torch import Tensor

import stiffguide as sg
from stiffguide import packing, safekeeping
from stiffguide.packing import FORMAT, VERSION, Packed, fitted

F64 = torch.float64
Y0 = torch.tensor([1.0, 0.5], dtype=F64)


def field(t: Tensor, y: Tensor, k: float) -> Tensor:
    a, b = y.unbind(-1)
    return torch.stack((-k * a * b + torch.sin(t), k * a * b - 9 * b), -1)


def other(t: Tensor, y: Tensor, k: float) -> Tensor:
    return 1.001 * field(t, y, k)


CASE = Case(field, Y0, 2.0, {"method": "kvaerno5", "args": (20.0,), "save_at": [0.5, 2.0]})


@pytest.fixture
def path(tmp_path: Path, monkeypatch: Any) -> Path:
    quick(monkeypatch)
    return tmp_path / "run.ckpt"


@pytest.fixture
def half(path: Path) -> Path:
    """The file of a solve that was killed."""
    with pytest.raises(Killed):
        CASE.solve(CASE.burning(Fuse(path, 60)), checkpoint=path, every=2, checks=False)
    return path


OPERATIONS = {  # of one write, in their order
    "write": (Packed, "write"),
    "fsync": (safekeeping.os, "fsync"),
    "rename": (Path, "replace"),
    "folder": (safekeeping, "_settle"),
}


@pytest.mark.parametrize("ending", ["before", "after"])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("write", [2, 5])
def test_a_kill_in_a_write_loses_nothing(
    operation: str, ending: str, write: int, path: Path, monkeypatch: Any
) -> None:
    """Before and after each operation on files, of two of the writes."""
    whole, count = CASE.solve(checks=False), 0
    home, name = OPERATIONS[operation]
    real = getattr(home, name)

    def deadly(*given: Any, **more: Any) -> Any:
        nonlocal count
        count += 1
        if count == write and ending == "before":
            raise Killed
        found = real(*given, **more)
        if count == write:
            raise Killed
        return found

    with monkeypatch.context() as patch:
        patch.setattr(home, name, deadly)
        # what is dead tidies nothing up
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(Killed):
            CASE.solve(checkpoint=path, every=4, checks=False)
    same(CASE.resume(path), whole)
    assert [x.name for x in path.parent.iterdir()] == [path.name]


SCRIPT = """
import os, signal, sys, time
import torch
import stiffguide as sg
sys.path.insert(0, sys.argv[2])
from test_checkpoint_files import CASE
torch.set_num_threads(1)

def slowly(t, y, k):
    time.sleep(0.0005)
    return CASE.f(t, y, k)

CASE.solve(slowly, checkpoint=sys.argv[1], every=1, checks=False)
"""


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.15])
def test_a_process_that_is_killed_loses_nothing(seconds: float, tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    here = str(Path(__file__).parent)
    with subprocess.Popen([sys.executable, "-c", SCRIPT, str(path), here]) as process:
        for _ in range(6000):
            if path.exists() or process.poll() is not None:
                break
            signal.sigtimedwait([], 0.01)
        signal.sigtimedwait([], seconds)
        process.kill()
    same(CASE.resume(path), CASE.solve(checks=False))


def test_a_file_cut_anywhere_is_one_sentence(half: Path) -> None:
    for length in reversed(range(half.stat().st_size)):
        os.truncate(half, length)
        with pytest.raises(sg.InputError, match=r"run\.ckpt is cut off or damaged; take"):
            sg.resume(half, field)


def test_a_byte_that_changed_is_seen(half: Path) -> None:
    whole = half.read_bytes()
    for place in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[place] ^= 1
        half.write_bytes(changed)
        with pytest.raises(sg.InputError):
            sg.resume(half, field)


def sealed(tree: Any, body: bytes = b"", version: int = VERSION) -> bytes:
    """A file whose checksum is right, whatever it says."""
    made = FORMAT + b"%d\n" % version
    text = json.dumps(tree).encode() if not isinstance(tree, bytes) else tree
    made += len(text).to_bytes(8, "little") + text + body
    return made + packing.hashlib.sha256(made).digest()


HOSTILE = {
    "nothing": None,
    "no tree": b"[",
    "deep": b"[" * 100_000,
    "a number of many digits": b"9" * 100_000,
    "no settings": ["dict", []],
    "an unknown kind": ["pickle", "x"],
    "a vast list": ["list", [[-(10**12), ["tuple", []]]]],
    "a vast tensor": ["tensor", "float64", 0, "", None, [10**12]],
    "a vast product": ["tensor", "float64", 0, "", None, [2**40, 2**40, 0]],
    "a wide tensor": ["tensor", "float64", 0, "", [2**50], [1]],
    "a broad tensor": ["tensor", "float64", 0, "", None, [1], [2**50]],
    "negative lengths": ["tensor", "float64", 0, "", None, [-2, -4]],
    "a place before": ["tensor", "float64", -8, "", None, [1]],
    "another dtype": ["tensor", "object", 0, "", None, [1]],
    "objects": ["array", "|O", 0, False, [1]],
    "another device": ["tensor", "float64", 0, "hpu:9", None, [1]],
    "settings that are none": ["dict", [["asked", 3], ["again", 3], ["args", 3], ["every", 3]]],
    "no place": [
        "dict",
        [["asked", ["dict", []]], ["again", ["dict", []]], ["args", ["list", []]], ["every", 3]],
    ],
    "an object of nobody": [
        "dict",
        [
            ["asked", ["dict", [["method", ["tuple", ["os.system", ["dict", []]]]]]]],
            ["again", ["dict", []]],
            ["args", ["list", []]],
            ["every", 3],
        ],
    ],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_a_file_says_is_a_sentence(name: str, path: Path) -> None:
    path.write_bytes(sealed(HOSTILE[name], bytes(16)))
    with pytest.raises(sg.InputError, match=r"run\.ckpt") as found:
        sg.resume(path, field)
    assert "\n" not in str(found.value)


def test_other_files_are_none(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("run away\n")
    for path, why in (
        (text, "not a checkpoint"),
        (tmp_path / "nowhere", "no such file"),
        (tmp_path, "not a file"),
    ):
        with pytest.raises(sg.InputError, match=why):
            sg.resume(path, field)
    text.write_bytes(sealed(["dict", []], version=99))
    with pytest.raises(sg.InputError, match="its format is 99, and this version reads 1"):
        sg.resume(text, field)


def test_a_file_that_is_there_is_not_written_over(half: Path) -> None:
    before = half.read_bytes()
    with pytest.raises(
        sg.InputError, match=r"is there already; go on from it by stiffguide\.resume"
    ):
        CASE.solve(checkpoint=half)
    assert half.read_bytes() == before


def test_a_folder_that_takes_no_file_is_said_before_the_solve(path: Path) -> None:
    with pytest.raises(sg.InputError, match="No such file or directory; give another file"):
        CASE.solve(checkpoint=path.parent / "nowhere" / "run.ckpt")


def test_a_full_disk_is_said_once_and_the_solve_goes_on(half: Path) -> None:
    """By a limit on the length of files: the kernel's, so that writes fail as on a full disk."""
    limits, before = resource.getrlimit(resource.RLIMIT_FSIZE), half.read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.warns(sg.StiffguideWarning, match="File too large; the solve goes on") as told:
            found = CASE.resume(half, every=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(told) == 1
    same(found, CASE.solve(checks=False))
    assert half.read_bytes() == before
    assert [x.name for x in half.parent.iterdir()] == [half.name]
    same(CASE.resume(half), found)


def test_what_killed_processes_left_is_removed(half: Path) -> None:
    names = [f".{half.name}.{name}" for name in ("123", "4567", "notes", "89.txt")]
    for name in names:
        half.with_name(name).touch()
    CASE.resume(half)
    assert {x.name for x in half.parent.iterdir()} == {half.name, *names[2:]}


def test_another_field_is_refused_or_forced(half: Path) -> None:
    with pytest.raises(sg.InputError, match="f gives other values than it did"):
        CASE.resume(half, other)
    with pytest.warns(sg.StiffguideWarning, match="f gives other values than it did"):
        forced = CASE.resume(half, other, force=True)
    assert not torch.equal(forced.y[-1], CASE.solve().y[-1])


def test_a_field_that_rounds_differently_is_the_same(half: Path) -> None:
    found = CASE.resume(half, lambda t, y, k: (field(t, y, k) * 3) / 3)
    assert bool(found.success)


def test_other_arguments_are_named(half: Path) -> None:
    with pytest.raises(sg.InputError, match=r"args\[0\] is not what it was"):
        sg.resume(half, field, (21.0,))
    with pytest.raises(sg.InputError, match="made with 1 args, and these are 2"):
        sg.resume(half, field, (20.0, 1.0))
    for name, value, told in (
        ("rtol", 1e-8, "rtol = 1e-06, and this is 1e-08"),
        ("method", "bdf", "method = 'kvaerno5', and this is 'bdf'"),
        ("t1", 3.0, "t1 = 2.0, and this is 3.0"),
        ("method", sg.methods.get("bdf"), "method = 'kvaerno5', and this is 'bdf'"),
        ("jac", lambda t, y, k: torch.eye(2), "jac = None, and this is the function"),
        ("controller", sg.PID(), "controller = None, and this is PID"),
    ):
        with pytest.raises(sg.InputError, match=f"checkpoint was made with {told}"):
            CASE.resume(half, **{name: value})
    same(CASE.resume(half, rtol=1e-6, y0=Y0, method="kvaerno5"), CASE.solve(checks=False))


def test_a_function_that_is_missing_is_named(path: Path) -> None:
    more: Any = {"events": lambda t, y, k: y[0] - 0.1, "on_attempt": lambda *_: None}
    CASE.solve(checkpoint=path, **more)
    with pytest.raises(sg.InputError, match=r"was given on_attempt=.*give on_attempt= again"):
        CASE.resume(path, events=more["events"])
    with pytest.raises(sg.InputError, match="give events= again"):
        CASE.resume(path, on_attempt=more["on_attempt"])
    same(CASE.resume(path, **more), CASE.solve(checks=False, **more))


def test_what_no_file_keeps_is_refused(path: Path) -> None:
    start = Y0.clone().requires_grad_()
    for settings, why in (
        ({"sensitivities": ["y0"]}, "recorded steps, .*; leave checkpoint out, or sensitivities$"),
        ({"every": 0}, "every: give the seconds"),
        ({"every": True}, "every: give the seconds"),
        ({"checkpoint": 3}, "checkpoint: give the path of a file"),
        ({"save_at": Unsaid()}, "Unsaid does not say by `moves`"),
    ):
        with pytest.raises(sg.InputError, match=why):
            CASE.solve(**{"checkpoint": path, **settings})
    with pytest.raises(sg.UnsupportedError, match="gradients are made of recorded steps"):
        CASE._replace(y0=start).solve(checkpoint=path)
    assert not path.exists()


class Unsaid(sg.EveryStep):
    """An output that keeps more than the one that it is made of."""


class Counted(sg.EveryStep):
    """An output of one's own that says what moves."""

    moves = ("pages", "seen")

    def start(self, t0: Tensor, t1: Tensor, y0: Tensor) -> None:
        """Nothing was seen."""
        super().start(t0, t1, y0)
        self.seen = 0

    def record(self, moment: Any) -> Any:
        """One more."""
        self.seen += 1
        return super().record(moment)


def test_an_output_of_ones_own_goes_on(path: Path) -> None:
    whole, kept = Counted(), Counted()
    expected = CASE.solve(save_at=whole, checks=False)
    burning = CASE.burning(Fuse(path, 80))
    with pytest.raises(Killed):
        CASE.solve(burning, save_at=Counted(), checkpoint=path, every=1, checks=False)
    same(CASE.resume(path, save_at=kept), expected)
    assert kept.seen == whole.seen


def test_checks_are_counted_once(path: Path) -> None:
    def new(t: Tensor, y: Tensor, k: float) -> Tensor:
        return field(t, y, k) + 0.0

    found = CASE.solve(new, checkpoint=path)
    assert int(found.stats.nfe) > int(CASE.solve(new).stats.nfe)  # which knows f by then
    same(CASE.resume(path, new), found)


@pytest.mark.usefixtures("auto")
def test_without_a_name_the_eager_loop_solves(path: Path) -> None:
    found = CASE.solve(checkpoint=path, backend="auto")
    assert found.stats.why == "checkpoint was given, and backend='kernel' was not"
    same(CASE.resume(path), found)


def test_an_interrupt_leaves_the_last_place(path: Path) -> None:
    def interrupted(t: Tensor, y: Tensor, k: float) -> Tensor:
        if t > 1:
            raise KeyboardInterrupt
        return field(t, y, k)

    with pytest.raises(sg.Interrupted):
        CASE.solve(interrupted, checkpoint=path, every=3, checks=False)
    same(CASE.resume(path), CASE.solve(checks=False))


tensors = st.sampled_from(
    [
        torch.tensor(0.0),
        torch.empty(0, 3, dtype=torch.int64),
        torch.arange(6, dtype=torch.float32).reshape(2, 3).T,
        torch.arange(24.0, dtype=F64).reshape(2, 3, 4)[:, ::2, 1],
        torch.tensor([1.5, -0.0, float("nan")]).expand(4, 3),
        torch.tensor([1 + 2j]).conj(),
        *(torch.tensor([True, False]), torch.ones(2), torch.ones(2, dtype=F64)),
        torch.ones(2, dtype=torch.bfloat16),
        torch.ones(1, 1).expand(1, 1),
    ]
)
arrays = st.sampled_from(
    [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.ones((2, 3))), np.zeros((0, 2), np.int8)]
)
numbers = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), tensors)
leaves = st.one_of(numbers, arrays, st.complex_numbers(allow_nan=False))
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(st.tuples(tensors, tensors), max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ),
    max_leaves=8,
)


def alike(x: Any, y: Any) -> bool:
    if isinstance(x, Tensor):
        y = y.resolve_conj()
        x = x.resolve_conj()
        return identical(x, y) if x.dtype != torch.bfloat16 else torch.equal(x, y)
    if isinstance(x, np.ndarray):
        return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
    if isinstance(x, (list, tuple)):
        return type(x) is type(y) and len(x) == len(y) and all(map(alike, x, y))
    if isinstance(x, dict):
        return list(x) == list(y) and all(alike(x[k], y[k]) for k in x)
    return type(x) is type(y) and (x == y or x != x)


@given(trees)
def test_a_tree_comes_back(tmp_path_factory: Any, tree: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "tree"
    safekeeping.write(path, Packed(tree).write)
    assert alike(tree, packing.read(path))


@given(tensors)
def test_tensors_keep_the_order_of_their_numbers(tensor: Tensor) -> None:
    """What is added up in another order may round differently."""
    made = Packed((tensor,))
    body = memoryview(b"".join(map(bytes, made.parts)))
    (found,) = packing._Unpacked(body).value(json.loads(made.tree))
    if tensor.numel() > 1:
        assert found.stride() == tensor.stride()


def test_members_of_a_list_that_only_look_alike_keep_their_types() -> None:
    tree = [(torch.ones(2, dtype=kind),) for kind in (F64, torch.float32, torch.int64)]
    made = Packed(tree)
    body = memoryview(b"".join(map(bytes, made.parts)))
    assert alike(tree, packing._Unpacked(body).value(json.loads(made.tree)))


def test_what_is_no_data_is_not_packed() -> None:
    for value in (
        object(),
        torch.sparse_coo_tensor(size=(2, 2), check_invariants=True),
        np.array([{}]),
        {1, 2},
        len,
    ):
        with pytest.raises(packing.NoData):
            Packed([value])


def test_a_state_of_another_kind_does_not_fit() -> None:
    for like, data in (
        (torch.zeros(2), torch.zeros(3)),
        (torch.zeros(2), torch.zeros(2, dtype=F64)),
        (torch.zeros(2), 3.0),
        ((1, 2), (1,)),
        ((1, 2), [1, 2]),
    ):
        with pytest.raises(ValueError, match="has"):
            fitted(like, data)
