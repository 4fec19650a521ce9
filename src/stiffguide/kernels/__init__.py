"""Generated kernels: the whole adaptive solve of a small system as one native function.

A field is traced to a scalar graph (`trace`), differentiated (`derive`), printed together with a
method and a controller (`emit_cpp`), built once and cached (`build`), and run (`run`).
"""

from stiffguide.kernels.backend import Request, Solved, check, solve
from stiffguide.kernels.compiled import Compiled, compile

__all__ = ["Compiled", "Request", "Solved", "check", "compile", "solve"]
