"""Many samples in chunks: shared out over processes, kept as they are done, resumed after a kill.

A chunk is a fixed run of seeds and one batch for the network, whoever computes it: so the samples
are bitwise the same for any number of processes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from stiffguide import documents
from stiffguide.chunks import MANIFEST as MANIFEST
from stiffguide.chunks import Chunks
from stiffguide.errors import InputError
from stiffguide.ranks import Ranks as Ranks


@dataclass(frozen=True)
class Shards:
    """Chunks of `size` seeds each, kept in a folder that belongs to one set of settings."""

    folder: Path
    seeds: Sequence[int]
    size: int
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"a chunk needs at least one seed, not {self.size}")
        if not self.seeds:
            raise InputError("no seeds: there is nothing to sample")
        if len(set(self.seeds)) < len(self.seeds):
            raise InputError("a seed is given twice: it would give the same sample twice")

    @property
    def count(self) -> int:
        """Number of chunks."""
        return -(-len(self.seeds) // self.size)

    @property
    def files(self) -> Chunks:
        """Where they are kept."""
        seeds = hashlib.sha256(json.dumps(list(self.seeds)).encode()).hexdigest()
        return Chunks(self.folder, {**self.settings, "chunk": self.size, "seeds": seeds}, "samples")

    def chunk(self, index: int) -> list[int]:
        """The positions in `seeds` of a chunk."""
        return list(range(index * self.size, min(len(self.seeds), (index + 1) * self.size)))

    def open(self) -> None:
        """Make the folder, or refuse one that holds samples of other settings."""
        self.files.open()

    def abandon(self) -> None:
        """Leave nothing behind where no chunk has been made."""
        self.files.abandon()

    def mine(self, rank: int, world: int) -> Iterator[int]:
        """The chunks of this process that are not done yet."""
        for index in range(rank, self.count, world):
            if not self.done(index):
                yield index

    def done(self, index: int) -> bool:
        """Whether a chunk is there, whole and of the right length."""
        return self._read(index) is not None

    def _read(self, index: int) -> dict[str, np.ndarray[Any, Any]] | None:
        """A chunk; None where there is none, or what a full disk left: it is made again."""
        found = self.files.read(index, ("x", "status", "nfe"))
        if found is None:
            return None
        rows = len(self.chunk(index))
        whole = found["x"].shape[:1] == found["status"].shape == (rows,) and found["nfe"].ndim == 0
        floats = found["x"].dtype.kind == "f"
        counts = found["status"].dtype.kind == found["nfe"].dtype.kind == "i"
        return found if whole and floats and counts else None

    def keep(self, index: int, x: Tensor, status: Tensor, nfe: int) -> None:
        """Write a finished chunk."""
        arrays = {"x": x.cpu().numpy(), "status": status.cpu().numpy(), "nfe": np.array(nfe)}
        self.files.keep(index, arrays)

    def gather(self) -> dict[str, np.ndarray[Any, Any]]:
        """All samples in the order of the seeds: x, status, nfe, seeds."""
        read = [self._read(index) for index in range(self.count)]
        parts = [part for part in read if part is not None]
        name = documents.shown(self.folder)
        if len(parts) < self.count:
            missing = self.count - len(parts)
            raise InputError(f"{missing} of {self.count} chunks are missing in {name}")
        if len({(part["x"].shape[1:], part["x"].dtype) for part in parts}) > 1:
            raise InputError(f"the chunks in {name} are not of one shape: remove that folder")
        return {
            "x": np.concatenate([p["x"] for p in parts]),
            "status": np.concatenate([p["status"] for p in parts]),
            "nfe": parts[0]["nfe"],
            "seeds": np.asarray(self.seeds),
        }
