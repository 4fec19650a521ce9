"""Many samples in chunks: shared out over processes, kept as they are done, resumed after a kill.

A chunk is a fixed run of seeds and one batch for the network, whoever computes it: so the samples
are bitwise the same for any number of processes. A finished chunk is a file that appears under its
name only when it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stiffguide import documents
from stiffguide.errors import InputError

MANIFEST = "settings.json"


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

    def chunk(self, index: int) -> list[int]:
        """The positions in `seeds` of a chunk."""
        return list(range(index * self.size, min(len(self.seeds), (index + 1) * self.size)))

    def open(self) -> None:
        """Make the folder, or refuse one that holds samples of other settings."""
        text = json.dumps(self._identity(), indent=1, sort_keys=True)
        known = self.folder / MANIFEST
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # without a chunk, the settings are those of a run that came to nothing
            kept = known.exists() and any(self.folder.glob("chunk-*.npz"))
            if kept and documents.text(known) != text:
                raise InputError(
                    f"{documents.shown(self.folder)} holds samples that were made with other "
                    "settings: choose another output, or remove that folder"
                )
            _write(known, lambda file: file.write(text.encode()))
        except OSError as error:
            raise InputError(f"{documents.shown(self.folder)}: {error.strerror}") from error

    def abandon(self) -> None:
        """Leave nothing behind where no chunk has been made."""
        if not any(self.folder.glob("chunk-*")):
            (self.folder / MANIFEST).unlink(missing_ok=True)
            with suppress(OSError):  # what somebody else put there stays
                self.folder.rmdir()

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
        try:
            found = documents.arrays(self._path(index), ("x", "status", "nfe"))
        except InputError:
            return None
        rows = len(self.chunk(index))
        whole = found["x"].shape[:1] == found["status"].shape == (rows,) and found["nfe"].ndim == 0
        floats = found["x"].dtype.kind == "f"
        counts = found["status"].dtype.kind == found["nfe"].dtype.kind == "i"
        return found if whole and floats and counts else None

    def keep(self, index: int, x: Tensor, status: Tensor, nfe: int) -> None:
        """Write a finished chunk."""
        values, codes = x.cpu().numpy(), status.cpu().numpy()
        _write(
            self._path(index),
            lambda file: np.savez(file, x=values, status=codes, nfe=np.array(nfe)),
        )

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

    def _identity(self) -> dict[str, Any]:
        seeds = hashlib.sha256(json.dumps(list(self.seeds)).encode()).hexdigest()
        return {**self.settings, "chunk": self.size, "seeds": seeds}

    def _path(self, index: int) -> Path:
        return self.folder / f"chunk-{index:06d}.npz"


class Ranks:
    """The processes of `torchrun`, or this one alone."""

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", 0))
        self.world = int(os.environ.get("WORLD_SIZE", 1))

    def __enter__(self) -> Ranks:
        if self.world > 1:
            torch.distributed.init_process_group("gloo")
        return self

    def __exit__(self, *_: object) -> None:
        if self.world > 1:
            torch.distributed.destroy_process_group()

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            torch.distributed.barrier()

    @property
    def device(self) -> torch.device:
        """The accelerator of this process, if there are any."""
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def _write(path: Path, fill: Callable[[Any], Any]) -> None:
    """Write under another name, then rename: a file is there whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with part.open("wb") as file:
        fill(file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
