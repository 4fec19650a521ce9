"""Where a study is kept: shards in a folder of npz files, or as chunks of Zarr arrays.

A shard is done when it is written whole; what a kill has left of one is made again, the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stiffguide import documents
from stiffguide.chunks import Arrays, Chunks
from stiffguide.errors import InputError

Array = NDArray[Any]
OF_SHARD = ("messages", "digest", "names")  # what is not by row
ZARR = "stiffguide[sweep]"


class Store(Protocol):
    """A place for the arrays of shards."""

    @property
    def files(self) -> Chunks:
        """The files that say which shards are done."""
        ...

    def open(self) -> None:
        """Make it; InputError where it holds a study of other settings."""
        ...

    def mark(self, index: int) -> bytes | None:
        """The digest of the parameters of a shard that is done; else None."""
        ...

    def keep(self, index: int, start: int, arrays: Mapping[str, Array]) -> None:
        """Write a shard, whose rows begin at `start`."""
        ...

    def read(self, index: int) -> Arrays | None:
        """The arrays of a shard that is done."""
        ...


def files(out: Path, settings: Mapping[str, Any]) -> Chunks:
    """The files of a study; those of Zarr arrays stand beside them, for their readers know none."""
    folder = out.with_name(f"{out.name}.shards") if out.suffix == ".zarr" else out
    return Chunks(folder, settings, "results", "shard")


def store(out: Path, settings: Mapping[str, Any]) -> Store:
    """The store that a path asks for: Zarr arrays where it ends in .zarr, else a folder of npz."""
    return (ZarrStore if out.suffix == ".zarr" else NpzStore)(out, settings)


@dataclass(frozen=True)
class NpzStore:
    """A file for each shard."""

    out: Path
    settings: Mapping[str, Any]

    @property
    def files(self) -> Chunks:
        """The shards themselves."""
        return files(self.out, self.settings)

    def open(self) -> None:
        """Make the folder."""
        self.files.open()

    def mark(self, index: int) -> bytes | None:
        """The digest, from a file that is whole: its directory stands at its end."""
        found = self.files.read(index, ("digest",))
        return None if found is None else found["digest"].tobytes()

    def keep(self, index: int, start: int, arrays: Mapping[str, Array]) -> None:
        """Write a file."""
        self.files.keep(index, arrays)

    def read(self, index: int) -> Arrays | None:
        """Read a file."""
        try:
            names = documents.entries(self.files.path(index))
        except InputError:
            return None
        return self.files.read(index, names)


@dataclass(frozen=True)
class ZarrStore:
    """Zarr 3 arrays whose chunks are the shards, and a small file for each that is done."""

    out: Path
    settings: Mapping[str, Any]
    _open: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Without what is open in this process."""
        return ZarrStore, (self.out, self.settings)

    @property
    def files(self) -> Chunks:
        """What says which shards are done, with the sentences of their failures."""
        return files(self.out, self.settings)

    def open(self) -> None:
        """Make the group."""
        zarr = _zarr()
        self.files.open()
        if not (self.out / "zarr.json").exists():
            zarr.open_group(self.out, mode="a", zarr_format=3)

    def mark(self, index: int) -> bytes | None:
        """The digest, from the file that is written last."""
        found = self.files.read(index, ("digest",))
        return None if found is None else found["digest"].tobytes()

    def keep(self, index: int, start: int, arrays: Mapping[str, Array]) -> None:
        """Write a chunk of every array, then the file that says so."""
        try:
            for name, array in arrays.items():
                if name not in OF_SHARD:
                    if name not in self._open:
                        self._open[name] = self._array(name, array)
                    self._open[name][start : start + len(array)] = array
        except OSError as error:
            raise InputError(
                f"{documents.shown(self.out)}: {name} cannot be written ({error.strerror}): what "
                "is done is kept; make room, and run it again"
            ) from error
        by_row = json.dumps({name: None for name in arrays if name not in OF_SHARD})
        said = {name: arrays[name] for name in OF_SHARD if name in arrays}
        self.files.keep(index, {**said, "names": np.frombuffer(by_row.encode(), np.uint8)})

    def _array(self, name: str, array: Array) -> Any:
        group = _zarr().open_group(self.out, mode="a", zarr_format=3)
        size, rows = self.settings["rows_per_shard"], self.settings["design"]["rows"]
        axes = ["row", *(f"{name}_{axis}" for axis in range(1, array.ndim))]
        return (
            group[name]
            if name in group
            else group.create_array(
                name,
                shape=(rows, *array.shape[1:]),
                dtype=array.dtype,
                chunks=(min(size, rows), *array.shape[1:]),
                dimension_names=axes,
                compressors=None,  # digits of solutions hardly shrink, and packing takes longer
            )
        )

    def read(self, index: int) -> Arrays | None:
        """Read a chunk of every array."""
        said = self.files.read(index, OF_SHARD)
        if said is None:
            return None
        size = self.settings["rows_per_shard"]
        rows = slice(index * size, (index + 1) * size)
        # by name: a listing would find what a kill has left of a file
        group = _zarr().open_group(self.out, mode="r")
        names = documents.plain(said["names"].tobytes().decode(), "names")
        return {**{name: np.asarray(group[name][rows]) for name in names}, **said}


def _zarr() -> Any:
    try:
        import zarr
    except ImportError as error:
        raise InputError(f"a study in Zarr needs it: pip install '{ZARR}'") from error
    return zarr
