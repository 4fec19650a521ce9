"""The processes of `torchrun`, or this one alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import torch


class Ranks:
    """Which of the processes this one is; a context in which they may wait for each other."""

    def __init__(self) -> None:
        self.rank: int = int(os.environ.get("RANK", 0))
        self.world: int = int(os.environ.get("WORLD_SIZE", 1))

    def __enter__(self) -> Ranks:
        if self.world > 1:
            torch.distributed.init_process_group("gloo")
        return self

    def __exit__(self, *_: object) -> None:
        if self.world > 1:
            torch.distributed.destroy_process_group()

    def mine(self, indices: Iterable[int]) -> Iterator[int]:
        """Those of this process: every so many-th."""
        return (index for index in indices if index % self.world == self.rank)

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
