"""Trees of numbers as bytes, and back: data only, so that to read a file is to run nothing.

A tree is made of None, truth values, numbers, texts, tensors and arrays of numpy in lists, tuples
and dictionaries. NamedTuples are tuples here: `fitted` gives them their names again, from a state
of the same kind, and nothing in a file says of what type anything is to become. What is no tree
itself may say what it is made of by `packed()`, and be made again by `unpacked(data)`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from itertools import groupby
from math import prod
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from stiffguide import documents
from stiffguide.errors import InputError

T = TypeVar("T")

FORMAT = b"stiffguide checkpoint "
VERSION = 1
DIGEST, COUNT = hashlib.sha256().digest_size, 8  # bytes
SPARSE = 64  # times the numbers in a tensor, which the room that it takes may be
DTYPES = {
    str(kind).removeprefix("torch."): kind
    for kind in (
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
        *(torch.complex128, torch.complex64, torch.bool, torch.uint8),
        *(torch.int8, torch.int16, torch.int32, torch.int64),
    )
}
DAMAGED = "is cut off or damaged; take another copy of it, or solve from the start"

Node = Any  # of JSON


class NoData(TypeError):
    """A value that is no data; its sentence says of what type it is."""


class Packed:
    """A tree as JSON, and the bytes of its arrays, in the order of their places there."""

    def __init__(self, value: Any) -> None:
        self.parts: list[Any] = []  # arrays of bytes
        self._end = 0
        self.tree: bytes = json.dumps(self._node(value), separators=(",", ":")).encode()

    def _node(self, value: Any) -> Node:
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, (bool, int, float, str)):  # an Enum, or a number of numpy
            plain: Node = next(k for k in (bool, int, float, str) if isinstance(value, k))(value)
            return plain
        if isinstance(value, complex):
            return ["complex", value.real, value.imag]
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, (np.ndarray, np.generic)):
            return self._array(np.asarray(value))
        if isinstance(value, list):
            return ["list", [self._run(list(run)) for _, run in groupby(value, _kind)]]
        if isinstance(value, tuple):
            return ["tuple", [self._node(x) for x in value]]
        if isinstance(value, dict):
            return ["dict", [[self._node(k), self._node(v)] for k, v in value.items()]]
        if hasattr(value, "packed"):
            return self._node(value.packed())
        raise NoData(f"{type(value).__module__}.{type(value).__qualname__}")

    def _run(self, values: list[Any]) -> Node:
        """Members of a list that are alike, as one: solves keep many small tensors."""
        if len(values) == 1 or _kind(values[0]) is None:
            return [len(values), *map(self._node, values)]
        return [-len(values), self._node(_stacked(values))]

    def _tensor(self, value: Tensor) -> Node:
        value = value.detach()
        if value.layout is not torch.strided or (name := _name(value)) not in DTYPES:
            raise NoData(f"a tensor of {value.layout}, {value.dtype}")
        device = "" if value.device.type == "cpu" else str(value.device)
        value = value.cpu().resolve_conj().resolve_neg()
        # of what is the same along an axis, once; the order of the rest counts for rounding
        once = [
            min(n, 1) if step == 0 else n
            for n, step in zip(value.shape, value.stride(), strict=True)
        ]
        few = value[tuple(map(slice, once))]
        steps = None if few.is_contiguous() else list(few.stride())
        if steps is not None and _room(once, steps) > SPARSE * few.numel():
            steps = None
        flat = torch.empty(few.numel(), dtype=few.dtype).copy_(few.reshape(-1))
        shapes = [once] if list(value.shape) == once else [once, list(value.shape)]
        place = self._placed(flat.view(torch.uint8).numpy())
        return ["tensor", name, place, device, steps, *shapes]

    def _array(self, value: np.ndarray[Any, Any]) -> Node:
        if value.dtype.kind not in "biufc":
            raise NoData(f"an array of {value.dtype}")
        columns = value.flags.f_contiguous and not value.flags.c_contiguous
        flat = np.ascontiguousarray(value.T if columns else value).reshape(-1).view(np.uint8)
        return ["array", value.dtype.str, self._placed(flat), columns, list(value.shape)]

    def _placed(self, flat: np.ndarray[Any, Any]) -> int:
        place = self._end
        self.parts.append(flat)
        self._end += flat.nbytes
        return place

    def write(self, file: IO[bytes]) -> None:
        """With a line that says what it is, and a checksum at the end."""
        digest = hashlib.sha256()
        head = FORMAT + b"%d\n" % VERSION + len(self.tree).to_bytes(COUNT, "little")
        for part in (head, self.tree, *self.parts):
            file.write(part)
            digest.update(part)
        file.write(digest.digest())

    def digest(self) -> str:
        """What tells it from all others."""
        found = hashlib.sha256(self.tree)
        for part in self.parts:
            found.update(part)
        return found.hexdigest()


def read(path: Path) -> Any:
    """The tree in a file; raises InputError, in one sentence, where there is none."""
    name, content = documents.shown(path), documents.content(path)
    first, _, rest = content.partition(b"\n")
    if not first.startswith(FORMAT) and not FORMAT.startswith(content):
        raise InputError(f"{name}: this is not a checkpoint of a solve")
    version = first.removeprefix(FORMAT)
    if rest and version != b"%d" % VERSION:
        text = version.decode("ascii", "replace")
        raise InputError(
            f"{name}: its format is {documents.shown(documents.Literal(text))}, and this version "
            f"reads {VERSION}; go on with the version that made it"
        )
    found, lead = content[-DIGEST:], len(first) + 1
    if len(rest) < COUNT + DIGEST or hashlib.sha256(content[:-DIGEST]).digest() != found:
        raise InputError(f"{name} {DAMAGED}")
    end = lead + COUNT + int.from_bytes(content[lead : lead + COUNT], "little")
    try:
        tree = json.loads(content[lead + COUNT : end])
        return _Unpacked(memoryview(content)[end:-DIGEST]).value(tree)
    except Exception:  # json, numpy and torch raise a dozen types for what is no such tree
        raise InputError(f"{name}: this is not a checkpoint of a solve") from None


class _Unpacked:
    """What a tree of JSON says, with these bytes for its arrays."""

    def __init__(self, content: memoryview) -> None:
        self._content = content
        # what a small file may be made to look like: more members of lists, and numbers
        self._most = SPARSE * (len(content) + 1024)

    def value(self, node: Node) -> Any:
        if not isinstance(node, list):
            return node
        kind, *parts = node
        made: dict[str, Callable[..., Any]] = {
            "complex": complex,
            "list": self._list,
            "tuple": self._tuple,
            "dict": self._dict,
            "tensor": self._tensor,
            "array": self._array,
        }
        return made[kind](*parts)

    def _list(self, runs: list[Any]) -> list[Any]:
        found: list[Any] = []
        for count, *members in runs:
            self._most -= abs(count)
            if self._most < 0:
                raise ValueError("too many members")
            if count > 0:
                found += map(self.value, members)
            else:
                found += _apart(self.value(*members), -count)
        return found

    def _tuple(self, members: list[Any]) -> tuple[Any, ...]:
        return tuple(map(self.value, members))

    def _dict(self, pairs: list[Any]) -> dict[Any, Any]:
        return {self.value(k): self.value(v) for k, v in pairs}

    def _tensor(
        self,
        name: str,
        place: int,
        device: str,
        steps: list[int] | None,
        once: list[int],
        shape: list[int] | None = None,
    ) -> Tensor:
        dtype = DTYPES[name]
        flat = self._bytes(place, prod(once) * dtype.itemsize)
        value = torch.empty(once, dtype=dtype)
        if value.numel():
            value.view(-1).view(torch.uint8).copy_(torch.from_numpy(flat.copy()))
        if steps is not None:
            if _room(once, steps) > SPARSE * value.numel():
                raise ValueError("too sparse")
            value = torch.empty_strided(once, steps, dtype=dtype).copy_(value)
        value = value.to(device) if device else value
        if shape is not None and prod(shape) > self._most:
            raise ValueError("too many numbers")
        return value if shape is None else value.expand(shape)

    def _array(self, name: str, place: int, columns: bool, shape: list[int]) -> Any:
        dtype = np.dtype(name)
        if dtype.kind not in "biufc":
            raise ValueError("no numbers")
        flat = self._bytes(place, prod(shape) * dtype.itemsize).copy().view(dtype)
        return flat.reshape(shape[::-1]).T if columns else flat.reshape(shape)

    def _bytes(self, place: int, count: int) -> np.ndarray[Any, Any]:
        if not 0 <= place <= place + count <= len(self._content):
            raise ValueError("beyond the end")
        return np.frombuffer(self._content[place : place + count], np.uint8)


def fitted(like: T, data: Any) -> T:
    """The data as a state of the same kind as `like`; raises ValueError where it is none."""
    if hasattr(like, "unpacked"):
        return like.unpacked(data)  # type: ignore[no-any-return]
    if isinstance(like, tuple):
        if not isinstance(data, tuple) or len(data) != len(like):
            raise ValueError(f"{type(like).__name__} has {len(like)} parts")
        parts = [fitted(old, new) for old, new in zip(like, data, strict=True)]
        return like._make(parts) if hasattr(like, "_make") else type(like)(parts)
    if isinstance(like, Tensor):
        same = isinstance(data, Tensor) and (data.dtype, data.shape) == (like.dtype, like.shape)
        if not same:
            raise ValueError(f"a tensor has the shape {tuple(like.shape)}")
    return data  # type: ignore[no-any-return]


def _name(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _room(shape: Iterable[int], steps: Iterable[int]) -> int:
    """Numbers from the first to the last of a tensor."""
    return 1 + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))


def _kind(value: Any) -> Any:
    """What members of a list have in common that can be stacked; None: nothing."""
    if isinstance(value, Tensor):
        strided = value.layout is torch.strided and _name(value) in DTYPES
        return (value.dtype, value.shape, value.device) if strided else None
    if isinstance(value, tuple):
        kinds = tuple(map(_kind, value))
        return None if None in kinds else kinds
    return None


def _stacked(values: list[Any]) -> Any:
    if isinstance(values[0], Tensor):
        return torch.stack([x.detach() for x in values])
    return tuple(_stacked(list(column)) for column in zip(*values, strict=True))


def _apart(value: Any, count: int) -> list[Any]:
    if isinstance(value, Tensor):
        if len(value) != count:
            raise ValueError("too few members")
        return list(value.unbind(0))
    if not value:
        return [()] * count
    columns = [_apart(column, count) for column in value]
    return list(zip(*columns, strict=True))
