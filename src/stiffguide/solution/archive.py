"""A solution in a file: an npz of numpy, data only, so that to read one is to run nothing.

Arrays have the names of what they are (`t`, `y` or, of a state with a key "a", `y.a`), so that
`numpy.load(path)["y"]` finds them, too; `about` is JSON as bytes, and has what is no array. A file
is there whole or not at all, and is read within the bounds of `documents`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stiffguide import documents, safekeeping
from stiffguide.errors import InputError, Status
from stiffguide.fields.layout import Layout
from stiffguide.solution.nesting import Nesting, Unlike, leaves, nested, nesting, tensors
from stiffguide.solution.solution import Occurrences, Solution
from stiffguide.stepping.course import Shifts, Stretches
from stiffguide.stepping.trajectory import Trajectory

ABOUT, FORMAT = "about", "stiffguide solution 1"
WORDS = ("method", "backend", "why", "linear_solver")  # of a solution
DAMAGED = "is no whole file of Solution.save; take another copy of it, or solve again"

Array = NDArray[Any]


def save(x: Solution[Any], path: str | os.PathLike[str]) -> None:
    """Write the file; raises InputError where that is not possible, and leaves what was there."""
    place = Path(path)
    form = nesting(x.y)
    found = dict(_tensors(x, form))
    narrow = [name for name, value in found.items() if value.dtype == torch.bfloat16]
    arrays: dict[str, Any] = {name: _array(value) for name, value in found.items()}
    for name, pairs in _texts(x):
        arrays |= _packed(name, pairs)
    about = {
        "format": FORMAT,
        **{name: getattr(x, name) for name in WORDS},
        "batched": x.layout.batched,
        "nesting": form,
        "events": len(x.events),
        "methods": None if x.stretches is None else list(x.stretches.names),
        "bfloat16": narrow,
        "arrays": list(arrays),
    }
    text = json.dumps(about)
    documents.plain(text, place)  # what cannot be read is not written
    arrays[ABOUT] = np.frombuffer(text.encode(), np.uint8)
    try:
        safekeeping.write(place, lambda file: np.savez(file, **arrays))
    except OSError as error:
        raise InputError(f"save: {documents.shown(place)}: {error.strerror}") from error


def load(path: str | os.PathLike[str], like: Any = None) -> Solution[Any]:
    """Read the file, on the CPU; raises InputError, in one sentence, where it is none."""
    place = Path(path)
    name = documents.shown(place)
    documents.arrays(place, ())  # there is such a file, and it is an archive
    if ABOUT not in documents.entries(place):
        raise InputError(f"{name}: this is no solution that Solution.save wrote")
    text = documents.arrays(place, (ABOUT,))[ABOUT]
    if text.dtype != np.uint8 or text.ndim != 1 or len(text) > documents.MOST_BYTES:
        raise InputError(f"{name} {DAMAGED}")
    about = documents.plain(text.tobytes().decode("utf-8", "replace"), place.name)
    if about.get("format") != FORMAT:
        raise InputError(
            f"{name}: its format is {documents.shown(about.get('format'))}, and this version reads "
            f"{FORMAT!r}; load it with the version that wrote it"
        )
    names = about.get("arrays")
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise InputError(f"{name} {DAMAGED}")
    arrays = documents.arrays(place, names)
    try:
        return _Read(arrays, about).solution(like)
    except Unlike:
        raise InputError("load: `like` has another nesting than the states in this file") from None
    except (AttributeError, LookupError, OverflowError, RuntimeError, TypeError, ValueError):
        raise InputError(f"{name} {DAMAGED}") from None


# what is written ----------------------------------------------------------------------------------


def _tensors(x: Solution[Any], form: Nesting) -> Iterator[tuple[str, Tensor]]:
    """All that is a tensor, by name."""
    yield from (("t", x.t), ("counts", x.counts))
    yield from _state(x.y, form, "y")
    if x.dy_dp is not None:
        yield from _state(x.dy_dp, form, "dy_dp")
    if x.dy_dy0 is not None:
        yield "dy_dy0", x.dy_dy0
    for k, one in enumerate(x.events):
        yield from ((f"events.{k}.row", one.row), (f"events.{k}.t", one.t))
        yield from _state(one.y, form, f"events.{k}.y")
    if x.trajectory is not None:
        for name, value in x.trajectory._asdict().items():
            if value is not None:
                yield f"trajectory.{name}", value
    if x.stretches is not None:
        yield from _shifts(x.stretches, x.layout.rows)


def _state(state: Any, form: Nesting, name: str) -> Iterator[tuple[str, Tensor]]:
    return zip(leaves(form, name), tensors(state), strict=True)


def _shifts(x: Stretches, rows: int) -> Iterator[tuple[str, Tensor]]:
    """N changes of method, each in some rows (N, B)."""
    f64 = torch.float64
    where = [torch.ones(rows, dtype=torch.bool) if w is None else w for _, w, _ in x.shifts]
    t = [torch.as_tensor(at, dtype=f64).reshape(-1).expand(rows) for _, _, at in x.shifts]
    yield "stretches.t0", torch.as_tensor(x.t0, dtype=f64).reshape(-1).expand(rows)
    yield "stretches.method", torch.tensor([method for method, _, _ in x.shifts], dtype=torch.int64)
    yield "stretches.where", torch.stack(where) if where else torch.zeros(0, rows).bool()
    yield "stretches.t", torch.stack(t) if t else torch.zeros(0, rows, dtype=f64)


def _texts(x: Solution[Any]) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """Sentences by row, and the names of parameters."""
    yield "messages", list(x.messages.items())
    yield "warnings", [(row, text) for row, texts in x.warnings.items() for text in texts]
    yield "sensitivity_names", list(enumerate(x.sensitivity_names))


def _packed(name: str, pairs: Iterable[tuple[int, str]]) -> dict[str, Array]:
    """Numbers, and texts one behind the other: there may be one for every row of a large batch."""
    pairs = list(pairs)
    parts = [text.encode("utf-8", "backslashreplace") for _, text in pairs]
    return {
        f"{name}.row": np.array([row for row, _ in pairs], np.int64),
        f"{name}.length": np.array([len(part) for part in parts], np.int64),
        f"{name}.text": np.frombuffer(b"".join(parts), np.uint8),
    }


def _array(value: Tensor) -> Array:
    plain = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
    found: Array = (plain.view(torch.int16) if plain.dtype == torch.bfloat16 else plain).numpy()
    return found


# what is read -------------------------------------------------------------------------------------


class _Read:
    """The arrays of a file and what it says of them; whatever does not fit raises."""

    def __init__(self, arrays: Mapping[str, Array], about: Mapping[str, Any]) -> None:
        self._arrays, self._about = arrays, about
        self._narrow = set(about["bfloat16"])
        self._form: Nesting = about["nesting"]

    def solution(self, like: Any) -> Solution[Any]:
        """All of it."""
        t, words = self._tensor("t"), {name: self._about[name] for name in WORDS}
        batched = self._about["batched"]
        _check(isinstance(batched, bool) and _timely(t) and t.ndim == 1 + batched)
        _check(all(isinstance(word, str) for word in words.values()))
        y = self._state("y", t.shape)
        layout = Layout(self._one(y, t.shape, batched, like), batched=batched)
        counts = self._tensor("counts")
        _check(counts.dtype == torch.int64 and counts.shape == (6, *t.shape[:-1]))
        _check({int(code) for code in counts[0].unique()} <= set(Status))
        rows, names = layout.rows, tuple(text for _, text in self._sentences("sensitivity_names"))
        warnings: dict[int, tuple[str, ...]] = {}
        for row, text in self._sentences("warnings", rows):
            warnings[row] = (*warnings.get(row, ()), text)
        return Solution(
            t=t,
            y=nested(self._form, iter(y), like),
            counts=counts,
            messages=dict(self._sentences("messages", rows)),
            layout=layout,
            trajectory=self._trajectory(layout),
            warnings=warnings,
            events=tuple(self._event(k, y, layout, like) for k in range(self._about["events"])),
            stretches=self._stretches(rows),
            **self._derivatives(y, t.shape, layout.features, len(names), like),
            sensitivity_names=names,
            **words,
        )

    def _one(self, y: list[Tensor], lead: torch.Size, batched: bool, like: Any) -> Any:
        """A state such as y0 was, which takes no room."""
        front = lead[:1] if batched else ()
        ones = (leaf.new_zeros(()).expand((*front, *leaf.shape[len(lead) :])) for leaf in y)
        return nested(self._form, ones, like)

    def _tensor(self, name: str) -> Tensor:
        value = torch.from_numpy(self._arrays[name].copy())
        return value.view(torch.bfloat16) if name in self._narrow else value

    def _state(self, name: str, lead: Iterable[int]) -> list[Tensor]:
        """The leaves of a state, with these axes before their own."""
        lead = tuple(lead)
        found = [self._tensor(leaf) for leaf in leaves(self._form, name)]
        _check(all(leaf.shape[: len(lead)] == lead for leaf in found))
        return found

    def _sentences(self, name: str, rows: int | None = None) -> list[tuple[int, str]]:
        parts = [self._arrays[f"{name}.{part}"] for part in ("row", "length", "text")]
        row, length, content = parts
        _check(row.ndim == length.ndim == content.ndim == 1 and len(row) == len(length))
        _check(row.dtype == length.dtype == np.int64 and content.dtype == np.uint8)
        _check(bool((length >= 0).all()) and int(length.sum()) == len(content))
        _check(rows is None or bool(((row >= 0) & (row < rows)).all()))
        ends = np.cumsum(length)
        texts = (content[end - n : end].tobytes() for n, end in zip(length, ends, strict=True))
        return [(int(k), text.decode()) for k, text in zip(row, texts, strict=True)]

    def _event(self, k: int, of: list[Tensor], layout: Layout, like: Any) -> Occurrences[Any]:
        row, t = self._tensor(f"events.{k}.row"), self._tensor(f"events.{k}.t")
        _check(row.ndim == 1 and t.shape == row.shape and row.dtype == torch.int64 and _timely(t))
        _check(bool(((row >= 0) & (row < layout.rows)).all()))
        y = self._state(f"events.{k}.y", t.shape)
        axes = 1 + layout.batched  # before those of a state
        for happened, kept in zip(y, of, strict=True):
            _check(happened.dtype == kept.dtype and happened.shape[1:] == kept.shape[axes:])
        return Occurrences(row, t, nested(self._form, iter(y), like))

    def _trajectory(self, layout: Layout) -> Trajectory | None:
        names = [n for n in Trajectory._fields if f"trajectory.{n}" in self._arrays]
        if not names:
            return None
        x = Trajectory(**{name: self._tensor(f"trajectory.{name}") for name in names})
        (n, b), f, d = x.before.shape, layout.features, x.coefficients.shape[1]
        _check(n > 0 and b == layout.rows and x.after.shape == (n, b) and x.sign.shape == (b,))
        _check(x.y0.shape == x.y1.shape == (n, b, f) and x.coefficients.shape == (n, d, b, f))
        _check(_timely(x.before, x.after) and not x.sign.is_complex())
        _check({part.dtype for part in (x.y0, x.y1, x.coefficients)} == {layout.dtype})
        mask = x.nonnegative
        _check(mask is None or (mask.dtype == torch.bool and mask.shape == (f,)))
        return x

    def _stretches(self, rows: int) -> Stretches | None:
        names = self._about["methods"]
        if names is None:
            return None
        first, second = names
        _check(isinstance(first, str) and isinstance(second, str))
        t0, method, where, t = (
            self._tensor(f"stretches.{name}") for name in ("t0", "method", "where", "t")
        )
        _check(t0.shape == (rows,) and where.shape == t.shape == (len(method), rows))
        _check(_timely(t0, t) and method.ndim == 1 and method.dtype == torch.int64)
        _check(where.dtype == torch.bool and bool(((method == 0) | (method == 1)).all()))
        shifts: Shifts = [(int(m), where[k], t[k]) for k, m in enumerate(method)]
        return Stretches((first, second), t0, shifts)

    def _derivatives(
        self, y: list[Tensor], lead: torch.Size, features: int, count: int, like: Any
    ) -> dict[str, Any]:
        found: dict[str, Any] = {"dy_dp": None, "dy_dy0": None}
        if "dy_dy0" in self._arrays:
            found["dy_dy0"] = self._tensor("dy_dy0")
            _check(found["dy_dy0"].dtype == y[0].dtype)
            _check(found["dy_dy0"].shape == (*lead, features, features))
        if any(name.split(".")[0] == "dy_dp" for name in self._arrays):
            leaves = self._state("dy_dp", lead)
            for of, by_p in zip(y, leaves, strict=True):
                _check(by_p.shape == (*of.shape, count) and by_p.dtype == of.dtype)
            found["dy_dp"] = nested(self._form, iter(leaves), like)
        return found


def _timely(*values: Tensor) -> bool:
    return all(value.dtype == torch.float64 for value in values)


def _check(fits: bool) -> None:
    if not fits:
        raise ValueError
