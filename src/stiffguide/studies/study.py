"""What a sweep has found, as far as it has come: read shard by shard, for no memory holds it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stiffguide import documents
from stiffguide.chunks import MANIFEST, Arrays
from stiffguide.errors import InputError, Status
from stiffguide.markup import table
from stiffguide.studies.shard import failed, unpacked
from stiffguide.studies.stores import OF_SHARD, Store, ZarrStore, files, store

Array = NDArray[Any]


class Study:
    """The rows of a sweep; `Study("study.zarr")` finds one again.

    settings: what was asked for. Raises InputError where there is none.
    """

    def __init__(self, out: str | Path) -> None:
        self.out: Path = Path(out)
        self.settings: Mapping[str, Any] = settings_of(self.out)
        self.kept: Store = store(self.out, self.settings)

    @property
    def rows(self) -> int | None:
        """The rows of the whole study; None where they come from a stream."""
        found = self.settings["design"].get("rows")
        return None if found is None else int(found)

    @property
    def shards(self) -> int | None:
        """The shards of the whole study."""
        return None if self.rows is None else -(-self.rows // self.settings["rows_per_shard"])

    def done(self) -> list[int]:
        """The shards that are there."""
        return [index for index in self.kept.files.there() if self.kept.mark(index) is not None]

    @property
    def complete(self) -> bool:
        """Whether all shards are there; a stream never says so."""
        return self.shards is not None and len(self.done()) == self.shards

    def read(self, index: int) -> Arrays:
        """The arrays of a shard: parameters as param_..., t, y or what reduce made, and counts."""
        found = self.kept.read(index)
        if found is None:
            raise InputError(f"{documents.shown(self.out)}: shard {index} is not done")
        return {name: array for name, array in found.items() if name not in OF_SHARD}

    def __iter__(self) -> Iterator[Arrays]:
        """The shards that are there, in their order."""
        return (self.read(index) for index in self.done())

    def failures(self) -> Iterator[tuple[int, str]]:
        """Every row that did not come to its end, with its sentence."""
        start = 0
        for index in self.done():
            found = self.kept.read(index)
            assert found is not None
            if self.rows is not None:
                start = index * int(self.settings["rows_per_shard"])
            said = unpacked(found["messages"])
            for row in np.flatnonzero(failed(found["status"])):
                number = start + int(row)
                code = Status(int(found["status"][row]))
                yield number, said.get(number, f"row {number}: {code.sentence}")
            start += len(found["status"])

    def open(self) -> Any:
        """A lazy view: an xarray.Dataset of Zarr arrays where xarray is there, else `Columns`."""
        if isinstance(self.kept, ZarrStore):
            try:
                import xarray
            except ImportError:
                pass
            else:
                with warnings.catch_warnings():  # of what a kill has left of a file
                    warnings.filterwarnings("ignore", "Object at .* is not recognized")
                    return xarray.open_zarr(self.out, consolidated=False, chunks=None)
        return Columns(self)

    def _repr_html_(self) -> str:
        done, of = len(self.done()), "a stream" if self.shards is None else f"{self.shards:,}"
        lines = [("place", self.out), ("shards", f"{done:,} of {of}")]
        return table(
            "Study", [*lines, ("rows", "unknown" if self.rows is None else f"{self.rows:,}")]
        )

    def __repr__(self) -> str:
        whole = "of a stream" if self.rows is None else f"of {self.shards} with {self.rows:,} rows"
        return f"Study({str(self.out)!r}: {len(self.done())} shards {whole})"


def settings_of(out: Path) -> Mapping[str, Any]:
    """What a study was asked for; InputError where there is none."""
    path = files(out, {}).folder / MANIFEST
    if not path.is_file():
        raise InputError(f"{documents.shown(out)}: there is no study there")
    return documents.plain(documents.text(path), MANIFEST)


class Columns(Mapping[str, "Column"]):
    """The arrays of a study by their names, read as far as they are asked for."""

    def __init__(self, study: Study) -> None:
        self._study, self._done = study, study.done()
        if not self._done:
            raise InputError(f"{documents.shown(study.out)}: no shard is done yet")
        self._first = study.read(self._done[0])

    def __getitem__(self, name: str) -> Column:
        if name not in self._first:
            raise KeyError(f"{name}: there are {', '.join(self._first)}")
        return Column(self._study, self._done, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)


class Column:
    """One array over the rows of the shards that are done; `[...]` reads what is asked for."""

    def __init__(self, study: Study, done: list[int], name: str) -> None:
        self._study, self._done, self._name = study, done, name
        self._last: tuple[int, Array] | None = None
        self._sizes = [self._size(index) for index in done]

    def _size(self, index: int) -> int:
        rows, size = self._study.rows, int(self._study.settings["rows_per_shard"])
        if rows is None:
            return len(self._study.read(index)["status"])
        return min(size, rows - index * size)

    def _part(self, index: int) -> Array:
        if self._last is None or self._last[0] != index:
            self._last = index, self._study.read(index)[self._name]
        return self._last[1]

    def __len__(self) -> int:
        return sum(self._sizes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows that are there, and the shape of one."""
        return (len(self), *self._part(self._done[0]).shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The kind of its numbers."""
        return self._part(self._done[0]).dtype

    def __getitem__(self, key: Any) -> Array:
        rows, rest = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
        places = np.asarray(np.arange(len(self))[rows])
        if places.ndim == 0:
            one: Array = self._rows(places[None])[(0, *rest)]
            return one
        found: Array = self._rows(places)[(slice(None), *rest)]
        return found

    def _rows(self, places: Array) -> Array:
        starts = np.cumsum([0, *self._sizes])
        found = np.empty((len(places), *self.shape[1:]), self.dtype)
        which = np.searchsorted(starts, places, side="right") - 1
        for shard in np.unique(which):
            here = which == shard
            found[here] = self._part(self._done[shard])[places[here] - starts[shard]]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self[:], dtype)
