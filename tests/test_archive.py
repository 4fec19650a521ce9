"""Solutions in files: the same bits again, whole or not at all, and data only."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kills import Killed, identical, quick, same
from solutions import KINDS, TIMES, Two, made, solved
from torch.utils._pytree import tree_leaves

import stiffguide as sg
from stiffguide import safekeeping

every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    quick(monkeypatch)
    return tmp_path / "run.npz"


def like_of(x: sg.Solution) -> Any:
    """A state nested as the solution's are."""
    return x.y


def contents(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as found:
        return dict(found)


# what comes again ---------------------------------------------------------------------------------


def test_the_kinds_are_what_their_names_say() -> None:
    assert len(made("failed").messages) == 2
    assert list(made("warned").warnings) == [1]
    assert made("conjugate").y.is_conj()
    assert [len(rows) for rows in made("shared by rows").stats.methods] == [1, 2]
    assert len(made("shared").stats.methods) == 2
    assert made("steps").t.isnan().any()
    assert all(len(one.t) for one in made("events").events)
    assert made("positive").trajectory.nonnegative is not None
    assert made("derivatives").sensitivity_names
    assert made("gradients").y.requires_grad


@every_kind
def test_what_is_loaded_is_what_was_saved_to_the_last_bit(kind: str, path: Path) -> None:
    whole = made(kind)
    whole.save(path)
    found = sg.Solution.load(path, like=like_of(whole))
    same(found, whole)
    assert found.sensitivity_names == whole.sensitivity_names
    for one, other in ((found.dy_dp, whole.dy_dp), (found.dy_dy0, whole.dy_dy0)):
        assert len(tree_leaves(one)) == len(tree_leaves(other))
        assert all(map(identical, tree_leaves(one), tree_leaves(other)))
    assert repr(found) == repr(whole)
    assert found.message == whole.message
    assert not any(leaf.requires_grad for leaf in tree_leaves(found.y))
    assert [found.layout.component(i) for i in range(found.layout.features)] == [
        whole.layout.component(i) for i in range(whole.layout.features)
    ]
    if whole.trajectory is not None:
        pairs = zip(tree_leaves(found.at(0.05)), tree_leaves(whole.at(0.05)), strict=True)
        assert all(identical(one, other.detach()) for one, other in pairs)


@every_kind
def test_a_file_is_read_by_numpy_alone_and_is_saved_again_as_it_was(kind: str, path: Path) -> None:
    made(kind).save(path)
    arrays, bits = contents(path), path.read_bytes()
    assert {a.dtype.kind for a in arrays.values()} <= set("biufc")
    assert np.array_equal(arrays["t"], made(kind).t.numpy(), equal_nan=True)
    sg.Solution.load(path, like=like_of(made(kind))).save(path)
    again = contents(path)
    assert arrays.keys() == again.keys()
    assert all(arrays[name].tobytes() == again[name].tobytes() for name in arrays)
    assert len(bits) == path.stat().st_size


def test_names_of_parts_come_again_from_a_state_like_them(path: Path) -> None:
    whole = made("names")
    whole.save(path)
    assert {"y.0", "y.1"} <= contents(path).keys()
    assert type(sg.Solution.load(path).y) is tuple
    found = sg.Solution.load(path, like=Two(torch.ones(2), torch.ones(1)))
    assert type(found.y) is type(found.at(0.5)) is Two
    for other in (torch.ones(2), [1, 2], (1,), (1, (2,)), {"a": 1, "b": 2}):
        with pytest.raises(sg.InputError, match="`like` has another nesting"):
            sg.Solution.load(path, like=other)
    for kind in ("end", "dictionary"):
        made(kind).save(path)
        for other in (Two(torch.ones(2), torch.ones(1)), {"a": 1, "b": 2}):
            with pytest.raises(sg.InputError, match="`like` has another nesting"):
                sg.Solution.load(path, like=other)


def test_keys_are_names_where_they_are_words(path: Path) -> None:
    y0 = {"speed": TIMES, "2": TIMES, 2: TIMES, "a b": TIMES, "Kværnø": TIMES}
    whole = solved(lambda t, y: {k: -v for k, v in y.items()}, y0)
    whole.save(path)
    assert {n for n in contents(path) if n[:2] == "y."} == {
        "y.speed",
        *(f"y.{i}" for i in range(1, 5)),
    }
    assert list(sg.Solution.load(path).y) == list(y0)
    odd = solved(lambda t, y: {k: -v for k, v in y.items()}, {(1, 2): TIMES})
    with pytest.raises(sg.InputError, match=r"save: a state's key is .*: give texts"):
        odd.save(path)


# whole or not at all ------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["savez", "fsync"])
@pytest.mark.parametrize("error", [Killed(), OSError(28, "No space left on device")])
def test_what_stood_there_stays_where_a_write_fails(
    moment: str, error: BaseException, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made("end").save(path)
    before = path.read_bytes()

    def failing(file: Any, **arrays: Any) -> None:
        if moment == "savez":
            file.write(b"half of it")
        raise error

    where: Any = np if moment == "savez" else safekeeping.os
    monkeypatch.setattr(where, moment, failing)
    expected = Killed if isinstance(error, Killed) else sg.InputError
    with pytest.raises(expected) as raised:
        made("rows").save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    if expected is sg.InputError:
        assert "run.npz: No space left on device" in str(raised.value)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(sg.InputError, match=r"save: .*/no/run\.npz: No such file or directory"):
        made("end").save(tmp_path / "no" / "run.npz")
    with pytest.raises(sg.InputError, match=r"run\.npz: there is no such file"):
        sg.Solution.load(tmp_path / "run.npz")


# what is no such file -----------------------------------------------------------------------------

RICH = ("rows", "events", "shared by rows", "derivatives", "positive", "warned")


@pytest.mark.parametrize("kind", RICH)
def test_an_array_that_does_not_fit_is_refused(kind: str, path: Path) -> None:
    """Each of them left out, with an axis more, of another kind, and one shorter."""
    made(kind).save(path)
    arrays = contents(path)
    free = ("y", "dy_dp")  # whose shapes say what the state is, if they agree
    for name in arrays:
        whole = arrays[name]
        wrong = [None, whole[:-1]]
        if name.split(".")[0] not in free:
            wrong += [whole[None], whole.astype(np.complex64), whole[..., :-1]]
        for other in wrong:
            changed = {k: v for k, v in arrays.items() if k != name}
            if other is not None:
                if other.shape == whole.shape and other.dtype == whole.dtype:
                    continue  # nothing is one shorter than nothing
                changed[name] = other
            np.savez(path, **changed)
            with pytest.raises(sg.InputError, match=r"run\.npz"):
                pytest.fail(f"{name} {other}: {sg.Solution.load(path)}")


def with_about(path: Path, **changes: Any) -> None:
    arrays = contents(path)
    about = json.loads(arrays["about"].tobytes()) | changes
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": "stiffguide solution 9"}, "its format is 'stiffguide solution 9', and this"),
        ({"format": None}, "its format is None, and this version reads"),
        ({"nesting": ["set", [None]]}, "is no whole file of Solution.save"),
        ({"nesting": ["tuple", 3]}, "is no whole file"),
        ({"nesting": ["dict", [[["a"], None]]]}, "is no whole file"),
        ({"batched": 1}, "is no whole file"),
        ({"method": 3}, "is no whole file"),
        ({"methods": [["a"], "b"]}, "is no whole file"),
        ({"events": 1}, "is no whole file"),
        ({"events": "x"}, "is no whole file"),
        ({"bfloat16": ["t"]}, "is no whole file"),
        ({"arrays": 3}, "is no whole file"),
        ({"arrays": [["t"]]}, "is no whole file"),
        ({"arrays": ["t", "nothing"]}, "not a whole file of numpy.savez"),
    ],
)
def test_what_a_file_says_of_itself_is_checked(
    changes: dict[str, Any], sentence: str, path: Path
) -> None:
    made("shared").save(path)
    with_about(path)
    sg.Solution.load(path)
    with_about(path, **changes)
    with pytest.raises(sg.InputError, match=sentence):
        sg.Solution.load(path)


def test_no_status_is_unknown(path: Path) -> None:
    made("rows").save(path)
    arrays = contents(path)
    arrays["counts"][0, 1] = 99
    np.savez(path, **arrays)
    with pytest.raises(sg.InputError, match="is no whole file"):
        sg.Solution.load(path)


@given(place=st.integers(0, 10**9), bits=st.integers(1, 255), cut=st.booleans())
def test_no_damage_is_taken_for_a_solution(
    place: int, bits: int, cut: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "run.npz"
    made("event").save(path)
    whole = path.read_bytes()
    place %= len(whole)
    rest = b"" if cut else bytes([whole[place] ^ bits]) + whole[place + 1 :]
    path.write_bytes(whole[:place] + rest)
    with suppress(sg.InputError):
        # a date, or another word that nobody reads
        same(sg.Solution.load(path), made("event"))
