"""The same translation unit for a GPU: one thread a row, the arithmetic of one lane.

The text is that of `cpp`, where the header of the lanes stands for a thread's registers and
the entry is a `__global__` function. Time and state are float64.
"""

from __future__ import annotations

from stiffguide.kernels.emitting import cpp
from stiffguide.kernels.emitting.coefficients import Coefficients
from stiffguide.tracing.traced_field import Traced


def source(traced: Traced, method: Coefficients) -> str:
    """CUDA C++ without any header, for nvcc and for compilation at run time."""
    text = cpp.source(traced, method, entries=("device.h",))
    return f"#define CUDA 1\n#define WIDE 0\n{text}"
