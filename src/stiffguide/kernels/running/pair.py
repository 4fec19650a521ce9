"""Two kernels of one field that share the rows of a solve: see `sharing/`."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from stiffguide.kernels.running.run import Kernel


@dataclass
class Pair(Kernel):
    """The kernels of an explicit and of a stiff method; its own numbers are the stiff one's."""

    explicit: Kernel | None = None
    stiff: Kernel | None = None

    @property
    def parts(self) -> tuple[Kernel, ...]:
        """Both, the explicit method's first."""
        assert self.explicit is not None
        assert self.stiff is not None
        return self.explicit, self.stiff

    def ready(self, *, wide: bool) -> bool:
        """Whether both are loaded or in the cache."""
        return all(part.ready(wide=wide) for part in self.parts)

    def built(self, *, wide: bool) -> ctypes.CDLL:
        """The stiff method's library, with that of the other; built side by side if need be."""
        missing = [part for part in self.parts if not part.ready(wide=wide)]
        if len(missing) > 1:
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda part: part.built(wide=wide), missing))
        explicit, stiff = self.parts
        explicit.built(wide=wide)
        return stiff.built(wide=wide)

    def tried(self, *, wide: bool) -> bool:
        """Build both unless that has failed before: whether they are there."""
        return super().tried(wide=wide) and self.ready(wide=wide)

    def prepare(self, place: torch.device, *, wide: bool) -> None:
        """Build what a solve on that device needs; raises UnsupportedError."""
        self.built(wide=wide)
