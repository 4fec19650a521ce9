"""A kernel on a GPU of NVIDIA, compiled at run time by torch's own access to the compiler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from stiffguide.errors import UnsupportedError

NAME = "stiffguide_solve"
THREADS = 64  # in a block: a row needs many registers
BLOCKS = 32  # per multiprocessor; further rows are taken as others end


def supported(place: torch.device) -> bool:
    """Whether kernels run there."""
    return place.type == "cpu" or (place.type == "cuda" and hasattr(torch.cuda, "_compile_kernel"))


@dataclass(frozen=True)
class Program:
    """A compiled kernel and the device that it is for."""

    function: Any
    place: torch.device

    def run(self, call: bytes, rows: int) -> None:
        """Start it: a thread a row, on the current stream."""
        argument = torch.frombuffer(bytearray(call), dtype=torch.uint8).to(self.place)
        most = torch.cuda.get_device_properties(self.place).multi_processor_count * BLOCKS
        blocks = min(-(-rows // THREADS), most)
        with torch.cuda.device(self.place):
            self.function(grid=(blocks, 1, 1), block=(THREADS, 1, 1), args=(argument,))
            torch.cuda.synchronize()  # the argument must live until the end


def compile(source: str, place: torch.device) -> Program:
    """The program of a source; raises UnsupportedError with the compiler's first complaint."""
    try:
        with torch.cuda.device(place):
            function = torch.cuda._compile_kernel(source, NAME, nvcc_options=["--fmad=false"])
    except RuntimeError as error:
        first = str(error).strip().splitlines()[0]
        raise UnsupportedError(f"kernel: the CUDA compiler failed: {first}") from error
    return Program(function, place)
