"""Generated kernels: the whole adaptive solve of a small system as one native function.

Read `backend` (whether a solve can be a kernel's), then `emitting/` (a traced field and a method as
C++ or CUDA text, around what stands in `native/`) and `running/` (built, cached, called);
`compiled` is the handle that users hold. Nothing here is imported by a method or by the loop.
"""

from stiffguide.kernels.backend import Request, Solved, check, solve
from stiffguide.kernels.compiled import Compiled, compile

__all__ = ["Compiled", "Request", "Solved", "check", "compile", "solve"]
