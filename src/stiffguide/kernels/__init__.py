"""Generated kernels: the whole adaptive solve of a small system as one native function.

Read `backend` (whether a solve can be a kernel's), then `emitting/` (a traced field and a method as
C++ or CUDA text, around what stands in `native/`) and `running/` (built, cached, called);
`watching` is for those who look on, and `compiled` the handle that users hold; `loops` are fields
of many unknowns, and `marching` solves them. Nothing here is
imported by a method or by the loop, and only `names` and `request` are loaded before a kernel is
asked for.
"""

from typing import TYPE_CHECKING

from stiffguide.exports import lazily
from stiffguide.kernels.names import ASKED, SWITCHED, UNBOUNDED, Backend, Way, way

if TYPE_CHECKING:
    from stiffguide.kernels.backend import run, solve
    from stiffguide.kernels.calls import Call
    from stiffguide.kernels.compiled import Compiled, compile
    from stiffguide.kernels.memory import asked, known
    from stiffguide.kernels.patience import Patience
    from stiffguide.kernels.request import Built, Outlook, Overtaken, Request, within

__all__ = [
    "ASKED",
    "SWITCHED",
    "UNBOUNDED",
    "Backend",
    "Built",
    "Call",
    "Compiled",
    "Outlook",
    "Overtaken",
    "Patience",
    "Request",
    "Way",
    "asked",
    "compile",
    "known",
    "run",
    "solve",
    "way",
    "within",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "stiffguide.kernels.backend": ("run", "solve"),
            "stiffguide.kernels.calls": ("Call",),
            "stiffguide.kernels.compiled": ("Compiled", "compile"),
            "stiffguide.kernels.memory": ("asked", "known"),
            "stiffguide.kernels.patience": ("Patience",),
            "stiffguide.kernels.request": ("Built", "Outlook", "Overtaken", "Request", "within"),
        },
    )
