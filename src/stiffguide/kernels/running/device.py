"""A kernel on a GPU of NVIDIA, compiled at run time by torch's own access to the compiler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from stiffguide.errors import UnsupportedError

NAME = "stiffguide_solve"
THREADS = 64  # in a block: a row needs many registers
BLOCKS = 32  # per multiprocessor; further rows are taken as others end
OPTIONS = ("--std=c++17", "--fmad=false")  # no fused operations: what the CPU computes


def supported(place: torch.device) -> bool:
    """Whether kernels run there."""
    if place.type == "cuda":
        return hasattr(torch.cuda, "_compile_kernel") and torch.version.hip is None
    return place.type == "cpu"


@dataclass(frozen=True)
class Program:
    """A compiled kernel and the device that it is for."""

    function: Any
    place: torch.device

    def run(self, call: bytes, rows: int) -> None:
        """Start it, a thread a row, on the current stream, and wait; raises UnsupportedError."""
        # a launch takes pointers and numbers, no records: the call itself travels as a tensor
        argument = torch.frombuffer(bytearray(call), dtype=torch.uint8).to(self.place)
        try:
            with torch.cuda.device(self.place):
                most = torch.cuda.get_device_properties(self.place).multi_processor_count * BLOCKS
                blocks = min(-(-rows // THREADS), most)
                self.function(grid=(blocks, 1, 1), block=(THREADS, 1, 1), args=[argument])
                torch.cuda.synchronize()  # the argument must live until the end
        except RuntimeError as error:
            raise UnsupportedError(f"kernel: the GPU did not run it: {_told(error)}") from error


def compile(source: str, place: torch.device) -> Program:
    """The program of a source; raises UnsupportedError with the compiler's first complaint."""
    try:
        with torch.cuda.device(place):
            function = torch.cuda._compile_kernel(source, NAME, nvcc_options=list(OPTIONS))
    except (RuntimeError, OSError) as error:  # OSError: the compiler's library is not there
        raise UnsupportedError(f"kernel: the CUDA compiler failed: {_told(error)}") from error
    return Program(function, place)


def _told(error: Exception) -> str:
    """The line of a message that says what is wrong."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return next((line for line in lines if "error:" in line), lines[0])
