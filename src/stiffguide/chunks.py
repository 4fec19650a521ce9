"""Work that is done in chunks and kept as it is done: files of one folder, whole or not there.

Whoever is killed goes on where he was: a chunk appears under its name only when it is written, and
what is left of one that was not is made again. A folder belongs to one set of settings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stiffguide import documents, safekeeping
from stiffguide.errors import InputError

MANIFEST = "settings.json"
Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Chunks:
    """The files of one piece of work in a folder.

    settings: what the results depend on, as JSON has it. what: the results, in sentences.
    """

    folder: Path
    settings: Mapping[str, Any]
    what: str
    name: str = "chunk"

    def open(self) -> None:
        """Make the folder; InputError where it holds results of other settings."""
        text = json.dumps(self.settings, indent=1, sort_keys=True)
        known = self.folder / MANIFEST
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(
                f"{documents.shown(self.folder)} is a file, and a folder is to be made there: "
                "choose another output"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # without a chunk, the settings are those of a run that came to nothing
            if known.exists() and any(self.folder.glob(f"{self.name}-*.npz")):
                self._compare(documents.text(known), text)
            else:
                safekeeping.write(known, lambda file: file.write(text.encode()))
        except OSError as error:
            raise InputError(f"{documents.shown(self.folder)}: {error.strerror}") from error

    def _compare(self, before: str, now: str) -> None:
        if before == now:
            return
        try:
            old, new = (documents.parsed(text, "json", MANIFEST) for text in (before, now))
            names = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        except InputError:  # what stands there was not written by us
            names = []
        which = f" ({', '.join(sorted(names))})" if names else ""
        raise InputError(
            f"{documents.shown(self.folder)} holds {self.what} that were made with other "
            f"settings{which}: choose another output, or remove that folder"
        )

    def abandon(self) -> None:
        """Leave nothing behind where no chunk has been made."""
        if not any(self.folder.glob(f"{self.name}-*")):
            (self.folder / MANIFEST).unlink(missing_ok=True)
            with suppress(OSError):  # what somebody else put there stays
                self.folder.rmdir()

    def there(self) -> list[int]:
        """The chunks of which there is a file."""
        names = (path.stem.rpartition("-")[2] for path in self.folder.glob(f"{self.name}-*.npz"))
        return sorted(int(number) for number in names if number.isdigit())

    def path(self, index: int) -> Path:
        """The file of a chunk."""
        return self.folder / f"{self.name}-{index:06d}.npz"

    def read(self, index: int, names: Iterable[str]) -> Arrays | None:
        """Arrays of a chunk; None where there is none, or what a full disk left."""
        try:
            return documents.arrays(self.path(index), names)
        except InputError:
            return None

    def keep(self, index: int, arrays: Mapping[str, Any]) -> None:
        """Write a chunk; InputError where it cannot be written, and nothing is lost."""
        path = self.path(index)
        try:
            safekeeping.write(path, lambda file: np.savez(file, **arrays))
        except OSError as error:
            raise InputError(
                f"{documents.shown(path)} cannot be written ({error.strerror}): what is done is "
                "kept; make room, and run it again"
            ) from error
